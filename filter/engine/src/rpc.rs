//! A JSON-RPC 2.0 message in a body: what is called, and whether the headers say the same.
//!
//! One message per request: batches are refused, as MCP does since 2025-06-18, because one decision is about
//! one action. The body decides; a header that says something else is refused, since whoever routes by the
//! header would act on another call than the one that was decided on.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::bundle::{ANSWERS, Protocol};
use crate::decision::Header;
use crate::denial::{Code, Denial};
use crate::digest::{BodyDigest, quote};
use crate::document::{Document, Found, Twice, Value, canonical, canonical_without};
use crate::inputs::same_header;

/// One call or notification, or the answer to what the server has asked.
#[derive(Debug)]
pub struct Message<'d, 'a> {
    /// [`ANSWERS`] where it is an answer.
    pub method: Cow<'a, str>,
    /// Of the tool or prompt, or the resource's URI.
    pub name: Option<Cow<'a, str>>,
    /// As written; none of a notification.
    pub id: Option<&'a str>,
    params: Option<Value<'d, 'a>>,
}

impl<'d, 'a> Message<'d, 'a> {
    /// # Errors
    /// `body_malformed`.
    pub fn read(document: &'d Document<'a>, protocol: Protocol) -> Result<Self, Denial> {
        let root = document.root().filter(Value::is_object).ok_or_else(|| {
            malformed("no JSON-RPC message: one object, since batches are not taken")
        })?;
        let version = member(root, "jsonrpc")?.and_then(|value| value.text());
        if version.as_deref() != Some("2.0") {
            return Err(malformed("`jsonrpc` is not \"2.0\""));
        }
        let id = member(root, "id")?.map(id).transpose()?;
        let params = member(root, "params")?;
        let answers = member(root, "result")?.is_some() || member(root, "error")?.is_some();
        let method = match member(root, "method")? {
            Some(method) if !answers => method.text().filter(|text| is_method(text)),
            None if answers && params.is_none() => Some(Cow::Borrowed(ANSWERS)),
            Some(_) | None => None,
        };
        let method = method.ok_or_else(|| malformed("neither a call nor an answer"))?;
        let name = match (protocol, params) {
            (Protocol::Mcp, Some(params)) => name(&method, params)?,
            (Protocol::Mcp, None) if has_name(&method) => {
                return Err(malformed("what is called has no name"));
            }
            (Protocol::Mcp, None) | (Protocol::JsonRpc, _) => None,
        };
        Ok(Self { method, name, id, params })
    }

    /// Holds the headers that MCP has for the call against it. The revisions from 2026-07-28 on demand them.
    ///
    /// # Errors
    /// `header_body_mismatch`.
    pub fn agrees(&self, headers: &[Header<'_>]) -> Result<(), Denial> {
        let mismatch = |name: &str| {
            let what = format!("`{name}` is not what the body says");
            Denial::new(Code::HeaderBodyMismatch, what)
        };
        let only = |name: &str| {
            let mut found = headers.iter().filter(|one| same_header(one.name, name.as_bytes()));
            match (found.next(), found.next()) {
                (None, None) => Ok(None),
                // To CGI and its heirs `mcp_name` is one of them.
                (Some(header), None) if header.name == name.as_bytes() => Ok(Some(header.value)),
                (Some(_), _) | (None, Some(_)) => Err(mismatch(name)),
            }
        };
        only(VERSION_HEADER)?;
        let demanded = is_modern(headers);
        let method = (self.method != ANSWERS).then_some(&*self.method);
        let agrees = match (only(METHOD_HEADER)?, method) {
            (None, Some(_)) => !demanded,
            (None, None) => true,
            (Some(said), method) => method.is_some_and(|method| said == method.as_bytes()),
        };
        if !agrees {
            return Err(mismatch(METHOD_HEADER));
        }
        // Others are the server's to ask for: an extension may have more calls with a name.
        let agrees = match (only(NAME_HEADER)?, self.name.as_deref()) {
            (None, Some(_)) => !(demanded && is_named_in_header(&self.method)),
            (Some(said), Some(name)) => plain(said).as_deref() == Some(name.as_bytes()),
            (None | Some(_), None) => true,
        };
        if agrees { Ok(()) } else { Err(mismatch(NAME_HEADER)) }
    }

    /// Of `method` and `params` without `_meta`, in canonical JSON: `id` and `_meta` are others in each call.
    pub(crate) fn digest(&self) -> BodyDigest {
        if self.method == ANSWERS {
            // What is answered stands elsewhere.
            return BodyDigest::None;
        }
        let params = match self.params {
            Some(params) if params.is_object() => canonical_without(params, "_meta"),
            Some(params) => canonical(params),
            None => Some("{}".to_owned()),
        };
        let Some(params) = params else { return BodyDigest::None };
        let mut text = String::from("{\"method\":");
        quote(&mut text, &self.method);
        text.push_str(",\"params\":");
        text.push_str(&params);
        text.push('}');
        BodyDigest::Of(Sha256::digest(text.as_bytes()).into())
    }
}

/// Whether a message is of the revision that has headers for what is called, or of a later one.
#[must_use]
pub fn is_modern(headers: &[Header<'_>]) -> bool {
    let version = headers.iter().find(|header| header.name == VERSION_HEADER.as_bytes());
    version.is_some_and(|header| header.value >= FIRST_WITH_HEADERS)
}

/// A header's value, which may be written as `=?base64?...?=` (MCP 2026-07-28, streamable HTTP).
fn plain(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let coded = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?="));
    match coded {
        None => Some(Cow::Borrowed(value)),
        Some(coded) => STANDARD.decode(coded).ok().map(Cow::Owned),
    }
}

/// The member of `params` that says what exactly is meant.
fn name<'a>(method: &str, params: Value<'_, 'a>) -> Result<Option<Cow<'a, str>>, Denial> {
    let Some(which) = name_member(method) else { return Ok(None) };
    let text = member(params, which)?.and_then(|value| value.text());
    let fits = |text: &Cow<'_, str>| {
        !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
    };
    let text = text.filter(fits);
    text.map(Some).ok_or_else(|| malformed("what is called has no name"))
}

fn name_member(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        _ => None,
    }
}

/// Whether MCP demands `Mcp-Name` for it. What 2026-07-28 no longer has, `resources/subscribe` for one, is the
/// server's to refuse.
fn is_named_in_header(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// Whether calls of this MCP method say what exactly they mean.
#[must_use]
pub fn has_name(method: &str) -> bool {
    name_member(method).is_some()
}

fn id<'a>(value: Value<'_, 'a>) -> Result<&'a str, Denial> {
    let fits = matches!(value.found(), Some(Found::Text(_) | Found::Number(_)));
    let written = value.written();
    if fits && written.len() <= MAX_ID_BYTES {
        Ok(written)
    } else {
        Err(malformed("`id` is neither a short text nor a number"))
    }
}

fn member<'d, 'a>(value: Value<'d, 'a>, name: &str) -> Result<Option<Value<'d, 'a>>, Denial> {
    value
        .member(name)
        .map_err(|Twice| malformed(&format!("`{name}` stands there twice or in a second spelling")))
}

fn malformed(what: &str) -> Denial {
    Denial::new(Code::BodyMalformed, what)
}

/// Whether a text may be a method's name: visible ASCII, and not [`ANSWERS`], which no message says.
#[must_use]
pub fn is_method(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_METHOD_BYTES
        && !text.starts_with('$')
        && text.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
}

const VERSION_HEADER: &str = "mcp-protocol-version";
/// Revisions are dates, which sort as texts.
const FIRST_WITH_HEADERS: &[u8] = b"2026-07-28";
const METHOD_HEADER: &str = "mcp-method";
const NAME_HEADER: &str = "mcp-name";
const MAX_METHOD_BYTES: usize = 128;
/// Of a tool, a prompt, or a resource's URI.
pub(crate) const MAX_NAME_BYTES: usize = 2_048;
/// It comes back in the answer.
const MAX_ID_BYTES: usize = 256;
