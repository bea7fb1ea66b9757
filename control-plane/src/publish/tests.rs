use super::*;
use crate::fixture::{
    AGENT, NOW, ask, at, bundle, feed_key, gate, grant, issuer_entry, issuer_key, large_bundle,
    publisher, token,
};
use crate::keys::SecretKey;
use gatepass_engine::gate::Applied;
use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::{Code, Gate, Milliseconds};

fn apply(gate: &mut Gate, envelope: &[u8]) -> Result<Applied, RefusalCode> {
    gate.apply(envelope, Milliseconds(0), at(NOW.plus(20))).map_err(|refusal| refusal.code)
}

fn load(gate: &mut Gate, parts: &[Vec<u8>]) -> Result<Applied, RefusalCode> {
    let mut last = Ok(Applied::Known);
    for part in parts {
        last = apply(gate, part);
    }
    last
}

fn revoke(kind: Kind, id: &str) -> Changes {
    Changes::revoke(vec![Revoke::new(kind, id, NOW)])
}

#[test]
fn an_environment_starts_with_everything_denied() {
    let mut publisher = publisher();
    let mut gate = gate();
    let parts = publisher.snapshot(&feed_key(), NOW).unwrap();
    assert_eq!(parts.len(), 1);
    let first = Position { epoch: 7, sequence: 1 };
    assert_eq!(load(&mut gate, &parts), Ok(Applied::Moved(first)));
    let token = token(&grant("a"), first);
    assert_eq!(ask(&gate, "a", &token), Err(Code::NoRoute));
    let with_policy = publisher.delta(&Changes::bundle(bundle(&["a"])), &feed_key(), NOW);
    apply(&mut gate, &with_policy.unwrap()).unwrap();
    assert_eq!(ask(&gate, "a", &token), Ok(()));
}

#[test]
fn a_revocation_denies_through_a_delta_and_through_a_snapshot() {
    let cases = [
        (Kind::Credential, "j1", Code::RevokedCredential),
        (Kind::Task, "t1", Code::RevokedTask),
        (Kind::Agent, AGENT, Code::RevokedAgent),
        (Kind::Subject, AGENT, Code::RevokedSubject),
        (Kind::Owner, "user:corp/alice", Code::RevokedOwner),
        (Kind::Blueprint, "buyer", Code::RevokedBlueprint),
    ];
    let kid = issuer_key().id().to_string();
    for (kind, id, code) in cases.into_iter().chain([(Kind::Key, kid.as_str(), Code::RevokedKey)]) {
        let mut publisher = publisher();
        publisher.advance(&Changes::bundle(bundle(&["a"]))).unwrap();
        let mut follower = gate();
        load(&mut follower, &publisher.snapshot(&feed_key(), NOW).unwrap()).unwrap();
        let before = token(&grant("a"), publisher.position());
        assert_eq!(ask(&follower, "a", &before), Ok(()));
        let other = publisher.delta(&revoke(kind, "someone-else"), &feed_key(), NOW);
        apply(&mut follower, &other.unwrap()).unwrap();
        assert_eq!(ask(&follower, "a", &before), Ok(()), "{kind:?}");
        let delta = publisher.delta(&revoke(kind, id), &feed_key(), NOW).unwrap();
        apply(&mut follower, &delta).unwrap();
        assert_eq!(ask(&follower, "a", &before), Err(code));
        let mut newcomer = gate();
        load(&mut newcomer, &publisher.snapshot(&feed_key(), NOW).unwrap()).unwrap();
        assert_eq!(ask(&newcomer, "a", &before), Err(code));
        // What can come back is allowed from the revocation's own position on.
        let after = token(&grant("a"), publisher.position());
        let comes_back = !matches!(kind, Kind::Credential | Kind::Task | Kind::Key);
        assert_eq!(ask(&follower, "a", &after), if comes_back { Ok(()) } else { Err(code) });
    }
}

/// A generator of steps that needs no crate: the same numbers on each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn a_snapshot_and_its_deltas_equal_a_full_snapshot() {
    let kinds =
        [Kind::Credential, Kind::Task, Kind::Agent, Kind::Owner, Kind::Blueprint, Kind::Subject];
    for seed in 1..=20 {
        let mut numbers = Numbers(seed);
        let mut publisher = publisher();
        for _ in 0..numbers.below(4) {
            let kind = kinds[numbers.below(6) as usize];
            publisher.advance(&revoke(kind, &numbers.below(5).to_string())).unwrap();
        }
        let mut follower = gate();
        load(&mut follower, &publisher.snapshot(&feed_key(), NOW).unwrap()).unwrap();
        for step in 0..12 {
            let mut changes = Changes::default();
            for _ in 0..numbers.below(3) {
                let kind = kinds[numbers.below(6) as usize];
                let id = numbers.below(5).to_string();
                changes.revocations.push(Revoke::new(kind, &id, NOW));
            }
            if numbers.below(3) == 0 {
                changes.bundle = Some(bundle(&["a", "b", "c"][..1 + numbers.below(3) as usize]));
            }
            if numbers.below(4) == 0 {
                let mut key = issuer_entry();
                key.not_after = NOW.plus(1 + numbers.below(100_000));
                changes.keys = Some(vec![key]);
            }
            let delta = publisher.delta(&changes, &feed_key(), NOW.plus(step)).unwrap();
            apply(&mut follower, &delta).unwrap();
        }
        let mut newcomer = gate();
        load(&mut newcomer, &publisher.snapshot(&feed_key(), NOW.plus(12)).unwrap()).unwrap();
        assert_eq!(follower.position(), newcomer.position());
        let bundle_of = |gate: &Gate| gate.index().unwrap().bundle().clone();
        assert_eq!(bundle_of(&follower), bundle_of(&newcomer));
        let keys = |gate: &Gate| -> Vec<_> {
            let ring = gate.keyring();
            ring.keys().iter().map(|k| (k.id, k.not_after, ring.version())).collect()
        };
        assert_eq!(keys(&follower), keys(&newcomer));
        let (a, b) = (follower.revocations().unwrap(), newcomer.revocations().unwrap());
        assert_eq!(a.len(), b.len(), "seed {seed}");
        for kind in kinds {
            for id in 0..5 {
                for sequence in 0..=publisher.position().sequence {
                    let id = id.to_string();
                    assert_eq!(a.hits(kind, &id, sequence), b.hits(kind, &id, sequence));
                }
            }
        }
    }
}

#[test]
fn a_large_state_is_split_into_parts_that_a_gate_takes() {
    let mut publisher = publisher();
    let many: Vec<Revoke> =
        (0..40_000).map(|n| Revoke::new(Kind::Credential, &n.to_string(), NOW)).collect();
    publisher.advance(&Changes::revoke(many)).unwrap();
    publisher.advance(&Changes::bundle(large_bundle())).unwrap();
    let parts = publisher.snapshot(&feed_key(), NOW).unwrap();
    assert!(parts.len() > 3, "{}", parts.len());
    assert!(parts.iter().all(|part| part.len() <= MAX_PART_BYTES));
    let mut gate = gate();
    let (last, first) = parts.split_last().unwrap();
    for part in first {
        assert_eq!(apply(&mut gate, part), Ok(Applied::Part));
        assert_eq!(gate.position(), None);
    }
    assert_eq!(apply(&mut gate, last), Ok(Applied::Moved(publisher.position())));
    assert_eq!(gate.revocations().unwrap().len(), 40_000);
    let mut grant = grant("299");
    let position = publisher.position();
    assert_eq!(ask(&gate, "299", &token(&grant, position)), Err(Code::InsufficientScope));
    grant.scopes = vec!["0".repeat(128)];
    assert_eq!(ask(&gate, "299", &token(&grant, position)), Ok(()));
    // A part less, and it is not in force.
    let mut without = crate::fixture::gate();
    let kept: Vec<Vec<u8>> = parts.iter().filter(|part| *part != &parts[1]).cloned().collect();
    assert_eq!(load(&mut without, &kept), Err(RefusalCode::Gap));
    assert_eq!(without.position(), None);
}

#[test]
fn a_step_that_fits_no_batch_changes_nothing() {
    let mut publisher = publisher();
    let changes = Changes::bundle(large_bundle());
    let before = publisher.position();
    assert!(matches!(publisher.delta(&changes, &feed_key(), NOW), Err(PublishError::TooLarge)));
    assert_eq!(publisher.position(), before);
    assert_eq!(publisher.index().bundle(), &Bundle::default());
    publisher.advance(&changes).unwrap();
    assert_eq!(publisher.position().sequence, before.sequence + 1);
}

#[test]
fn a_flawed_change_changes_nothing() {
    let mut publisher = publisher();
    let before = publisher.state().clone();
    let mut flawed = bundle(&["a"]);
    flawed.hosts[0].audience = "orders".into();
    let mut no_uri = issuer_entry();
    no_uri.issuer = "issuer".into();
    for changes in [
        Changes::bundle(flawed),
        Changes { keys: Some(vec![no_uri]), ..Changes::default() },
        Changes { keys: Some(vec![issuer_entry(); 9]), ..Changes::default() },
        Changes { root_version: Some(0), ..Changes::default() },
    ] {
        assert!(publisher.delta(&changes, &feed_key(), UnixSeconds(0)).is_err());
        assert_eq!(publisher.state(), &before);
    }
}

#[test]
fn issued_at_never_falls() {
    let mut publisher = publisher();
    let mut gate = gate();
    load(&mut gate, &publisher.snapshot(&feed_key(), NOW).unwrap()).unwrap();
    let delta = publisher.delta(&Changes::default(), &feed_key(), UnixSeconds(NOW.0 - 500));
    assert!(apply(&mut gate, &delta.unwrap()).is_ok());
    let checkpoint = publisher.checkpoint(&feed_key(), UnixSeconds(0)).unwrap();
    assert_eq!(apply(&mut gate, &checkpoint), Ok(Applied::Renewed));
    assert_eq!(gate.age(at(NOW.plus(3))), Some(3000));
}

#[test]
fn a_checkpoint_renews_only_the_position_in_force() {
    let mut publisher = publisher();
    let mut gate = gate();
    load(&mut gate, &publisher.snapshot(&feed_key(), NOW).unwrap()).unwrap();
    let delta = publisher.delta(&Changes::default(), &feed_key(), NOW).unwrap();
    let checkpoint = publisher.checkpoint(&feed_key(), NOW.plus(9)).unwrap();
    assert_eq!(apply(&mut gate, &checkpoint), Err(RefusalCode::Gap));
    assert!(apply(&mut gate, &delta).is_ok());
    assert_eq!(apply(&mut gate, &checkpoint), Ok(Applied::Renewed));
}

#[test]
fn only_the_feed_key_is_believed() {
    let mut publisher = publisher();
    let mut gate = gate();
    let other = SecretKey::from_seed(&[8; 32]).unwrap();
    for key in [other, issuer_key()] {
        let forged = publisher.snapshot(&key, NOW).unwrap();
        assert_eq!(load(&mut gate, &forged), Err(RefusalCode::BadSignature));
    }
    assert!(load(&mut gate, &publisher.snapshot(&feed_key(), NOW).unwrap()).is_ok());
}

#[test]
fn revocations_end_with_the_last_gatepass_and_those_of_keys_stay() {
    let mut publisher = publisher();
    let changes = Changes::revoke(vec![
        Revoke::new(Kind::Credential, "j", NOW),
        Revoke::new(Kind::Key, "k", NOW),
    ]);
    publisher.advance(&changes).unwrap();
    let end = NOW.plus(3660);
    publisher.snapshot(&feed_key(), end).unwrap();
    assert_eq!(publisher.state().revocations.len(), 2);
    publisher.snapshot(&feed_key(), end.plus(1)).unwrap();
    let kinds: Vec<Kind> = publisher.state().revocations.iter().map(|r| r.kind).collect();
    assert_eq!(kinds, [Kind::Key]);
}

#[test]
fn many_revocations_at_once_are_those_that_come_one_by_one() {
    let revoke = |n: u64| Revoke::new(Kind::Credential, &(n % 23).to_string(), NOW.plus(n));
    let (mut at_once, mut one_by_one) = (publisher(), publisher());
    for publisher in [&mut at_once, &mut one_by_one] {
        publisher.advance(&Changes::revoke((20..25).map(revoke).collect())).unwrap();
    }
    at_once.advance(&Changes::revoke((0..60).map(revoke).collect())).unwrap();
    for n in 0..60 {
        one_by_one.advance(&Changes::revoke(vec![revoke(n)])).unwrap();
    }
    let all = &at_once.state().revocations;
    assert_eq!(all.len(), 23);
    assert_eq!(*all, one_by_one.state().revocations);
}

/// A publisher with a cohort, and a gate of each audience that has its snapshot.
fn with_canary() -> (Publisher, Gate, Gate) {
    let mut publisher = publisher();
    publisher.advance(&Changes::bundle(bundle(&["a"]))).unwrap();
    let begin = vec![("canary".to_owned(), ToCohort::Begin)];
    publisher.advance(&Changes { cohorts: begin, ..Changes::default() }).unwrap();
    let (mut main, mut canary) = (gate(), crate::fixture::gate_of_audience("canary"));
    load(&mut main, &publisher.snapshot(&feed_key(), NOW).unwrap()).unwrap();
    let parts = publisher.snapshot_for("canary", &feed_key(), NOW).unwrap();
    load(&mut canary, &parts).unwrap();
    (publisher, main, canary)
}

fn in_canary(change: ToCohort) -> Vec<(String, ToCohort)> {
    vec![("canary".to_owned(), change)]
}

#[test]
fn a_policy_too_large_for_a_delta_costs_the_other_audiences_none() {
    let (mut publisher, mut main, mut canary) = with_canary();
    let changes =
        Changes { cohorts: in_canary(ToCohort::Own(large_bundle())), ..revoke(Kind::Task, "t1") };
    let carried = publisher.deltas(&changes, &feed_key(), NOW).unwrap();
    let [of_main, of_canary] = carried.as_slice() else { panic!("{carried:?}") };
    assert_eq!((of_main.cohort.as_deref(), of_canary.cohort.as_deref()), (None, Some("canary")));
    assert!(of_canary.delta.is_none(), "it fetches a snapshot");
    apply(&mut main, of_main.delta.as_ref().unwrap()).unwrap();
    let parts = publisher.snapshot_for("canary", &feed_key(), NOW).unwrap();
    assert!(parts.len() > 1);
    load(&mut canary, &parts).unwrap();
    // Whichever way it came, what is revoked is revoked.
    let before = Position { sequence: publisher.position().sequence - 1, ..publisher.position() };
    let token = token(&grant("a"), before);
    assert_eq!(ask(&main, "a", &token), Err(Code::RevokedTask));
    assert_eq!(main.position(), canary.position());
    let revoked = |gate: &Gate| {
        let table = gate.revocations().unwrap();
        table.hits(Kind::Task, "t1", 0)
    };
    assert!(revoked(&main) && revoked(&canary));
}

#[test]
fn a_step_that_is_refused_for_one_audience_is_taken_for_none() {
    let (mut publisher, ..) = with_canary();
    let at = publisher.position();
    for (name, change) in [
        ("nowhere", ToCohort::OfAll),
        ("nowhere", ToCohort::End),
        ("canary", ToCohort::Begin),
        ("prod", ToCohort::Begin),
    ] {
        let changes =
            Changes { cohorts: vec![(name.to_owned(), change)], ..revoke(Kind::Task, "t1") };
        assert!(publisher.deltas(&changes, &feed_key(), NOW).is_err(), "{name}");
        assert_eq!(publisher.position(), at);
        assert!(!publisher.hits(Kind::Task, "t1", 0));
    }
    // The twin.
    let changes = Changes { cohorts: in_canary(ToCohort::OfAll), ..revoke(Kind::Task, "t1") };
    publisher.deltas(&changes, &feed_key(), NOW).unwrap();
    assert!(publisher.hits(Kind::Task, "t1", 0));
    let end = Changes { cohorts: in_canary(ToCohort::End), ..Changes::default() };
    assert_eq!(publisher.deltas(&end, &feed_key(), NOW).unwrap().len(), 1);
    assert!(publisher.checkpoint_for("canary", &feed_key(), NOW).is_err());
    assert!(publisher.snapshot_for("canary", &feed_key(), NOW).is_err());
}

#[test]
fn checkpoints_and_snapshots_are_of_one_audience() {
    let (mut publisher, mut main, mut canary) = with_canary();
    let later = NOW.plus(9);
    let for_main = publisher.checkpoint(&feed_key(), later).unwrap();
    let for_canary = publisher.checkpoint_for("canary", &feed_key(), later).unwrap();
    assert_eq!(apply(&mut main, &for_canary), Err(RefusalCode::WrongAudience));
    assert_eq!(apply(&mut canary, &for_main), Err(RefusalCode::WrongAudience));
    assert_eq!(apply(&mut main, &for_main), Ok(Applied::Renewed));
    assert_eq!(apply(&mut canary, &for_canary), Ok(Applied::Renewed));
}
