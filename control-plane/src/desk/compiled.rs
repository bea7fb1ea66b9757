//! What policies compile to, kept for the few that are put in force next.
//!
//! A policy of thousands of rules takes seconds to compile, and the writer has one change at a time: a revocation
//! must not wait for it. So it is compiled before its change is written, on a thread of its own; the change finds it
//! here. What a text compiles to never changes, so what is found is what would be made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use gatepass_policy::{Compiled, Problem};
use sha2::{Digest as _, Sha256};
use sqlx::SqlitePool;

use super::change::Change;
use super::policies;
use crate::db::DbError;

static KNOWN: Mutex<VecDeque<(Digest, Arc<Compiled>)>> = Mutex::new(VecDeque::new());

type Digest = [u8; 32];

/// As [`gatepass_policy::compile`].
///
/// # Errors
/// As there.
pub fn compile(content: &str) -> Result<Arc<Compiled>, Vec<Problem>> {
    let digest: Digest = Sha256::digest(content.as_bytes()).into();
    if let Some(known) = find(&digest) {
        return Ok(known);
    }
    let compiled = Arc::new(gatepass_policy::compile(content)?);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.push_front((digest, Arc::clone(&compiled)));
    known.truncate(MAX_KNOWN);
    Ok(compiled)
}

fn find(digest: &Digest) -> Option<Arc<Compiled>> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.iter().find(|(of, _)| of == digest).map(|(_, compiled)| Arc::clone(compiled))
}

/// Compiles what a change will put in force, where it says what. What is wrong with it is told by the change.
///
/// # Errors
/// What SQLite says.
pub async fn prepare(change: &Change, readers: &SqlitePool) -> Result<(), DbError> {
    let content = match change {
        Change::PublishPolicy(publish) => Some(publish.content.clone()),
        Change::RollbackPolicy(rollback) => of_version(readers, Some(rollback.version)).await?,
        Change::PromotePolicy(promote) => of_version(readers, promote.version).await?,
        _ => None,
    };
    if let Some(content) = content {
        // Whatever became of it, the change compiles it again.
        let _ = tokio::task::spawn_blocking(move || compile(&content).is_ok()).await;
    }
    Ok(())
}

/// The same for a proposal that is about to be accepted.
///
/// # Errors
/// What SQLite says.
pub async fn prepare_proposed(id: &str, readers: &SqlitePool) -> Result<(), DbError> {
    let found: Option<(String,)> = sqlx::query_as("SELECT change FROM proposals WHERE id = ?")
        .bind(id)
        .fetch_optional(readers)
        .await?;
    match found.and_then(|(change,)| serde_json::from_str::<Change>(&change).ok()) {
        Some(change) => prepare(&change, readers).await,
        None => Ok(()),
    }
}

async fn of_version(readers: &SqlitePool, version: Option<u64>) -> Result<Option<String>, DbError> {
    let Some(version) = version else { return Ok(None) };
    let mut connection = readers.acquire().await?;
    Ok(policies::content(&mut connection, version).await.ok())
}

/// The newest.
const MAX_KNOWN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_would_be_made_and_only_a_few_are_kept() {
        let policy = |nth: usize| {
            format!(
                "actions:\n  a{nth}: {{risk: low}}\nhosts:\n  - {{names: [a.example], audience: \"https://a.example\", routes: [{{match: GET /, action: a{nth}}}]}}\n"
            )
        };
        for nth in 0..6 {
            let first = compile(&policy(nth)).unwrap();
            assert_eq!(*first, gatepass_policy::compile(&policy(nth)).unwrap());
            assert!(Arc::ptr_eq(&first, &compile(&policy(nth)).unwrap()));
        }
        assert!(KNOWN.lock().unwrap().len() <= MAX_KNOWN);
        assert!(compile("actions: 1\n").is_err());
    }
}
