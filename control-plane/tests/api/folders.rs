//! A policy that is a folder: published as one text, for one environment.

use std::process::{Command, Output};

use serde_json::json;

use crate::kit::{Follower, Plane};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies/orders");

const ARCHIVE: &str = "\
-- actions/a.yaml --
actions:
  orders:read:
    risk: low
    routes:
      - match: GET /orders
-- gatepass.yaml --
environment: prod
hosts:
  - names: [orders.example]
    audience: https://orders.example
";

/// A rule whose condition is none.
const RULE: &str = "\
-- a.cedar --
permit (principal, action, resource) when { context.task };
-- gatepass.yaml --";

fn gatepass(plane: &Plane, arguments: &[&str]) -> Output {
    let server = format!("http://{}", plane.addresses().admin);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
    command.args(["--server", &server]).args(arguments).env("GATEPASS_TOKEN", &plane.admin);
    command.output().unwrap()
}

fn text_of(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_archive_is_a_policy_and_its_problems_name_the_file() {
    let mut plane = Plane::new();
    let done = plane.change("/v1/policies", json!({ "content": ARCHIVE }));
    let kept = plane.get("/v1/policies/current");
    assert_eq!(kept["content"], ARCHIVE);
    let listed = plane.get("/v1/policies");
    assert_eq!(done["result"]["version"], 1);
    assert_eq!(done["result"]["digest"], listed[0]["digest"]);
    assert_eq!(Follower::of(&plane).position().to_string(), done["position"]);
    let before = plane.standing();
    for (from, to, told) in [
        ("risk: low", "risk: none", "actions/a.yaml:3:11: error: expected `low`"),
        ("GET /orders", "GET", "actions/a.yaml:5:16: error: expected a method"),
        ("names: [orders.example]", "names: [A]", "gatepass.yaml:3:12: error: host name `A`"),
        ("gatepass.yaml", "gatepass.yml", "gatepass.yml:1:1: error: this file is no part"),
        ("-- gatepass.yaml --", RULE, "a.cedar:1:"),
    ] {
        let content = ARCHIVE.replacen(from, to, 1);
        let answer = plane.change_as(&plane.admin, "/v1/policies", json!({ "content": content }));
        assert_eq!(answer.status, 400, "{}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(told), "{told}: {detail}");
    }
    assert_eq!(plane.standing(), before);
    // It is read again when the control plane starts.
    plane.stop();
    plane.start();
    assert_eq!(plane.get("/v1/policies/current")["content"], ARCHIVE);
    assert_eq!(Follower::of(&plane).position().to_string(), before.0);
}

#[test]
fn a_policy_of_another_environment_is_refused_wherever_it_could_come_in_force() {
    let plane = Plane::of_two();
    let policy = |content: &str| {
        plane.change_as(&plane.admin, "/v1/policies", json!({ "content": content }))
    };
    let before = plane.standing();
    let other = policy(&ARCHIVE.replace("environment: prod", "environment: staging"));
    assert_eq!(other.status, 400, "{}", other.text());
    let detail = other.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("for environment `staging`, and this is `prod`"), "{detail}");
    assert_eq!(plane.standing(), before);
    assert_eq!(policy(ARCHIVE).status, 202);

    let plane = crate::cohorts::with_canary();
    let policy = |content: &str| {
        let body = json!({ "content": content, "cohort": "canary" });
        plane.change_as(&plane.admin, "/v1/policies", body).status
    };
    assert_eq!(policy(&ARCHIVE.replace("environment: prod", "environment: staging")), 400);
    assert_eq!(policy(ARCHIVE), 200);
}

#[test]
fn a_folder_is_published_from_the_command_line_and_compared_with_a_version() {
    let plane = Plane::new();
    let publish = ["policy", "publish", EXAMPLE, "--reason", "x"];
    let output = gatepass(&plane, &publish);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tested = "19 tests: 19 passed, 0 failed\n";
    assert_eq!(text(&output.stderr), tested, "there is no policy to compare it with");
    let listed = plane.get("/v1/policies");
    let digest = listed[0]["digest"].as_str().unwrap();
    let told = text(&output.stdout);
    assert!(told.contains(&format!("policy version 1, digest {digest}\n")), "{told}");
    assert!(told.contains(&format!("done at {}, audit record", plane.standing().0)), "{told}");
    let shown = text(&gatepass(&plane, &["policy", "show", "1"]).stdout);
    assert!(shown.starts_with("-- actions/bills.yaml --\nactions:\n"), "{shown}");
    assert!(!shown.contains("-- tests/"), "{shown}");
    let same = gatepass(&plane, &["policy", "diff", "1", EXAMPLE]);
    assert_eq!((same.status.success(), text(&same.stdout).as_str()), (true, ""));
    // What is shown can be checked and published again.
    let archive = plane.file("archive");
    std::fs::write(&archive, shown.replace("risk: medium", "risk: low")).unwrap();
    let differs = gatepass(&plane, &["policy", "diff", "1", text_of(&archive)]);
    let told = text(&differs.stdout);
    let meaning = "wider     action `orders:create`: risk medium -> low\n";
    assert!(told.starts_with(meaning), "{told}");
    let line = "\n-    risk: medium\n+    risk: low\n";
    assert!(told.contains(line), "{told}");
    let only =
        |how| text(&gatepass(&plane, &["policy", "diff", "1", text_of(&archive), how]).stdout);
    assert!(only("--text").contains(line) && !only("--text").contains(meaning));
    assert!(only("--summary").starts_with(meaning) && !only("--summary").contains(line));
    // What is published says what it changes.
    let publish = ["policy", "publish", text_of(&archive), "--reason", "x"];
    let published = gatepass(&plane, &publish);
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert!(text(&published.stderr).contains(meaning), "{}", text(&published.stderr));
    let again = gatepass(&plane, &publish);
    assert_eq!(text(&again.stderr), "the same in meaning\n");
    // The place is in the file that the archive has it in.
    std::fs::write(&archive, shown.replace("risk: medium", "risk: none")).unwrap();
    let refused = gatepass(&plane, &["policy", "diff", "1", text_of(&archive)]);
    assert!(refused.status.success(), "what differs need not compile");
    assert!(text(&refused.stderr).contains("no summary: `"), "{}", text(&refused.stderr));
    let refused = gatepass(&plane, &["policy", "diff", "1", text_of(&archive), "--summary"]);
    assert!(!refused.status.success(), "there is nothing to show");
    let refused = gatepass(&plane, &["policy", "check", text_of(&archive)]);
    assert!(text(&refused.stderr).contains("actions/orders.yaml:14:11: error: "));
}

#[test]
fn the_difference_of_two_policies_names_the_given_requests_that_flip() {
    const PURCHASING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies/purchasing");
    let changed = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-r", PURCHASING]).arg(changed.path()).status().unwrap();
    assert!(copied.success());
    let candidate = changed.path().join("purchasing");
    let limits = candidate.join("rules/limits.cedar");
    let rules = std::fs::read_to_string(&limits).unwrap();
    assert!(rules.contains("200000.0"));
    std::fs::write(&limits, rules.replace("200000.0", "100000.0")).unwrap();
    // Two folders need no server.
    let diff = |from: &str, to: &str, requests: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
        command.args(["policy", "diff", from, to, "--requests", requests]);
        let output = command.env_remove("GATEPASS_TOKEN").output().unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (candidate, requests) = (text_of(&candidate), format!("{PURCHASING}/tests/limits.yaml"));
    for (given, file) in
        [(PURCHASING, format!("{PURCHASING}/tests/limits.yaml")), (&*requests, requests.clone())]
    {
        let (done, told, _) = diff(PURCHASING, candidate, given);
        assert!(done && told.contains("changed   rule `day`: another scope"), "{told}");
        let flips = told.split_once("given requests are decided otherwise\n").unwrap().1;
        assert!(flips.starts_with(&format!("{file}:")), "{flips}");
        let flip = ": the last order of a day\n    allow by buyers-order -> deny, `policy_denied` by day\n";
        assert!(flips.ends_with(flip) && flips.lines().count() == 2, "{flips}");
    }
    let (_, back, _) = diff(candidate, PURCHASING, PURCHASING);
    assert!(
        back.contains("\n    deny, `policy_denied` by day -> allow by buyers-order\n"),
        "{back}"
    );
    // A rule under another name decides the same.
    std::fs::write(&limits, rules.replace("@id(\"day\")", "@id(\"daily\")")).unwrap();
    let (_, renamed, _) = diff(PURCHASING, candidate, PURCHASING);
    assert!(renamed.contains("\n0 of 18 given requests are decided otherwise\n"), "{renamed}");
    let (_, same, _) = diff(PURCHASING, PURCHASING, PURCHASING);
    assert_eq!(same, "");
    let (done, _, why) = diff(PURCHASING, candidate, "/nowhere");
    assert!(!done && why.contains("gives no requests"), "{why}");
}

#[test]
fn scopes_that_no_blueprint_has_are_told_of_before_and_after_publishing() {
    let demanding = ARCHIVE.replace(
        "    risk: low\n",
        "    risk: low\n    scopes: {all: [orders.write, orders.none], any: [orders.read, orders.x]}\n",
    );
    let plane = Plane::new();
    let file = plane.file("policy");
    std::fs::write(&file, &demanding).unwrap();
    let check = ["policy", "check", text_of(&file), "--with-blueprints"];
    // Nobody may hold anything yet, and that is no news.
    assert_eq!(text(&gatepass(&plane, &check).stderr), "");
    plane.furnish();
    let told = gatepass(&plane, &check);
    let warning = "actions/a.yaml:4:13: warning: action `orders:read` is denied to everybody: nobody may hold `orders.none`\n";
    assert!(told.status.success() && text(&told.stderr).contains(warning), "{told:?}");
    let strict = gatepass(&plane, &[&check[..], &["--strict"]].concat());
    assert!(!strict.status.success(), "{strict:?}");
    let publish = ["policy", "publish", text_of(&file), "--reason", "x"];
    let before = plane.standing();
    let strict = gatepass(&plane, &[&publish[..], &["--strict"]].concat());
    assert!(!strict.status.success());
    assert_eq!(plane.standing(), before, "nothing is published");
    let published = gatepass(&plane, &publish);
    assert!(published.status.success() && text(&published.stderr).contains(warning));
    // Whoever publishes by the API is told the same.
    let done = plane.change("/v1/policies", json!({ "content": demanding }));
    let warnings = done["result"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let told = "actions/a.yaml:4:13: action `orders:read` is denied to everybody: nobody may hold `orders.none`";
    assert!(warnings[0].as_str().unwrap().starts_with(told), "{warnings:?}");
    // The twin: one of several is enough, and what a ceiling has may be held.
    let held = demanding.replace(", orders.none", "");
    let done = plane.change("/v1/policies", json!({ "content": held }));
    assert_eq!(done["result"]["warnings"], json!([]));
    let neither = held.replace("orders.read, orders.x", "orders.y, orders.x");
    let done = plane.change("/v1/policies", json!({ "content": neither }));
    let told = done["result"]["warnings"][0].as_str().unwrap();
    assert!(told.contains("nobody may hold `orders.y` or `orders.x`"), "{told}");
    plane.change("/v1/blueprints/buyer/disable", json!({}));
    let done = plane.change("/v1/policies", json!({ "content": held }));
    let told = done["result"]["warnings"][0].as_str().unwrap();
    assert!(told.contains("nobody may hold `orders.write`"), "{told}");
}

/// The writer has one change at a time: compiling is none.
#[test]
fn a_revocation_does_not_wait_for_a_policy_of_many_rules_to_compile() {
    let plane = Plane::new();
    let mut archive = String::from("-- a.cedar --\n");
    for nth in 0..2_000 {
        archive.push_str(&format!(
            "permit (principal, action, resource) when {{ context.task.id == \"t-{nth}\" }};\n"
        ));
    }
    archive.push_str("-- gatepass.yaml --\nactions:\n");
    (0..60).for_each(|nth| archive.push_str(&format!("  orders:a{nth}: {{risk: low}}\n")));
    archive.push_str("hosts:\n  - names: [orders.example]\n    audience: https://orders.example\n    routes:\n      - {match: GET /, action: orders:a0}\n");
    let order = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            plane.change("/v1/policies", json!({ "content": archive }));
            order.lock().unwrap().push("published");
        });
        scope.spawn(|| {
            // The other has begun by then, and takes seconds.
            std::thread::sleep(std::time::Duration::from_millis(300));
            plane.change("/v1/revocations", json!({ "kind": "credential", "id": "j1" }));
            order.lock().unwrap().push("revoked");
        });
    });
    assert_eq!(*order.lock().unwrap(), ["revoked", "published"]);
}
