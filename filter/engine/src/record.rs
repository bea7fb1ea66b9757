//! What a gate tells of its decisions: entries, numbered and chained, in batches.
//!
//! A VM numbers its entries from 0 without a hole and binds each batch to the one before by SHA-256: whoever
//! has the batches so far sees what was left out, put in between or changed. Entries of one batch are hashed
//! as they are written, so that a decision pays for its bytes and not for a hash of its own.
//!
//! ```text
//! batch   = header (postcard) || entry*        entry = length (u16, little endian) || postcard
//! hash    = SHA-256(DOMAIN || prev || first (u64, little endian) || reporter (postcard) || entry*)
//! ```
//!
//! What a decision cannot have in its record: a gatepass, a proof, a query, a path, a header's value but for
//! the two that name the request (`x-request-id`, `traceparent`), an input that the policy does not show.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::position::Position;

mod brief;

pub use brief::{Brief, Peer, Place, Rest, Said, Sayings};

/// The media type of a batch of this version.
pub const CONTENT_TYPE: &str = "application/vnd.gatepass.decisions.v1+postcard";

/// Who tells it: one VM, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reporter<'a> {
    /// Drawn by the VM when it started.
    pub vm: u64,
    /// Drawn by its Envoy.
    pub envoy: &'a str,
    /// The feed that it follows.
    pub audience: &'a str,
    pub environment: &'a str,
    /// Of the filter.
    pub version: &'a str,
    /// The gate as a whole is in shadow mode.
    pub shadow: bool,
}

/// What stands before the entries of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    #[serde(borrow)]
    pub reporter: Reporter<'a>,
    /// The number of the first entry.
    pub first: u64,
    pub count: u32,
    /// The hash of the batch before; zeros before the first.
    pub prev: Hash,
    pub hash: Hash,
}

pub type Hash = [u8; 32];

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// Whole by itself, as gates wrote it first.
    #[serde(borrow)]
    Decision(Box<Decision<'a>>),
    Counted(Counted<'a>),
    Brief(Box<Brief<'a>>),
}

/// As it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    Decision(Box<Decision<'a>>),
    Counted(Counted<'a>),
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision<'a> {
    /// A UUID.
    pub id: [u8; 16],
    /// Unix milliseconds by the gate's clock.
    pub at: u64,
    pub outcome: Outcome,
    /// `decided`, or the denial's.
    pub code: &'a str,
    /// Where the policy comes from that it was decided under.
    pub policy: Option<Position>,
    /// The gate's position.
    pub position: Option<Position>,
    /// Milliseconds since the last proof of freshness.
    pub age: Option<u64>,
    #[serde(borrow)]
    pub bearer: Option<Bearer<'a>>,
    pub action: Option<&'a str>,
    /// Of the host that it was for.
    pub audience: Option<&'a str>,
    pub method: Option<&'a str>,
    pub host: Option<&'a str>,
    /// The route's template, never the path.
    pub route: Option<&'a str>,
    #[serde(borrow)]
    pub call: Option<Call<'a>>,
    #[serde(borrow)]
    pub inputs: Vec<(&'a str, Shown<'a>)>,
    /// The SPIFFE ID, or else the first URI, of the certificate that the connection was made with.
    pub workload: Option<&'a str>,
    /// SHA-256 of that certificate, in hexadecimal.
    pub certificate: Option<&'a str>,
    /// `x-request-id`.
    pub request: Option<&'a str>,
    /// `traceparent` (W3C Trace Context).
    pub trace: Option<&'a str>,
    /// The rules that it rests on, by their ids. Gates that wrote entries whole had none.
    #[serde(skip)]
    pub rules: Vec<&'a str>,
    /// Rules in shadow mode that would have had a part in it.
    #[serde(skip)]
    pub shadow_rules: Vec<&'a str>,
}

/// Whose gatepass it was: known once that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bearer<'a> {
    /// Who acted.
    pub agent: &'a str,
    pub owner: &'a str,
    /// For whom, where that is somebody else.
    pub subject: Option<&'a str>,
    /// Those between, outermost first.
    #[serde(borrow)]
    pub through: Vec<&'a str>,
    pub task: &'a str,
    /// The gatepass.
    pub jti: &'a str,
}

/// What a JSON-RPC message called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call<'a> {
    /// By the Model Context Protocol.
    pub is_mcp: bool,
    pub method: &'a str,
    /// Of the tool or prompt.
    pub name: Option<&'a str>,
}

/// An input as the policy shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown<'a> {
    Value(&'a str),
    /// The first half of [`pseudonym`].
    Hash([u8; 16]),
    /// It was there and not of its kind.
    Invalid,
}

/// Decisions that have no entry of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted<'a> {
    pub why: Why,
    pub outcome: Outcome,
    pub code: &'a str,
    pub count: u64,
    /// Unix milliseconds of the first and the last.
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Allow,
    Deny,
    /// It would have been denied, and went on.
    Shadow,
    /// It went on, and was cut when it would have been denied.
    Ended,
}

/// Why a decision was only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// Nothing was decided: the route is public, or the host is passed through.
    Open,
    /// No gatepass was verified, and enough of these stand by themselves.
    Unverified,
    /// The operator wants a share of the allowed low-risk actions only.
    Sampled,
    /// There was no room: the record of these is lost. A gap.
    Dropped,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Shadow, Self::Ended];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Shadow => "shadow",
            Self::Ended => "ended",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl Why {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unverified => "unverified",
            Self::Sampled => "sampled",
            Self::Dropped => "dropped",
        }
    }
}

/// The hash of a batch while its entries are written.
#[must_use]
pub fn chain(prev: &Hash, first: u64, reporter: &[u8]) -> Sha256 {
    Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(prev)
        .chain_update(first.to_le_bytes())
        .chain_update(reporter)
}

/// Where an entry is written before it is appended: postcard writes into a slice at a part of what it takes to
/// write on a vector.
pub struct Scratch(Box<[u8; MAX_ENTRY_BYTES]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Box::new([0; MAX_ENTRY_BYTES]))
    }
}

/// Appends an entry with its length. False, and nothing is appended, for one that is over
/// [`MAX_ENTRY_BYTES`].
pub fn append(out: &mut Vec<u8>, entry: &Entry<'_>, scratch: &mut Scratch) -> bool {
    let Ok(written) = postcard::to_slice(entry, scratch.0.as_mut_slice()) else { return false };
    let Ok(length) = u16::try_from(written.len()) else { return false };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(written);
    true
}

/// A batch that says of itself what is true: its entries decode, are as many as it says, and have its hash.
/// That it joins on to the one before is for who keeps that.
#[derive(Debug)]
pub struct Batch<'a> {
    pub header: Header<'a>,
    /// Each with its bytes, without the length.
    pub entries: Vec<(&'a [u8], Told<'a>)>,
}

/// Why a batch is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBatch {
    #[error("it is over {MAX_BATCH_BYTES} bytes")]
    TooLong,
    #[error("its header does not decode")]
    Header,
    #[error("entry {0} does not decode")]
    Entry(usize),
    #[error("it has {0} entries, and says otherwise")]
    Count(usize),
    #[error("it has none")]
    Empty,
    #[error("its entries do not have its hash")]
    Hash,
}

impl<'a> Batch<'a> {
    /// # Errors
    /// The first thing that does not hold.
    pub fn read(bytes: &'a [u8]) -> Result<Self, NoBatch> {
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(NoBatch::TooLong);
        }
        let (header, mut rest) =
            postcard::take_from_bytes::<Header<'a>>(bytes).map_err(|_| NoBatch::Header)?;
        let reporter = postcard::to_allocvec(&header.reporter).map_err(|_| NoBatch::Header)?;
        let hash = chain(&header.prev, header.first, &reporter).chain_update(rest).finalize();
        if <Hash>::from(hash) != header.hash {
            return Err(NoBatch::Hash);
        }
        let mut entries: Vec<(&[u8], Told<'a>)> = Vec::new();
        while !rest.is_empty() {
            let bad = NoBatch::Entry(entries.len());
            let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(bad)?;
            let size = usize::from(u16::from_le_bytes(*length));
            let (one, after) = after.split_at_checked(size).ok_or(bad)?;
            if size > MAX_ENTRY_BYTES {
                return Err(bad);
            }
            let before = |at| read_entry(entries.get(usize::try_from(at).ok()?)?.0);
            let told = read_entry(one).and_then(|entry| entry.whole(before)).ok_or(bad)?;
            entries.push((one, told));
            rest = after;
        }
        if usize::try_from(header.count) != Ok(entries.len()) {
            return Err(NoBatch::Count(entries.len()));
        }
        // The number of the next is one too.
        if entries.is_empty() || header.first.checked_add(header.count.into()).is_none() {
            return Err(NoBatch::Empty);
        }
        Ok(Self { header, entries })
    }
}

impl<'a> Entry<'a> {
    /// With what others of its batch say of it: they are asked for by their place in it. `None` where one of
    /// them does not say it.
    #[must_use]
    pub fn whole(self, other: impl Fn(u32) -> Option<Self>) -> Option<Told<'a>> {
        match self {
            Self::Decision(decision) => Some(Told::Decision(decision)),
            Self::Counted(counted) => Some(Told::Counted(counted)),
            Self::Brief(brief) => brief.whole(other).map(|whole| Told::Decision(Box::new(whole))),
        }
    }
}

/// One entry, and nothing after it.
#[must_use]
pub fn read_entry(bytes: &[u8]) -> Option<Entry<'_>> {
    postcard::take_from_bytes(bytes)
        .ok()
        .filter(|(_, rest)| rest.is_empty())
        .map(|(entry, _)| entry)
}

/// What stands for a value that is not shown: the same for the same value of the same input, so that two
/// requests can be compared. Whoever can guess the value can check the guess.
#[must_use]
pub fn pseudonym(environment: &str, action: &str, input: &str, value: &str) -> [u8; 16] {
    let mut hash = Sha256::new().chain_update(PSEUDONYM);
    for part in [environment, action, input, value] {
        hash = hash.chain_update((part.len() as u64).to_le_bytes()).chain_update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

const DOMAIN: &[u8; 24] = b"gatepass decisions v1\n\n\n";
const PSEUDONYM: &[u8] = b"gatepass input v1\n";
const LENGTH_BYTES: usize = 2;
/// Bytes of one entry without its length.
pub const MAX_ENTRY_BYTES: usize = 4 * 1024;
/// Bytes of one batch.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn reporter() -> Reporter<'static> {
        Reporter {
            vm: 7,
            envoy: "00aa",
            audience: "prod",
            environment: "prod",
            version: "0.1.0",
            shadow: false,
        }
    }

    fn counted(count: u64) -> Entry<'static> {
        let why = Why::Open;
        Entry::Counted(Counted {
            why,
            outcome: Outcome::Allow,
            code: "public",
            count,
            from: 1,
            to: 2,
        })
    }

    fn batch(first: u64, prev: Hash, entries: &[Entry<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        entries
            .iter()
            .for_each(|entry| assert!(append(&mut bytes, entry, &mut Scratch::default())));
        let who = postcard::to_allocvec(&reporter()).unwrap();
        let hash = chain(&prev, first, &who).chain_update(&bytes).finalize().into();
        let count = u32::try_from(entries.len()).unwrap();
        let header = Header { reporter: reporter(), first, count, prev, hash };
        [postcard::to_allocvec(&header).unwrap(), bytes].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        let all = [counted(1), counted(2)];
        let bytes = batch(5, [9; 32], &all);
        let read = Batch::read(&bytes).unwrap();
        assert_eq!((read.header.first, read.header.count), (5, 2));
        let entries: Vec<_> = read.entries.into_iter().map(|(_, told)| told).collect();
        let all = all.map(|entry| entry.whole(|_| None).unwrap());
        assert_eq!(entries, all);
    }

    #[test]
    fn every_bit_is_under_the_hash() {
        let bytes = batch(5, [9; 32], &[counted(1), counted(2)]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert!(Batch::read(&other).is_err(), "bit {bit} of {at}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(Batch::read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_batch_that_lies_about_itself_is_none() {
        assert_eq!(Batch::read(&batch(0, [0; 32], &[])).unwrap_err(), NoBatch::Empty);
        assert_eq!(
            Batch::read(&batch(u64::MAX, [0; 32], &[counted(1)])).unwrap_err(),
            NoBatch::Empty
        );
        assert!(Batch::read(&batch(u64::MAX - 1, [0; 32], &[counted(1)])).is_ok());
        let mut two = batch(0, [0; 32], &[counted(1), counted(2)]);
        // The count is not under the hash: the entries say it.
        let place = two.len() - 2 * (2 + postcard::to_allocvec(&counted(1)).unwrap().len()) - 65;
        assert_eq!(two[place], 2);
        two[place] = 3;
        assert_eq!(Batch::read(&two).unwrap_err(), NoBatch::Count(2));
        let mut long = batch(0, [0; 32], &[counted(1)]);
        long.resize(MAX_BATCH_BYTES + 1, 0);
        assert_eq!(Batch::read(&long).unwrap_err(), NoBatch::TooLong);
    }

    #[test]
    fn an_entry_that_is_too_long_leaves_nothing() {
        let text = "a".repeat(MAX_ENTRY_BYTES);
        let entry = |code| {
            let why = Why::Open;
            Entry::Counted(Counted { why, outcome: Outcome::Deny, code, count: 1, from: 0, to: 0 })
        };
        let mut out = vec![1, 2, 3];
        assert!(!append(&mut out, &entry(&text), &mut Scratch::default()));
        assert_eq!(out, [1, 2, 3]);
        assert!(append(
            &mut out,
            &entry(&"a".repeat(MAX_ENTRY_BYTES - 10)),
            &mut Scratch::default()
        ));
    }

    #[test]
    fn a_pseudonym_is_of_one_value_of_one_input() {
        let all = [
            ("p", "a", "i", "v"),
            ("q", "a", "i", "v"),
            ("p", "b", "i", "v"),
            ("p", "a", "j", "v"),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for (environment, action, input, value) in all {
            assert!(seen.insert(pseudonym(environment, action, input, value)));
        }
        assert!(seen.insert(pseudonym("p", "a", "i", "w")));
        // Nothing moves from one part into the next.
        assert!(seen.insert(pseudonym("p", "ai", "", "v")));
        assert!(!seen.insert(pseudonym("p", "a", "i", "v")));
    }
}
