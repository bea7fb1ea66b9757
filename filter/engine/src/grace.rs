//! Grace: for a few hours, named low-risk actions go on without fresh state. The control plane is gone for
//! longer than their staleness bound, and whoever holds the root keys says that this is known and worth
//! the risk: nothing that is revoked meanwhile is heard of.
//!
//! The document comes with the plugin's configuration, because the feed is what is missing. It is signed
//! by a threshold of the root in force, ends by itself, and makes nothing fresh: gatepasses expire as
//! they would, and an age beyond [`MAX_GRACE`] is stale whatever it says.

use serde::{Deserialize, Serialize};

use crate::bundle::{Action, Risk};
use crate::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use crate::envelope::{PayloadType, Unverified};
use crate::refusal::{Refusal, RefusalCode};
use crate::root::Trust;

/// The document's JSON, payload type `application/vnd.gatepass.grace.v1+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub environment: String,
    pub issued_at: UnixSeconds,
    /// At most [`MAX_GRACE`] after `issued_at`.
    pub expires: UnixSeconds,
    /// Actions by name; those that the policy in force does not call low risk are not covered.
    pub actions: Vec<String>,
}

impl Document {
    /// # Errors
    /// `poison`: says which member cannot be.
    pub fn check(&self) -> Result<(), Refusal> {
        let poison = |what: &str| Err(Refusal::new(RefusalCode::Poison, what));
        let life = self.expires.since(self.issued_at);
        if life == 0 || life > MAX_GRACE {
            return poison("a grace lasts from one second to four hours");
        }
        if self.actions.is_empty() || self.actions.len() > MAX_ACTIONS {
            return poison("a grace names 1 to 64 actions");
        }
        Ok(())
    }
}

/// A document that the root in force vouches for; only [`Grace::read`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grace(Document);

impl Grace {
    /// Reads a DSSE JSON envelope.
    ///
    /// # Errors
    /// `poison`, `bad_payload_type`, `bad_signature` below the threshold of the root in force,
    /// `wrong_environment`.
    pub fn read(envelope: &[u8], trust: &Trust, environment: &str) -> Result<Self, Refusal> {
        if envelope.len() > MAX_DOCUMENT_BYTES {
            return Err(Refusal::new(RefusalCode::Poison, "the grace document is too large"));
        }
        let envelope = Unverified::from_json(envelope)?;
        let (keys, threshold) = trust.root_keys();
        envelope.require(PayloadType::Grace, keys, threshold)?;
        let document: Document = crate::json::from_slice(envelope.unverified_payload())
            .map_err(|e| Refusal::new(RefusalCode::Poison, format!("grace document: {e}")))?;
        document.check()?;
        if document.environment != environment {
            return Err(Refusal::new(
                RefusalCode::WrongEnvironment,
                "the grace is for another environment",
            ));
        }
        Ok(Self(document))
    }

    /// Whether `action` may go on at `now` on state that is too old for it.
    #[must_use]
    pub fn covers(&self, action: &Action, now: UnixSeconds) -> bool {
        action.risk == Risk::Low && self.left(now) > 0 && self.0.actions.contains(&action.name)
    }

    /// Seconds until it ends; 0 before it begins.
    #[must_use]
    pub fn left(&self, now: UnixSeconds) -> u64 {
        match self.0.issued_at > now.plus(MAX_CLOCK_SKEW) {
            true => 0,
            false => self.0.expires.since(now),
        }
    }
}

/// Seconds: the longest grace, and the oldest state that it covers.
pub const MAX_GRACE: u64 = 4 * 3600;
/// Actions of one document.
pub const MAX_ACTIONS: usize = 64;
/// Bytes of an envelope.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;
