//! Keys exchanged while the control plane serves: made beside those in use, named by the next root
//! document, and taken into use by it.

use std::path::Path;

use gatepass::desk::redeem::{Asks, Decided, Question, verdict};
use gatepass::issue::sign_text;
use gatepass::keychain::{Kept, new_key};
use gatepass::keys::{KeyRole, SecretKey, Signer as _, public_text};
use gatepass::root_file::{Wanted, newest, next, read, write_unsigned};
use gatepass::setup::sign_root;
use gatepass_engine::Code;
use gatepass_engine::batch::{Batch, Feed, Header, whole_digest};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::keyring::Algorithm;
use gatepass_engine::redeem::Verdict;
use gatepass_engine::root::Role;
use serde_json::{Value, json};

use crate::kit::{Ask, Follower, ORDERS, POLICY, Plane, claims, poll, python};

/// The longest staleness bound of the kit's policy, and the second that it takes to be over.
const HEARD: u64 = 901;

/// The next root document, signed, as `gatepass root rotate` and `root sign` make it.
fn rotated(plane: &Plane, wanted: &Wanted) -> String {
    lasting(plane, wanted, 1_000_000)
}

/// The same for so many seconds.
fn lasting(plane: &Plane, wanted: &Wanted, seconds: u64) -> String {
    let roots = plane.dir().join("roots");
    let now = UnixSeconds(plane.now());
    let previous = read(&newest(&roots).unwrap()).unwrap();
    let document = next(&previous, wanted, now.plus(seconds)).unwrap();
    let unsigned = roots.join(format!("{}.unsigned.json", document.version));
    write_unsigned(&document, &unsigned).unwrap();
    let signed = plane.file(&format!("{}.json", document.version));
    sign_root(&plane.file("roots"), &unsigned, &signed, now).unwrap();
    std::fs::read_to_string(signed).unwrap()
}

/// Puts it in force; what is on record of it.
fn adopt(plane: &Plane, wanted: &Wanted) -> Value {
    let envelope = rotated(plane, wanted);
    plane.change("/v1/roots", json!({ "envelope": envelope }))["result"].clone()
}

fn adding(keys: &[(Role, &Kept)]) -> Wanted {
    let add = keys.iter().map(|(role, kept)| (*role, kept.public.clone())).collect();
    Wanted { add, ..Wanted::default() }
}

fn new(plane: &Plane, role: KeyRole) -> Kept {
    new_key(&plane.dir(), role).unwrap()
}

fn key(plane: &Plane, file: &str, role: KeyRole) -> SecretKey {
    SecretKey::load(&plane.dir().join(file), role).unwrap()
}

fn public(plane: &Plane, file: &str, role: KeyRole) -> String {
    public_text(&key(plane, file, role).public())
}

/// `kid` of whoever signed a gatepass.
fn kid(token: &str) -> String {
    let header = gatepass::issue::payload(token.split('.').next().unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// As long as the ceiling allows.
fn long() -> Ask {
    Ask::read().with("lifetime", "1800")
}

#[test]
fn new_keys_reach_cohorts_and_wait_for_what_these_ride_out() {
    let short = POLICY.replace("risk: low", "risk: low\n    staleness: 30s");
    for (tries, heard) in [(true, HEARD), (false, 61)] {
        let plane = Plane::furnished();
        plane.change("/v1/cohorts", json!({ "name": "canary" }));
        plane.change("/v1/policies", json!({ "content": short }));
        if tries {
            plane.change("/v1/policies", json!({ "content": POLICY, "cohort": "canary" }));
        }
        let agent = plane.agent(1);
        let mut canary = Follower::of_audience(&plane, "canary");
        let keys = [(Role::Issuer, KeyRole::Issuer), (Role::Feed, KeyRole::Feed)];
        let made = keys.map(|(role, kind)| (role, new(&plane, kind)));
        let told = adopt(&plane, &adding(&made.each_ref().map(|(role, kept)| (*role, kept))));
        assert_eq!(told["issuers"][1]["signs_from"], plane.now() + heard, "{tries}");
        let before = agent.gatepass(&plane, &long());
        assert_eq!(canary.now_reads(&plane, &before), Ok(()));
        plane.pass(heard + 1);
        let after = agent.gatepass(&plane, &long());
        assert_ne!(kid(&before), kid(&after));
        assert_eq!(canary.now_reads(&plane, &after), Ok(()));
        let fresh = Follower::of_audience(&plane, "canary");
        assert_eq!(fresh.reads(&after), Ok(()));
    }
}

#[test]
fn verdicts_are_signed_by_every_redeem_key_that_is_named_and_by_none_that_is_not() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let once =
        Ask::entry(json!({ "actions": ["orders:read"], "uses": 1 })).with("resource", ORDERS);
    let old = public(&plane, "redeem.key", KeyRole::Redeem);
    let made = new(&plane, KeyRole::Redeem);
    let believed = |public: &str| {
        let key = gatepass_engine::root::public_key(public).unwrap();
        let question = Question {
            jti: "j1".to_owned(),
            nonce: "nonce-0123456789".to_owned(),
            expires: UnixSeconds(plane.now()),
            position: plane.db().book().position(),
            asks: Asks::Use(None),
        };
        let decided = Decided { verdict: Verdict::Spent, at: UnixSeconds(plane.now()) };
        let signers = plane.db().book().signers();
        let envelope = verdict("prod", &question, decided, &signers).unwrap();
        let envelope = Unverified::from_json(envelope.as_bytes()).unwrap();
        envelope.verify(PayloadType::Verdict, &[key]).is_ok()
    };
    assert_eq!((believed(&old), believed(&made.public)), (true, false), "not named yet");
    adopt(&plane, &adding(&[(Role::Redeem, &made)]));
    assert_eq!((believed(&old), believed(&made.public)), (true, true), "gates believe either");
    adopt(&plane, &Wanted { drop: vec![old.clone()], ..Wanted::default() });
    assert_eq!((believed(&old), believed(&made.public)), (false, true));
    agent.gatepass(&plane, &once);
    adopt(&plane, &Wanted { drop: vec![made.public.clone()], ..Wanted::default() });
    assert_eq!((believed(&old), believed(&made.public)), (false, false));
    assert_eq!(agent.refused(&plane, &once), "temporarily_unavailable");
    agent.gatepass(&plane, &Ask::read());
}

#[test]
fn an_issuer_key_signs_once_no_gate_that_decides_can_lack_it() {
    let mut plane = Plane::furnished();
    let agent = plane.agent(1);
    let before = agent.gatepass(&plane, &long());
    let made = new(&plane, KeyRole::Issuer);
    let (mut gate, mut deaf) = (Follower::of(&plane), Follower::of(&plane));
    let told = adopt(&plane, &adding(&[(Role::Issuer, &made)]));
    let takeover = plane.now() + HEARD;
    assert_eq!(told["issuers"][0]["not_after"], takeover + 3600);
    assert_eq!(told["issuers"][1]["signs_from"], takeover);
    assert_eq!(told["issuers"][1]["kid"], made.kid);

    // Published, and the one before it signs, until every gate that has not heard is stale.
    let between = agent.gatepass(&plane, &long());
    assert_eq!(kid(&between), kid(&before));
    assert_eq!((gate.now_reads(&plane, &before), gate.reads(&between)), (Ok(()), Ok(())));
    deaf.wait_until(takeover - 2);
    assert_eq!(deaf.reads(&before), Ok(()), "it may still decide");
    deaf.wait_until(takeover);
    assert_eq!(deaf.reads(&before), Err(Code::Stale));
    plane.set_clock(takeover);
    let last = agent.gatepass(&plane, &long());
    assert_eq!(kid(&last), kid(&before));
    plane.set_clock(takeover + 1);
    let after = agent.gatepass(&plane, &long());
    assert_eq!(kid(&after), made.kid);
    for token in [&before, &between, &last, &after] {
        assert_eq!(gate.now_reads(&plane, token), Ok(()), "both are believed");
    }

    // A restart changes nothing, and the old one is over when what it signed is.
    plane.stop();
    plane.start();
    assert_eq!(kid(&agent.gatepass(&plane, &Ask::read())), made.kid);
    plane.set_clock(takeover + 3600);
    let forged = sign_text(
        &claims(&agent.gatepass(&plane, &Ask::read())).to_string(),
        Algorithm::EdDsa,
        &key(&plane, "issuer.key", KeyRole::Issuer),
    );
    assert_eq!(gate.now_reads(&plane, &forged), Err(Code::RevokedKey));
}

#[test]
fn a_stolen_issuer_key_is_dead_at_once_and_the_next_one_signs() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let before = agent.gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    let revoke = |kid: &str| plane.change("/v1/revocations", json!({ "kind": "key", "id": kid }));

    // Revoked with no other: nothing is signed that no gate would believe.
    revoke(&kid(&before));
    assert_eq!(gate.now_reads(&plane, &before), Err(Code::RevokedKey));
    assert_eq!(agent.refused(&plane, &Ask::read()), "temporarily_unavailable");
    let second = new(&plane, KeyRole::Issuer);
    adopt(&plane, &adding(&[(Role::Issuer, &second)]));
    let after = agent.gatepass(&plane, &Ask::read());
    assert_eq!(kid(&after), second.kid, "there is nothing to wait for");
    assert_eq!(gate.now_reads(&plane, &after), Ok(()));
    assert_eq!(gate.reads(&before), Err(Code::RevokedKey));

    // Dropped by the root without a revocation.
    let third = new(&plane, KeyRole::Issuer);
    let wanted = Wanted { drop: vec![second.kid], ..adding(&[(Role::Issuer, &third)]) };
    adopt(&plane, &wanted);
    let last = agent.gatepass(&plane, &Ask::read());
    assert_eq!(kid(&last), third.kid);
    assert_eq!(gate.now_reads(&plane, &last), Ok(()));
    assert_eq!(gate.reads(&after), Err(Code::UnknownKey));

    // A policy version from before brings no key back.
    let policy = crate::kit::POLICY.replace("files:read", "files:view");
    plane.change("/v1/policies", json!({ "content": policy }));
    plane.change("/v1/policies/1/rollback", json!({}));
    assert_eq!(gate.now_reads(&plane, &last), Ok(()));
    assert_eq!(gate.reads(&before), Err(Code::RevokedKey));
    assert_eq!(gate.reads(&after), Err(Code::UnknownKey));
}

#[test]
fn a_copy_from_before_a_revocation_does_not_bring_the_key_back() {
    let mut plane = Plane::furnished();
    let agent = plane.agent(1);
    let stolen = key(&plane, "issuer.key", KeyRole::Issuer);
    let mut gate = Follower::of(&plane);
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    let second = new(&plane, KeyRole::Issuer);
    adopt(&plane, &adding(&[(Role::Issuer, &second)]));
    plane.change("/v1/revocations", json!({ "kind": "key", "id": stolen.id().to_string() }));
    gate.follow(&plane);
    plane.stop();
    plane.restore(Some(&copy)).unwrap();
    plane.start();
    plane.change("/v1/open", json!({}));
    assert_eq!(plane.get("/v1/environment")["root_version"], 2, "it was kept beside");
    let token = agent.gatepass(&plane, &Ask::read());
    assert_eq!(kid(&token), second.kid);
    assert_eq!(gate.now_reads(&plane, &token), Ok(()));
    // In the new epoch, as a thief would.
    let forged = sign_text(&claims(&token).to_string(), Algorithm::EdDsa, &stolen);
    assert_eq!(gate.reads(&forged), Err(Code::RevokedKey));
    assert_eq!(Follower::of(&plane).reads(&forged), Err(Code::RevokedKey));
}

#[test]
fn feed_and_audit_keys_sign_from_the_root_on_that_names_them() {
    let mut plane = Plane::furnished();
    let agent = plane.agent(1);
    let token = agent.gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    let old_audit = public(&plane, "audit.key", KeyRole::Audit);
    let before = plane.export();
    let (feed, audit) = (new(&plane, KeyRole::Feed), new(&plane, KeyRole::Audit));
    let wanted = Wanted {
        drop: vec![public(&plane, "feed.key", KeyRole::Feed), old_audit.clone()],
        ..adding(&[(Role::Feed, &feed), (Role::Audit, &audit)])
    };
    let told = adopt(&plane, &wanted);
    assert_eq!((&told["feed"], &told["audit"]), (&json!(feed.public), &json!(audit.public)));
    assert_eq!(gate.now_reads(&plane, &token), Ok(()));
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": claims(&token)["jti"] }));
    assert_eq!(gate.now_reads(&plane, &token), Err(Code::RevokedCredential));
    assert_eq!(Follower::of(&plane).reads(&token), Err(Code::RevokedCredential));
    // Each head verifies with the key that was named when it was signed, and with no other.
    let after = plane.export();
    assert_eq!(verified(&plane, &before, &old_audit), (true, String::new()));
    assert_eq!(verified(&plane, &after, &audit.public), (true, String::new()));
    for (export, key) in [(&before, &audit.public), (&after, &old_audit)] {
        let (holds, said) = verified(&plane, export, key);
        assert!(!holds && said.contains("not signed with this key"), "{said}");
    }
    let checked = plane.get("/v1/audit/verify");
    assert_eq!(checked["verdict"], "consistent, not anchored", "{checked}");
    // The old files are needed no more; without the new ones nothing would be believed.
    plane.stop();
    std::fs::remove_file(plane.dir().join("feed.key")).unwrap();
    plane.start();
    assert_eq!(gate.now_reads(&plane, &token), Err(Code::RevokedCredential));
}

/// What `docs/verify_audit.py` says of an export: whether it holds, and else why not.
fn verified(plane: &Plane, export: &str, key: &str) -> (bool, String) {
    let path = plane.file("export.jsonl");
    std::fs::write(&path, export).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify_audit.py");
    let output = python().arg(script).arg(path).args(["--key", key]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_root_is_refused_whose_keys_do_not_lie_here_and_taken_once_they_do() {
    let mut plane = Plane::furnished();
    let elsewhere = tempfile::tempdir().unwrap();
    let away = new_key(elsewhere.path(), KeyRole::Feed).unwrap();
    let wanted = Wanted {
        drop: vec![public(&plane, "feed.key", KeyRole::Feed)],
        ..adding(&[(Role::Feed, &away)])
    };
    let envelope = rotated(&plane, &wanted);
    let body = json!({ "envelope": envelope });
    let refused = plane.change_as(&plane.admin, "/v1/roots", body.clone());
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("it names no feed key"), "{}", refused.text());
    assert_eq!(plane.get("/v1/environment")["root_version"], 1);
    let here = plane.dir().join("feed-2.key");
    std::fs::copy(&away.path, &here).unwrap();
    plane.change("/v1/roots", body);
    assert_eq!(Follower::of(&plane).position().to_string(), plane.standing().0);

    // An issuer key whose file comes after the root that names it is taken at the next start.
    let agent = plane.agent(1);
    let late = new_key(elsewhere.path(), KeyRole::Issuer).unwrap();
    adopt(&plane, &adding(&[(Role::Issuer, &late)]));
    assert_eq!(plane.issuer_keys().len(), 1);
    plane.stop();
    std::fs::copy(&late.path, plane.dir().join("issuer-2.key")).unwrap();
    plane.start();
    assert_eq!(plane.issuer_keys().len(), 2);
    plane.pass(HEARD + 1);
    assert_eq!(kid(&agent.gatepass(&plane, &Ask::read())), late.kid);
    assert!(plane.export().contains("root.take_key"));
}

#[test]
fn a_root_that_only_renews_lets_the_issuer_key_live_as_long() {
    let plane = Plane::furnished();
    let before = plane.issuer_keys();
    plane.pass(80 * 86_400);
    let life = 366 * 86_400;
    let envelope = lasting(&plane, &Wanted::default(), life);
    plane.change("/v1/roots", json!({ "envelope": envelope }));
    let after = plane.issuer_keys();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].public, before[0].public);
    assert_eq!(after[0].not_after, UnixSeconds(plane.now() + life));
}

/// What a thief of the feed key signs: the newest snapshot elsewhere, with another policy.
fn stolen(
    plane: &Plane,
    key: &SecretKey,
    bundle: &[u8],
    change: impl FnOnce(&mut Header),
) -> Vec<u8> {
    let answer = poll(plane, None, &[]);
    let feed = Feed::decode(&answer.body).unwrap();
    let payload = Unverified::from_postcard(feed.batches[0]).unwrap().unverified_payload().to_vec();
    let mut batch = Batch::decode(&payload).unwrap();
    change(&mut batch.header);
    batch.bundle = Some(bundle);
    batch.header.whole_digest = whole_digest(&[batch.digest()]);
    let envelope = Unverified::new(PayloadType::Batch, batch.encode().unwrap());
    envelope.sign_with(|message| key.sign(message)).to_postcard().unwrap()
}

#[test]
fn a_reset_undoes_what_a_stolen_feed_key_said_wherever_it_led() {
    let nothing = postcard::to_allocvec(&Bundle::default()).unwrap();
    // Far ahead, in another epoch, and exactly where the next change leads.
    for (epochs, steps) in [(0, 1_000_000), (1_000, 0), (0, 1)] {
        let plane = Plane::furnished();
        let agent = plane.agent(1);
        let token = agent.gatepass(&plane, &Ask::read());
        let mut gate = Follower::of(&plane);
        let thief = key(&plane, "feed.key", KeyRole::Feed);
        gate.hear(&stolen(&plane, &thief, &nothing, |header| {
            header.epoch += epochs;
            header.to += steps;
        }));
        assert!(gate.reads(&token).is_err(), "what the thief says is believed");
        if steps != 1 {
            // It looks as an old copy does.
            let ahead = poll(&plane, Some(gate.position()), &[]);
            assert_eq!(ahead.status, 503, "{}", ahead.text());
            assert_eq!(agent.refused(&plane, &Ask::read()), "temporarily_unavailable");
            let open = plane.change_as(&plane.admin, "/v1/open", json!({}));
            assert_eq!(open.status, 409, "{}", open.text());
        }
        let next = new(&plane, KeyRole::Feed);
        let wanted = Wanted {
            reset: true,
            drop: vec![public_text(&thief.public())],
            ..adding(&[(Role::Feed, &next)])
        };
        adopt(&plane, &wanted);
        assert_eq!(gate.now_reads(&plane, &token), Ok(()), "{epochs} {steps}");
        assert_eq!(gate.position().to_string(), plane.standing().0);
        if steps != 1 {
            plane.change("/v1/open", json!({}));
        }
        let fresh = agent.gatepass(&plane, &Ask::read());
        assert_eq!(gate.now_reads(&plane, &fresh), Ok(()));
        plane.change("/v1/revocations", json!({ "kind": "key", "id": kid(&fresh) }));
        assert_eq!(gate.now_reads(&plane, &fresh), Err(Code::RevokedKey));
    }
}

#[test]
fn what_is_issued_while_keys_are_exchanged_is_always_believed() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let mut gate = Follower::of(&plane);
    let mut signers = std::collections::BTreeSet::new();
    for round in 0..4 {
        let made = new(&plane, KeyRole::Issuer);
        adopt(&plane, &adding(&[(Role::Issuer, &made)]));
        for _ in 0..6 {
            let token = agent.gatepass(&plane, &Ask::read());
            signers.insert(kid(&token));
            assert_eq!(gate.now_reads(&plane, &token), Ok(()), "round {round}");
            plane.pass(301);
        }
    }
    assert_eq!(signers.len(), 5, "each in its turn");
}
