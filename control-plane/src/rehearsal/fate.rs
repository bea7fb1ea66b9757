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
    Allowed,
    Denied(Code, Vec<String>),
    /// It goes on, and would be denied if its action were enforced.
    Shadow(Code, Vec<String>),
    /// It cannot be asked here, and why: a host that is not guarded, a budget that there is not.
    Unasked(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, code, rules) = match self {
            Self::Allowed => return f.write_str("allow"),
            Self::Unasked(why) => return write!(f, "not asked: {why}"),
            Self::Denied(code, rules) => ("deny", code, rules),
            Self::Shadow(code, rules) => ("shadow", code, rules),
        };
        write!(f, "{how}, `{code}`")?;
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
        fates.push(match came {
            Came::Decided(decision, _) => of(*decision, rules),
            Came::NoPass(error) => Fate::Unasked(error.to_string()),
            Came::NoHost => Fate::Unasked("not exactly one host is guarded".to_owned()),
        });
    }
    Ok(fates)
}

fn of(decision: Decision, rules: Vec<String>) -> Fate {
    match decision {
        Decision::Allow(permit) => match permit.reason() {
            Reason::Shadow(denial) => Fate::Shadow(denial.code(), rules),
            Reason::Decided(_) | Reason::Public | Reason::PassedThrough => Fate::Allowed,
        },
        // Once it is confirmed.
        Decision::Redeem(_) => Fate::Allowed,
        Decision::Deny(denial) => Fate::Denied(denial.code(), rules),
        Decision::Read(_) => Fate::Unasked("it waits for a body".to_owned()),
    }
}
