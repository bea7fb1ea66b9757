//! One member of `authorization_details` (RFC 9396), type `agent_action`: what a gatepass grants.
//!
//! One entry grants; entries are never combined. A member that this engine does not know is a
//! restriction that it cannot check, so the whole gatepass is denied as `unsupported_restriction`
//! rather than read without it.

use std::borrow::Cow;

use crate::bundle::Uses;
use crate::inputs::{Decimal, Found, Inputs, Money, Value};

mod wire;

pub(crate) use wire::Bounded;

/// All entries of a gatepass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details<'a>(Vec<Entry<'a>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    actions: Vec<&'a str>,
    locations: Option<Vec<&'a str>>,
    constraints: Vec<Constraint<'a>>,
    args_digest: Option<[u8; 32]>,
    /// `uses` is 1.
    once: bool,
    /// The first member or restriction that cannot be checked.
    unsupported: Option<String>,
}

/// One bound on one input.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Constraint<'a> {
    input: &'a str,
    operator: Operator<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator<'a> {
    Max(Literal<'a>),
    Min(Literal<'a>),
    Equals(Literal<'a>),
    In(Vec<Literal<'a>>),
    Prefix(Cow<'a, str>),
}

/// A value as the gatepass writes it; the input's kind says how to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal<'a> {
    Integer(i64),
    Boolean(bool),
    Text(Cow<'a, str>),
}

/// What is asked of the entries.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r, 'a> {
    pub action: &'r str,
    pub audience: &'r str,
    pub inputs: &'r Inputs<'a>,
    /// How much of what the request does is known.
    pub known: Known,
    /// The action digest, where it can be computed.
    pub digest: Option<[u8; 32]>,
}

/// How much of what a request does is known to whoever decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// All: its headers, and what it has of a body was read.
    All,
    /// The bytes of its body, and not what they mean: a digest says all there is to say, constraints do not.
    Bytes,
    /// Not its body.
    Headers,
}

/// Why no entry grants, most telling first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotGranted {
    /// A restriction that this engine cannot check, in any entry or in the one that applies.
    Unsupported(String),
    /// An entry names the action here, and a constraint of it does not hold.
    Violated(String),
    /// No entry names the action at this audience.
    NotNamed,
}

impl Details<'_> {
    /// Whether one entry grants what is asked. An unknown member anywhere denies the whole. Where several do,
    /// the one that costs no use grants.
    ///
    /// # Errors
    /// Says why none grants.
    pub fn grant(&self, asked: &Asked<'_, '_>) -> Result<Uses, NotGranted> {
        if let Some(what) = self.0.iter().find_map(|entry| entry.unsupported.as_ref()) {
            return Err(NotGranted::Unsupported(what.clone()));
        }
        let mut why = NotGranted::NotNamed;
        let mut granted = None;
        for entry in &self.0 {
            match entry.grants(asked) {
                Ok(()) if !entry.once => return Ok(Uses::Unlimited),
                Ok(()) => granted = Some(Uses::Once),
                Err(reason) if rank(&reason) > rank(&why) => why = reason,
                Err(_) => {}
            }
        }
        granted.ok_or(why)
    }

    /// Whether some entry has one use.
    #[must_use]
    pub fn has_uses(&self) -> bool {
        self.0.iter().any(|entry| entry.once)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some entry is for one exact request.
    #[must_use]
    pub fn pins_digest(&self) -> bool {
        self.0.iter().any(|entry| entry.args_digest.is_some())
    }

    /// Bytes that the entries take on the heap.
    #[must_use]
    pub fn weight(&self) -> usize {
        let entries = self.0.capacity().saturating_mul(size_of::<Entry<'_>>());
        self.0.iter().map(Entry::weight).fold(entries, usize::saturating_add)
    }

    /// Every action that some entry names, with the entry's locations (`None`: every `aud`).
    pub fn named(&self) -> impl Iterator<Item = (&str, Option<&[&str]>)> {
        self.0.iter().flat_map(|entry| {
            let locations = entry.locations.as_deref();
            entry.actions.iter().map(move |action| (*action, locations))
        })
    }

    /// The first restriction that no gate can check.
    #[must_use]
    pub fn unsupported(&self) -> Option<&str> {
        self.0.iter().find_map(|entry| entry.unsupported.as_deref())
    }
}

const fn rank(reason: &NotGranted) -> u8 {
    match reason {
        NotGranted::NotNamed => 0,
        NotGranted::Violated(_) => 1,
        NotGranted::Unsupported(_) => 2,
    }
}

impl Entry<'_> {
    fn weight(&self) -> usize {
        let text = size_of::<&str>();
        let locations = self.locations.as_ref().map_or(0, Vec::capacity);
        let constraints = self.constraints.capacity().saturating_mul(size_of::<Constraint<'_>>());
        let literals = self.constraints.iter().map(|constraint| constraint.operator.weight());
        literals
            .fold(constraints, usize::saturating_add)
            .saturating_add(self.actions.capacity().saturating_mul(text))
            .saturating_add(locations.saturating_mul(text))
            .saturating_add(self.unsupported.as_ref().map_or(0, String::capacity))
    }

    fn grants(&self, asked: &Asked<'_, '_>) -> Result<(), NotGranted> {
        if !self.actions.contains(&asked.action) {
            return Err(NotGranted::NotNamed);
        }
        if self.locations.as_ref().is_some_and(|all| !all.contains(&asked.audience)) {
            return Err(NotGranted::NotNamed);
        }
        let known = match asked.known {
            Known::All => true,
            Known::Bytes => self.constraints.is_empty() || self.args_digest.is_some(),
            Known::Headers => self.constraints.is_empty() && self.args_digest.is_none(),
        };
        if !known {
            return Err(NotGranted::Unsupported(
                "constraints on an action whose body is not read".to_owned(),
            ));
        }
        for constraint in &self.constraints {
            constraint.holds(asked.inputs)?;
        }
        if self.args_digest.is_some() && self.args_digest != asked.digest {
            return Err(NotGranted::Violated(
                "the request does not have the granted `args_digest`".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Operator<'_> {
    fn weight(&self) -> usize {
        match self {
            Self::Max(one) | Self::Min(one) | Self::Equals(one) => one.weight(),
            Self::In(all) => {
                let places = all.capacity().saturating_mul(size_of::<Literal<'_>>());
                all.iter().map(Literal::weight).fold(places, usize::saturating_add)
            }
            // What the payload holds takes nothing more.
            Self::Prefix(Cow::Borrowed(_)) => 0,
            Self::Prefix(Cow::Owned(text)) => text.capacity(),
        }
    }
}

impl Literal<'_> {
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Integer(_) | Self::Boolean(_) | Self::Text(Cow::Borrowed(_)) => 0,
            Self::Text(Cow::Owned(text)) => text.capacity(),
        }
    }
}

impl Constraint<'_> {
    fn holds(&self, inputs: &Inputs<'_>) -> Result<(), NotGranted> {
        let input = self.input;
        let violated = |why: &str| NotGranted::Violated(format!("input `{input}` {why}"));
        let value = match inputs.find(input) {
            None => return Err(violated("is not one of this route's")),
            Some(Found::Missing) => return Err(violated("is not in the request")),
            Some(Found::Invalid) => return Err(violated("is not of its kind")),
            Some(Found::Value(value)) => value,
        };
        let unsupported = || {
            NotGranted::Unsupported(format!(
                "a constraint on input `{input}` does not fit its kind"
            ))
        };
        let holds = match &self.operator {
            Operator::Max(bound) => {
                order(value, bound).ok_or_else(unsupported)?.is_some_and(core::cmp::Ordering::is_le)
            }
            Operator::Min(bound) => {
                order(value, bound).ok_or_else(unsupported)?.is_some_and(core::cmp::Ordering::is_ge)
            }
            Operator::Equals(wanted) => equal(value, wanted).ok_or_else(unsupported)?,
            // Each of a set is one of them.
            Operator::In(wanted) if matches!(value, Value::TextSet(_)) => {
                let Value::TextSet(texts) = value else { return Err(unsupported()) };
                let text = |one: &Literal<'_>| matches!(one, Literal::Text(_));
                if !wanted.iter().all(text) {
                    return Err(unsupported());
                }
                let allowed = |text: &Cow<'_, str>| {
                    wanted.iter().any(|one| matches!(one, Literal::Text(one) if one == text))
                };
                texts.iter().all(allowed)
            }
            Operator::In(wanted) => {
                let mut any = false;
                for one in wanted {
                    any |= equal(value, one).ok_or_else(unsupported)?;
                }
                any
            }
            Operator::Prefix(prefix) => match value {
                Value::Text(text) => text.starts_with(&**prefix) && stays_below(text, prefix),
                Value::TextSet(texts) => texts
                    .iter()
                    .all(|text| text.starts_with(&**prefix) && stays_below(text, prefix)),
                Value::Integer(_) | Value::Decimal(_) | Value::Money(_) | Value::Boolean(_) => {
                    return Err(unsupported());
                }
            },
        };
        if holds { Ok(()) } else { Err(violated("is outside its constraint")) }
    }
}

/// Whether a text that starts with a path-like prefix also ends up below it: `/public/../secret`
/// does not, for whoever resolves it.
fn stays_below(text: &str, prefix: &str) -> bool {
    let climbs = |part: &str| matches!(part, "." | "..");
    !prefix.contains('/') || !(hides_a_step(text) || text.split(['/', '\\']).any(climbs))
}

/// Whether a path or URI has what whoever resolves it may make a step of: readers of URLs drop tabs and line
/// feeds, and take `%2e%2e` for two dots.
pub(crate) fn hides_a_step(text: &str) -> bool {
    let coded = |bytes: &[u8]| {
        let [b'%', high, low] = bytes else { return false };
        matches!(
            (high, low.to_ascii_lowercase()),
            (b'2', b'e' | b'f' | b'5') | (b'5', b'c') | (b'0', b'0')
        )
    };
    text.chars().any(char::is_control) || text.as_bytes().windows(3).any(coded)
}

/// `None`: the bound does not fit the kind. `Some(None)`: not comparable (another currency).
fn order(value: &Value<'_>, bound: &Literal<'_>) -> Option<Option<core::cmp::Ordering>> {
    match (value, bound) {
        (Value::Integer(value), Literal::Integer(bound)) => Some(Some(value.cmp(bound))),
        (Value::Decimal(value), bound) => Some(Some(value.cmp(&decimal(bound)?))),
        (Value::Money(value), Literal::Text(bound)) => {
            let bound = Money::parse(bound)?;
            Some((value.currency == bound.currency).then(|| value.amount.cmp(&bound.amount)))
        }
        (
            Value::Text(_)
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::Money(_)
            | Value::TextSet(_),
            _,
        ) => None,
    }
}

fn equal(value: &Value<'_>, wanted: &Literal<'_>) -> Option<bool> {
    match (value, wanted) {
        (Value::Text(value), Literal::Text(wanted)) => Some(value == wanted),
        (Value::Boolean(value), Literal::Boolean(wanted)) => Some(value == wanted),
        (Value::Integer(_) | Value::Decimal(_) | Value::Money(_), _) => {
            order(value, wanted).map(|order| order.is_some_and(core::cmp::Ordering::is_eq))
        }
        (Value::Text(_) | Value::Boolean(_) | Value::TextSet(_), _) => None,
    }
}

fn decimal(literal: &Literal<'_>) -> Option<Decimal> {
    match literal {
        Literal::Integer(whole) => Decimal::from_integer(*whole),
        Literal::Text(text) => Decimal::parse(text),
        Literal::Boolean(_) => None,
    }
}

pub const ENTRY_TYPE: &str = "agent_action";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Currency, Input, InputKind, Recording, Source};
    use crate::target::Target;

    /// The inputs of `/?v=<text>`, with `v` of this kind.
    fn check(kind: &InputKind, text: &str, constraint: &str, expected: Result<(), &str>) {
        let inputs = [Input {
            name: "v".into(),
            kind: kind.clone(),
            source: Source::Query("v".into()),
            record: Recording::None,
        }];
        let path = format!("/?v={text}");
        let target = Target::parse(path.as_bytes()).unwrap();
        let inputs = Inputs::read(&inputs, &[], &target, &[]).unwrap();
        let entry =
            format!(r#"[{{"type":"agent_action","actions":["a"],"constraints":{constraint}}}]"#);
        let details: Details<'_> = serde_json::from_str(&entry).unwrap();
        let outcome = details.grant(&Asked {
            action: "a",
            audience: "https://h",
            inputs: &inputs,
            known: Known::All,
            digest: None,
        });
        let outcome = outcome.map_err(|why| match why {
            NotGranted::Unsupported(_) => "unsupported",
            NotGranted::Violated(_) => "violated",
            NotGranted::NotNamed => "not named",
        });
        assert_eq!(outcome.map(|_| ()), expected, "{text} against {constraint}");
    }

    const VIOLATED: Result<(), &str> = Err("violated");
    const UNSUPPORTED: Result<(), &str> = Err("unsupported");

    #[test]
    fn integers_compare_exactly_to_the_ends_of_their_range() {
        let check = |text: &str, constraint: &str, expected| {
            check(&InputKind::Integer, text, constraint, expected);
        };
        let (least, most) = (i64::MIN.to_string(), i64::MAX.to_string());
        check(&most, &format!(r#"{{"v":{{"max":{most}}}}}"#), Ok(()));
        check(&most, r#"{"v":{"max":9223372036854775806}}"#, VIOLATED);
        check(&least, &format!(r#"{{"v":{{"min":{least}}}}}"#), Ok(()));
        check(&least, r#"{"v":{"min":-9223372036854775807}}"#, VIOLATED);
        // Equal as floating point, different as numbers.
        check("9007199254740993", r#"{"v":{"equals":9007199254740992}}"#, VIOLATED);
        check("9007199254740993", r#"{"v":{"max":9007199254740992}}"#, VIOLATED);
        check("-1", r#"{"v":{"max":0}}"#, Ok(()));
        check("-1", r#"{"v":{"min":0}}"#, VIOLATED);
    }

    #[test]
    fn decimals_compare_exactly_and_have_four_places() {
        let check = |text: &str, constraint: &str, expected| {
            check(&InputKind::Decimal, text, constraint, expected);
        };
        check("0.1", r#"{"v":{"equals":"0.1000"}}"#, Ok(()));
        check("0.3", r#"{"v":{"max":"0.3"}}"#, Ok(()));
        check("0.3001", r#"{"v":{"max":"0.3"}}"#, VIOLATED);
        check("922337203685477.5807", r#"{"v":{"max":"922337203685477.5806"}}"#, VIOLATED);
        check("5", r#"{"v":{"max":5}}"#, Ok(()));
        check("5.0001", r#"{"v":{"max":5}}"#, VIOLATED);
        check("5", r#"{"v":{"max":"5.00000"}}"#, UNSUPPORTED);
        check("5", r#"{"v":{"max":"+5"}}"#, UNSUPPORTED);
        check("5", r#"{"v":{"max":"-0"}}"#, UNSUPPORTED);
        check("5", r#"{"v":{"max":922337203685478}}"#, UNSUPPORTED);
        check("5", r#"{"v":{"max":true}}"#, UNSUPPORTED);
        check("1.00001", r#"{"v":{"max":"9"}}"#, VIOLATED);
        check("1e0", r#"{"v":{"max":"9"}}"#, VIOLATED);
    }

    #[test]
    fn money_compares_only_in_its_currency() {
        let euro = InputKind::Money(Currency::Fixed("EUR".into()));
        let check = |text: &str, constraint: &str, expected| {
            check(&euro, text, constraint, expected);
        };
        check("500", r#"{"v":{"max":"500.0000 EUR"}}"#, Ok(()));
        check("500.0001", r#"{"v":{"max":"500 EUR"}}"#, VIOLATED);
        check("1", r#"{"v":{"max":"500 USD"}}"#, VIOLATED);
        check("1", r#"{"v":{"min":"0 USD"}}"#, VIOLATED);
        check("1", r#"{"v":{"equals":"1 USD"}}"#, VIOLATED);
        check("1", r#"{"v":{"in":["1 USD","1 EUR"]}}"#, Ok(()));
        check("-1", r#"{"v":{"max":"500 EUR"}}"#, Ok(()));
        for bound in ["500", "EUR 500", "500EUR", "500 EUR ", "500 EURO", "500 €", ""] {
            check("1", &format!(r#"{{"v":{{"max":"{bound}"}}}}"#), UNSUPPORTED);
        }
        check("1", r#"{"v":{"max":500}}"#, UNSUPPORTED);
    }

    #[test]
    fn texts_compare_byte_by_byte_after_one_decoding() {
        let check = |text: &str, constraint: &str, expected| {
            check(&InputKind::Text, text, constraint, expected);
        };
        check("%C3%A9", r#"{"v":{"equals":"é"}}"#, Ok(()));
        check("%C3%A9", r#"{"v":{"equals":"\u00e9"}}"#, Ok(()));
        check("e%CC%81", r#"{"v":{"equals":"é"}}"#, VIOLATED);
        check("%2561", r#"{"v":{"equals":"a"}}"#, VIOLATED);
        check("%2561", r#"{"v":{"equals":"%61"}}"#, Ok(()));
        check("", r#"{"v":{"equals":""}}"#, Ok(()));
        check("", r#"{"v":{"prefix":""}}"#, Ok(()));
        check("", r#"{"v":{"prefix":"a"}}"#, VIOLATED);
        check("ab", r#"{"v":{"prefix":"a"}}"#, Ok(()));
        check("ba", r#"{"v":{"prefix":"a"}}"#, VIOLATED);
        check("5", r#"{"v":{"max":5}}"#, UNSUPPORTED);
    }

    #[test]
    fn a_text_over_its_bound_is_not_of_its_kind() {
        let constraint = r#"{"v":{"prefix":"a"}}"#;
        check(&InputKind::Text, &"a".repeat(2048), constraint, Ok(()));
        check(&InputKind::Text, &"a".repeat(2049), constraint, VIOLATED);
    }

    #[test]
    fn booleans_are_true_and_false_and_nothing_else() {
        let constraint = r#"{"v":{"equals":true}}"#;
        check(&InputKind::Boolean, "true", constraint, Ok(()));
        for text in ["false", "True", "1", "yes", "", "true%20"] {
            check(&InputKind::Boolean, text, constraint, VIOLATED);
        }
        check(&InputKind::Boolean, "true", r#"{"v":{"min":true}}"#, UNSUPPORTED);
    }

    #[test]
    fn the_most_telling_reason_is_given() {
        let unknown = r#"{"v":{"equals":1}}"#;
        check(&InputKind::Text, "1", unknown, UNSUPPORTED);
        let reasons = |details: &str| {
            let details: Details<'_> = serde_json::from_str(details).unwrap();
            let inputs = Inputs::default();
            details.grant(&Asked {
                action: "a",
                audience: "https://h",
                inputs: &inputs,
                known: Known::All,
                digest: None,
            })
        };
        assert_eq!(reasons("[]"), Err(NotGranted::NotNamed));
        let named = r#"[{"type":"agent_action","actions":["b"]},
            {"type":"agent_action","actions":["a"],"constraints":{"x":{"max":1}}}]"#;
        assert!(matches!(reasons(named), Err(NotGranted::Violated(_))));
        let odd = r#"[{"type":"agent_action","actions":["a"],"constraints":{"x":{"max":1}}},
            {"type":"agent_action","actions":["b"],"later":1}]"#;
        assert!(matches!(reasons(odd), Err(NotGranted::Unsupported(_))));
    }

    #[test]
    fn attenuation_never_widens() {
        // Adding a constraint to an entry never turns a denial into a grant.
        let bounds = [r#""max":5"#, r#""min":5"#, r#""equals":5"#, r#""in":[4,5]"#, r#""in":[]"#];
        let grants = |operators: &str, value: &str| {
            let inputs = [Input {
                name: "v".into(),
                kind: InputKind::Integer,
                source: Source::Query("v".into()),
                record: Recording::None,
            }];
            let path = format!("/?v={value}");
            let target = Target::parse(path.as_bytes()).unwrap();
            let inputs = Inputs::read(&inputs, &[], &target, &[]).unwrap();
            let entry = format!(
                r#"[{{"type":"agent_action","actions":["a"],"constraints":{{"v":{{{operators}}}}}}}]"#
            );
            let details: Details<'_> = serde_json::from_str(&entry).unwrap();
            let asked = Asked {
                action: "a",
                audience: "https://h",
                inputs: &inputs,
                known: Known::All,
                digest: None,
            };
            details.grant(&asked).is_ok()
        };
        for value in ["3", "4", "5", "6", "x"] {
            for one in bounds {
                for other in bounds.iter().filter(|other| **other != one) {
                    let both = grants(&format!("{one},{other}"), value);
                    assert_eq!(both, grants(one, value) && grants(other, value));
                }
            }
        }
    }

    #[test]
    fn a_path_like_prefix_holds_only_for_what_stays_below_it() {
        for (text, holds) in [
            ("/public/a", true),
            ("/public/a..b", true),
            ("/public/../secret", false),
            ("/public/a/..", false),
            ("/public/./a", false),
            ("/public/..\\secret", false),
            ("/public/%2e%2E/secret", false),
            ("/public/..%2fsecret", false),
            ("/public/.\t./secret", false),
            ("/public/a%20b", true),
        ] {
            assert_eq!(stays_below(text, "/public/"), holds, "{text}");
        }
        assert!(stays_below("a/../b", "a"), "no path, no segments");
    }
}
