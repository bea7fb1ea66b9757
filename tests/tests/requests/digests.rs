//! Gatepasses and approvals for one exact request: its digest is of what the upstream gets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::issue::{Approval, Grant};
use gatepass_tests::kit::bodies::HOST;
use gatepass_tests::kit::world::{OWNER, grant, now};
use sha2::{Digest as _, Sha256};

use crate::ask::Ask;
use crate::gates::{RAW, turn};
use crate::reads::{JSON, NOT_ALLOWED, VIOLATED, pay};

/// SHA-256 of the canonical action (RFC 8785), with what stands for its inputs and its body.
fn digest(action: &str, method: &str, path: &str, inputs: &str, body: &[u8]) -> [u8; 32] {
    let body = URL_SAFE_NO_PAD.encode(Sha256::digest(body));
    let canonical = format!(
        "{{\"action\":\"{action}\",\"audience\":\"https://orders.example\",\"body_sha256\":\"{body}\",\
         \"environment\":\"prod\",\"host\":\"{HOST}\",\"inputs\":{inputs},\"method\":\"{method}\",\
         \"path\":\"{path}\"}}"
    );
    Sha256::digest(canonical).into()
}

fn pinned(action: &str, digest: [u8; 32]) -> Grant {
    let mut grant = grant(action).unwrap();
    grant.entries[0].args_digest = Some(digest);
    grant
}

#[test]
fn a_digest_is_good_for_one_body() {
    let mut turn = turn();
    let bytes = b"\x89PNG\r\n\x1a\n\0\xff";
    let scanned = digest("bodies:scan", "PUT", "/scan/7", "{}", bytes);
    let pass = turn.issue(&pinned("bodies:scan", scanned));
    let put = |path: &str, pass: &str, body: &[u8]| {
        Ask::new("PUT", path).at(HOST).bearing(pass).with("content-type", "image/png").body(body)
    };
    for sent in put("/scan/7", &pass, bytes).both() {
        turn.arrives(RAW, &sent, "bodies:scan", bytes);
    }
    let twin = put("/scan/7", &pass, bytes);
    let allowed = format!("200: PUT /scan/7 at {HOST} as bodies:scan +{} bytes", bytes.len());
    for (path, body) in [
        ("/scan/7", b"\x89PNG\r\n\x1a\n\0\xfe".as_slice()),
        ("/scan/7", b"\x89PNG\r\n\x1a\n\0\xff\0"),
        ("/scan/7", b""),
        ("/scan/8", bytes),
        ("/scan/7?x=1", bytes),
    ] {
        turn.pair(RAW, &put(path, &pass, body), VIOLATED, &twin, &allowed);
    }
    let none = Ask::new("PUT", "/scan/7").at(HOST).bearing(&pass);
    turn.pair(RAW, &none, VIOLATED, &twin, &allowed);
    for (name, value, expected) in [
        ("content-type", "multipart/form-data; boundary=x", NOT_ALLOWED),
        ("content-encoding", "gzip", NOT_ALLOWED),
    ] {
        let ask = Ask::new("PUT", "/scan/7").at(HOST).bearing(&pass).with(name, value).body(bytes);
        turn.pair(RAW, &ask, expected, &twin, &allowed);
    }
    // What the action names is taken, as bytes.
    let parts = b"--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
    let named = digest("bodies:named", "PUT", "/named", "{}", parts);
    let named = turn.issue(&pinned("bodies:named", named));
    let put = |kind: &str, coding: &str, body: &[u8]| {
        let ask = Ask::new("PUT", "/named").at(HOST).bearing(&named);
        ask.with("content-type", kind).with("content-encoding", coding).body(body)
    };
    for sent in put("multipart/form-data; boundary=x", "gzip", parts).both() {
        turn.arrives(RAW, &sent, "bodies:named", parts);
    }
    for (kind, coding, body, expected) in [
        ("multipart/form-data; boundary=x", "gzip", b"--x--".as_slice(), VIOLATED),
        ("multipart/form-data; boundary=x", "br", parts, NOT_ALLOWED),
        ("multipart/mixed; boundary=x", "gzip", parts, NOT_ALLOWED),
        (JSON, "gzip", parts, NOT_ALLOWED),
    ] {
        for sent in put(kind, coding, body).both() {
            turn.row(RAW, &sent, expected);
        }
    }
    turn.finish();
}

#[test]
fn a_digest_of_json_is_of_what_it_says() {
    let mut turn = turn();
    let canonical = br#"{"amount":"100.00","currency":"EUR","notes":[1,0.5,"\u000f"]}"#;
    let inputs = r#"{"amount":"100.0000 EUR"}"#;
    let digest = digest("bodies:pay", "POST", "/pay", inputs, canonical);
    let mut approved = grant("bodies:pay").unwrap();
    approved.approval = Some(Approval {
        id: "ap-1".to_owned(),
        by: OWNER.to_owned(),
        at: now(),
        amr: vec!["hwk".to_owned()],
        digest,
    });
    let approved = turn.issue(&approved);
    let pinned = turn.issue(&pinned("bodies:pay", digest));
    for (pass, otherwise) in [(&pinned, VIOLATED), (&approved, "403 approval_mismatch")] {
        for same in [
            canonical.as_slice(),
            br#" {"notes": [1.0, 5e-1, "\u000F"], "currency": "EUR", "amount": "100.00"}"#,
        ] {
            for sent in pay(pass).body(same).both() {
                turn.arrives(RAW, &sent, "bodies:pay", same);
            }
        }
        for other in [
            br#"{"amount":"100.00","currency":"EUR","notes":[1,0.5,"\u000e"]}"#.as_slice(),
            br#"{"amount":"100.00","currency":"EUR","notes":[0.5,1,"\u000f"]}"#,
            br#"{"amount":"100.00","currency":"EUR","notes":[1,0.5,"\u000f"],"x":1}"#,
            br#"{"amount":"100.000","currency":"EUR","notes":[1,0.5,"\u000f"]}"#,
            // Some reader loses it, or takes the other: no digest is of it.
            br#"{"amount":"100.00","currency":"EUR","notes":[1.00000000000000001,0.5,"\u000f"]}"#,
            br#"{"amount":"100.00","currency":"EUR","notes":[9],"notes":[1,0.5,"\u000f"]}"#,
        ] {
            for sent in pay(pass).body(other).both() {
                turn.row(RAW, &sent, otherwise);
            }
        }
    }
    turn.finish();
}
