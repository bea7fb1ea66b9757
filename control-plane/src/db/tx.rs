//! A transaction of the writer: where everything that changes state happens.
//!
//! A change is made of statements, at most one step of the feed, and audit records. The step is
//! signed when the change has succeeded, so that a change that fails leaves the sequence as it
//! was; the position that it will have is known before.

use std::sync::Arc;

use gatepass_engine::batch::Batch;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::Unverified;
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use sqlx::{Connection as _, SqliteConnection};

use super::DbError;
use super::book::{Book, Delta, Step};
use super::load::{Loaded, kind_name, load};
use crate::audit::{self, Entry, Head};
use crate::feed::Clock;
use crate::fleet::Fleet;
use crate::issuers;
use crate::keychain::{Kept, Keychain, Signers};
use crate::publish::{Carried, Changes, Publisher, Revoke, ToCohort};
use crate::roots::unverified_document;

mod budgets;
mod deltas;
mod uses;

pub(crate) use budgets::{Reservation, joined};
pub(crate) use uses::Spending;

/// The writer's end of the database. Only [`super::Db::write`] hands one out.
pub struct Tx {
    connection: SqliteConnection,
    publisher: Publisher,
    keys: Arc<Keychain>,
    /// Under the newest of `roots`.
    signers: Arc<Signers>,
    fleet: Arc<Fleet>,
    clock: Clock,
    head: Head,
    /// What the change in hand does to the feed.
    changes: Option<Changes>,
    /// The audit head before the change in hand.
    saved_head: Head,
    saved_signers: Arc<Signers>,
    /// What the group has done to the feed so far, for the book.
    steps: Vec<Step>,
    roots: Vec<String>,
    new_roots: usize,
    savepoint: Savepoint,
    /// Memory and transaction may say different things: the group fails, and what is on the disk is
    /// read again before the next.
    broken: bool,
}

/// How the statements of the change in hand can be taken back without the rest of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Savepoint {
    /// There are none.
    Needless,
    /// To the savepoint.
    Open,
    /// Not at all: they ran without one.
    Missed,
}

impl Tx {
    pub(super) fn new(
        connection: SqliteConnection,
        loaded: Loaded,
        keys: Arc<Keychain>,
        fleet: Arc<Fleet>,
        clock: Clock,
    ) -> Result<Self, DbError> {
        let signers = Arc::new(signers(&keys, &loaded.roots)?);
        Ok(Self {
            connection,
            publisher: loaded.publisher,
            keys,
            saved_signers: Arc::clone(&signers),
            signers,
            fleet,
            clock,
            saved_head: loaded.head.clone(),
            head: loaded.head,
            changes: None,
            steps: Vec::new(),
            new_roots: 0,
            roots: loaded.roots,
            savepoint: Savepoint::Needless,
            broken: false,
        })
    }

    /// For statements. They see what the group has done so far.
    pub fn sql(&mut self) -> &mut SqliteConnection {
        if self.savepoint == Savepoint::Needless {
            self.savepoint = Savepoint::Missed;
        }
        &mut self.connection
    }

    /// For statements that only read, so that none of it has to be taken back.
    pub(crate) fn reading(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// In a change of [`super::Db::write_in_one`] that does more than its one write.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn guard(&mut self) -> Result<(), DbError> {
        if self.savepoint == Savepoint::Needless {
            sqlx::query("SAVEPOINT change").execute(&mut self.connection).await?;
            self.savepoint = Savepoint::Open;
        }
        Ok(())
    }

    /// Never before what was signed last: gates end what has expired by that, so a revocation made
    /// after the clock went back would be dropped before what it kills has expired.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        (self.clock)().max(self.publisher.state().issued_at)
    }

    /// The position that a reader of this transaction's state is at: what a gatepass issued now
    /// carries as `seq`.
    #[must_use]
    pub fn position(&self) -> Position {
        let at = self.publisher.position();
        match &self.changes {
            None => at,
            Some(changes) => Position { sequence: changes.leads_to(at.sequence), ..at },
        }
    }

    /// The feed's state before this change.
    #[must_use]
    pub const fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// What followers have reported: some changes are judged by it.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The secret keys of the directory.
    #[must_use]
    pub fn keychain(&self) -> &Arc<Keychain> {
        &self.keys
    }

    /// What signs under the root in force.
    #[must_use]
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// What signs a gatepass that is issued now.
    #[must_use]
    pub fn issuer(&self) -> Option<&Kept> {
        let revoked = |kid: &str| self.publisher.hits(Kind::Key, kid, 0);
        issuers::signing(&self.signers, &self.publisher.state().keys.keys, revoked, self.now())
    }

    /// Root documents in force, oldest first.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    #[must_use]
    pub const fn audit_head(&self) -> &Head {
        &self.head
    }

    /// Kills the gatepasses of things from this change's position on.
    pub fn revoke(&mut self, revocations: impl IntoIterator<Item = Revoke>) {
        let mut revocations = revocations.into_iter().peekable();
        if revocations.peek().is_some() {
            self.changes.get_or_insert_default().revocations.extend(revocations);
        }
    }

    /// Puts a compiled policy in force for those in no cohort.
    pub fn publish(&mut self, bundle: gatepass_engine::bundle::Bundle) {
        self.changes.get_or_insert_default().bundle = Some(bundle);
    }

    /// Does this to a cohort, from this change's position on.
    pub fn change_cohort(&mut self, name: &str, change: ToCohort) {
        self.changes.get_or_insert_default().cohorts.push((name.to_owned(), change));
    }

    /// Replaces the list of issuer keys.
    pub fn set_issuer_keys(&mut self, keys: Vec<gatepass_engine::keyring::IssuerKey>) {
        self.changes.get_or_insert_default().keys = Some(keys);
    }

    /// Puts a newer root document in force, from this change on; the caller has walked the chain.
    /// `leap` is how much further than one the sequence moves.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn adopt_root(
        &mut self,
        version: u64,
        envelope: String,
        signers: Signers,
        leap: u32,
    ) -> Result<(), DbError> {
        sqlx::query("INSERT INTO roots (version, envelope) VALUES (?, ?)")
            .bind(signed(version))
            .bind(&envelope)
            .execute(self.sql())
            .await?;
        let changes = self.changes.get_or_insert_default();
        changes.root_version = Some(version);
        changes.leap = leap;
        self.signers = Arc::new(signers);
        self.roots.push(envelope);
        self.new_roots = self.new_roots.saturating_add(1);
        Ok(())
    }

    /// Appends to the record. Every change does, in its own transaction.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit(&mut self, entry: Entry<'_>) -> Result<u64, DbError> {
        let record = self.head.next(&entry, self.position(), self.now())?;
        sqlx::query(
            "INSERT INTO audit (n, at, target, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(signed(record.n))
        .bind(signed(record.at.0))
        .bind(entry.target)
        .bind(&record.body)
        .bind(&record.prev)
        .bind(&record.hash)
        .execute(self.sql())
        .await?;
        self.head = Head { n: record.n, hash: record.hash };
        Ok(record.n)
    }

    /// Notes that something was signed with this `issued_at`: the next is never before it.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn signed_at(&mut self, issued_at: UnixSeconds) -> Result<(), DbError> {
        self.publisher.not_before(issued_at);
        sqlx::query("UPDATE environment SET issued_at = max(issued_at, ?)")
            .bind(signed(issued_at.0))
            .execute(self.sql())
            .await?;
        Ok(())
    }

    /// [`Tx::audit`] of a gatepass with all that issuing writes, as one message to the database.
    /// On an error nothing of it is there.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn issued(
        &mut self,
        issuance: &Issuance<'_>,
        entry: Entry<'_>,
    ) -> Result<(), DbError> {
        let at = self.position();
        let record = self.head.next(&entry, at, self.now())?;
        let written = sqlx::query(ISSUE)
            .bind(issuance.agent)
            .bind(issuance.assertion)
            .bind(signed(issuance.assertion_until.0))
            .bind(issuance.jti)
            .bind(issuance.agent)
            .bind(issuance.task)
            .bind(issuance.subject)
            .bind(issuance.claims)
            .bind(signed(at.epoch))
            .bind(signed(at.sequence))
            .bind(signed(issuance.expires_at.0))
            .bind(signed(record.n))
            .bind(signed(record.at.0))
            .bind(entry.target)
            .bind(&record.body)
            .bind(&record.prev)
            .bind(&record.hash)
            .execute(&mut self.connection)
            .await;
        if let Err(error) = written {
            let undone = sqlx::query("ROLLBACK TO issuance; RELEASE issuance");
            if undone.execute(&mut self.connection).await.is_err() {
                self.broken = true;
            }
            return Err(error.into());
        }
        self.head = Head { n: record.n, hash: record.hash };
        Ok(())
    }

    /// Everything goes into the one file, so that it can be copied as it lies there.
    pub(super) async fn close(mut self) {
        let whole = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        if let Err(error) = whole.execute(&mut self.connection).await {
            tracing::warn!(%error, "the write-ahead log was not taken into the database");
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not closed");
        }
    }

    pub(super) async fn begin(&mut self) -> Result<(), DbError> {
        if self.broken {
            self.reload().await?;
        }
        sqlx::query(BEGIN).execute(&mut self.connection).await?;
        Ok(())
    }

    /// The change to come can be taken back: at once, or once it asks for that.
    pub(super) async fn save(&mut self, at_once: bool) -> Result<(), DbError> {
        self.saved_head = self.head.clone();
        self.saved_signers = Arc::clone(&self.signers);
        self.changes = None;
        self.new_roots = 0;
        self.savepoint = Savepoint::Needless;
        if at_once { self.guard().await } else { Ok(()) }
    }

    pub(super) async fn keep(&mut self) -> Result<(), DbError> {
        if let Some(changes) = self.changes.take()
            && let Err(error) = self.step(&changes).await
        {
            self.undo().await?;
            return Err(error);
        }
        if self.savepoint == Savepoint::Open
            && let Err(error) = sqlx::query("RELEASE change").execute(&mut self.connection).await
        {
            // There was a savepoint, so the transaction is gone: some errors end it.
            self.broken = true;
            return Err(error.into());
        }
        Ok(())
    }

    pub(super) async fn undo(&mut self) -> Result<(), DbError> {
        self.changes = None;
        self.head = self.saved_head.clone();
        self.signers = Arc::clone(&self.saved_signers);
        self.roots.truncate(self.roots.len().saturating_sub(self.new_roots));
        self.new_roots = 0;
        match self.savepoint {
            Savepoint::Needless => {
                let still = sqlx::query(STILL_OPEN).execute(&mut self.connection).await;
                self.broken |= still.is_err();
                still.map(|_| ()).map_err(DbError::from)
            }
            Savepoint::Missed => {
                self.broken = true;
                Err(DbError::NotCommitted("it ran without a savepoint".to_owned()))
            }
            Savepoint::Open => {
                let undone = sqlx::query("ROLLBACK TO change; RELEASE change");
                let undone = undone.execute(&mut self.connection).await;
                // As above: a full disk, for one, ends the whole transaction.
                self.broken |= undone.is_err();
                undone.map(|_| ()).map_err(DbError::from)
            }
        }
    }

    /// Nothing more can be done in this group, and nothing of it will be kept.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// A change did not come to its end.
    pub(super) const fn give_up(&mut self) {
        self.broken = true;
    }

    pub(super) async fn commit(&mut self, book: &Book) -> Result<(), DbError> {
        if self.broken {
            return Err(DbError::NotCommitted(
                "a change of the same moment could not be taken back".to_owned(),
            ));
        }
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        let steps = core::mem::take(&mut self.steps);
        for (cohort, change) in steps.iter().flat_map(|step| &step.changes.cohorts) {
            match change {
                ToCohort::Own(_) => self.fleet.mark(cohort),
                ToCohort::End => self.fleet.unmark(cohort),
                ToCohort::Begin | ToCohort::OfAll => {}
            }
        }
        book.take(steps, &self.roots, &self.signers, self.head.clone());
        // Where a slow revocation waited shows in the times of these lines and of the feed's.
        tracing::debug!(position = %self.publisher.position(), "committed");
        Ok(())
    }

    /// After a failure: what is in memory may be ahead of the disk, so it is read again before the
    /// next group.
    pub(super) async fn abandon(&mut self) {
        self.broken = true;
        self.steps.clear();
        // Fails where no transaction is open, which is as good.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
    }

    async fn reload(&mut self) -> Result<(), DbError> {
        self.connection.ping().await?;
        let loaded = load(&mut self.connection).await?;
        self.publisher = loaded.publisher;
        self.saved_head = loaded.head.clone();
        self.head = loaded.head;
        self.signers = Arc::new(signers(&self.keys, &loaded.roots)?);
        self.roots = loaded.roots;
        self.changes = None;
        self.broken = false;
        Ok(())
    }

    /// Signs the step and writes it down.
    async fn step(&mut self, changes: &Changes) -> Result<(), DbError> {
        let now = self.now();
        self.publisher.set_audit_head(audit::digest(&self.head.hash));
        let before = self.publisher.position();
        let at = Position { sequence: changes.leads_to(before.sequence), ..before };
        let revocations = self.publisher.revocations(&changes.revocations, at.sequence);
        let feed = Arc::clone(&self.signers.feed()?.key);
        let carried = match changes.root_version {
            // Under a newer root the base and the deltas that gates have are refused: a VM that
            // starts then, or that slept, needs a base that it can believe at once.
            Some(_) => {
                self.publisher.advance(changes)?;
                Vec::new()
            }
            None => self.publisher.deltas(changes, &*feed, now)?,
        };
        // From here on memory is ahead of the savepoint: a failure makes the group fail.
        self.broken = true;
        for revocation in &revocations {
            sqlx::query(
                "INSERT INTO revocations (key, kind, below, drop_after) VALUES (?, ?, ?, ?)
                 ON CONFLICT (key) DO UPDATE SET
                   below = CASE WHEN below IS NULL OR excluded.below IS NULL THEN NULL
                                ELSE max(below, excluded.below) END,
                   drop_after = max(drop_after, excluded.drop_after)",
            )
            .bind(i64::from_ne_bytes(revocation.key.to_ne_bytes()))
            .bind(kind_name(revocation.kind))
            .bind(match revocation.below {
                gatepass_engine::revocation::Below::Always => None,
                gatepass_engine::revocation::Below::Sequence(below) => Some(signed(below)),
            })
            .bind(signed(revocation.drop_after.0))
            .execute(&mut self.connection)
            .await?;
        }
        if let Some(keys) = &changes.keys {
            sqlx::query("DELETE FROM issuer_keys").execute(&mut self.connection).await?;
            for key in keys {
                sqlx::query("INSERT INTO issuer_keys VALUES (?, ?, ?, ?, ?)")
                    .bind(key.public.as_slice())
                    .bind(&key.issuer)
                    .bind(crate::issue::algorithm_name(key.algorithm))
                    .bind(signed(key.not_before.0))
                    .bind(signed(key.not_after.0))
                    .execute(&mut self.connection)
                    .await?;
            }
        }
        let state = self.publisher.state();
        sqlx::query(
            "UPDATE environment SET sequence = ?, issued_at = ?, root_version = ?, keys_version = ?",
        )
        .bind(signed(state.sequence))
        .bind(signed(state.issued_at.0))
        .bind(signed(state.root_version))
        .bind(signed(state.keys.version))
        .execute(&mut self.connection)
        .await?;
        let mut delta = None;
        let mut cohorts = Vec::new();
        for Carried { cohort, delta: envelope } in carried {
            let signed = envelope.map(|envelope| read(envelope, at.sequence)).transpose()?;
            match cohort {
                None => delta = signed,
                Some(name) => cohorts.push((name, signed)),
            }
        }
        self.keep_delta(delta.as_ref(), at.sequence).await?;
        // Nothing more is written where there are no cohorts: a revocation waits for this.
        if !self.publisher.cohorts().is_empty() || !changes.cohorts.is_empty() {
            self.keep_cohort_deltas(&cohorts, at.sequence).await?;
        }
        self.broken = false;
        let issued_at = self.publisher.state().issued_at;
        self.steps.push(Step { changes: changes.clone(), issued_at, delta, cohorts });
        Ok(())
    }
}

/// What signs under the newest of these root documents.
pub(super) fn signers(keys: &Keychain, roots: &[String]) -> Result<Signers, DbError> {
    let corrupt = |error| DbError::Corrupt(format!("a root document: {error}"));
    let document =
        roots.last().map(|root| unverified_document(root).map_err(corrupt)).transpose()?;
    Ok(keys.under(document.as_ref()))
}

fn read(envelope: Vec<u8>, to: u64) -> Result<Delta, DbError> {
    let corrupt = |what: &str| DbError::Corrupt(format!("the delta just signed: {what}"));
    let opened =
        Unverified::from_postcard(&envelope).map_err(|refusal| corrupt(&refusal.to_string()))?;
    let batch = Batch::decode(opened.unverified_payload())
        .map_err(|refusal| corrupt(&refusal.to_string()))?;
    let (issued_at, expires_at) = (batch.header.issued_at, batch.header.expires_at);
    Ok(Delta { to, issued_at, expires_at, envelope: envelope.into() })
}

/// What issuing writes besides its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issuance<'a> {
    pub(crate) agent: &'a str,
    /// `jti` of the client assertion, which is spent.
    pub(crate) assertion: &'a str,
    pub(crate) assertion_until: UnixSeconds,
    pub(crate) jti: &'a str,
    pub(crate) task: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) claims: &'a str,
    pub(crate) expires_at: UnixSeconds,
}

/// The savepoint is there for [`STILL_OPEN`].
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT transaction_of_the_group";
/// Fails when SQLite has ended the transaction, as it does after some errors. Unnoticed, the next
/// change would begin and commit one of its own.
const STILL_OPEN: &str = "RELEASE transaction_of_the_group; SAVEPOINT transaction_of_the_group";
/// Five statements, one message to SQLite's thread and one back: waking threads costs more than
/// what they do here.
const ISSUE: &str = "SAVEPOINT issuance;
INSERT INTO spent (agent, jti, until) VALUES (?, ?, ?);
INSERT INTO gatepasses (jti, agent, task, subject, claims, epoch, sequence, expires_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?);
INSERT INTO audit (n, at, target, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?);
RELEASE issuance";

/// SQLite's integers are signed; what we count stays far below either end.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
