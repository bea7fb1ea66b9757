//! The gate's plugin configuration: the JSON text that Envoy hands to the filter.
//!
//! It holds public keys and names, no secret: `/config_dump` shows it. The filter reads it
//! strictly and is the judge of it; this module only writes it, and refuses what would surely
//! be refused there, so that `gatepass-envoy config` prints nothing that cannot start.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The configuration of one gate. Field names are those of the JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// The trust domain whose gatepasses are accepted, such as `prod`.
    pub environment: String,
    /// The audience of the feed that is followed; a canary cohort has one of its own.
    pub feed_audience: String,
    /// Where the feed is polled.
    pub control_plane: ControlPlane,
    /// The pinned root keys.
    pub roots: Roots,
    /// Root documents below this version are refused.
    pub min_root_version: u64,
    /// A signed baseline in base64: brings roots and a bundle at a cold start, never freshness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// A grace document in base64, as `gatepass root grace` prints it: named low-risk actions go on for
    /// some hours without the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<String>,
    /// How long a request whose gatepass is newer than the gate is held, in milliseconds.
    #[serde(default = "default_hold_ms")]
    pub hold_ms: u64,
    /// Which decisions are told to the control plane; all of them unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
    /// Whether denials are answered or only recorded.
    pub mode: Mode,
    /// Test only: responses carry `x-gatepass-vm` and `x-gatepass-position`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expose_position: bool,
}

/// Which decisions are told to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// Whether any are.
    pub enabled: bool,
    /// Of a thousand low-risk requests that go on, so many have a record; the others are counted.
    pub low_allows_per_mille: u32,
}

/// Where the feed is polled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlPlane {
    /// The name of an Envoy cluster.
    pub cluster: String,
    /// The `Host` of the poll.
    pub authority: String,
    /// Prepended to `/v1/feed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
}

/// The pinned root keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roots {
    /// Ed25519 public keys: 32 bytes each, base64url without padding.
    pub keys: Vec<String>,
    /// How many distinct keys must sign a root document.
    pub threshold: u32,
}

/// Whether denials are answered or only recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A denied request is answered by the gate.
    Enforce,
    /// A denied request goes on, and its denial is counted and logged.
    Shadow,
}

/// Why a plugin configuration cannot work. The fault is the writer's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PluginConfigError {
    /// A name is empty.
    #[error("`{0}` is empty: give the name that the control plane was set up with")]
    Empty(&'static str),
    /// A key is not 32 bytes of base64url without padding.
    #[error(
        "root key `{0}` is not an Ed25519 public key: give 32 bytes in base64url without \
         padding (43 characters), as `gatepass root init` prints them"
    )]
    RootKey(String),
    /// The threshold is zero, or more than there are distinct keys.
    #[error("threshold {threshold} cannot be met by {keys} distinct root keys: give 1 to {keys}")]
    Threshold {
        /// The threshold stated.
        threshold: u32,
        /// How many distinct keys are pinned.
        keys: usize,
    },
}

impl PluginConfig {
    /// An enforcing gate that trusts the feed under one set of root keys; the optional fields
    /// are absent, `min_root_version` is 1. The control plane is the cluster
    /// [`crate::FEED_CLUSTER`], under that name as its authority.
    pub fn new(environment: &str, feed_audience: &str, roots: Roots) -> Self {
        Self {
            environment: environment.to_owned(),
            feed_audience: feed_audience.to_owned(),
            control_plane: ControlPlane {
                cluster: crate::FEED_CLUSTER.to_owned(),
                authority: crate::FEED_CLUSTER.to_owned(),
                path_prefix: None,
            },
            roots,
            min_root_version: 1,
            baseline: None,
            grace: None,
            hold_ms: default_hold_ms(),
            records: None,
            mode: Mode::Enforce,
            expose_position: false,
        }
    }

    /// Refuses empty names, ill-formed keys, and a threshold that no set of signatures meets.
    pub fn check(&self) -> Result<(), PluginConfigError> {
        for (field, value) in [
            ("environment", &self.environment),
            ("feed_audience", &self.feed_audience),
            ("control_plane.cluster", &self.control_plane.cluster),
            ("control_plane.authority", &self.control_plane.authority),
        ] {
            if value.is_empty() {
                return Err(PluginConfigError::Empty(field));
            }
        }
        let mut keys = std::collections::BTreeSet::new();
        for key in &self.roots.keys {
            match URL_SAFE_NO_PAD.decode(key) {
                Ok(bytes) if bytes.len() == 32 => keys.insert(bytes),
                _ => return Err(PluginConfigError::RootKey(key.clone())),
            };
        }
        let threshold = self.roots.threshold;
        match usize::try_from(threshold) {
            Ok(needed) if (1..=keys.len()).contains(&needed) => Ok(()),
            _ => Err(PluginConfigError::Threshold { threshold, keys: keys.len() }),
        }
    }

    /// The name that shared data is kept under: private to this environment and audience.
    pub fn vm_id(&self) -> String {
        format!("gatepass/{}/{}", self.environment, self.feed_audience)
    }

    /// The JSON text, indented, since it is read by people in configuration files.
    pub fn text(&self) -> String {
        // INVARIANT: strings, numbers and unit variants always serialise; an empty text would
        // be refused by the filter, so even a mistake here fails closed.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

fn default_hold_ms() -> u64 {
    2000
}

#[cfg(test)]
mod tests {
    use super::{Mode, PluginConfig, PluginConfigError, Roots};

    const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const OTHER: &str = "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

    fn check(keys: &[&str], threshold: u32, expected: Result<(), PluginConfigError>) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let config = PluginConfig::new("prod", "prod", Roots { keys, threshold });
        assert_eq!(config.check(), expected);
    }

    #[test]
    fn a_threshold_counts_distinct_keys() {
        check(&[KEY, OTHER], 2, Ok(()));
        check(&[KEY, KEY], 2, Err(PluginConfigError::Threshold { threshold: 2, keys: 1 }));
        check(&[KEY], 0, Err(PluginConfigError::Threshold { threshold: 0, keys: 1 }));
        check(&[], 1, Err(PluginConfigError::Threshold { threshold: 1, keys: 0 }));
    }

    #[test]
    fn a_key_is_43_characters_of_base64url() {
        for bad in ["", "c2hvcnQ", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "not a key"] {
            check(&[bad], 1, Err(PluginConfigError::RootKey(bad.to_owned())));
        }
    }

    #[test]
    fn an_empty_name_is_refused() {
        let roots = Roots { keys: vec![KEY.to_owned()], threshold: 1 };
        let config = PluginConfig::new("", "prod", roots);
        assert_eq!(config.check(), Err(PluginConfigError::Empty("environment")));
    }

    #[test]
    fn what_is_written_reads_back() {
        let roots = Roots { keys: vec![KEY.to_owned()], threshold: 1 };
        let mut config = PluginConfig::new("prod", "canary", roots);
        config.mode = Mode::Shadow;
        config.baseline = Some("AAAA".to_owned());
        assert_eq!(serde_json::from_str::<PluginConfig>(&config.text()).unwrap(), config);
    }
}
