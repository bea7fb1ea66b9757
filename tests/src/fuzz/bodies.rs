//! Targets for what stands in a body: a JSON document, a JSON-RPC message in it, and the decision on it.
//!
//! The other readers are `serde_json`, which takes the last of two members, and a form reader that takes them
//! all: whatever is allowed is within its bound to each of them.
#![expect(clippy::panic, reason = "a target that finds something ends by it")]

use std::sync::LazyLock;

use gatepass_engine::body::Body;
use gatepass_engine::bundle::{ANSWERS, Protocol};
use gatepass_engine::decision::{Decision, Header, Reason, Request};
use gatepass_engine::document::{self, Document, Found, Pointer, canonical, is_pointer};
use gatepass_engine::gate::{Gate, Mode};
use gatepass_engine::rpc::Message;
use serde_json::{Value, json};

use super::scene::{self, ISSUER, NOW};

/// The first line is a pointer, what follows a document.
pub fn document(bytes: &[u8]) {
    let (pointer, text) = first_line(bytes);
    let ours = Document::read(text);
    let theirs = serde_json::from_slice::<Value>(text);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Ok(_), Err(error)) => {
            // A number that no double holds is well-formed.
            assert!(error.to_string().contains("number out of range"), "{error}");
            return;
        }
        (Err(malformed), Ok(_)) => {
            let deep = text.iter().filter(|byte| b"[{".contains(byte)).count() > 64;
            let many = text.len() > 131_072;
            assert!(deep || many, "JSON is refused: {malformed}");
            return;
        }
        (Err(_), Err(_)) => return,
    };
    let Some(root) = ours.root() else { panic!("a document has a root") };
    same(root, &theirs);
    if let Some(canonical) = canonical(root) {
        check_canonical(&canonical, &theirs);
    }
    for protocol in [Protocol::Mcp, Protocol::JsonRpc] {
        check_message(&ours, protocol, &theirs);
    }
    if let Ok(pointer) = core::str::from_utf8(pointer)
        && is_pointer(pointer)
    {
        check_pointer(root, pointer, &theirs, text);
    }
}

fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default())
}

/// Where a name stands there once, both find one value.
fn same(ours: document::Value<'_, '_>, theirs: &Value) {
    match (ours.found(), theirs) {
        (Some(Found::Null), Value::Null) => {}
        (Some(Found::Boolean(ours)), Value::Bool(theirs)) => assert_eq!(ours, *theirs),
        (Some(Found::Text(ours)), Value::String(theirs)) => assert_eq!(ours, theirs.as_str()),
        (Some(Found::Number(ours)), Value::Number(theirs)) => {
            assert!(close(ours, theirs), "{ours} {theirs}");
        }
        (Some(Found::Array), Value::Array(theirs)) => {
            assert_eq!(ours.elements().count(), theirs.len());
            ours.elements().zip(theirs).for_each(|(ours, theirs)| same(ours, theirs));
        }
        (Some(Found::Object), Value::Object(theirs)) => {
            for (name, theirs) in theirs {
                match ours.member(name) {
                    Ok(Some(ours)) => same(ours, theirs),
                    // Of printable names none is lost.
                    Ok(None) => assert!(!is_plain(name), "`{name}` is lost"),
                    Err(_) => {}
                }
            }
        }
        (ours, theirs) => panic!("{ours:?} is {theirs}"),
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The other reader's doubles may be off by the last bit.
fn close(ours: &str, theirs: &serde_json::Number) -> bool {
    let (Ok(a), Some(b)) = (ours.parse::<f64>(), theirs.as_f64()) else { return false };
    a == b || (a - b).abs() <= a.abs().max(b.abs()) * 1e-14
}

/// It reads as what it was made of, is its own canonical text, and is sorted.
fn check_canonical(text: &str, theirs: &Value) {
    let Ok(again) = Document::read(text.as_bytes()) else { panic!("not JSON: {text}") };
    let Some(root) = again.root() else { panic!("a document has a root") };
    assert_eq!(canonical(root).as_deref(), Some(text));
    same(root, theirs);
}

fn check_message(ours: &Document<'_>, protocol: Protocol, theirs: &Value) {
    let Ok(message) = Message::read(ours, protocol) else { return };
    assert_eq!(theirs["jsonrpc"], "2.0");
    let said = theirs.get("method").and_then(Value::as_str);
    assert_eq!(said.unwrap_or(ANSWERS), message.method);
    let answers = theirs.get("result").or_else(|| theirs.get("error")).is_some();
    assert_eq!(said.is_none(), answers);
    if let Some(id) = theirs.get("id") {
        assert!(id.is_string() || id.is_number());
    }
    assert_eq!(message.id.is_some(), theirs.get("id").is_some());
    if let Some(name) = &message.name {
        let which = if message.method.starts_with("resources/") { "uri" } else { "name" };
        assert_eq!(protocol, Protocol::Mcp);
        assert_eq!(theirs["params"][which], name.as_ref());
    }
    let agrees = |name: &str, value: &str| {
        let header = Header { name: name.as_bytes(), value: value.as_bytes() };
        message.agrees(&[header]).is_ok()
    };
    if let Some(said) = said {
        assert!(agrees("mcp-method", said));
        assert!(!agrees("mcp-method", &format!("{said}x")));
    }
    if let Some(name) = &message.name {
        assert!(!agrees("mcp-name", &format!("{name}x")));
    }
}

/// What is found is what the other reader finds, and a second spelling of its first name hides it.
fn check_pointer(root: document::Value<'_, '_>, pointer: &str, theirs: &Value, text: &[u8]) {
    match Pointer::new(pointer).find(root) {
        Ok(Some(ours)) => {
            let Some(theirs) = theirs.pointer(pointer) else { panic!("{pointer} is not there") };
            same(ours, theirs);
        }
        Ok(None) => assert_eq!(theirs.pointer(pointer), None, "{pointer}"),
        Err(_) => return,
    }
    let first = pointer.split('/').nth(1).unwrap_or_default();
    let name = first.replace("~1", "/").replace("~0", "~");
    let Some(rest) = text.trim_ascii_start().strip_prefix(b"{") else { return };
    let known = theirs.get(&name).is_some();
    let other = if known { name.to_ascii_uppercase() } else { name.clone() };
    let mut more = format!("{{{}:0,{}:0,", Value::from(name), Value::from(other)).into_bytes();
    more.extend(rest);
    // An empty object with a comma in it is none.
    if let Ok(more) = Document::read(&more)
        && let Some(root) = more.root()
    {
        assert!(Pointer::new(pointer).find(root).is_err(), "{pointer} is found beside itself");
    }
}

/// The first line is a path, what follows a body of the kind that its route takes. The gatepass is good for
/// 500 EUR.
pub fn body(bytes: &[u8]) {
    let (path, text) = first_line(bytes);
    let form = path.starts_with(b"/sign");
    let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let headers = [
        (":method", b"POST".as_slice()),
        (":scheme", b"https"),
        (":authority", b"bodies.example"),
        (":path", path),
        ("authorization", BEARER.as_bytes()),
        ("content-type", kind.as_bytes()),
    ]
    .map(|(name, value)| Header { name: name.as_bytes(), value });
    let decide = |body| {
        let request = Request { headers: &headers, body, source: None };
        gatepass_engine::decide(&request, &GATE, scene::now())
    };
    // What is said before the body is there is said of any.
    if let Decision::Deny(early) = decide(Body::ToCome) {
        let late = decide(Body::Whole(text));
        assert!(matches!(late, Decision::Deny(late) if late.code() == early.code()), "{early}");
    }
    let decision = decide(Body::Whole(text));
    assert!(!matches!(decision, Decision::Read(_)), "it is there");
    let Decision::Allow(permit) = decision else { return };
    let Reason::Decided(_) = permit.reason() else { return };
    match permit.action() {
        Some("bodies:pay") => check_order(text),
        Some("bodies:sign") => check_form(path, text),
        // A call, or what has no bound.
        Some("bodies:send" | "bodies:pass") => {}
        action => panic!("{action:?} has another kind"),
    }
}

fn check_order(text: &[u8]) {
    let Ok(order) = serde_json::from_slice::<Value>(text) else {
        // A number that no double holds.
        assert!(Document::read(text).is_ok());
        return;
    };
    let amount = match &order["amount"] {
        Value::String(text) => text.parse::<f64>().ok(),
        amount => amount.as_f64(),
    };
    assert!(amount.is_some_and(|amount| amount <= 500.0), "{order}");
    assert_eq!(order["currency"], "EUR");
    let spelled = |name: &str| {
        let names = order.as_object().into_iter().flat_map(|order| order.keys());
        names.filter(|known| known.eq_ignore_ascii_case(name)).count()
    };
    assert_eq!((spelled("amount"), spelled("currency")), (1, 1), "{order}");
}

/// Each value that some reader takes for the amount is within the bound.
fn check_form(path: &[u8], text: &[u8]) {
    let query = path
        .iter()
        .position(|byte| *byte == b'?')
        .map_or(b"".as_slice(), |at| path.get(at + 1..).unwrap_or_default());
    let mut found = 0;
    for pair in text.split(|byte| b"&;".contains(byte)).chain(query.split(|byte| *byte == b'&')) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (key, value) = pair.split_at(at);
        let key = unescaped(key).to_ascii_lowercase();
        let key = key.split(|byte| *byte == 0).next().unwrap_or_default();
        let key = key.trim_ascii().trim_start_with_brackets();
        let end = key.iter().position(|byte| b"[]".contains(byte)).unwrap_or(key.len());
        if key.get(..end) == Some(b"amount") {
            found += 1;
            let value = unescaped(value.strip_prefix(b"=").unwrap_or_default());
            let amount =
                core::str::from_utf8(&value).ok().and_then(|text| text.parse::<f64>().ok());
            assert!(amount.is_some_and(|amount| amount <= 500.0), "{}", text.escape_ascii());
        }
    }
    assert_eq!(found, 1, "{}", text.escape_ascii());
}

trait Brackets {
    fn trim_start_with_brackets(&self) -> &[u8];
}

impl Brackets for [u8] {
    fn trim_start_with_brackets(&self) -> &[u8] {
        let start = self.iter().position(|byte| !b"[]".contains(byte)).unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| core::str::from_utf8(two).ok());
        let escaped =
            hex.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let compiled = gatepass_policy::compile(POLICY).map(|compiled| compiled.bundle);
    assert!(compiled.is_ok(), "the policy compiles: {compiled:?}");
    let mut draft = scene::snapshot();
    draft.bundle = Some(scene::postcard(&compiled.unwrap_or_default()));
    let mut gate = scene::gate(Mode::Enforce);
    let applied = gate.apply(&draft.sealed(), scene::now().monotonic, scene::now());
    assert!(applied.is_ok(), "the snapshot is applied: {applied:?}");
    gate
});

static BEARER: LazyLock<String> = LazyLock::new(|| {
    let mut claims = scene::claims();
    let bound = |actions: &[&str], constraints: Value| json!({"type": "agent_action", "actions": actions, "constraints": constraints});
    claims["authorization_details"] = json!([
        bound(&["bodies:pay", "bodies:sign"], json!({"amount": {"max": "500.00 EUR"}})),
        bound(&["bodies:send", "bodies:pass"], json!({})),
    ]);
    claims["exp"] = json!(NOW + 280);
    format!("Bearer {}", scene::token(claims.to_string().as_bytes(), ISSUER))
});

/// Each way to read a body, as text.
pub const POLICY: &str = include_str!("../kit/bodies.yaml");
