//! Finds and launches a real Envoy, renders its configuration, and reads those of others.
//!
//! Tests state a [`Bootstrap`] and get a running [`Envoy`] that dies with them; operators get
//! the same lines to paste ([`OperatorConfig`]) or as manifests for their platform ([`Manifest`]).
//! All come from the checked-in `bootstrap.yaml`. [`check::check`] says what in a configuration goes
//! past the gate or weakens it, and [`doctor::Doctor`] asks a running Envoy.
//! This crate knows nothing of decisions: it does not read the filter's answers, and hands any
//! plugin configuration through as text.
//!
//! ```no_run
//! use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig, Roots};
//!
//! let roots = Roots { keys: vec!["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into()], threshold: 1 };
//! let gate = Gate::new("filter.wasm", &PluginConfig::new("prod", "prod", roots));
//! let envoy = Envoy::launch(
//!     &Bootstrap::new()
//!         .listener(Listener::forwarding("in", "127.0.0.1:8080").gate(gate))
//!         .feed("127.0.0.1:9090"),
//! )?;
//! println!("ready on {}", envoy.address("in")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod admin;
mod binary;
mod bootstrap;
pub mod check;
pub mod cli;
mod code;
pub mod doctor;
mod fields;
mod manifest;
mod operator;
mod plugin;
mod process;
mod template;

pub use binary::{ENVOY_VERSION, EnvoyBinary, FindError};
pub use bootstrap::{Bootstrap, FEED_CLUSTER, FeedTls, Gate, Listener, RenderError};
pub use code::{CODE_CLUSTER, Code};
pub use fields::FieldError;
pub use manifest::{ClientCertificate, Manifest, Platform, Side, Target};
pub use operator::OperatorConfig;
pub use plugin::{ControlPlane, Mode, PluginConfig, PluginConfigError, Records, Roots};
pub use process::{Envoy, EnvoyError, HotRestart, LaunchError, Settings};
pub use template::TemplateError;
