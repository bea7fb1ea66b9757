//! The canonical text of a value (RFC 8785), for digests: what is equal is written in one way.

use std::collections::HashSet;

use super::{Found, Value, number, text};
use crate::digest::quote;

/// The canonical text. `None` where two values that differ could be written alike: a member name occurs twice
/// in one object, or a number has more digits than every reader keeps.
#[must_use]
pub fn canonical(value: Value<'_, '_>) -> Option<String> {
    let mut out = String::new();
    write(value, &mut out)?;
    Some(out)
}

/// The same of an object without one member.
#[must_use]
pub fn canonical_without(value: Value<'_, '_>, left_out: &str) -> Option<String> {
    let mut out = String::new();
    object(value, Some(left_out), &mut out)?;
    Some(out)
}

/// It nests no deeper than the document, whose depth is bounded.
fn write(value: Value<'_, '_>, out: &mut String) -> Option<()> {
    match value.found()? {
        Found::Null => out.push_str("null"),
        Found::Boolean(true) => out.push_str("true"),
        Found::Boolean(false) => out.push_str("false"),
        Found::Number(written) => out.push_str(&number::canonical(written)?),
        Found::Text(text) => quote(out, &text),
        Found::Array => {
            out.push('[');
            for (nth, element) in value.elements().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                write(element, out)?;
            }
            out.push(']');
        }
        Found::Object => object(value, None, out)?,
    }
    Some(())
}

fn object(value: Value<'_, '_>, left_out: Option<&str>, out: &mut String) -> Option<()> {
    let mut members = Vec::new();
    for (name, value) in value.members() {
        let name = name.text()?;
        if left_out != Some(&*name) {
            members.push((name, value));
        }
    }
    // Section 3.2.3: by UTF-16 code units.
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    // Two that are one to some reader, of which one takes the first and another the last.
    let mut seen = HashSet::new();
    let fold = |name: &str| name.chars().map(text::folded).collect::<String>();
    if !members.iter().all(|(name, _)| seen.insert(fold(name))) {
        return None;
    }
    out.push('{');
    for (nth, (name, value)) in members.into_iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        quote(out, &name);
        out.push(':');
        write(value, out)?;
    }
    out.push('}');
    Some(())
}
