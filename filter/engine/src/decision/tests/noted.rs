//! What a decision leaves for its record: what is known of whom, and no more.

use super::bodies::routes;
use super::calls::{body, search};
use super::*;
use crate::bundle::{InputKind, Recording};
use crate::record::{Shown, pseudonym};
use crate::testkit::PRIOR_AGENT;

/// What is noted of a scene's decision, whichever it is.
fn noted(change: impl FnOnce(&mut Scene)) -> (Scene, Noted) {
    let scene = Scene::with(change);
    let noted = match scene.decide_at(&scene.gate()) {
        Decision::Allow(permit) => permit.noted().clone(),
        Decision::Deny(denial) => denial.whom().noted.clone(),
        Decision::Read(_) => panic!("it waits"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
    };
    (scene, noted)
}

/// Inputs by their names.
fn shown(scene: &mut Scene, noted: &Noted) -> Vec<(String, String)> {
    let at = noted.route_at().unwrap();
    let route = routes(scene)[at.route].clone();
    let text = |shown: Shown<'_>| match shown {
        Shown::Value(text) => text.to_owned(),
        Shown::Hash(hash) => format!("{:02x}", hash[0]),
        Shown::Invalid => "invalid".to_owned(),
    };
    let named = |(nth, shown): (usize, _)| (route.inputs[nth].name.clone(), text(shown));
    noted.shown().map(named).collect()
}

#[test]
fn numbers_are_shown_and_texts_are_not_unless_the_policy_says_so() {
    let (mut scene, found) = noted(|_| {});
    let all = shown(&mut scene, &found);
    assert!(all.contains(&("count".to_owned(), "5".to_owned())), "{all:?}");
    let inputs = routes(&mut scene)[0].inputs.clone();
    let text = |name: &str| {
        let input = inputs.iter().find(|input| input.name == name).unwrap();
        matches!(input.kind, InputKind::Text | InputKind::TextSet)
    };
    assert!(!all.is_empty() && all.iter().all(|(name, _)| !text(name)));
    let record = |recording: Recording| {
        let (mut scene, found) = noted(|scene| {
            routes(scene)[0].inputs.iter_mut().for_each(|input| input.record = recording);
        });
        shown(&mut scene, &found)
    };
    assert_eq!(record(Recording::None), []);
    let [values, hashes] = [Recording::Value, Recording::Hash].map(record);
    assert!(values.len() > all.len() && values.len() == hashes.len());
    let environment = scene.gate().settings().environment.clone();
    for ((name, value), (_, hash)) in values.iter().zip(&hashes) {
        let made = pseudonym(&environment, "orders:create", name, value);
        assert_eq!(*hash, format!("{:02x}", made[0]), "{name}");
    }
}

#[test]
fn who_is_not_verified_is_not_named_and_nothing_of_what_they_sent_is_kept() {
    let (_, good) = noted(|_| {});
    let bearer = good.bearer().unwrap();
    assert_eq!((bearer.agent, bearer.owner, bearer.subject), (AGENT, OWNER, Some(USER)));
    assert_eq!(bearer.through, [PRIOR_AGENT], "the whole chain");
    let changes: [Change; 5] = [
        |s| s.scheme = None,
        |s| s.pass.signer = STRANGER,
        |s| s.pass.header["kid"] = json!(kid(STRANGER)),
        |s| {
            s.pass.set("env", json!("Prod"));
        },
        |s| {
            s.pass.set("exp", json!(NOW));
        },
    ];
    for change in changes {
        let (mut scene, found) = noted(change);
        assert!(!found.is_verified() && found.bearer().is_none());
        assert_eq!(shown(&mut scene, &found), []);
        assert!(found.route_at().is_some(), "the route is the policy's own");
    }
    // The twin: a verified gatepass that is denied is named, with what it asked for.
    let (mut scene, found) = noted(|s| {
        s.path = s.path.replace("count=5", "count=500000");
        s.pass.entry("constraints", json!({"count": {"max": 5}}));
    });
    assert!(matches!(scene.decide_at(&scene.gate()), Decision::Deny(_)));
    assert_eq!(found.bearer().unwrap().agent, AGENT);
    assert!(shown(&mut scene, &found).contains(&("count".to_owned(), "500000".to_owned())));
}

#[test]
fn a_call_is_named_by_its_method_and_tool_and_by_no_resource() {
    let (mut scene, found) = noted(search);
    let call = found.call().unwrap();
    assert_eq!((call.is_mcp, call.method, call.name), (true, "tools/call", Some("search")));
    assert_eq!(shown(&mut scene, &found), [("limit".to_owned(), "10".to_owned())]);
    // What is denied is named alike.
    let (mut scene, found) = noted(|s| {
        search(s);
        body(s, "\"limit\":10", "\"limit\":11");
    });
    assert_eq!(found.call().unwrap().name, Some("search"));
    assert_eq!(shown(&mut scene, &found), [("limit".to_owned(), "11".to_owned())]);
    let name_of = |name: &str| {
        let (_, found) = noted(|s| {
            search(s);
            body(s, "\"search\"", &format!("\"{name}\""));
        });
        found.call().unwrap().name.map(str::to_owned)
    };
    assert_eq!(name_of("delete_all").as_deref(), Some("delete_all"));
    assert_eq!(name_of(&"a".repeat(128)).map(|name| name.len()), Some(128));
    assert_eq!(name_of(&"a".repeat(129)), None);
    assert_eq!(name_of("two words"), None);
    let (_, found) = noted(|s| {
        search(s);
        let read = json!({"jsonrpc": "2.0", "id": 7, "method": "resources/read", "params": {"uri": "file:///a"}});
        s.body = Some(read.to_string().into_bytes());
    });
    let call = found.call().unwrap();
    assert_eq!((call.method, call.name), ("resources/read", None));
}
