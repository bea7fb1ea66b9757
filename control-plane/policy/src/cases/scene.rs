//! `state`: what the gate knows when the request comes.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::ids::{AgentId, PersonId, is_token};
use gatepass_engine::revocation::Kind;

use super::Scene;
use crate::reader::{Fields, Reader, quoted};
use crate::tree::{Node, Tree};

pub(super) fn read(reader: &mut Reader, of: &Fields<'_>) -> Scene {
    let mut scene = Scene { now: NOW, age: 0, revoked: Vec::new() };
    let tree = of.find("state");
    let Some(fields) = tree.and_then(|tree| reader.fields(tree, "`state`", &STATE_FIELDS)) else {
        return scene;
    };
    if let Some(tree) = fields.find("now") {
        match &tree.value {
            Node::Text(text) if time(text).is_some() => scene.now = time(text).unwrap_or(NOW),
            _ => reader.expected(tree, "a time such as `2026-01-05T12:00:00Z`"),
        }
    }
    if let Some(age) = fields.find("age").and_then(|tree| reader.duration(tree)) {
        scene.age = age;
    }
    if let Some(tree) = fields.find("revoked") {
        for item in reader.list(tree, "what is revoked") {
            scene.revoked.extend(revoked(reader, item));
        }
    }
    scene
}

/// `owner`, or `owner user:corp/alice`.
fn revoked(reader: &mut Reader, tree: &Tree) -> Option<(Kind, Option<String>)> {
    let text = reader.text(tree, "what is revoked")?;
    let (kind, id) = match text.split_once(' ') {
        Some((kind, id)) => (kind, Some(id.to_owned())),
        None => (text, None),
    };
    let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let names = KINDS.map(|(name, _)| name);
        reader.expected(tree, &format!("{} and perhaps an id", quoted(&names)));
        return None;
    };
    // An id that no gatepass can carry would be revoked in vain, and nobody would notice.
    if id.as_deref().is_some_and(|id| !may_be(*kind, id)) {
        reader.expected(tree, "an id that a gatepass can carry");
        return None;
    }
    Some((*kind, id))
}

fn may_be(kind: Kind, id: &str) -> bool {
    let is_agent = AgentId::parse(id).is_some();
    let is_person = PersonId::parse(id).is_some();
    match kind {
        Kind::Agent => is_agent,
        Kind::Owner => is_person,
        Kind::Subject => is_agent || is_person,
        Kind::Credential | Kind::Task | Kind::Blueprint | Kind::Key => is_token(id),
    }
}

/// `2026-01-05T12:00:00Z` (RFC 3339, in UTC and whole seconds), from 1970 on.
fn time(text: &str) -> Option<UnixSeconds> {
    let bytes: [u8; 20] = text.as_bytes().try_into().ok()?;
    let shape = b"0000-00-00T00:00:00Z";
    let fits = bytes.iter().zip(shape).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leaps(year) > leaps(year.checked_sub(1)?);
    let february = if is_leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let nth = usize::try_from(month.checked_sub(1)?).ok()?;
    let longest: u64 = *lengths.get(nth)?;
    let possible = year >= 1970 && (1..=longest).contains(&day);
    if !fits || !possible || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let before = year.checked_sub(1)?;
    let years = (year - 1970) * 365 + leaps(before) - leaps(1969);
    let months: u64 = lengths.iter().take(nth).sum();
    let days = years + months + day - 1;
    Some(UnixSeconds(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

const STATE_FIELDS: [&str; 3] = ["now", "age", "revoked"];
const KINDS: [(&str, Kind); 6] = [
    ("credential", Kind::Credential),
    ("task", Kind::Task),
    ("subject", Kind::Subject),
    ("agent", Kind::Agent),
    ("owner", Kind::Owner),
    ("blueprint", Kind::Blueprint),
];
/// 2026-01-05T12:00:00Z, a Monday.
const NOW: UnixSeconds = UnixSeconds(1_767_614_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_and_what_is_none_is_not() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-01-05T12:00:00Z", NOW.0),
            ("2024-12-31T00:00:00Z", 1_735_603_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(time(text), Some(UnixSeconds(unix)), "{text}");
        }
        for text in [
            "",
            "2026-01-05",
            "2026-01-05 12:00:00Z",
            "2026-01-05T12:00:00",
            "2026-13-05T12:00:00Z",
            "2026-00-05T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026-01-05T24:00:00Z",
            "2026-01-05T12:60:00Z",
            "1969-12-31T23:59:59Z",
            "+026-01-05T12:00:00Z",
            "2026-01-05T12:00:0éZ",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
