//! The body of a request, and how an action reads it.
//!
//! It is read only after the gatepass was verified and everything that the headers say holds: nobody without
//! one makes the gate wait for a body or look into it. A body that is not whole, not of the media type that
//! the action takes, or coded in a way that the gate does not undo, is refused; nothing of it is guessed.

use sha2::{Digest as _, Sha256};

use crate::bundle::{Action, BodyRule};
use crate::decision::Header;
use crate::denial::{Code, Denial};
use crate::digest::BodyDigest;
use crate::document::{self, Document, canonical};
use crate::form::Form;
use crate::inputs::{is_method_override, same_header};

/// What there is of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The request ended with its headers.
    None,
    /// Nothing of it was looked at.
    ToCome,
    /// All of it, and the request ended with it.
    Whole(&'a [u8]),
    /// It will not be had whole.
    Unfinished(Unfinished),
}

/// Why a body that a decision waits for is not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// More than the route reads.
    TooLong,
    /// Not there in time.
    TooSlow,
    /// All that the worker may hold of bodies is taken.
    NoRoom,
    /// Trailers follow it, which some upstreams merge into the headers that were decided on.
    Trailers,
    /// What the host hands over is not what it said.
    Broken,
}

impl Body<'_> {
    /// When the headers alone have come.
    #[must_use]
    pub const fn after_headers(ends: bool) -> Self {
        if ends { Self::None } else { Self::ToCome }
    }
}

/// A body as its action reads it.
#[derive(Debug)]
pub(crate) enum Read<'a> {
    /// It is not read, or there is none.
    Nothing,
    Bytes(&'a [u8]),
    Json(Document<'a>),
    Form(Form<'a>),
}

impl<'a> Read<'a> {
    /// # Errors
    /// `body_malformed`.
    pub(crate) fn of(rule: BodyRule, bytes: &'a [u8]) -> Result<Self, Denial> {
        let malformed = |what: String| Denial::new(Code::BodyMalformed, what);
        match rule {
            BodyRule::None | BodyRule::Unread => Ok(Self::Nothing),
            BodyRule::Digest => Ok(Self::Bytes(bytes)),
            BodyRule::Json => Document::read(bytes)
                .map(Self::Json)
                .map_err(|error| malformed(format!("not JSON: {error}"))),
            BodyRule::Form => Form::read(bytes)
                .map(Self::Form)
                .map_err(|what| malformed(format!("not a form: {what}"))),
        }
    }

    /// Whether it has a value of its own for what the query calls `key`, to whoever merges the two.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            Self::Nothing | Self::Bytes(_) => false,
            Self::Form(form) => form.has(key),
            Self::Json(document) => document.root().is_some_and(|root| root.has(key)),
        }
    }

    /// Whether it has what some frameworks take for another method than the one that was decided on. A form
    /// that has is none.
    pub(crate) fn overrides_method(&self) -> bool {
        let Self::Json(document) = self else { return false };
        let overrides = |name: document::Value<'_, '_>| {
            name.text().is_none_or(|name| is_method_override(name.split('\0').next().unwrap_or("")))
        };
        document.root().is_some_and(|root| root.members().any(|(name, _)| overrides(name)))
    }

    pub(crate) fn digest(&self) -> BodyDigest {
        match self {
            Self::Nothing | Self::Bytes([]) => BodyDigest::Empty,
            Self::Bytes(bytes) => BodyDigest::Of(Sha256::digest(bytes).into()),
            Self::Form(form) => BodyDigest::Of(Sha256::digest(form.bytes()).into()),
            Self::Json(document) => match document.root().and_then(canonical) {
                Some(text) => BodyDigest::Of(Sha256::digest(text.as_bytes()).into()),
                None => BodyDigest::None,
            },
        }
    }
}

/// Whether what the headers say of the body lets the action read it.
///
/// # Errors
/// `body_not_allowed`, `body_too_large`.
pub(crate) fn announced(action: &Action, most: u32, headers: &[Header<'_>]) -> Result<(), Denial> {
    let not_allowed = |what: &str| Denial::new(Code::BodyNotAllowed, what);
    let mut content_type = None;
    for header in headers {
        if SAID_OF_A_BODY.iter().any(|name| same_header(header.name, name) && header.name != *name)
        {
            return Err(not_allowed("a second spelling of a header that says what the body is"));
        }
        match header.name {
            b"content-type" if content_type.is_some() => {
                return Err(not_allowed("two media types"));
            }
            b"content-type" => content_type = Some(header.value),
            b"content-encoding" if !is_taken(&action.encodings, header.value) => {
                return Err(not_allowed("a content coding that the action does not take"));
            }
            b"content-length" if !fits(header.value, most) => {
                return Err(Denial::new(
                    Code::BodyTooLarge,
                    format!("more than the {most} bytes that the route reads"),
                ));
            }
            _ => {}
        }
    }
    let fits = match content_type.map(essence) {
        Some(Some(essence)) => takes(action, &essence),
        // A body of digest is bytes, whatever they mean.
        None => action.body == BodyRule::Digest && action.content_types.is_empty(),
        Some(None) => false,
    };
    if fits { Ok(()) } else { Err(not_allowed("a media type that the action does not take")) }
}

fn is_taken(taken: &[String], coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"identity")
        || taken.iter().any(|known| coding.eq_ignore_ascii_case(known.as_bytes()))
}

fn fits(length: &[u8], most: u32) -> bool {
    let length = core::str::from_utf8(length).ok().and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length <= u64::from(most))
}

/// `type/subtype` in lower case. Of parameters only `charset=utf-8` is taken, and `boundary` of `multipart/*`:
/// another charset makes other text of the same bytes, and a comma is Envoy's join of two headers.
fn essence(value: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(value).ok()?;
    if text.contains(',') {
        return None;
    }
    let mut parts = text.split(';');
    let essence = parts.next()?.trim().to_ascii_lowercase();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
    let (kind, subtype) = essence.split_once('/')?;
    if kind.is_empty() || subtype.is_empty() || !kind.chars().chain(subtype.chars()).all(is_token) {
        return None;
    }
    let plain = parts.all(|part| {
        let part = part.trim().to_ascii_lowercase();
        let charset = part.strip_prefix("charset=").map(|value| value.trim_matches('"'));
        charset == Some("utf-8") || (kind == "multipart" && part.starts_with("boundary="))
    });
    plain.then_some(essence)
}

fn takes(action: &Action, essence: &str) -> bool {
    if !action.content_types.is_empty() {
        return action.content_types.iter().any(|known| known == essence);
    }
    match action.body {
        BodyRule::Json => essence.strip_prefix("application/").is_some_and(is_json),
        BodyRule::Form => essence == FORM,
        BodyRule::Digest => !essence.starts_with("multipart/"),
        BodyRule::None | BodyRule::Unread => true,
    }
}

/// `json`, or `<name>+json`. Some upstreams take by its beginning what is a form.
fn is_json(subtype: &str) -> bool {
    let named = subtype.strip_suffix("+json");
    subtype == "json"
        || named.is_some_and(|name| !name.contains('+') && !name.starts_with("x-www-form"))
}

/// To CGI and its heirs `content_type` is one of them.
const SAID_OF_A_BODY: [&[u8]; 4] =
    [b"content-type", b"content-encoding", b"content-length", b"transfer-encoding"];
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::action;

    fn said(action: &Action, headers: &[(&str, &str)]) -> Option<Code> {
        let headers: Vec<Header<'_>> = headers
            .iter()
            .map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() })
            .collect();
        announced(action, 100, &headers).err().map(|denial| denial.code())
    }

    #[test]
    fn json_is_called_json_and_is_not_coded() {
        let json = Action { body: BodyRule::Json, ..action("a") };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/merge-patch+json",
        ] {
            assert_eq!(said(&json, &[("content-type", good)]), None, "{good}");
        }
        for bad in [
            "text/plain",
            "application/json; charset=utf-16",
            "application/json; charset=utf-7; charset=utf-8",
            "application/json,application/json",
            "application/json; x=1",
            "multipart/form-data; boundary=a",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded+json",
            "multipart/x+json",
            "application/a+b+json",
            "json",
            "",
            "/json",
        ] {
            assert_eq!(said(&json, &[("content-type", bad)]), Some(Code::BodyNotAllowed), "{bad}");
        }
        assert_eq!(said(&json, &[]), Some(Code::BodyNotAllowed));
        let twice = [("content-type", "application/json"), ("content-type", "application/json")];
        assert_eq!(said(&json, &twice), Some(Code::BodyNotAllowed));
        let coded = |coding| {
            said(&json, &[("content-type", "application/json"), ("content-encoding", coding)])
        };
        assert_eq!(coded("identity"), None);
        for coding in ["gzip", "br", "gzip, identity", "", "x"] {
            assert_eq!(coded(coding), Some(Code::BodyNotAllowed), "{coding}");
        }
    }

    #[test]
    fn nothing_else_says_what_a_body_is() {
        let json = Action { body: BodyRule::Json, ..action("a") };
        let good = ("content-type", "application/json");
        assert_eq!(said(&json, &[good, ("content-types", "x"), ("x-content-type", "y")]), None);
        for name in ["content_type", "content.type", "content_encoding", "content_length"] {
            for value in ["application/json", "identity", "1"] {
                let said = said(&json, &[good, (name, value)]);
                assert_eq!(said, Some(Code::BodyNotAllowed), "{name}: {value}");
            }
        }
    }

    #[test]
    fn what_an_action_takes_is_what_it_names() {
        let bytes = Action { body: BodyRule::Digest, ..action("a") };
        assert_eq!(said(&bytes, &[]), None);
        assert_eq!(said(&bytes, &[("content-type", "image/png")]), None);
        assert_eq!(
            said(&bytes, &[("content-type", "multipart/form-data; boundary=x")]),
            Some(Code::BodyNotAllowed)
        );
        assert_eq!(said(&bytes, &[("content-encoding", "gzip")]), Some(Code::BodyNotAllowed));
        let named = Action {
            content_types: vec!["multipart/form-data".into()],
            encodings: vec!["gzip".into()],
            ..bytes
        };
        let multipart = ("content-type", "multipart/form-data; boundary=x");
        assert_eq!(said(&named, &[multipart, ("content-encoding", "gzip")]), None);
        assert_eq!(
            said(&named, &[multipart, ("content-encoding", "br")]),
            Some(Code::BodyNotAllowed)
        );
        assert_eq!(said(&named, &[("content-type", "image/png")]), Some(Code::BodyNotAllowed));
        assert_eq!(said(&named, &[]), Some(Code::BodyNotAllowed));
    }

    #[test]
    fn a_length_that_is_said_is_held_against_the_bound_at_once() {
        let bytes = Action { body: BodyRule::Digest, ..action("a") };
        assert_eq!(said(&bytes, &[("content-length", "100")]), None);
        for bad in ["101", "18446744073709551616", "-1", "x", ""] {
            assert_eq!(said(&bytes, &[("content-length", bad)]), Some(Code::BodyTooLarge), "{bad}");
        }
    }
}
