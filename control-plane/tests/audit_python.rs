//! `docs/verify_audit.py` against exports that the engine's own envelopes sign.
//!
//! The exports are written here from `docs/audit.md`, not with the control plane's code, so that
//! the document is what both sides agree on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![expect(clippy::indexing_slicing, reason = "as above")]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use gatepass::keys::{SecretKey, Signer as _, public_text};
use gatepass_engine::envelope::{PayloadType, Unverified};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An export as its lines, and the arguments it is checked with.
struct Export {
    lines: Vec<String>,
    key: String,
    anchor: Option<String>,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn body(n: u64, action: &str) -> String {
    // With what a reader could spoil: text outside ASCII, a line separator, numbers as written.
    format!(
        r#"{{"n": {n}, "at":1700000000, "actor":"user:corp/élise","action":"{action}","target":"a{sep}b","before":null,"after":{{"x":1.50}},"reason":"\"why\"","position":"1.{n}"}}"#,
        sep = '\u{2028}'
    )
}

fn hash(prev: &str, body: &str) -> String {
    let digest = Sha256::digest(format!("{prev}\n{body}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn line(n: u64, prev: &str, body: &str) -> String {
    json!({"n": n, "prev": prev, "hash": hash(prev, body), "body": body}).to_string()
}

fn head(n: u64, hash: &str, kind: PayloadType, key: &SecretKey) -> String {
    let payload = json!({"environment": "test", "n": n, "hash": hash, "at": 1_700_000_100});
    let envelope = Unverified::new(kind, payload.to_string().into_bytes());
    format!("{{\"head\": {}}}", envelope.sign_with(|message| key.sign(message)).to_json())
}

/// A good history of records that do `actions`.
fn history(actions: &[&str]) -> Export {
    let (mut prev, mut n, mut lines) = ("0".repeat(64), 0, Vec::new());
    for action in actions {
        n += 1;
        let body = body(n, action);
        lines.push(line(n, &prev, &body));
        prev = hash(&prev, &body);
    }
    lines.push(head(n, &prev, PayloadType::AuditHead, &key(1)));
    Export { lines, key: public_text(&key(1).public()), anchor: None }
}

fn good() -> Export {
    history(&["create", "approve", "revoke", "rotate"])
}

impl Export {
    fn member(&self, place: usize, name: &str) -> Value {
        serde_json::from_str::<Value>(&self.lines[place]).unwrap()[name].clone()
    }

    fn set(&mut self, place: usize, name: &str, value: Value) {
        let mut line: Value = serde_json::from_str(&self.lines[place]).unwrap();
        line[name] = value;
        self.lines[place] = line.to_string();
    }

    fn anchor_of(&self, place: usize) -> String {
        let hash = self.member(place, "hash");
        format!("{}:{}", self.member(place, "n"), hash.as_str().unwrap())
    }

    /// Exit code and what was said, on either stream.
    fn verify(&self) -> (i32, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("export.jsonl");
        std::fs::write(&path, self.lines.join("\n") + "\n").unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let python = std::env::var_os("GATEPASS_PYTHON").unwrap_or(OsString::from("python3"));
        let mut command = Command::new(python);
        command.arg(root.join("docs/verify_audit.py")).arg(path).args(["--key", &self.key]);
        if let Some(anchor) = &self.anchor {
            command.args(["--anchor", anchor]);
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn holds(&self, expected: &str) {
        let (code, said) = self.verify();
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.lines().next().unwrap(), expected);
    }
}

/// The good export with one thing changed is bad, at this line and for this reason.
fn bad(change: impl FnOnce(&mut Export), expected: &str) {
    let mut export = good();
    change(&mut export);
    let (code, said) = export.verify();
    assert_eq!(code, 1, "{expected}: {said}");
    assert!(said.starts_with("bad: line ") && said.contains(expected), "{expected}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_good_export_holds_with_an_anchor_and_without() {
    let mut export = good();
    export.holds("ok: 4 records, head signed, not anchored");
    for place in [0, 2, 3] {
        export.anchor = Some(export.anchor_of(place));
        export.holds("ok: 4 records, head signed, anchored");
    }
    history(&[]).holds("ok: 0 records, head signed, not anchored");
    let said = good().verify().1;
    assert!(said.ends_with("environment \"test\", head signed at 1700000100\n"), "{said}");
}

#[test]
fn a_key_that_begins_with_a_dash_is_no_option() {
    let signer = (1..=255).map(key).find(|key| public_text(&key.public()).starts_with('-'));
    let signer = signer.unwrap();
    let mut export = good();
    let last = export.member(3, "hash");
    export.lines[4] = head(4, last.as_str().unwrap(), PayloadType::AuditHead, &signer);
    export.key = public_text(&signer.public());
    export.holds("ok: 4 records, head signed, not anchored");
}

#[test]
fn a_changed_record_is_found() {
    let changed = body(2, "deny");
    bad(|e| e.set(1, "body", json!(changed)), "line 2: hash is not that of prev and body");
    bad(|e| e.set(1, "hash", json!("0".repeat(64))), "line 2: hash is not");
    // Whoever also makes its hash anew breaks the next one; with the last record, the head.
    let anew = |e: &mut Export, place: usize| {
        let prev = e.member(place, "prev");
        e.lines[place] =
            line(place as u64 + 1, prev.as_str().unwrap(), &body(place as u64 + 1, "deny"));
    };
    bad(|e| anew(e, 1), "line 3: prev is not the hash of the record before");
    bad(|e| anew(e, 3), "line 5: the head has not the hash of the last record");
    // Another reading of the same numbers.
    let prev = "0".repeat(64);
    bad(|e| e.lines[0] = line(1, &prev, &body(2, "create")), "line 1: the body is not that of");
    let twice = body(1, "create").replacen('{', "{\"action\":\"approve\",", 1);
    bad(|e| e.lines[0] = line(1, &prev, &twice), "line 1: a member appears twice");
}

#[test]
fn a_gap_a_cut_and_another_order_are_found() {
    let gap = "line 2: n is 3, but the next record is 2";
    bad(|e| drop(e.lines.remove(1)), gap);
    bad(|e| e.lines.swap(1, 2), gap);
    bad(|e| e.lines.swap(3, 4), "line 4: the head is of record 4, the last is 3");
    bad(|e| e.lines.insert(1, e.lines[0].clone()), "line 2: n is 1, but the next record is 2");
    bad(|e| drop(e.lines.remove(0)), "line 1: n is 2, but the next record is 1");
    bad(|e| drop(e.lines.remove(3)), "line 4: the head is of record 4, the last is 3");
    bad(|e| drop(e.lines.pop()), "line 4: after this line the head is missing");
    bad(|e| e.lines.clear(), "line 1: malformed");
    bad(|e| e.lines.push(e.lines[4].clone()), "line 6: something follows the head");
    bad(|e| e.lines.insert(2, String::new()), "line 3: malformed");
}

#[test]
fn a_head_that_the_key_did_not_sign_is_refused() {
    bad(|e| e.key = public_text(&key(2).public()), "line 5: the head is not signed with this key");
    let signed = |n, kind, signer| {
        move |e: &mut Export| {
            let last = e.member(3, "hash");
            e.lines[4] = head(n, last.as_str().unwrap(), kind, &key(signer));
        }
    };
    let kind = PayloadType::AuditHead;
    bad(signed(4, kind, 2), "line 5: the head is not signed with this key");
    bad(signed(4, PayloadType::Root, 1), "line 5: the envelope holds no audit head");
    bad(signed(5, kind, 1), "line 5: the head is of record 5, the last is 4");
    let mut same = good();
    signed(4, kind, 1)(&mut same);
    same.holds("ok: 4 records, head signed, not anchored");
    bad(|e| e.lines[4] = e.lines[4].replace("audit-head.v1", "audit-head.v2"), "no audit head");
    bad(|e| e.lines[4] = "{\"head\": null}".into(), "line 5: malformed");
    bad(|e| e.lines[4] = e.lines[4].replace("\"sig\":\"", "\"sig\":\"!"), "line 5: malformed");
}

#[test]
fn only_an_anchor_tells_an_older_copy_and_another_history() {
    let known = good().anchor_of(3);
    for (actions, reason) in [
        (
            &["create", "approve", "revoke"][..],
            "line 4: the anchor's record is not up to this line",
        ),
        (&["create", "approve", "nothing", "rotate"][..], "line 4: not the anchor's record"),
    ] {
        let mut export = history(actions);
        export.holds(&format!("ok: {} records, head signed, not anchored", actions.len()));
        export.anchor = Some(known.clone());
        let (code, said) = export.verify();
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(reason), "{said}");
    }
    let wrong = format!("2:{}", "0".repeat(64));
    bad(|e| e.anchor = Some(wrong), "line 2: not the anchor's record");
}

#[test]
fn numbers_are_numbers_and_members_are_those_of_the_format() {
    for n in [json!(true), json!(1.0), json!("1"), json!(null)] {
        bad(|e| e.set(0, "n", n), "line 1: n is ");
    }
    bad(|e| e.set(0, "more", json!(1)), "line 1: neither a record nor the head");
    bad(|e| e.set(0, "head", json!(1)), "line 1: neither a record nor the head");
    bad(|e| e.set(0, "body", json!(1)), "line 1: ");
    bad(|e| e.lines[0] = "[1]".into(), "line 1: ");
    bad(|e| e.lines[0] = "[".repeat(100_000), "line 1: malformed");
    bad(
        |e| e.lines[0] = e.lines[0].replacen('{', "{\"n\":1,", 1),
        "line 1: a member appears twice",
    );
}

#[test]
fn arguments_that_make_no_sense_are_told_before_anything_is_read() {
    let mut export = good();
    for anchor in ["", "4", "0:00", "4:xyz", "-1:00"] {
        export.anchor = Some(anchor.to_owned());
        assert_eq!(export.verify().0, 2, "{anchor}");
    }
    let mut export = good();
    for key in ["", "AAAA", "not base64url at all, though it is as long", &"A".repeat(44)] {
        export.key = key.to_owned();
        assert_eq!(export.verify().0, 2, "{key}");
    }
}
