//! The secret keys of a working directory, and which of them sign under a root document.
//!
//! Each role has one key file to begin with (`feed.key`) and one more for each rotation
//! (`feed-2.key`, ...). Which of them signs is not the directory's to say: of the keys that the
//! root document in force names for the role, it is the last that lies here. A key that no root
//! names signs nothing. Files are never removed here: a database that is restored may be under an
//! older root.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatepass_engine::root::{Document, Role};

use crate::db::DbError;
use crate::keys::{KeyError, KeyRole, SecretKey, Signer as _, public_text};
use crate::setup::ROOTS;

/// One key file.
#[derive(Clone)]
pub struct Kept {
    pub role: KeyRole,
    pub path: PathBuf,
    /// Base64url without padding.
    pub public: String,
    /// The RFC 7638 thumbprint.
    pub kid: String,
    pub key: Arc<SecretKey>,
}

/// All keys in one directory; files that are put there later are found when they are asked for.
pub struct Keychain {
    dir: PathBuf,
    keys: Mutex<Vec<Kept>>,
}

/// The keys that sign under one root document.
#[derive(Clone, Default)]
pub struct Signers {
    feed: Option<Kept>,
    audit: Option<Kept>,
    /// An environment from before there were uses has none, and works without.
    redeem: Vec<Kept>,
    /// All that are named, in the order of the document.
    issuers: Vec<Kept>,
}

impl Keychain {
    /// Reads all key files in `dir`.
    ///
    /// # Errors
    /// [`KeyError`] names the file that cannot be used, or the directory.
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        let keychain = Self { dir: dir.to_owned(), keys: Mutex::default() };
        keychain.look()?;
        Ok(keychain)
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the files that were put there since.
    ///
    /// # Errors
    /// As [`Keychain::open`]; what was read before stays.
    pub fn look(&self) -> Result<(), KeyError> {
        let files = key_files(&self.dir)?;
        let mut keys = self.lock();
        for KeyFile { role, path, .. } in files {
            if keys.iter().any(|kept| kept.path == path) {
                continue;
            }
            let key = SecretKey::load(&path, role)?;
            let public = public_text(&key.public());
            let kid = key.id().to_string();
            keys.push(Kept { role, path, public, kid, key: Arc::new(key) });
        }
        Ok(())
    }

    /// What signs under `document`. Before the first root it is the first file of each role: what
    /// `gatepass init` made.
    #[must_use]
    pub fn under(&self, document: Option<&Document>) -> Signers {
        let keys = self.lock();
        let Some(document) = document else {
            let first = |role| keys.iter().find(|kept| kept.role == role).cloned();
            return Signers {
                feed: first(KeyRole::Feed),
                audit: first(KeyRole::Audit),
                redeem: first(KeyRole::Redeem).into_iter().collect(),
                issuers: first(KeyRole::Issuer).into_iter().collect(),
            };
        };
        let named = |role: Role| {
            let here = |public: &String| {
                let is = |kept: &&Kept| kept.public == *public && Some(kept.role) == made_for(role);
                keys.iter().find(is).cloned()
            };
            let of_role = document.keys.iter().filter(move |key| key.role == role);
            of_role.filter_map(move |key| here(&key.public)).collect::<Vec<Kept>>()
        };
        Signers {
            feed: named(Role::Feed).pop(),
            audit: named(Role::Audit).pop(),
            redeem: named(Role::Redeem),
            issuers: named(Role::Issuer),
        }
    }

    /// All of them, by role and number as they were found.
    #[must_use]
    pub fn all(&self) -> Vec<Kept> {
        self.lock().clone()
    }

    /// Keeps a root document that came over the network where the next one is written from, and
    /// where a restored database finds it again. That it could not be kept hinders nothing now.
    pub(crate) fn keep_root(&self, version: u64, envelope: &str) {
        let path = self.dir.join(ROOTS).join(format!("{version}.json"));
        if path.exists() {
            return;
        }
        let temporary = path.with_extension("new");
        let written = std::fs::write(&temporary, envelope)
            .and_then(|()| std::fs::File::open(&temporary)?.sync_all())
            .and_then(|()| std::fs::rename(&temporary, &path));
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "the root document was not kept");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signers {
    /// # Errors
    /// [`DbError::NoKey`].
    pub fn feed(&self) -> Result<&Kept, DbError> {
        self.feed.as_ref().ok_or(DbError::NoKey(KeyRole::Feed))
    }

    /// # Errors
    /// [`DbError::NoKey`].
    pub fn audit(&self) -> Result<&Kept, DbError> {
        self.audit.as_ref().ok_or(DbError::NoKey(KeyRole::Audit))
    }

    /// All that are named: while one takes the place of another, gates believe one or the other.
    #[must_use]
    pub fn redeem(&self) -> &[Kept] {
        &self.redeem
    }

    #[must_use]
    pub fn issuers(&self) -> &[Kept] {
        &self.issuers
    }

    /// That there is one for each role but `redeem`, which not every environment needs: without, nothing that is
    /// signed here would be believed.
    ///
    /// # Errors
    /// [`DbError::NoKey`].
    pub fn check(&self) -> Result<(), DbError> {
        self.feed()?;
        self.audit()?;
        match self.issuers.is_empty() {
            true => Err(DbError::NoKey(KeyRole::Issuer)),
            false => Ok(()),
        }
    }
}

/// A file whose name is that of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    pub role: KeyRole,
    pub number: u32,
    pub path: PathBuf,
}

/// The key files in a directory, by role and number.
///
/// # Errors
/// [`KeyError::Io`], [`KeyError::TooMany`].
pub fn key_files(dir: &Path) -> Result<Vec<KeyFile>, KeyError> {
    let io = |source| KeyError::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((role, number)) = name.and_then(role_and_number) {
            files.push(KeyFile { role, number, path });
        }
    }
    if files.len() > MAX_KEY_FILES {
        return Err(KeyError::TooMany(dir.to_owned()));
    }
    files.sort_by_key(|file| (file.role.as_str(), file.number));
    Ok(files)
}

/// Makes a key beside those that are there, which stay as they are.
///
/// # Errors
/// [`KeyError`] names the file.
pub fn new_key(dir: &Path, role: KeyRole) -> Result<Kept, KeyError> {
    let files = key_files(dir)?;
    if files.len() >= MAX_KEY_FILES {
        return Err(KeyError::TooMany(dir.to_owned()));
    }
    let last = files.iter().filter(|file| file.role == role).map(|file| file.number).max();
    let path = match last {
        None => dir.join(format!("{role}.key")),
        Some(last) => dir.join(format!("{role}-{}.key", last.saturating_add(1))),
    };
    let key = SecretKey::generate()?;
    key.save(&path, role)?;
    let public = public_text(&key.public());
    let kid = key.id().to_string();
    Ok(Kept { role, path, public, kid, key: Arc::new(key) })
}

fn role_and_number(name: &str) -> Option<(KeyRole, u32)> {
    let stem = name.strip_suffix(".key")?;
    for role in ROLES {
        match stem.strip_prefix(role.as_str()) {
            Some("") => return Some((role, 1)),
            Some(rest) => {
                let text = rest.strip_prefix('-')?;
                let number: u32 = text.parse().ok()?;
                // One spelling each, so that no file is there twice.
                return (number > 1 && number.to_string() == text).then_some((role, number));
            }
            None => {}
        }
    }
    None
}

/// The role of the key file that a root document's role needs; `None` where nothing signs yet.
const fn made_for(role: Role) -> Option<KeyRole> {
    match role {
        Role::Feed => Some(KeyRole::Feed),
        Role::Issuer => Some(KeyRole::Issuer),
        Role::Audit => Some(KeyRole::Audit),
        Role::Redeem => Some(KeyRole::Redeem),
        Role::Receipt => None,
    }
}

/// What the control plane signs with.
pub const ROLES: [KeyRole; 4] = [KeyRole::Feed, KeyRole::Issuer, KeyRole::Audit, KeyRole::Redeem];
/// Key files of one directory.
const MAX_KEY_FILES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::{PinnedRoots, first};
    use gatepass_engine::clock::UnixSeconds;

    fn made(dir: &Path, roles: &[KeyRole]) -> Vec<Kept> {
        roles.iter().map(|role| new_key(dir, *role).unwrap()).collect()
    }

    fn naming(keys: &[(Role, &Kept)]) -> Document {
        let keys: Vec<_> = keys.iter().map(|(role, kept)| (*role, kept.key.public())).collect();
        first("prod", &PinnedRoots::new(&[[1; 32]], 1), &keys, UnixSeconds(1))
    }

    #[test]
    fn keys_are_numbered_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let keys = made(dir.path(), &[KeyRole::Feed, KeyRole::Feed, KeyRole::Audit, KeyRole::Feed]);
        let names: Vec<_> =
            keys.iter().map(|kept| kept.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["feed.key", "feed-2.key", "audit.key", "feed-3.key"]);
        for kept in &keys {
            let read = SecretKey::load(&kept.path, kept.role).unwrap();
            assert_eq!(read.public(), kept.key.public());
        }
        std::fs::remove_file(&keys[1].path).unwrap();
        assert!(new_key(dir.path(), KeyRole::Feed).unwrap().path.ends_with("feed-4.key"));
    }

    #[test]
    fn only_names_of_keys_are_read() {
        for (name, expected) in [
            ("feed.key", Some((KeyRole::Feed, 1))),
            ("issuer-12.key", Some((KeyRole::Issuer, 12))),
            ("feed-1.key", None),
            ("feed-02.key", None),
            ("feed-.key", None),
            ("feeder.key", None),
            ("feed.key.old", None),
            ("root-2.key", None),
            ("agent.key", None),
            ("server.key", None),
            (".key", None),
        ] {
            assert_eq!(role_and_number(name), expected, "{name}");
        }
    }

    #[test]
    fn the_last_key_that_the_root_names_and_that_lies_here_signs() {
        let dir = tempfile::tempdir().unwrap();
        let keys = made(
            dir.path(),
            &[KeyRole::Feed, KeyRole::Feed, KeyRole::Issuer, KeyRole::Audit, KeyRole::Issuer],
        );
        let [one, two, issuer, audit, next] = &keys[..] else { panic!() };
        let elsewhere = tempfile::tempdir().unwrap();
        let far = new_key(elsewhere.path(), KeyRole::Feed).unwrap();
        let keychain = Keychain::open(dir.path()).unwrap();
        let before = keychain.under(None);
        assert_eq!(before.feed().unwrap().kid, one.kid, "what `init` made");
        let rest = [(Role::Issuer, issuer), (Role::Audit, audit), (Role::Issuer, next)];
        let feed_of = |feeds: &[(Role, &Kept)]| {
            let document = naming(&[feeds, rest.as_slice()].concat());
            let signers = keychain.under(Some(&document));
            signers.check().ok().map(|()| signers.feed().unwrap().kid.clone())
        };
        assert_eq!(feed_of(&[(Role::Feed, one), (Role::Feed, two)]), Some(two.kid.clone()));
        assert_eq!(feed_of(&[(Role::Feed, two), (Role::Feed, one)]), Some(one.kid.clone()));
        assert_eq!(feed_of(&[(Role::Feed, one), (Role::Feed, &far)]), Some(one.kid.clone()));
        assert_eq!(feed_of(&[(Role::Feed, &far)]), None);
        assert_eq!(feed_of(&[(Role::Audit, two)]), None, "a key has one role");
        let document = naming(&rest);
        let issuers: Vec<String> =
            keychain.under(Some(&document)).issuers().iter().map(|k| k.kid.clone()).collect();
        assert_eq!(issuers, [issuer.kid.clone(), next.kid.clone()]);
    }

    #[test]
    fn a_file_that_comes_later_is_found_and_one_that_others_reach_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let keychain = Keychain::open(dir.path()).unwrap();
        let kept = new_key(dir.path(), KeyRole::Feed).unwrap();
        assert!(keychain.under(None).feed().is_err());
        keychain.look().unwrap();
        assert_eq!(keychain.under(None).feed().unwrap().kid, kept.kid);
        let open = new_key(dir.path(), KeyRole::Audit).unwrap();
        std::fs::set_permissions(&open.path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(keychain.look(), Err(KeyError::Readable { .. })));
        assert_eq!(keychain.under(None).feed().unwrap().kid, kept.kid, "what was read stays");
    }
}
