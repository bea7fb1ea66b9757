//! The gate's state: what is believed, in force, and how batches change it.
//!
//! The order of checks on a batch is that of 02-wire-formats, "The batch". A batch that is
//! refused, skipped or partly refused never renews freshness. Nothing is half-applied: a change is
//! decoded and checked whole before the first of it is put in force.

use std::sync::Arc;

use crate::batch::{Batch, Feed, Header, Shape, exact, short_digest, whole_digest};
use crate::bundle::Bundle;
use crate::clock::{MAX_CLOCK_SKEW, Milliseconds, Now, Times, UnixSeconds};
use crate::ed25519::{BaseTable, PublicKey};
use crate::freshness::Freshness;
use crate::keyring::Keyring;
use crate::position::Position;
use crate::refusal::{Refusal, RefusalCode};
use crate::replay::ReplayTable;
use crate::revocation::{Kind, Revocations};
use crate::root::{Pinned, Trust};
use crate::routes::Index;

mod grace;
mod order;
mod reading;
mod staged;

use grace::Granted;
use order::Order;
pub use reading::Authentic;

/// What a gate is told by its configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub environment: String,
    pub feed_audience: String,
    pub mode: Mode,
}

/// Whether a denial refuses the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    /// Refuses nothing, not even `not_ready`.
    Shadow,
}

/// All state that decisions are made on.
pub struct Gate {
    settings: Settings,
    trust: Trust,
    base: BaseTable,
    keyring: Keyring,
    revocations: Option<Revocations>,
    index: Option<Arc<Index>>,
    /// The header of the newest batch applied, from the feed or the baseline.
    newest: Option<Newest>,
    /// Set when a batch came from the feed; the baseline never sets it.
    progress: Progress,
    freshness: Option<Freshness>,
    bundle: BundleState,
    /// Of the bundle in force; 0 before the first.
    bundle_digest: u64,
    /// The newest `issued_at` accepted; the time used for `exp` is never below it.
    floor: UnixSeconds,
    /// The position of a verified batch that could not be joined on or applied: the gate is known
    /// to be behind it, and serves nothing older.
    ahead: Option<Position>,
    grace: Granted,
    replays: ReplayTable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    root_version: u64,
    position: Position,
    issued_at: UnixSeconds,
}

/// How far the gate is.
#[derive(Debug)]
enum Progress {
    /// Nothing came from the feed yet.
    NotReady,
    /// Between the parts of a first snapshot, or of one of another epoch.
    Loading(Parts),
    Ready {
        position: Position,
        loading: Option<Parts>,
    },
}

/// A snapshot of which some parts have come.
#[derive(Debug)]
struct Parts {
    header: Header,
    digests: Vec<[u8; 32]>,
    bundle: Option<Vec<u8>>,
    replaces: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BundleState {
    None,
    InForce(Position),
    /// One was refused: freshness is not renewed until its successor is in force.
    Owed(Option<Position>),
}

/// What a batch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The position moved.
    Moved(Position),
    /// Freshness was renewed at the same position.
    Renewed,
    /// One part of a snapshot was merged; the position moves with the last.
    Part,
    /// Older than, or the same as, what is in force, and nothing to tell.
    Known,
}

impl Gate {
    #[must_use]
    pub fn new(settings: Settings, pinned: Pinned) -> Self {
        Self {
            settings,
            trust: Trust::new(pinned),
            base: BaseTable::new(),
            keyring: Keyring::default(),
            revocations: None,
            index: None,
            newest: None,
            progress: Progress::NotReady,
            freshness: None,
            bundle: BundleState::None,
            bundle_digest: 0,
            floor: UnixSeconds(0),
            ahead: None,
            grace: Granted::default(),
            replays: ReplayTable::new(&[0; 16]),
        }
    }

    /// Takes the baseline of the configuration: roots, keys, revocations and a bundle, never
    /// freshness, and the gate stays not ready.
    ///
    /// # Errors
    /// As [`Gate::apply`], but an expired batch is taken: it is not proof of anything new.
    pub fn baseline(&mut self, feed: &Feed<'_>, now: Now) -> Result<(), Refusal> {
        self.trust = self.trust.advance(&feed.roots, now.unix)?;
        self.read_grace();
        for bytes in &feed.batches {
            let payload = self.open(bytes)?;
            let batch = Batch::decode(&payload)?;
            self.check_identity(&batch.header)?;
            if batch.header.shape() != Shape::Snapshot || batch.header.parts != 1 {
                return Err(Refusal::new(
                    RefusalCode::Gap,
                    "a baseline is one snapshot of one part",
                ));
            }
            check_whole(&batch.header, &[batch.digest()])?;
            let staged = self.stage(&batch)?;
            self.put_in_force(staged);
            let position = batch.header.position();
            // Before the bundle: one that is refused still leaves the floor below which nothing
            // is taken.
            self.newest = Some(Newest::of(&batch.header));
            self.floor = self.floor.max(batch.header.issued_at);
            self.put_bundle(batch.bundle.map(<[u8]>::to_vec), position, || true)?;
        }
        Ok(())
    }

    /// Takes root documents that came beside batches. A chain that is no longer than the one in
    /// force changes nothing.
    ///
    /// # Errors
    /// As [`Trust::advance`].
    pub fn take_roots(&mut self, roots: &[&[u8]], now: UnixSeconds) -> Result<(), Refusal> {
        let next = self.trust.advance(roots, now.max(self.floor))?;
        if next.version() != self.trust.version() {
            self.keyring = self.keyring.under(&next);
            self.trust = next;
            self.read_grace();
        }
        Ok(())
    }

    /// Applies one batch. `received` is when this Envoy first had it.
    ///
    /// # Errors
    /// The refusal; what was in force stays, and freshness is not renewed. `bundle_refused` alone
    /// means that revocations and keys were applied and the position moved.
    pub fn apply(
        &mut self,
        envelope: &[u8],
        received: Milliseconds,
        now: Now,
    ) -> Result<Applied, Refusal> {
        let batch = self.read(envelope)?;
        self.apply_authentic(&batch, received, now, || true)
    }

    /// [`Gate::apply`] of a batch that was read before: its signature costs more than all the rest,
    /// and on the request path of every worker. `before_bundle` is asked when revocations and keys are in
    /// force and before the bundle is looked at; false refuses the bundle alone.
    ///
    /// # Errors
    /// As [`Gate::apply`]; `gap` when a newer root was taken since it was read.
    pub fn apply_authentic(
        &mut self,
        authentic: &Authentic,
        received: Milliseconds,
        now: Now,
        before_bundle: impl FnOnce() -> bool,
    ) -> Result<Applied, Refusal> {
        if authentic.read_under != self.trust.version() {
            return Err(Refusal::new(RefusalCode::Gap, "it was read under another root"));
        }
        let batch = Batch::decode(&authentic.payload)?;
        let header = &batch.header;
        let unix = now.unix;
        if header.issued_at > unix.plus(MAX_CLOCK_SKEW) {
            self.fall_behind(header.position());
            return Err(Refusal::new(RefusalCode::ClockSkew, "`issued_at` is in the future"));
        }
        match self.order(header) {
            Order::Known => return Ok(Applied::Known),
            Order::Refused(code, why) => {
                if code == RefusalCode::Gap && header.expires_at > self.time_for_expiry(now) {
                    self.fall_behind(header.position());
                }
                return Err(Refusal::new(code, why));
            }
            Order::Checkpoint | Order::Next => {}
        }
        if self.newest.is_some_and(|newest| header.issued_at < newest.issued_at) {
            return Err(Refusal::new(RefusalCode::Rollback, ISSUED_BEFORE));
        }
        if header.expires_at <= self.time_for_expiry(now) {
            return Err(Refusal::new(RefusalCode::Expired, "the batch has expired"));
        }
        if self.trust.expires().is_none_or(|expires| expires <= self.time_for_expiry(now)) {
            return Err(Refusal::new(RefusalCode::Expired, "the root in force has expired"));
        }
        if header.shape() == Shape::Checkpoint {
            return self.renew(header, received).map(|()| Applied::Renewed);
        }
        let position = header.position();
        let applied = self.advance(&batch, received, before_bundle);
        // Whatever a batch lacks that is ours and newer, what is in force is known to be older.
        if applied.is_err() {
            self.ahead = self.ahead.max(Some(position));
        }
        applied
    }

    /// Takes note of a verified position that could not be applied here: another VM may have, so
    /// nothing older is served from now on.
    pub fn fall_behind(&mut self, position: Position) {
        self.ahead = self.ahead.max(Some(position));
    }

    fn advance(
        &mut self,
        batch: &Batch<'_>,
        received: Milliseconds,
        before_bundle: impl FnOnce() -> bool,
    ) -> Result<Applied, Refusal> {
        let header = &batch.header;
        let position = header.position();
        if self.revocations.as_ref().is_some_and(Revocations::is_nearly_full) {
            // What is over must not keep out what is new: who refuses the batch ends nothing after it.
            self.end_revocations();
        }
        let staged = self.stage(batch)?;
        if header.parts == 1 {
            check_whole(header, &[batch.digest()])?;
            self.put_in_force(staged);
            let bundle = batch.bundle.map(<[u8]>::to_vec);
            return self.finish(header, bundle, received, before_bundle);
        }
        let mut parts = match self.take_loading() {
            Some(parts) if parts.header.position() == position && header.part != 0 => parts,
            _ => Parts {
                header: header.clone(),
                digests: Vec::new(),
                bundle: None,
                replaces: staged.replaces,
            },
        };
        if parts.header.whole_digest != header.whole_digest || parts.header.parts != header.parts {
            return Err(Refusal::new(RefusalCode::Gap, "a part of another snapshot"));
        }
        parts.digests.push(batch.digest());
        let last = parts.digests.len() == usize::from(header.parts);
        if last {
            // Before the last part is merged: what came so far can only deny, and ends by itself.
            check_whole(header, &parts.digests)?;
        }
        if let Some(share) = batch.bundle {
            parts.bundle.get_or_insert_default().extend_from_slice(share);
        }
        self.put_in_force(staged);
        if last {
            return self.finish(header, parts.bundle, received, before_bundle);
        }
        self.progress = match (&self.progress, parts.replaces) {
            (Progress::Ready { position, .. }, false) => {
                Progress::Ready { position: *position, loading: Some(parts) }
            }
            _ => Progress::Loading(parts),
        };
        Ok(Applied::Part)
    }

    fn finish(
        &mut self,
        header: &Header,
        bundle: Option<Vec<u8>>,
        received: Milliseconds,
        before_bundle: impl FnOnce() -> bool,
    ) -> Result<Applied, Refusal> {
        let position = header.position();
        self.progress = Progress::Ready { position, loading: None };
        self.newest = Some(Newest::of(header));
        self.floor = self.floor.max(header.issued_at);
        // A snapshot is where a reset may have taken the position back to.
        if header.shape() == Shape::Snapshot {
            self.ahead = None;
        }
        if !self.revocations.as_ref().is_some_and(Revocations::is_nearly_full) {
            self.end_revocations();
        }
        // A snapshot is full: one without a bundle must not leave an older policy in force.
        let bundle = match header.shape() {
            Shape::Snapshot => Some(bundle.unwrap_or_default()),
            Shape::Delta | Shape::Checkpoint => bundle,
        };
        self.put_bundle(bundle, position, before_bundle)?;
        match self.bundle {
            BundleState::Owed(_) => Err(Refusal::new(
                RefusalCode::BundleRefused,
                "the successor of a refused bundle is still owed",
            )),
            BundleState::InForce(_) | BundleState::None => {
                self.freshness = Some(Freshness { issued_at: header.issued_at, received });
                Ok(Applied::Moved(position))
            }
        }
    }

    fn end_revocations(&mut self) {
        let stays: Vec<u64> = self.named_key_hashes();
        if let Some(revocations) = &mut self.revocations {
            revocations.end(self.floor, &stays);
        }
    }

    fn renew(&mut self, header: &Header, received: Milliseconds) -> Result<(), Refusal> {
        if let BundleState::Owed(_) = self.bundle {
            return Err(Refusal::new(
                RefusalCode::BundleRefused,
                "the successor of a refused bundle is still owed",
            ));
        }
        // The same proof heard twice is as old as its first hearing.
        let received = match self.freshness {
            Some(old) if old.issued_at == header.issued_at => old.received.min(received),
            _ => received,
        };
        self.freshness = Some(Freshness { issued_at: header.issued_at, received });
        self.newest = Some(Newest::of(header));
        self.floor = self.floor.max(header.issued_at);
        Ok(())
    }

    fn put_bundle(
        &mut self,
        bytes: Option<Vec<u8>>,
        position: Position,
        before: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        let Some(bytes) = bytes else { return Ok(()) };
        let refused = |why: String| Refusal::new(RefusalCode::BundleRefused, why);
        if !before() {
            self.bundle = BundleState::Owed(self.bundle_position());
            return Err(refused("putting it in force ended several VMs before".to_owned()));
        }
        let index = exact::<Bundle>(&bytes, "the bundle")
            .map_err(|refusal| refused(refusal.detail))
            .and_then(|bundle| Index::build(bundle).map_err(|flaw| refused(flaw.to_string())));
        match index {
            Ok(index) => {
                self.index = Some(Arc::new(index));
                self.bundle = BundleState::InForce(position);
                self.bundle_digest = short_digest(&bytes);
                Ok(())
            }
            Err(refusal) => {
                self.bundle = BundleState::Owed(self.bundle_position());
                Err(refusal)
            }
        }
    }

    fn loading(&self) -> Option<&Parts> {
        match &self.progress {
            Progress::Loading(parts) | Progress::Ready { loading: Some(parts), .. } => Some(parts),
            Progress::NotReady | Progress::Ready { loading: None, .. } => None,
        }
    }

    fn take_loading(&mut self) -> Option<Parts> {
        match core::mem::replace(&mut self.progress, Progress::NotReady) {
            Progress::Loading(parts) => Some(parts),
            Progress::Ready { position, loading } => {
                self.progress = Progress::Ready { position, loading: None };
                loading
            }
            Progress::NotReady => None,
        }
    }

    fn named_key_hashes(&self) -> Vec<u64> {
        let Some(table) = &self.revocations else {
            return Vec::new();
        };
        let hash = |id: &crate::keyring::KeyId| table.hash_key().hash(Kind::Key, &id.to_string());
        self.trust.issuer_key_ids().map(|id| hash(&id)).collect()
    }

    /// The position in force; `None` before the first batch from the feed.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        match &self.progress {
            Progress::Ready { position, .. } => Some(*position),
            Progress::NotReady | Progress::Loading(_) => None,
        }
    }

    /// Whether some parts of a snapshot have come and some have not.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading().is_some()
    }

    /// The position that the gate is known to be behind of, if it is.
    #[must_use]
    pub fn behind(&self) -> Option<Position> {
        self.ahead.filter(|ahead| self.position().is_none_or(|position| position < *ahead))
    }

    /// The position of the bundle in force.
    #[must_use]
    pub const fn bundle_position(&self) -> Option<Position> {
        match self.bundle {
            BundleState::InForce(position) => Some(position),
            BundleState::Owed(position) => position,
            BundleState::None => None,
        }
    }

    /// The same with which bundle it is: a base brings the one that a delta brought before, at its own
    /// position.
    #[must_use]
    pub fn bundle_in_force(&self) -> Option<(Position, u64)> {
        self.bundle_position().map(|position| (position, self.bundle_digest))
    }

    /// Age of the last proof of freshness in milliseconds; `None` before the first.
    #[must_use]
    pub fn age(&self, now: Now) -> Option<u64> {
        self.freshness.map(|freshness| freshness.age(now))
    }

    /// As if the newest proof had been signed so many seconds earlier: for whoever asks what would be decided
    /// then. It can only deny more.
    pub fn grow_older(&mut self, seconds: u64) {
        if let Some(proof) = &mut self.freshness {
            proof.issued_at = UnixSeconds(proof.issued_at.0.saturating_sub(seconds));
        }
    }

    /// The time that `exp` is held against: never below the newest `issued_at` accepted, nor below the newest
    /// proof's with what the monotonic clock has run since. A wall clock that is set back keeps nothing alive.
    #[must_use]
    pub fn time_for_expiry(&self, now: Now) -> UnixSeconds {
        self.times(now).ends
    }

    /// That time, and the one that `iat`, `nbf` and the windows of keys are held against: what is not vouched
    /// for, as when a proof came, may end something and begin nothing.
    #[must_use]
    pub fn times(&self, now: Now) -> Times {
        let begins = now.unix.max(self.floor);
        let by_proof = self.freshness.map_or(begins, |proof| proof.time(now.monotonic));
        Times { begins, ends: begins.max(by_proof) }
    }

    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        self.index.as_deref()
    }

    /// The same, to be held on to: for as long as it is in force, it is this very one.
    #[must_use]
    pub const fn shared_index(&self) -> Option<&Arc<Index>> {
        self.index.as_ref()
    }

    /// Makes the table of one issuer key that has none yet; until then its gatepasses are verified slowly.
    /// False when all have theirs. Between requests, because it takes milliseconds.
    pub fn prepare(&self) -> bool {
        self.keyring.prepare()
    }

    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    #[must_use]
    pub const fn base(&self) -> &BaseTable {
        &self.base
    }

    #[must_use]
    pub const fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// The uses that this worker knows to be spent.
    #[must_use]
    pub const fn replays(&self) -> &ReplayTable {
        &self.replays
    }

    pub const fn replays_mut(&mut self) -> &mut ReplayTable {
        &mut self.replays
    }

    /// Begins anew with a table whose places nobody else can foresee.
    pub fn key_replays(&mut self, random: &[u8; 16]) {
        self.replays = ReplayTable::new(random);
    }

    /// The keys that may sign verdicts.
    #[must_use]
    pub fn redeem_keys(&self) -> &[PublicKey] {
        self.trust.redeem_keys()
    }

    #[must_use]
    pub fn root_version(&self) -> u64 {
        self.trust.version()
    }
}

impl Newest {
    const fn of(header: &Header) -> Self {
        Self {
            root_version: header.root_version,
            position: header.position(),
            issued_at: header.issued_at,
        }
    }
}

fn check_whole(header: &Header, digests: &[[u8; 32]]) -> Result<(), Refusal> {
    if whole_digest(digests) == header.whole_digest {
        Ok(())
    } else {
        Err(Refusal::new(RefusalCode::Poison, "the parts do not have the digest of the whole"))
    }
}

const ROOT_DID_NOT_COME: &str = "the batch is signed under a root that did not come with it";
const ISSUED_BEFORE: &str = "`issued_at` is before the one in force";

#[cfg(test)]
mod tests;
