//! The `log`: the one shared value from which any VM, new or asleep for any number of publishes,
//! rebuilds the newest state. It is transport: nothing in it is believed without its signature.

use gatepass_engine::batch::at_most;
use gatepass_engine::clock::Milliseconds;
use gatepass_engine::root::MAX_DOCUMENTS;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::configuration::Prefix;
use crate::shared::{SharedData, When};

/// The value of the key `log`, postcard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The chain of root documents, from the pinned keys on.
    #[serde(deserialize_with = "at_most::<MAX_DOCUMENTS, _, _>")]
    pub roots: Vec<Vec<u8>>,
    /// The parts of the newest snapshot.
    #[serde(deserialize_with = "at_most::<MAX_ENVELOPES, _, _>")]
    pub base: Vec<Stored>,
    /// The batches since.
    #[serde(deserialize_with = "at_most::<MAX_ENVELOPES, _, _>")]
    pub deltas: Vec<Stored>,
    /// The newest proof of freshness.
    pub checkpoint: Option<Stored>,
}

/// One envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// When this Envoy received it, on the monotonic clock that its VMs share.
    pub received: Milliseconds,
    pub digest: EnvelopeDigest,
    pub place: Place,
}

/// SHA-256 of an envelope's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvelopeDigest(pub [u8; 32]);

impl EnvelopeDigest {
    #[must_use]
    pub fn of(envelope: &[u8]) -> Self {
        Self(Sha256::digest(envelope).into())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Here(Vec<u8>),
    /// In a key of a bank.
    Bank(BankKey),
}

/// A key for a large envelope. Each VM writes to its own two banks alone, in turn: a former leader
/// that wakes up late cannot overwrite what the newest log points at, and a VM that still reads an
/// older log is not cut short by the next base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankKey {
    /// The place of the VM that wrote it ([`crate::positions`]).
    pub owner: u8,
    pub bank: u8,
    pub number: u16,
}

/// The value does not decode, or breaks a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared log does not decode")]
pub struct NotALog;

impl Log {
    /// # Errors
    /// [`NotALog`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NotALog> {
        if bytes.len() > MAX_LOG_BYTES {
            return Err(NotALog);
        }
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((log, [])) if log.len() <= MAX_ENVELOPES => Ok(log),
            _ => Err(NotALog),
        }
    }

    /// `None` when it could not be written, which memory does not do.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok().filter(|bytes| bytes.len() <= MAX_LOG_BYTES)
    }

    /// All envelopes in the order in which they apply.
    pub fn envelopes(&self) -> impl Iterator<Item = &Stored> {
        self.base.iter().chain(&self.deltas).chain(&self.checkpoint)
    }

    #[must_use]
    pub fn holds(&self, digest: EnvelopeDigest) -> bool {
        self.envelopes().any(|stored| stored.digest == digest)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.envelopes().count()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_empty() && self.deltas.is_empty() && self.checkpoint.is_none()
    }

    /// Whether the deltas have outgrown their bound, so that a new base is due.
    #[must_use]
    pub fn wants_base(&self) -> bool {
        let inline: usize = self.deltas.iter().map(Stored::inline_bytes).sum();
        inline > MAX_DELTA_BYTES || self.len() > MAX_ENVELOPES / 2
    }

    /// The bytes of one envelope; `None` when its key is missing or holds something else.
    pub fn fetch(stored: &Stored, data: &mut impl SharedData, prefix: &Prefix) -> Option<Vec<u8>> {
        let bytes = match &stored.place {
            Place::Here(bytes) => bytes.clone(),
            Place::Bank(key) => data.read(&key.name(prefix))?.0,
        };
        (EnvelopeDigest::of(&bytes) == stored.digest).then_some(bytes)
    }

    /// Makes the entry of an envelope, writing it to the bank first when it is large.
    pub fn store(
        key: BankKey,
        envelope: &[u8],
        received: Milliseconds,
        data: &mut impl SharedData,
        prefix: &Prefix,
    ) -> Option<Stored> {
        let digest = EnvelopeDigest::of(envelope);
        if envelope.len() <= MAX_INLINE_BYTES {
            return Some(Stored { received, digest, place: Place::Here(envelope.to_vec()) });
        }
        data.write(&key.name(prefix), envelope, When::Always).ok()?;
        Some(Stored { received, digest, place: Place::Bank(key) })
    }

    /// The bank that this log's envelopes of `owner` lie in, if any do.
    #[must_use]
    pub fn bank_of(&self, owner: u8) -> Option<u8> {
        self.envelopes().find_map(|stored| match &stored.place {
            Place::Bank(key) if key.owner == owner => Some(key.bank),
            Place::Bank(_) | Place::Here(_) => None,
        })
    }
}

impl Stored {
    fn inline_bytes(&self) -> usize {
        match &self.place {
            Place::Here(bytes) => bytes.len(),
            // What it costs in `log` is its digest.
            Place::Bank(_) => 64,
        }
    }
}

impl BankKey {
    fn name(self, prefix: &Prefix) -> String {
        prefix.key(&format!("b{}.{}.{}", self.owner, self.bank & 1, self.number))
    }
}

/// Bytes of `log` that are read at all.
const MAX_LOG_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of deltas beyond which a new base is due.
const MAX_DELTA_BYTES: usize = 64 * 1024;
/// An envelope above it lies in a key of its own.
const MAX_INLINE_BYTES: usize = 8 * 1024;
/// Envelopes in one log.
pub const MAX_ENVELOPES: usize = 2_048;
