//! JSON-RPC messages: which action a call is, and that header and body say one thing.

use super::bodies::{input, routes};
use super::*;
use crate::bundle::{ANSWERS, Call, InputKind, Protocol, Route, RouteTarget, Source};

/// `POST /mcp` of `orders.example`: actions 3 to 6, of the session, of one tool, of all other tools, and of one
/// resource.
pub(super) fn served(scene: &mut Scene) {
    let base = Route { path: "/mcp".into(), inputs: vec![], ..routes(scene)[0].clone() };
    let mut call = |method: &str, name: Option<&str>, action: u32| {
        let call =
            Call { protocol: Protocol::Mcp, method: method.into(), name: name.map(str::to_owned) };
        let target = RouteTarget::Action(action);
        routes(scene).push(Route { call: Some(call), target, ..base.clone() });
    };
    for method in ["initialize", "tools/list", "notifications/initialized", ANSWERS] {
        call(method, None, 3);
    }
    call("tools/call", Some("search"), 4);
    call("tools/call", None, 5);
    call("resources/read", Some("file:///a"), 6);
    let argument = |name: &str| Source::Body(format!("/params/arguments/{name}"));
    let search = routes(scene).iter_mut().find(|route| route.target == RouteTarget::Action(4));
    search.unwrap().inputs = vec![
        input("query", InputKind::Text, argument("query")),
        input("limit", InputKind::Integer, argument("limit")),
    ];
    for name in ["mcp:session", "tools:search", "tools:other", "files:read"] {
        scene.bundle.actions.push(Action { body: BodyRule::Json, ..action(name) });
    }
    scene.path = "/mcp".into();
    scene.headers = vec![("content-type", b"application/json".to_vec())];
    scene.pass.entry("actions", json!(["mcp:session", "tools:search"]));
    scene.pass.entry("constraints", json!({}));
}

fn route_of(scene: &mut Scene, action: u32) -> &mut Route {
    let target = RouteTarget::Action(action);
    routes(scene).iter_mut().find(|route| route.target == target).unwrap()
}

pub(super) fn say(scene: &mut Scene, message: serde_json::Value) {
    scene.body = Some(message.to_string().into_bytes());
}

pub(super) fn search(scene: &mut Scene) {
    served(scene);
    scene.pass.entry("constraints", json!({"query": {"prefix": "a"}, "limit": {"max": 10}}));
    scene.pass.entry("actions", json!(["tools:search"]));
    say(
        scene,
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": "search", "arguments": {"query": "abc", "limit": 10}}}),
    );
}

fn subscribe(scene: &mut Scene) {
    served(scene);
    let (method, uri) = ("resources/subscribe", "file:///a");
    let session = route_of(scene, 3).clone();
    let call = Call { protocol: Protocol::Mcp, method: method.into(), name: Some(uri.to_owned()) };
    routes(scene).push(Route { call: Some(call), ..session });
    header(scene, "mcp-protocol-version", "2026-07-28");
    header(scene, "mcp-method", method);
    say(scene, json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": uri}}));
}

pub(super) fn body(scene: &mut Scene, old: &str, new: &str) {
    let text = String::from_utf8(scene.body.clone().unwrap()).unwrap();
    assert!(text.contains(old), "{old} in {text}");
    scene.body = Some(text.replacen(old, new, 1).into_bytes());
}

fn header(scene: &mut Scene, name: &'static str, value: &str) {
    scene.headers.push((name, value.as_bytes().to_vec()));
}

const TWINS: &[(Code, Change, Change)] = &[
    (Code::ConstraintViolated, search, |s| body(s, "abc", "xyz")),
    (Code::ConstraintViolated, search, |s| body(s, "\"limit\":10", "\"limit\":11")),
    (Code::BodyMalformed, search, |s| body(s, "\"limit\":10", "\"limit\":10,\"limit\":11")),
    (Code::ActionNotGranted, search, |s| body(s, "\"search\"", "\"delete\"")),
    // What no route names goes to the route of all others, unless some server takes it for what one names.
    (Code::BodyMalformed, search, |s| body(s, "\"search\"", "\"Search\"")),
    (Code::BodyMalformed, search, |s| body(s, "\"search\"", "\"search \"")),
    (Code::BodyMalformed, search, |s| body(s, "\"search\"", "\"search\\u0000\"")),
    (Code::BodyMalformed, search, |s| body(s, "\"search\"", "\"\u{17f}earch\"")),
    (Code::NoRoute, search, |s| body(s, "tools/call", "tools/list2")),
    (Code::NoRoute, search, |s| body(s, "tools/call", "Tools/call")),
    (Code::ActionNotGranted, search, |s| body(s, "tools/call", "initialize")),
    // Two names, of which some readers take the other.
    (Code::BodyMalformed, search, |s| body(s, "\"name\":", "\"name\":\"delete\",\"name\":")),
    (Code::BodyMalformed, search, |s| body(s, "\"name\":", "\"Name\":\"delete\",\"name\":")),
    (Code::BodyMalformed, search, |s| body(s, "\"method\":", "\"method\":\"x\",\"method\":")),
    (Code::BodyMalformed, search, |s| body(s, "\"params\":", "\"params\":{},\"params\":")),
    (Code::BodyMalformed, search, |s| body(s, "\"name\":\"search\"", "\"name\":1")),
    (Code::BodyMalformed, search, |s| body(s, "\"name\":\"search\"", "\"title\":\"search\"")),
    (Code::BodyMalformed, search, |s| body(s, "\"2.0\"", "\"1.0\"")),
    (Code::BodyMalformed, search, |s| body(s, "\"id\":7", "\"id\":null")),
    (Code::BodyMalformed, search, |s| body(s, "\"id\":7", "\"id\":{}")),
    (Code::BodyMalformed, search, |s| body(s, "\"id\":7", "\"id\":7,\"result\":{}")),
    (Code::BodyMalformed, search, |s| body(s, "{", "[{")),
    (Code::BodyMalformed, search, |s| {
        let text = String::from_utf8(s.body.clone().unwrap()).unwrap();
        s.body = Some(format!("[{text}]").into_bytes());
    }),
    (
        Code::HeaderBodyMismatch,
        |s| {
            search(s);
            header(s, "mcp-method", "tools/call");
        },
        |s| s.headers[1].1 = b"tools/list".to_vec(),
    ),
    (
        Code::HeaderBodyMismatch,
        |s| {
            search(s);
            header(s, "mcp-name", "search");
        },
        |s| s.headers[1].1 = b"Search".to_vec(),
    ),
    (
        Code::HeaderBodyMismatch,
        |s| {
            search(s);
            header(s, "mcp-name", "=?base64?c2VhcmNo?=");
        },
        |s| s.headers[1].1 = b"=?base64?ZGVsZXRl?=".to_vec(),
    ),
    (
        Code::HeaderBodyMismatch,
        |s| {
            search(s);
            header(s, "mcp-name", "search");
        },
        |s| header(s, "mcp-name", "search"),
    ),
    (Code::HeaderBodyMismatch, search, |s| header(s, "mcp_name", "search")),
    // The revision that has the headers demands them.
    (
        Code::HeaderBodyMismatch,
        |s| {
            search(s);
            header(s, "mcp-protocol-version", "2026-07-28");
            header(s, "mcp-method", "tools/call");
            header(s, "mcp-name", "search");
        },
        |s| drop(s.headers.pop()),
    ),
    (
        Code::HeaderBodyMismatch,
        |s| {
            search(s);
            header(s, "mcp-protocol-version", "2025-11-25");
        },
        |s| s.headers[1].1 = b"2026-07-28".to_vec(),
    ),
    // What that revision no longer has needs none for its name, and must not have another.
    (Code::HeaderBodyMismatch, subscribe, |s| header(s, "mcp-name", "file:///b")),
    // Each route has a bound of its own, whatever the others of its path read.
    (
        Code::BodyTooLarge,
        |s| {
            search(s);
            let most = u32::try_from(s.body.as_ref().unwrap().len()).unwrap();
            route_of(s, 4).max_body = most;
        },
        |s| route_of(s, 4).max_body -= 1,
    ),
    (Code::AmbiguousRequest, search, |s| s.path.push_str("?query=x")),
    (Code::BodyNotAllowed, search, |s| s.headers[0].1 = b"text/plain".to_vec()),
    (Code::BodyMalformed, search, |s| s.body = None),
    (Code::NoRoute, search, |s| s.method = "GET"),
    (Code::NoCredential, search, |s| s.scheme = None),
    (Code::InsufficientScope, search, |s| s.bundle.actions[4].scopes_all = vec!["x".into()]),
    (
        Code::Stale,
        |s| {
            search(s);
            s.now.monotonic.0 += 60_000;
        },
        |s| s.bundle.actions[4].staleness = 59,
    ),
];

#[test]
fn each_denial_of_a_call_has_an_allowed_twin() {
    for (nth, (code, right, wrong)) in TWINS.iter().enumerate() {
        let mut scene = Scene::with(right);
        check_scene(&scene, None, &format!("twin {nth} of {code}"));
        wrong(&mut scene);
        check_scene(&scene, Some(*code), &format!("case {nth} of {code}"));
    }
}

fn acts(message: serde_json::Value) -> Result<String, Code> {
    let scene = Scene::with(|s| {
        served(s);
        s.pass
            .entry("actions", json!(["mcp:session", "tools:search", "tools:other", "files:read"]));
        say(s, message);
    });
    match scene.decide() {
        Decision::Allow(permit) => Ok(permit.action().unwrap().to_owned()),
        Decision::Deny(denial) => Err(denial.code()),
        Decision::Read(awaited) => panic!("{awaited:?}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
    }
}

#[test]
fn a_call_is_the_action_of_its_method_and_name() {
    let of = |method: &str, params: serde_json::Value| {
        acts(json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params}))
    };
    assert_eq!(of("tools/call", json!({"name": "search"})), Ok("tools:search".into()));
    assert_eq!(of("tools/call", json!({"name": "delete"})), Ok("tools:other".into()));
    assert_eq!(of("resources/read", json!({"uri": "file:///a"})), Ok("files:read".into()));
    assert_eq!(of("resources/read", json!({"uri": "file:///b"})), Err(Code::NoRoute));
    for second in [
        "FILE:///a",
        "file:///A",
        "file:///x/../a",
        "file:///%2e%2e/a",
        "file:///%61",
        "file:///a ",
        "file:\\\\\\a",
    ] {
        let denied = of("resources/read", json!({"uri": second}));
        assert!(matches!(denied, Err(Code::BodyMalformed | Code::NoRoute)), "{second}: {denied:?}");
    }
    assert_eq!(of("resources/read", json!({"name": "file:///a"})), Err(Code::BodyMalformed));
    assert_eq!(of("prompts/get", json!({"name": "search"})), Err(Code::NoRoute));
    assert_eq!(of("initialize", json!({})), Ok("mcp:session".into()));
    let bare = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(acts(bare), Ok("mcp:session".into()));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(acts(note), Ok("mcp:session".into()));
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    assert_eq!(acts(answer), Ok("mcp:session".into()));
    let failed = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1}});
    assert_eq!(acts(failed), Ok("mcp:session".into()));
    // No call is called as answers are called in a policy.
    assert_eq!(of(ANSWERS, json!({})), Err(Code::BodyMalformed));
    assert_eq!(acts(json!({"jsonrpc": "2.0", "id": 1})), Err(Code::BodyMalformed));
}

#[test]
fn a_call_is_awaited_only_from_a_live_gatepass() {
    let awaits = |change: Change| {
        let scene = Scene::with(|s| {
            search(s);
            (s.body, s.ends_with_headers) = (None, false);
            change(s);
        });
        match scene.decide() {
            Decision::Allow(_) => panic!("allowed"),
            Decision::Deny(denial) => {
                assert!(denial.whom().call.is_some(), "{denial}");
                Err(denial.code())
            }
            Decision::Read(awaited) => Ok(awaited.most),
            Decision::Redeem(redemption) => panic!("{redemption:?}"),
        }
    };
    assert_eq!(awaits(|_| {}), Ok(65_536));
    assert_eq!(awaits(|s| s.scheme = None), Err(Code::NoCredential));
    assert_eq!(awaits(|s| s.revoke(Kind::Agent, AGENT, Below::Always)), Err(Code::RevokedAgent));
    assert_eq!(awaits(|s| s.headers.clear()), Err(Code::BodyNotAllowed));
}

#[test]
fn a_call_is_pinned_without_what_differs_in_each() {
    use sha2::{Digest as _, Sha256};
    let pin = |s: &mut Scene| {
        search(s);
        let body = br#"{"method":"tools/call","params":{"arguments":{"limit":10,"query":"abc"},"name":"search"}}"#;
        let body = crate::testkit::b64(Sha256::digest(body));
        let canonical = format!(
            r#"{{"action":"tools:search","audience":"https://orders.example","body_sha256":"{body}","environment":"prod","host":"orders.example","inputs":{{"limit":"10","query":"abc"}},"method":"POST","path":"/mcp"}}"#
        );
        s.pass.entry("constraints", json!({}));
        s.pass.entry("args_digest", json!(crate::testkit::b64(Sha256::digest(canonical))));
    };
    check(pin, None);
    check(
        |s| {
            pin(s);
            body(s, "\"id\":7", "\"id\":8");
            body(s, "\"name\":\"search\"", "\"name\":\"search\",\"_meta\":{\"progressToken\":1}");
        },
        None,
    );
    check(
        |s| {
            pin(s);
            body(s, "\"name\":\"search\"", "\"name\":\"search\",\"more\":1");
        },
        Some(Code::ConstraintViolated),
    );
}

fn list(scene: &mut Scene) {
    served(scene);
    say(scene, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
}

fn permit(scene: &Scene) -> Permit {
    match scene.decide() {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => panic!("{denial}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
    }
}

/// Of a gatepass that may search and not delete.
pub(super) fn listing() -> Listing {
    permit(&Scene::with(list)).listing().unwrap().clone()
}

#[test]
fn a_list_shows_what_the_gatepass_is_good_for() {
    let sees = |change: Change| {
        let scene = Scene::with(|s| {
            list(s);
            change(s);
        });
        let text = r#"{"result":{"tools":[{"name":"search"},{"name":"delete"}]}}"#;
        let cut = permit(&scene).listing().unwrap().message(text.as_bytes()).unwrap();
        let cut = cut.unwrap_or_else(|| text.to_owned());
        (cut.contains("search"), cut.contains("delete"))
    };
    assert_eq!(sees(|_| {}), (true, false));
    assert_eq!(
        sees(|s| {
            s.pass.entry("actions", json!(["mcp:session", "tools:other"]));
        }),
        (false, true)
    );
    let both: Change = |s| {
        s.pass.entry("actions", json!(["mcp:session", "tools:search", "tools:other"]));
    };
    assert_eq!(sees(both), (true, true));
    assert_eq!(
        sees(|s| {
            s.pass.entry("actions", json!(["mcp:session", "tools:search", "tools:other"]));
            s.bundle.actions[5].scopes_all = vec!["x".into()];
        }),
        (true, false)
    );
    assert_eq!(
        sees(|s| {
            s.pass.entry("actions", json!(["mcp:session", "tools:search", "tools:other"]));
            s.bundle.actions[4].assurance = Assurance::Attested;
            s.pass.set("assurance", json!("federated"));
        }),
        (false, true)
    );
    // Nothing is hidden where nothing is refused, and nothing of what is no list.
    let shadow = Scene::with(|s| {
        list(s);
        s.bundle.actions[3].mode = crate::bundle::ActionMode::Shadow;
    });
    assert_eq!(permit(&shadow).listing(), None);
    assert_eq!(permit(&Scene::with(search)).listing(), None);
}

#[test]
fn what_was_cut_is_not_sent_once_more() {
    let streamed = |template: &str, path: &str| {
        let (template, path) = (template.to_owned(), path.to_owned());
        let scene = Scene::with(|s| {
            served(s);
            let stream = Route {
                methods: vec!["GET".into()],
                path: template.clone(),
                target: RouteTarget::Action(7),
                ..routes(s)[1].clone()
            };
            s.bundle.actions.push(action("mcp:stream"));
            routes(s).push(stream);
            s.pass.entry("actions", json!(["mcp:stream"]));
            (s.method, s.path) = ("GET", path);
            s.headers.clear();
        });
        permit(&scene).strips_replay()
    };
    assert!(streamed("/mcp", "/mcp"));
    assert!(streamed("/{any}", "/mcp"));
    assert!(!streamed("/other", "/other"));
    assert!(!streamed("/{any}/x", "/mcp/x"));
}

#[test]
fn a_denied_call_is_answered_as_its_clients_understand() {
    let answered = |change: Change| {
        let scene = Scene::with(|s| {
            search(s);
            change(s);
        });
        let Decision::Deny(denial) = scene.decide() else { panic!("allowed") };
        let call = denial.whom().call.clone().unwrap();
        let answer = denial.call_answer().unwrap();
        (answer.status, answer.code, call.id, denial.challenge())
    };
    let modern: Change = |s| {
        header(s, "mcp-protocol-version", "2026-07-28");
        header(s, "mcp-method", "tools/call");
        header(s, "mcp-name", "search");
    };
    let id = Some("7".to_owned());
    let (status, code, of, challenge) = answered(|s| s.scheme = None);
    assert_eq!((status, code, of), (401, -31_401, None));
    assert!(
        challenge.as_ref().unwrap().starts_with("Bearer resource_metadata=\"https://"),
        "{challenge:?}"
    );
    assert!(challenge.unwrap().ends_with("?resource=https://orders.example\""));
    assert_eq!(answered(|s| body(s, "abc", "x")), (200, -31_403, id.clone(), None));
    assert_eq!(answered(|s| body(s, "tools/call", "x")).0, 200);
    assert_eq!(answered(|s| body(s, "\"2.0\"", "2")), (400, -32_600, None, None));
    let scope = |s: &mut Scene| s.bundle.actions[4].scopes_all = vec!["crm:write".into()];
    let (status, _, _, challenge) =
        answered(|s| s.bundle.actions[4].scopes_all = vec!["crm:write".into()]);
    assert_eq!(status, 200);
    assert!(
        challenge
            .unwrap()
            .starts_with("Bearer error=\"insufficient_scope\", scope=\"crm:write\", ")
    );
    let (status, code, of, _) = {
        let scene = Scene::with(|s| {
            search(s);
            modern(s);
            scope(s);
        });
        let Decision::Deny(denial) = scene.decide() else { panic!("allowed") };
        let answer = denial.call_answer().unwrap();
        (answer.status, answer.code, denial.whom().call.clone().unwrap().id, ())
    };
    assert_eq!((status, code, of), (403, -31_403, id.clone()));
    let (status, code, of, _) = answered(|s| {
        header(s, "mcp-protocol-version", "2026-07-28");
        header(s, "mcp-method", "tools/list");
    });
    assert_eq!((status, code, of), (400, -32_020, id));
    // What is no call is answered as before.
    let Decision::Deny(denial) = Scene::with(|s| s.scheme = None).decide() else {
        panic!("allowed")
    };
    assert_eq!(denial.call_answer(), None);
    assert_eq!(denial.challenge().as_deref(), Some("Bearer"));
}
