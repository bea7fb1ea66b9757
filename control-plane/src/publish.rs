//! What the feed says: bundle, revocations and issuer keys at a position, and the signed batches
//! that carry them (02-wire-formats, "The batch").
//!
//! Pure: the time and the signer are arguments, nothing is written anywhere. A change moves the
//! sequence by one or not at all.
//!
//! **How long a batch can be taken.** `expires_at` is a day after `issued_at` by default, and not
//! a minute: any VM of an Envoy, however young, rebuilds its state from the snapshot and deltas
//! that another one fetched, so they must stay acceptable until that base is replaced. What says
//! how old state may be is freshness: an old batch that is replayed is fresh as of its
//! `issued_at`, and every action is stale after its own bound, 15 minutes at most.

use std::sync::Arc;

use gatepass_engine::FILTER_LEVEL;
use gatepass_engine::batch::{Batch, Header, MAX_PART_BYTES, whole_digest};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::keyring::{IssuerKey, IssuerKeys, MAX_ISSUER_KEYS};
use gatepass_engine::position::Position;
use gatepass_engine::revocation::{Below, Change, HashKey, Kind, MAX_REVOCATIONS, Revocation};
use gatepass_engine::routes::{Flaw, Index};
use serde::{Deserialize, Serialize};

use crate::keys::Signer;

mod cohorts;
mod snapshot;

pub use cohorts::{Carried, Cohort, ToCohort};
use cohorts::{Next, Policy};

/// What an environment starts with.
#[derive(Clone, Debug)]
pub struct Genesis {
    pub environment: String,
    /// The feed audience.
    pub audience: String,
    /// max(old + 1, unix seconds) when a store is created or restored.
    pub epoch: u64,
    /// Of the revocations; random, one per epoch.
    pub hash_key: [u8; 16],
    /// The version of the newest root document.
    pub root_version: u64,
    /// Issuer keys that the root document names.
    pub keys: Vec<IssuerKey>,
}

/// Everything but the bundle, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub environment: String,
    pub audience: String,
    pub root_version: u64,
    pub epoch: u64,
    pub sequence: u64,
    pub hash_key: [u8; 16],
    pub keys: IssuerKeys,
    /// Sorted by key, each once.
    pub revocations: Vec<Revocation>,
    /// The newest `issued_at` signed: the next is never before it.
    pub issued_at: UnixSeconds,
    /// Seconds from `issued_at` to `expires_at`.
    pub batch_life: u64,
}

/// One step of the sequence. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub revocations: Vec<Revoke>,
    /// The whole list; its version is counted up.
    pub keys: Option<Vec<IssuerKey>>,
    pub bundle: Option<Bundle>,
    /// A newer root document is in force from this step on.
    pub root_version: Option<u64>,
    /// How much further than one the sequence moves.
    pub leap: u32,
    /// What it does to cohorts, by name. A cohort that is not here keeps its policy, whatever
    /// `bundle` is; all else of the step is for every audience.
    pub cohorts: Vec<(String, ToCohort)>,
}

/// A thing whose gatepasses are dead from this step on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    pub kind: Kind,
    /// As the gatepass writes it: `agent:<uuid>`, a `jti`, a `kid`, ...
    pub id: String,
    /// The latest `exp` of a gatepass that it can hit, plus [`DROP_MARGIN`].
    pub drop_after: UnixSeconds,
}

impl Changes {
    /// The sequence after this step from `sequence`.
    #[must_use]
    pub fn leads_to(&self, sequence: u64) -> u64 {
        sequence.saturating_add(1).saturating_add(self.leap.into())
    }

    #[must_use]
    pub fn bundle(bundle: Bundle) -> Self {
        Self { bundle: Some(bundle), ..Self::default() }
    }

    #[must_use]
    pub fn revoke(revocations: Vec<Revoke>) -> Self {
        Self { revocations, ..Self::default() }
    }
}

impl Revoke {
    /// Where no record says when the last gatepass of the thing ends: an hour, which no gatepass
    /// outlives, and the margin.
    #[must_use]
    pub fn new(kind: Kind, id: &str, now: UnixSeconds) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            drop_after: now.plus(gatepass_engine::gatepass::MAX_LIFETIME).plus(DROP_MARGIN),
        }
    }
}

/// The state of one environment's feed.
#[derive(Clone, Debug)]
pub struct Publisher {
    state: State,
    hash_key: HashKey,
    policy: Policy,
    /// By name.
    cohorts: Vec<Cohort>,
    /// The audit record's head, carried in each batch.
    audit_head: Option<[u8; 32]>,
}

impl Publisher {
    /// Starts at sequence 1 with a bundle that knows no host, so that everything is denied.
    ///
    /// # Errors
    /// [`PublishError::Keys`].
    pub fn new(genesis: Genesis) -> Result<Self, PublishError> {
        let Genesis { environment, audience, epoch, hash_key, root_version, keys } = genesis;
        check_keys(&keys)?;
        Self::restore(
            State {
                environment,
                audience,
                root_version,
                epoch,
                sequence: 1,
                hash_key,
                keys: IssuerKeys { version: 1, keys },
                revocations: Vec::new(),
                issued_at: UnixSeconds(0),
                batch_life: DEFAULT_BATCH_LIFE,
            },
            Bundle::default(),
        )
    }

    /// Goes on from what a store kept.
    ///
    /// # Errors
    /// [`PublishError::Bundle`], [`PublishError::State`].
    pub fn restore(mut state: State, bundle: Bundle) -> Result<Self, PublishError> {
        if state.epoch == 0 || state.sequence == 0 {
            return Err(PublishError::State("positions start at 1.1"));
        }
        state.revocations.sort_by_key(|revocation| revocation.key);
        Ok(Self {
            hash_key: HashKey::new(&state.environment, &state.hash_key),
            state,
            policy: Policy::compile(bundle)?,
            cohorts: Vec::new(),
            audit_head: None,
        })
    }

    /// What batches state as the head of the audit record from now on.
    pub const fn set_audit_head(&mut self, head: Option<[u8; 32]>) {
        self.audit_head = head;
    }

    /// What the step to `to` adds to the table of revocations.
    #[must_use]
    pub fn revocations(&self, revokes: &[Revoke], to: u64) -> Vec<Revocation> {
        let item = |revoke: &Revoke| Revocation {
            kind: revoke.kind,
            key: self.hash_key.hash(revoke.kind, &revoke.id),
            below: below(revoke.kind, to),
            drop_after: revoke.drop_after,
        };
        revokes.iter().map(item).collect()
    }

    /// Whether a revocation in force kills what carries this id and was issued at this sequence of
    /// the epoch; as a gate's table says it.
    #[must_use]
    pub fn hits(&self, kind: Kind, id: &str, sequence: u64) -> bool {
        let key = self.hash_key.hash(kind, id);
        let all = &self.state.revocations;
        let found =
            all.binary_search_by_key(&key, |known| known.key).ok().and_then(|at| all.get(at));
        found.is_some_and(|found| match found.below {
            Below::Always => true,
            Below::Sequence(below) => sequence < below,
        })
    }

    /// [`Publisher::index`], to keep.
    #[must_use]
    pub fn shared_index(&self) -> Arc<Index> {
        Arc::clone(&self.policy.index)
    }

    #[must_use]
    pub const fn position(&self) -> Position {
        Position { epoch: self.state.epoch, sequence: self.state.sequence }
    }

    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    #[must_use]
    pub fn index(&self) -> &Index {
        &self.policy.index
    }

    /// The bundle in force as postcard.
    #[must_use]
    pub fn bundle_bytes(&self) -> &[u8] {
        &self.policy.bundle
    }

    /// Another span from `issued_at` to `expires_at`, in seconds; at least [`MIN_BATCH_LIFE`].
    #[must_use]
    pub fn with_batch_life(mut self, seconds: u64) -> Self {
        self.state.batch_life = seconds.max(MIN_BATCH_LIFE);
        self
    }

    /// Makes sure that nothing is signed with an `issued_at` before this one: another process may
    /// have signed for the same store.
    pub fn not_before(&mut self, issued_at: UnixSeconds) {
        self.state.issued_at = self.state.issued_at.max(issued_at);
    }

    /// The whole state, in parts of at most 512 KiB each.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] when it does not fit in 256 parts.
    pub fn snapshot(
        &mut self,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<Vec<u8>>, PublishError> {
        let audience = self.state.audience.clone();
        let bundle = Arc::clone(&self.policy.bundle);
        self.snapshot_of(&audience, &bundle, feed, now)
    }

    /// Takes one step and returns the delta that carries it, where there are no cohorts:
    /// [`Publisher::deltas`] is for all audiences.
    ///
    /// # Errors
    /// Then nothing changed. [`PublishError::TooLarge`] when it does not fit in one batch: take
    /// the step with [`Publisher::advance`] and let followers fetch a snapshot.
    pub fn delta(
        &mut self,
        changes: &Changes,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<u8>, PublishError> {
        let issued_at = self.stamp(now);
        let step = self.prepare(changes)?;
        let news = self.news(&step, step.policy.as_ref())?;
        let envelope = self.signed_step(&step, &self.state.audience, &news, issued_at, feed)?;
        self.commit(step);
        Ok(envelope)
    }

    /// What a step says to followers whose policy becomes this one, or stays.
    fn news(&self, step: &Step, policy: Option<&Policy>) -> Result<Part, PublishError> {
        let change = || Change { hash_key: None, total: step.total, items: step.items.clone() };
        Ok(Part {
            revocations: (!step.items.is_empty()).then(|| encoded(&change())).transpose()?,
            keys: step.keys.as_ref().map(encoded).transpose()?,
            bundle: policy.map(|policy| policy.bundle.to_vec()),
        })
    }

    fn signed_step(
        &self,
        step: &Step,
        audience: &str,
        news: &Part,
        issued_at: UnixSeconds,
        feed: &dyn Signer,
    ) -> Result<Vec<u8>, PublishError> {
        let mut header = self.header(audience, self.state.sequence, step.to, issued_at);
        header.root_version = step.root_version;
        header.whole_digest = whole_digest(&[news.batch(header.clone()).digest()]);
        signed(&news.batch(header), feed)
    }

    /// Takes one step without a delta: followers fetch a snapshot.
    ///
    /// # Errors
    /// Then nothing changed.
    pub fn advance(&mut self, changes: &Changes) -> Result<(), PublishError> {
        let step = self.prepare(changes)?;
        self.commit(step);
        Ok(())
    }

    /// Proof of freshness at the position in force.
    ///
    /// # Errors
    /// None in practice: writing to memory.
    pub fn checkpoint(
        &mut self,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<u8>, PublishError> {
        let audience = self.state.audience.clone();
        self.checkpoint_of(&audience, feed, now)
    }

    fn checkpoint_of(
        &mut self,
        audience: &str,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<u8>, PublishError> {
        let issued_at = self.stamp(now);
        let at = self.state.sequence;
        let part = Part::default();
        let mut header = self.header(audience, at, at, issued_at);
        header.whole_digest = whole_digest(&[part.batch(header.clone()).digest()]);
        signed(&part.batch(header), feed)
    }

    /// `issued_at` never falls, whatever the clock does.
    fn stamp(&mut self, now: UnixSeconds) -> UnixSeconds {
        self.state.issued_at = self.state.issued_at.max(now);
        self.state.issued_at
    }

    fn header(&self, audience: &str, from: u64, to: u64, issued_at: UnixSeconds) -> Header {
        Header {
            environment: self.state.environment.clone(),
            feed_audience: audience.to_owned(),
            root_version: self.state.root_version,
            epoch: self.state.epoch,
            from,
            to,
            part: 0,
            parts: 1,
            whole_digest: [0; 32],
            hash_key_id: self.hash_key.id(),
            issued_at,
            expires_at: issued_at.plus(self.state.batch_life),
            min_filter: FILTER_LEVEL,
            audit_head: self.audit_head,
        }
    }

    fn prepare(&self, changes: &Changes) -> Result<Step, PublishError> {
        let to = changes.leads_to(self.state.sequence);
        if to == u64::MAX {
            return Err(PublishError::State("the sequence is used up"));
        }
        let root_version = changes.root_version.unwrap_or(self.state.root_version);
        if root_version < self.state.root_version {
            return Err(PublishError::State("a root version never falls"));
        }
        let items = self.revocations(&changes.revocations, to);
        let issued_at = self.state.issued_at;
        let alive = |known: &&Revocation| !has_ended(known, issued_at);
        let in_force = self.state.revocations.iter().filter(alive).count();
        let total = in_force.saturating_add(items.len());
        if total > MAX_REVOCATIONS {
            return Err(PublishError::TooManyRevocations);
        }
        let keys = match &changes.keys {
            Some(keys) => {
                check_keys(keys)?;
                Some(IssuerKeys {
                    version: self.state.keys.version.saturating_add(1),
                    keys: keys.clone(),
                })
            }
            None => None,
        };
        let policy = changes.bundle.clone().map(Policy::compile).transpose()?;
        let of_all = policy.as_ref().unwrap_or(&self.policy);
        let cohorts = self.next(&changes.cohorts, of_all)?;
        let policies = cohorts.iter().map(|next| &next.cohort.policy).chain([of_all]);
        let bundle_bytes = policies.map(|policy| policy.bundle.len()).max().unwrap_or(0);
        if total.saturating_mul(MAX_REVOCATION_BYTES).saturating_add(bundle_bytes) > MAX_STATE_BYTES
        {
            return Err(PublishError::Full);
        }
        Ok(Step {
            to,
            root_version,
            items,
            total: u32::try_from(total).map_err(|_| PublishError::TooManyRevocations)?,
            keys,
            policy,
            cohorts,
        })
    }

    fn commit(&mut self, step: Step) {
        self.drop_ended();
        self.state.sequence = step.to;
        self.state.root_version = step.root_version;
        match step.items.len() {
            0..=FEW => step.items.into_iter().for_each(|item| self.insert(item)),
            _ => self.insert_many(step.items),
        }
        if let Some(keys) = step.keys {
            self.state.keys = keys;
        }
        if let Some(policy) = step.policy {
            self.policy = policy;
        }
        self.cohorts = step.cohorts.into_iter().map(|next| next.cohort).collect();
    }

    /// Of two for the same thing the stricter holds, as in the gate's table.
    fn insert(&mut self, new: Revocation) {
        let all = &mut self.state.revocations;
        match all.binary_search_by_key(&new.key, |old| old.key) {
            Ok(at) => {
                if let Some(old) = all.get_mut(at) {
                    tighten(old, &new);
                }
            }
            Err(at) => all.insert(at, new),
        }
    }

    /// [`Publisher::insert`] of many, which would move the others each time.
    fn insert_many(&mut self, new: Vec<Revocation>) {
        let all = &mut self.state.revocations;
        all.extend(new);
        all.sort_by_key(|one| one.key);
        all.dedup_by(|later, first| {
            let same = later.key == first.key;
            if same {
                tighten(first, later);
            }
            same
        });
    }

    /// As a gate that has accepted `issued_at` does. Keys' revocations stay: only the root
    /// documents say when the last of them may go.
    fn drop_ended(&mut self) {
        let issued_at = self.state.issued_at;
        self.state.revocations.retain(|known| !has_ended(known, issued_at));
    }
}

/// By the newest `issued_at` signed, as gates end them.
fn has_ended(revocation: &Revocation, issued_at: UnixSeconds) -> bool {
    issued_at > revocation.drop_after && revocation.kind != Kind::Key
}

fn tighten(old: &mut Revocation, new: &Revocation) {
    old.below = match (old.below, new.below) {
        (Below::Sequence(a), Below::Sequence(b)) => Below::Sequence(a.max(b)),
        (Below::Always, _) | (_, Below::Always) => Below::Always,
    };
    old.drop_after = old.drop_after.max(new.drop_after);
}

/// A step that was checked and not yet taken.
struct Step {
    to: u64,
    root_version: u64,
    items: Vec<Revocation>,
    total: u32,
    keys: Option<IssuerKeys>,
    policy: Option<Policy>,
    /// Those that there are after it.
    cohorts: Vec<Next>,
}

/// The changes of one batch, encoded.
#[derive(Default)]
struct Part {
    revocations: Option<Vec<u8>>,
    keys: Option<Vec<u8>>,
    bundle: Option<Vec<u8>>,
}

impl Part {
    fn batch(&self, header: Header) -> Batch<'_> {
        Batch {
            header,
            revocations: self.revocations.as_deref(),
            keys: self.keys.as_deref(),
            bundle: self.bundle.as_deref(),
        }
    }
}

/// A credential, task or key never comes back; the others can, and then only what was issued
/// before is dead.
const fn below(kind: Kind, to: u64) -> Below {
    match kind {
        Kind::Credential | Kind::Task | Kind::Key => Below::Always,
        Kind::Subject | Kind::Agent | Kind::Owner | Kind::Blueprint => Below::Sequence(to),
    }
}

fn check_keys(keys: &[IssuerKey]) -> Result<(), PublishError> {
    if keys.len() > MAX_ISSUER_KEYS {
        return Err(PublishError::Keys(format!("more than {MAX_ISSUER_KEYS} issuer keys")));
    }
    for key in keys {
        if gatepass_engine::ids::Uri::parse(&key.issuer).is_none() {
            return Err(PublishError::Keys(format!(
                "the issuer `{}` is not an absolute URI",
                key.issuer
            )));
        }
    }
    Ok(())
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, PublishError> {
    postcard::to_allocvec(value).map_err(|_| PublishError::Encoding)
}

fn signed(batch: &Batch<'_>, feed: &dyn Signer) -> Result<Vec<u8>, PublishError> {
    let payload = batch.encode().map_err(|_| PublishError::Encoding)?;
    let envelope = Unverified::new(PayloadType::Batch, payload)
        .sign_with(|message| feed.sign(message))
        .to_postcard()
        .map_err(|_| PublishError::Encoding)?;
    if envelope.len() > MAX_PART_BYTES {
        return Err(PublishError::TooLarge);
    }
    Ok(envelope)
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the bundle is refused: {0}")]
    Bundle(Flaw),
    #[error("{0}")]
    Keys(String),
    #[error("more than {MAX_REVOCATIONS} revocations are in force")]
    TooManyRevocations,
    #[error("it does not fit in a batch")]
    TooLarge,
    #[error(
        "bundle and revocations are over {MAX_STATE_BYTES} bytes, so no gate could fetch them whole"
    )]
    Full,
    #[error("there is no cohort `{0}`")]
    NoCohort(String),
    #[error("there is a cohort `{0}` already")]
    Cohort(String),
    #[error("the state contradicts itself: {0}")]
    State(&'static str),
    #[error("it does not encode")]
    Encoding,
}

/// Seconds that a revocation outlives the last gatepass that it can hit.
pub const DROP_MARGIN: u64 = 60;
/// Seconds; see the head of this module.
pub const DEFAULT_BATCH_LIFE: u64 = 24 * 3600;
/// Seconds: the largest staleness bound that an action can have, so that expiry never refuses
/// what freshness would allow.
pub const MIN_BATCH_LIFE: u64 = 3600;
/// Bytes of revocations or bundle in one part, so that keys, header and signature fit beside.
const PART_BUDGET: usize = 480 * 1024;
/// A revocation, encoded: kind 1, key 10, `below` 11, `drop_after` 10.
const MAX_REVOCATION_BYTES: usize = 32;
/// Revocations of one step that are put in their places one by one.
const FEW: usize = 16;
/// What a gate takes in a hundredth of a second or two: it loads one part at a time.
const REVOCATIONS_PER_PART: usize = 1 << 13;
const _: () = assert!(REVOCATIONS_PER_PART * MAX_REVOCATION_BYTES <= PART_BUDGET);
/// Bytes of a state, so that its snapshot and the root documents fit in one answer of the feed.
const MAX_STATE_BYTES: usize = 48 * 1024 * 1024;

#[cfg(test)]
mod tests;
