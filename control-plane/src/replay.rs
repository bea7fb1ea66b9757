//! Recorded decisions, held against a policy that is not in force yet: how many would come out otherwise.
//!
//! A record has no gatepass, no path and not every input, so not each can be decided again. What rests on
//! something that the record lacks is [`Again::Undecided`], and says on what; nothing is guessed. Requirements of
//! actions are compared with those of the policy in force, which the request has met already or has not.

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::bundle::{ActionMode, Bundle, RouteTarget};
use gatepass_engine::denial::Code;
use gatepass_engine::policy::BadProgram;
use gatepass_engine::routes::{Flaw, Index};
use gatepass_policy::changes::{Bearing, requirements};

use crate::decisions::DecisionView;

mod facts;
mod place;
mod ruled;
mod tally;

pub use tally::Tally;

use facts::Held;
use place::{Found, Place};
use ruled::{Apart, Ruled};

/// What the control plane knows beside the records.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub environment: String,
    /// Where the policy in force was published, as records have it.
    pub policy: String,
    /// Of agents, by their ids.
    pub blueprints: BTreeMap<String, String>,
}

/// A candidate beside the policy in force.
pub struct Replay {
    known: Known,
    before: Bundle,
    candidate: Index,
    /// None where it has none.
    rules: Option<Apart>,
}

/// What the candidate makes of a recorded decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// It went on, and would; or it was denied, and would be.
    Same,
    Denied {
        code: Code,
        /// The rules that deny.
        rules: Vec<String>,
    },
    Allowed,
    /// By what: each that the record lacks.
    Undecided(BTreeSet<String>),
}

/// Why nothing can be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the candidate is no policy: {}", .0.what)]
    Candidate(Flaw),
    #[error("the rules of the candidate cannot be taken apart: {0}")]
    Rules(#[from] BadProgram),
}

impl Replay {
    /// # Errors
    /// [`ReplayError`].
    pub fn new(before: Bundle, candidate: Bundle, known: Known) -> Result<Self, ReplayError> {
        let rules = gatepass_policy::program(&candidate).map(Apart::of).transpose()?;
        let candidate = Index::build(candidate).map_err(ReplayError::Candidate)?;
        Ok(Self { known, before, candidate, rules })
    }

    /// Decides one again; `None` for what is no decision of its own: the end of a request that had gone on.
    #[must_use]
    pub fn again(&self, record: &DecisionView) -> Option<Again> {
        let went_on = match record.outcome.as_str() {
            "allow" | "shadow" => true,
            "deny" => false,
            _ => return None,
        };
        // It is told before anything is asked of the policy.
        if !went_on && record.code == Code::NotReady.as_str() {
            return Some(Again::Same);
        }
        let now = match place::find(self.candidate.bundle(), &self.before, record) {
            Place::Unknown(what) => undecided(what),
            Place::Gone => denied(Code::NoRoute),
            // What has two readings is denied wherever it arrives.
            Place::Open if record.code == Code::AmbiguousRequest.as_str() => {
                undecided(&rests_on(&record.code))
            }
            Place::Open => Again::Allowed,
            Place::Action(found) => match found.action.mode {
                ActionMode::Shadow => Again::Allowed,
                ActionMode::Enforce => self.of_action(record, &found),
            },
        };
        Some(match now {
            // The gate as a whole lets everything on.
            Again::Denied { .. } if record.shadow => Again::Same,
            Again::Denied { .. } if !went_on => Again::Same,
            Again::Allowed if went_on => Again::Same,
            other => other,
        })
    }

    /// Whether it would be allowed or denied, as far as it can be said.
    fn of_action(&self, record: &DecisionView, found: &Found<'_>) -> Again {
        if is_of_the_gatepass(&record.code) {
            return denied(code_of(record));
        }
        let name = &found.action.name;
        match &record.action {
            Some(action) if action == name => {}
            Some(_) => return undecided("whether the gatepass grants another action"),
            None => return undecided(&rests_on(&record.code)),
        }
        let before = match place::find(&self.before, &self.before, record) {
            Place::Action(before) if before.action.name == *name => Some(before),
            Place::Action(_) | Place::Unknown(_) | Place::Gone | Place::Open => None,
        };
        // Under another policy than the one in force other things were asked for.
        let before = before.filter(|_| record.policy.as_deref() == Some(&self.known.policy));
        match record.code.as_str() {
            "decided" | "policy_denied" | "policy_error" => {}
            _ => return denied_before(record, before.as_ref(), found),
        }
        let age = record.age_ms.unwrap_or_default();
        if age > u64::from(found.action.staleness).saturating_mul(1_000) {
            return denied(Code::Stale);
        }
        let ruled = self.ruled(record, found, before.as_ref());
        let unmet = match (&before, &ruled) {
            (_, Ruled::Denied { code, rules }) => {
                return Again::Denied { code: *code, rules: rules.clone() };
            }
            (Some(before), _) => unmet(before, found),
            (None, _) => BTreeSet::from([ANOTHER_POLICY.to_owned()]),
        };
        match ruled {
            Ruled::Unclear(mut what) => {
                what.extend(unmet);
                Again::Undecided(what)
            }
            Ruled::Permitted | Ruled::Denied { .. } if unmet.is_empty() => Again::Allowed,
            Ruled::Permitted | Ruled::Denied { .. } => Again::Undecided(unmet),
        }
    }

    fn ruled(&self, record: &DecisionView, found: &Found<'_>, before: Option<&Found<'_>>) -> Ruled {
        let Some(rules) = &self.rules else { return Ruled::Permitted };
        let held = Held::of(record, found, before.map(|before| before.route), &self.known);
        let with = held.with(self.candidate.rules(), |facts, lacks| {
            rules.decide(self.candidate.rules(), found.at, facts, lacks)
        });
        with.unwrap_or_else(|what| Ruled::Unclear(BTreeSet::from([what.to_owned()])))
    }
}

/// A denial that rests on what an action asks for: the same where the action asks for the same.
fn denied_before(record: &DecisionView, before: Option<&Found<'_>>, found: &Found<'_>) -> Again {
    let asks_the_same = |before: &&Found<'_>| {
        before.action == found.action
            && before.host.audience == found.host.audience
            && before.route.inputs == found.route.inputs
            && before.route.max_body == found.route.max_body
    };
    match before.filter(asks_the_same) {
        Some(_) => denied(code_of(record)),
        None => undecided(&rests_on(&record.code)),
    }
}

/// What is asked for now that was not; what can be said from a record is left out.
fn unmet(before: &Found<'_>, after: &Found<'_>) -> BTreeSet<String> {
    let changes = requirements(before.action, after.action).into_iter();
    let narrower = changes.filter(|change| change.bearing != Bearing::Wider);
    let unsaid = narrower.filter(|change| {
        !["staleness ", "mode "].iter().any(|known| change.what.starts_with(known))
    });
    let mut unmet: BTreeSet<String> = unsaid.map(|change| change.what).collect();
    if before.host.audience != after.host.audience {
        unmet.insert("the audience".to_owned());
    }
    for was in &before.route.inputs {
        // A gatepass may hold it to something.
        let is = after.route.inputs.iter().find(|is| is.name == was.name);
        if is.is_none_or(|is| (&is.kind, &is.source) != (&was.kind, &was.source)) {
            unmet.insert(format!("input `{}`", was.name));
        }
    }
    unmet
}

fn rests_on(code: &str) -> String {
    format!("what `{code}` rests on")
}

fn denied(code: Code) -> Again {
    Again::Denied { code, rules: Vec::new() }
}

fn undecided(what: &str) -> Again {
    Again::Undecided(BTreeSet::from([what.to_owned()]))
}

fn code_of(record: &DecisionView) -> Code {
    let code = Code::ALL.iter().find(|code| code.as_str() == record.code);
    code.copied().unwrap_or(Code::PolicyDenied)
}

/// Denials of a gatepass that is none here, whatever the action asks for.
fn is_of_the_gatepass(code: &str) -> bool {
    OF_THE_GATEPASS.iter().any(|known| known.as_str() == code)
}

/// The action that a route is for, by its number.
const fn action_of(target: RouteTarget) -> Option<u32> {
    match target {
        RouteTarget::Public => None,
        RouteTarget::Action(at) => Some(at),
    }
}

const ANOTHER_POLICY: &str = "another policy than the one in force decided it";
const OF_THE_GATEPASS: [Code; 20] = [
    Code::NoCredential,
    Code::Malformed,
    Code::UnsupportedAlgorithm,
    Code::UnknownKey,
    Code::RevokedKey,
    Code::BadSignature,
    Code::WrongIssuer,
    Code::Expired,
    Code::NotYetValid,
    Code::WrongEnvironment,
    Code::WrongEpoch,
    Code::Behind,
    Code::RevokedCredential,
    Code::RevokedAncestor,
    Code::RevokedTask,
    Code::RevokedSubject,
    Code::RevokedAgent,
    Code::RevokedOwner,
    Code::RevokedBlueprint,
    Code::NotReady,
];

#[cfg(test)]
mod tests;
