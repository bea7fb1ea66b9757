//! What an expression is worth.

use std::borrow::Cow;

use super::{Kind, Net};
use crate::gatepass::{Actor, Scopes};

/// A value. Nothing in it is owned: it borrows the program or the request.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Boolean(bool),
    Long(i64),
    Text(&'a str),
    /// Ten-thousandths.
    Decimal(i64),
    /// Milliseconds since 1970.
    Datetime(i64),
    /// Milliseconds.
    Duration(i64),
    Net(&'a Net),
    Entity(Kind, &'a str),
    Texts(&'a [Cow<'a, str>]),
    Scopes(&'a Scopes<'a>),
    Actors(&'a [Actor<'a>]),
    /// Written out in the program: [`super::Node::Set`] and [`super::Node::Record`]. Its members are evaluated
    /// where they are looked at; expressions have no effects, so they are the same each time.
    Set(u32, u32),
    Record(u32, u32),
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Beyond 64 bits.
    Overflow,
    /// An attribute that is not there.
    Missing,
    /// An operand of another type.
    Type,
    /// An input of the request that is not of its kind.
    Input,
    /// A set of the gatepass with more members than are looked at.
    TooMany,
    /// Not before there is a request.
    Unknown,
}
