//! What a decision leaves to the control plane: that a use is spent here and nowhere else, and that the
//! record of the decision is stored before the request goes on.
//!
//! A decision that lacks nothing else gives a [`Redemption`]. Who holds one asks, and what is answered
//! becomes a [`Confirmation`] only here: an envelope signed by a `redeem` key of the root in force, over this
//! environment, this gatepass, the nonce of this very question, the verdict and the time. With it the request
//! is decided again ([`crate::decision::decide_confirmed`]), on what is newest then.

use serde::{Deserialize, Serialize};

use crate::clock::{MAX_CLOCK_SKEW, Now, UnixSeconds};
use crate::decision::{Identity, Noted};
use crate::denial::{About, Code, Denial};
use crate::envelope::{PayloadType, Unverified};
use crate::gate::Gate;

/// What must be confirmed of a request that is otherwise allowed. Only a decision makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    pub(crate) jti: String,
    pub(crate) expires: UnixSeconds,
    pub(crate) needs: Needs,
    pub(crate) identity: Identity,
    pub(crate) about: About,
}

/// What it is that must be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The gatepass's one use.
    pub one_use: bool,
    /// The record.
    pub record: bool,
}

/// That it was. It is good for one decision.
#[derive(Debug, PartialEq, Eq)]
pub struct Confirmation {
    jti: String,
    of: Needs,
}

/// What the control plane has said, believed.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Confirmed(Confirmation),
    /// The use was spent before.
    Spent,
    /// It confirms nothing: it does not know the gatepass, or holds it for dead.
    Refused,
}

/// The verdict's JSON, payload type `application/vnd.gatepass.verdict.v1+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub environment: String,
    pub jti: String,
    /// The gate's, of this question.
    pub nonce: String,
    pub verdict: Verdict,
    pub at: UnixSeconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The use was free and is spent now, for this question; a record that came with it is stored.
    Granted,
    Spent,
    /// The record is stored. No use was asked for.
    Stored,
    Refused,
}

impl Redemption {
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// `exp` of the gatepass.
    #[must_use]
    pub const fn expires(&self) -> UnixSeconds {
        self.expires
    }

    #[must_use]
    pub const fn needs(&self) -> Needs {
        self.needs
    }

    /// Who acts.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For the record.
    #[must_use]
    pub fn noted(&self) -> &Noted {
        &self.about.noted
    }

    #[must_use]
    pub fn action(&self) -> &str {
        self.about.action.as_deref().unwrap_or_default()
    }

    /// Reads what was answered to the question with this nonce.
    ///
    /// # Errors
    /// Why it is not believed, for the log.
    pub fn read(
        &self,
        envelope: &[u8],
        nonce: &str,
        gate: &Gate,
        now: Now,
    ) -> Result<Answer, String> {
        if envelope.len() > MAX_ENVELOPE_BYTES {
            return Err("the verdict is too large".to_owned());
        }
        let verified = Unverified::from_json(envelope)
            .and_then(|envelope| envelope.verify(PayloadType::Verdict, gate.redeem_keys()))
            .map_err(|refusal| refusal.to_string())?;
        let document: Document = crate::json::from_slice(&verified.into_payload())
            .map_err(|error| format!("the verdict does not parse: {error}"))?;
        let other = |what: &str| Err(format!("the verdict is of another {what}"));
        if document.environment != gate.settings().environment {
            return other("environment");
        }
        if document.jti != self.jti {
            return other("gatepass");
        }
        if document.nonce != nonce {
            return other("question");
        }
        let times = gate.times(now);
        if document.at.plus(VERDICT_LIFE) <= times.ends {
            return Err("the verdict is old".to_owned());
        }
        if document.at > times.ends.plus(MAX_CLOCK_SKEW) {
            return Err("the verdict is of the future".to_owned());
        }
        let confirmed =
            || Answer::Confirmed(Confirmation { jti: self.jti.clone(), of: self.needs });
        match (document.verdict, self.needs.one_use) {
            (Verdict::Granted, true) | (Verdict::Stored, false) => Ok(confirmed()),
            (Verdict::Spent, true) => Ok(Answer::Spent),
            (Verdict::Refused, _) => Ok(Answer::Refused),
            (Verdict::Granted | Verdict::Spent, false) | (Verdict::Stored, true) => {
                Err("the verdict is not what was asked for".to_owned())
            }
        }
    }

    /// The denial where the use was spent before.
    #[must_use]
    pub fn spent(&self) -> Denial {
        self.denied(Code::Replayed, "the use was spent before")
    }

    /// The denial where nothing was confirmed.
    #[must_use]
    pub fn unconfirmed(&self, why: &str) -> Denial {
        self.denied(Code::ConfirmationFailed, why)
    }

    fn denied(&self, code: Code, why: &str) -> Denial {
        Denial::new(code, why).about(self.about.clone())
    }
}

impl Needs {
    pub(crate) const fn any(self) -> bool {
        self.one_use || self.record
    }
}

impl Confirmation {
    /// Whether all that a decision needs confirmed of this gatepass was.
    pub(crate) fn covers(&self, jti: &str, needs: Needs) -> bool {
        self.jti == jti && (self.of.one_use || !needs.one_use) && (self.of.record || !needs.record)
    }
}

/// Seconds that a verdict may be old: a question is given up long before.
const VERDICT_LIFE: u64 = 60;
/// Of its envelope.
pub const MAX_ENVELOPE_BYTES: usize = 4096;
