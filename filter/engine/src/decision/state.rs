//! The gatepass against the gate's state: is there any, is it fresh enough, is it of the gatepass's time, and has
//! it anything against the gatepass.

use crate::bundle::Action;
use crate::clock::Now;
use crate::denial::{Code, Denial, HoldUntil};
use crate::gate::Gate;
use crate::gatepass::Claims;
use crate::ids::Subject;
use crate::position::Position;
use crate::revocation::{Kind, Revocations};

/// The position, once a batch was accepted from the feed.
pub(super) fn in_force(gate: &Gate, now: Now) -> Result<Position, Denial> {
    match (gate.position(), gate.age(now)) {
        (Some(position), Some(_)) => Ok(position),
        (None, _) | (_, None) => {
            Err(Denial::new(Code::NotReady, "no batch was accepted from the feed yet"))
        }
    }
}

pub(super) fn fresh(gate: &Gate, action: &Action, now: Now) -> Result<(), Denial> {
    let bound = gate.staleness_bound(action, now);
    match gate.age(now) {
        Some(age) if age <= bound => Ok(()),
        Some(age) => Err(Denial::new(
            Code::Stale,
            format!("the proof of freshness is {age} ms old, the bound is {bound} ms"),
        )),
        None => Err(Denial::new(Code::Stale, "there is no proof of freshness")),
    }
}

/// What is held against the gate's state.
pub(super) struct Held<'h, 'c> {
    pub(super) gate: &'h Gate,
    pub(super) now: Now,
    pub(super) position: Position,
    pub(super) claims: &'h Claims<'c>,
}

impl Held<'_, '_> {
    pub(super) fn fresh(&self, action: &Action) -> Result<(), Denial> {
        fresh(self.gate, action, self.now)
    }

    pub(super) fn in_step(&self) -> Result<(), Denial> {
        in_step(self.claims.seq, self.position, self.gate.behind())
    }

    pub(super) fn alive(&self) -> Result<(), Denial> {
        revoked(self.claims, self.gate.revocations())
    }
}

pub(super) fn in_step(
    issued: Position,
    gate: Position,
    behind: Option<Position>,
) -> Result<(), Denial> {
    if issued.epoch < gate.epoch {
        return Err(Denial::new(
            Code::WrongEpoch,
            format!("issued at {issued}, the gate is at {gate}"),
        ));
    }
    if let Some(ahead) = behind {
        let denial =
            Denial::new(Code::Behind, format!("the gate is at {gate} and knows of {ahead}"));
        return Err(denial.held_until(HoldUntil::Reached(ahead.max(issued))));
    }
    if issued > gate {
        let denial =
            Denial::new(Code::Behind, format!("issued at {issued}, the gate is at {gate}"));
        return Err(denial.held_until(HoldUntil::Reached(issued)));
    }
    Ok(())
}

fn revoked(claims: &Claims<'_>, table: Option<&Revocations>) -> Result<(), Denial> {
    match table {
        Some(table) => alive(claims, |kind, id, sequence| table.hits(kind, id, sequence)),
        None => Err(Denial::new(Code::NotReady, "there is no revocation table")),
    }
}

/// Credential, ancestors, task, subject, every actor, their owners and blueprints. `hits` says
/// whether a revocation in force kills what carries this id and was issued at this sequence.
///
/// # Errors
/// The denial of the first that is dead.
pub fn alive(
    claims: &Claims<'_>,
    mut hits: impl FnMut(Kind, &str, u64) -> bool,
) -> Result<(), Denial> {
    let sequence = claims.seq.sequence;
    let mut check = |kind: Kind, id: &str, code: Code| {
        if hits(kind, id, sequence) {
            Err(Denial::new(code, format!("a revocation matches the hash of `{id}`")))
        } else {
            Ok(())
        }
    };
    check(Kind::Credential, claims.jti.as_str(), Code::RevokedCredential)?;
    for ancestor in &claims.anc {
        check(Kind::Credential, ancestor.as_str(), Code::RevokedAncestor)?;
    }
    check(Kind::Task, claims.txn.as_str(), Code::RevokedTask)?;
    check(Kind::Subject, claims.sub.as_str(), Code::RevokedSubject)?;
    if let Subject::Agent(agent) = claims.sub {
        check(Kind::Agent, agent.as_str(), Code::RevokedAgent)?;
    }
    check(Kind::Agent, claims.client_id.as_str(), Code::RevokedAgent)?;
    check(Kind::Owner, claims.owner.as_str(), Code::RevokedOwner)?;
    check(Kind::Blueprint, claims.blueprint.as_str(), Code::RevokedBlueprint)?;
    for actor in &claims.act {
        check(Kind::Agent, actor.sub.as_str(), Code::RevokedAgent)?;
        check(Kind::Owner, actor.owner.as_str(), Code::RevokedOwner)?;
        check(Kind::Blueprint, actor.blueprint.as_str(), Code::RevokedBlueprint)?;
    }
    Ok(())
}
