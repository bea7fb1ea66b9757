//! What an expression is worth for some facts. Without allocation; recursion and steps are bounded by what
//! [`super::Rules::read`] has checked.

use super::value::{Stop, Value};
use super::{Facts, Kind, Node, Program};

/// A program and the facts of one decision.
#[derive(Clone, Copy)]
pub(super) struct Evaluation<'a> {
    pub(super) program: &'a Program,
    pub(super) facts: &'a Facts<'a>,
}

type Worth<'a> = Result<Value<'a>, Stop>;

impl<'a> Evaluation<'a> {
    /// A condition. What is true or false is not put into a [`Value`] on its way: it is most of what is evaluated.
    pub(super) fn holds(&self, at: u32) -> Result<bool, Stop> {
        // INVARIANT: numbers were held against the lists when the program was read.
        let node = self.program.nodes.get(at as usize).ok_or(Stop::Type)?;
        Ok(match *node {
            Node::And(left, right) => self.holds(left)? && self.holds(right)?,
            Node::Or(left, right) => self.holds(left)? || self.holds(right)?,
            Node::Not(operand) => !self.holds(operand)?,
            Node::Has(slot) => self.facts.has(slot)?,
            Node::Equal(left, right) => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                self.equal(left, right)?
            }
            Node::In(left, right) => self.is_in(left, right)?,
            Node::Less(left, right) => {
                let (left, right) = self.comparable(left, right)?;
                left < right
            }
            Node::LessOrEqual(left, right) => {
                let (left, right) = self.comparable(left, right)?;
                left <= right
            }
            Node::Is(operand, kind) => match self.node(operand)? {
                Value::Entity(is, _) => is == kind,
                _ => return Err(Stop::Type),
            },
            Node::Contains(set, member) => {
                let (set, member) = (self.set(set)?, self.node(member)?);
                self.contains(set, member)?
            }
            Node::ContainsAll(all, some) => {
                let (all, some) = (self.set(all)?, self.set(some)?);
                self.contains_all(all, some)?
            }
            Node::ContainsAny(all, some) => {
                let (all, some) = (self.set(all)?, self.set(some)?);
                self.any(some, &mut |one| self.contains(all, one))?
            }
            Node::IsEmpty(set) => {
                let set = self.set(set)?;
                !self.any(set, &mut |_| Ok(true))?
            }
            Node::Like(text, pattern) => {
                let pattern = self.pattern(pattern)?;
                match self.node(text)? {
                    Value::Text(text) => pattern.matches(text),
                    _ => return Err(Stop::Type),
                }
            }
            Node::HasAttribute(record, name) => self.member(record, name)?.is_some(),
            Node::DecimalLess(left, right) => self.decimal(left)? < self.decimal(right)?,
            Node::DecimalLessOrEqual(left, right) => self.decimal(left)? <= self.decimal(right)?,
            Node::IsIpv4(net) => self.net(net)?.is_ipv4(),
            Node::IsIpv6(net) => !self.net(net)?.is_ipv4(),
            Node::IsLoopback(net) => self.net(net)?.is_loopback(),
            Node::IsMulticast(net) => self.net(net)?.is_multicast(),
            Node::IsInRange(net, range) => {
                let (net, range) = (self.net(net)?, self.net(range)?);
                net.is_in(range)
            }
            // A value, which may be one of the two.
            _ => return self.node(at)?.boolean(),
        })
    }

    fn node(&self, at: u32) -> Worth<'a> {
        // INVARIANT: numbers were held against the lists when the program was read.
        let node = self.program.nodes.get(at as usize).ok_or(Stop::Type)?;
        Ok(match *node {
            Node::Slot(slot) => self.facts.find(slot)?.ok_or(Stop::Missing)?,
            Node::Text(text) => Value::Text(self.text(text)?),
            Node::Principal => self.facts.principal(),
            Node::Entity(kind, id) => Value::Entity(kind, self.text(id)?),
            Node::Boolean(value) => Value::Boolean(value),
            Node::Long(value) => Value::Long(value),
            Node::Decimal(value) => Value::Decimal(value),
            Node::Datetime(value) => Value::Datetime(value),
            Node::Duration(value) => Value::Duration(value),
            Node::Net(at) => Value::Net(self.program.nets.get(at as usize).ok_or(Stop::Type)?),
            Node::Action => Value::Entity(Kind::Action, self.facts.action),
            Node::Resource => self.facts.resource()?,
            Node::And(..)
            | Node::Or(..)
            | Node::Not(_)
            | Node::Has(_)
            | Node::Equal(..)
            | Node::In(..)
            | Node::Less(..)
            | Node::LessOrEqual(..)
            | Node::Is(..)
            | Node::Contains(..)
            | Node::ContainsAll(..)
            | Node::ContainsAny(..)
            | Node::IsEmpty(_)
            | Node::Like(..)
            | Node::HasAttribute(..)
            | Node::DecimalLess(..)
            | Node::DecimalLessOrEqual(..)
            | Node::IsIpv4(_)
            | Node::IsIpv6(_)
            | Node::IsLoopback(_)
            | Node::IsMulticast(_)
            | Node::IsInRange(..) => Value::Boolean(self.holds(at)?),
            Node::Negate(operand) => {
                let value = self.long(operand)?;
                Value::Long(value.checked_neg().ok_or(Stop::Overflow)?)
            }
            Node::If(test, then, other) => {
                return self.node(if self.holds(test)? { then } else { other });
            }
            Node::Add(left, right) => {
                let (left, right) = (self.long(left)?, self.long(right)?);
                Value::Long(left.checked_add(right).ok_or(Stop::Overflow)?)
            }
            Node::Subtract(left, right) => {
                let (left, right) = (self.long(left)?, self.long(right)?);
                Value::Long(left.checked_sub(right).ok_or(Stop::Overflow)?)
            }
            Node::Multiply(left, right) => {
                let (left, right) = (self.long(left)?, self.long(right)?);
                Value::Long(left.checked_mul(right).ok_or(Stop::Overflow)?)
            }
            Node::Set(from, count) => {
                // An error in any member is an error of the set.
                for member in self.list(from, count) {
                    self.node(*member)?;
                }
                Value::Set(from, count)
            }
            Node::Record(from, count) => {
                for pair in self.list(from, count.saturating_mul(2)).chunks_exact(2) {
                    self.node(pair.get(1).copied().ok_or(Stop::Type)?)?;
                }
                Value::Record(from, count)
            }
            Node::Attribute(record, name) => {
                let member = self.member(record, name)?.ok_or(Stop::Missing)?;
                return self.node(member);
            }
            Node::Offset(time, by) => {
                let (time, by) = (self.datetime(time)?, self.duration(by)?);
                Value::Datetime(time.checked_add(by).ok_or(Stop::Overflow)?)
            }
            Node::DurationSince(time, earlier) => {
                let (time, earlier) = (self.datetime(time)?, self.datetime(earlier)?);
                Value::Duration(time.checked_sub(earlier).ok_or(Stop::Overflow)?)
            }
            Node::ToDate(time) => {
                let time = self.datetime(time)?;
                let date = time.checked_sub(time.rem_euclid(DAY)).ok_or(Stop::Overflow)?;
                Value::Datetime(date)
            }
            Node::ToTime(time) => Value::Duration(self.datetime(time)?.rem_euclid(DAY)),
            Node::Whole(duration, unit) => {
                let duration = self.duration(duration)?;
                Value::Long(duration.checked_div(i64::from(unit)).ok_or(Stop::Type)?)
            }
        })
    }

    pub(super) fn text(&self, at: u32) -> Result<&'a str, Stop> {
        self.program.texts.get(at as usize).map(String::as_str).ok_or(Stop::Type)
    }

    pub(super) fn pattern(&self, at: u32) -> Result<&'a super::Pattern, Stop> {
        self.program.patterns.get(at as usize).ok_or(Stop::Type)
    }

    pub(super) fn list(&self, from: u32, count: u32) -> &'a [u32] {
        let (from, count) = (from as usize, count as usize);
        self.program.lists.get(from..from.saturating_add(count)).unwrap_or_default()
    }

    fn long(&self, at: u32) -> Result<i64, Stop> {
        match self.node(at)? {
            Value::Long(value) => Ok(value),
            _ => Err(Stop::Type),
        }
    }

    fn decimal(&self, at: u32) -> Result<i64, Stop> {
        match self.node(at)? {
            Value::Decimal(value) => Ok(value),
            _ => Err(Stop::Type),
        }
    }

    fn datetime(&self, at: u32) -> Result<i64, Stop> {
        match self.node(at)? {
            Value::Datetime(value) => Ok(value),
            _ => Err(Stop::Type),
        }
    }

    fn duration(&self, at: u32) -> Result<i64, Stop> {
        match self.node(at)? {
            Value::Duration(value) => Ok(value),
            _ => Err(Stop::Type),
        }
    }

    fn net(&self, at: u32) -> Result<&'a super::Net, Stop> {
        match self.node(at)? {
            Value::Net(net) => Ok(net),
            _ => Err(Stop::Type),
        }
    }

    fn set(&self, at: u32) -> Worth<'a> {
        match self.node(at)? {
            set @ (Value::Set(..) | Value::Texts(_) | Value::Scopes(_) | Value::Actors(_)) => {
                Ok(set)
            }
            _ => Err(Stop::Type),
        }
    }

    /// Two of a type that has an order.
    fn comparable(&self, left: u32, right: u32) -> Result<(i64, i64), Stop> {
        match (self.node(left)?, self.node(right)?) {
            (Value::Long(left), Value::Long(right))
            | (Value::Datetime(left), Value::Datetime(right))
            | (Value::Duration(left), Value::Duration(right)) => Ok((left, right)),
            _ => Err(Stop::Type),
        }
    }

    /// The node of a record's member.
    fn member(&self, record: u32, name: u32) -> Result<Option<u32>, Stop> {
        match self.node(record)? {
            Value::Record(from, count) => Ok(self.find(from, count, name)),
            _ => Err(Stop::Type),
        }
    }

    fn find(&self, from: u32, count: u32, name: u32) -> Option<u32> {
        let pairs = self.list(from, count.saturating_mul(2)).chunks_exact(2);
        let mut found = pairs.filter(|pair| pair.first() == Some(&name));
        found.next().and_then(|pair| pair.get(1)).copied()
    }

    /// Whether a set has a member of which something is true.
    fn any(
        &self,
        set: Value<'a>,
        is: &mut dyn FnMut(Value<'a>) -> Result<bool, Stop>,
    ) -> Result<bool, Stop> {
        match set {
            Value::Set(from, count) => {
                for member in self.list(from, count) {
                    if is(self.node(*member)?)? {
                        return Ok(true);
                    }
                }
            }
            Value::Texts(texts) => {
                for text in texts {
                    if is(Value::Text(text))? {
                        return Ok(true);
                    }
                }
            }
            Value::Scopes(scopes) => {
                for (nth, scope) in scopes.iter().enumerate() {
                    if nth >= MAX_MEMBERS {
                        return Err(Stop::TooMany);
                    }
                    if is(Value::Text(scope))? {
                        return Ok(true);
                    }
                }
            }
            Value::Actors(actors) => {
                for actor in actors {
                    if is(Value::Entity(Kind::Agent, actor.sub.as_str()))? {
                        return Ok(true);
                    }
                }
            }
            _ => return Err(Stop::Type),
        }
        Ok(false)
    }

    fn contains(&self, set: Value<'a>, member: Value<'a>) -> Result<bool, Stop> {
        self.any(set, &mut |one| self.equal(one, member))
    }

    fn contains_all(&self, all: Value<'a>, some: Value<'a>) -> Result<bool, Stop> {
        self.any(some, &mut |one| Ok(!self.contains(all, one)?)).map(|lacks| !lacks)
    }

    /// Values of two types are not equal, and that is no error.
    fn equal(&self, left: Value<'a>, right: Value<'a>) -> Result<bool, Stop> {
        Ok(match (left, right) {
            (Value::Text(left), Value::Text(right)) => left == right,
            (Value::Entity(kind, id), Value::Entity(other, others)) => {
                kind == other && id == others
            }
            (Value::Boolean(left), Value::Boolean(right)) => left == right,
            (Value::Long(left), Value::Long(right))
            | (Value::Decimal(left), Value::Decimal(right))
            | (Value::Datetime(left), Value::Datetime(right))
            | (Value::Duration(left), Value::Duration(right)) => left == right,
            (Value::Net(left), Value::Net(right)) => left == right,
            (Value::Record(from, count), Value::Record(other, others)) => {
                if count != others {
                    return Ok(false);
                }
                for pair in self.list(from, count.saturating_mul(2)).chunks_exact(2) {
                    let [name, member] = pair else { return Err(Stop::Type) };
                    let Some(found) = self.find(other, others, *name) else { return Ok(false) };
                    if !self.equal(self.node(*member)?, self.node(found)?)? {
                        return Ok(false);
                    }
                }
                true
            }
            (left, right) if left.is_set() && right.is_set() => {
                self.contains_all(left, right)? && self.contains_all(right, left)?
            }
            _ => false,
        })
    }

    fn is_in(&self, left: u32, right: u32) -> Result<bool, Stop> {
        let Value::Entity(kind, id) = self.node(left)? else { return Err(Stop::Type) };
        match self.node(right)? {
            Value::Entity(of, ancestor) => self.is_below(kind, id, of, ancestor),
            set if set.is_set() => {
                let mut found = false;
                // Each is looked at: one that is no entity is an error wherever it stands.
                self.any(set, &mut |one| {
                    let Value::Entity(of, ancestor) = one else { return Err(Stop::Type) };
                    found = found || self.is_below(kind, id, of, ancestor)?;
                    Ok(false)
                })?;
                Ok(found)
            }
            _ => Err(Stop::Type),
        }
    }

    /// Whether one entity is another or below it, as far as the gate knows: the agent below its blueprint, and
    /// actions below their groups.
    fn is_below(&self, kind: Kind, id: &str, of: Kind, ancestor: &str) -> Result<bool, Stop> {
        if kind == of && id == ancestor {
            return Ok(true);
        }
        Ok(match (kind, of) {
            (Kind::Agent, Kind::Blueprint) => {
                let claims = self.facts.claims;
                id == claims.client_id.as_str() && ancestor == claims.blueprint.as_str()
            }
            (Kind::Action, Kind::Action) => {
                let is = |at: u32, text: &str| self.text(at).is_ok_and(|known| known == text);
                let mut groups = self.program.groups.iter();
                groups.any(|(action, group)| is(*action, id) && is(*group, ancestor))
            }
            _ => false,
        })
    }
}

impl Value<'_> {
    fn boolean(self) -> Result<bool, Stop> {
        match self {
            Value::Boolean(value) => Ok(value),
            _ => Err(Stop::Type),
        }
    }

    const fn is_set(self) -> bool {
        matches!(self, Value::Set(..) | Value::Texts(_) | Value::Scopes(_) | Value::Actors(_))
    }
}

/// Milliseconds.
pub(super) const DAY: i64 = 24 * 3600 * 1_000;
/// Members of a set of the request that are looked at.
pub(super) const MAX_MEMBERS: usize = 64;
