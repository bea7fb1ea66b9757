//! What a vector's file holds. Bytes are base64 (RFC 4648 section 4), public keys base64url without
//! padding as everywhere else, times whole seconds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_engine::gate::{Mode, Settings};
use gatepass_engine::root::Pinned;
use serde::{Deserialize, Serialize};

use crate::keys::{NAMED, b64, public};

/// A request, the gate that it comes to, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatepassVector {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) why: String,
    /// `allow`, or the denial's code.
    pub(crate) expected: String,
    /// Of a denial: the HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Of an allow: `decided`, `shadow: <code>`, `public` or `passed_through`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Of one that is not accepted: the accepted case that it differs from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin: Option<String>,
    /// The one thing in which it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<String>,
    pub(crate) gate: GateConfiguration,
    pub(crate) public_keys: BTreeMap<String, String>,
    /// When the gate heard `feed`.
    pub(crate) heard_at: u64,
    /// The feed answer that puts the gate in its state; absent when it heard none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) feed: Option<Base64>,
    /// When the request comes.
    pub(crate) now: u64,
    pub(crate) request: RequestVector,
}

/// A feed answer, the gate that hears it, and what becomes of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedVector {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) why: String,
    /// `moved`, `renewed`, `part` or `known`, or the refusal's code.
    pub(crate) expected: String,
    /// Of one that is not accepted: the accepted case that it differs from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin: Option<String>,
    /// The one thing in which it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<String>,
    pub(crate) gate: GateConfiguration,
    pub(crate) public_keys: BTreeMap<String, String>,
    /// What the gate heard before, all of which it accepted.
    pub(crate) heard: Vec<Heard>,
    /// When the gate hears `feed`.
    pub(crate) now: u64,
    /// Root documents and at most one batch.
    pub(crate) feed: Base64,
    pub(crate) after: After,
}

/// The part of a plugin's configuration that decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateConfiguration {
    pub(crate) environment: String,
    pub(crate) feed_audience: String,
    pub(crate) roots: Roots,
    pub(crate) min_root_version: u64,
    /// `enforce` or `shadow`.
    pub(crate) mode: String,
    /// A feed answer that brings roots and a bundle, never freshness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) baseline: Option<Base64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roots {
    pub(crate) keys: Vec<String>,
    pub(crate) threshold: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heard {
    pub(crate) at: u64,
    pub(crate) feed: Base64,
}

/// The gate's state at `now`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    pub(crate) root_version: u64,
    /// Epoch and sequence; absent while the gate is not ready.
    pub(crate) position: Option<[u64; 2]>,
    /// `issued_at` of the newest proof of freshness, or when it was heard if that is earlier;
    /// absent while there is none.
    pub(crate) fresh_as_of: Option<u64>,
}

/// Headers in order, pseudo-headers first, names in lower case: what Envoy holds after its
/// connection manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestVector {
    pub(crate) headers: Vec<HeaderVector>,
    /// There is no body and there are no trailers.
    pub(crate) ends_with_headers: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderVector {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Of a value that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<Base64>,
}

impl HeaderVector {
    pub(crate) fn new(name: &str, value: &[u8]) -> Self {
        let text = core::str::from_utf8(value).ok();
        Self {
            name: name.to_owned(),
            value: text.map(str::to_owned),
            value_base64: text.is_none().then(|| Base64::of(value)),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.value, &self.value_base64) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(bytes)) => bytes.decoded(),
            _ => panic!("`{}` needs one of `value` and `value_base64`", self.name),
        }
    }
}

/// Bytes in base64 with padding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Base64(pub(crate) String);

impl Base64 {
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(STANDARD.encode(bytes))
    }

    pub(crate) fn decoded(&self) -> Vec<u8> {
        STANDARD.decode(&self.0).unwrap()
    }
}

impl GateConfiguration {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            environment: self.environment.clone(),
            feed_audience: self.feed_audience.clone(),
            mode: match self.mode.as_str() {
                "enforce" => Mode::Enforce,
                "shadow" => Mode::Shadow,
                other => panic!("mode `{other}`"),
            },
        }
    }

    pub(crate) fn pinned(&self) -> Pinned {
        let roots = &self.roots;
        Pinned::new(&self.environment, &roots.keys, roots.threshold, self.min_root_version).unwrap()
    }
}

/// All keys that sign anything in the vectors.
pub(crate) fn public_keys() -> BTreeMap<String, String> {
    NAMED.iter().map(|(name, seed)| ((*name).to_owned(), b64(public(*seed)))).collect()
}
