//! The directory that `gatepass dev` keeps an environment in. A database replaces it; the formats
//! of what it signs stay.
//!
//! ```text
//! gatepass.json          the state; its rename is the commit
//! feed.key, issuer.key   private JWKs, mode 0600
//! roots/1.json ...       root documents (DSSE JSON)
//! bundles/3.bundle       the bundle published at sequence 3 (postcard)
//! batches/4.batch        the signed delta from 3 to 4
//! issued_at              the newest `issued_at` signed
//! lock                   held while something is signed
//! ```
//!
//! Several processes may use it at once: whoever signs holds the lock and has read the newest
//! state, so no two contents share a position and `issued_at` never falls. Readers need no lock.
//!
//! It refuses to keep root keys: they are made beside it, and belong offline.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepass_engine::batch::Batch;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::Unverified;
use gatepass_engine::position::Position;
use serde::{Deserialize, Serialize};

use crate::issue::{Grant, IssueError, Issuer, issue};
use crate::keys::{KeyError, KeyRole, SecretKey, Signer as _};
use crate::publish::{Changes, PublishError, Publisher, Revoke, State};
use crate::roots::{PinnedRoots, RootError, unverified_document};

mod files;
mod setup;

use files::{Files, Lock, Stamp};
pub use setup::Setup;

/// One environment in a directory.
pub struct Store {
    files: Files,
    record: Record,
    publisher: Publisher,
    roots: Vec<String>,
    /// Those of (base, sequence], in order.
    deltas: VecDeque<Delta>,
    feed_key: SecretKey,
    issuer_key: SecretKey,
    stamp: Option<Stamp>,
    checkpoint: Option<Signed<Arc<[u8]>>>,
    snapshot: Option<Signed<Vec<Arc<[u8]>>>>,
}

/// What there is to tell a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It has the newest position.
    Nothing,
    /// Envelopes, in the order in which they apply.
    Batches(Vec<Arc<[u8]>>),
    /// It is ahead of this store, so the store is an old copy.
    Ahead,
}

/// `gatepass.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    issuer: String,
    /// Deltas are kept from here on; a follower below it gets a snapshot.
    base: u64,
    /// The sequence that the bundle was published at; 0 for the empty one.
    bundle: u64,
    feed: State,
}

#[derive(Clone, Debug)]
struct Delta {
    to: u64,
    issued_at: UnixSeconds,
    expires_at: UnixSeconds,
    envelope: Arc<[u8]>,
}

/// Something signed once and given to all who ask in the same second.
struct Signed<T> {
    position: Position,
    issued_at: UnixSeconds,
    what: T,
}

impl Store {
    /// Makes a new environment in a directory that does not exist or is empty.
    ///
    /// # Errors
    /// Names what is wrong with `setup`, or the file that could not be written.
    pub fn create(dir: &Path, setup: &Setup, now: UnixSeconds) -> Result<Self, StoreError> {
        setup.make(dir, now)?;
        Self::open(dir)
    }

    /// # Errors
    /// [`StoreError::NoStore`], [`StoreError::Corrupt`], or a key that cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let files = Files::new(dir);
        let stamp = files.stamp()?;
        let record: Record = files.record()?;
        let (publisher, roots) = restored(&files, &record)?;
        let mut store = Self {
            feed_key: SecretKey::load(&files.path(FEED_KEY), KeyRole::Feed)?,
            issuer_key: SecretKey::load(&files.path(ISSUER_KEY), KeyRole::Issuer)?,
            files,
            record,
            publisher,
            roots,
            deltas: VecDeque::new(),
            stamp: Some(stamp),
            checkpoint: None,
            snapshot: None,
        };
        store.load_deltas()?;
        Ok(store)
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        self.files.dir()
    }

    #[must_use]
    pub const fn position(&self) -> Position {
        self.publisher.position()
    }

    #[must_use]
    pub const fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The chain of root documents (DSSE JSON), from version 1 on.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// What a plugin's configuration pins: the root keys of version 1.
    ///
    /// # Errors
    /// [`StoreError::Root`] when the first document does not parse.
    pub fn pinned_roots(&self) -> Result<PinnedRoots, StoreError> {
        let first = self.roots.first().map_or("", String::as_str);
        Ok(PinnedRoots::of_first(first)?)
    }

    /// Who issues gatepasses here.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        let public = self.issuer_key.public();
        let state = self.publisher.state();
        let registered = state.keys.keys.iter().find(|key| key.public == public);
        Issuer {
            issuer: self.record.issuer.clone(),
            environment: state.environment.clone(),
            algorithm: registered
                .map_or(gatepass_engine::keyring::Algorithm::EdDsa, |key| key.algorithm),
        }
    }

    /// The public keys that gatepasses are signed with.
    #[must_use]
    pub fn issuer_keys(&self) -> &[gatepass_engine::keyring::IssuerKey] {
        &self.publisher.state().keys.keys
    }

    /// Publishes a policy.
    ///
    /// # Errors
    /// As [`Store::change`].
    pub fn publish(&mut self, bundle: Bundle, now: UnixSeconds) -> Result<Position, StoreError> {
        self.change(&Changes::bundle(bundle), now)
    }

    /// Revokes, all in one step.
    ///
    /// # Errors
    /// As [`Store::change`].
    pub fn revoke(
        &mut self,
        revocations: Vec<Revoke>,
        now: UnixSeconds,
    ) -> Result<Position, StoreError> {
        self.change(&Changes::revoke(revocations), now)
    }

    /// Takes one step: signs its delta and writes it down. When this returns, the change is on
    /// the disk and any `serve` of this directory may tell of it.
    ///
    /// # Errors
    /// [`StoreError::Publish`], or the file that could not be written; then nothing changed.
    pub fn change(&mut self, changes: &Changes, now: UnixSeconds) -> Result<Position, StoreError> {
        let _lock = self.lock()?;
        let mut next = self.publisher.clone();
        let envelope = match next.delta(changes, &self.feed_key, now) {
            Ok(envelope) => Some(envelope),
            Err(PublishError::TooLarge) => {
                next.advance(changes)?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let to = next.position().sequence;
        let mut record = Record { feed: next.state().clone(), ..self.record.clone() };
        if changes.bundle.is_some() {
            record.bundle = to;
            self.files.write(&bundle_file(to), next.bundle_bytes())?;
        }
        let mut deltas = self.deltas.clone();
        match envelope {
            // Under a newer root the deltas signed before are refused.
            Some(_) if changes.root_version.is_some() => deltas.clear(),
            Some(_) => {}
            None => deltas.clear(),
        }
        if let Some(envelope) = envelope {
            self.files.write(&batch_file(to), &envelope)?;
            deltas.push_back(Delta::read(envelope, to)?);
        }
        bound(&mut deltas);
        record.base = to.saturating_sub(deltas.len() as u64);
        self.stamp = Some(self.files.commit(&record)?);
        self.files.mark(next.state().issued_at)?;
        self.files.prune(record.base, self.record.bundle);
        self.publisher = next;
        self.record = record;
        self.deltas = deltas;
        Ok(self.position())
    }

    /// Puts a newer root document in force: a step of its own, since batches state the root that
    /// they are signed under. Issuer keys that it does not name are gone.
    ///
    /// # Errors
    /// [`StoreError::Root`] when the chain does not lead to it.
    pub fn adopt_root(
        &mut self,
        envelope: String,
        now: UnixSeconds,
    ) -> Result<Position, StoreError> {
        self.refresh()?;
        let pinned = self.pinned_roots()?.pinned(&self.publisher.state().environment)?;
        let mut chain = self.roots.clone();
        chain.push(envelope.clone());
        let trust = crate::roots::walk(pinned, &chain, now)?;
        let kept = self.issuer_keys().iter();
        let kept = kept.filter(|key| trust.names_issuer(&key.public)).cloned();
        let changes = Changes {
            root_version: Some(trust.version()),
            keys: Some(kept.collect()),
            ..Changes::default()
        };
        self.files.write(&root_file(trust.version()), envelope.as_bytes())?;
        let position = self.change(&changes, now)?;
        self.roots = chain;
        Ok(position)
    }

    /// Issues a gatepass at the newest position.
    ///
    /// # Errors
    /// [`StoreError::Issue`].
    pub fn issue(&mut self, grant: &Grant, now: UnixSeconds) -> Result<String, StoreError> {
        self.refresh()?;
        let position = self.position();
        Ok(issue(grant, &self.issuer(), &self.issuer_key, position, now)?)
    }

    /// What a follower at `after` has not heard. Never a checkpoint alone.
    ///
    /// # Errors
    /// A file that cannot be read, or a snapshot that does not fit.
    pub fn news(&mut self, after: Option<Position>, now: UnixSeconds) -> Result<News, StoreError> {
        let here = self.position();
        let deltas = match after {
            Some(after) if after == here => return Ok(News::Nothing),
            Some(after) if after > here => {
                // Perhaps only this process is behind.
                return match self.refresh()? {
                    true => self.news(Some(after), now),
                    // A root that resets says that the position ahead is a thief's.
                    false if self.resets()? => self.snapshot(now).map(News::Batches),
                    false => Ok(News::Ahead),
                };
            }
            Some(after) => self.deltas_since(after, now),
            None => None,
        };
        let Some(mut batches) = deltas else {
            return self.snapshot(now).map(News::Batches);
        };
        // Deltas may be old; what follows them says how fresh the position is now.
        if self.deltas.back().is_some_and(|newest| newest.issued_at < now) {
            batches.extend(self.checkpoint_at(here, now)?);
        }
        Ok(News::Batches(batches))
    }

    /// Whether the newest root document resets.
    fn resets(&self) -> Result<bool, StoreError> {
        let newest = self.roots.last().map_or("", String::as_str);
        Ok(unverified_document(newest)?.reset)
    }

    /// What a follower at `after` is told when its wait is over: a checkpoint, or news that came
    /// in the last moment.
    ///
    /// # Errors
    /// As [`Store::news`].
    pub fn freshness(&mut self, after: Position, now: UnixSeconds) -> Result<News, StoreError> {
        match self.checkpoint_at(after, now)? {
            Some(checkpoint) => Ok(News::Batches(vec![checkpoint])),
            None => self.news(Some(after), now),
        }
    }

    /// Reads what other processes wrote; true when there was something. When there was nothing
    /// it costs one look at a file's metadata.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or a file that cannot be read; then nothing changed.
    pub fn refresh(&mut self) -> Result<bool, StoreError> {
        let stamp = self.files.stamp()?;
        if self.stamp == Some(stamp) {
            return Ok(false);
        }
        let record: Record = self.files.record()?;
        let (publisher, roots) = restored(&self.files, &record)?;
        if publisher.position().epoch != self.position().epoch {
            self.deltas.clear();
        }
        self.publisher = publisher;
        self.roots = roots;
        self.record = record;
        self.load_deltas()?;
        self.stamp = Some(stamp);
        Ok(true)
    }

    /// What must hold before anything is signed: nobody else signs, and what they signed is known.
    fn lock(&mut self) -> Result<Lock, StoreError> {
        let lock = self.files.lock()?;
        self.refresh()?;
        self.publisher.not_before(self.files.marked());
        Ok(lock)
    }

    /// `None` when the deltas kept do not reach back to `after`, or are past half of their life:
    /// then a snapshot serves a follower longer.
    fn deltas_since(&self, after: Position, now: UnixSeconds) -> Option<Vec<Arc<[u8]>>> {
        if after.epoch != self.position().epoch || after.sequence < self.record.base {
            return None;
        }
        let wanted = self.deltas.iter().filter(|delta| delta.to > after.sequence);
        wanted
            .map(|delta| {
                let half = delta.expires_at.since(delta.issued_at) / 2;
                (now < delta.issued_at.plus(half)).then(|| Arc::clone(&delta.envelope))
            })
            .collect()
    }

    fn snapshot(&mut self, now: UnixSeconds) -> Result<Vec<Arc<[u8]>>, StoreError> {
        let position = self.position();
        if let Some(signed) = &self.snapshot
            && signed.position == position
            && signed.issued_at >= now
        {
            return Ok(signed.what.clone());
        }
        let _lock = self.lock()?;
        let parts = self.publisher.snapshot(&self.feed_key, now)?;
        let parts: Vec<Arc<[u8]>> = parts.into_iter().map(Arc::from).collect();
        let issued_at = self.publisher.state().issued_at;
        self.files.mark(issued_at)?;
        self.snapshot = Some(Signed { position: self.position(), issued_at, what: parts.clone() });
        Ok(parts)
    }

    /// Signed once a second; `None` when the position has moved on.
    fn checkpoint_at(
        &mut self,
        position: Position,
        now: UnixSeconds,
    ) -> Result<Option<Arc<[u8]>>, StoreError> {
        if let Some(signed) = &self.checkpoint
            && signed.position == position
            && position == self.position()
            && signed.issued_at >= now
        {
            return Ok(Some(Arc::clone(&signed.what)));
        }
        let _lock = self.lock()?;
        if self.position() != position {
            return Ok(None);
        }
        let envelope: Arc<[u8]> = self.publisher.checkpoint(&self.feed_key, now)?.into();
        let issued_at = self.publisher.state().issued_at;
        self.files.mark(issued_at)?;
        self.checkpoint = Some(Signed { position, issued_at, what: Arc::clone(&envelope) });
        Ok(Some(envelope))
    }

    fn load_deltas(&mut self) -> Result<(), StoreError> {
        let sequence = self.position().sequence;
        let mut deltas = VecDeque::new();
        for to in self.record.base.saturating_add(1)..=sequence {
            let known = self.deltas.iter().find(|delta| delta.to == to).cloned();
            deltas.push_back(match known {
                Some(delta) => delta,
                None => Delta::read(self.files.read(&batch_file(to))?, to)?,
            });
        }
        self.deltas = deltas;
        Ok(())
    }
}

impl Delta {
    fn read(envelope: Vec<u8>, to: u64) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt(batch_file(to));
        let unverified = Unverified::from_postcard(&envelope).map_err(corrupt)?;
        let header = Batch::decode(unverified.unverified_payload()).map_err(corrupt)?.header;
        if header.to != to {
            return Err(StoreError::Corrupt(batch_file(to)));
        }
        Ok(Self {
            to,
            issued_at: header.issued_at,
            expires_at: header.expires_at,
            envelope: envelope.into(),
        })
    }
}

fn restored(files: &Files, record: &Record) -> Result<(Publisher, Vec<String>), StoreError> {
    if record.format != FORMAT {
        return Err(StoreError::Corrupt(PathBuf::from(files::RECORD)));
    }
    let bundle = match record.bundle {
        0 => Bundle::default(),
        at => {
            let bytes = files.read(&bundle_file(at))?;
            gatepass_engine::batch::exact(&bytes, "the bundle")
                .map_err(|_| StoreError::Corrupt(bundle_file(at)))?
        }
    };
    let mut publisher = Publisher::restore(record.feed.clone(), bundle)?;
    publisher.not_before(files.marked());
    let roots = (1..=record.feed.root_version).map(|version| {
        let bytes = files.read(&root_file(version))?;
        String::from_utf8(bytes).map_err(|_| StoreError::Corrupt(root_file(version)))
    });
    Ok((publisher, roots.collect::<Result<_, _>>()?))
}

/// Keeps as many deltas as are cheaper to send than a snapshot.
fn bound(deltas: &mut VecDeque<Delta>) {
    let size =
        |deltas: &VecDeque<Delta>| -> usize { deltas.iter().map(|d| d.envelope.len()).sum() };
    while deltas.len() > MAX_DELTAS || size(deltas) > MAX_DELTA_BYTES {
        deltas.pop_front();
    }
}

fn bundle_file(sequence: u64) -> PathBuf {
    Path::new("bundles").join(format!("{sequence}.bundle"))
}

fn batch_file(to: u64) -> PathBuf {
    Path::new("batches").join(format!("{to}.batch"))
}

fn root_file(version: u64) -> PathBuf {
    Path::new("roots").join(format!("{version}.json"))
}

/// Why the directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{}` holds no environment: run `gatepass dev init --dir {}`", .0.display(), .0.display())]
    NoStore(PathBuf),
    #[error("`{}` is not empty: give a new directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("{0}")]
    Setup(String),
    #[error("`{}` in the directory is damaged or of another version", .0.display())]
    Corrupt(PathBuf),
    #[error("`{}`: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Issue(#[from] IssueError),
}

const FORMAT: u32 = 1;
const FEED_KEY: &str = "feed.key";
const ISSUER_KEY: &str = "issuer.key";
/// Deltas kept; with roots and a checkpoint well below what one answer may hold.
const MAX_DELTAS: usize = 256;
/// Bytes of all deltas kept.
const MAX_DELTA_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
