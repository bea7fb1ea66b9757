//! What a decision tells of its way. `decide` and `explain` are the same code with another
//! listener, so what is explained is what is enforced.

use crate::denial::Code;

/// The checks, in the order of 02-wire-formats, "Order of checks".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Request,
    Host,
    Path,
    Route,
    OneCredential,
    Ready,
    Credential,
    Shape,
    Signature,
    IssuerEnvironmentAudienceTime,
    RouteExists,
    Stream,
    Body,
    Freshness,
    Position,
    Revocation,
    Age,
    Scope,
    Restrictions,
    Call,
    Inputs,
    Entry,
    Binding,
    Assurance,
    Approval,
    Budget,
    Rules,
    Consumption,
}

impl Check {
    /// The check's name in `explain`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request has one spelling",
            Self::Host => "host is known",
            Self::Path => "path has one spelling",
            Self::Route => "route is matched",
            Self::OneCredential => "at most one `authorization`",
            Self::Ready => "a batch was accepted from the feed",
            Self::Credential => "a gatepass is presented",
            Self::Shape => "the gatepass is well formed",
            Self::Signature => "an issuer key in force signed it",
            Self::IssuerEnvironmentAudienceTime => "issuer, environment, audience and time fit",
            Self::RouteExists => "an action is defined here",
            Self::Stream => "no upgrade or tunnel but what the route means",
            Self::Body => "the body rule holds",
            Self::Freshness => "the state is fresh enough",
            Self::Position => "the gate is not behind the gatepass",
            Self::Revocation => "nothing in the chain is revoked",
            Self::Age => "the gatepass is young enough for the action",
            Self::Scope => "the scopes are there",
            Self::Restrictions => "every restriction can be checked",
            Self::Call => "header and body name one call",
            Self::Inputs => "each input has one reading",
            Self::Entry => "one entry grants the action",
            Self::Binding => "the binding holds",
            Self::Assurance => "the agent proved itself well enough",
            Self::Approval => "a human approved this action",
            Self::Budget => "what it takes of a budget is reserved",
            Self::Rules => "the policy's rules permit it",
            Self::Consumption => "what is used up is still there",
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// It does not apply, and why.
    NotAsked(&'static str),
    Failed(Code, String),
}

/// Listens to a decision.
pub trait Trace {
    fn note(&mut self, check: Check, outcome: impl FnOnce() -> Outcome);

    /// The request's action digest, where the gatepass pins or approves one.
    fn digest(&mut self, _: [u8; 32]) {}
}

/// Hears nothing and costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Trace for Silent {
    fn note(&mut self, _: Check, _: impl FnOnce() -> Outcome) {}
}

/// Keeps each check in order, and the request's action digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded(pub Vec<(Check, Outcome)>, pub Option<[u8; 32]>);

impl Trace for Recorded {
    fn note(&mut self, check: Check, outcome: impl FnOnce() -> Outcome) {
        self.0.push((check, outcome()));
    }

    fn digest(&mut self, digest: [u8; 32]) {
        self.1 = Some(digest);
    }
}
