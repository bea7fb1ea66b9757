//! Questions about what was told.

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::UnixSeconds;
use gatepass_engine::record::{Entry, Outcome, Told, chain, read_entry};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Decisions;
use super::show::{DecisionView, time};
use crate::db::{DbError, unsigned};

/// Which decisions.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub agent: Option<String>,
    pub action: Option<String>,
    pub code: Option<String>,
    pub task: Option<String>,
    pub envoy: Option<String>,
    pub outcome: Option<Outcome>,
    /// Unix milliseconds by the gates' clocks; from the first, before the second.
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub id: Option<uuid::Uuid>,
    pub limit: u32,
}

/// From where, and in which direction.
#[derive(Clone, Copy, Debug)]
pub enum Followed {
    /// The newest first, before this cursor.
    Back(Option<i64>),
    /// The oldest first, after this one.
    On(i64),
}

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page {
    pub decisions: Vec<DecisionView>,
    /// To follow on from here: `after`.
    pub newest: i64,
    /// For the page before: `before`. None where there is nothing older.
    pub older: Option<i64>,
}

/// A VM that has told something.
#[derive(Clone, Debug, Serialize, Deserialize, FromRow, ToSchema)]
pub struct ReporterView {
    pub vm: String,
    pub envoy: String,
    /// The certificate's name, or the fleet of the join token.
    pub node: String,
    /// `certificate`, `join_token` or `none`.
    pub identity: String,
    pub audience: String,
    pub version: String,
    /// The number that comes next.
    pub next: i64,
    /// The hash of its last batch.
    pub head: String,
    /// Entries that came.
    pub told: i64,
    pub first_at: i64,
    pub last_at: i64,
    /// Whether what is kept of it still has the hashes that it came with; only where that was asked for.
    #[sqlx(skip)]
    pub chain: Option<String>,
    #[serde(skip)]
    id: i64,
}

/// What is known to be missing, or was not as it should be.
#[derive(Clone, Debug, Serialize, Deserialize, FromRow, ToSchema)]
pub struct Gap {
    /// `dropped`: the gate had no room; `missing`: numbers that never came; `broken`: a batch that does not join
    /// on to the one before; `altered`: numbers that were told twice, and otherwise.
    pub kind: String,
    pub vm: String,
    pub envoy: String,
    pub node: String,
    pub sequence: i64,
    /// Decisions, for `dropped`; numbers, for `missing`.
    pub count: i64,
    pub outcome: String,
    pub code: String,
    /// Unix milliseconds by the gate's clock.
    pub from_at: Option<i64>,
    pub to_at: Option<i64>,
    pub noticed_at: i64,
}

/// Decisions that were only counted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CountedView {
    /// `open`, `unverified`, `sampled` or `dropped`.
    pub why: String,
    pub outcome: String,
    pub code: String,
    pub count: u64,
    pub from: String,
    pub to: String,
    pub vm: String,
}

/// Who tells decisions, and what is missing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    pub reporters: Vec<ReporterView>,
    /// The newest first.
    pub gaps: Vec<Gap>,
    /// The newest first.
    pub counted: Vec<CountedView>,
}

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) n: i64,
    pub(super) sequence: i64,
    batch: i64,
    /// The number of the first of its batch.
    first: i64,
    entry: Vec<u8>,
    pub(super) received_at: i64,
    pub(super) vm: String,
    pub(super) envoy: String,
    pub(super) node: String,
    pub(super) identity: String,
    pub(super) shadow: bool,
}

impl Decisions {
    /// # Errors
    /// What SQLite says.
    pub async fn find(&self, asked: &Asked, from: Followed) -> Result<Page, DbError> {
        let newest = *self.newest.borrow();
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" WHERE e.id IS NOT NULL");
        let texts = [
            (" AND e.agent = ", &asked.agent),
            (" AND e.action = ", &asked.action),
            (" AND e.code = ", &asked.code),
            (" AND e.task = ", &asked.task),
            (" AND r.envoy = ", &asked.envoy),
        ];
        for (clause, value) in texts {
            if let Some(value) = value {
                query.push(clause).push_bind(value.clone());
            }
        }
        if let Some(outcome) = asked.outcome {
            query.push(" AND e.outcome = ").push_bind(outcome.as_str());
        }
        if let Some(since) = asked.since {
            query.push(" AND e.at >= ").push_bind(since);
        }
        if let Some(until) = asked.until {
            query.push(" AND e.at < ").push_bind(until);
        }
        if let Some(id) = asked.id {
            query.push(" AND e.id = ").push_bind(id.as_bytes().to_vec());
        }
        let limit = asked.limit.clamp(1, MAX_PAGE);
        let order = match from {
            Followed::On(after) => {
                query.push(" AND e.n > ").push_bind(after);
                " ORDER BY e.n LIMIT "
            }
            Followed::Back(before) => {
                if let Some(before) = before {
                    query.push(" AND e.n < ").push_bind(before);
                }
                " ORDER BY e.n DESC LIMIT "
            }
        };
        query.push(order).push_bind(i64::from(limit) + 1);
        // One state of the database: what others say of these must not be forgotten in between.
        let mut tx = self.readers.begin().await?;
        let mut rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await?;
        let is_cut = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().map(|row| row.n);
        let newest = match (from, is_cut, last) {
            // What did not fit comes with the next page.
            (Followed::On(_), true, Some(last)) => last,
            (Followed::On(after), _, _) => newest.max(after),
            (Followed::Back(_), _, _) => newest,
        };
        let older = match from {
            Followed::Back(_) if is_cut => last,
            Followed::Back(_) | Followed::On(_) => None,
        };
        let others = others(&mut tx, &rows).await?;
        let decisions = rows.iter().map(|row| view(row, &others)).collect::<Result<_, _>>()?;
        Ok(Page { decisions, newest, older })
    }

    /// The same as soon as there is one, at the latest at `end`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn follow(&self, asked: &Asked, after: i64, end: Instant) -> Result<Page, DbError> {
        let mut newest = self.newest();
        let mut after = after;
        loop {
            // Before looking: what comes between looking and waiting must wake us.
            newest.mark_unchanged();
            let page = self.find(asked, Followed::On(after)).await?;
            if !page.decisions.is_empty() {
                return Ok(page);
            }
            after = page.newest;
            if !matches!(tokio::time::timeout_at(end, newest.changed()).await, Ok(Ok(()))) {
                return Ok(page);
            }
        }
    }

    /// # Errors
    /// What SQLite says.
    pub async fn standing(&self, verify: bool) -> Result<Standing, DbError> {
        let mut reporters: Vec<ReporterView> = sqlx::query_as(
            "SELECT id, vm, envoy, node, identity, audience, version, next, lower(hex(head)) AS head,
               told, first_at, last_at
             FROM reporters ORDER BY last_at DESC, id LIMIT 1000",
        )
        .fetch_all(&self.readers)
        .await?;
        if verify {
            for reporter in &mut reporters {
                reporter.chain = Some(self.verify(reporter.id).await?);
            }
        }
        let gaps = sqlx::query_as(
            "SELECT g.kind, r.vm, r.envoy, r.node, g.sequence, g.count, g.outcome, g.code, g.from_at,
               g.to_at, g.noticed_at
             FROM gaps g JOIN reporters r ON r.id = g.reporter ORDER BY g.n DESC LIMIT 1000",
        )
        .fetch_all(&self.readers)
        .await?;
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" WHERE e.id IS NULL ORDER BY e.n DESC LIMIT 200");
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.readers).await?;
        let counted = rows.iter().filter_map(|row| match read_entry(&row.entry) {
            Some(Entry::Counted(counted)) => Some(CountedView {
                why: counted.why.as_str().to_owned(),
                outcome: counted.outcome.as_str().to_owned(),
                code: counted.code.to_owned(),
                count: counted.count,
                from: time(counted.from),
                to: time(counted.to),
                vm: row.vm.clone(),
            }),
            Some(Entry::Decision(_) | Entry::Brief(_)) | None => None,
        });
        Ok(Standing { reporters, gaps, counted: counted.collect() })
    }

    /// Whether what is kept of a VM still has its hashes, in words.
    async fn verify(&self, reporter: i64) -> Result<String, DbError> {
        type Batch = (i64, i64, i64, Vec<u8>, Vec<u8>, Vec<u8>);
        let mut before: Option<(u64, Vec<u8>)> = None;
        let mut after = -1_i64;
        let mut batches = 0_u64;
        loop {
            let some: Vec<Batch> = sqlx::query_as(
                "SELECT n, first, count, prev, hash, header FROM batches
                 WHERE reporter = ? AND first > ? ORDER BY first LIMIT 64",
            )
            .bind(reporter)
            .bind(after)
            .fetch_all(&self.readers)
            .await?;
            if some.is_empty() {
                return Ok(format!("{batches} batches as they came"));
            }
            for (n, first, count, prev, hash, header) in some {
                after = first;
                batches = batches.saturating_add(1);
                let broken = |what: &str| Ok(format!("broken at {first}: {what}"));
                let start = unsigned(first);
                // What is missing is a gap of its own.
                if let Some((next, head)) = &before
                    && *next == start
                    && *head != prev
                {
                    return broken("it does not join on to the batch before");
                }
                let entries: Vec<(i64, Vec<u8>)> = sqlx::query_as(
                    "SELECT sequence, entry FROM entries WHERE batch = ? ORDER BY n",
                )
                .bind(n)
                .fetch_all(&self.readers)
                .await?;
                let in_order = (first..).zip(&entries).all(|(nth, (sequence, _))| nth == *sequence);
                let is_whole = usize::try_from(count) == Ok(entries.len());
                if !in_order || !is_whole {
                    return broken("an entry is not there");
                }
                let prev = <[u8; 32]>::try_from(prev.as_slice()).unwrap_or_default();
                let mut found = chain(&prev, start, &header);
                for (_, entry) in &entries {
                    let length = u16::try_from(entry.len()).unwrap_or_default();
                    found.update(length.to_le_bytes());
                    found.update(entry);
                }
                if found.finalize().as_slice() != hash.as_slice() {
                    return broken("an entry is not as it came");
                }
                before = Some((start.saturating_add(unsigned(count)), hash));
            }
        }
    }

    /// Unix seconds of the oldest entry that is kept.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn oldest(&self) -> Result<Option<UnixSeconds>, DbError> {
        let (oldest,): (Option<i64>,) =
            sqlx::query_as("SELECT min(received_at) FROM batches").fetch_one(&self.readers).await?;
        Ok(oldest.map(|at| UnixSeconds(unsigned(at))))
    }
}

impl Row {
    /// The number here of an entry of the same batch: they were written in order, and nothing between them.
    fn other(&self, at: u32) -> i64 {
        let behind = self.sequence.saturating_sub(self.first).saturating_sub(i64::from(at));
        self.n.saturating_sub(behind)
    }
}

/// The entries that say a part of these, by their number here.
async fn others(tx: &mut SqliteConnection, rows: &[Row]) -> Result<Others, DbError> {
    let mut needed = BTreeSet::new();
    for row in rows {
        if let Some(Entry::Brief(brief)) = read_entry(&row.entry) {
            needed.extend(brief.needs().map(|at| row.other(at)));
        }
    }
    let needed: Vec<i64> = needed.into_iter().collect();
    let mut others = Others::new();
    for some in needed.chunks(NUMBERS_OF_A_STATEMENT) {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT n, batch, entry FROM entries WHERE n IN (");
        let mut list = query.separated(", ");
        some.iter().for_each(|n| {
            list.push_bind(*n);
        });
        query.push(")");
        let found: Vec<(i64, i64, Vec<u8>)> = query.build_query_as().fetch_all(&mut *tx).await?;
        others.extend(found.into_iter().map(|(n, batch, entry)| ((batch, n), entry)));
    }
    Ok(others)
}

fn view(row: &Row, others: &Others) -> Result<DecisionView, DbError> {
    let other = |at| read_entry(others.get(&(row.batch, row.other(at)))?);
    match read_entry(&row.entry).and_then(|entry| entry.whole(other)) {
        Some(Told::Decision(decision)) => Ok(DecisionView::of(row, &decision)),
        Some(Told::Counted(_)) | None => {
            Err(DbError::Corrupt(format!("decision {} does not decode", row.n)))
        }
    }
}

/// By batch and number.
type Others = BTreeMap<(i64, i64), Vec<u8>>;

const SELECT: &str =
    "SELECT e.n, e.sequence, e.batch, b.first, e.entry, b.received_at, r.vm, r.envoy, r.node, r.identity, r.shadow
  FROM entries e JOIN batches b ON b.n = e.batch JOIN reporters r ON r.id = b.reporter";
/// Of the 32,766 values that SQLite has in a statement.
const NUMBERS_OF_A_STATEMENT: usize = 1_024;
/// Decisions of one answer.
pub const MAX_PAGE: u32 = 1_000;
