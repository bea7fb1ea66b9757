//! A new environment: its keys, its first root document and its first, empty state.

use std::path::{Path, PathBuf};

use gatepass_engine::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use gatepass_engine::ids::{Uri, is_token};
use gatepass_engine::keyring::{Algorithm, IssuerKey};
use gatepass_engine::root::{MAX_DOCUMENT_LIFE, Role};

use super::files::{Files, make_dir};
use super::{FEED_KEY, FORMAT, ISSUER_KEY, Record, StoreError, root_file};
use crate::keys::{KeyError, KeyRole, SecretKey, Signer};
use crate::publish::{Genesis, Publisher};
use crate::roots::{PinnedRoots, first, sign, walk};

/// What a new environment is called and how it is trusted.
#[derive(Clone, Debug)]
pub struct Setup {
    pub environment: String,
    /// The feed audience.
    pub audience: String,
    /// `iss`: an absolute URI.
    pub issuer: String,
    pub algorithm: Algorithm,
    /// Where the root keys go: not the store's directory, they belong offline.
    pub root_dir: PathBuf,
    pub root_keys: usize,
    /// How many of them must sign a root document.
    pub threshold: usize,
}

impl Setup {
    /// One root key in a directory beside `dir`.
    #[must_use]
    pub fn new(dir: &Path, environment: &str, audience: &str, issuer: &str) -> Self {
        let mut root_dir = dir.as_os_str().to_owned();
        root_dir.push("-root");
        Self {
            environment: environment.to_owned(),
            audience: audience.to_owned(),
            issuer: issuer.to_owned(),
            algorithm: Algorithm::EdDsa,
            root_dir: root_dir.into(),
            root_keys: 1,
            threshold: 1,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let refuse = |what: String| Err(StoreError::Setup(what));
        for (name, value) in [("environment", &self.environment), ("audience", &self.audience)] {
            if !is_token(value) {
                return refuse(format!("the {name} must be 1 to 128 visible ASCII characters"));
            }
        }
        if Uri::parse(&self.issuer).is_none() {
            return refuse(
                "the issuer must be an absolute URI such as `https://issuer.example`".to_owned(),
            );
        }
        if self.root_keys == 0 || self.root_keys > MAX_ROOT_KEYS {
            return refuse(format!("make 1 to {MAX_ROOT_KEYS} root keys"));
        }
        if self.threshold == 0 || self.threshold > self.root_keys {
            return refuse(format!("the threshold must be 1 to {}", self.root_keys));
        }
        Ok(())
    }

    pub(super) fn make(&self, dir: &Path, now: UnixSeconds) -> Result<(), StoreError> {
        self.check()?;
        let files = Files::new(dir);
        files.check_empty()?;
        make_dir(&self.root_dir)?;
        let root_keys: Vec<SecretKey> =
            (0..self.root_keys).map(|_| SecretKey::generate()).collect::<Result<_, _>>()?;
        for (number, key) in (1..).zip(&root_keys) {
            key.save(&self.root_dir.join(format!("root-{number}.key")), KeyRole::Root)?;
        }
        files.make()?;
        let feed = SecretKey::generate()?;
        feed.save(&files.path(FEED_KEY), KeyRole::Feed)?;
        let issuer = SecretKey::generate()?;
        issuer.save(&files.path(ISSUER_KEY), KeyRole::Issuer)?;
        let expires = now.plus(MAX_DOCUMENT_LIFE);
        let root = self.root(&root_keys, &feed, &issuer, now, expires)?;
        files.write(&root_file(1), root.as_bytes())?;

        let mut hash_key = [0; 16];
        getrandom::fill(&mut hash_key).map_err(|_| KeyError::Randomness)?;
        let publisher = Publisher::new(Genesis {
            environment: self.environment.clone(),
            audience: self.audience.clone(),
            epoch: now.0.max(1),
            hash_key,
            root_version: 1,
            keys: vec![IssuerKey {
                public: issuer.public(),
                issuer: self.issuer.clone(),
                algorithm: self.algorithm,
                // A gate's clock may be behind ours by as much as it accepts.
                not_before: UnixSeconds(now.0.saturating_sub(MAX_CLOCK_SKEW)),
                not_after: expires,
            }],
        })?;
        files.commit(&Record {
            format: FORMAT,
            issuer: self.issuer.clone(),
            base: publisher.position().sequence,
            bundle: 0,
            feed: publisher.state().clone(),
        })?;
        Ok(())
    }

    /// The first root document, walked as a gate walks it before it is written.
    fn root(
        &self,
        root_keys: &[SecretKey],
        feed: &SecretKey,
        issuer: &SecretKey,
        now: UnixSeconds,
        expires: UnixSeconds,
    ) -> Result<String, StoreError> {
        let publics: Vec<[u8; 32]> = root_keys.iter().map(Signer::public).collect();
        let roots = PinnedRoots::new(&publics, self.threshold);
        let keys = [(Role::Feed, feed.public()), (Role::Issuer, issuer.public())];
        let document = first(&self.environment, &roots, &keys, expires);
        let signers: Vec<&dyn Signer> = root_keys.iter().map(|key| key as &dyn Signer).collect();
        let envelope = sign(&document, &signers, now)?;
        walk(roots.pinned(&self.environment)?, std::slice::from_ref(&envelope), now)?;
        Ok(envelope)
    }
}

/// As many as a root document may name.
const MAX_ROOT_KEYS: usize = 8;
