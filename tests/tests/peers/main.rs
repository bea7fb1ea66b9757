//! Gatepasses between us and JOSE libraries that share no code with us: they read what we sign, and
//! the engine reads what they sign. And a gate between clients and servers that others published.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![expect(
    clippy::indexing_slicing,
    reason = "JSON that lacks a member is null, which no test expects"
)]
#![expect(clippy::panic, reason = "a store that has nothing to tell is a mistake in the test")]

mod a2a;
mod conformance;
mod desk;
mod everything;
mod mcp;
mod python;
mod shop;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::keyring::Algorithm;
use serde_json::{Value, json};

use crate::desk::{Desk, ISSUER, NOW, full, plain};

const LIBRARIES: [&str; 2] = ["joserfc", "authlib"];

fn read(library: &str, token: &str, jwks: &Value) -> Value {
    json!({"do": "read", "with": library, "token": token, "jwks": jwks})
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of [`full`], written out by hand.
fn granted(position: Value) -> Value {
    let actor = json!({
        "sub": "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e60",
        "owner": "user:corp/alice",
        "blueprint": "buyer",
    });
    json!({
        "iss": ISSUER,
        "aud": ["https://orders.example", "https://else.example"],
        "iat": 1_800_000_000,
        "exp": 1_800_000_300,
        "jti": "jti-2",
        "seq": position,
        "sub": "user:corp/ursula",
        "act": {
            "sub": "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f",
            "owner": "user:corp/alice",
            "blueprint": "buyer",
            "act": actor,
        },
        "client_id": "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f",
        "anc": ["jti-1", "jti-0"],
        "owner": "user:corp/alice",
        "blueprint": "buyer",
        "scope": "orders.read orders.write",
        "authorization_details": [{
            "type": "agent_action",
            "actions": ["orders:read"],
            "locations": ["https://orders.example"],
            "constraints": {"amount": {"max": "500.00 EUR"}},
            "args_digest": text([0xff; 32]),
            "uses": 1,
        }],
        "txn": "task-1",
        "env": "prod",
        "assurance": "federated",
        "req_wl": "spiffe://prod/buyer",
        "cnf": {"jkt": "thumb"},
        "approval": {
            "id": "ap-1", "by": "user:corp/alice", "at": 1_800_000_000, "amr": ["hwk"],
            "digest": text([0; 32]),
        },
        "dec": "d-1",
        "pol": [1, 2],
    })
}

#[test]
fn both_libraries_read_what_we_issue_under_either_name_of_the_algorithm() {
    for (algorithm, alg) in [(Algorithm::EdDsa, "EdDSA"), (Algorithm::Ed25519, "Ed25519")] {
        let mut desk = Desk::open(algorithm);
        let jwks = desk.jwks();
        let at = desk.store.position();
        let token = desk.store.issue(&full(), NOW).unwrap();
        let requests = LIBRARIES.map(|library| read(library, &token, &jwks));
        for answer in python::ask(&requests) {
            let header = answer["header"].as_object().unwrap();
            let members: BTreeSet<&str> = header.keys().map(String::as_str).collect();
            assert_eq!(members, ["alg", "kid", "typ"].into());
            assert_eq!(header["alg"], alg);
            assert_eq!(header["typ"], "at+jwt");
            assert_eq!(header["kid"], answer["thumbprint"]);
            assert_eq!(header["kid"], jwks["keys"][0]["kid"]);
            assert_eq!(answer["claims"], granted(json!([at.epoch, at.sequence])));
        }
    }
}

#[test]
fn both_libraries_refuse_what_was_changed_or_signed_by_another() {
    let mut desk = Desk::open(Algorithm::EdDsa);
    let stranger = Desk::open(Algorithm::EdDsa);
    let jwks = desk.jwks();
    let token = desk.store.issue(&plain(), NOW).unwrap();
    let other = desk.store.issue(&full(), NOW).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { panic!("{token}") };
    let others: Vec<&str> = other.split('.').collect();
    let [_, other_claims, other_signature] = others.as_slice() else { panic!("{other}") };
    let kid = jwks["keys"][0]["kid"].as_str().unwrap();
    let renamed = |alg: &str| {
        let header = text(format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"{kid}"}}"#));
        format!("{header}.{claims}.{signature}")
    };
    // The same `kid` with the public key of another desk.
    let mut swapped = jwks.clone();
    swapped["keys"][0]["x"] = stranger.jwks()["keys"][0]["x"].clone();
    let refused = [
        (format!("{header}.{other_claims}.{signature}"), &jwks),
        (format!("{header}.{claims}.{other_signature}"), &jwks),
        (format!("{header}.{claims}."), &jwks),
        (renamed("Ed25519"), &jwks),
        (renamed("HS256"), &jwks),
        (renamed("none"), &jwks),
        (token.clone(), &swapped),
        (token.clone(), &stranger.jwks()),
    ];
    for library in LIBRARIES {
        let mut requests = vec![read(library, &token, &jwks), read(library, &other, &jwks)];
        requests.extend(refused.iter().map(|(token, jwks)| read(library, token, jwks)));
        let answers = python::ask(&requests);
        let (good, bad) = answers.split_at(2);
        assert!(good.iter().all(|answer| answer["claims"].is_object()), "{library}: {good:?}");
        for (answer, (token, _)) in bad.iter().zip(&refused) {
            assert!(answer["refused"].is_string(), "{library} reads {token}: {answer}");
        }
    }
}

#[test]
fn the_engine_decides_on_what_joserfc_signs_as_on_what_we_sign() {
    for (algorithm, alg) in [(Algorithm::EdDsa, "EdDSA"), (Algorithm::Ed25519, "Ed25519")] {
        let mut desk = Desk::open(algorithm);
        let stranger = Desk::open(algorithm);
        let position = desk.store.position();
        let claims = plain().claims(&desk.store.issuer(), position, NOW).unwrap();
        let kid = desk.jwks()["keys"][0]["kid"].clone();
        let key = desk.private_key();
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
        let x = key["x"].as_str().unwrap();
        let secret = |bytes: &[u8]| json!({"kty": "oct", "k": text(bytes)});
        let public = URL_SAFE_NO_PAD.decode(x).unwrap();
        let with = |name: &str, value: Value| {
            let mut header = header.clone();
            header[name] = value;
            header
        };
        let mut expired = claims.clone();
        (expired["iat"], expired["exp"]) = (json!(NOW.0 - 300), json!(NOW.0));
        let other_name = if alg == "EdDSA" { "Ed25519" } else { "EdDSA" };
        let cases = [
            (header.clone(), &claims, key.clone(), "allow"),
            (header.clone(), &expired, key.clone(), "expired"),
            (header.clone(), &claims, stranger.private_key(), "bad_signature"),
            (with("alg", json!(other_name)), &claims, key.clone(), "unsupported_algorithm"),
            (with("typ", json!("JWT")), &claims, key.clone(), "malformed"),
            (with("cty", json!("JWT")), &claims, key.clone(), "malformed"),
            // The public key as the secret of an HMAC: as bytes, and as the JWK writes it.
            (with("alg", json!("HS512")), &claims, secret(&public), "unsupported_algorithm"),
            (with("alg", json!("HS512")), &claims, secret(x.as_bytes()), "unsupported_algorithm"),
            // 32 bytes are no Ed25519 signature, whatever the header says.
            (with("alg", json!("HS256")), &claims, secret(&public), "malformed"),
            (with("alg", json!("HS256")), &claims, secret(x.as_bytes()), "malformed"),
        ];
        let requests: Vec<Value> = cases
            .iter()
            .map(|(header, claims, key, _)| {
                json!({"do": "sign", "header": header, "claims": claims, "key": key})
            })
            .collect();
        for (answer, (header, _, _, expected)) in python::ask(&requests).iter().zip(&cases) {
            let token = answer["token"].as_str().unwrap();
            assert_eq!(desk.verdict(token), *expected, "{header}");
        }
        let ours = desk.store.issue(&plain(), NOW).unwrap();
        assert_eq!(desk.verdict(&ours), "allow");
    }
}
