//! The command line as its users run it: real processes, real files, a real socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod desk;
mod folder;
mod keys;

use desk::{AGENT, Desk, POLICY};
use gatepass_engine::batch::{Batch, Feed, Shape};
use gatepass_engine::envelope::Unverified;

#[test]
fn a_gatepass_is_allowed_until_its_agent_is_revoked() {
    let desk = Desk::with_policy(POLICY);
    let token = desk.gatepass(&["--scope", "orders.write"]);
    let asked = ["--method", "POST", "--path", "/orders?amount=10.00&currency=EUR"];
    let (code, text) = desk.explain(&token, &asked);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("allowed: `orders:create` by agent:1111"), "{text}");
    assert!(text.contains("state: position ") && text.contains(", 0 ms old"), "{text}");
    let (code, text) = desk.explain(&token, &[asked.as_slice(), &["--age", "3601"]].concat());
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("3601000 ms old") && text.contains("denied: stale (503)"), "{text}");
    let revoked = desk.ok(&["revoke", "--agent", AGENT]);
    assert!(revoked.starts_with("revoked at "), "{revoked}");
    let (code, text) = desk.explain(&token, &asked);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("denied: revoked_agent (401)"), "{text}");
    // One issued since is good again.
    let token = desk.gatepass(&["--scope", "orders.write"]);
    assert_eq!(desk.explain(&token, &asked).0, 0);
}

#[test]
fn a_gatepass_is_good_for_what_it_says_and_nothing_else() {
    let desk = Desk::with_policy(POLICY);
    let scope = ["--scope", "orders.write"];
    let within = "/orders?amount=500&currency=EUR&count=3";
    let with = |more: &[&str]| desk.gatepass(&[scope.as_slice(), more].concat());
    let check = |token: &str, path: &str, expected: &str| {
        let (code, text) = desk.explain(token, &["--method", "POST", "--path", path]);
        assert_eq!(code, if expected == "allowed" { 0 } else { 2 }, "{text}");
        assert!(text.contains(&format!("\n{expected}")), "{expected}: {text}");
    };
    check(&with(&[]), within, "allowed");
    check(&desk.gatepass(&[]), within, "denied: insufficient_scope");
    let max = with(&["--constraint", "amount.max=500.00 EUR", "--constraint", "count.in=1,3"]);
    check(&max, within, "allowed");
    check(&max, "/orders?amount=500.01&currency=EUR&count=3", "denied: constraint_violated");
    check(&max, "/orders?amount=500&currency=USD&count=3", "denied: constraint_violated");
    check(&max, "/orders?amount=500&currency=EUR&count=2", "denied: constraint_violated");
    check(&with(&["--assurance", "static"]), within, "denied: insufficient_assurance");
    check(&with(&["--ttl", "1h"]), within, "denied: too_old");
    check(&with(&["--args-digest", &"A".repeat(43)]), within, "denied: constraint_violated");
    let file = desk.file("body", b"{}");
    let sent = ["--method", "POST", "--path", within, "--body", file.to_str().unwrap()];
    let body = desk.explain(&with(&[]), &sent);
    assert!(body.1.contains("denied: body_not_allowed"), "{}", body.1);
}

#[test]
fn every_kind_of_revocation_is_told_on_the_command_line() {
    for (flag, id, code) in [
        ("--credential", "j1", "revoked_credential"),
        ("--credential", "j0", "revoked_ancestor"),
        ("--task", "t1", "revoked_task"),
        ("--agent", AGENT, "revoked_agent"),
        ("--owner", "user:corp/alice", "revoked_owner"),
        ("--blueprint", "buyer", "revoked_blueprint"),
        ("--subject", "user:corp/bob", "revoked_subject"),
    ] {
        let desk = Desk::with_policy(POLICY);
        let token = desk.gatepass(&[
            "--scope",
            "orders.write",
            "--jti",
            "j1",
            "--ancestor",
            "j0",
            "--task",
            "t1",
            "--owner",
            "user:corp/alice",
            "--blueprint",
            "buyer",
            "--subject",
            "user:corp/bob",
        ]);
        let asked = ["--method", "POST", "--path", "/orders"];
        assert_eq!(desk.explain(&token, &asked).0, 0);
        desk.ok(&["revoke", flag, id]);
        let (_, text) = desk.explain(&token, &asked);
        assert!(text.contains(&format!("denied: {code} ")), "{flag}: {text}");
    }
}

#[test]
fn a_revoked_key_signs_nothing_that_is_believed() {
    let desk = Desk::with_policy(POLICY);
    let token = desk.gatepass(&["--scope", "orders.write"]);
    let jwks: serde_json::Value = serde_json::from_str(&desk.ok(&["jwks"])).unwrap();
    let key = &jwks["keys"][0];
    assert_eq!((key["kty"].as_str(), key["alg"].as_str()), (Some("OKP"), Some("EdDSA")));
    desk.ok(&["revoke", "--key", key["kid"].as_str().unwrap()]);
    let (_, text) = desk.explain(&token, &["--method", "POST", "--path", "/orders"]);
    assert!(text.contains("denied: revoked_key"), "{text}");
}

#[test]
fn a_revocation_that_could_hit_nothing_is_refused() {
    let desk = Desk::new();
    for (flag, id) in [
        ("--agent", "agent:1"),
        ("--owner", "alice"),
        ("--subject", "bob"),
        ("--key", "kid"),
        ("--credential", "a b"),
    ] {
        assert!(desk.fails(&["revoke", flag, id]).contains("expected"), "{flag}");
    }
    assert!(desk.fails(&["revoke"]).contains("--credential"));
}

#[test]
fn a_flawed_policy_is_told_of_and_not_published() {
    let desk = Desk::with_policy(POLICY);
    let before = desk.ok(&["roots"]);
    let text = desk.publish_fails(&POLICY.replace("risk: high", "risk: grave"));
    assert!(text.contains("policy.yaml:3:11: error: expected `low`, `medium` or `high`"), "{text}");
    assert!(text.contains("          ^"), "{text}");
    let upgrade = POLICY
        .replace("action: orders:create", "action: orders:create\n        upgrade: websocket");
    let text = desk.publish_fails(&upgrade);
    assert!(text.contains(":11:18: error: a route with `upgrade` needs an action with"), "{text}");
    assert_eq!(desk.ok(&["roots"]), before);
    let (_, text) = desk.explain("x", &["--path", "/healthz"]);
    assert!(text.contains("allowed: the route is public"), "{text}");
}

#[test]
fn check_lists_what_a_policy_leaves_open() {
    let desk = Desk::new();
    let text = desk.check(POLICY);
    assert!(text.contains("public: GET /healthz on orders.example"), "{text}");
    assert!(text.contains("passed through: static.example"), "{text}");
    assert!(!text.contains("shadow"), "{text}");
    let text = desk.check(&POLICY.replace("risk: high", "risk: high\n    mode: shadow"));
    assert!(text.contains("shadow: orders:create"), "{text}");
}

#[test]
fn a_request_can_be_explained_from_a_file() {
    let desk = Desk::with_policy(POLICY);
    let token = desk.gatepass(&["--scope", "orders.write"]);
    let request = |host: &str, more: &str| {
        format!("POST /orders HTTP/1.1\nHost: {host}\nAuthorization: Bearer {token}\n{more}\n")
    };
    for (text, expected) in [
        (request("orders.example", ""), "allowed: `orders:create`"),
        (request("orders.example:443", "content-length: 0\n"), "allowed: `orders:create`"),
        (request("orders.example", "Content-Length: 2\n"), "denied: body_not_allowed"),
        (request("orders.example", "Upgrade: websocket\n"), "denied: stream_not_allowed"),
        (request("other.example", ""), "denied: no_route"),
        (request("Orders.example", ""), "denied: ambiguous_request"),
        (request("static.example", ""), "allowed: the host is passed through"),
    ] {
        let told = desk.explain_file(&text);
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn inspect_reads_everything_that_is_made() {
    let desk = Desk::with_policy(POLICY);
    let token = desk.gatepass(&[]);
    let json = |path: &std::path::Path| -> serde_json::Value {
        serde_json::from_str(&desk.inspect(path)).unwrap()
    };
    let batch = json(&desk.dir().join("batches/2.batch"));
    assert_eq!(batch["payload"]["header"]["shape"], "delta");
    assert_eq!(batch["payload"]["bundle"]["actions"][0]["name"], "orders:create");
    let root = json(&desk.dir().join("roots/1.json"));
    assert_eq!(root["payload"]["environment"], "prod");
    let gatepass = json(&desk.file("token", token.as_bytes()));
    assert_eq!(gatepass["claims"]["client_id"], AGENT);
    let served = desk.serve();
    let answer = json(&desk.file("answer", &served.poll("/v1/feed?audience=prod")));
    assert_eq!(answer["batches"][0]["payload"]["header"]["shape"], "snapshot");
    let junk = desk.file("junk", b"junk");
    assert!(
        desk.fails_without_dir(&["inspect", junk.to_str().unwrap()]).contains("is no envelope")
    );
}

#[test]
fn roots_are_printed_as_the_plugins_configuration_wants_them() {
    let desk = Desk::new();
    let roots: serde_json::Value = serde_json::from_str(&desk.ok(&["roots"])).unwrap();
    assert_eq!(roots["environment"], "prod");
    assert_eq!(roots["feed_audience"], "prod");
    assert_eq!(roots["min_root_version"], 1);
    assert_eq!(roots["roots"]["threshold"], 1);
    let key = roots["roots"]["keys"][0].as_str().unwrap();
    assert!(desk.init_output().contains(&format!("root public key: {key}")));
}

#[test]
fn a_poll_hears_of_a_revocation_by_another_process() {
    let desk = Desk::with_policy(POLICY);
    let served = desk.serve();
    let snapshot = served.poll("/v1/feed?audience=prod&wait=30");
    let header = |answer: &[u8]| {
        let feed = Feed::decode(answer).unwrap();
        let envelope = Unverified::from_postcard(feed.batches[0]).unwrap();
        Batch::decode(envelope.unverified_payload()).unwrap().header
    };
    assert_eq!(header(&snapshot).shape(), Shape::Snapshot);
    let after = header(&snapshot).position();
    // A delta, whether the poll was held by then or came after: never a missed revocation.
    let poll = served.start(&format!("/v1/feed?audience=prod&after={after}&wait=30"));
    desk.ok(&["revoke", "--agent", AGENT]);
    let delta = header(&poll.finish());
    assert_eq!((delta.shape(), delta.from), (Shape::Delta, after.sequence));
}

#[test]
fn the_feed_is_served_on_loopback_only() {
    let desk = Desk::new();
    let text = desk.fails(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(text.contains("loopback only"), "{text}");
}

#[test]
fn a_key_that_others_can_read_stops_everything() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::with_policy(POLICY);
    for key in ["feed.key", "issuer.key"] {
        let path = desk.dir().join(key);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let text = desk.fails(&["revoke", "--agent", AGENT]);
        assert!(text.contains("run `chmod 600 "), "{text}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        desk.ok(&["revoke", "--agent", AGENT]);
    }
}

#[test]
fn init_leaves_an_existing_directory_alone() {
    let desk = Desk::new();
    let again = ["init", "--environment", "prod", "--issuer", "https://issuer.example"];
    assert!(desk.fails(&again).contains("is not empty"));
    desk.ok(&["roots"]);
}
