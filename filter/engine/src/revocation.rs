//! The revocations in force: compact, bounded, self-ending, and compared by position.
//!
//! A revocation names what it hits by a 64-bit SipHash-2-4 of (environment, kind, id). A collision
//! can only deny, and the denial says so. No clock decides: a revocation with `below` kills every
//! gatepass whose `seq` is below it.

use core::hash::Hasher;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::clock::UnixSeconds;

mod table;

use table::Table;

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
    table: Table,
}

impl Revocations {
    #[must_use]
    pub fn new(hash_key: HashKey, total: usize) -> Self {
        Self { hash_key, table: Table::new(total.min(MAX_REVOCATIONS)) }
    }

    #[must_use]
    pub const fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.table.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Whether what is new in `items` fits beside those in force.
    #[must_use]
    pub fn has_room_for(&self, items: &[Revocation]) -> bool {
        let new = items.iter().filter(|item| self.table.find(item.key).is_none()).count();
        self.table.len().saturating_add(new) <= MAX_REVOCATIONS
    }

    /// Whether what is over must go before more is taken in.
    #[must_use]
    pub const fn is_nearly_full(&self) -> bool {
        self.table.len() > NEARLY_FULL
    }

    /// Merges one in: of two for the same thing the stricter holds. Never takes one away.
    pub fn insert(&mut self, new: &Revocation) {
        self.table.insert(new);
    }

    /// Whether a gatepass of this thing, issued at `sequence` of the epoch in force, is dead.
    #[must_use]
    pub fn hits(&self, kind: Kind, id: &str, sequence: u64) -> bool {
        self.hits_hash(self.hash_key.hash(kind, id), sequence)
    }

    /// The same of a thing whose hash is known.
    #[must_use]
    pub fn hits_hash(&self, hash: u64, sequence: u64) -> bool {
        match self.table.find(hash) {
            None => false,
            Some(Below::Always) => true,
            Some(Below::Sequence(below)) => sequence < below,
        }
    }

    /// Ends those whose time is past by the newest accepted `issued_at`, never by our own clock: a share of
    /// a large table, since what is over does no harm, and a larger one of what is nearly full.
    /// `stays` are the hashes of keys that the root still names: their revocations never end.
    pub fn end(&mut self, issued_at: UnixSeconds, stays: &[u64]) {
        let most = if self.is_nearly_full() { ENDED_WHEN_FULL } else { ENDED_AT_ONCE };
        self.table.end(issued_at, stays, most);
    }
}

fn stricter(a: Below, b: Below) -> Below {
    match (a, b) {
        (Below::Sequence(a), Below::Sequence(b)) => Below::Sequence(a.max(b)),
        (Below::Always, _) | (_, Below::Always) => Below::Always,
    }
}

/// Revocations in force at once; 12 bytes each, 24 more where it ends at a sequence, and room between them.
pub const MAX_REVOCATIONS: usize = 1 << 20;
const NEARLY_FULL: usize = MAX_REVOCATIONS / 8 * 7;
/// Revocations that one batch looks at to end them.
const ENDED_AT_ONCE: usize = 1 << 14;
const ENDED_WHEN_FULL: usize = 1 << 17;

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
