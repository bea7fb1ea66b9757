//! What becomes of given requests under one policy, to be held against another.

use core::fmt;

use gatepass_engine::{Code, Decision, Reason};
use gatepass_policy::Compiled;
use gatepass_policy::cases::Case;

use super::rules::{Decided, Parts};
use super::stage::Stage;
use super::{Came, RehearsalError, came};

/// The decision on one request, as far as two policies can differ in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// By these rules, where the policy has some; so of the others.
    Allowed(Vec<String>),
    Denied(Code, Vec<String>),
    /// It goes on, and would be denied if its action were enforced.
    Shadow(Code, Vec<String>),
    /// It cannot be asked here, and why: a host that is not guarded, a budget that there is not.
    Unasked(String),
}

impl Fate {
    /// Of what came of a request, with the rules that it rests on.
    pub(super) fn of(came: &Came, rules: Vec<String>) -> Self {
        let decision = match came {
            Came::Decided(decision, _) => &**decision,
            Came::NoPass(error) => return Self::Unasked(error.to_string()),
            Came::NoHost => return Self::Unasked("not exactly one host is guarded".to_owned()),
        };
        match decision {
            Decision::Allow(permit) => match permit.reason() {
                Reason::Shadow(denial) => Self::Shadow(denial.code(), rules),
                Reason::Decided(_) | Reason::Public | Reason::PassedThrough => Self::Allowed(rules),
            },
            // Once it is confirmed.
            Decision::Redeem(_) => Self::Allowed(rules),
            Decision::Deny(denial) => Self::Denied(denial.code(), rules),
            Decision::Read(_) => Self::Unasked("it waits for a body".to_owned()),
        }
    }

    /// Whether the caller is told the same, whatever rules it rests on.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Allowed(_), Self::Allowed(_)) => true,
            (Self::Denied(code, _), Self::Denied(now, _))
            | (Self::Shadow(code, _), Self::Shadow(now, _)) => code == now,
            _ => self == other,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, code, rules) = match self {
            Self::Allowed(rules) => ("allow", None, rules),
            Self::Unasked(why) => return write!(f, "not asked: {why}"),
            Self::Denied(code, rules) => ("deny", Some(code), rules),
            Self::Shadow(code, rules) => ("shadow", Some(code), rules),
        };
        f.write_str(how)?;
        if let Some(code) = code {
            write!(f, ", `{code}`")?;
        }
        if rules.is_empty() { Ok(()) } else { write!(f, " by {}", rules.join(", ")) }
    }
}

/// Decides each request, in the order of the tests that give them; what those expect is not looked at.
///
/// # Errors
/// [`RehearsalError`] where no gate could be made.
pub fn fates(compiled: &Compiled, cases: &[Case]) -> Result<Vec<Fate>, RehearsalError> {
    let mut stage = Stage::new(compiled)?;
    let mut parts = Parts::new(&compiled.bundle);
    let mut fates = Vec::with_capacity(cases.len());
    for case in cases {
        let came = came(&mut stage, &compiled.bundle, case)?;
        let Decided { rules, .. } = parts.add(came.noted());
        fates.push(Fate::of(&came, rules));
    }
    Ok(fates)
}
