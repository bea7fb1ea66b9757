//! What a table says of itself: its key, its size, its room, and how it finds what it holds.

use super::*;

fn revocation(key: u64) -> Revocation {
    Revocation { kind: Kind::Task, key, below: Below::Always, drop_after: UnixSeconds(100) }
}

#[test]
fn a_hash_key_is_named_by_the_first_bytes_of_its_digest() {
    // SHA-256 of 16 zero bytes begins with 37 47 08 ff f7 71 9d d5.
    let zeros = HashKey::new("prod", &[0; 16]);
    assert_eq!(zeros.id(), 0xd59d_71f7_ff08_4737);
    assert_ne!(HashKey::new("prod", &[1; 16]).id(), zeros.id());
}

#[test]
fn a_table_counts_what_it_holds_once() {
    let mut table = Revocations::new(HashKey::new("prod", &[0; 16]), 0);
    assert!(table.is_empty());
    assert_eq!(table.len(), 0);
    for (key, len) in [(7, 1), (7, 1), (8, 2), (9, 3)] {
        table.insert(&revocation(key));
        assert_eq!(table.len(), len);
        assert!(!table.is_empty());
    }
}

#[test]
fn a_table_has_room_to_its_limit_and_for_what_it_holds_already() {
    let mut table = Revocations::new(HashKey::new("prod", &[0; 16]), MAX_REVOCATIONS);
    let [known, last, beyond] = [1, u64::MAX - 1, u64::MAX].map(revocation);
    assert!(table.has_room_for(&[]));
    (1..MAX_REVOCATIONS as u64).for_each(|key| table.insert(&revocation(key)));
    assert!(table.has_room_for(&[last, known]));
    assert!(!table.has_room_for(&[last, beyond]));
    table.insert(&last);
    assert_eq!(table.len(), MAX_REVOCATIONS);
    assert!(table.has_room_for(&[known, last]));
    assert!(!table.has_room_for(&[beyond]));
}

#[test]
fn it_holds_what_a_plain_map_holds_through_growing_and_ending() {
    let mut table = Revocations::new(HashKey::new("prod", &[0; 16]), 0);
    let mut plain = std::collections::BTreeMap::<u64, (Below, u64)>::new();
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random >> 20
    };
    let find = |table: &Revocations, key| table.table.find(key);
    for round in 0..200_u64 {
        for _ in 0..500 {
            // Few enough keys that some come again.
            let key = next() % 40_000;
            let below = match next() % 3 {
                0 => Below::Always,
                _ => Below::Sequence(next() % 9),
            };
            let drop_after = round + next() % 40;
            let new =
                Revocation { kind: Kind::Agent, key, below, drop_after: UnixSeconds(drop_after) };
            table.insert(&new);
            let old = plain.entry(key.max(1)).or_insert((below, drop_after));
            *old = (stricter(old.0, below), old.1.max(drop_after));
        }
        let stays = [7, 8];
        table.table.end(UnixSeconds(round), &stays, usize::MAX);
        plain.retain(|key, (_, drop_after)| round <= *drop_after || stays.contains(key));
        assert_eq!(table.len(), plain.len(), "round {round}");
        for key in 1..40_000 {
            assert_eq!(find(&table, key), plain.get(&key).map(|(below, _)| *below), "{key}");
        }
    }
}

#[test]
fn a_large_table_ends_a_share_with_each_batch_and_all_of_it_in_some() {
    let mut table = Revocations::new(HashKey::new("prod", &[0; 16]), 0);
    (1..=100_000).for_each(|key| table.insert(&revocation(key)));
    table.end(UnixSeconds(100), &[]);
    assert_eq!(table.len(), 100_000, "none is over");
    table.end(UnixSeconds(101), &[]);
    let left = table.len();
    assert!((70_000..90_000).contains(&left), "{left}");
    (0..8).for_each(|_| table.end(UnixSeconds(101), &[]));
    assert!(table.is_empty());
}

#[test]
fn what_lies_beyond_the_numbers_of_a_slot_never_ends_and_is_found() {
    let mut table = Revocations::new(HashKey::new("prod", &[0; 16]), 0);
    let far = Revocation { drop_after: UnixSeconds(u64::MAX), ..revocation(0) };
    let high = Revocation { below: Below::Sequence(u64::MAX), ..revocation(u64::MAX) };
    table.insert(&far);
    table.insert(&high);
    assert_eq!(table.table.find(0), Some(Below::Always), "a hash of zero is one like others");
    assert_eq!(table.table.find(u64::MAX), Some(Below::Sequence(u64::MAX)));
    table.end(UnixSeconds(u64::MAX), &[]);
    assert_eq!(table.len(), 1);
    assert_eq!(table.table.find(0), Some(Below::Always));
}
