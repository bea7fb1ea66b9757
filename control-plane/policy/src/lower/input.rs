//! An input: a typed value of the request, and where it stands.

use gatepass_engine::bundle::{Action, BodyRule, Currency, Input, InputKind, Recording, Source};

use super::{Place, field};
use crate::reader::{Fields, Reader, quoted};
use crate::tree::{Node, Tree};

/// Each with its place.
pub(super) fn inputs(
    reader: &mut Reader,
    tree: &Tree,
    action: Option<&Action>,
) -> Vec<(Input, Place)> {
    let Some(entries) = reader.entries(tree, "`inputs`") else {
        return Vec::new();
    };
    if let Some(action) = action
        && action.body == BodyRule::Unread
    {
        reader.tell(
            tree.referenced,
            format!(
                "action `{}` passes its body unread, which could contradict the inputs",
                action.name
            ),
            "write `body: json` or `none` there, or leave out `inputs`",
        );
        return Vec::new();
    }
    let mut inputs = Vec::new();
    for (name, at, tree) in entries.iter() {
        let Some(fields) = reader.fields(tree, "an input", &INPUT_FIELDS) else {
            continue;
        };
        if let Some(input) = input(reader, name, &fields) {
            inputs.push((input, Place::new(*at, &fields)));
        }
    }
    inputs
}

fn input(reader: &mut Reader, name: &str, fields: &Fields<'_>) -> Option<Input> {
    let what = format!("input `{name}`");
    let source = source(reader, fields, &what);
    let kind = reader
        .needed(fields, "type", &what, "write its `type`, such as `text` or `money`")
        .and_then(|tree| reader.choice(tree, &TYPES))?;
    let kind = match (kind, fields.find("currency")) {
        (Type::Money, Some(tree)) => InputKind::Money(currency(reader, tree)?),
        (Type::Money, None) => {
            reader.tell(
                fields.at(),
                format!("{what} is money without a currency"),
                "write `currency: EUR`, or where it comes from: `currency: {query: currency}`",
            );
            return None;
        }
        (_, Some(tree)) => {
            reader.tell(tree.referenced, "only money has a currency", "write `type: money`");
            return None;
        }
        (Type::Text, None) => InputKind::Text,
        (Type::Integer, None) => InputKind::Integer,
        (Type::Decimal, None) => InputKind::Decimal,
        (Type::Boolean, None) => InputKind::Boolean,
        (Type::Set, None) => InputKind::TextSet,
    };
    let record = field(fields, "record", |tree| reader.choice(tree, &RECORDINGS))
        .unwrap_or(Recording::of(&kind));
    Some(Input { name: name.to_owned(), kind, source: source?, record })
}

fn currency(reader: &mut Reader, tree: &Tree) -> Option<Currency> {
    match &tree.value {
        Node::Map(_) => {
            let fields = reader.fields(tree, "`currency`", &SOURCES)?;
            source(reader, &fields, "`currency`").map(Currency::From)
        }
        _ => {
            let code = reader.text(tree, "a currency such as `EUR`, or where it comes from")?;
            Some(Currency::Fixed(code.to_owned()))
        }
    }
}

/// Exactly one of `path`, `query`, `header`, `body`, `argument`.
fn source(reader: &mut Reader, fields: &Fields<'_>, what: &str) -> Option<Source> {
    let stated = fields.iter().filter(|(name, ..)| SOURCES.contains(name));
    let stated: Vec<_> = stated.collect();
    let [(kind, _, tree)] = stated.as_slice() else {
        reader.tell(
            stated.get(1).map_or(fields.at(), |(_, at, _)| *at),
            format!("{what} needs exactly one source"),
            format!("write one of {}", quoted(&SOURCES)),
        );
        return None;
    };
    let name = reader.text(tree, "a name")?.to_owned();
    Some(match *kind {
        "path" => Source::Path(name),
        "query" => Source::Query(name),
        "header" => Source::Header(name),
        "body" => Source::Body(name),
        // Of an MCP tool or prompt.
        _ => Source::Body(format!(
            "/params/arguments/{}",
            name.replace('~', "~0").replace('/', "~1")
        )),
    })
}

#[derive(Clone, Copy)]
enum Type {
    Text,
    Integer,
    Decimal,
    Money,
    Boolean,
    Set,
}

const INPUT_FIELDS: [&str; 8] =
    ["type", "path", "query", "header", "body", "argument", "currency", "record"];
const SOURCES: [&str; 5] = ["path", "query", "header", "body", "argument"];
const TYPES: [(&str, Type); 6] = [
    ("text", Type::Text),
    ("integer", Type::Integer),
    ("decimal", Type::Decimal),
    ("money", Type::Money),
    ("boolean", Type::Boolean),
    ("set", Type::Set),
];
const RECORDINGS: [(&str, Recording); 3] =
    [("none", Recording::None), ("hash", Recording::Hash), ("value", Recording::Value)];
