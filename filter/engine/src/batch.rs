//! The batch: one signed message of the feed, as bytes.
//!
//! The three changes are byte strings of their own, decoded and applied apart, so that a bundle
//! that does not decode never costs a revocation.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::UnixSeconds;
use crate::position::Position;
use crate::refusal::{Refusal, RefusalCode};
use crate::root::MAX_DOCUMENTS;

/// The fixed header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub environment: String,
    pub feed_audience: String,
    /// The root document under which it was signed.
    pub root_version: u64,
    pub epoch: u64,
    /// 0 for a snapshot; `to` for a checkpoint; else the sequence that a delta starts from.
    pub from: u64,
    pub to: u64,
    /// From 0.
    pub part: u16,
    pub parts: u16,
    /// SHA-256 over the parts' digests, in order.
    pub whole_digest: [u8; 32],
    pub hash_key_id: u64,
    pub issued_at: UnixSeconds,
    pub expires_at: UnixSeconds,
    /// The lowest [`crate::FILTER_LEVEL`] that may apply it.
    pub min_filter: u32,
    pub audit_head: Option<[u8; 32]>,
}

/// What a batch is, by its header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Snapshot,
    Delta,
    Checkpoint,
}

impl Header {
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.to }
    }

    #[must_use]
    pub const fn shape(&self) -> Shape {
        match (self.from, self.to) {
            (0, _) => Shape::Snapshot,
            (from, to) if from == to => Shape::Checkpoint,
            _ => Shape::Delta,
        }
    }
}

/// A batch with its changes still encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch<'a> {
    pub header: Header,
    /// A postcard [`crate::revocation::Change`].
    #[serde(borrow)]
    pub revocations: Option<&'a [u8]>,
    /// A postcard [`crate::keyring::IssuerKeys`].
    #[serde(borrow)]
    pub keys: Option<&'a [u8]>,
    /// A postcard [`crate::bundle::Bundle`], or its share in this part.
    #[serde(borrow)]
    pub bundle: Option<&'a [u8]>,
}

impl<'a> Batch<'a> {
    /// Decodes a verified payload; every byte must be used.
    ///
    /// # Errors
    /// `poison` when it does not decode, or header fields contradict each other.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Refusal> {
        let batch: Self = exact(payload, "the batch")?;
        let header = &batch.header;
        let poison = |what: &str| Err(Refusal::new(RefusalCode::Poison, what));
        if header.part >= header.parts || header.parts > MAX_PARTS {
            return poison("part numbers contradict each other");
        }
        if header.parts > 1 && header.shape() != Shape::Snapshot {
            return poison("only a snapshot has parts");
        }
        if header.from > header.to || header.to == 0 || header.epoch == 0 {
            return poison("sequences contradict each other");
        }
        let changes = batch.revocations.is_some() || batch.keys.is_some() || batch.bundle.is_some();
        if header.shape() == Shape::Checkpoint && changes {
            return poison("a checkpoint carries no changes");
        }
        Ok(batch)
    }

    /// # Errors
    /// None in practice: writing to memory. The type is postcard's.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// SHA-256 over each change's presence, length and bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for change in [self.revocations, self.keys, self.bundle] {
            match change {
                None => hash.update([0]),
                Some(bytes) => {
                    hash.update([1]);
                    hash.update((bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                }
            }
        }
        hash.finalize().into()
    }
}

/// The digest over the digests of all parts.
#[must_use]
pub fn whole_digest(parts: &[[u8; 32]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Tells bundles apart: those who write them have no reason to make two alike.
pub(crate) fn short_digest(bytes: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Decodes postcard and refuses a remainder.
///
/// # Errors
/// `poison`, naming `what`.
pub fn exact<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, Refusal> {
    let poison = |why: &str| Refusal::new(RefusalCode::Poison, format!("{what} {why}"));
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| poison("does not decode"))?;
    if rest.is_empty() { Ok(value) } else { Err(poison("is followed by bytes")) }
}

/// The body of a feed answer, `application/vnd.gatepass.feed.v1+postcard`: root documents (DSSE
/// JSON) and batches (DSSE postcard), each with its own signatures. The container itself is not
/// believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed<'a> {
    #[serde(borrow, deserialize_with = "at_most::<MAX_DOCUMENTS, _, _>")]
    pub roots: Vec<&'a [u8]>,
    #[serde(borrow, deserialize_with = "at_most::<MAX_BATCHES, _, _>")]
    pub batches: Vec<&'a [u8]>,
}

/// A list that stops decoding at its bound. Without one, an unsigned answer of empty items costs
/// sixteen times its size, and memory of Wasm never shrinks.
///
/// # Errors
/// It has more than `MOST` items, or one does not decode.
pub fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(AtMost::<MOST, T>(PhantomData))
}

struct AtMost<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = list.next_element()? {
            if out.len() >= MOST {
                return Err(A::Error::invalid_length(MOST.saturating_add(1), &self));
            }
            out.push(item);
        }
        Ok(out)
    }
}

impl<'a> Feed<'a> {
    pub const CONTENT_TYPE: &'static str = "application/vnd.gatepass.feed.v1+postcard";

    /// # Errors
    /// `poison` when it does not decode or holds more than its limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_FEED_BYTES {
            return Err(Refusal::new(RefusalCode::Poison, "the feed's answer is too large"));
        }
        exact(bytes, "the feed's answer")
    }

    /// # Errors
    /// None in practice: writing to memory. The type is postcard's.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }
}

/// Parts of one snapshot.
pub const MAX_PARTS: u16 = 256;
/// Bytes of one batch's envelope; a publisher splits a snapshot below it.
pub const MAX_PART_BYTES: usize = 512 * 1024;
/// Batches of one answer.
pub const MAX_BATCHES: usize = 512;
/// Bytes of one answer.
pub const MAX_FEED_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(from: u64, to: u64) -> Header {
        Header {
            environment: "prod".into(),
            feed_audience: "prod".into(),
            root_version: 1,
            epoch: 7,
            from,
            to,
            part: 0,
            parts: 1,
            whole_digest: [0; 32],
            hash_key_id: 0,
            issued_at: UnixSeconds(1),
            expires_at: UnixSeconds(2),
            min_filter: 1,
            audit_head: None,
        }
    }

    fn decode(batch: &Batch<'_>) -> Result<Shape, RefusalCode> {
        let bytes = batch.encode().unwrap();
        Batch::decode(&bytes).map(|b| b.header.shape()).map_err(|r| r.code)
    }

    #[test]
    fn the_header_says_what_a_batch_is() {
        let batch = |from, to| Batch {
            header: header(from, to),
            revocations: None,
            keys: None,
            bundle: None,
        };
        assert_eq!(decode(&batch(0, 5)), Ok(Shape::Snapshot));
        assert_eq!(decode(&batch(4, 5)), Ok(Shape::Delta));
        assert_eq!(decode(&batch(5, 5)), Ok(Shape::Checkpoint));
        assert_eq!(decode(&batch(6, 5)), Err(RefusalCode::Poison));
        assert_eq!(decode(&batch(0, 0)), Err(RefusalCode::Poison));
        let checkpoint = Batch { revocations: Some(&[0]), ..batch(5, 5) };
        assert_eq!(decode(&checkpoint), Err(RefusalCode::Poison));
        let mut parts = batch(4, 5);
        parts.header.parts = 2;
        assert_eq!(decode(&parts), Err(RefusalCode::Poison));
    }

    #[test]
    fn a_remainder_is_refused() {
        let mut bytes = Batch { header: header(0, 5), revocations: None, keys: None, bundle: None }
            .encode()
            .unwrap();
        bytes.push(0);
        assert_eq!(Batch::decode(&bytes).unwrap_err().code, RefusalCode::Poison);
    }
}
