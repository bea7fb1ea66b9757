//! OAuth clients that others published, unchanged: each finds the endpoints from the issuer's URL,
//! gets a gatepass that a gate takes, and introspects it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::kit::{Follower, ORDERS, Plan, Plane, beside_python, key_of, python, registration};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where `make peers` has installed what package-lock.json names.
fn node() -> Command {
    let script = project().join("target/peers-js/client.mjs");
    assert!(script.exists(), "no `{}`: run `make peers`", script.display());
    let mut command = Command::new(beside_python("node"));
    command.arg(script);
    command
}

fn authlib() -> Command {
    let mut command = python();
    command.arg(project().join("tests/peers/oauth_client.py"));
    command
}

/// The one P-256 key of RFC 7515 appendix A.3.
fn p256() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    })
}

fn ed25519(seed: u8) -> Value {
    let mut key = key_of(seed);
    key["d"] = URL_SAFE_NO_PAD.encode([seed; 32]).into();
    key
}

fn public(private: &Value) -> Value {
    let mut key = private.clone();
    key.as_object_mut().unwrap().remove("d");
    key
}

/// An issuer that can be reached: the port is part of its name, so it is chosen beforehand.
fn reachable(path: &str) -> Plane {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let plane = Plane::with(&Plan {
        issuer: format!("http://127.0.0.1:{port}{path}"),
        ports: [0, port, 0, 0],
        now,
        ..Plan::default()
    });
    plane.furnish();
    plane
}

fn run(mut client: Command, asked: &Value) -> Value {
    let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check(client: fn() -> Command, private: &Value, stranger: &Value, path: &str) {
    let plane = reachable(path);
    let mut agent = registration(plane.now(), 1, "buyer", "user:corp/alice", "p1");
    agent["key"] = public(private);
    let made = plane.change("/v1/agents", agent);
    let id = made["result"]["id"].as_str().unwrap();
    plane.change(&format!("/v1/agents/{id}/activate"), json!({}));
    let asked = |key: &Value, action: &str| {
        json!({
            "issuer": plane.issuer, "client_id": id, "key": key, "resource": ORDERS,
            "details": [{ "type": "agent_action", "actions": [action] }],
        })
    };
    let answer = run(client(), &asked(private, "orders:read"));
    let gatepass = answer["gatepass"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(Follower::of(&plane).reads(gatepass), Ok(()));
    let told = &answer["introspection"];
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!(id)), "{answer}");
    let answer = run(client(), &asked(private, "orders:burn"));
    assert_eq!(answer["refused"], "invalid_authorization_details", "{answer}");
    let answer = run(client(), &asked(stranger, "orders:read"));
    let is_refused = answer["refused"].is_string() && answer.get("gatepass").is_none();
    assert!(is_refused, "a key that is not registered: {answer}");
}

#[test]
fn authlib_gets_a_gatepass() {
    check(authlib, &ed25519(1), &ed25519(2), "");
    check(authlib, &ed25519(1), &ed25519(2), "/prod");
}

#[test]
fn openid_client_gets_a_gatepass() {
    let mut stranger = p256();
    // RFC 7517 appendix A.2's.
    stranger["x"] = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into();
    stranger["y"] = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into();
    stranger["d"] = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE".into();
    check(node, &p256(), &stranger, "");
    check(node, &p256(), &stranger, "/prod");
}
