//! The record of everything that was changed, issued or refused for cause: append-only, each
//! record bound to the one before by SHA-256.
//!
//! `hash = SHA-256(prev || "\n" || body)`, both as text; `body` is the record's JSON exactly as it
//! is stored and exported, so that nobody has to write it the same way again to check it.
//!
//! What the chain proves: that nothing in it was changed, left out or put in between since a head
//! that somebody kept. Without such an anchor, an older or rewritten copy can be consistent too.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::position::Position;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::keys::Signer;

/// What a change writes down.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// `operator:alice`, `agent:<uuid>`, `gatepass` for what the control plane does by itself.
    pub actor: &'a str,
    /// What was done, such as `agent.suspend`.
    pub action: &'a str,
    /// To what: an id.
    pub target: &'a str,
    pub before: Value,
    pub after: Value,
    pub reason: &'a str,
}

/// The end of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 for an empty record.
    pub n: u64,
    /// Hex.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { n: 0, hash: "0".repeat(64) }
    }
}

/// One line of the record.
#[derive(Clone, Debug)]
pub struct Record {
    pub n: u64,
    pub at: UnixSeconds,
    pub body: String,
    pub prev: String,
    pub hash: String,
}

#[derive(Serialize)]
struct Body<'a> {
    n: u64,
    at: u64,
    actor: &'a str,
    action: &'a str,
    target: &'a str,
    before: &'a Value,
    after: &'a Value,
    reason: &'a str,
    position: String,
}

impl Head {
    /// The record that follows.
    ///
    /// # Errors
    /// The record does not encode; JSON always does.
    pub fn next(
        &self,
        entry: &Entry<'_>,
        position: Position,
        at: UnixSeconds,
    ) -> Result<Record, DbError> {
        let n = self.n.saturating_add(1);
        let body = serde_json::to_string(&Body {
            n,
            at: at.0,
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            before: &entry.before,
            after: &entry.after,
            reason: entry.reason,
            position: position.to_string(),
        });
        let body = body.map_err(|error| DbError::Corrupt(error.to_string()))?;
        let hash = chained(&self.hash, &body);
        Ok(Record { n, at, body, prev: self.hash.clone(), hash })
    }

    /// The head in an envelope, signed by the audit key.
    #[must_use]
    pub fn sign(&self, environment: &str, key: &dyn Signer, now: UnixSeconds) -> String {
        let payload = serde_json::json!({
            "environment": environment, "n": self.n, "hash": self.hash, "at": now.0,
        });
        let envelope = Unverified::new(PayloadType::AuditHead, payload.to_string().into_bytes());
        envelope.sign_with(|message| key.sign(message)).to_json()
    }
}

fn chained(prev: &str, body: &str) -> String {
    let digest = Sha256::new().chain_update(prev).chain_update("\n").chain_update(body).finalize();
    hex(&digest)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that a batch carries of the head's hash.
pub(crate) fn digest(hash: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hash.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

/// A record that somebody kept: `n` and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub n: u64,
    pub hash: String,
}

impl core::str::FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "an anchor is written `<n>:<64 hexadecimal digits>`".to_owned();
        let (n, hash) = text.split_once(':').ok_or_else(expected)?;
        let n = n.parse().map_err(|_| expected())?;
        let is_hash =
            hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then(|| Self { n, hash: hash.to_owned() }).ok_or_else(expected)
    }
}

/// What a verified record is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Consistent and goes through the anchor.
    Anchored { records: u64 },
    /// Consistent; an older or rewritten copy would be too.
    NotAnchored { records: u64 },
}

/// Reads the whole record and checks that it is one chain.
///
/// # Errors
/// [`AuditError`] names the first record that is wrong.
pub async fn verify(
    connection: &mut SqliteConnection,
    anchor: Option<&Anchor>,
) -> Result<Verdict, AuditError> {
    let mut head = Head::default();
    let mut anchored = false;
    loop {
        let page = page(connection, head.n, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            head = check(&head, &record)?;
            if let Some(anchor) = anchor.filter(|anchor| anchor.n == head.n) {
                if anchor.hash != head.hash {
                    return Err(AuditError::AnotherHistory(anchor.n));
                }
                anchored = true;
            }
        }
    }
    match anchor {
        Some(anchor) if !anchored => Err(AuditError::Older { ends: head.n, anchor: anchor.n }),
        Some(_) => Ok(Verdict::Anchored { records: head.n }),
        None => Ok(Verdict::NotAnchored { records: head.n }),
    }
}

fn check(head: &Head, record: &Record) -> Result<Head, AuditError> {
    let expected = head.n.saturating_add(1);
    if record.n != expected {
        return Err(AuditError::Gap { expected, found: record.n });
    }
    if record.prev != head.hash || chained(&record.prev, &record.body) != record.hash {
        return Err(AuditError::Changed(record.n));
    }
    #[derive(Deserialize)]
    struct Numbered {
        n: u64,
        at: u64,
    }
    let inside: Result<Numbered, _> = serde_json::from_str(&record.body);
    if !inside.is_ok_and(|inside| inside.n == record.n && inside.at == record.at.0) {
        return Err(AuditError::Changed(record.n));
    }
    Ok(Head { n: record.n, hash: record.hash.clone() })
}

/// Records after `after`, oldest first.
///
/// # Errors
/// What SQLite says.
pub async fn page(
    connection: &mut SqliteConnection,
    after: u64,
    most: u32,
) -> Result<Vec<Record>, DbError> {
    let rows: Vec<(i64, i64, String, String, String)> =
        sqlx::query_as("SELECT n, at, body, prev, hash FROM audit WHERE n > ? ORDER BY n LIMIT ?")
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(most)
            .fetch_all(connection)
            .await?;
    let record = |(n, at, body, prev, hash): (i64, i64, String, String, String)| Record {
        n: u64::try_from(n).unwrap_or(0),
        at: UnixSeconds(u64::try_from(at).unwrap_or(0)),
        body,
        prev,
        hash,
    };
    Ok(rows.into_iter().map(record).collect())
}

impl Record {
    /// Its line of an export.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::json!({ "n": self.n, "prev": self.prev, "hash": self.hash, "body": self.body })
            .to_string()
    }
}

/// Why a record is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("record {0} was changed: its hash is not that of its text and its predecessor")]
    Changed(u64),
    #[error("record {expected} is missing: the next one is {found}")]
    Gap { expected: u64, found: u64 },
    #[error("record {0} is not the one of the anchor: this is another history")]
    AnotherHistory(u64),
    #[error("the record ends at {ends}, before the anchor's {anchor}: this is an older copy")]
    Older { ends: u64, anchor: u64 },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Records read at once.
pub const PAGE: u32 = 1000;
