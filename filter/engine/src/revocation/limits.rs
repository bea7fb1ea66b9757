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
fn a_key_that_is_a_hash_is_hashed_to_itself() {
    let hash = |write: fn(&mut AlreadyHashed)| {
        let mut hasher = AlreadyHashed::default();
        write(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(|hasher| hasher.write_u64(0x0123_4567_89ab_cdef)), 0x0123_4567_89ab_cdef);
    assert_eq!(hash(|hasher| hasher.write(&[0x12, 0x34, 0x34])), 0x12_3434);
    // Where there are more bytes than a hash has, the first ones still count.
    let nine = hash(|hasher| hasher.write(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0x81]));
    assert_eq!(nine, 0x01);
}
