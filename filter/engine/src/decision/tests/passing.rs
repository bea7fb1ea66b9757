//! Who passes without a decision: public, passed through, and in shadow.

use super::*;
use crate::batch::Feed;
use crate::bundle::Treatment;
use crate::testkit::{Root, bare_gate};

/// The permit's reason and whether it strips `Authorization`.
fn passes(scene: &Scene) -> (Reason, bool) {
    match scene.decide() {
        Decision::Allow(permit) => (permit.reason().clone(), permit.strips_authorization()),
        Decision::Deny(denial) => panic!("{denial}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

fn denied(scene: &Scene) -> Code {
    match scene.decide() {
        Decision::Deny(denial) => denial.code(),
        Decision::Allow(permit) => panic!("{permit:?}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

fn public(s: &mut Scene) {
    s.ask("GET", "/health");
}

fn passed_through(s: &mut Scene) {
    s.authority = "open.example".into();
}

const BOTH: [(Change, Reason); 2] =
    [(public, Reason::Public), (passed_through, Reason::PassedThrough)];

#[test]
fn public_and_passed_through_requests_need_no_gatepass_and_no_feed() {
    for (open, reason) in BOTH {
        for heard in [Heard::Feed, Heard::Baseline] {
            for scheme in [None, Some("Basic"), Some("Bearer")] {
                let mut scene = Scene::with(open);
                (scene.heard, scene.scheme) = (heard, scheme);
                let ours = scheme == Some("Bearer");
                assert_eq!(passes(&scene), (reason.clone(), ours));
            }
        }
        let mut scene = Scene::with(open);
        scene.heard = Heard::Nothing;
        assert_eq!(denied(&scene), Code::NotReady, "they need a bundle");
    }
}

#[test]
fn public_and_passed_through_requests_outlive_freshness() {
    for (open, reason) in BOTH {
        let mut scene = Scene::with(open);
        scene.now = later(1_000_000);
        assert_eq!(passes(&scene).0, reason);
    }
}

#[test]
fn openness_is_for_exactly_the_public_method_and_path() {
    for (method, path) in [
        ("POST", "/health"),
        ("get", "/health"),
        ("GET", "/health/"),
        ("GET", "/health/x"),
        ("GET", "/"),
    ] {
        let mut scene = Scene::with(|s| s.ask(method, path));
        assert_eq!(denied(&scene), Code::NoRoute, "{method} {path}");
        scene.scheme = None;
        assert_eq!(denied(&scene), Code::NoCredential, "{method} {path}");
    }
    for path in ["/Health", "/HEALTH", "/healt%68", "//health", "/./health"] {
        let scene = Scene::with(|s| s.ask("GET", path));
        let code = denied(&scene);
        assert!(matches!(code, Code::AmbiguousRequest | Code::NoRoute), "{path}: {code}");
    }
}

#[test]
fn upgrades_and_tunnels_never_pass() {
    for (open, _) in BOTH {
        for stream in [
            (|s: &mut Scene| s.headers.push(("upgrade", b"websocket".to_vec()))) as Change,
            |s| s.headers.push(("upgrade", b"".to_vec())),
            |s| s.headers.push((":protocol", b"websocket".to_vec())),
            |s| s.method = "CONNECT",
            |s| s.method = "connect",
            |s| (s.method, s.path) = ("CONNECT", String::new()),
        ] {
            let mut scene = Scene::with(open);
            stream(&mut scene);
            assert_eq!(denied(&scene), Code::StreamNotAllowed);
            scene.scheme = None;
            assert_eq!(denied(&scene), Code::NoCredential);
            scene.heard = Heard::Baseline;
            assert_eq!(denied(&scene), Code::NotReady);
        }
    }
}

#[test]
fn an_upgrade_where_nothing_is_defined_is_no_route() {
    let scene = Scene::with(|s| {
        s.ask("GET", "/nothing");
        s.headers.push(("upgrade", b"websocket".to_vec()));
    });
    assert_eq!(denied(&scene), Code::NoRoute);
}

#[test]
fn of_a_passed_through_request_only_the_authority_must_be_unambiguous() {
    let ask = |authority: &str, path: &str| {
        Scene::with(|s| (s.authority, s.path) = (authority.into(), path.into()))
    };
    for path in ["/a//b", "/../x", "/%2e%2e/", "*", "/x;y"] {
        assert_eq!(passes(&ask("open.example", path)).0, Reason::PassedThrough);
    }
    for authority in ["OPEN.example", "open.example.", "open.example:0", ""] {
        assert_eq!(denied(&ask(authority, "/")), Code::AmbiguousRequest);
    }
    let scene = Scene::with(|s| {
        passed_through(s);
        s.headers.push((":authority", b"orders.example".to_vec()));
    });
    assert_eq!(denied(&scene), Code::AmbiguousRequest);
}

#[test]
fn a_gatepass_of_ours_never_reaches_a_passed_through_upstream_and_others_do() {
    let token = Scene::good().pass.token();
    let foreign = Scene::with(|s| s.pass.signer = STRANGER).pass.token();
    let digest =
        "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"/\", qop=auth, response=\"0\"";
    for (value, stripped) in [
        (format!("Bearer {token}"), true),
        (format!("bearer {token}"), true),
        (format!("DPoP {token}"), true),
        (format!("Basic YTpi, Bearer {token}"), true),
        (format!("Basic YTpi,Bearer {token}"), true),
        (format!("{digest}, Bearer {token}"), true),
        (format!("Bearer {foreign}, Bearer {token}"), true),
        (format!("Bearer {foreign}"), false),
        ("Bearer opaque".into(), false),
        ("Basic YTpi".into(), false),
        (digest.into(), false),
        (format!("Other {token}"), false),
        // More gatepasses than are looked at.
        (vec![format!("Bearer {foreign}"); 5].join(", "), true),
    ] {
        let mut scene = Scene::with(passed_through);
        scene.authorization = Some(value.clone().into_bytes());
        assert_eq!(passes(&scene), (Reason::PassedThrough, stripped), "{value}");
    }
    let mut scene = Scene::with(passed_through);
    scene.authorization = Some(b"Basic YTpi".to_vec());
    scene.headers.push(("authorization", format!("Bearer {token}").into_bytes()));
    assert_eq!(passes(&scene), (Reason::PassedThrough, true));
}

#[test]
fn a_gatepass_that_would_be_denied_is_stripped_all_the_same() {
    for (open, reason) in BOTH {
        for wrong in [
            (|s: &mut Scene| {
                s.pass.set("exp", json!(NOW - 1));
            }) as Change,
            |s| {
                s.pass.set("env", json!("dev"));
            },
            |s| {
                s.pass.set("iss", json!("https://else.example"));
            },
            |s| {
                s.pass.set("seq", json!([1, 1]));
            },
            |s| s.revoke(Kind::Credential, "jti-1", Below::Always),
            |s| s.revoke(Kind::Key, &kid(ISSUER), Below::Always),
        ] {
            let mut scene = Scene::with(open);
            wrong(&mut scene);
            assert_eq!(passes(&scene), (reason.clone(), true));
        }
    }
}

#[test]
fn shadow_permits_with_the_denial_inside_and_strips_the_gatepass() {
    for (_, code, wrong) in order::IN_ORDER {
        let mut scene = Scene::with(wrong);
        scene.settings.mode = Mode::Shadow;
        let (reason, stripped) = passes(&scene);
        let Reason::Shadow(denial) = reason else {
            panic!("{code}: {reason:?}");
        };
        assert_eq!(denial.code(), *code);
        // Only a gatepass that no key of ours vouches for may go on.
        let ours = !matches!(
            code,
            Code::NoCredential
                | Code::Malformed
                | Code::UnsupportedAlgorithm
                | Code::UnknownKey
                | Code::BadSignature
        );
        assert_eq!(stripped, ours, "{code}");
    }
}

#[test]
fn shadow_mode_without_any_state_permits_and_says_so() {
    let scene = Scene::with(|s| {
        s.heard = Heard::Nothing;
        s.settings.mode = Mode::Shadow;
    });
    let (Reason::Shadow(denial), false) = passes(&scene) else {
        panic!("not in shadow");
    };
    assert_eq!(denial.code(), Code::NotReady);
}

#[test]
fn an_action_in_shadow_permits_what_it_would_deny_and_no_other_action_does() {
    let shadow = |s: &mut Scene| s.action().mode = ActionMode::Shadow;
    let mut scene = Scene::with(shadow);
    assert!(matches!(passes(&scene).0, Reason::Decided(_)));
    scene.pass.entry("actions", json!([]));
    let (Reason::Shadow(denial), true) = passes(&scene) else {
        panic!("not in shadow");
    };
    assert_eq!(denial.code(), Code::ActionNotGranted);
    scene.ask("GET", "/orders");
    assert_eq!(denied(&scene), Code::ActionNotGranted);
    scene.ask("GET", "/nothing");
    assert_eq!(denied(&scene), Code::NoRoute);
    let ambiguous = Scene::with(|s| {
        shadow(s);
        s.path.push_str("&Amount=1");
    });
    assert_eq!(denied(&ambiguous), Code::AmbiguousRequest);
}

#[test]
fn public_requests_on_a_guarded_host_still_have_one_spelling() {
    for change in [
        (|s: &mut Scene| s.path = "/health?a=%00".into()) as Change,
        |s| s.headers.push(("authorization", b"Basic YTpi".to_vec())),
        |s| s.authority = "orders.example.".into(),
        |s| s.headers.push((":path", b"/health".to_vec())),
    ] {
        let mut scene = Scene::with(public);
        change(&mut scene);
        assert_eq!(denied(&scene), Code::AmbiguousRequest);
    }
}

#[test]
fn a_request_without_method_host_or_path_is_ambiguous() {
    let gate = Scene::good().gate();
    let header = |name: &'static str, value: &'static str| Header {
        name: name.as_bytes(),
        value: value.as_bytes(),
    };
    let line =
        [header(":method", "GET"), header(":authority", "open.example"), header(":path", "/")];
    let decide = |headers: &[Header<'_>]| {
        let request = Request { headers, body: Body::None, source: None };
        super::super::decide(&request, &gate, crate::testkit::now())
    };
    assert!(matches!(decide(&line), Decision::Allow(_)));
    for without in 0..3 {
        let mut some = line.to_vec();
        some.remove(without);
        let Decision::Deny(denial) = decide(&some) else {
            panic!("allowed without {:?}", line[without]);
        };
        assert_eq!(denial.code(), Code::AmbiguousRequest);
    }
}

#[test]
fn a_baseline_without_a_bundle_opens_nothing() {
    let mut gate = bare_gate(crate::testkit::settings());
    let root = Root::version(1).sealed();
    let mut snapshot = Scene::good().snapshot();
    snapshot.bundle = None;
    let sealed = snapshot.sealed();
    let feed = Feed { roots: vec![&root], batches: vec![&sealed] };
    gate.baseline(&feed, crate::testkit::now()).unwrap();
    for (open, _) in BOTH {
        let decision = Scene::with(open).decide_at(&gate);
        assert!(matches!(decision, Decision::Deny(_)), "{decision:?}");
    }
}

/// An upgrade where the route means it.
pub(super) fn upgrades(scene: &mut Scene) {
    scene.ask("PUT", "/files");
    scene.ends_with_headers = false;
    scene.headers = vec![("upgrade", b"WebSocket".to_vec())];
    *upgrade(scene) = Some("websocket".into());
}

pub(super) fn upgrade(scene: &mut Scene) -> &mut Option<String> {
    match &mut scene.bundle.hosts[0].treatment {
        Treatment::Guarded(routes) => &mut routes[1].upgrade,
        Treatment::PassedThrough => panic!("the first host is guarded"),
    }
}
