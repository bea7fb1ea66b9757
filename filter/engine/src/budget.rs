//! What a gatepass says of budgets: how much is taken of each with it, by whoever it is counted for.
//!
//! A gatepass names a budget with a digest of what it counts, of whom and for which actions: a budget that comes to be
//! another is not the one that its sum was signed for.
//!
//! The control plane adds it up when it issues, in the transaction that issues, and signs the sum. So a rule about
//! `context.budget` comes to the same at the gate as it came to then, and nobody at the gate counts anything.
//! What is counted is the most that the gatepass allows, once: its action is used once.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use sha2::{Digest as _, Sha256};

use crate::bundle::{Action, Budget, Holder, Sums};
use crate::entry::Literal;
use crate::inputs::{self, Decimal, Money};

/// What gatepasses name a budget by: its name, and a digest of what its sum means. Its window is not in it: a sum over
/// another time is still one of the same.
#[must_use]
pub fn claim_of(budget: &Budget, actions: &[Action]) -> String {
    let per = match budget.per {
        Holder::Agent => "agent",
        Holder::Task => "task",
        Holder::Owner => "owner",
        Holder::Blueprint => "blueprint",
    };
    let sums = match &budget.sums {
        Sums::Uses => ["uses", "", ""],
        Sums::Integer(input) => ["integer", input, ""],
        Sums::Decimal(input) => ["decimal", input, ""],
        Sums::Money(input, currency) => ["money", input, currency],
    };
    let mut hasher = Sha256::new();
    let mut names: Vec<&str> = budget
        .actions
        .iter()
        .filter_map(|at| Some(actions.get(usize::try_from(*at).ok()?)?.name.as_str()))
        .collect();
    names.sort_unstable();
    for part in [budget.name.as_str(), per].into_iter().chain(sums).chain(names) {
        // No part has one in it.
        hasher.update(part);
        hasher.update([0]);
    }
    let digest = hasher.finalize();
    let tag: String = digest.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{tag}", budget.name)
}

/// The claim `budget`: what is taken of each, by [`claim_of`] it, with this gatepass's own part.
#[derive(Debug, Default)]
pub struct Taken<'a>(Vec<(&'a str, Literal<'a>)>);

/// A sum, in the unit of its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Gatepasses, or an input that is a whole number.
    Whole(i64),
    Decimal(Decimal),
    Money(Money),
}

impl Amount {
    /// The number in the smallest step of its unit: ten-thousandths, or ones.
    #[must_use]
    pub const fn steps(self) -> i64 {
        match self {
            Self::Whole(count) => count,
            Self::Decimal(value) => value.ten_thousandths(),
            Self::Money(money) => money.amount.ten_thousandths(),
        }
    }

    /// So many steps of a budget's unit; `None` where its currency is none.
    #[must_use]
    pub fn of(sums: &Sums, steps: i64) -> Option<Self> {
        Some(match sums {
            Sums::Uses | Sums::Integer(_) => Self::Whole(steps),
            Sums::Decimal(_) => Self::Decimal(Decimal::from_ten_thousandths(steps)),
            Sums::Money(_, currency) => {
                let amount = Decimal::from_ten_thousandths(steps);
                Self::Money(Money { amount, currency: inputs::currency(currency)? })
            }
        })
    }

    /// A text that says it as a gatepass does, in a budget's unit.
    #[must_use]
    pub fn parse(sums: &Sums, text: &str) -> Option<Self> {
        match sums {
            Sums::Uses | Sums::Integer(_) => inputs::integer(text).map(Self::Whole),
            Sums::Decimal(_) => Decimal::parse(text).map(Self::Decimal),
            Sums::Money(_, currency) => {
                Money::parse(text).filter(|money| money.currency() == currency).map(Self::Money)
            }
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => count.fmt(f),
            Self::Decimal(value) => value.fmt(f),
            Self::Money(money) => money.fmt(f),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(count) => serializer.serialize_i64(*count),
            Self::Decimal(_) | Self::Money(_) => serializer.collect_str(self),
        }
    }
}

/// The budgets that an action is under.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budgets<'a> {
    /// All of the bundle, by their number.
    all: &'a [Budget],
    /// Of the action in the bundle.
    action: u32,
}

impl<'a> Budgets<'a> {
    #[must_use]
    pub const fn of(all: &'a [Budget], action: u32) -> Self {
        Self { all, action }
    }

    /// The budget of this number, where the action is under it.
    #[must_use]
    pub fn find(&self, nth: u16) -> Option<&'a Budget> {
        let budget = self.all.get(usize::from(nth))?;
        self.is_under(budget).then_some(budget)
    }

    /// Those that the action is under.
    pub fn iter(&self) -> impl Iterator<Item = &'a Budget> {
        self.all.iter().filter(|budget| self.is_under(budget))
    }

    fn is_under(&self, budget: &Budget) -> bool {
        budget.actions.binary_search(&self.action).is_ok()
    }
}

impl Taken<'_> {
    /// What is taken of a budget; `None` where the gatepass does not say, or not in its unit.
    #[must_use]
    pub fn find(&self, budget: &Budget) -> Option<Amount> {
        let (_, taken) = self.0.iter().find(|(name, _)| *name == budget.claim)?;
        match (&budget.sums, taken) {
            (Sums::Uses | Sums::Integer(_), Literal::Integer(count)) => Some(Amount::Whole(*count)),
            (Sums::Decimal(_) | Sums::Money(..), Literal::Text(text)) => {
                Amount::parse(&budget.sums, text)
            }
            _ => None,
        }
    }

    /// Bytes that it takes on the heap.
    #[must_use]
    pub fn weight(&self) -> usize {
        let places = self.0.capacity().saturating_mul(size_of::<(&str, Literal<'_>)>());
        self.0.iter().map(|(_, taken)| taken.weight()).fold(places, usize::saturating_add)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Taken<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TakenVisitor(PhantomData))
    }
}

struct TakenVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for TakenVisitor<'a> {
    type Value = Taken<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what is taken of at most {MAX_BUDGETS} budgets, by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Taken<'a>, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = map.next_key::<&'a str>()? {
            if all.len() >= MAX_BUDGETS {
                return Err(A::Error::custom("too many budgets"));
            }
            all.push((name, map.next_value()?));
        }
        Ok(Taken(all))
    }
}

/// Whether a text may be a budget's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(word)
}

/// Of a bundle, and so of a gatepass.
pub const MAX_BUDGETS: usize = 32;
/// Seconds: more is what a ledger is for.
pub const MAX_WINDOW: u32 = 366 * 24 * 60 * 60;
/// Seconds: less is what a rate limit is for.
pub const MIN_WINDOW: u32 = 60;
const MAX_NAME_BYTES: usize = 64;
/// Of a digest: nobody gains by two budgets of one policy's author being taken for each other.
const TAG_BYTES: usize = 8;

#[cfg(test)]
mod tests;
