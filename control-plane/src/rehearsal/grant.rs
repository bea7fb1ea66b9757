//! The gatepass of a test, as it is issued.

use std::collections::BTreeMap;

use gatepass_engine::budget::Amount;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_policy::cases::Pass;
use serde_json::Value;

use crate::budget;
use crate::issue::{Approval, Constraint, Entry, Grant, IssueError, Party};

/// `audience` is that of the host; `approved` the digest that a human has agreed to.
pub(super) fn of(
    pass: &Pass,
    audience: &str,
    bundle: &Bundle,
    now: UnixSeconds,
    approved: Option<[u8; 32]>,
) -> Result<Grant, IssueError> {
    let agent = Party {
        id: pass.agent.clone(),
        owner: pass.owner.clone(),
        blueprint: pass.blueprint.clone(),
    };
    let mut grant = Grant::new(JTI, agent, &pass.task, audience, &[]);
    grant.subject.clone_from(&pass.subject);
    if let Some(audiences) = &pass.audiences {
        grant.audiences.clone_from(audiences);
    }
    grant.scopes.clone_from(&pass.scopes);
    grant.assurance = pass.assurance;
    grant.lifetime = u64::from(pass.lifetime);
    grant.entries = vec![Entry {
        actions: pass.actions.clone(),
        constraints: constraints(&pass.constraints)?,
        uses: pass.uses,
        ..Entry::default()
    }];
    grant.approval = approved.map(|digest| Approval {
        id: "test-approval".to_owned(),
        by: "user:test/approver".to_owned(),
        at: UnixSeconds(now.0.saturating_sub(u64::from(pass.issued))),
        amr: vec!["hwk".to_owned()],
        digest,
    });
    budget::use_once(&mut grant.entries, bundle);
    budget::alone(&mut grant, bundle);
    for (name, text) in &pass.budgets {
        let wrong = || IssueError::Budget(name.clone(), text.clone());
        let budget = bundle.budgets.iter().find(|budget| budget.name == *name);
        let sum = budget.and_then(|budget| Amount::parse(&budget.sums, text)).ok_or_else(wrong)?;
        grant.budgets.insert(budget.map_or_else(String::new, |budget| budget.claim.clone()), sum);
    }
    Ok(grant)
}

fn constraints(
    stated: &BTreeMap<String, BTreeMap<String, Value>>,
) -> Result<BTreeMap<String, Constraint>, IssueError> {
    let of = |(input, bounds): (&String, &BTreeMap<String, Value>)| {
        let bounds = bounds.iter().map(|(name, value)| (name.clone(), value.clone()));
        let bounds = Value::Object(bounds.collect());
        let constraint = serde_json::from_value(bounds).map_err(|_| IssueError::Encoding)?;
        Ok((input.clone(), constraint))
    };
    stated.iter().map(of).collect()
}

pub(super) const JTI: &str = "test-gatepass";
