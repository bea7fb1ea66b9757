//! One Envoy for each filter that is compared: the same binary, listeners and routes; what stands in
//! `http_filters` is all that differs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gatepass_envoy::{Envoy, EnvoyBinary, OperatorConfig, Records, Settings};
use gatepass_tests::kit::{documents, filter, world::ControlPlane};
use serde_json::{Value, json};

use super::Failed;
use super::cores;
use super::request::SCOPE;

/// Which Envoy a row asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Plain,
    Empty,
    /// One thing of what the gate does, by its name in `benches/parts`.
    Part(&'static str),
    Gatepass,
    /// The gate, where no decision leaves a record.
    Unrecorded,
    Jwt,
    /// With the token cache of `jwt_authn`.
    JwtCached,
    ExtAuthz,
    /// Holds the request until its body is there, natively.
    Buffer,
    /// Envoy's own bound of an amount in a JSON body, and of an argument of an MCP tool.
    Json,
    Mcp,
    /// The same after `jwt_authn` with its token cache.
    JwtJson,
    JwtMcp,
}

/// What the subjects need to know of the world.
pub(crate) struct Site<'a> {
    pub(crate) control: &'a ControlPlane,
    pub(crate) jwks: &'a Value,
    pub(crate) empty: &'a Path,
    /// A server behind Envoy, for the rows that have one.
    pub(crate) upstream: SocketAddr,
    pub(crate) ext_authz: SocketAddr,
}

impl Site<'_> {
    pub(crate) fn launch(&self, subject: Subject, workers: u32) -> Result<Envoy, Failed> {
        let settings = Settings { workers, log_level: "warning".to_owned(), ..Settings::default() };
        let config = self.bootstrap(subject)?;
        let envoy = Envoy::launch_yaml(&EnvoyBinary::find()?, &config.to_string(), &settings)?;
        cores::pin(envoy.id(), &cores::of_envoy(workers))?;
        Ok(envoy)
    }

    fn bootstrap(&self, subject: Subject) -> Result<Value, Failed> {
        let mut clusters = vec![cluster("upstream", self.upstream)];
        let mut filters: Vec<Value> = match subject {
            Subject::Plain => Vec::new(),
            Subject::Empty => {
                let wasm = json!(self.empty).to_string();
                read(&include_str!("../../envoy/wasm_empty.yaml").replace("${wasm}", &wasm))?
            }
            Subject::Part(name) => {
                let yaml = include_str!("../../envoy/wasm_part.yaml").replace("${part}", name);
                read(&yaml.replace("${wasm}", &json!(module(PARTS)?).to_string()))?
            }
            Subject::Gatepass | Subject::Unrecorded => {
                let mut plugin = self.control.plugin()?;
                plugin.expose_position = false;
                if subject == Subject::Unrecorded {
                    plugin.records = Some(Records { enabled: false, low_allows_per_mille: 1_000 });
                }
                let feed = self.control.address().to_string();
                let wasm = filter::path()?;
                let ours = OperatorConfig { plugin, feed, wasm, host_env: Vec::new() };
                clusters.extend(read(&ours.cluster()?)?);
                read(&ours.http_filter()?)?
            }
            Subject::Jwt => self.jwt("null", READING)?,
            Subject::JwtCached => self.jwt(CACHE, READING)?,
            Subject::Buffer => read(include_str!("../../envoy/buffer.yaml"))?,
            Subject::Json => read(JSON)?,
            Subject::Mcp => read(MCP)?,
            Subject::JwtJson => both(self.jwt(CACHE, ORDERING)?, read(JSON)?),
            Subject::JwtMcp => both(self.jwt(CACHE, CALLING)?, read(MCP)?),
            Subject::ExtAuthz => {
                let mut server = cluster("ext_authz", self.ext_authz);
                let http2 = json!({
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                });
                let members = server.as_object_mut().ok_or("a cluster is an object")?;
                members.insert("typed_extension_protocol_options".to_owned(), http2);
                clusters.push(server);
                read(include_str!("../../envoy/ext_authz.yaml"))?
            }
        };
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }));
        let direct = json!({
            "match": { "prefix": "/" },
            "direct_response": { "status": 200, "body": { "inline_string": ANSWER } },
        });
        let upstream = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
        Ok(json!({
            "admin": { "address": socket([127, 0, 0, 1].into(), 0) },
            "static_resources": {
                "listeners": [
                    listener(DIRECT, &filters, &direct),
                    listener(UPSTREAM, &filters, &upstream),
                ],
                "clusters": clusters,
            },
        }))
    }

    /// For one method and path prefix, of whom has the scope.
    fn jwt(&self, cache: &str, [method, path, scope]: [&str; 3]) -> Result<Vec<Value>, Failed> {
        let jwks = json!(self.jwks.to_string()).to_string();
        let yaml = include_str!("../../envoy/jwt_rbac.yaml")
            .replace("${jwks}", &jwks)
            .replace("${cache}", cache)
            .replace("${method}", method)
            .replace("${path}", path)
            .replace("${scope}", scope);
        read(&yaml)
    }
}

fn both(mut first: Vec<Value>, then: Vec<Value>) -> Vec<Value> {
    first.extend(then);
    first
}

/// A list of YAML as JSON.
fn read(yaml: &str) -> Result<Vec<Value>, Failed> {
    let mut all: Vec<Value> = serde_saphyr::from_str(yaml)?;
    // YAML's `key:` with nothing is for `jwt_cache_config` no configuration.
    all.iter_mut().for_each(strip_nulls);
    Ok(all)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(all) => all.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// As the printed configuration has it where requests are read, and otherwise Envoy's defaults.
fn listener(name: &str, filters: &[Value], route: &Value) -> Value {
    json!({
        "name": name,
        "address": socket([127, 0, 0, 1].into(), 0),
        "enable_reuse_port": true,
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "codec_type": "AUTO",
                "use_remote_address": true,
                "normalize_path": true,
                "merge_slashes": true,
                "path_with_escaped_slashes_action": "REJECT_REQUEST",
                "common_http_protocol_options": {
                    "headers_with_underscores_action": "REJECT_REQUEST",
                },
                "http_filters": filters,
                "route_config": {
                    "name": name,
                    "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }],
                },
            },
        }] }],
    })
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": socket(address.ip(), address.port()),
            } }] }],
        },
    })
}

fn socket(ip: std::net::IpAddr, port: u16) -> Value {
    json!({ "socket_address": { "address": ip.to_string(), "port_value": port } })
}

/// The module of a filter that is built as the gate's is.
pub(crate) fn module(package: &str) -> Result<PathBuf, Failed> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = std::process::Command::new("cargo")
        .args(["build", "--locked", "--quiet", "-p", package, "--lib"])
        .args(["--target", "wasm32-wasip1", "--profile", "filter"])
        .current_dir(&root)
        .status()?;
    if !built.success() {
        return Err(format!("`{package}` does not build").into());
    }
    let file = format!("target/wasm32-wasip1/filter/{}.wasm", package.replace('-', "_"));
    Ok(root.join(file).canonicalize()?)
}

const JSON: &str = include_str!("../../envoy/json_rbac.yaml");
const MCP: &str = include_str!("../../envoy/mcp_rbac.yaml");
const READING: [&str; 3] = ["GET", "/orders", SCOPE];
const ORDERING: [&str; 3] = ["POST", documents::ORDERS, documents::SCOPE];
const CALLING: [&str; 3] = ["POST", documents::TOOLS, documents::SCOPE];
const CACHE: &str = r#"{"jwt_cache_size": 1000}"#;
pub(crate) const EMPTY: &str = "gatepass-bench-empty";
pub(crate) const PARTS: &str = "gatepass-bench-parts";
/// The listener that answers by itself, and the one in front of a server.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const UPSTREAM: &str = "upstream";
pub(crate) const ANSWER: &str = "{\"id\":4711}";
