use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::fixture::{AGENT, NOW, ask, at, bundle, gate_of, grant, large_bundle, store};
use crate::keys::Signer;
use crate::roots::{sign, successor};
use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::revocation::Kind;
use gatepass_engine::root::Role;
use gatepass_engine::{Code, Gate, Milliseconds};

fn agent() -> Vec<Revoke> {
    vec![Revoke::new(Kind::Agent, AGENT, NOW)]
}

/// Asks as a follower does and applies what it is told; how many envelopes that were.
fn follow(store: &mut Store, gate: &mut Gate, now: UnixSeconds) -> usize {
    match store.news(gate.position(), now).unwrap() {
        News::Nothing => 0,
        News::Ahead => panic!("ahead"),
        News::Batches(batches) => {
            for batch in &batches {
                gate.apply(batch, Milliseconds(0), at(now)).unwrap();
            }
            batches.len()
        }
    }
}

fn again(store: &Store) -> Store {
    Store::open(store.dir()).unwrap()
}

#[test]
fn nobody_else_reaches_the_directory_and_root_keys_are_not_in_it() {
    let (dir, store) = store();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.dir()), 0o700);
    for name in ["feed.key", "issuer.key", "gatepass.json", "roots/1.json"] {
        assert_eq!(mode(&store.dir().join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&dir.path().join("gp-root/root-1.key")), 0o600);
    assert!(!store.dir().join("root-1.key").exists());
}

#[test]
fn a_directory_with_anything_in_it_is_left_alone() {
    let (_dir, store) = store();
    let mut setup = Setup::new(store.dir(), "prod", "prod", "https://issuer.example");
    setup.root_dir = store.dir().join("other");
    let refused = Store::create(store.dir(), &setup, NOW);
    assert!(matches!(refused, Err(StoreError::NotEmpty(_))));
    assert!(!setup.root_dir.exists());
}

#[test]
fn a_setup_that_could_not_work_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gp");
    let good = Setup::new(&path, "prod", "prod", "https://issuer.example");
    for bad in [
        Setup { environment: String::new(), ..good.clone() },
        Setup { audience: "a b".into(), ..good.clone() },
        Setup { issuer: "issuer".into(), ..good.clone() },
        Setup { threshold: 2, ..good.clone() },
        Setup { threshold: 0, ..good.clone() },
        Setup { root_keys: 9, ..good.clone() },
    ] {
        assert!(matches!(Store::create(&path, &bad, NOW), Err(StoreError::Setup(_))));
    }
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    let strict = Setup { root_keys: 3, threshold: 2, ..good };
    assert_eq!(Store::create(&path, &strict, NOW).unwrap().pinned_roots().unwrap().threshold, 2);
}

#[test]
fn a_follower_gets_a_snapshot_and_then_the_deltas_that_join_on() {
    let (_dir, mut store) = store();
    let mut gate = gate_of(&store);
    assert_eq!(follow(&mut store, &mut gate, NOW), 1);
    assert_eq!(follow(&mut store, &mut gate, NOW), 0);
    store.publish(bundle(&["a"]), NOW).unwrap();
    let token = store.issue(&grant("a"), NOW).unwrap();
    assert_eq!(follow(&mut store, &mut gate, NOW), 1);
    assert_eq!(ask(&gate, "a", &token), Ok(()));
    store.revoke(agent(), NOW).unwrap();
    store.publish(bundle(&["a", "b"]), NOW).unwrap();
    assert_eq!(follow(&mut store, &mut gate, NOW), 2);
    assert_eq!(ask(&gate, "a", &token), Err(Code::RevokedAgent));
    assert_eq!(gate.position(), Some(store.position()));
    let token = store.issue(&grant("b"), NOW).unwrap();
    assert_eq!(ask(&gate, "b", &token), Ok(()));
}

#[test]
fn old_deltas_are_followed_by_a_checkpoint() {
    let (_dir, mut store) = store();
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW);
    store.revoke(agent(), NOW).unwrap();
    assert_eq!(follow(&mut store, &mut gate, NOW.plus(25)), 2);
    assert_eq!(gate.age(at(NOW.plus(25))), Some(0));
}

#[test]
fn a_follower_that_is_too_far_back_gets_a_snapshot() {
    let (_dir, mut store) = store();
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW);
    let snapshot = |store: &mut Store, after: Position| {
        let News::Batches(batches) = store.news(Some(after), NOW).unwrap() else { panic!("news") };
        let envelope = Unverified::from_postcard(&batches[0]).unwrap();
        Batch::decode(envelope.unverified_payload()).unwrap().header.from == 0
    };
    let first = store.position();
    store.revoke(agent(), NOW).unwrap();
    assert!(!snapshot(&mut store, first));
    let other_epoch = Position { epoch: first.epoch - 1, sequence: 1 };
    assert!(snapshot(&mut store, other_epoch));
    let below_base = Position { sequence: 0, ..first };
    assert!(snapshot(&mut store, below_base));
    let half = NOW.plus(crate::publish::DEFAULT_BATCH_LIFE / 2);
    assert!(store.deltas_since(first, UnixSeconds(half.0 - 1)).is_some());
    assert!(store.deltas_since(first, half).is_none());
    for _ in 0..MAX_DELTAS {
        store.change(&Changes::default(), NOW).unwrap();
    }
    assert!(snapshot(&mut store, first));
    assert_eq!(store.deltas.len(), MAX_DELTAS);
    assert_eq!(again(&store).deltas.len(), MAX_DELTAS);
}

#[test]
fn a_step_that_fits_no_delta_is_told_as_a_snapshot() {
    let (_dir, mut store) = store();
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW);
    store.publish(large_bundle(), NOW).unwrap();
    assert!(follow(&mut store, &mut gate, NOW) > 1);
    assert_eq!(gate.position(), Some(store.position()));
    store.revoke(agent(), NOW).unwrap();
    assert_eq!(follow(&mut store, &mut gate, NOW), 1);
}

#[test]
fn what_one_process_writes_the_other_reads() {
    let (_dir, mut store) = store();
    let mut other = again(&store);
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW);
    other.publish(bundle(&["a"]), NOW).unwrap();
    let token = other.issue(&grant("a"), NOW).unwrap();
    assert!(store.refresh().unwrap());
    assert!(!store.refresh().unwrap());
    follow(&mut store, &mut gate, NOW);
    assert_eq!(ask(&gate, "a", &token), Ok(()));
    other.revoke(agent(), NOW).unwrap();
    // Without having looked in between: no position is used twice.
    store.publish(bundle(&["a", "b"]), NOW).unwrap();
    assert_eq!(follow(&mut store, &mut gate, NOW), 2);
    assert_eq!(ask(&gate, "a", &token), Err(Code::RevokedAgent));
    assert!(gate.index().unwrap().bundle().actions.len() == 2);
}

#[test]
fn issued_at_never_falls_across_processes() {
    let (_dir, mut store) = store();
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW);
    let here = store.position();
    let News::Batches(checkpoint) = store.freshness(here, NOW.plus(20)).unwrap() else {
        panic!("a checkpoint")
    };
    gate.apply(&checkpoint[0], Milliseconds(0), at(NOW.plus(20))).unwrap();
    // The other process's clock is behind; its delta must apply all the same.
    let mut other = again(&store);
    other.revoke(agent(), NOW).unwrap();
    store.refresh().unwrap();
    assert_eq!(follow(&mut store, &mut gate, NOW), 1);
    assert_eq!(gate.position(), Some(other.position()));
}

#[test]
fn a_checkpoint_is_signed_once_a_second_and_never_for_a_position_that_is_over() {
    let (_dir, mut store) = store();
    let here = store.position();
    let first = store.freshness(here, NOW).unwrap();
    assert_eq!(store.freshness(here, NOW).unwrap(), first);
    assert_ne!(store.freshness(here, NOW.plus(1)).unwrap(), first);
    again(&store).revoke(agent(), NOW).unwrap();
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW.plus(1));
    let News::Batches(batches) = store.freshness(here, NOW.plus(2)).unwrap() else {
        panic!("news")
    };
    let envelope = Unverified::from_postcard(&batches[0]).unwrap();
    let header = Batch::decode(envelope.unverified_payload()).unwrap().header;
    assert_eq!((header.from, header.to), (here.sequence, here.sequence + 1));
}

#[test]
fn a_follower_ahead_of_the_store_is_noticed() {
    let (_dir, mut store) = store();
    let here = store.position();
    let next = Position { sequence: here.sequence + 1, ..here };
    assert_eq!(store.news(Some(next), NOW).unwrap(), News::Ahead);
    let epoch = Position { epoch: here.epoch + 1, sequence: 1 };
    assert_eq!(store.news(Some(epoch), NOW).unwrap(), News::Ahead);
    // Unless it is only this process that has not looked.
    again(&store).revoke(agent(), NOW).unwrap();
    assert_eq!(store.news(Some(next), NOW).unwrap(), News::Nothing);
}

#[test]
fn a_root_that_resets_brings_back_a_follower_that_a_thief_sent_ahead() {
    let (dir, mut store) = store();
    let ahead = Position { sequence: 1_000_000, ..store.position() };
    assert_eq!(store.news(Some(ahead), NOW).unwrap(), News::Ahead);
    let old = unverified_document(&store.roots()[0]).unwrap();
    let root = SecretKey::load(&dir.path().join("gp-root/root-1.key"), KeyRole::Root).unwrap();
    let keys = [(Role::Feed, store.feed_key.public()), (Role::Issuer, store.issuer_key.public())];
    let mut document = successor(&old, &keys, NOW.plus(1000));
    document.reset = true;
    let signers: [&dyn Signer; 1] = [&root];
    store.adopt_root(sign(&document, &signers, NOW).unwrap(), NOW).unwrap();
    assert!(matches!(store.news(Some(ahead), NOW).unwrap(), News::Batches(_)));
}

#[test]
fn a_newer_root_is_a_step_of_its_own() {
    let (dir, mut store) = store();
    let mut gate = gate_of(&store);
    follow(&mut store, &mut gate, NOW);
    store.publish(bundle(&["a"]), NOW).unwrap();
    let token = store.issue(&grant("a"), NOW).unwrap();
    follow(&mut store, &mut gate, NOW);
    assert_eq!(ask(&gate, "a", &token), Ok(()));
    // The next root names the feed key and no issuer: every gatepass is dead.
    let old = unverified_document(&store.roots()[0]).unwrap();
    let root = SecretKey::load(&dir.path().join("gp-root/root-1.key"), KeyRole::Root).unwrap();
    let document = successor(&old, &[(Role::Feed, store.feed_key.public())], NOW.plus(1000));
    let forged = sign(&document, &[&store.issuer_key], NOW).unwrap();
    assert!(matches!(store.adopt_root(forged, NOW), Err(StoreError::Root(_))));
    assert_eq!(store.roots().len(), 1);
    let signers: [&dyn Signer; 1] = [&root];
    store.adopt_root(sign(&document, &signers, NOW).unwrap(), NOW).unwrap();
    let News::Batches(batches) = store.news(gate.position(), NOW).unwrap() else { panic!("news") };
    let refused = gate.apply(&batches[0], Milliseconds(0), at(NOW)).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Gap, "the root must come with it");
    let roots: Vec<&[u8]> = store.roots().iter().map(String::as_bytes).collect();
    gate.take_roots(&roots, NOW).unwrap();
    follow(&mut store, &mut gate, NOW);
    assert_eq!(gate.position(), Some(store.position()));
    assert_eq!(ask(&gate, "a", &token), Err(Code::UnknownKey));
    assert_eq!(again(&store).roots().len(), 2);
}

#[test]
fn a_damaged_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NoStore(_))));
    let (_dir, mut store) = store();
    store.publish(bundle(&["a"]), NOW).unwrap();
    for name in ["gatepass.json", "bundles/2.bundle", "batches/2.batch"] {
        let path = store.dir().join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[1..]).unwrap();
        assert!(matches!(Store::open(store.dir()), Err(StoreError::Corrupt(_))), "{name}");
        std::fs::write(&path, &good).unwrap();
        assert!(Store::open(store.dir()).is_ok(), "{name}");
    }
}
