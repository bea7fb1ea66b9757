//! The first term of a condition, where it asks a text of the request for one value or the time for a bound: most rules
//! of a policy are about another agent, blueprint, owner or environment, and end there.
//!
//! A rule whose guard rules it out is false, and nothing else of it is looked at; any other is evaluated from the
//! start. So a hash that two texts share costs an evaluation and changes nothing.

use core::num::NonZeroU32;

use super::{Facts, Kind, Node, Program, Slot};
use crate::fold::fold;

/// A text of the request or its gatepass that is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Agent,
    Blueprint,
    Owner,
    Environment,
    Method,
    Host,
    Path,
    Route,
    Assurance,
    Subject,
    Task,
}

const FACTS: [Fact; 11] = [
    Fact::Agent,
    Fact::Blueprint,
    Fact::Owner,
    Fact::Environment,
    Fact::Method,
    Fact::Host,
    Fact::Path,
    Fact::Route,
    Fact::Assurance,
    Fact::Subject,
    Fact::Task,
];

/// What must be for a condition to hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    /// A fact is the text with this hash.
    Is(Fact, NonZeroU32),
    /// It is earlier: seconds since 1970.
    Before(u32),
}

/// Which facts the guards of an action ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted(u16);

impl Wanted {
    pub(super) const fn add(&mut self, guard: Guard) {
        match guard {
            Guard::Is(fact, _) => self.0 |= 1 << fact as u16,
            Guard::Before(_) => {}
        }
    }
}

/// Of one decision.
pub(super) struct Hashes {
    texts: [Option<NonZeroU32>; FACTS.len()],
    /// Seconds since 1970; none before there is a request.
    time: Option<u64>,
}

impl Guard {
    /// Of a condition whose numbers were checked; none where its first term is another.
    pub(super) fn of(program: &Program, condition: u32) -> Option<Self> {
        let node = |at: u32| program.nodes.get(usize::try_from(at).ok()?).copied();
        let mut first = condition;
        while let Node::And(left, _) = node(first)? {
            first = left;
        }
        if let Node::Less(left, right) = node(first)? {
            return match (node(left)?, node(right)?) {
                (Node::Slot(Slot::Time), Node::Datetime(end)) => before(end),
                _ => None,
            };
        }
        let (fact, text) = Fact::asked(program, first)?;
        let text = program.texts.get(usize::try_from(text).ok()?)?;
        Some(Self::Is(fact, hash(text)))
    }
}

impl Fact {
    /// Of a node that is true where a fact is one text, by its number.
    pub(super) fn asked(program: &Program, at: u32) -> Option<(Self, u32)> {
        let node = |at: u32| program.nodes.get(usize::try_from(at).ok()?).copied();
        Some(match node(at)? {
            Node::Equal(left, right) => match (node(left)?, node(right)?) {
                (Node::Slot(slot), Node::Text(text)) | (Node::Text(text), Node::Slot(slot)) => {
                    (Self::of(slot)?, text)
                }
                (Node::Slot(Slot::Owner), Node::Entity(Kind::Person, id))
                | (Node::Entity(Kind::Person, id), Node::Slot(Slot::Owner)) => (Self::Owner, id),
                (Node::Principal, Node::Entity(Kind::Agent, id))
                | (Node::Entity(Kind::Agent, id), Node::Principal) => (Self::Agent, id),
                _ => return None,
            },
            Node::In(left, right) => match (node(left)?, node(right)?) {
                (Node::Principal, Node::Entity(Kind::Agent, id)) => (Self::Agent, id),
                (Node::Principal, Node::Entity(Kind::Blueprint, id)) => (Self::Blueprint, id),
                _ => return None,
            },
            _ => return None,
        })
    }

    pub(super) const fn of(slot: Slot) -> Option<Self> {
        match slot {
            Slot::Environment => Some(Self::Environment),
            Slot::Method => Some(Self::Method),
            Slot::Host => Some(Self::Host),
            Slot::Path => Some(Self::Path),
            Slot::Route => Some(Self::Route),
            Slot::Assurance => Some(Self::Assurance),
            Slot::Subject => Some(Self::Subject),
            Slot::Task => Some(Self::Task),
            _ => None,
        }
    }

    /// None where it is not known yet.
    pub(super) fn text<'a>(self, facts: &Facts<'a>) -> Option<&'a str> {
        let claims = facts.claims;
        Some(match self {
            Self::Agent => claims.client_id.as_str(),
            Self::Blueprint => claims.blueprint.as_str(),
            Self::Owner => claims.owner.as_str(),
            Self::Environment => facts.environment,
            Self::Method => facts.asked?.method,
            Self::Host => facts.asked?.host,
            Self::Path => facts.asked?.path,
            Self::Route => facts.asked?.route,
            Self::Assurance => super::facts::assurance(claims),
            Self::Subject => claims.sub.as_str(),
            Self::Task => claims.txn.as_str(),
        })
    }
}

impl Hashes {
    pub(super) fn of(facts: &Facts<'_>, wanted: Wanted) -> Self {
        let mut texts = [None; FACTS.len()];
        for (place, fact) in texts.iter_mut().zip(FACTS) {
            if wanted.0 & (1 << fact as u16) != 0 {
                *place = fact.text(facts).map(hash);
            }
        }
        Self { texts, time: facts.asked.map(|_| facts.now.0) }
    }

    /// Whether the condition is false for certain.
    pub(super) fn rule_out(&self, guard: Guard) -> bool {
        match guard {
            Guard::Is(fact, hash) => {
                let known = self.texts.get(fact as usize).copied().flatten();
                known.is_some_and(|known| known != hash)
            }
            Guard::Before(end) => self.time.is_some_and(|time| time >= u64::from(end)),
        }
    }
}

/// Of milliseconds. A request's time is in whole seconds, so the first that is not before is known exactly; none
/// where that is beyond 2106.
fn before(end: i64) -> Option<Guard> {
    let first = end.max(0).cast_unsigned().div_ceil(1_000);
    u32::try_from(first).ok().map(Guard::Before)
}

fn hash(text: &str) -> NonZeroU32 {
    // The upper half has seen all of the text.
    NonZeroU32::MIN | (fold(text.as_bytes(), 0) >> 32) as u32
}
