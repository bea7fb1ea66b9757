//! Typed values of a request: what constraints are held against.
//!
//! Numbers are integers or decimals with 4 places, read from text and never through floating
//! point. A value has one spelling: `1e3`, `+1`, `-0`, `007` and `1.23456` are no numbers here.

use core::fmt;
use std::borrow::Cow;

use crate::body::Read;
use crate::bundle::{Currency, Input, InputKind, Source};
use crate::decision::Header;
use crate::digest::quote;
use crate::document::{self, Pointer};
use crate::target::{Ambiguous, Target, decoded};

mod keys;

use keys::is_beside;
pub use keys::same_header;
pub(crate) use keys::{is_method_override, same_key, spells};

/// A decimal with 4 places, as ten-thousandths (the range of Cedar's `decimal`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i64);

impl Decimal {
    /// Reads `-?(0|[1-9][0-9]*)(\.[0-9]{1,4})?`, but no negative zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) =
            digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
        if fraction.is_some_and(|f| f.is_empty() || f.len() > 4) {
            return None;
        }
        let fraction = fraction.unwrap_or("0");
        if !plain_digits(whole) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scale = 10_i64.checked_pow(4_u32.checked_sub(u32::try_from(fraction.len()).ok()?)?)?;
        let sign = if negative { -1 } else { 1 };
        let whole: i64 = whole.parse::<i64>().ok()?.checked_mul(10_000)?;
        let fraction = fraction.parse::<i64>().ok()?.checked_mul(scale)?;
        let value = whole.checked_mul(sign)?.checked_add(fraction.checked_mul(sign)?)?;
        if negative && value == 0 { None } else { Some(Self(value)) }
    }

    /// The value in ten-thousandths.
    #[must_use]
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }

    #[must_use]
    pub const fn from_ten_thousandths(value: i64) -> Self {
        Self(value)
    }

    /// A whole number as a decimal, where it fits.
    #[must_use]
    pub const fn from_integer(whole: i64) -> Option<Self> {
        match whole.checked_mul(10_000) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }
}

impl fmt::Display for Decimal {
    /// Always 4 places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:04}", value / 10_000, value % 10_000)
    }
}

/// Reads `-?(0|[1-9][0-9]*)` that fits an `i64`, but no negative zero.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !plain_digits(digits) || text == "-0" {
        return None;
    }
    text.parse().ok()
}

fn plain_digits(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'))
}

/// An amount with its currency; written `"500.00 EUR"` in constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    pub amount: Decimal,
    pub currency: [u8; 3],
}

impl Money {
    /// Reads `<decimal> <CUR>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (amount, code) = text.split_once(' ')?;
        Some(Self { amount: Decimal::parse(amount)?, currency: currency(code)? })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, String::from_utf8_lossy(&self.currency))
    }
}

impl Money {
    /// Three upper-case letters.
    #[must_use]
    pub fn currency(&self) -> &str {
        core::str::from_utf8(&self.currency).unwrap_or_default()
    }
}

/// Three upper-case letters.
#[must_use]
pub fn currency(code: &str) -> Option<[u8; 3]> {
    let code: [u8; 3] = code.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_uppercase).then_some(code)
}

/// A value of an input's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Decimal(Decimal),
    Money(Money),
    Boolean(bool),
    /// In the order of the request, none twice.
    TextSet(Vec<Cow<'a, str>>),
}

impl fmt::Display for Value<'_> {
    /// The canonical text, as it stands in the action digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Money(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::TextSet(texts) => {
                // Canonical JSON, sorted: a set has no order.
                let mut sorted: Vec<&str> = texts.iter().map(|text| &**text).collect();
                sorted.sort_unstable();
                let mut out = String::from("[");
                for (nth, text) in sorted.into_iter().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    quote(&mut out, text);
                }
                write!(f, "{out}]")
            }
        }
    }
}

/// What a request carries for one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Missing,
    /// Present, but not of the input's kind.
    Invalid,
    Value(Value<'a>),
}

/// The inputs of one request, in the route's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs<'a> {
    found: Vec<(&'a str, Found<'a>)>,
    more: bool,
    beside: bool,
}

/// Why the inputs of a request are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// The line or a header has a second reading.
    Line(Ambiguous),
    /// The body has, at the named input.
    Body(String),
}

impl From<Ambiguous> for Unclear {
    fn from(ambiguous: Ambiguous) -> Self {
        Self::Line(ambiguous)
    }
}

impl<'a> Inputs<'a> {
    /// Reads every input of a route. `parameters` are the path's, still encoded. Those that stand in the
    /// body are missing.
    ///
    /// # Errors
    /// A key or header that feeds an input and occurs twice or in a second spelling.
    pub fn read(
        inputs: &'a [Input],
        parameters: &[(&str, &'a str)],
        target: &Target<'a>,
        headers: &[Header<'a>],
    ) -> Result<Self, Ambiguous> {
        match Self::read_all(inputs, parameters, target, headers, &Read::Nothing) {
            Ok(inputs) => Ok(inputs),
            Err(Unclear::Line(ambiguous)) => Err(ambiguous),
            Err(Unclear::Body(what)) => Err(Ambiguous::new(what)),
        }
    }

    /// Reads every input, those of the body too.
    ///
    /// # Errors
    /// What feeds an input occurs twice or in a second spelling.
    pub(crate) fn read_all(
        inputs: &'a [Input],
        parameters: &[(&str, &'a str)],
        target: &Target<'a>,
        headers: &[Header<'a>],
        body: &Read<'a>,
    ) -> Result<Self, Unclear> {
        let request = Carrier { parameters, target, headers, body };
        let mut out = Vec::with_capacity(inputs.len());
        for input in inputs {
            let found = match request.find(&input.source)? {
                None => Found::Missing,
                Some(carried) => match typed(&input.kind, carried, &request)? {
                    Some(value) => Found::Value(value),
                    None => Found::Invalid,
                },
            };
            out.push((input.name.as_str(), found));
        }
        let more = target.query.iter().any(|(key, value)| {
            let feeds = |source: &Source| matches!(source, Source::Query(wanted) if wanted == key);
            let known = inputs.iter().flat_map(sources).any(feeds);
            !(known || key.is_empty() && value.is_empty())
        });
        let beside = inputs.iter().flat_map(sources).any(|source| match source {
            Source::Body(place) => target.query.iter().any(|(key, _)| is_beside(place, key)),
            Source::Query(key) => body.has(key),
            Source::Path(_) | Source::Header(_) => false,
        });
        Ok(Self { found: out, more, beside })
    }

    /// Whether the query has a key of the name of an input that stands in the body, or the body has one of
    /// the name of an input that stands in the query. Some upstreams merge the two, and take either.
    #[must_use]
    pub const fn stand_beside_a_query(&self) -> bool {
        self.beside
    }

    /// Whether the query says more than the inputs do: then they are not all that the request
    /// asks for, and no digest of them is a digest of the request.
    #[must_use]
    pub const fn leave_something_out(&self) -> bool {
        self.more
    }

    /// `None` when the route has no such input.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Found<'a>> {
        self.found.iter().find(|(known, _)| *known == name).map(|(_, found)| found)
    }

    /// By its place in the route.
    #[must_use]
    pub fn nth(&self, at: usize) -> Option<&Found<'a>> {
        self.found.get(at).map(|(_, found)| found)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(&'a str, Found<'a>)> {
        self.found.iter()
    }
}

/// Where an input comes from, and its currency.
pub(crate) fn sources(input: &Input) -> impl Iterator<Item = &Source> {
    let currency = match &input.kind {
        InputKind::Money(Currency::From(source)) => Some(source),
        InputKind::Money(Currency::Fixed(_))
        | InputKind::Text
        | InputKind::Integer
        | InputKind::Decimal
        | InputKind::Boolean
        | InputKind::TextSet => None,
    };
    core::iter::once(&input.source).chain(currency)
}

struct Carrier<'r, 'a> {
    parameters: &'r [(&'r str, &'a str)],
    target: &'r Target<'a>,
    headers: &'r [Header<'a>],
    body: &'r Read<'a>,
}

/// What stands at a source.
enum Carried<'r, 'a> {
    Text(Cow<'a, str>),
    Json(document::Value<'r, 'a>),
}

impl<'r, 'a> Carrier<'r, 'a> {
    fn find(&self, source: &Source) -> Result<Option<Carried<'r, 'a>>, Unclear> {
        let text = match source {
            Source::Path(name) => self
                .parameters
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, text)| decoded(text))
                .transpose()?,
            Source::Query(key) => self.query(key)?,
            Source::Header(name) => self.header(name)?,
            Source::Body(place) => return self.body(place),
        };
        Ok(text.map(Carried::Text))
    }

    fn body(&self, place: &str) -> Result<Option<Carried<'r, 'a>>, Unclear> {
        let twice = || {
            Unclear::Body(format!(
                "`{place}` stands there twice, in a second spelling, or among too many names"
            ))
        };
        match self.body {
            Read::Nothing | Read::Bytes(_) => Ok(None),
            Read::Form(form) => match form.find(place) {
                Ok(text) => Ok(text.map(Carried::Text)),
                Err(_) => Err(twice()),
            },
            Read::Json(document) => match document.root() {
                None => Ok(None),
                Some(root) => match Pointer::new(place).find(root) {
                    Ok(value) => Ok(value.map(Carried::Json)),
                    Err(_) => Err(twice()),
                },
            },
        }
    }

    /// One plain spelling of the key, once. Anything that another parser could take for the same
    /// key (encoded, other case, `key[]`) is refused, and so is `+`, which is a space to some.
    fn query(&self, key: &str) -> Result<Option<Cow<'a, str>>, Ambiguous> {
        let mut found = None;
        for (spelled, value) in &self.target.query {
            let plain = decoded(spelled)?;
            if !spells(&plain, key) {
                continue;
            }
            if *spelled != key || found.is_some() {
                return Err(Ambiguous::new(format!(
                    "query key `{key}` occurs twice or in a second spelling"
                )));
            }
            if value.contains('+') {
                return Err(Ambiguous::new(format!("the value of query key `{key}` holds `+`")));
            }
            found = Some(decoded(value)?);
        }
        Ok(found)
    }

    /// Envoy joins a header that occurs twice with a comma, so a comma is refused. `x_a` is `x-a`
    /// to CGI-like upstreams. White space at a value's ends comes over HTTP/2 alone (where RFC 9113
    /// section 8.2.1 forbids it), and an HTTP/1.1 upstream would not see it.
    fn header(&self, name: &str) -> Result<Option<Cow<'a, str>>, Ambiguous> {
        let mut found = None;
        for header in self.headers {
            if !same_header(header.name, name.as_bytes()) {
                continue;
            }
            let twice =
                found.is_some() || header.name != name.as_bytes() || header.value.contains(&b',');
            let padded = header.value.trim_ascii() != header.value;
            match core::str::from_utf8(header.value) {
                Ok(text) if !twice && !padded => found = Some(Cow::Borrowed(text)),
                _ => {
                    return Err(Ambiguous::new(format!(
                        "header `{name}` occurs twice, in a second spelling, or is not UTF-8"
                    )));
                }
            }
        }
        Ok(found)
    }
}

fn typed<'a>(
    kind: &InputKind,
    carried: Carried<'_, 'a>,
    request: &Carrier<'_, 'a>,
) -> Result<Option<Value<'a>>, Unclear> {
    let amount = match (&carried, kind) {
        (Carried::Text(text), _) if text.len() > MAX_INPUT_BYTES => return Ok(None),
        (Carried::Text(text), InputKind::Money(_)) => Decimal::parse(text),
        (Carried::Json(value), InputKind::Money(_)) => json_decimal(*value),
        (Carried::Text(_), _) => return Ok(of_text(kind, carried)),
        (Carried::Json(value), _) => return Ok(of_json(kind, *value)),
    };
    let InputKind::Money(source) = kind else { return Ok(None) };
    let code = match source {
        Currency::Fixed(code) => currency(code),
        Currency::From(source) => match request.find(source)? {
            Some(Carried::Text(code)) => currency(&code),
            Some(Carried::Json(value)) => value.text().and_then(|code| currency(&code)),
            None => None,
        },
    };
    let money = |(amount, currency)| Value::Money(Money { amount, currency });
    Ok(amount.zip(code).map(money))
}

fn of_text<'a>(kind: &InputKind, carried: Carried<'_, 'a>) -> Option<Value<'a>> {
    let Carried::Text(text) = carried else { return None };
    match kind {
        InputKind::Text => Some(Value::Text(text)),
        InputKind::Integer => integer(&text).map(Value::Integer),
        InputKind::Decimal => Decimal::parse(&text).map(Value::Decimal),
        InputKind::Boolean => match &*text {
            "true" => Some(Value::Boolean(true)),
            "false" => Some(Value::Boolean(false)),
            _ => None,
        },
        InputKind::Money(_) | InputKind::TextSet => None,
    }
}

/// A value of JSON has its kind there already: `"5"` is no integer, and `1` is not true. A decimal may be a
/// number or a text, because many APIs write amounts as texts.
fn of_json<'a>(kind: &InputKind, value: document::Value<'_, 'a>) -> Option<Value<'a>> {
    match (kind, value.found()?) {
        (InputKind::Text, document::Found::Text(text)) => input_text(text).map(Value::Text),
        (InputKind::Integer, document::Found::Number(text)) => integer(text).map(Value::Integer),
        (InputKind::Decimal, _) => json_decimal(value).map(Value::Decimal),
        (InputKind::Boolean, document::Found::Boolean(value)) => Some(Value::Boolean(value)),
        (InputKind::TextSet, document::Found::Array) => text_set(value),
        (
            InputKind::Text
            | InputKind::Integer
            | InputKind::Boolean
            | InputKind::TextSet
            | InputKind::Money(_),
            _,
        ) => None,
    }
}

fn json_decimal(value: document::Value<'_, '_>) -> Option<Decimal> {
    match value.found()? {
        document::Found::Number(text) => Decimal::parse(text),
        document::Found::Text(text) => Decimal::parse(&text),
        _ => None,
    }
}

/// None that ends early for a reader to which a zero byte is the end.
fn input_text(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (text.len() <= MAX_INPUT_BYTES && !text.contains('\0')).then_some(text)
}

fn text_set<'a>(value: document::Value<'_, 'a>) -> Option<Value<'a>> {
    let mut texts: Vec<Cow<'a, str>> = Vec::new();
    for element in value.elements() {
        let text = input_text(element.text()?)?;
        if texts.len() >= MAX_SET || texts.contains(&text) {
            return None;
        }
        texts.push(text);
    }
    Some(Value::TextSet(texts))
}

/// Members of one set.
const MAX_SET: usize = 64;
/// Bytes of one input's text.
const MAX_INPUT_BYTES: usize = 2048;

#[cfg(test)]
mod tests;
