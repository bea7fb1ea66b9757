//! Bodies that are read: what they must be, and that nothing of them is looked at too early.

use serde_json::Value;

use super::*;
use crate::body::Unfinished;
use crate::bundle::{Currency, Input, InputKind, Recording, Route, Source, Treatment};

pub(super) fn routes(scene: &mut Scene) -> &mut Vec<Route> {
    match &mut scene.bundle.hosts[0].treatment {
        Treatment::Guarded(routes) => routes,
        Treatment::PassedThrough => panic!("guarded"),
    }
}

pub(super) fn input(name: &str, kind: InputKind, source: Source) -> Input {
    Input { name: name.into(), record: Recording::of(&kind), kind, source }
}

fn place(pointer: &str) -> Source {
    Source::Body(pointer.into())
}

/// An order in a body, within its constraints.
fn order(scene: &mut Scene) {
    scene.action().body = BodyRule::Json;
    let euro = Currency::From(place("/order/currency"));
    routes(scene)[0].inputs = vec![
        input("amount", InputKind::Money(euro), place("/order/amount")),
        input("count", InputKind::Integer, place("/order/count")),
        input("note", InputKind::Text, place("/order/note")),
        input("express", InputKind::Boolean, place("/order/express")),
        input("tags", InputKind::TextSet, place("/order/tags")),
        input("dry", InputKind::Boolean, Source::Query("dry".into())),
    ];
    scene.path = "/orders/c1?dry=false".into();
    scene.headers = vec![("content-type", b"application/json".to_vec())];
    scene.body = Some(ORDER.as_bytes().to_vec());
    scene.pass.entry(
        "constraints",
        json!({
            "amount": {"max": "500.00 EUR"},
            "count": {"max": 5},
            "note": {"prefix": "for "},
            "express": {"equals": true},
            "tags": {"in": ["red", "blue"]},
        }),
    );
}

const ORDER: &str = r#"{"order":{"amount":"100.00","currency":"EUR","count":5,"note":"for Bob","express":true,"tags":["red"]}}"#;

/// Replaces one piece of the body's text.
fn with(scene: &mut Scene, old: &str, new: &str) {
    let text = String::from_utf8(scene.body.clone().unwrap()).unwrap();
    assert!(text.contains(old), "{old}");
    scene.body = Some(text.replacen(old, new, 1).into_bytes());
}

fn form(scene: &mut Scene) {
    order(scene);
    scene.action().body = BodyRule::Form;
    routes(scene)[0].inputs = vec![
        input("amount", InputKind::Money(Currency::Fixed("EUR".into())), place("amount")),
        input("note", InputKind::Text, place("note")),
    ];
    scene.path = "/orders/c1".into();
    scene.headers[0].1 = b"application/x-www-form-urlencoded".to_vec();
    scene.body = Some(b"amount=100.00&note=for+Bob&x=1".to_vec());
    scene
        .pass
        .entry("constraints", json!({"amount": {"max": "500 EUR"}, "note": {"prefix": "for "}}));
}

/// SHA-256 of the canonical action, with what stands for its inputs and its body.
fn digest_of(inputs: &str, body: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let body = crate::testkit::b64(Sha256::digest(body));
    let canonical = format!(
        r#"{{"action":"orders:create","audience":"https://orders.example","body_sha256":"{body}","environment":"prod","host":"orders.example","inputs":{inputs},"method":"POST","path":"/orders/c1"}}"#
    );
    crate::testkit::b64(Sha256::digest(canonical))
}

/// A body of bytes, pinned by its digest.
fn bytes(scene: &mut Scene) {
    scene.action().body = BodyRule::Digest;
    routes(scene)[0].inputs.clear();
    scene.path = "/orders/c1".into();
    scene.headers.clear();
    scene.body = Some(b"\xff\x00 anything".to_vec());
    scene.pass.entry("args_digest", json!(digest_of("{}", b"\xff\x00 anything")));
}

/// The order, pinned by its digest and nothing else.
fn pinned(scene: &mut Scene) {
    order(scene);
    scene.path = "/orders/c1".into();
    let inputs = r#"{"amount":"100.0000 EUR","count":"5","express":"true","note":"for Bob","tags":"[\"red\"]"}"#;
    let canonical = r#"{"order":{"amount":"100.00","count":5,"currency":"EUR","express":true,"note":"for Bob","tags":["red"]}}"#;
    scene.pass.entry("constraints", json!({}));
    scene.pass.entry("args_digest", json!(digest_of(inputs, canonical.as_bytes())));
}

/// The code, what is right, and the one thing that makes it wrong.
const TWINS: &[(Code, Change, Change)] = &[
    // Some frameworks take another method, or another amount, from where nobody looked.
    (Code::AmbiguousRequest, order, |s| with(s, "{\"order\"", "{\"_method\":\"DELETE\",\"order\"")),
    (Code::AmbiguousRequest, order, |s| with(s, "{\"order\"", "{\"dry\":true,\"order\"")),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&currency=USD")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "_method=DELETE")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "amount%00x=5000")),
    (Code::ConstraintViolated, order, |s| with(s, "100.00", "500.01")),
    (
        Code::ConstraintViolated,
        |s| {
            order(s);
            with(s, "\"100.00\"", "100.00")
        },
        |s| with(s, "100.00", "500.01"),
    ),
    (Code::ConstraintViolated, order, |s| with(s, "\"100.00\"", "1e2")),
    (Code::ConstraintViolated, order, |s| with(s, "\"100.00\"", "-0")),
    (Code::ConstraintViolated, order, |s| with(s, "EUR", "USD")),
    (Code::ConstraintViolated, order, |s| with(s, "\"EUR\"", "[\"EUR\"]")),
    (Code::ConstraintViolated, order, |s| with(s, "\"count\":5", "\"count\":6")),
    (Code::ConstraintViolated, order, |s| with(s, "\"count\":5", "\"count\":5.0")),
    (Code::ConstraintViolated, order, |s| with(s, "\"count\":5", "\"count\":\"5\"")),
    (Code::ConstraintViolated, order, |s| with(s, "\"count\":5,", "")),
    (Code::ConstraintViolated, order, |s| with(s, "\"count\":5", "\"count\":null")),
    (Code::ConstraintViolated, order, |s| with(s, "for Bob", "to Bob")),
    (Code::ConstraintViolated, order, |s| with(s, "\"for Bob\"", "\"for \\u0000\"")),
    (Code::ConstraintViolated, order, |s| with(s, "\"express\":true", "\"express\":\"true\"")),
    (Code::ConstraintViolated, order, |s| with(s, "\"express\":true", "\"express\":1")),
    (Code::ConstraintViolated, order, |s| with(s, "[\"red\"]", "[\"red\",\"green\"]")),
    (
        Code::ConstraintViolated,
        |s| {
            order(s);
            with(s, "[\"red\"]", "[\"red\",\"blue\"]")
        },
        |s| with(s, "blue", "red"),
    ),
    (Code::ConstraintViolated, order, |s| with(s, "[\"red\"]", "[\"red\",1]")),
    (Code::ConstraintViolated, order, |s| with(s, "[\"red\"]", "\"red\"")),
    // The query lies, and nobody asks it.
    (
        Code::ConstraintViolated,
        |s| {
            order(s);
            s.path.push_str("&sum=1")
        },
        |s| with(s, "100.00", "501"),
    ),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&amount=1")),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&Amount[]=1")),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&currency=USD")),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&order[amount]=1")),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&order.x=1")),
    (Code::AmbiguousRequest, order, |s| s.path.push_str("&[tags]=1")),
    // The other way about: what the body says beside the query.
    (Code::AmbiguousRequest, order, |s| with(s, "{\"order\":", "{\"dry\":true,\"order\":")),
    (Code::AmbiguousRequest, order, |s| with(s, "{\"order\":", "{\"Dr\\u0079\":1,\"order\":")),
    (Code::BodyMalformed, order, |s| with(s, "\"count\":5", "\"count\":5,\"count\":5")),
    (Code::BodyMalformed, order, |s| with(s, "\"count\":5", "\"count\":5,\"Count\":9")),
    (Code::BodyMalformed, order, |s| with(s, "\"count\":5", "\"co\\u0075nt\":5")),
    (Code::BodyMalformed, order, |s| with(s, "\"count\":5", "\"count\":5,\"count_\":9")),
    (Code::BodyMalformed, order, |s| with(s, "\"count\":5", "\"count\\u0000x\":9,\"count\":5")),
    (Code::BodyMalformed, order, |s| with(s, "{\"order\":", "{\"order\":1,\"order\":")),
    (Code::BodyMalformed, order, |s| with(s, "}}", "}} x")),
    (Code::BodyMalformed, order, |s| with(s, "}}", "}")),
    (Code::BodyMalformed, order, |s| s.body = Some(vec![])),
    (Code::BodyMalformed, order, |s| s.body = None),
    (Code::BodyMalformed, order, |s| s.body.as_mut().unwrap().insert(0, 0xff)),
    (Code::BodyMalformed, order, |s| s.unfinished = Some(Unfinished::Broken)),
    (
        Code::BodyTooLarge,
        |s| {
            order(s);
            routes(s)[0].max_body = u32::try_from(ORDER.len()).unwrap()
        },
        |s| routes(s)[0].max_body -= 1,
    ),
    (
        Code::BodyTooLarge,
        |s| {
            order(s);
            s.headers.push(("content-length", b"65536".to_vec()))
        },
        |s| s.headers[1].1 = b"65537".to_vec(),
    ),
    (Code::BodyTooLarge, order, |s| s.unfinished = Some(Unfinished::TooLong)),
    (Code::BodyTooSlow, order, |s| s.unfinished = Some(Unfinished::TooSlow)),
    (Code::GateBusy, order, |s| s.unfinished = Some(Unfinished::NoRoom)),
    (Code::BodyNotAllowed, order, |s| s.unfinished = Some(Unfinished::Trailers)),
    (Code::BodyNotAllowed, order, |s| s.headers[0].1 = b"text/plain".to_vec()),
    (Code::BodyNotAllowed, order, |s| s.headers.clear()),
    (Code::BodyNotAllowed, order, |s| s.headers.push(("content-encoding", b"gzip".to_vec()))),
    (Code::ConstraintViolated, form, |s| with(s, "100.00", "501")),
    (Code::ConstraintViolated, form, |s| with(s, "for+Bob", "to+Bob")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "amount=1")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "amount[]=1")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "[amount]=1")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "amount%00x=1")),
    (Code::BodyMalformed, form, |s| with(s, "x=1", "x=%")),
    (Code::AmbiguousRequest, form, |s| s.path.push_str("?amount=1")),
    (Code::AmbiguousRequest, form, |s| s.path.push_str("?note[]=1")),
    (Code::BodyNotAllowed, form, |s| s.headers[0].1 = b"application/json".to_vec()),
    (Code::ConstraintViolated, bytes, |s| with_byte(s)),
    (Code::ConstraintViolated, bytes, |s| s.body = None),
    (
        Code::UnsupportedRestriction,
        |s| {
            bytes(s);
            s.pass.entry("constraints", json!({}));
        },
        |s| {
            s.pass.entry("constraints", json!({"amount": {"max": 1}}));
            s.pass.claims["authorization_details"][0]
                .as_object_mut()
                .unwrap()
                .remove("args_digest");
        },
    ),
    (Code::ConstraintViolated, pinned, |s| with(s, "Bob", "Eve")),
    (Code::ConstraintViolated, pinned, |s| with(s, "}}", ",\"more\":1}}")),
    (
        Code::ConstraintViolated,
        |s| {
            pinned(s);
            with(s, "\"count\":5", " \"count\" : 5")
        },
        |s| with(s, "\"count\" : 5", "\"count\":5,\"x\":1,\"x\":1"),
    ),
];

fn with_byte(scene: &mut Scene) {
    scene.body.as_mut().unwrap()[0] = 0xfe;
}

#[test]
fn each_denial_of_a_body_has_an_allowed_twin() {
    for (nth, (code, right, wrong)) in TWINS.iter().enumerate() {
        let mut scene = Scene::with(right);
        check_scene(&scene, None, &format!("twin {nth} of {code}"));
        wrong(&mut scene);
        check_scene(&scene, Some(*code), &format!("case {nth} of {code}"));
    }
}

fn decided(scene: &Scene) -> Result<Option<u32>, Code> {
    match scene.decide() {
        Decision::Allow(_) => Ok(None),
        Decision::Read(awaited) => Ok(Some(awaited.most)),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Deny(denial) => Err(denial.code()),
    }
}

/// A word like another is none of the frameworks' names for it.
#[test]
fn a_way_to_pay_is_no_method_of_http() {
    let scene = Scene::with(|s| {
        order(s);
        with(s, "{\"order\"", "{\"method\":\"card\",\"httpMethod\":\"PUT\",\"order\"");
    });
    check_scene(&scene, None, "in JSON");
    let scene = Scene::with(|s| {
        form(s);
        with(s, "x=1", "method=card&http_method=PUT");
    });
    check_scene(&scene, None, "in a form");
}

#[test]
fn a_body_is_awaited_only_once_all_else_holds() {
    let awaits = |change: Change| {
        decided(&Scene::with(|s| {
            order(s);
            (s.body, s.ends_with_headers) = (None, false);
            change(s);
        }))
    };
    assert_eq!(awaits(|_| {}), Ok(Some(65_536)));
    assert_eq!(awaits(|s| routes(s)[0].max_body = 7), Ok(Some(7)));
    // Whatever the headers say is said before anybody waits.
    let early: [(Code, Change); 9] = [
        (Code::NoCredential, |s| s.scheme = None),
        (Code::BadSignature, |s| s.pass.signer = STRANGER),
        (Code::RevokedAgent, |s| s.revoke(Kind::Agent, AGENT, Below::Always)),
        (Code::Stale, |s| s.now.monotonic.0 += 60_001),
        (Code::InsufficientScope, |s| s.action().scopes_all = vec!["x".into()]),
        (Code::UnsupportedRestriction, |s| {
            s.pass.set("cnf", json!({"jkt": "x"}));
        }),
        (Code::BodyNotAllowed, |s| s.headers.clear()),
        (Code::BodyTooLarge, |s| s.headers.push(("content-length", b"65537".to_vec()))),
        (Code::NoRoute, |s| s.method = "DELETE"),
    ];
    for (code, change) in early {
        assert_eq!(awaits(change), Err(code));
    }
}

#[test]
fn an_approval_is_of_one_body() {
    check(
        |s| {
            pinned(s);
            let digest = s.pass.claims["authorization_details"][0]["args_digest"].clone();
            s.pass.entry("args_digest", Value::Null);
            s.pass.claims["authorization_details"][0]
                .as_object_mut()
                .unwrap()
                .remove("args_digest");
            s.pass.set("approval", Scene::approval(digest.as_str().unwrap()));
            s.action().approval = true;
        },
        None,
    );
    check(
        |s| {
            pinned(s);
            let digest = s.pass.claims["authorization_details"][0]["args_digest"].clone();
            s.pass.claims["authorization_details"][0]
                .as_object_mut()
                .unwrap()
                .remove("args_digest");
            s.pass.set("approval", Scene::approval(digest.as_str().unwrap()));
            s.action().approval = true;
            with(s, "Bob", "Eve");
        },
        Some(Code::ApprovalMismatch),
    );
}

#[test]
fn what_is_open_is_decided_again_with_the_body_that_it_came_with() {
    let scene = Scene::with(order);
    let mut standing = match scene.decide() {
        Decision::Allow(permit) => permit.into_standing(),
        Decision::Deny(denial) => panic!("{denial}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
    };
    let mut cache = TokenCache::new(0);
    let gate = scene.gate();
    let again = scene.request(|request| {
        standing.decide_anew(request, &gate, &mut cache, scene.now).map_err(|denial| denial.code())
    });
    assert_eq!(again, Ok(()));
    // Its body is gone: nobody can say.
    let without = Scene { body: None, ends_with_headers: false, ..scene };
    let again = without.request(|request| {
        standing
            .decide_anew(request, &gate, &mut cache, without.now)
            .map_err(|denial| denial.code())
    });
    assert_eq!(again, Err(Code::PolicyChanged));
}
