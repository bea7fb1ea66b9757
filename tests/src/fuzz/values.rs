//! Targets for what a request is made of: host, path, ids, numbers, inputs.

use gatepass_engine::bundle::{Currency, Input, InputKind, Recording, Source};
use gatepass_engine::decision::Header;
use gatepass_engine::digest::{ActionFacts, BodyDigest};
use gatepass_engine::ids::{AgentId, PersonId, Uri, is_token};
use gatepass_engine::inputs::{Decimal, Found, Inputs, Money, Value, integer};
use gatepass_engine::keyring::KeyId;
use gatepass_engine::position::Position;
use gatepass_engine::target::{Target, decoded};

/// A host that is accepted is its own one spelling.
pub fn host(bytes: &[u8]) {
    let Ok(host) = gatepass_engine::target::host(bytes) else {
        return;
    };
    assert_eq!(gatepass_engine::target::host(host.as_bytes()), Ok(host));
    assert!(bytes.starts_with(host.as_bytes()));
    assert_eq!(host, host.to_ascii_lowercase());
    assert!(!host.ends_with('.') && !host.contains(".."));
    let port = bytes.get(host.len()..).unwrap_or_default();
    let digits = port.strip_prefix(b":").unwrap_or(b"1");
    assert!(port.is_empty() || port.starts_with(b":"));
    assert!(
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0")
    );
}

/// A path that is accepted reads the same a second time and has no second reading.
pub fn target(bytes: &[u8]) {
    let Ok(target) = Target::parse(bytes) else {
        return;
    };
    assert_eq!(Target::parse(bytes).as_ref(), Ok(&target));
    assert_eq!(format!("/{}", target.segments.join("/")), target.path);
    assert_eq!(Target::parse(target.path.as_bytes()).map(|t| t.path), Ok(target.path));
    assert!(bytes.starts_with(target.path.as_bytes()));
    assert!(!target.path.contains("//"));
    let odd = |byte: &u8| !byte.is_ascii_graphic() || b"\\;#\"<>^`{|}".contains(byte);
    assert!(!bytes.iter().any(odd), "a byte with a second reading");
    for segment in &target.segments {
        let plain = decoded(segment);
        assert!(plain.is_ok(), "an accepted segment decodes");
        let plain = plain.unwrap_or_default();
        assert!(plain != "." && plain != "..");
        assert!(!plain.contains(['/', '\\', ';', '%', '\0']));
    }
    for (key, value) in &target.query {
        assert!(decoded(key).is_ok() && decoded(value).is_ok());
    }
}

/// What is printed is parsed, and nothing has two spellings.
pub fn ids(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
    if let Some(id) = KeyId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    let plain = |text: &str| {
        text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\,".contains(&b)) && !text.is_empty()
    };
    if is_token(text) {
        assert!(plain(text) && text.len() <= 128);
    }
    if AgentId::parse(text).is_some() {
        assert!(plain(text) && text.len() == 42 && text == text.to_ascii_lowercase());
    }
    if PersonId::parse(text).is_some() {
        assert!(plain(text) && text.matches('/').count() == 1);
        assert!(AgentId::parse(text).is_none());
    }
    if Uri::parse(text).is_some() {
        assert!(plain(text) && text.contains(':'));
    }
    if let Some(seconds) = gatepass_policy::seconds(text) {
        let unit = text.chars().last();
        let digits: u64 = text.trim_end_matches(['s', 'm', 'h']).parse().unwrap_or(u64::MAX);
        let factor = [('s', 1), ('m', 60), ('h', 3600)];
        let factor = factor.iter().find(|(name, _)| Some(*name) == unit).map(|(_, f)| *f);
        assert_eq!(factor.and_then(|factor| digits.checked_mul(factor)), Some(seconds.into()));
    }
}

/// Numbers have one reading, which is the one that plain arithmetic gives.
pub fn numbers(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    for text in [first, second] {
        if let Some(value) = integer(text) {
            assert_eq!(value.to_string(), text);
        }
        let decimal = Decimal::parse(text);
        assert_eq!(decimal.is_some(), ten_thousandths(text).is_some(), "`{text}`");
        if let Some(value) = decimal {
            assert_eq!(Decimal::parse(&value.to_string()), Some(value));
            assert_eq!(ten_thousandths(&value.to_string()), ten_thousandths(text));
        }
        if let Some(money) = Money::parse(text) {
            assert_eq!(Money::parse(&money.to_string()), Some(money));
        }
    }
    if let (Some(a), Some(b)) = (Decimal::parse(first), Decimal::parse(second)) {
        assert_eq!(a.cmp(&b), ten_thousandths(first).cmp(&ten_thousandths(second)));
    }
}

/// A decimal by its digits alone, wide enough not to overflow.
#[must_use]
pub fn ten_thousandths(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 4 || whole.len() > 20 {
        return None;
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let value: i128 = format!("{whole}{fraction:0<4}").parse().ok()?;
    let value = if text.starts_with('-') { -value } else { value };
    let fits = i64::try_from(value).is_ok() && !(value == 0 && text.starts_with('-'));
    fits.then_some(value)
}

/// The first line is a path and query, each further one a header. Values that are found stand in
/// the request once, and the action digest covers one reading of them.
pub fn inputs(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(target) = Target::parse(lines.next().unwrap_or_default()) else {
        return;
    };
    let headers: Vec<Header<'_>> = lines
        .map(|line| match line.iter().position(|byte| *byte == b':') {
            Some(at) => Header {
                name: line.get(..at).unwrap_or_default(),
                value: line.get(at + 1..).unwrap_or_default(),
            },
            None => Header { name: line, value: b"" },
        })
        .collect();
    let asked = asked();
    let parameters: Vec<(&str, &str)> =
        target.segments.first().map(|first| ("id", *first)).into_iter().collect();
    let Ok(inputs) = Inputs::read(&asked, &parameters, &target, &headers) else {
        return;
    };
    assert_eq!(Inputs::read(&asked, &parameters, &target, &headers).as_ref(), Ok(&inputs));
    for ((name, found), asked) in inputs.iter().zip(&asked) {
        if let (Found::Value(_), Source::Query(key)) = (found, &asked.source) {
            let same = |(spelled, _): &&(&str, &str)| spelled.eq_ignore_ascii_case(key);
            assert_eq!(target.query.iter().filter(same).count(), 1, "{name}");
        }
        if let (Found::Value(value), Source::Header(wanted)) = (found, &asked.source) {
            let same = |h: &&Header<'_>| h.name.eq_ignore_ascii_case(wanted.as_bytes());
            let found: Vec<_> = headers.iter().filter(same).collect();
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found.first().map(|h| h.value), Some(value.to_string().as_bytes()));
        }
        if let Found::Value(value) = found {
            check_kind(value, &asked.kind);
        }
    }
    check_digest(&target, &inputs);
}

fn check_kind(value: &Value<'_>, kind: &InputKind) {
    let printed = value.to_string();
    match (value, kind) {
        (Value::Text(_), InputKind::Text) => {}
        (Value::Integer(value), InputKind::Integer) => {
            assert_eq!(integer(&printed), Some(*value));
        }
        (Value::Decimal(value), InputKind::Decimal) => {
            assert_eq!(Decimal::parse(&printed), Some(*value));
        }
        (Value::Money(value), InputKind::Money(_)) => {
            assert_eq!(Money::parse(&printed), Some(*value));
        }
        (Value::Boolean(value), InputKind::Boolean) => {
            assert_eq!(printed.parse(), Ok(*value));
        }
        (value, kind) => assert_eq!(format!("{value:?}"), format!("{kind:?}"), "another kind"),
    }
}

/// The canonical form is what another JSON writer makes of it; there is none when it would not say
/// all that the request does.
fn check_digest(target: &Target<'_>, inputs: &Inputs<'_>) {
    let facts = ActionFacts {
        environment: "prod",
        audience: "https://orders.example",
        action: "orders:create",
        method: "POST",
        host: "orders.example",
        path: target.path,
        inputs,
        body: BodyDigest::Empty,
    };
    let invalid = inputs.iter().any(|(_, found)| *found == Found::Invalid);
    let canonical = facts.canonical();
    // A query that says more than the inputs has no digest either.
    let more = target
        .query
        .iter()
        .any(|(key, value)| !(QUERY_KEYS.contains(key) || key.is_empty() && value.is_empty()));
    assert_eq!(canonical.is_none(), invalid || more);
    if let Some(text) = canonical {
        let read = serde_json::from_str::<serde_json::Value>(&text);
        assert_eq!(read.map(|value| value.to_string()).ok(), Some(text));
    }
}

/// Those of [`asked`].
const QUERY_KEYS: [&str; 7] = ["amount", "currency", "fee", "count", "weight", "express", "item"];

fn asked() -> Vec<Input> {
    let query = |key: &str| Source::Query(key.to_owned());
    let input = |name: &str, kind, source| Input {
        name: name.to_owned(),
        record: Recording::of(&kind),
        kind,
        source,
    };
    vec![
        input("id", InputKind::Text, Source::Path("id".to_owned())),
        input("amount", InputKind::Money(Currency::From(query("currency"))), query("amount")),
        input("fee", InputKind::Money(Currency::Fixed("EUR".to_owned())), query("fee")),
        input("count", InputKind::Integer, query("count")),
        input("weight", InputKind::Decimal, query("weight")),
        input("express", InputKind::Boolean, query("express")),
        input("item", InputKind::Text, query("item")),
        input("tag", InputKind::Text, Source::Header("x-tag".to_owned())),
    ]
}
