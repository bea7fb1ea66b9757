//! Why a request was denied: stable codes, their HTTP status, and what the caller can do next.
//!
//! One function maps a denial to status and code; nothing else in the project chooses a status.

use core::fmt;

use crate::decision::Noted;
use crate::position::Position;

/// The denial of one request. The code goes on the wire; the detail goes to the log and to
/// `explain`, because it may name policy that the caller should not learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial(Box<Facts>);

/// Boxed, so that a `Result` on the way to an allow stays small.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    code: Code,
    detail: String,
    hold: Option<HoldUntil>,
    missing_scopes: Vec<String>,
    ruling: Option<Ruling>,
    about: About,
}

/// What the rule that denies says of it, in the words of who wrote it: for the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// `@code`
    pub code: Option<String>,
    /// `@message`
    pub message: Option<String>,
}

/// Whom and what a decision was about, as far as it was known: for logs and metrics. An agent is
/// named only after its gatepass was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub agent: Option<String>,
    pub action: Option<String>,
    /// Its gatepass is for this system, of this epoch and not revoked: what is denied to it, and rests
    /// on the policy, may be held against the policy. Whoever has only a dead one, or one for another
    /// system, moves nothing.
    pub is_live: bool,
    /// For its record.
    pub noted: Noted,
    /// The request is a JSON-RPC message, or goes where only those go.
    pub call: Option<CallId>,
}

/// What an answer to a JSON-RPC message has to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallId {
    /// As it stands there; none where the message was not read, or awaits no answer.
    pub id: Option<String>,
    /// Of MCP's revision 2026-07-28 or later, by its header.
    pub is_modern: bool,
    /// Where the caller learns whom to ask for a gatepass (RFC 9728), where that is known.
    pub metadata: Option<String>,
}

/// How a denied JSON-RPC message is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    pub status: u16,
    /// JSON-RPC's `error.code`.
    pub code: i32,
}

/// What would have to come true for the same request to be decided otherwise soon. Only such a
/// denial may be held by the shell, for a bounded time, and is then decided anew from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldUntil {
    /// The first batch has been accepted from the feed.
    Ready,
    /// The gate has reached this position.
    Reached(Position),
}

impl Denial {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            code,
            detail: detail.into(),
            hold: None,
            missing_scopes: Vec::new(),
            ruling: None,
            about: About::default(),
        }))
    }

    /// The body of a held request outgrew what may wait with it. The one denial that the shell
    /// makes, because only it sees the body.
    #[must_use]
    pub fn body_too_large(limit: usize) -> Self {
        Self::new(Code::BodyTooLarge, format!("more than {limit} bytes while the request is held"))
    }

    /// The worker has no place left to watch an open request, so that it would outlive its permit. Made by
    /// the shell too, for only it knows what is open.
    #[must_use]
    pub fn too_many_open(about: About) -> Self {
        Self::new(Code::TooManyOpen, "no place is left among the open requests").about(about)
    }

    pub(crate) fn held_until(mut self, hold: HoldUntil) -> Self {
        self.0.hold = Some(hold);
        self
    }

    pub(crate) fn missing(mut self, scopes: Vec<String>) -> Self {
        self.0.missing_scopes = scopes;
        self
    }

    pub(crate) fn ruled(mut self, ruling: Ruling) -> Self {
        self.0.ruling = Some(ruling);
        self
    }

    /// What the rule says that denies, where one does and says something.
    #[must_use]
    pub fn ruling(&self) -> Option<&Ruling> {
        self.0.ruling.as_ref()
    }

    pub(crate) fn about(mut self, about: About) -> Self {
        self.0.about = about;
        self
    }

    /// Whom and what it was about.
    #[must_use]
    pub fn whom(&self) -> &About {
        &self.0.about
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// For the log and `explain`, not for the wire.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Set when the request may be held for a moment instead of being refused at once.
    #[must_use]
    pub fn hold(&self) -> Option<HoldUntil> {
        self.0.hold
    }

    /// The value of `WWW-Authenticate` (RFC 6750 section 3), where the status asks for one. No
    /// `error` member when no credential came. Callers of JSON-RPC are told of the resource's metadata
    /// too (RFC 9728 section 5.1).
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        let metadata = self.0.about.call.as_ref().and_then(|call| call.metadata.as_deref());
        let metadata = metadata.map(|uri| format!("resource_metadata=\"{uri}\""));
        let parts: Vec<String> = match self.0.code {
            Code::NoCredential => metadata.into_iter().collect(),
            Code::InsufficientScope => {
                let scope = format!("scope=\"{}\"", self.0.missing_scopes.join(" "));
                [Some("error=\"insufficient_scope\"".to_owned()), Some(scope), metadata]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            code if code.status() == 401 => [Some("error=\"invalid_token\"".to_owned()), metadata]
                .into_iter()
                .flatten()
                .collect(),
            _ => return None,
        };
        Some(if parts.is_empty() {
            "Bearer".to_owned()
        } else {
            format!("Bearer {}", parts.join(", "))
        })
    }

    /// The scopes that the gatepass lacks.
    #[must_use]
    pub fn missing_scopes(&self) -> &[String] {
        &self.0.missing_scopes
    }

    /// How it is answered where the request is a JSON-RPC message.
    ///
    /// A call that was read, of a caller who is known, gets 200 and an error: it is the one form that every
    /// client of MCP and A2A shows whole, and that leaves the session alive (docs/mcp.md). What the
    /// protocol has a status for keeps it.
    #[must_use]
    pub fn call_answer(&self) -> Option<CallAnswer> {
        let call = self.0.about.call.as_ref()?;
        let status = self.0.code.status();
        let code = match self.0.code {
            Code::HeaderBodyMismatch => HEADER_MISMATCH,
            Code::BodyMalformed => INVALID_REQUEST,
            Code::NoRoute => METHOD_NOT_FOUND,
            _ => OWN_CODES.saturating_sub(i32::from(status)),
        };
        let status = match self.0.code {
            _ if call.id.is_none() || status == 401 || status == 400 => status,
            Code::NoRoute if call.is_modern => 404,
            Code::InsufficientScope if call.is_modern => status,
            _ => 200,
        };
        Some(CallAnswer { status, code })
    }
}

/// MCP 2026-07-28: `HeaderMismatch`.
const HEADER_MISMATCH: i32 = -32020;
/// JSON-RPC 2.0 section 5.1.
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
/// Less the HTTP status: outside of what JSON-RPC and MCP keep for themselves.
const OWN_CODES: i32 = -31_000;

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)
    }
}

macro_rules! denial_codes {
    ($($variant:ident = $text:literal, $status:literal : $meaning:literal, next $next:literal);+ $(;)?) => {
        /// The stable denial codes (02-wire-formats, "Denials").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $meaning] $variant),+ }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it stands on the wire, in metrics and in the docs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// What happened, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// What the caller can do about it, in one line; the `detail` of the problem body.
            #[must_use]
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$variant => $next),+ }
            }
        }
    };
}

denial_codes! {
    NoCredential = "no_credential", 401: "The request carries no gatepass.", next "Ask the control plane for a gatepass for this action and send it as `Authorization: Bearer`.";
    Malformed = "malformed", 401: "The gatepass is not one strict compact JWT with the expected header and claims.", next "Send the gatepass exactly as it was issued.";
    UnsupportedAlgorithm = "unsupported_algorithm", 401: "The gatepass names an algorithm other than the one registered with its key.", next "Use a gatepass issued by the control plane.";
    UnknownKey = "unknown_key", 401: "No issuer key in force has this `kid`.", next "Ask for a new gatepass.";
    RevokedKey = "revoked_key", 401: "The key that signed the gatepass is revoked or outside its window.", next "Ask for a new gatepass.";
    BadSignature = "bad_signature", 401: "The signature does not verify.", next "Send the gatepass exactly as it was issued.";
    WrongIssuer = "wrong_issuer", 401: "`iss` is not the issuer that the key is registered for.", next "Use a gatepass issued by this environment's control plane.";
    Expired = "expired", 401: "The gatepass has expired.", next "Ask for a new gatepass.";
    NotYetValid = "not_yet_valid", 401: "`iat` or `nbf` lies in the future.", next "Check the issuer's clock, then ask for a new gatepass.";
    TooOld = "too_old", 401: "The gatepass is older, or lives longer, than this action accepts.", next "Ask for a new gatepass for this action.";
    WrongEnvironment = "wrong_environment", 401: "The gatepass is of another environment.", next "Ask this environment's control plane for a gatepass.";
    WrongAudience = "wrong_audience", 401: "The gatepass is for another target system.", next "Ask for a gatepass whose audience is this system.";
    WrongEpoch = "wrong_epoch", 401: "The gatepass is of an epoch before a restore.", next "Ask for a new gatepass.";
    Behind = "behind", 503: "The gatepass is newer than the gate's own state.", next "Try again in a moment.";
    RevokedCredential = "revoked_credential", 401: "The gatepass is revoked.", next "Ask for a new gatepass.";
    RevokedAncestor = "revoked_ancestor", 401: "A gatepass that this one was exchanged from is revoked.", next "Start again from a gatepass that is in force.";
    RevokedTask = "revoked_task", 401: "The task is completed or revoked.", next "Start a new task.";
    RevokedSubject = "revoked_subject", 401: "The subject is revoked.", next "Ask the subject's administrator.";
    RevokedAgent = "revoked_agent", 401: "An agent in the chain is revoked.", next "Ask the agent's owner.";
    RevokedOwner = "revoked_owner", 401: "An owner of an agent in the chain is revoked.", next "The agent needs an accepted owner.";
    RevokedBlueprint = "revoked_blueprint", 401: "A blueprint of an agent in the chain is disabled.", next "Ask the blueprint's owners.";
    AmbiguousRequest = "ambiguous_request", 400: "The request has a second spelling that an upstream may read differently.", next "Send the plain spelling of host, path, query and headers.";
    NoRoute = "no_route", 403: "No action is defined for this host, method and path.", next "Check the address, or ask for a route to be added to the policy.";
    InsufficientScope = "insufficient_scope", 403: "The gatepass lacks a scope that the action demands.", next "Ask for a gatepass with the missing scopes.";
    ActionNotGranted = "action_not_granted", 403: "No entry of the gatepass grants this action at this system.", next "Ask for a gatepass for this action.";
    ConstraintViolated = "constraint_violated", 403: "The request is outside the constraints of the entry that names the action.", next "Stay inside the constraints, or ask for a gatepass with others.";
    UnsupportedRestriction = "unsupported_restriction", 403: "The gatepass carries a restriction that this gate cannot check here.", next "Ask for a gatepass without it, or route through a gate that checks it.";
    BindingMismatch = "binding_mismatch", 401: "The gatepass is bound to a key or workload that did not present it.", next "Present the gatepass from where it was issued to, with its proof.";
    InsufficientAssurance = "insufficient_assurance", 403: "The agent proved itself too weakly for this action.", next "Use an attested or federated identity.";
    ApprovalRequired = "approval_required", 403: "The action needs a human's approval.", next "Request approval for this action, then ask for a gatepass with it.";
    ApprovalMismatch = "approval_mismatch", 403: "What was approved is not this action.", next "Request approval for exactly this action.";
    BudgetMissing = "budget_missing", 403: "The action is under a budget, and the gatepass has nothing reserved under it.", next "Ask for a new gatepass.";
    PolicyDenied = "policy_denied", 403: "A policy forbids the action, or none permits it.", next "Ask the policy's owner.";
    PolicyError = "policy_error", 403: "A policy could not be evaluated.", next "Ask the policy's owner.";
    Replayed = "replayed", 401: "The gatepass or its proof was used before.", next "Ask for a new gatepass.";
    ReplayTableFull = "replay_table_full", 503: "The gate cannot remember another use.", next "Try again in a moment.";
    BodyTooLarge = "body_too_large", 413: "The body is larger than the action reads.", next "Send a smaller body.";
    BodyTooSlow = "body_too_slow", 408: "The body did not come in time.", next "Send the body at once.";
    GateBusy = "gate_busy", 503: "All that the gate may hold of bodies is taken.", next "Try again in a moment.";
    BodyMalformed = "body_malformed", 400: "The body does not parse.", next "Send a well-formed body.";
    BodyNotAllowed = "body_not_allowed", 403: "The action takes no body of this kind.", next "Send the request as the action takes it: without a body, or of its media type and not encoded.";
    HeaderBodyMismatch = "header_body_mismatch", 400: "A header says something other than the body.", next "Make header and body agree.";
    StreamNotAllowed = "stream_not_allowed", 403: "Upgrades and tunnels are not allowed here.", next "Send a plain request.";
    NotReady = "not_ready", 503: "The gate has not heard from the control plane since it started.", next "Try again in a moment.";
    Stale = "stale", 503: "The gate's last proof of freshness is older than this action accepts.", next "Try again once the control plane is reachable.";
    TooManyOpen = "too_many_open", 503: "The worker has as many requests open as it watches.", next "Try again in a moment.";
    DurationOver = "duration_over", 403: "The request was open for as long as its route allows. Ends what is open; never an answer.", next "Send the request again.";
    PolicyChanged = "policy_changed", 403: "The policy changed, and the gate kept too little of the open request to decide it again. Ends what is open; never an answer.", next "Send the request again.";
    ConfirmationFailed = "confirmation_failed", 503: "A use or an audit record could not be confirmed.", next "Try again in a moment.";
}

impl Code {
    /// Whether another policy could have let a verified gatepass on: what is denied for what the caller
    /// sent, for what is revoked, or for the gate's own state says nothing of the policy in force. Some
    /// come before the checks of position and revocation: see [`About::is_live`].
    #[must_use]
    pub const fn rests_on_policy(self) -> bool {
        match self {
            Self::TooOld
            | Self::NoRoute
            | Self::InsufficientScope
            | Self::ActionNotGranted
            | Self::ConstraintViolated
            | Self::UnsupportedRestriction
            | Self::BindingMismatch
            | Self::InsufficientAssurance
            | Self::BudgetMissing
            | Self::ApprovalRequired
            | Self::ApprovalMismatch
            | Self::PolicyDenied
            | Self::PolicyError
            | Self::BodyNotAllowed
            | Self::StreamNotAllowed => true,
            Self::NoCredential
            | Self::Malformed
            | Self::UnsupportedAlgorithm
            | Self::UnknownKey
            | Self::RevokedKey
            | Self::BadSignature
            | Self::WrongIssuer
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongEnvironment
            | Self::WrongAudience
            | Self::WrongEpoch
            | Self::Behind
            | Self::RevokedCredential
            | Self::RevokedAncestor
            | Self::RevokedTask
            | Self::RevokedSubject
            | Self::RevokedAgent
            | Self::RevokedOwner
            | Self::RevokedBlueprint
            | Self::AmbiguousRequest
            | Self::Replayed
            | Self::ReplayTableFull
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::GateBusy
            | Self::BodyMalformed
            | Self::HeaderBodyMismatch
            | Self::NotReady
            | Self::Stale
            | Self::TooManyOpen
            | Self::DurationOver
            | Self::PolicyChanged
            | Self::ConfirmationFailed => false,
        }
    }

    /// Seconds for `Retry-After` (RFC 9110 section 10.2.3); every 503 carries one.
    #[must_use]
    pub const fn retry_after(self) -> Option<u32> {
        if self.status() == 503 { Some(1) } else { None }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_lower_snake_case() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }

    #[test]
    fn only_a_missing_credential_gets_a_challenge_without_an_error() {
        for code in Code::ALL {
            let challenge = Denial::new(*code, "").challenge();
            match (code, code.status()) {
                (Code::NoCredential, _) => assert_eq!(challenge.as_deref(), Some("Bearer")),
                (Code::InsufficientScope, _) => assert!(challenge.is_some()),
                (_, 401) => {
                    assert_eq!(challenge.as_deref(), Some("Bearer error=\"invalid_token\""));
                }
                _ => assert_eq!(challenge, None),
            }
        }
    }

    #[test]
    fn no_policy_is_blamed_for_what_another_could_not_change() {
        for code in Code::ALL {
            let name = code.as_str();
            let of_others = name.starts_with("revoked_") || code.status() == 503;
            assert!(!(of_others && code.rests_on_policy()), "{name}");
        }
        assert!(Code::InsufficientScope.rests_on_policy());
    }

    #[test]
    fn every_503_says_when_to_come_back_and_nothing_else_does() {
        for code in Code::ALL {
            assert_eq!(code.retry_after().is_some(), code.status() == 503, "{code}");
        }
    }
}
