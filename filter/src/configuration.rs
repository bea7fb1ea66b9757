//! The plugin's configuration: strict JSON. A field that is unknown, missing or out of range is an
//! error that names it and says what was expected, and Envoy then refuses the configuration.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_engine::batch::Feed;
use gatepass_engine::envelope::Unverified;
use gatepass_engine::gate::{Mode, Settings};
use gatepass_engine::grace::{Document, MAX_DOCUMENT_BYTES};
use gatepass_engine::ids::is_token;
use gatepass_engine::root::Pinned;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Configuration {
    pub settings: Settings,
    pub pinned: Pinned,
    pub feed: FeedAddress,
    /// A feed answer that brings roots and a bundle, never freshness.
    pub baseline: Option<Vec<u8>>,
    /// The DSSE JSON envelope of a grace document.
    pub grace: Option<Vec<u8>>,
    pub hold: HoldMilliseconds,
    pub records: RecordRules,
    /// Test only: responses say which VM answered, and from which position.
    pub expose_position: bool,
    /// What the shared keys of this gate start with.
    pub prefix: Prefix,
}

/// Where the feed is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedAddress {
    pub cluster: String,
    pub authority: String,
    pub path_prefix: String,
}

/// Which decisions are told to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordRules {
    #[serde(default = "all_enabled")]
    pub enabled: bool,
    /// Of a thousand low-risk requests that go on, so many have a record.
    #[serde(default = "all_of_a_thousand")]
    pub low_allows_per_mille: u32,
}

impl Default for RecordRules {
    fn default() -> Self {
        Self { enabled: all_enabled(), low_allows_per_mille: all_of_a_thousand() }
    }
}

const fn all_enabled() -> bool {
    true
}

const fn all_of_a_thousand() -> u32 {
    1_000
}

/// How long a request may be held, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldMilliseconds(pub u64);

/// 16 bytes that keep two gates in one Envoy apart: SHA-256 of the layout version and of whatever
/// makes a state another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// A shared key of this gate.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

/// What is wrong with the configuration; the text names the field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gatepass plugin configuration is refused: {0}")]
pub struct ConfigurationError(String);

impl Configuration {
    /// # Errors
    /// The first field that cannot be used, and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        let reader = &mut serde_json::Deserializer::from_slice(bytes);
        let wire: Wire = serde_path_to_error::deserialize(&mut *reader).map_err(|error| {
            let place = match error.path().to_string() {
                path if path == "." => String::new(),
                path => format!("`{path}`: "),
            };
            ConfigurationError(format!("{place}{}", error.inner()))
        })?;
        reader.end().map_err(|error| ConfigurationError(error.to_string()))?;
        wire.check().map_err(ConfigurationError)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    environment: String,
    feed_audience: String,
    control_plane: ControlPlane,
    roots: Roots,
    min_root_version: u64,
    baseline: Option<String>,
    grace: Option<String>,
    hold_ms: Option<u64>,
    #[serde(default)]
    records: RecordRules,
    mode: WireMode,
    #[serde(default)]
    expose_position: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlPlane {
    cluster: String,
    authority: String,
    #[serde(default)]
    path_prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roots {
    keys: Vec<String>,
    threshold: usize,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireMode {
    Enforce,
    Shadow,
}

impl Wire {
    fn check(self) -> Result<Configuration, String> {
        let named = |field: &str, value: &str| {
            if is_token(value) {
                Ok(())
            } else {
                Err(format!("`{field}`: expected 1 to 128 visible ASCII characters"))
            }
        };
        named("environment", &self.environment)?;
        named("feed_audience", &self.feed_audience)?;
        named("control_plane.cluster", &self.control_plane.cluster)?;
        named("control_plane.authority", &self.control_plane.authority)?;
        let path = &self.control_plane.path_prefix;
        if !path.is_empty() && (!is_token(path) || !path.starts_with('/') || path.ends_with('/')) {
            return Err("`control_plane.path_prefix`: expected a path such as `/gatepass`, without a `/` at its end".to_owned());
        }
        if self.min_root_version == 0 {
            return Err("`min_root_version`: expected 1 or more".to_owned());
        }
        let hold = self.hold_ms.unwrap_or(DEFAULT_HOLD);
        if hold > MAX_HOLD {
            return Err(format!("`hold_ms`: expected 0 to {MAX_HOLD}"));
        }
        if self.records.low_allows_per_mille > all_of_a_thousand() {
            return Err("`records.low_allows_per_mille`: expected 0 to 1000".to_owned());
        }
        let pinned = Pinned::new(
            &self.environment,
            &self.roots.keys,
            self.roots.threshold,
            self.min_root_version,
        )
        .map_err(|error| format!("`roots`: {error}"))?;
        let baseline = self.baseline.as_deref().map(decode_baseline).transpose()?;
        let grace = self.grace.as_deref().map(decode_grace).transpose()?;
        let prefix = self.prefix();
        Ok(Configuration {
            settings: Settings {
                environment: self.environment,
                feed_audience: self.feed_audience,
                mode: match self.mode {
                    WireMode::Enforce => Mode::Enforce,
                    WireMode::Shadow => Mode::Shadow,
                },
            },
            pinned,
            feed: FeedAddress {
                cluster: self.control_plane.cluster,
                authority: self.control_plane.authority,
                path_prefix: self.control_plane.path_prefix,
            },
            baseline,
            grace,
            hold: HoldMilliseconds(hold),
            records: self.records,
            expose_position: self.expose_position,
            prefix,
        })
    }

    fn prefix(&self) -> Prefix {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(LAYOUT);
        part(self.environment.as_bytes());
        part(self.feed_audience.as_bytes());
        part(&(self.roots.threshold as u64).to_le_bytes());
        self.roots.keys.iter().for_each(|key| part(key.as_bytes()));
        part(self.control_plane.cluster.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let text: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Prefix(format!("{text}/"))
    }
}

fn decode_baseline(text: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(text).map_err(|_| "`baseline`: expected base64".to_owned())?;
    Feed::decode(&bytes).map_err(|refusal| format!("`baseline`: {}", refusal.detail))?;
    Ok(bytes)
}

/// Who signed it is judged when the root is known.
fn decode_grace(text: &str) -> Result<Vec<u8>, String> {
    let refused = |what: &str| format!("`grace`: {what}, as `gatepass root grace` prints it");
    let bytes = STANDARD.decode(text).map_err(|_| refused("expected base64"))?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(refused("expected at most 16 KiB"));
    }
    let envelope = Unverified::from_json(&bytes).map_err(|refusal| refused(&refusal.detail))?;
    let document: Document = gatepass_engine::json::from_slice(envelope.unverified_payload())
        .map_err(|error| refused(&error.to_string()))?;
    document.check().map_err(|refusal| refused(&refusal.detail))?;
    Ok(bytes)
}

/// The version of the shared keys' layout.
const LAYOUT: &[u8] = b"gatepass shared data 1";
/// Milliseconds.
const DEFAULT_HOLD: u64 = 2_000;
/// Milliseconds.
const MAX_HOLD: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "environment": "prod",
            "feed_audience": "prod",
            "control_plane": {"cluster": "gatepass_control_plane", "authority": "gatepass"},
            "roots": {"keys": ["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"], "threshold": 1},
            "min_root_version": 1,
            "mode": "enforce",
        })
    }

    fn parse(value: &Value) -> Result<Configuration, String> {
        Configuration::parse(value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_good_configuration_is_taken_with_its_defaults() {
        let parsed = parse(&good()).unwrap();
        assert_eq!(parsed.hold, HoldMilliseconds(2_000));
        assert_eq!(parsed.settings.mode, Mode::Enforce);
        assert!(!parsed.expose_position);
        assert_eq!(parsed.records, RecordRules { enabled: true, low_allows_per_mille: 1_000 });
    }

    #[test]
    fn a_field_that_cannot_be_used_is_named() {
        let check = |change: fn(&mut Value), expected: &str| {
            let mut value = good();
            change(&mut value);
            let error = parse(&value).unwrap_err();
            assert!(error.contains(expected), "{error} should name {expected}");
        };
        check(|v| v["enviroment"] = json!("prod"), "`enviroment`, expected one of `environment`");
        check(
            |v| {
                v.as_object_mut().unwrap().remove("mode");
            },
            "missing field `mode`",
        );
        check(|v| v["mode"] = json!("open"), "expected `enforce` or `shadow`");
        check(|v| v["environment"] = json!(""), "`environment`");
        check(|v| v["feed_audience"] = json!("a b"), "`feed_audience`");
        check(|v| v["control_plane"]["cluster"] = json!(""), "`control_plane.cluster`");
        check(|v| v["control_plane"]["path_prefix"] = json!("x"), "`control_plane.path_prefix`");
        check(|v| v["control_plane"]["tls"] = json!(true), "unknown field `tls`");
        check(|v| v["roots"]["threshold"] = json!(2), "`roots`: a threshold of 2");
        check(|v| v["roots"]["threshold"] = json!(0), "`roots`: a threshold of 0");
        check(|v| v["roots"]["keys"] = json!([]), "`roots`");
        check(
            |v| v["roots"]["keys"][0] = json!("AAAA"),
            "`roots`: root key 0: an Ed25519 public key has 32 bytes",
        );
        check(|v| v["min_root_version"] = json!(0), "`min_root_version`");
        check(|v| v["hold_ms"] = json!(60_000), "`hold_ms`: expected 0 to 10000");
        check(|v| v["hold_ms"] = json!(-1), "`hold_ms`: invalid value");
        check(|v| v["records"] = json!(false), "`records`");
        check(|v| v["records"] = json!({"low_allows": 5}), "unknown field `low_allows`");
        check(
            |v| v["records"] = json!({"low_allows_per_mille": 1_001}),
            "`records.low_allows_per_mille`: expected 0 to 1000",
        );
        check(|v| v["baseline"] = json!("%"), "`baseline`");
        check(|v| v["baseline"] = json!("AAAA"), "`baseline`");
        check(|v| v["grace"] = json!("%"), "`grace`: expected base64");
        check(|v| v["grace"] = json!("e30="), "`grace`: the envelope does not parse");
        check(|v| v["grace"] = json!("A".repeat(24_000)), "`grace`: expected at most 16 KiB");
        check(|v| v["environment"] = json!(5), "`environment`: invalid type");
        check(|v| v["roots"]["keys"][0] = json!(5), "`roots.keys[0]`: invalid type");
        assert!(Configuration::parse(format!("{} x", good()).as_bytes()).is_err());
        assert!(Configuration::parse(b"").is_err());
        assert!(Configuration::parse(b"{}").is_err());
    }

    #[test]
    fn two_gates_have_keys_of_their_own() {
        let mut other = good();
        other["feed_audience"] = json!("canary");
        assert_ne!(parse(&good()).unwrap().prefix, parse(&other).unwrap().prefix);
        let mut shadow = good();
        shadow["mode"] = json!("shadow");
        assert_eq!(parse(&good()).unwrap().prefix, parse(&shadow).unwrap().prefix);
    }
}
