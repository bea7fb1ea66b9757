//! The numbered vectors of `tests/vectors`: that the files are what the cases make, and that the
//! engine, the shipped filter and a real Envoy all agree with them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![expect(clippy::panic, reason = "a case that cannot be made is a mistake in the table")]
#![expect(clippy::indexing_slicing, reason = "cases change what they know is there")]
#![expect(clippy::string_slice, reason = "every text that is cut is ASCII")]

mod case;
mod envoy;
mod feeds;
mod files;
mod format;
mod gatepasses;
mod keys;
mod message;
mod native;
mod policy;
mod scene;
mod wasm;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::batch::{Batch, Feed};
use gatepass_engine::denial::Code;
use gatepass_engine::envelope::Unverified;
use gatepass_engine::refusal::RefusalCode;
use serde_json::Value;

use crate::files::{FEEDS, GATEPASSES};
use crate::format::{FeedVector, GatepassVector, RequestVector};

#[test]
fn the_files_are_what_the_cases_make() {
    files::hold();
}

#[test]
fn every_denial_code_has_a_case_or_a_reason_why_not() {
    let mut covered = gatepasses::book().codes();
    for (code, why) in gatepasses::NOT_REACHABLE {
        assert!(covered.insert(code), "{code} is reachable, but: {why}");
    }
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    assert_eq!(covered, all);
}

#[test]
fn every_refusal_code_has_a_case_in_each_folder_that_can_reach_it() {
    let all: BTreeSet<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    let [roots, envelopes, batches] = feeds::books().map(|book| book.codes());
    assert_eq!(batches, all);
    let of_an_envelope = ["bad_payload_type", "bad_signature", "poison"];
    assert_eq!(envelopes, of_an_envelope.into());
    let of_roots = ["expired", "gap", "rollback", "wrong_environment"];
    assert_eq!(roots, of_an_envelope.into_iter().chain(of_roots).collect());
}

#[test]
fn each_denied_case_differs_from_an_allowed_one_in_one_thing() {
    let all = files::read::<GatepassVector>(GATEPASSES);
    let by_stem: BTreeMap<&str, &GatepassVector> =
        all.iter().map(|(stem, vector)| (stem.as_str(), vector)).collect();
    let mut wrong = Vec::new();
    for (stem, vector) in &all {
        let twin = vector.twin.as_deref().and_then(|twin| by_stem.get(twin));
        match (vector.expected.as_str(), twin) {
            ("allow", None) => assert_eq!(vector.changed, None, "{stem}"),
            (_, Some(twin)) => {
                assert_eq!(twin.expected, "allow", "{stem}");
                assert!(vector.changed.is_some(), "{stem}");
                let differing = differing(vector, twin);
                let members = differing_members(&vector.request, &twin.request);
                if differing.len() != 1 || members.len() > 1 {
                    wrong.push(format!("{stem}: {differing:?} {members:?}"));
                }
            }
            (_, None) => panic!("{stem} has no twin"),
        }
    }
    report(&wrong);
}

/// The inputs in which two cases differ.
fn differing(a: &GatepassVector, b: &GatepassVector) -> Vec<String> {
    let mut out = Vec::new();
    // A baseline is the same feed answer in another place.
    let same_answer = a.gate.baseline.as_ref().or(a.feed.as_ref())
        == b.gate.baseline.as_ref().or(b.feed.as_ref());
    let state = |v: &GatepassVector| (v.gate.clone(), v.feed.clone(), v.heard_at);
    if state(a) != state(b) || !same_answer {
        out.push("the gate's state".to_owned());
    }
    if a.now != b.now {
        out.push("the time".to_owned());
    }
    out.extend(differing_requests(&a.request, &b.request));
    out
}

fn differing_requests(a: &RequestVector, b: &RequestVector) -> BTreeSet<String> {
    let values = |request: &RequestVector| {
        let mut out: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for header in &request.headers {
            out.entry(header.name.clone()).or_default().push(header.bytes());
        }
        out
    };
    let (mut first, mut second) = (values(a), values(b));
    let names: BTreeSet<String> = first.keys().chain(second.keys()).cloned().collect();
    let mut out: BTreeSet<String> =
        names.into_iter().filter(|name| first.remove(name) != second.remove(name)).collect();
    if a.ends_with_headers != b.ends_with_headers {
        out.insert("the body".to_owned());
    }
    out
}

/// Members of header and claims in which two gatepasses differ, where both can be read.
fn differing_members(a: &RequestVector, b: &RequestVector) -> BTreeSet<String> {
    let members = |request: &RequestVector| -> Option<BTreeMap<String, String>> {
        let header = request.headers.iter().find(|header| header.name == "authorization")?;
        let token = header.value.as_ref()?.split(' ').nth(1)?;
        let mut out = BTreeMap::new();
        for (part, text) in ["header", "claim"].into_iter().zip(token.split('.')) {
            let json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            for (name, value) in json.as_object()? {
                out.insert(format!("{part} {name}"), value.to_string());
            }
        }
        Some(out)
    };
    let (Some(mut first), Some(mut second)) = (members(a), members(b)) else {
        return BTreeSet::new();
    };
    let names: BTreeSet<String> = first.keys().chain(second.keys()).cloned().collect();
    names.into_iter().filter(|name| first.remove(name) != second.remove(name)).collect()
}

#[test]
fn each_refused_answer_differs_from_an_accepted_one_in_one_thing() {
    for folder in FEEDS {
        let all = files::read::<FeedVector>(folder);
        for (stem, vector) in &all {
            let twin = vector.twin.as_ref();
            let twin = twin.and_then(|twin| all.iter().find(|(stem, _)| stem == twin));
            let accepted = ["moved", "renewed", "part", "known"];
            if accepted.contains(&vector.expected.as_str()) {
                assert_eq!(vector.twin, None, "{stem}");
                continue;
            }
            let Some((_, twin)) = twin else { panic!("{folder}/{stem} has no twin") };
            assert!(accepted.contains(&twin.expected.as_str()), "{stem}");
            let differing = [
                vector.gate != twin.gate,
                vector.heard != twin.heard,
                vector.now != twin.now,
                vector.feed != twin.feed,
            ];
            assert_eq!(differing.iter().filter(|d| **d).count(), 1, "{stem}: {differing:?}");
        }
    }
}

fn expected(vector: &GatepassVector) -> String {
    match (vector.status, &vector.reason) {
        (Some(status), None) => format!("{status} {}", vector.expected),
        (None, Some(reason)) => format!("{} {reason}", vector.expected),
        other => panic!("{other:?}"),
    }
}

/// All that differ at once: a table is read as a whole.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn check_gatepasses(verdict: fn(&GatepassVector) -> String) {
    let mut wrong = Vec::new();
    for (stem, vector) in files::read::<GatepassVector>(GATEPASSES) {
        let (got, expected) = (verdict(&vector), expected(&vector));
        if got != expected {
            wrong.push(format!("{stem}: expected `{expected}`, got `{got}`"));
        }
    }
    report(&wrong);
}

#[test]
fn the_engine_decides_every_gatepass_as_its_file_says() {
    check_gatepasses(native::verdict);
}

#[test]
fn the_filter_decides_every_gatepass_as_its_file_says() {
    check_gatepasses(wasm::verdict);
}

#[test]
fn the_engine_takes_and_refuses_every_feed_answer_as_its_file_says() {
    let mut wrong = Vec::new();
    for folder in FEEDS {
        for (stem, vector) in files::read::<FeedVector>(folder) {
            let got = native::outcome(&vector);
            let expected = (vector.expected, vector.after);
            if got != expected {
                wrong.push(format!("{folder}/{stem}: expected {expected:?}, got {got:?}"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_filter_takes_and_refuses_every_feed_answer_as_its_file_says() {
    let codes: Vec<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    let mut wrong = Vec::new();
    for folder in FEEDS {
        for (stem, vector) in files::read::<FeedVector>(folder) {
            let heard = wasm::outcome(&vector, &codes);
            let position = match vector.after.position {
                Some([epoch, sequence]) if !in_parts(&vector) => format!("{epoch}.{sequence}"),
                _ => "none".to_owned(),
            };
            let refused = codes.contains(&vector.expected.as_str());
            // The leader counts what it does not publish: what is older than the newest, and what
            // joins on to nothing, parts that come alone among it.
            let as_said = match vector.expected.as_str() {
                _ if in_parts(&vector) => heard.refused.iter().all(|code| *code == "gap"),
                "gap" => heard.refused.is_empty() || heard.refused == ["gap"],
                "known" => heard.refused.is_empty() || heard.refused == ["rollback"],
                code if refused => heard.refused == [code],
                _ => heard.refused.is_empty(),
            };
            if !as_said || heard.position != position {
                wrong.push(format!(
                    "{folder}/{stem}: expected `{}` at {position}, got {:?} at {}",
                    vector.expected, heard.refused, heard.position
                ));
            }
        }
    }
    report(&wrong);
}

/// The last answer is one part of several.
fn in_parts(vector: &FeedVector) -> bool {
    let bytes = vector.feed.decoded();
    let feed = Feed::decode(&bytes).unwrap();
    feed.batches.iter().any(|batch| {
        let Ok(envelope) = Unverified::from_postcard(batch) else { return false };
        let decoded = Batch::decode(envelope.unverified_payload());
        decoded.is_ok_and(|batch| batch.header.parts > 1)
    })
}
