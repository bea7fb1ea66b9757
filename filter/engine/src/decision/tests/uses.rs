//! What is spent once and what is stored first: when the control plane is asked, what is believed of its
//! answer, and what a decision does with it.

use serde_json::json;

use super::*;
use crate::bundle::{ActionMode, Audit, Uses};
use crate::envelope::{PayloadType, Unverified};
use crate::gate::Mode;
use crate::redeem::{Answer, Document, Redemption, Verdict};
use crate::testkit::{Message, REDEEM, feed, now, pair};

const NONCE: &str = "nonce-1";

fn once(scene: &mut Scene) {
    scene.pass.entry("uses", json!(1));
}

fn redemption(scene: &Scene, gate: &Gate) -> Redemption {
    match scene.decide_at(gate) {
        Decision::Redeem(redemption) => *redemption,
        other => panic!("{other:?}"),
    }
}

/// A verdict that is right, and who signs it.
struct Said {
    document: Document,
    signer: u8,
    payload_type: PayloadType,
}

fn said(verdict: Verdict) -> Said {
    Said {
        document: Document {
            environment: "prod".into(),
            jti: "jti-1".into(),
            nonce: NONCE.into(),
            verdict,
            at: UnixSeconds(NOW),
        },
        signer: REDEEM,
        payload_type: PayloadType::Verdict,
    }
}

impl Said {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn envelope(&self) -> Vec<u8> {
        let payload = serde_json::to_vec(&self.document).unwrap();
        let envelope = Unverified::new(self.payload_type, payload);
        envelope.sign_with(|m| *pair(self.signer).sk.sign(m, None)).to_json().into_bytes()
    }
}

fn read(scene: &Scene, said: &Said) -> Result<Answer, String> {
    let gate = scene.gate();
    redemption(scene, &gate).read(&said.envelope(), NONCE, &gate, scene.now)
}

fn confirmed(scene: &Scene, gate: &Gate, verdict: Verdict) -> Confirmation {
    let answer = redemption(scene, gate).read(&said(verdict).envelope(), NONCE, gate, scene.now);
    match answer {
        Ok(Answer::Confirmed(confirmation)) => confirmation,
        other => panic!("{other:?}"),
    }
}

fn decided(scene: &Scene, gate: &Gate, confirmation: Confirmation) -> Decision {
    scene.request(|request| {
        decide_confirmed(request, gate, &mut TokenCache::new(0), confirmation, scene.now)
    })
}

fn code(decision: Decision) -> Option<Code> {
    match decision {
        Decision::Allow(_) => None,
        Decision::Deny(denial) => Some(denial.code()),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

#[test]
fn a_use_is_redeemed_whether_the_entry_or_the_action_asks_for_it_and_otherwise_nobody_is_asked() {
    let asks: [(Change, bool, bool); 5] = [
        (|_| {}, false, false),
        (once, true, false),
        (|s| s.action().uses = Uses::Once, true, false),
        (|s| s.action().audit = Audit::Confirmed, false, true),
        (
            |s| {
                once(s);
                s.action().audit = Audit::Confirmed;
            },
            true,
            true,
        ),
    ];
    for (change, one_use, record) in asks {
        let scene = Scene::with(change);
        match scene.decide() {
            Decision::Allow(_) => assert!(!one_use && !record),
            Decision::Redeem(redemption) => {
                let needs = redemption.needs();
                assert_eq!((needs.one_use, needs.record), (one_use, record));
                assert_eq!(redemption.jti(), "jti-1");
                assert_eq!(redemption.expires(), UnixSeconds(NOW + 280));
                assert_eq!(redemption.action(), "orders:create");
                assert_eq!(redemption.identity().agent, AGENT);
            }
            Decision::Deny(denial) => panic!("{denial}"),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        }
    }
}

#[test]
fn an_entry_without_uses_that_grants_as_well_spends_none() {
    let also = |second: serde_json::Value| {
        Scene::with(|s| {
            once(s);
            let first = s.pass.claims["authorization_details"][0].clone();
            s.pass.set("authorization_details", json!([first, second]));
        })
    };
    let other = json!({"type": "agent_action", "actions": ["orders:create"]});
    assert!(matches!(also(other).decide(), Decision::Allow(_)));
    let elsewhere = json!({"type": "agent_action", "actions": ["orders:list"]});
    assert!(matches!(also(elsewhere).decide(), Decision::Redeem(_)));
}

#[test]
fn whatever_else_is_wrong_is_said_first_and_costs_no_use() {
    for (_, code, wrong) in order::IN_ORDER {
        let scene = Scene::with(|s| {
            once(s);
            wrong(s);
        });
        let Decision::Deny(denial) = scene.decide() else { panic!("{code}: not denied") };
        assert_eq!(denial.code(), *code);
    }
}

#[test]
fn only_a_verdict_for_this_very_question_is_believed() {
    let scene = Scene::with(once);
    let gate = scene.gate();
    let answer = read(&scene, &said(Verdict::Granted)).unwrap();
    assert!(matches!(answer, Answer::Confirmed(_)), "{answer:?}");
    type Change = fn(&mut Said);
    let wrong: [(&str, Change); 13] = [
        ("a stranger's key", |s| s.signer = STRANGER),
        ("the feed's key", |s| s.signer = crate::testkit::FEED),
        ("an issuer's key", |s| s.signer = ISSUER),
        ("a root key", |s| s.signer = crate::testkit::ROOT),
        ("another payload type", |s| s.payload_type = PayloadType::Grace),
        ("another environment", |s| s.document.environment = "dev".into()),
        ("another gatepass", |s| s.document.jti = "jti-2".into()),
        ("another question", |s| s.document.nonce = "nonce-2".into()),
        ("no question", |s| s.document.nonce.clear()),
        ("old", |s| s.document.at = UnixSeconds(NOW - 60)),
        ("of the future", |s| s.document.at = UnixSeconds(NOW + 31)),
        ("a record's", |s| s.document.verdict = Verdict::Stored),
        ("too large", |s| s.document.jti = "j".repeat(8_000)),
    ];
    for (name, change) in wrong {
        let said = said(Verdict::Granted).with(change);
        assert!(read(&scene, &said).is_err(), "{name}");
    }
    for (name, at) in [("not too old", NOW - 59), ("a clock ahead", NOW + 30)] {
        let said = said(Verdict::Granted).with(|s| s.document.at = UnixSeconds(at));
        assert!(read(&scene, &said).is_ok(), "{name}");
    }
    let unsigned = Unverified::new(PayloadType::Verdict, b"{}".to_vec()).to_json();
    let redemption = redemption(&scene, &gate);
    for bytes in [unsigned.as_bytes(), b"", b"{}", b"null", b"\xff"] {
        assert!(redemption.read(bytes, NONCE, &gate, now()).is_err());
    }
}

#[test]
fn what_is_signed_is_one_strict_document() {
    let scene = Scene::with(once);
    let gate = scene.gate();
    let good = serde_json::to_value(said(Verdict::Granted).document).unwrap();
    let read = |payload: String| {
        let envelope = Unverified::new(PayloadType::Verdict, payload.into_bytes())
            .sign_with(|m| *pair(REDEEM).sk.sign(m, None));
        redemption(&scene, &gate).read(envelope.to_json().as_bytes(), NONCE, &gate, now())
    };
    assert!(read(good.to_string()).is_ok());
    for (member, value) in
        [("verdict", json!("allow")), ("at", json!("1")), ("more", json!(1)), ("jti", json!(null))]
    {
        let mut bad = good.clone();
        bad[member] = value;
        assert!(read(bad.to_string()).is_err(), "{member}");
    }
    let twice = good.to_string().replacen('{', "{\"verdict\":\"spent\",", 1);
    assert!(read(twice).is_err(), "a member twice");
}

#[test]
fn spent_and_refused_confirm_nothing() {
    let scene = Scene::with(once);
    assert!(matches!(read(&scene, &said(Verdict::Spent)), Ok(Answer::Spent)));
    assert!(matches!(read(&scene, &said(Verdict::Refused)), Ok(Answer::Refused)));
    let redemption = redemption(&scene, &scene.gate());
    assert_eq!(redemption.spent().code(), Code::Replayed);
    assert_eq!(redemption.unconfirmed("late").code(), Code::ConfirmationFailed);
    assert_eq!(redemption.spent().whom().agent.as_deref(), Some(AGENT));
    let audited = Scene::with(|s| s.action().audit = Audit::Confirmed);
    assert!(matches!(read(&audited, &said(Verdict::Stored)), Ok(Answer::Confirmed(_))));
    assert!(matches!(read(&audited, &said(Verdict::Refused)), Ok(Answer::Refused)));
    for verdict in [Verdict::Granted, Verdict::Spent] {
        assert!(read(&audited, &said(verdict)).is_err(), "no use was asked for");
    }
}

#[test]
fn a_confirmed_request_is_allowed_and_its_twin_that_lost_its_right_meanwhile_is_not() {
    let scene = Scene::with(once);
    let gate = scene.gate();
    let allowed = decided(&scene, &gate, confirmed(&scene, &gate, Verdict::Granted));
    let Decision::Allow(permit) = allowed else { panic!("{allowed:?}") };
    assert!(matches!(permit.reason(), Reason::Decided(_)));
    let mut revoked = scene.gate();
    let confirmation = confirmed(&scene, &revoked, Verdict::Granted);
    let delta = Message::delta(AT, AT + 1).revoking(&[(Kind::Credential, "jti-1", Below::Always)]);
    feed(&mut revoked, &delta).unwrap();
    assert_eq!(code(decided(&scene, &revoked, confirmation)), Some(Code::RevokedCredential));
    // Twins in what was asked.
    for (change, expected) in [
        ((|s| s.pass.of_another_id()) as fn(&mut Scene), Code::ConfirmationFailed),
        (|s| s.action().audit = Audit::Confirmed, Code::ConfirmationFailed),
        (|s| s.now = later(281), Code::Expired),
    ] {
        let mut other = scene.clone();
        let confirmation = confirmed(&scene, &gate, Verdict::Granted);
        change(&mut other);
        assert_eq!(code(decided(&other, &other.gate(), confirmation)), Some(expected));
    }
}

impl crate::testkit::Pass {
    /// Of the same agent, and another gatepass.
    fn of_another_id(&mut self) {
        self.set("jti", json!("jti-2"));
    }
}

#[test]
fn a_stored_record_is_no_spent_use_and_both_are_confirmed_at_once() {
    let audited = Scene::with(|s| s.action().audit = Audit::Confirmed);
    let gate = audited.gate();
    let stored = confirmed(&audited, &gate, Verdict::Stored);
    assert_eq!(code(decided(&audited, &gate, stored)), None);
    let mut both = audited.clone();
    once(&mut both);
    let stored = confirmed(&audited, &gate, Verdict::Stored);
    assert_eq!(code(decided(&both, &both.gate(), stored)), Some(Code::ConfirmationFailed));
    let gate = both.gate();
    let granted = confirmed(&both, &gate, Verdict::Granted);
    assert_eq!(code(decided(&both, &gate, granted)), None);
}

#[test]
fn a_known_replay_is_denied_without_asking_and_so_is_what_finds_no_place() {
    let scene = Scene::with(once);
    let mut gate = scene.gate();
    let until = UnixSeconds(NOW + 280);
    gate.replays_mut().ask("jti-1", AGENT, until, now().unix).unwrap();
    assert!(matches!(scene.decide_at(&gate), Decision::Redeem(_)), "not known to be spent");
    gate.replays_mut().answered("jti-1", true);
    assert_eq!(code(scene.decide_at(&gate)), Some(Code::Replayed));
    // What has no uses is none of the table's business.
    assert!(matches!(Scene::good().decide_at(&gate), Decision::Allow(_)));
    let mut full = scene.gate();
    for n in 0..crate::replay::MAX_PLACES / 8 {
        full.replays_mut().ask(&format!("other-{n}"), AGENT, until, now().unix).unwrap();
    }
    assert_eq!(code(scene.decide_at(&full)), Some(Code::ReplayTableFull));
}

#[test]
fn shadow_consumes_nothing_and_says_what_it_knows() {
    let scene = Scene::with(once);
    for by_action in [false, true] {
        let mut scene = scene.clone();
        match by_action {
            true => scene.action().mode = ActionMode::Shadow,
            false => scene.settings.mode = Mode::Shadow,
        }
        let mut gate = scene.gate();
        let Decision::Allow(permit) = scene.decide_at(&gate) else { panic!("not let on") };
        assert!(matches!(permit.reason(), Reason::Decided(_)));
        gate.replays_mut().ask("jti-1", AGENT, UnixSeconds(NOW + 280), now().unix).unwrap();
        gate.replays_mut().answered("jti-1", true);
        let Decision::Allow(permit) = scene.decide_at(&gate) else { panic!("not let on") };
        let Reason::Shadow(denial) = permit.reason() else { panic!("{permit:?}") };
        assert_eq!(denial.code(), Code::Replayed);
    }
}

#[test]
fn an_open_request_is_not_asked_for_its_use_again_and_ends_where_another_policy_asks_for_more() {
    let scene = Scene::with(once);
    let gate = scene.gate();
    let allowed = decided(&scene, &gate, confirmed(&scene, &gate, Verdict::Granted));
    let Decision::Allow(permit) = allowed else { panic!("{allowed:?}") };
    let mut standing = permit.into_standing();
    assert_eq!(standing.still_stands(&gate, scene.now), Ok(()));
    let again = |standing: &mut Standing, scene: &Scene| {
        let mut gate = scene.gate();
        // What it spent itself is no replay of it.
        gate.replays_mut().ask("jti-1", AGENT, UnixSeconds(NOW + 280), now().unix).unwrap();
        gate.replays_mut().answered("jti-1", true);
        let mut cache = TokenCache::new(0);
        scene
            .request(|request| standing.decide_anew(request, &gate, &mut cache, scene.now))
            .map_err(|denial| denial.code())
    };
    for _ in 0..2 {
        assert_eq!(again(&mut standing, &scene), Ok(()));
    }
    let mut audited = scene.clone();
    audited.action().audit = Audit::Confirmed;
    assert_eq!(again(&mut standing, &audited), Err(Code::ConfirmationFailed));
    // One that was let on without a use, under a policy that asks for one from now on.
    let Decision::Allow(permit) = Scene::good().decide() else { panic!("denied") };
    let mut plain = permit.into_standing();
    assert_eq!(again(&mut plain, &Scene::good()), Ok(()));
    let other = Scene::with(|s| s.action().uses = Uses::Once);
    assert_eq!(again(&mut plain, &other), Err(Code::Replayed));
    let gate = other.gate();
    let anew = other
        .request(|request| plain.decide_anew(request, &gate, &mut TokenCache::new(0), other.now));
    assert_eq!(anew.map_err(|denial| denial.code()), Err(Code::ConfirmationFailed));
}
