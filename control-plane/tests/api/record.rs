//! The audit record: whoever has public keys only can check it, and what is done to the database
//! behind the control plane's back is found.

use std::path::Path;
use std::process::{Command, Output};

use gatepass_engine::envelope::Unverified;
use serde_json::{Value, json};

use crate::kit::{Ask, Plane, python};

fn gatepass(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepass")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// An environment in which something was done.
fn busy() -> Plane {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    agent.gatepass(&plane, &Ask::read());
    plane.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
    plane
}

/// The last record as an anchor.
fn anchor(plane: &Plane) -> String {
    let overview = plane.get("/v1/environment");
    format!("{}:{}", overview["audit_records"], overview["audit_head"].as_str().unwrap())
}

fn exported(plane: &Plane) -> (std::path::PathBuf, String) {
    let file = plane.file("export.jsonl");
    std::fs::write(&file, plane.export()).unwrap();
    // As docs/audit.md says: from the root document, which the root keys signed.
    let root = std::fs::read(plane.dir().join("roots/1.json")).unwrap();
    let root = Unverified::from_json(&root).unwrap();
    let root: Value = serde_json::from_slice(root.unverified_payload()).unwrap();
    let keys = root["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["role"] == "audit").unwrap();
    (file, key["public"].as_str().unwrap().to_owned())
}

fn checked(file: &Path, key: &str, more: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify_audit.py");
    python().arg(script).arg(file).args(["--key", key]).args(more).output().unwrap()
}

#[test]
fn an_export_is_checked_with_the_key_of_the_root_document() {
    let plane = busy();
    let kept = anchor(&plane);
    plane.change("/v1/stop", json!({}));
    let (file, key) = exported(&plane);
    let good = checked(&file, &key, &["--anchor", &kept]);
    assert!(good.status.success(), "{}", text(&good));
    assert!(text(&good).contains("anchored"), "{}", text(&good));
    assert!(text(&good).contains("\"prod\""), "{}", text(&good));
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines.replacen("agent.suspend", "agent.activate", 1)).unwrap();
    assert_eq!(checked(&file, &key, &[]).status.code(), Some(1));
    let cut: String = lines
        .lines()
        .filter(|line| !line.contains("environment.stop"))
        .fold(String::new(), |cut, line| cut + line + "\n");
    std::fs::write(&file, cut).unwrap();
    assert_eq!(checked(&file, &key, &[]).status.code(), Some(1));
}

#[test]
fn the_record_says_who_did_what_and_tells_no_secret() {
    let plane = busy();
    plane.operator("carol", "operator", None);
    let export = plane.export();
    for action in [
        "environment.init",
        "root.adopt",
        "person.add",
        "policy.publish",
        "blueprint.add",
        "agent.register",
        "agent.activate",
        "gatepass.issue",
        "agent.suspend",
        "operator.add",
        "token.add",
    ] {
        let said = format!("\\\"action\\\":\\\"{action}\\\"");
        assert!(export.contains(&said), "{action}");
    }
    assert!(!export.contains("gpo_"), "no token");
    let records: Vec<&str> = export.lines().filter(|line| !line.starts_with("{\"head\"")).collect();
    assert!(!records.concat().contains("eyJ"), "no gatepass and no assertion");
    assert!(export.contains("\\\"actor\\\":\\\"gatepass\\\",\\\"action\\\":\\\"root.adopt"));
    let named = json!({ "id": "gatepass" });
    assert_eq!(plane.change_as(&plane.admin, "/v1/operators", named).status, 400);
}

#[test]
fn the_running_control_plane_checks_its_own_record() {
    let plane = busy();
    let told = plane.get("/v1/audit/verify");
    assert_eq!(told["verdict"], "consistent, not anchored");
    let kept = anchor(&plane);
    let told = plane.get(&format!("/v1/audit/verify?anchor={kept}"));
    assert_eq!(told["verdict"], "anchored");
    let (n, hash) = kept.split_once(':').unwrap();
    let later = n.parse::<u64>().unwrap() + 1;
    for wrong in [format!("{later}:{hash}"), format!("1:{hash}")] {
        let path = format!("/v1/audit/verify?anchor={wrong}");
        let answer = plane.admin_as(&plane.admin, "GET", &path, &Value::Null);
        assert_eq!(answer.status, 409, "{}", answer.text());
    }
}

/// Runs statements on the database as its file's owner could, triggers or not.
fn tamper(plane: &Plane, statements: &str) {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        names = db.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").fetchall()\n\
        for (name,) in names: db.execute(f'DROP TRIGGER {name}')\n\
        db.executescript(sys.argv[2])\n\
        db.commit()\n";
    let file = plane.dir().join("gatepass.db");
    let output = python().args(["-c", script]).arg(file).arg(statements).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_database_that_was_edited_is_found_out() {
    for (statements, expected) in [
        (
            "UPDATE audit SET body = replace(body, 'agent.suspend', 'agent.describe');",
            "was changed",
        ),
        ("UPDATE audit SET at = at - 1 WHERE n = 3;", "was changed"),
        ("DELETE FROM audit WHERE n = 3;", "record 3 is missing"),
        ("UPDATE audit SET n = 1000 WHERE n = (SELECT max(n) FROM audit);", "is missing"),
        ("UPDATE audit SET prev = hash WHERE n = 4;", "was changed"),
    ] {
        let mut plane = busy();
        plane.stop();
        let dir = plane.dir();
        let good = gatepass(&["audit-file", dir.to_str().unwrap()]);
        assert!(good.status.success(), "{}", text(&good));
        assert!(text(&good).contains("not anchored"), "{}", text(&good));
        tamper(&plane, statements);
        let bad = gatepass(&["audit-file", dir.to_str().unwrap()]);
        assert!(
            !bad.status.success() && text(&bad).contains(expected),
            "{statements}: {}",
            text(&bad)
        );
        let refused = plane.restore(None).unwrap_err();
        assert!(refused.contains("audit record"), "{refused}");
    }
}

#[test]
fn a_record_that_was_cut_is_found_by_an_anchor_alone() {
    let mut plane = busy();
    let kept = anchor(&plane);
    plane.stop();
    let dir = plane.dir();
    let dir = dir.to_str().unwrap();
    assert!(gatepass(&["audit-file", dir, "--anchor", &kept]).status.success());
    tamper(&plane, "DELETE FROM audit WHERE n = (SELECT max(n) FROM audit);");
    let unanchored = gatepass(&["audit-file", dir]);
    assert!(unanchored.status.success() && text(&unanchored).contains("not anchored"));
    let cut = gatepass(&["audit-file", dir, "--anchor", &kept]);
    assert!(!cut.status.success() && text(&cut).contains("older copy"), "{}", text(&cut));
}

#[test]
fn an_older_copy_is_found_by_an_anchor_alone() {
    let plane = busy();
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    plane.change("/v1/stop", json!({}));
    let kept = anchor(&plane);
    let copy = copy.to_str().unwrap();
    assert!(gatepass(&["audit-file", copy]).status.success());
    let old = gatepass(&["audit-file", copy, "--anchor", &kept]);
    assert!(!old.status.success() && text(&old).contains("older copy"), "{}", text(&old));
}
