//! Revocations and issuer keys of a batch, checked whole before any of them is in force.

use super::Gate;
use crate::batch::{Batch, Shape, exact};
use crate::keyring::{CheckedKeys, IssuerKeys};
use crate::refusal::{Refusal, RefusalCode};
use crate::revocation::{Change, HashKey, MAX_REVOCATIONS, Revocation, Revocations};

/// Revocations and keys, decoded and checked, not yet in force.
pub(super) struct Staged {
    pub(super) replaces: bool,
    hash_key: HashKey,
    total: usize,
    items: Vec<Revocation>,
    keys: Option<CheckedKeys>,
}

impl Gate {
    /// Decodes and checks revocations and keys without touching anything.
    pub(super) fn stage(&self, batch: &Batch<'_>) -> Result<Staged, Refusal> {
        let header = &batch.header;
        let change: Option<Change> =
            batch.revocations.map(|bytes| exact(bytes, "the revocations")).transpose()?;
        let keys: Option<IssuerKeys> =
            batch.keys.map(|bytes| exact(bytes, "the keys")).transpose()?;
        if header.shape() == Shape::Snapshot && header.part == 0 && keys.is_none() {
            return Err(Refusal::new(
                RefusalCode::Poison,
                "a snapshot states the issuer keys in its first part",
            ));
        }
        let resets = self.is_reset_by(header);
        let known = if resets { self.keyring.reset() } else { self.keyring.clone() };
        let keys = keys.map(|keys| known.check(keys, &self.trust)).transpose()?;
        let old_epoch = self.newest.map(|newest| newest.position.epoch);
        let loading_epoch = self.loading().map(|parts| parts.header.epoch);
        let same_table = !resets
            && self.revocations.is_some()
            && (loading_epoch == Some(header.epoch)
                || (loading_epoch.is_none() && old_epoch == Some(header.epoch)));
        let replaces = header.shape() == Shape::Snapshot && !same_table;
        let hash_key = match (change.as_ref().and_then(|change| change.hash_key), &self.revocations)
        {
            (Some(key), _) if header.shape() == Shape::Snapshot => {
                HashKey::new(&self.settings.environment, &key)
            }
            (None, Some(table)) if same_table => table.hash_key().clone(),
            _ => {
                return Err(Refusal::new(
                    RefusalCode::Gap,
                    "the hash key is stated in the first part of a snapshot and only there",
                ));
            }
        };
        if hash_key.id() != header.hash_key_id {
            return Err(Refusal::new(RefusalCode::Gap, "the batch is for another hash key"));
        }
        if same_table
            && self.revocations.as_ref().is_some_and(|table| table.hash_key().id() != hash_key.id())
        {
            return Err(Refusal::new(RefusalCode::Gap, "an epoch keeps its hash key"));
        }
        let items = change.map(|change| (change.total, change.items));
        let (total, items) = items.unwrap_or_default();
        let room = match &self.revocations {
            Some(table) if !replaces => table.has_room_for(&items),
            _ => items.len() <= MAX_REVOCATIONS,
        };
        if !room {
            return Err(Refusal::new(
                RefusalCode::Poison,
                format!("more than {MAX_REVOCATIONS} revocations"),
            ));
        }
        let total = usize::try_from(total).unwrap_or(usize::MAX).min(MAX_REVOCATIONS);
        Ok(Staged { replaces, hash_key, total, items, keys })
    }

    pub(super) fn put_in_force(&mut self, staged: Staged) {
        if let Some(keys) = staged.keys {
            self.keyring = self.keyring.changed(keys);
        }
        if staged.replaces || self.revocations.is_none() {
            // The old table goes first: Wasm memory never shrinks, so two at once would stay paid.
            self.revocations = None;
            self.revocations = Some(Revocations::new(staged.hash_key, staged.total));
        }
        if let Some(table) = &mut self.revocations {
            staged.items.iter().for_each(|revocation| table.insert(revocation));
        }
    }
}
