//! Rules: what operators write in Cedar, lowered to a form that is decided without allocation.
//!
//! [`Program`] is the form on the wire, in [`crate::bundle::Bundle::policy`]; [`Rules`] is a program that was
//! checked, and nothing else is evaluated. A rule is one `permit` or `forbid`; Cedar calls it a policy.
//!
//! The meaning is Cedar's (docs.cedarpolicy.com, language version 4), but in one place: a `forbid` whose
//! condition is an error denies, where Cedar skips it. Who cannot tell whether something is forbidden must not
//! let it on.
//!
//! - An expression is a node; its operands are nodes before it. So there are no loops, and the depth and the
//!   steps of each condition are known, and bounded, before anything is decided ([`Rules::read`]).
//! - An attribute of the request is a [`Slot`]; there are no look-ups by name.
//! - Each action has the list of the rules that may apply to it.
//! - Where something is not known yet, because a gatepass is about to be issued and there is no request, it is
//!   [`Stop::Unknown`]: a rule that rests on it neither permits for certain nor forbids for certain. The same
//!   function decides both.

use serde::{Deserialize, Serialize};

mod check;
mod condition;
mod evaluate;
mod facts;
mod guard;
mod net;
mod pattern;
mod question;
mod value;
mod verdict;

pub use check::{BadProgram, MAX_DEPTH, MAX_RULES, MAX_STEPS, Rules, is_code, is_message};
pub(crate) use facts::NOWHERE;
pub use facts::{Asked, Facts, inputs_with_document};
pub use net::Net;
pub use pattern::Pattern;
pub use value::{Stop, Value};
pub use verdict::{Causes, Outcome, Verdict};

/// Rules as they are published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Texts that others name by number; no two the same.
    pub texts: Vec<String>,
    pub nets: Vec<Net>,
    pub patterns: Vec<Pattern>,
    /// The operands of each come before it.
    pub nodes: Vec<Node>,
    /// Members of sets and of records, as nodes.
    pub lists: Vec<u32>,
    /// Names of inputs, as texts; [`Slot::Input`] and its parts name them by number.
    pub inputs: Vec<u32>,
    pub rules: Vec<Rule>,
    /// By the number of the action in the bundle.
    pub actions: Vec<Applies>,
    /// Pairs of texts: an action and a group that it is in, directly or not.
    pub groups: Vec<(u32, u32)>,
}

/// What applies to one action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applies {
    /// Rules, ascending.
    pub rules: Vec<u32>,
}

/// One `permit` or `forbid`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `@id`, or else where it stands: `spend.cedar:12`.
    pub id: String,
    pub effect: Effect,
    /// Evaluated and told of, and nothing rests on it.
    pub shadow: bool,
    /// `@code`: what a caller is told that it denies, in a word.
    pub code: Option<String>,
    /// `@message`: the same in a sentence.
    pub message: Option<String>,
    /// A node. Scope and conditions; absent: always.
    pub condition: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    Permit,
    Forbid,
}

/// One expression. Operands are the numbers of nodes, texts by their number in [`Program::texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Node {
    Boolean(bool),
    Long(i64),
    Text(u32),
    /// Ten-thousandths.
    Decimal(i64),
    /// Milliseconds since 1970.
    Datetime(i64),
    /// Milliseconds.
    Duration(i64),
    /// In [`Program::nets`].
    Net(u32),
    Entity(Kind, u32),
    Principal,
    Action,
    Resource,
    Slot(Slot),
    /// Whether it is there.
    Has(Slot),
    Not(u32),
    Negate(u32),
    And(u32, u32),
    Or(u32, u32),
    If(u32, u32, u32),
    Equal(u32, u32),
    Less(u32, u32),
    LessOrEqual(u32, u32),
    Add(u32, u32),
    Subtract(u32, u32),
    Multiply(u32, u32),
    /// Of an entity in another, or in one of a set of them.
    In(u32, u32),
    Is(u32, Kind),
    Contains(u32, u32),
    ContainsAll(u32, u32),
    ContainsAny(u32, u32),
    IsEmpty(u32),
    /// In [`Program::patterns`].
    Like(u32, u32),
    /// Where its members begin in [`Program::lists`], and how many they are.
    Set(u32, u32),
    /// The same, of pairs: the number of a text and a node. Sorted by text.
    Record(u32, u32),
    /// Of a record that is written out, by the number of a text.
    Attribute(u32, u32),
    HasAttribute(u32, u32),
    /// `decimal`'s, in the order of its operands.
    DecimalLess(u32, u32),
    DecimalLessOrEqual(u32, u32),
    IsIpv4(u32),
    IsIpv6(u32),
    IsLoopback(u32),
    IsMulticast(u32),
    IsInRange(u32, u32),
    Offset(u32, u32),
    DurationSince(u32, u32),
    ToDate(u32),
    ToTime(u32),
    /// Of a duration, in whole units of so many milliseconds.
    Whole(u32, u32),
}

/// Types of entities. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Agent,
    Blueprint,
    Person,
    System,
    Action,
}

/// A fact of the request or of its gatepass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// `principal.owner`
    Owner,
    /// `context.environment`
    Environment,
    /// `context.request.method`, and so on.
    Method,
    Host,
    Path,
    Route,
    Time,
    /// The caller's address, which may be missing.
    Source,
    /// `context.gatepass.id`, and so on.
    GatepassId,
    Scopes,
    Assurance,
    Issued,
    Expires,
    Subject,
    Through,
    /// `context.task.id`
    Task,
    /// `context.approval`, which may be missing.
    Approval,
    ApprovalId,
    ApprovalBy,
    /// `context.inputs.*`, which may be missing, by its number in [`Program::inputs`].
    Input(u16),
    /// Of an input that is money.
    Amount(u16),
    Currency(u16),
    /// `context.budget.*`, by its number in [`crate::bundle::Bundle::budgets`]. Missing where the action is not
    /// under it.
    Budget(u16),
}

#[cfg(test)]
mod tests;
