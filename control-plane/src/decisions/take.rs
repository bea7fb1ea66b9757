//! Taking a batch: whole or not at all, once, and joined to the one before.

use gatepass_engine::UnixSeconds;
use gatepass_engine::ids::is_token;
use gatepass_engine::record::{Batch, NoBatch, Told, Why};
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection};

use super::Decisions;
use crate::db::{DbError, signed, unsigned};

/// Who tells it, as far as it was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teller {
    /// `certificate`, `join_token` or `none`.
    pub identity: &'static str,
    /// The certificate's name, or the fleet of the join token.
    pub node: String,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    New {
        entries: usize,
        gaps: usize,
    },
    /// It is on the disk already.
    Known,
}

/// Why a batch is not taken. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error("the batch is none: {0}")]
    None(#[from] NoBatch),
    #[error("the batch says `{0}`, which is not this environment")]
    Environment(String),
    #[error("the numbers {first} to {last} were told before, and otherwise")]
    Altered { first: u64, last: u64 },
    #[error(transparent)]
    Db(#[from] DbError),
}

struct Known {
    id: i64,
    next: u64,
    head: Vec<u8>,
}

impl Decisions {
    /// Takes one in. When this returns `Ok`, all of it is on the disk.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn take(
        &self,
        teller: &Teller,
        environment: &str,
        batch: &Batch<'_>,
        now: UnixSeconds,
    ) -> Result<Taken, NotTaken> {
        let header = &batch.header;
        if header.reporter.environment != environment {
            return Err(NotTaken::Environment(header.reporter.environment.to_owned()));
        }
        let who = &header.reporter;
        let named = [who.envoy, who.audience, who.version].iter().all(|name| is_token(name));
        let last = header.first.saturating_add(header.count.into());
        // What the database cannot count is no number.
        if !named || i64::try_from(last).is_err() {
            return Err(NoBatch::Header.into());
        }
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(DbError::from)?;
        let known = reporter(&mut tx, teller, batch, now).await?;
        let first = header.first;
        if first < known.next {
            let same: Option<(Vec<u8>, i64)> =
                sqlx::query_as("SELECT hash, count FROM batches WHERE reporter = ? AND first = ?")
                    .bind(known.id)
                    .bind(signed(first))
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(DbError::from)?;
            let is_same = |(hash, count): &(Vec<u8>, i64)| {
                hash.as_slice() == header.hash && unsigned(*count) == u64::from(header.count)
            };
            if same.as_ref().is_some_and(is_same) {
                return Ok(Taken::Known);
            }
            let last = last.saturating_sub(1);
            gap(&mut tx, known.id, "altered", first, header.count.into(), now).await?;
            tx.commit().await.map_err(DbError::from)?;
            return Err(NotTaken::Altered { first, last });
        }
        let mut gaps = 0;
        if first > known.next {
            gap(&mut tx, known.id, "missing", known.next, first - known.next, now).await?;
            gaps += 1;
        } else if known.head.as_slice() != header.prev {
            gap(&mut tx, known.id, "broken", first, 0, now).await?;
            gaps += 1;
        }
        gaps += insert(&mut tx, known.id, batch, now).await?;
        sqlx::query(
            "UPDATE reporters SET next = ?, head = ?, told = told + ?, last_at = ?, envoy = ?,
               audience = ?, version = ?, shadow = ? WHERE id = ?",
        )
        .bind(signed(last))
        .bind(header.hash.as_slice())
        .bind(i64::from(header.count))
        .bind(signed(now.0))
        .bind(header.reporter.envoy)
        .bind(header.reporter.audience)
        .bind(header.reporter.version)
        .bind(header.reporter.shadow)
        .bind(known.id)
        .execute(&mut *tx)
        .await
        .map_err(DbError::from)?;
        let (newest,): (i64,) = sqlx::query_as("SELECT max(n) FROM entries")
            .fetch_one(&mut *tx)
            .await
            .map_err(DbError::from)?;
        tx.commit().await.map_err(DbError::from)?;
        self.newest.send_replace(newest);
        Ok(Taken::New { entries: batch.entries.len(), gaps })
    }
}

/// The VM's row; a VM that was not heard of before begins at 0.
async fn reporter(
    tx: &mut SqliteConnection,
    teller: &Teller,
    batch: &Batch<'_>,
    now: UnixSeconds,
) -> Result<Known, DbError> {
    let who = &batch.header.reporter;
    let row: (i64, i64, Vec<u8>) = sqlx::query_as(
        "INSERT INTO reporters (identity, node, vm, envoy, audience, version, shadow, next, head,
           first_at, last_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, zeroblob(32), ?, ?)
         ON CONFLICT (identity, node, vm) DO UPDATE SET last_at = excluded.last_at
         RETURNING id, next, head",
    )
    .bind(teller.identity)
    .bind(&teller.node)
    .bind(format!("{:016x}", who.vm))
    .bind(who.envoy)
    .bind(who.audience)
    .bind(who.version)
    .bind(who.shadow)
    .bind(signed(now.0))
    .bind(signed(now.0))
    .fetch_one(tx)
    .await?;
    let (id, next, head) = row;
    Ok(Known { id, next: unsigned(next), head })
}

/// The same gap is noticed once.
async fn gap(
    tx: &mut SqliteConnection,
    reporter: i64,
    kind: &str,
    sequence: u64,
    count: u64,
    now: UnixSeconds,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO gaps (reporter, kind, sequence, count, outcome, code, noticed_at)
         VALUES (?, ?, ?, ?, '', '', ?) ON CONFLICT DO NOTHING",
    )
    .bind(reporter)
    .bind(kind)
    .bind(signed(sequence))
    .bind(signed(count))
    .bind(signed(now.0))
    .execute(tx)
    .await?;
    Ok(())
}

/// How many of the entries say that something was dropped.
async fn insert(
    tx: &mut SqliteConnection,
    reporter: i64,
    batch: &Batch<'_>,
    now: UnixSeconds,
) -> Result<usize, DbError> {
    let header = &batch.header;
    let who = postcard::to_allocvec(&header.reporter)
        .map_err(|error| DbError::Corrupt(error.to_string()))?;
    let (n,): (i64,) = sqlx::query_as(
        "INSERT INTO batches (reporter, first, count, prev, hash, header, received_at)
         VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING n",
    )
    .bind(reporter)
    .bind(signed(header.first))
    .bind(i64::from(header.count))
    .bind(header.prev.as_slice())
    .bind(header.hash.as_slice())
    .bind(who)
    .bind(signed(now.0))
    .fetch_one(&mut *tx)
    .await?;
    let mut gaps = 0;
    let mut sequence = header.first;
    for some in batch.entries.chunks(ROWS_OF_A_STATEMENT) {
        let mut rows = QueryBuilder::<Sqlite>::new(
            "INSERT INTO entries (batch, sequence, id, at, outcome, code, agent, action, task, entry) ",
        );
        rows.push_values(some, |mut row, (bytes, entry)| {
            row.push_bind(n).push_bind(signed(sequence));
            sequence = sequence.saturating_add(1);
            match entry {
                Told::Decision(decision) => {
                    let bearer = decision.bearer.as_ref();
                    row.push_bind(Some(decision.id.to_vec()))
                        .push_bind(signed(decision.at))
                        .push_bind(decision.outcome.as_str())
                        .push_bind(decision.code)
                        .push_bind(bearer.map(|bearer| bearer.agent))
                        .push_bind(decision.action)
                        .push_bind(bearer.map(|bearer| bearer.task));
                }
                Told::Counted(counted) => {
                    row.push_bind(None::<Vec<u8>>)
                        .push_bind(signed(counted.to))
                        .push_bind(counted.outcome.as_str())
                        .push_bind(counted.code)
                        .push_bind(None::<&str>)
                        .push_bind(None::<&str>)
                        .push_bind(None::<&str>);
                }
            }
            row.push_bind(*bytes);
        });
        rows.build().execute(&mut *tx).await?;
    }
    for (sequence, (_, entry)) in (header.first..).zip(&batch.entries) {
        let Told::Counted(counted) = entry else { continue };
        if counted.why != Why::Dropped {
            continue;
        }
        gaps += 1;
        sqlx::query(
            "INSERT INTO gaps (reporter, kind, sequence, count, outcome, code, from_at, to_at, noticed_at)
             VALUES (?, 'dropped', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(reporter)
        .bind(signed(sequence))
        .bind(signed(counted.count))
        .bind(counted.outcome.as_str())
        .bind(counted.code)
        .bind(signed(counted.from))
        .bind(signed(counted.to))
        .bind(signed(now.0))
        .execute(&mut *tx)
        .await?;
    }
    Ok(gaps)
}

/// Ten values each, of SQLite's 32,766 in a statement.
const ROWS_OF_A_STATEMENT: usize = 256;
