//! Targets for a request: the token that it carries, and the decision on it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::body::Body;
use gatepass_engine::clock::Now;
use gatepass_engine::decision::{Decision, Header, Reason, Request};
use gatepass_engine::gatepass::Token;

use super::scene::{self, ISSUER};

/// A token that splits is spelled in the one way that its parts have.
pub fn token(bytes: &[u8]) {
    let Ok(token) = Token::split(bytes) else {
        return;
    };
    assert!(bytes.len() <= 8 * 1024);
    if !token.is_whole() {
        assert!(!reads(bytes), "claims are read of what is not base64url");
        return;
    }
    let parts: Vec<Vec<u8>> = bytes
        .split(|byte| *byte == b'.')
        .filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .collect();
    assert_eq!(parts.len(), 3);
    let again: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
    assert_eq!(again.join(".").as_bytes(), bytes);
    let read = reads(bytes);
    let [header, claims, signature] = parts.as_slice() else {
        return;
    };
    assert_eq!(signature.len(), 64);
    let object = |part: &[u8]| {
        serde_json::from_slice::<serde_json::Value>(part).ok().filter(serde_json::Value::is_object)
    };
    let (header, claims) = (object(header), object(claims));
    if read {
        let names = header.as_ref().and_then(|header| Some(header.as_object()?.len()));
        assert_eq!(names, Some(3));
        assert_eq!(header.map(|mut header| header["typ"].take()), Some("at+jwt".into()));
        assert!(claims.is_some_and(|claims| claims["exp"].is_u64() && claims["txn"].is_string()));
    }
}

fn reads(bytes: &[u8]) -> bool {
    let claims = |token: Token<'_>| token.read()?.check_claims();
    Token::split(bytes).and_then(claims).is_ok()
}

/// The first byte chooses the gate and the time, each line after it is a header; `$TOKEN` in a
/// value stands for a token that grants everything. Whatever is allowed by decision carries a token
/// that the issuer key signed, as another implementation sees it.
pub fn decide(bytes: &[u8]) {
    let (choice, text) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(with_token).collect();
    let headers: Vec<Header<'_>> = lines.iter().map(|line| header(line)).collect();
    let request =
        Request { headers: &headers, body: Body::after_headers(choice & 1 == 0), source: None };
    let gates = scene::gates();
    let gate = match choice >> 1 & 3 {
        0 | 3 => &gates.enforcing,
        1 => &gates.shadow,
        _ => &gates.silent,
    };
    let now = later(u64::from(choice >> 3));
    let decision = gatepass_engine::decide(&request, gate, now);
    let (explained, _) = gatepass_engine::explain(&request, gate, now);
    assert_eq!(decision, explained, "explained is not what is enforced");
    let ours = carries_our_token(&headers);
    match &decision {
        Decision::Allow(permit) => {
            let reason = permit.reason();
            assert!(!ours || permit.strips_authorization(), "our token goes on: {reason:?}");
            match reason {
                Reason::Decided(_) => {
                    assert!(ours, "allowed without a token of ours");
                    assert!(!core::ptr::eq(gate, &gates.silent), "decided before the first batch");
                    check_action(permit.action().unwrap_or_default(), &headers);
                    assert!(now.unix.0 < scene::NOW + 280, "allowed after its end");
                }
                Reason::Shadow(_) => {
                    let audit = permit.action() == Some("orders:audit");
                    assert!(core::ptr::eq(gate, &gates.shadow) || audit);
                }
                Reason::Public | Reason::PassedThrough => {
                    assert!(!core::ptr::eq(gate, &gates.silent), "no bundle is in force");
                    let host = only(&headers, b":authority").unwrap_or_default();
                    let open = host.starts_with(b"static.example");
                    assert_eq!(open, *reason == Reason::PassedThrough);
                    assert!(
                        open || only(&headers, b":path")
                            .unwrap_or_default()
                            .starts_with(b"/healthz")
                    );
                }
            }
        }
        Decision::Redeem(_) => assert!(!ours, "no action here has uses"),
        Decision::Deny(denial) => {
            assert!(!core::ptr::eq(gate, &gates.shadow), "denied in shadow mode: {denial}");
            assert!((400..=503).contains(&denial.code().status()));
            assert!(!denial.detail().contains(scene::good_token()), "a token in the log");
        }
        Decision::Read(awaited) => assert_eq!(awaited.most, 0, "no action reads a body"),
    }
}

/// The action is the one that method and path name, read in the plainest way.
fn check_action(action: &str, headers: &[Header<'_>]) {
    let text = |name: &[u8]| String::from_utf8_lossy(only(headers, name).unwrap_or_default());
    let (method, target) = (text(b":method"), text(b":path"));
    let path = target.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let expected = match (&*method, segments.as_slice()) {
        ("POST", ["orders"]) => "orders:create",
        ("GET", ["orders"] | ["orders", _]) => "orders:read",
        ("POST", ["orders", _, "notes"]) => "orders:note",
        ("GET", ["audit"]) => "orders:audit",
        _ => "nothing",
    };
    assert_eq!(action, expected, "{method} {target}");
    assert!(text(b":authority").starts_with("orders.example"));
}

fn only<'a>(headers: &[Header<'a>], name: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name == name).map(|header| header.value)
}

/// Whether a token that the issuer key signed stands anywhere in `authorization`. Only one whose
/// claims a gate would read: what it cannot read, no upstream of ours could use either.
fn carries_our_token(headers: &[Header<'_>]) -> bool {
    headers.iter().filter(|header| header.name == b"authorization").any(|header| {
        header.value.split(|byte| *byte == b',').any(|part| {
            let part = part.trim_ascii();
            let at = part.iter().position(|byte| *byte == b' ');
            let (scheme, token) = part.split_at(at.unwrap_or(part.len()));
            let known =
                scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop");
            known && is_ours(token.strip_prefix(b" ").unwrap_or(token))
        })
    })
}

fn is_ours(token: &[u8]) -> bool {
    let Some(at) = token.iter().rposition(|byte| *byte == b'.') else {
        return false;
    };
    let (input, signature) = token.split_at(at);
    let signature = URL_SAFE_NO_PAD.decode(signature.get(1..).unwrap_or_default());
    signature.is_ok_and(|signature| scene::signed_by(ISSUER, input, &signature)) && reads(token)
}

fn header(line: &[u8]) -> Header<'_> {
    // A pseudo-header's name starts with a colon.
    let colon = line.iter().skip(1).position(|byte| *byte == b':').map(|at| at + 1);
    let (name, value) = line.split_at(colon.unwrap_or(line.len()));
    let value = value.strip_prefix(b":").unwrap_or(value);
    Header { name, value: value.strip_prefix(b" ").unwrap_or(value) }
}

fn with_token(line: &[u8]) -> Vec<u8> {
    let place = line.windows(MARK.len()).position(|window| window == MARK);
    let Some(at) = place else {
        return line.to_vec();
    };
    let (before, rest) = line.split_at(at);
    let after = rest.get(MARK.len()..).unwrap_or_default();
    [before, scene::good_token().as_bytes(), after].concat()
}

fn later(step: u64) -> Now {
    // From now to beyond the token's end and every bound of staleness.
    let seconds = step * 11;
    let now = scene::now();
    Now { unix: now.unix.plus(seconds), monotonic: now.monotonic.plus(seconds * 1000) }
}

const MARK: &[u8] = b"$TOKEN";
