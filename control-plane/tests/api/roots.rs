//! Root documents: the chain is walked as a gate walks it, and one that would silence this control
//! plane is refused.

use gatepass::roots::{successor, unverified_document};
use gatepass::setup::sign_root;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::root::{Document, Role};
use serde_json::json;

use crate::kit::{Ask, Follower, Plane};

/// The second root document, changed and signed by the root keys.
fn second(plane: &Plane, name: &str, change: impl FnOnce(&mut Document)) -> String {
    let first = std::fs::read_to_string(plane.dir().join("roots/1.json")).unwrap();
    let first = unverified_document(&first).unwrap();
    let now = UnixSeconds(plane.now());
    let mut next = successor(&first, &[], now.plus(1_000_000));
    next.keys = first.keys;
    change(&mut next);
    let (unsigned, signed) = (plane.file(&format!("{name}.unsigned")), plane.file(name));
    std::fs::write(&unsigned, serde_json::to_string(&next).unwrap()).unwrap();
    sign_root(&plane.file("roots"), &unsigned, &signed, now).unwrap();
    std::fs::read_to_string(signed).unwrap()
}

#[test]
fn a_newer_root_is_taken_and_what_was_issued_stays_good() {
    let plane = Plane::furnished();
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    let next = second(&plane, "next", |_| {});
    plane.change("/v1/roots", json!({ "envelope": next }));
    assert_eq!(plane.get("/v1/environment")["root_version"], 2);
    assert_eq!(gate.now_reads(&plane, &token), Ok(()));
    let again = plane.change_as(&plane.admin, "/v1/roots", json!({ "envelope": next }));
    assert_eq!(again.status, 400);
}

#[test]
fn a_root_that_would_silence_this_control_plane_is_refused() {
    let plane = Plane::furnished();
    let without = |role: Role| move |next: &mut Document| next.keys.retain(|key| key.role != role);
    let other = Plane::new();
    let before = plane.standing();
    let envelopes = [
        ("without the feed key", second(&plane, "feed", without(Role::Feed))),
        ("without the issuer key", second(&plane, "issuer", without(Role::Issuer))),
        ("without the audit key", second(&plane, "audit", without(Role::Audit))),
        ("of a version too far", second(&plane, "far", |next| next.version = 3)),
        ("of another environment", second(&plane, "env", |next| next.environment = "dev".into())),
        ("expired", second(&plane, "old", |next| next.expires = UnixSeconds(plane.now() + 1))),
        ("by other root keys", second(&other, "foreign", |_| {})),
        ("no envelope", "x".to_owned()),
    ];
    plane.pass(1);
    for (what, envelope) in envelopes {
        let answer = plane.change_as(&plane.admin, "/v1/roots", json!({ "envelope": envelope }));
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_eq!(answer.json()["field"], "envelope", "{what}");
    }
    assert_eq!(plane.standing(), before);
}
