//! `gatepass-envoy manifests`: the flags of a [`Manifest`].

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use crate::{ClientCertificate, Code, Manifest, Mode, Platform, PluginConfig, Roots, Side, Target};
use clap::ValueEnum;

/// Print filled-in configuration for your platform.
#[derive(clap::Args)]
pub struct ManifestsArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    /// Where Envoy reaches the control plane, HOST:PORT.
    #[arg(long)]
    feed: String,
    /// Where Envoy reads filter.wasm.
    #[arg(long, required_unless_present = "wasm_url", conflicts_with = "wasm_url")]
    wasm: Option<PathBuf>,
    /// Where filter.wasm is fetched from.
    #[arg(long, requires = "wasm_sha256")]
    wasm_url: Option<String>,
    /// Its SHA-256 in hexadecimal; anything else is not run.
    #[arg(long, requires = "wasm_url")]
    wasm_sha256: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which environment is guarded, and by which roots.
#[derive(clap::Args)]
pub struct IdentityArgs {
    /// The trust domain whose gatepasses are accepted.
    #[arg(long)]
    pub environment: String,
    /// The audience of the feed; a canary cohort has one of its own.
    #[arg(long)]
    pub feed_audience: String,
    /// A root public key as `gatepass root init` prints it; repeat for each.
    #[arg(long = "root-key", required = true, allow_hyphen_values = true)]
    pub root_keys: Vec<String>,
    /// How many root keys must sign a root document.
    #[arg(long)]
    pub threshold: u32,
    /// The oldest root document to accept.
    #[arg(long, default_value_t = 1)]
    pub min_root_version: u64,
}

/// Where the gate is loaded, and how.
#[derive(clap::Args)]
pub struct PlaceArgs {
    /// Who configures your Envoy.
    #[arg(long = "for", value_enum)]
    platform: For,
    /// Read the feed over TLS, and demand this name of the control plane.
    #[arg(long)]
    feed_sni: Option<String>,
    /// What Envoy shows the control plane of itself: a certificate file as Envoy reads it.
    #[arg(long, requires = "feed_sni", requires = "feed_key", value_name = "FILE")]
    feed_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "feed_cert", value_name = "FILE")]
    feed_key: Option<PathBuf>,
    /// The certificate authorities to believe, a file as Envoy reads it.
    #[arg(long, default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: PathBuf,
    /// An environment variable of Envoy's that the gate may read; repeat for each.
    #[arg(long, default_value = super::JOIN_TOKEN)]
    host_env: Vec<String>,
    /// Record denials, and let the requests pass.
    #[arg(long)]
    shadow: bool,
    /// The file in which Envoy discovers the gate (`ecds`).
    #[arg(long, default_value = "/etc/envoy/gatepass.ecds.yaml")]
    ecds_path: PathBuf,
    /// The namespace of what is printed for Kubernetes.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// KEY=VALUE, which workloads are meant (Istio); repeat for each; none: the whole namespace.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Which side of the proxies is guarded (Istio).
    #[arg(long, value_enum, default_value_t = Guarded::Gateway)]
    side: Guarded,
    /// The Gateway that serves what is guarded (Envoy Gateway).
    #[arg(long, default_value = "eg")]
    gateway: String,
    /// Guard one of its `HTTPRoute`s only (Envoy Gateway).
    #[arg(long)]
    route: Option<String>,
    /// The Gateway's listener, by the name of its section (Envoy Gateway).
    #[arg(long, default_value = "http")]
    listener: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum For {
    Envoy,
    Ecds,
    Istio,
    IstioWasmPlugin,
    EnvoyGateway,
}

#[derive(Clone, Copy, ValueEnum)]
enum Guarded {
    Gateway,
    SidecarInbound,
}

/// Prints what the flags say.
///
/// # Errors
/// Names the flag that cannot be used.
pub fn run(args: ManifestsArgs) -> Result<(), Box<dyn Error>> {
    let code = match (args.wasm, args.wasm_url, args.wasm_sha256) {
        (None, Some(url), Some(sha256)) => Code::Remote { url, sha256 },
        (Some(path), _, _) => Code::Local(path),
        _ => return Err("give --wasm, or --wasm-url with --wasm-sha256".into()),
    };
    print!("{}", render(args.identity, &args.feed, code, args.place)?);
    Ok(())
}

/// The configuration of a gate for a platform.
///
/// # Errors
/// Names the value that cannot be used.
pub fn render(
    identity: IdentityArgs,
    feed: &str,
    code: Code,
    place: PlaceArgs,
) -> Result<String, Box<dyn Error>> {
    let roots = Roots { keys: identity.root_keys, threshold: identity.threshold };
    let mut plugin = PluginConfig::new(&identity.environment, &identity.feed_audience, roots);
    feed.clone_into(&mut plugin.control_plane.authority);
    plugin.min_root_version = identity.min_root_version;
    if place.shadow {
        plugin.mode = Mode::Shadow;
    }
    let label = |text: &String| {
        let (key, value) = text.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    let labels: Option<BTreeMap<_, _>> = place.labels.iter().map(label).collect();
    let platform = match place.platform {
        For::Envoy => Platform::Envoy,
        For::Ecds => Platform::Ecds,
        For::Istio => Platform::Istio,
        For::IstioWasmPlugin => Platform::IstioWasmPlugin,
        For::EnvoyGateway => Platform::EnvoyGateway,
    };
    let manifest = Manifest {
        feed_sni: place.feed_sni,
        feed_client: place
            .feed_cert
            .zip(place.feed_key)
            .map(|(certificate, key)| ClientCertificate { certificate, key }),
        ca: place.ca,
        host_env: place.host_env,
        ecds_path: place.ecds_path,
        namespace: place.namespace,
        labels: labels.ok_or("--label is KEY=VALUE")?,
        side: match place.side {
            Guarded::Gateway => Side::Gateway,
            Guarded::SidecarInbound => Side::SidecarInbound,
        },
        target: Target { gateway: place.gateway, route: place.route, listener: place.listener },
        ..Manifest::new(plugin, feed, code)
    };
    Ok(manifest.render(platform)?)
}
