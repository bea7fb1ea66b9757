//! A grace document extends the staleness of the low-risk actions that it names, and of nothing else.

use super::*;
use crate::bundle::Risk;
use crate::clock::UnixSeconds;
use crate::envelope::{PayloadType, Unverified};
use crate::grace::Document;
use crate::refusal::RefusalCode;
use crate::testkit::{FEED, ROOT, now, pair};

const HOURS: u64 = 3600;
const ACTION: &str = "orders:create";

fn document() -> Document {
    Document {
        environment: "prod".into(),
        issued_at: UnixSeconds(NOW),
        expires: UnixSeconds(NOW + 4 * HOURS),
        actions: vec![ACTION.into()],
    }
}

fn sealed(document: &Document, signer: u8, payload_type: PayloadType) -> Vec<u8> {
    let envelope = Unverified::new(payload_type, serde_json::to_vec(document).unwrap());
    envelope.sign_with(|m| *pair(signer).sk.sign(m, None)).to_json().into_bytes()
}

/// An hour after the gate was told anything.
fn scene(seconds: u64) -> Scene {
    Scene::with(|s| {
        s.now.monotonic.0 += seconds * 1000;
        s.now.unix.0 += seconds;
        s.pass.set("iat", json!(NOW + seconds - 60)).set("exp", json!(NOW + seconds + 240));
    })
}

fn code(scene: &Scene, envelope: Vec<u8>) -> (Option<Code>, Option<RefusalCode>) {
    let mut gate = scene.gate();
    gate.take_grace(envelope);
    let refusal = gate.grace_refusal().map(|refusal| refusal.code);
    assert_eq!(gate.grace_refusal(), None, "told once");
    match scene.decide_at(&gate) {
        Decision::Allow(_) => (None, refusal),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Deny(denial) => (Some(denial.code()), refusal),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

fn with(change: impl FnOnce(&mut Document)) -> Vec<u8> {
    let mut changed = document();
    change(&mut changed);
    sealed(&changed, ROOT, PayloadType::Grace)
}

#[test]
fn a_named_low_risk_action_goes_on_until_the_grace_ends() {
    let hour = scene(HOURS);
    check_scene(&hour, Some(Code::Stale), "without a grace");
    assert_eq!(code(&hour, with(|_| {})), (None, None));
    assert_eq!(code(&scene(4 * HOURS - 1), with(|_| {})), (None, None));
    assert_eq!(code(&scene(4 * HOURS), with(|_| {})), (Some(Code::Stale), None), "it has ended");
    let ends = with(|d| d.expires = UnixSeconds(NOW + HOURS));
    assert_eq!(code(&hour, ends), (Some(Code::Stale), None));
    let other = with(|d| d.actions = vec!["orders:list".into()]);
    assert_eq!(code(&hour, other), (Some(Code::Stale), None), "another action");
    let later = with(|d| {
        d.issued_at = UnixSeconds(NOW + HOURS + 31);
        d.expires = UnixSeconds(NOW + 2 * HOURS);
    });
    assert_eq!(code(&hour, later), (Some(Code::Stale), None), "not yet");
}

#[test]
fn what_is_not_low_risk_and_what_is_dead_gets_no_grace() {
    for risk in [Risk::Medium, Risk::High] {
        let mut scene = scene(HOURS);
        scene.action().risk = risk;
        scene.pass.set("assurance", json!("attested"));
        assert_eq!(code(&scene, with(|_| {})), (Some(Code::Stale), None), "{risk:?}");
    }
    let mut expired = scene(HOURS);
    expired.pass.set("exp", json!(NOW + HOURS));
    assert_eq!(code(&expired, with(|_| {})), (Some(Code::Expired), None));
    let mut revoked = scene(HOURS);
    revoked.revoke(Kind::Agent, AGENT, Below::Always);
    assert_eq!(code(&revoked, with(|_| {})), (Some(Code::RevokedAgent), None));
}

#[test]
fn a_state_older_than_four_hours_is_stale_whenever_the_grace_was_signed() {
    let at = |seconds: u64| {
        with(|d| {
            d.issued_at = UnixSeconds(NOW + seconds - 60);
            d.expires = UnixSeconds(NOW + seconds + HOURS);
        })
    };
    assert_eq!(code(&scene(4 * HOURS), at(4 * HOURS)), (None, None));
    assert_eq!(code(&scene(4 * HOURS + 1), at(4 * HOURS + 1)), (Some(Code::Stale), None));
    // The wall clock stands still: the other one goes on, and no gatepass lasts as long.
    let mut still = scene(HOURS);
    still.now.monotonic.0 += 3 * HOURS * 1000 + 1;
    assert_eq!(code(&still, with(|_| {})), (Some(Code::Expired), None));
}

#[test]
fn only_the_root_keys_in_force_grant_it_and_only_here() {
    let hour = scene(HOURS);
    let refused = |envelope, code_of: RefusalCode| {
        assert_eq!(code(&hour, envelope), (Some(Code::Stale), Some(code_of)));
    };
    refused(sealed(&document(), FEED, PayloadType::Grace), RefusalCode::BadSignature);
    refused(sealed(&document(), ROOT, PayloadType::Root), RefusalCode::BadPayloadType);
    refused(with(|d| d.environment = "dev".into()), RefusalCode::WrongEnvironment);
    refused(with(|d| d.expires = UnixSeconds(NOW + 4 * HOURS + 1)), RefusalCode::Poison);
    refused(with(|d| d.expires = d.issued_at), RefusalCode::Poison);
    refused(with(|d| d.actions.clear()), RefusalCode::Poison);
    refused(with(|d| d.actions = vec![ACTION.into(); 65]), RefusalCode::Poison);
    refused(b"{}".to_vec(), RefusalCode::Poison);
    refused(vec![b' '; 17_000], RefusalCode::Poison);
    // Before any root there is nobody to grant it.
    let mut bare = crate::testkit::bare_gate(crate::testkit::settings());
    bare.take_grace(with(|_| {}));
    assert_eq!(bare.grace_left(now()), 0);
    let root = crate::testkit::Root::version(1).sealed();
    bare.take_roots(&[&root], UnixSeconds(NOW)).unwrap();
    assert_eq!(bare.grace_left(now()), 4 * HOURS, "the root came");
}

#[test]
fn a_new_root_with_other_keys_ends_the_grace() {
    let hour = scene(HOURS);
    let mut gate = hour.gate();
    gate.take_grace(with(|_| {}));
    assert!(matches!(hour.decide_at(&gate), Decision::Allow(_)));
    let mut second = crate::testkit::Root::version(2).with(|document| {
        document.root.keys = vec![crate::testkit::b64(crate::testkit::public(STRANGER))];
    });
    second.signers = vec![ROOT, STRANGER];
    let first = crate::testkit::Root::version(1).sealed();
    gate.take_roots(&[&first, &second.sealed()], UnixSeconds(NOW + HOURS)).unwrap();
    assert_eq!(gate.grace_refusal().map(|refusal| refusal.code), Some(RefusalCode::BadSignature));
    assert_eq!(gate.grace_left(later(HOURS)), 0);
}
