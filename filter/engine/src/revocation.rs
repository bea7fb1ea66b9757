//! The revocations in force: compact, bounded, self-ending, and compared by position.
//!
//! A revocation names what it hits by a 64-bit SipHash-2-4 of (environment, kind, id). A collision
//! can only deny, and the denial says so. No clock decides: a revocation with `below` kills every
//! gatepass whose `seq` is below it.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::clock::UnixSeconds;

/// What a revocation hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A `jti`; also matched against `anc`.
    Credential,
    Task,
    Key,
    Subject,
    Agent,
    Owner,
    Blueprint,
}

/// Which gatepasses of the named thing are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Below {
    /// Those issued at a sequence below this one; the thing can come back.
    Sequence(u64),
    /// All, for good.
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub kind: Kind,
    /// [`HashKey::hash`] of the id.
    pub key: u64,
    pub below: Below,
    /// The latest `exp` that this can hit, plus 60 s.
    pub drop_after: UnixSeconds,
}

/// The `Revocations` change of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Stated in each snapshot, absent in a delta.
    pub hash_key: Option<[u8; 16]>,
    /// How many revocations the table must hold after all parts; sizes it beforehand.
    pub total: u32,
    pub items: Vec<Revocation>,
}

/// The hash key of one epoch, bound to one environment.
#[derive(Clone, Debug)]
pub struct HashKey {
    hasher: SipHasher24,
    id: u64,
    environment: String,
}

impl HashKey {
    #[must_use]
    pub fn new(environment: &str, key: &[u8; 16]) -> Self {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let id = digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        Self { hasher: SipHasher24::new_with_key(key), id, environment: environment.to_owned() }
    }

    /// What a batch's `hash_key_id` must be: the first 8 bytes of the key's SHA-256, little endian.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// SipHash-2-4 of the environment's length and bytes, the kind, and the id.
    #[must_use]
    pub fn hash(&self, kind: Kind, id: &str) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(&(self.environment.len() as u64).to_le_bytes());
        hasher.write(self.environment.as_bytes());
        hasher.write(&[kind as u8]);
        hasher.write(id.as_bytes());
        hasher.finish()
    }
}

/// The table in force.
#[derive(Clone, Debug)]
pub struct Revocations {
    hash_key: HashKey,
    table: HashMap<u64, Rule, BuildHasherDefault<AlreadyHashed>>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    kind: Kind,
    below: Below,
    drop_after: UnixSeconds,
}

impl Revocations {
    #[must_use]
    pub fn new(hash_key: HashKey, total: usize) -> Self {
        let table = HashMap::with_capacity_and_hasher(
            total.min(MAX_REVOCATIONS),
            BuildHasherDefault::default(),
        );
        Self { hash_key, table }
    }

    #[must_use]
    pub const fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether what is new in `items` fits beside those in force.
    #[must_use]
    pub fn has_room_for(&self, items: &[Revocation]) -> bool {
        let new = items.iter().filter(|item| !self.table.contains_key(&item.key)).count();
        self.table.len().saturating_add(new) <= MAX_REVOCATIONS
    }

    /// Merges one in: of two for the same thing the stricter holds. Never takes one away.
    pub fn insert(&mut self, new: &Revocation) {
        let rule = Rule { kind: new.kind, below: new.below, drop_after: new.drop_after };
        self.table
            .entry(new.key)
            .and_modify(|old| {
                old.below = stricter(old.below, rule.below);
                old.drop_after = old.drop_after.max(rule.drop_after);
            })
            .or_insert(rule);
    }

    /// Whether a gatepass of this thing, issued at `sequence` of the epoch in force, is dead.
    #[must_use]
    pub fn hits(&self, kind: Kind, id: &str, sequence: u64) -> bool {
        self.hits_hash(self.hash_key.hash(kind, id), sequence)
    }

    /// The same of a thing whose hash is known.
    #[must_use]
    pub fn hits_hash(&self, hash: u64, sequence: u64) -> bool {
        match self.table.get(&hash).map(|rule| rule.below) {
            None => false,
            Some(Below::Always) => true,
            Some(Below::Sequence(below)) => sequence < below,
        }
    }

    /// Ends those whose time is past by the newest accepted `issued_at`, never by our own clock.
    /// `stays` are the hashes of keys that the root still names: their revocations never end.
    pub fn end(&mut self, issued_at: UnixSeconds, stays: &[u64]) {
        self.table.retain(|key, rule| {
            issued_at <= rule.drop_after || (rule.kind == Kind::Key && stays.contains(key))
        });
    }
}

fn stricter(a: Below, b: Below) -> Below {
    match (a, b) {
        (Below::Sequence(a), Below::Sequence(b)) => Below::Sequence(a.max(b)),
        (Below::Always, _) | (_, Below::Always) => Below::Always,
    }
}

/// The keys are hashes already; hashing them again would cost and add nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Revocations in force at once; about 40 bytes each.
pub const MAX_REVOCATIONS: usize = 1 << 20;

#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Revocations {
        Revocations::new(HashKey::new("prod", &[1; 16]), 4)
    }

    fn revocation(
        table: &Revocations,
        kind: Kind,
        id: &str,
        below: Below,
        drop_after: u64,
    ) -> Revocation {
        Revocation {
            kind,
            key: table.hash_key().hash(kind, id),
            below,
            drop_after: UnixSeconds(drop_after),
        }
    }

    #[test]
    fn a_revocation_hits_what_was_issued_below_it_and_nothing_else() {
        let mut table = table();
        table.insert(&revocation(&table, Kind::Agent, "agent:a", Below::Sequence(10), 100));
        assert!(table.hits(Kind::Agent, "agent:a", 9));
        assert!(!table.hits(Kind::Agent, "agent:a", 10));
        assert!(!table.hits(Kind::Agent, "agent:b", 9));
        assert!(!table.hits(Kind::Subject, "agent:a", 9));
    }

    #[test]
    fn the_stricter_of_two_holds_in_either_order() {
        for swap in [false, true] {
            let mut table = table();
            let mut both = [
                revocation(&table, Kind::Owner, "o", Below::Sequence(10), 100),
                revocation(&table, Kind::Owner, "o", Below::Sequence(5), 200),
            ];
            if swap {
                both.reverse();
            }
            both.iter().for_each(|r| table.insert(r));
            assert!(table.hits(Kind::Owner, "o", 9));
            table.end(UnixSeconds(150), &[]);
            assert!(table.hits(Kind::Owner, "o", 9), "the later end holds");
        }
    }

    #[test]
    fn it_ends_only_past_drop_after_and_a_named_keys_never() {
        let mut table = table();
        table.insert(&revocation(&table, Kind::Credential, "j", Below::Always, 100));
        table.insert(&revocation(&table, Kind::Key, "k", Below::Always, 100));
        let named = table.hash_key().hash(Kind::Key, "k");
        table.end(UnixSeconds(100), &[named]);
        assert!(table.hits(Kind::Credential, "j", 1));
        table.end(UnixSeconds(101), &[named]);
        assert!(!table.hits(Kind::Credential, "j", 1));
        assert!(table.hits(Kind::Key, "k", 1));
        table.end(UnixSeconds(101), &[]);
        assert!(!table.hits(Kind::Key, "k", 1));
    }

    #[test]
    fn the_environment_is_part_of_the_hash() {
        let prod = HashKey::new("prod", &[1; 16]);
        let dev = HashKey::new("dev", &[1; 16]);
        assert_ne!(prod.hash(Kind::Agent, "a"), dev.hash(Kind::Agent, "a"));
        assert_eq!(prod.id(), dev.id());
    }
}
