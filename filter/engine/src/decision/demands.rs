//! What an action demands of a gatepass that is alive: its age, scopes, restrictions, binding, assurance,
//! approval, budgets and use. Issuing asks the same before a gatepass is there to be refused.

use super::check;
use super::credential::{Presented, Scheme};
use crate::budget::Budgets;
use crate::bundle::{Action, Assurance, Audit, Binding, BodyRule, Risk, Uses};
use crate::denial::{Code, Denial};
use crate::entry::NotGranted;
use crate::gatepass::{Claims, Present};
use crate::redeem::Needs;

pub(super) fn young(claims: &Claims<'_>, action: &Action, age: u64) -> Result<(), Denial> {
    let life = claims.exp.since(claims.iat);
    let longest = u64::from(action.risk.longest_lifetime());
    check(life <= longest, Code::TooOld, "it lives longer than this action's risk accepts")?;
    let old = action.max_age.is_some_and(|most| age > u64::from(most));
    check(!old, Code::TooOld, "it is older than the action's `max_age`")
}

pub(super) fn scopes(claims: &Claims<'_>, action: &Action) -> Result<(), Denial> {
    let missing: Vec<String> =
        action.scopes_all.iter().filter(|scope| !claims.scope.has(scope)).cloned().collect();
    if !missing.is_empty() {
        return Err(
            Denial::new(Code::InsufficientScope, "a demanded scope is missing").missing(missing)
        );
    }
    if !action.scopes_any.is_empty()
        && !action.scopes_any.iter().any(|scope| claims.scope.has(scope))
    {
        let denial = Denial::new(Code::InsufficientScope, "none of the accepted scopes is there");
        return Err(denial.missing(action.scopes_any.clone()));
    }
    Ok(())
}

/// What the gatepass restricts and this engine cannot check.
pub(super) fn restrictions(claims: &Claims<'_>, action: &Action) -> Result<(), Denial> {
    let unsupported = |what: &str| Err(Denial::new(Code::UnsupportedRestriction, what));
    if claims.cnf == Present::Yes {
        return unsupported("`cnf`: a binding to a key");
    }
    if claims.req_wl == Present::Yes {
        return unsupported("`req_wl`: a binding to a workload");
    }
    if claims.uses == Present::Yes {
        return unsupported("`uses` outside an entry");
    }
    match &claims.approval {
        Some(approval) if approval.unsupported => unsupported("an unknown member of `approval`"),
        Some(_) if action.body == BodyRule::Unread => {
            unsupported("an approval on an action whose body is not read")
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn not_granted(why: NotGranted) -> Denial {
    match why {
        NotGranted::Unsupported(what) => Denial::new(Code::UnsupportedRestriction, what),
        NotGranted::Violated(what) => Denial::new(Code::ConstraintViolated, what),
        NotGranted::NotNamed => {
            Denial::new(Code::ActionNotGranted, "no entry names the action at this audience")
        }
    }
}

pub(super) fn binding(presented: Presented<'_>, action: &Action) -> Result<(), Denial> {
    let bearer = presented.scheme == Scheme::Bearer;
    check(bearer, Code::BindingMismatch, "presented as `DPoP` without being bound to a key")?;
    bindable(action)
}

pub(super) fn bindable(action: &Action) -> Result<(), Denial> {
    match action.binding {
        Binding::None => Ok(()),
        Binding::Key | Binding::Certificate | Binding::Workload => {
            Err(Denial::new(Code::BindingMismatch, "the action demands a bound gatepass"))
        }
    }
}

/// The action's own demand, and static secrets for low risk alone.
pub(super) fn assurance(claims: &Claims<'_>, action: &Action) -> Result<(), Denial> {
    check(
        claims.assurance >= action.assurance,
        Code::InsufficientAssurance,
        "below the action's demand",
    )?;
    let weak = claims.assurance == Assurance::Static && action.risk > Risk::Low;
    check(!weak, Code::InsufficientAssurance, "a static secret is for low-risk actions only")
}

pub(super) fn approval(
    claims: &Claims<'_>,
    action: &Action,
    digest: Option<[u8; 32]>,
) -> Result<(), Denial> {
    match &claims.approval {
        Some(approval) => {
            let same = digest.is_some_and(|digest| digest == approval.digest);
            check(same, Code::ApprovalMismatch, "the request does not have the approved digest")
        }
        None => approved(claims, action),
    }
}

pub(super) fn approved(claims: &Claims<'_>, action: &Action) -> Result<(), Denial> {
    let carried = claims.approval.is_some() || !action.approval;
    check(carried, Code::ApprovalRequired, "the gatepass carries no approval")
}

/// What rules bound over several gatepasses was counted when this one was issued.
pub(super) fn budgeted(claims: &Claims<'_>, budgets: Budgets<'_>) -> Result<(), Denial> {
    match budgets.iter().find(|budget| claims.budget.find(budget).is_none()) {
        Some(budget) => {
            let what = format!("it has nothing reserved under budget `{}`", budget.name);
            Err(Denial::new(Code::BudgetMissing, what))
        }
        None => Ok(()),
    }
}

/// What must be confirmed of a request of the action that an entry with so many uses grants.
pub(super) fn needs(action: &Action, granted: Uses) -> Needs {
    Needs {
        one_use: action.uses == Uses::Once || granted == Uses::Once,
        record: action.audit == Audit::Confirmed,
    }
}
