//! Entries as JSON: every list bounded while it is read, every unknown member a restriction that
//! cannot be checked.

use core::fmt;
use core::marker::PhantomData;
use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Constraint, Details, ENTRY_TYPE, Entry, Literal, Operator};

impl<'de: 'a, 'a> Deserialize<'de> for Details<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bounded(entries) = Bounded::<Entry<'a>, MAX_ENTRIES>::deserialize(deserializer)?;
        Ok(Self(entries))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor(PhantomData))
    }
}

struct EntryVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for EntryVisitor<'a> {
    type Value = Entry<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of `authorization_details`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry<'a>, A::Error> {
        let mut entry = Entry::default();
        let mut typed = false;
        let mut named = false;
        while let Some(member) = map.next_key::<&str>()? {
            match member {
                "type" => {
                    typed = true;
                    if map.next_value::<&str>()? != ENTRY_TYPE {
                        entry
                            .unsupported
                            .get_or_insert_with(|| "an entry of another type".to_owned());
                    }
                }
                "actions" => {
                    named = true;
                    entry.actions = map.next_value::<Bounded<&'a str, MAX_NAMES>>()?.0;
                }
                "locations" => {
                    entry.locations = Some(map.next_value::<Bounded<&'a str, MAX_NAMES>>()?.0)
                }
                "constraints" => {
                    let Constraints(constraints, unsupported) = map.next_value()?;
                    entry.constraints = constraints;
                    entry.unsupported = entry.unsupported.or(unsupported);
                }
                "args_digest" => {
                    let text = map.next_value::<&str>()?;
                    let digest = URL_SAFE_NO_PAD
                        .decode(text)
                        .ok()
                        .and_then(|d| <[u8; 32]>::try_from(d).ok());
                    entry.args_digest = Some(digest.ok_or_else(|| {
                        A::Error::custom("`args_digest` is not a SHA-256 in base64url")
                    })?);
                }
                "uses" => match map.next_value::<Literal<'a>>()? {
                    Literal::Integer(1) => entry.once = true,
                    Literal::Integer(_) | Literal::Boolean(_) | Literal::Text(_) => {
                        entry.unsupported.get_or_insert_with(|| "`uses` other than 1".to_owned());
                    }
                },
                // Known, and not checkable here: what an `identifier` names is not defined for this type.
                unknown => {
                    map.next_value::<IgnoredAny>()?;
                    entry
                        .unsupported
                        .get_or_insert_with(|| format!("member `{unknown}` of an entry"));
                }
            }
        }
        if !typed || !named {
            return Err(A::Error::custom("an entry needs `type` and `actions`"));
        }
        Ok(entry)
    }
}

/// The constraints, and the first operator that is not known.
struct Constraints<'a>(Vec<Constraint<'a>>, Option<String>);

impl<'de: 'a, 'a> Deserialize<'de> for Constraints<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConstraintsVisitor(PhantomData))
    }
}

struct ConstraintsVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ConstraintsVisitor<'a> {
    type Value = Constraints<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("constraints by input")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Constraints<'a>, A::Error> {
        let mut out = Constraints(Vec::new(), None);
        while let Some(input) = map.next_key::<&'a str>()? {
            let Operators(operators, unsupported) = map.next_value()?;
            if operators.is_empty() && unsupported.is_none() {
                return Err(A::Error::custom("a constraint without an operator"));
            }
            out.1 = out.1.or(unsupported);
            out.0.extend(operators.into_iter().map(|operator| Constraint { input, operator }));
            if out.0.len() > MAX_CONSTRAINTS {
                return Err(A::Error::custom("too many constraints"));
            }
        }
        Ok(out)
    }
}

struct Operators<'a>(Vec<Operator<'a>>, Option<String>);

impl<'de: 'a, 'a> Deserialize<'de> for Operators<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OperatorsVisitor(PhantomData))
    }
}

struct OperatorsVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for OperatorsVisitor<'a> {
    type Value = Operators<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("operators of a constraint")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Operators<'a>, A::Error> {
        let mut out = Operators(Vec::new(), None);
        while let Some(name) = map.next_key::<&str>()? {
            out.0.push(match name {
                "max" => Operator::Max(map.next_value()?),
                "min" => Operator::Min(map.next_value()?),
                "equals" => Operator::Equals(map.next_value()?),
                "in" => Operator::In(map.next_value::<Bounded<Literal<'a>, MAX_CHOICES>>()?.0),
                "prefix" => match map.next_value()? {
                    Literal::Text(text) => Operator::Prefix(text),
                    Literal::Integer(_) | Literal::Boolean(_) => {
                        return Err(A::Error::custom("`prefix` takes a text"));
                    }
                },
                unknown => {
                    map.next_value::<IgnoredAny>()?;
                    out.1.get_or_insert_with(|| format!("operator `{unknown}` of a constraint"));
                    continue;
                }
            });
        }
        Ok(out)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Literal<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LiteralVisitor(PhantomData))
    }
}

struct LiteralVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for LiteralVisitor<'a> {
    type Value = Literal<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number or a boolean")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Literal<'a>, E> {
        Ok(Literal::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Literal<'a>, E> {
        i64::try_from(value).map(Literal::Integer).map_err(|_| E::custom("a number beyond 64 bits"))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Literal<'a>, E> {
        Ok(Literal::Boolean(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Literal<'a>, E> {
        Ok(Literal::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Literal<'a>, E> {
        Ok(Literal::Text(Cow::Owned(text.to_owned())))
    }
}

/// A list of at most `MOST`.
pub(crate) struct Bounded<T, const MOST: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

struct BoundedVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for BoundedVisitor<T, MOST> {
    type Value = Bounded<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = seq.next_element()? {
            if out.len() >= MOST {
                return Err(A::Error::custom(format_args!("more than {MOST} items")));
            }
            out.push(item);
        }
        Ok(Bounded(out))
    }
}

const MAX_ENTRIES: usize = 16;
/// Actions or locations of one entry.
const MAX_NAMES: usize = 32;
/// Constraints of one entry.
const MAX_CONSTRAINTS: usize = 32;
/// Values of one `in`.
const MAX_CHOICES: usize = 64;
