//! Issuer keys while they rotate: how long each is believed, and which one signs.
//!
//! A gate that has not heard of a new key denies what it signed, so the key is published first and
//! signs later: once every gate that has not heard of it is stale. Until then the one before it
//! signs, and it is believed until the last gatepass that it may have signed has expired. All of
//! that stands in the windows, which are in the database and at the gates; nothing else is
//! remembered.

use gatepass_engine::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use gatepass_engine::gatepass::MAX_LIFETIME;
use gatepass_engine::keyring::{Algorithm, IssuerKey, KeyId};
use gatepass_engine::root::{Document, Role};
use gatepass_engine::routes::Index;

use crate::keychain::{Kept, Signers};
use crate::keys::{Signer as _, public_text};

/// What a new root document makes of the issuer keys.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    pub document: &'a Document,
    /// The keys in force.
    pub current: &'a [IssuerKey],
    /// `iss` of the environment.
    pub issuer: &'a str,
    pub now: UnixSeconds,
    /// When a key that is new now begins to sign, if another can until then.
    pub takeover: UnixSeconds,
}

impl Rotation<'_> {
    /// The keys in force under the document: those in force before that it names, and the last one
    /// that it names if it lies here. That one lasts as long as the document; the others retire.
    #[must_use]
    pub fn keys(&self, signers: &Signers) -> Vec<IssuerKey> {
        let named = self.document.keys.iter().filter(|key| key.role == Role::Issuer);
        let known = |public: &str| {
            let is = |key: &&IssuerKey| public_text(&key.public) == public;
            self.current.iter().find(is).filter(|key| key.not_after > self.now).cloned()
        };
        let newest = signers.issuers().last();
        let mut keys: Vec<IssuerKey> = named
            .filter_map(|key| {
                let new = || newest.filter(|kept| kept.public == key.public);
                known(&key.public).or_else(|| new().map(|kept| self.fresh(kept)))
            })
            .collect();
        if let Some((last, others)) = keys.split_last_mut() {
            for retiring in others {
                let end = self.takeover.plus(MAX_LIFETIME);
                retiring.not_after = retiring.not_after.min(end);
            }
            last.not_after = self.document.expires;
        }
        keys
    }

    fn fresh(&self, kept: &Kept) -> IssuerKey {
        IssuerKey {
            public: kept.key.public(),
            issuer: self.issuer.to_owned(),
            algorithm: Algorithm::EdDsa,
            // A gate's clock may be behind ours by as much as it accepts.
            not_before: UnixSeconds(self.now.0.saturating_sub(MAX_CLOCK_SKEW)),
            not_after: self.document.expires,
        }
    }
}

/// The key that signs gatepasses at `now`: of those that outlive any gatepass issued now, the one
/// that ends first. Where none does, because the root document is about to end, the one that ends
/// last. `None` when none lies here, is in its window and is not revoked.
pub fn signing<'s>(
    signers: &'s Signers,
    keys: &[IssuerKey],
    is_revoked: impl Fn(&str) -> bool,
    now: UnixSeconds,
) -> Option<&'s Kept> {
    let window = |kept: &Kept| {
        let found = keys.iter().find(|key| key.public == kept.key.public());
        found.filter(|key| key.not_before <= now && now < key.not_after).map(|key| key.not_after)
    };
    let usable = || {
        let all = signers.issuers().iter().filter(|kept| !is_revoked(&kept.kid));
        all.filter_map(|kept| window(kept).map(|end| (end, kept)))
    };
    let outlives = usable().filter(|(end, _)| now.plus(MAX_LIFETIME) <= *end);
    let chosen = outlives.min_by_key(|(end, _)| *end);
    chosen.or_else(|| usable().max_by_key(|(end, _)| *end)).map(|(_, kept)| kept)
}

/// When no gate decides any more that has not heard what was published at `now`: each action is
/// stale by then. A grace document may keep low risks going for longer, with the key before.
#[must_use]
pub fn heard_by_all(index: &Index, now: UnixSeconds) -> UnixSeconds {
    let bounds = index.bundle().actions.iter().map(|action| action.staleness);
    // A whole second more, because `issued_at` is one.
    now.plus(u64::from(bounds.max().unwrap_or(WITHOUT_ACTIONS)).saturating_add(1))
}

/// `kid` of a listed key.
#[must_use]
pub fn kid(key: &IssuerKey) -> String {
    KeyId::of(&key.public).to_string()
}

/// Seconds; that of medium risk.
const WITHOUT_ACTIONS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keychain::{Keychain, new_key};
    use crate::keys::KeyRole;
    use crate::roots::{PinnedRoots, first};
    use std::collections::HashSet;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);
    const TAKEOVER: UnixSeconds = UnixSeconds(1_000_010);
    const EXPIRES: UnixSeconds = UnixSeconds(9_000_000);

    /// Issuer keys in a directory, and what the roots of a test made of them so far.
    struct Desk {
        keychain: Keychain,
        made: Vec<Kept>,
        signers: Signers,
        keys: Vec<IssuerKey>,
        revoked: HashSet<String>,
        _dir: tempfile::TempDir,
    }

    impl Desk {
        fn of(count: usize) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let made = (0..count).map(|_| new_key(dir.path(), KeyRole::Issuer).unwrap()).collect();
            let keychain = Keychain::open(dir.path()).unwrap();
            let signers = keychain.under(None);
            Self { keychain, made, signers, keys: Vec::new(), revoked: HashSet::new(), _dir: dir }
        }

        /// A root that names these, in this order.
        fn root(&mut self, named: &[usize], now: UnixSeconds, takeover: UnixSeconds) {
            let keys: Vec<_> =
                named.iter().map(|at| (Role::Issuer, self.made[*at].key.public())).collect();
            let document = first("prod", &PinnedRoots::new(&[[1; 32]], 1), &keys, EXPIRES);
            self.signers = self.keychain.under(Some(&document));
            let issuer = "https://issuer.example";
            let current = &self.keys;
            let rotation = Rotation { document: &document, current, issuer, now, takeover };
            self.keys = rotation.keys(&self.signers);
        }

        /// Which one signs, by its number.
        fn signs(&self, now: UnixSeconds) -> Option<usize> {
            let revoked = |kid: &str| self.revoked.contains(kid);
            let kept = signing(&self.signers, &self.keys, revoked, now)?;
            self.made.iter().position(|made| made.kid == kept.kid)
        }

        /// Until when gates believe it.
        fn end(&self, at: usize) -> Option<UnixSeconds> {
            let public = self.made[at].key.public();
            self.keys.iter().find(|key| key.public == public).map(|key| key.not_after)
        }
    }

    #[test]
    fn the_new_key_is_published_first_and_signs_later() {
        let mut desk = Desk::of(2);
        desk.root(&[0], NOW, NOW);
        assert_eq!(desk.signs(NOW), Some(0));
        desk.root(&[0, 1], NOW, TAKEOVER);
        assert_eq!(desk.end(0), Some(TAKEOVER.plus(MAX_LIFETIME)));
        assert_eq!(desk.end(1), Some(EXPIRES));
        assert_eq!(desk.signs(NOW), Some(0));
        assert_eq!(desk.signs(TAKEOVER), Some(0), "what it signs ends in its window");
        assert_eq!(desk.signs(TAKEOVER.plus(1)), Some(1));
        // A root that only renews leaves that as it is.
        desk.root(&[0, 1], NOW.plus(5), NOW.plus(500));
        assert_eq!(desk.end(0), Some(TAKEOVER.plus(MAX_LIFETIME)));
        assert_eq!(desk.signs(TAKEOVER.plus(1)), Some(1));
        // One whose window is over is no longer listed, however often it is named.
        let over = TAKEOVER.plus(MAX_LIFETIME);
        desk.root(&[0, 1], over, over.plus(5));
        assert_eq!((desk.end(0), desk.signs(over)), (None, Some(1)));
    }

    #[test]
    fn without_the_old_key_the_new_one_signs_at_once() {
        let mut desk = Desk::of(2);
        desk.root(&[0], NOW, NOW);
        let before = desk.keys.clone();
        desk.root(&[1], NOW, TAKEOVER);
        assert_eq!((desk.signs(NOW), desk.end(0)), (Some(1), None));
        desk.keys = before;
        desk.root(&[0, 1], NOW, TAKEOVER);
        assert_eq!(desk.signs(NOW), Some(0));
        desk.revoked.insert(desk.made[0].kid.clone());
        assert_eq!(desk.signs(NOW), Some(1));
        desk.revoked.insert(desk.made[1].kid.clone());
        assert_eq!(desk.signs(NOW), None);
    }

    #[test]
    fn a_key_in_reserve_is_not_published() {
        let mut desk = Desk::of(3);
        desk.root(&[0], NOW, NOW);
        desk.root(&[1, 0], NOW, TAKEOVER);
        assert_eq!((desk.signs(NOW), desk.end(0), desk.end(1)), (Some(0), Some(EXPIRES), None));
        desk.root(&[1, 0, 2], NOW, TAKEOVER);
        assert_eq!((desk.signs(TAKEOVER.plus(1)), desk.end(1)), (Some(2), None));
    }

    #[test]
    fn three_in_a_row_take_over_one_after_the_other() {
        let mut desk = Desk::of(3);
        desk.root(&[0], NOW, NOW);
        desk.root(&[0, 1], NOW, NOW.plus(100));
        desk.root(&[0, 1, 2], NOW.plus(50), NOW.plus(150));
        let signs: Vec<_> = [60, 101, 150, 151].map(|s| desk.signs(NOW.plus(s))).into();
        assert_eq!(signs, [Some(0), Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn the_last_hour_of_a_root_is_signed_with_what_there_is() {
        let mut desk = Desk::of(1);
        desk.root(&[0], NOW, NOW);
        assert_eq!(desk.signs(UnixSeconds(EXPIRES.0 - 1)), Some(0));
        assert_eq!(desk.signs(EXPIRES), None);
    }
}
