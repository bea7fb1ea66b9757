//! At the target system: our command and fifty lines of Python, with public keys only, take a
//! gatepass that was issued and refuse each change of it.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepass::keys::{KeyRole, SecretKey};
use gatepass_engine::keyring::Algorithm;
use serde_json::{Value, json};

use crate::kit::{Ask, ORDERS, Plan, Plane, claims, python};

/// What both say of a gatepass: the code, or `good`.
fn both(plane: &Plane, token: &str, audience: &str, action: &str) -> [String; 2] {
    let file = plane.file("gatepass.jwt");
    std::fs::write(&file, token).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify_gatepass.py");
    let mut theirs = python();
    theirs.arg(script);
    let mut ours = Command::new(env!("CARGO_BIN_EXE_gatepass"));
    ours.arg("verify");
    [theirs, ours].map(|mut command| {
        command.arg(&file).arg("--jwks").arg(plane.file("jwks.json"));
        command.args(["--issuer", &plane.issuer, "--environment", "prod"]);
        let output = command.args(["--audience", audience, "--action", action]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => "good".to_owned(),
            false => {
                let code = said.trim().strip_prefix("denied: ").unwrap_or(&said).to_owned();
                code.split([':', ' ']).next().unwrap_or_default().trim().to_owned()
            }
        }
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_gatepass_is_checked_at_the_target_and_each_change_of_it_denied() {
    let plane = Plane::with(&Plan { now: now(), ..Plan::default() });
    plane.furnish();
    let agent = plane.agent(1);
    let issuer = SecretKey::load(&plane.dir().join("issuer.key"), KeyRole::Issuer).unwrap();
    let book = plane.issuer_keys();
    std::fs::write(plane.file("jwks.json"), gatepass::jwks::jwks(&book).to_string()).unwrap();

    let good = agent.gatepass(&plane, &Ask::read());
    let action =
        claims(&good)["authorization_details"][0]["actions"][0].as_str().unwrap().to_owned();
    assert_eq!(both(&plane, &good, ORDERS, &action), ["good", "good"]);
    assert_eq!(both(&plane, &good, "https://other.example", &action), ["wrong_audience"; 2]);
    assert_eq!(both(&plane, &good, ORDERS, "orders:delete"), ["action_not_granted"; 2]);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{input}.{first}{}", signature.get(1..).unwrap());
    assert_eq!(both(&plane, &forged, ORDERS, &action), ["bad_signature"; 2]);

    let changes: [(&str, Value, &str); 8] = [
        ("iss", json!("https://other.example"), "wrong_issuer"),
        ("env", json!("dev"), "wrong_environment"),
        ("iat", json!(now() + 100), "not_yet_valid"),
        ("exp", json!(0), "malformed"),
        ("client_id", json!("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e50"), "malformed"),
        ("cnf", json!({ "jkt": "x" }), "unsupported_restriction"),
        ("req_wl", json!("spiffe://corp.example/a"), "unsupported_restriction"),
        ("authorization_details", json!([]), "action_not_granted"),
    ];
    for (name, value, code) in changes {
        let mut changed = claims(&good);
        changed[name] = value;
        let token = gatepass::issue::sign(&changed, Algorithm::EdDsa, &issuer).unwrap();
        assert_eq!(both(&plane, &token, ORDERS, &action), [code; 2], "{name}");
    }
    let mut past = claims(&good);
    (past["iat"], past["exp"]) = (json!(now() - 100), json!(now() - 50));
    let past = gatepass::issue::sign(&past, Algorithm::EdDsa, &issuer).unwrap();
    assert_eq!(both(&plane, &past, ORDERS, &action), ["expired"; 2]);
    let stranger = SecretKey::from_seed(&[77; 32]).unwrap();
    let strange = gatepass::issue::sign(&claims(&good), Algorithm::EdDsa, &stranger).unwrap();
    assert_eq!(both(&plane, &strange, ORDERS, &action), ["unknown_key"; 2]);
}
