//! Why a batch was not applied. A batch is *refused*; a request is *denied*.

use core::fmt;

/// The refusal of a batch: a stable code for metrics and the feed status, and a text for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    pub code: RefusalCode,
    /// For the operator's log; names the place. Never holds key material.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

macro_rules! refusal_codes {
    ($($variant:ident = $text:literal : $meaning:literal),+ $(,)?) => {
        /// The stable codes of refusals; the table of 02-wire-formats, "The batch".
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalCode { $(#[doc = $meaning] $variant),+ }

        impl RefusalCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it stands in metrics, status headers and docs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// One line for the table in the docs.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }
    };
}

refusal_codes! {
    BadPayloadType = "bad_payload_type": "The envelope's payload type is not exactly the one expected.",
    BadSignature = "bad_signature": "No key that the root in force names for the feed signed the envelope, or a root document lacks its threshold.",
    WrongEnvironment = "wrong_environment": "The batch or root is of another environment.",
    WrongAudience = "wrong_audience": "The batch is for another feed audience.",
    FilterTooOld = "filter_too_old": "The batch needs a newer filter.",
    ClockSkew = "clock_skew": "The batch is dated in the future.",
    Expired = "expired": "The batch, or the last root document, has expired.",
    Rollback = "rollback": "The batch or root is not newer than the one in force.",
    Gap = "gap": "The batch, part or root does not join on to what is in force.",
    BundleRefused = "bundle_refused": "Revocations and keys were applied, the bundle was not: it is invalid or needs what this filter lacks.",
    Poison = "poison": "The signed content does not decode, breaks a limit, or applying it failed before.",
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
