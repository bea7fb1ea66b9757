//! Secret keys: made, kept in files that nobody else can read, and used through [`Signer`].
//!
//! A key file is a private JWK (RFC 8037) whose `use` states the key's one role, so that a feed
//! key cannot sign gatepasses by a mix-up of paths:
//!
//! ```json
//! {"kty":"OKP","crv":"Ed25519","use":"feed","kid":"<RFC 7638>","x":"<public>","d":"<seed>"}
//! ```
//!
//! It refuses files that group or others can touch. [`SecretKey`] has no `Debug`, `Display`,
//! `Serialize`, `Clone` or `PartialEq`, and is wiped when dropped.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::keyring::KeyId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Signs with one Ed25519 key, wherever it lives.
pub trait Signer {
    fn public(&self) -> [u8; 32];
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// An Ed25519 secret key in memory; wiped on drop.
///
/// INVARIANT: `ed25519_compact::SecretKey` derives `Debug` and `PartialEq`, so it stays private
/// here; it wipes itself when dropped, as AWS-LC does its own copy. `Ed25519KeyPair` shows its public
/// key alone.
pub struct SecretKey {
    secret: ed25519_compact::SecretKey,
    /// The same key where signing costs a quarter; a signature is the same bytes from either
    /// (RFC 8032). `None` if the two libraries did not agree on the public key.
    fast: Option<Ed25519KeyPair>,
}

impl SecretKey {
    /// # Errors
    /// [`KeyError::Weak`] for 32 zero bytes, which no generator gives.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let fast = Ed25519KeyPair::from_seed_unchecked(seed).ok();
        let mut seed = ed25519_compact::Seed::new(*seed);
        let pair = ed25519_compact::KeyPair::try_from_seed(seed);
        seed.wipe_mut();
        let secret = pair.map_err(|_| KeyError::Weak)?.sk;
        let public = secret.public_key();
        let fast = fast.filter(|fast| fast.public_key().as_ref() == public.as_slice());
        Ok(Self { secret, fast })
    }

    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the system has none to give.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| KeyError::Randomness)?;
        Self::from_seed(&seed)
    }

    /// The RFC 7638 thumbprint of the public key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.public())
    }

    /// Writes a new key file with mode 0600; an existing file is left as it is.
    ///
    /// # Errors
    /// [`KeyError::Exists`], [`KeyError::Io`].
    pub fn save(&self, path: &Path, role: KeyRole) -> Result<(), KeyError> {
        let io = |error| KeyError::io(path, error);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
                |error| match error.kind() {
                    std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
                    _ => io(error),
                },
            )?;
        file.write_all(self.to_jwk(role).as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError::Readable`] when group or others have any right to it, [`KeyError::WrongRole`],
    /// [`KeyError::Malformed`], [`KeyError::Io`].
    pub fn load(path: &Path, role: KeyRole) -> Result<Self, KeyError> {
        let io = |error| KeyError::io(path, error);
        let file = File::open(path).map_err(io)?;
        // Of the opened file, so that it cannot be exchanged in between.
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(KeyError::malformed(path, "not a regular file"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(KeyError::Readable {
                path: path.to_owned(),
                mode: metadata.mode() & 0o777,
            });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES));
        file.take(MAX_FILE_BYTES as u64).read_to_end(&mut text).map_err(io)?;
        Self::from_jwk(&text, role, path)
    }

    fn to_jwk(&self, role: KeyRole) -> Zeroizing<String> {
        let mut d = Zeroizing::new([0_u8; 43]);
        let seed = self.secret.first_chunk::<32>();
        // INVARIANT: 32 bytes are 43 characters; a failure would leave zeros, refused at load.
        let written =
            seed.and_then(|seed| URL_SAFE_NO_PAD.encode_slice(seed, d.as_mut_slice()).ok());
        let d = core::str::from_utf8(d.get(..written.unwrap_or(0)).unwrap_or_default());
        let x = URL_SAFE_NO_PAD.encode(self.public());
        let mut out = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES));
        for part in [
            r#"{"kty":"OKP","crv":"Ed25519","use":""#,
            role.as_str(),
            r#"","kid":""#,
            &self.id().to_string(),
            r#"","x":""#,
            &x,
            r#"","d":""#,
            d.unwrap_or_default(),
            "\"}\n",
        ] {
            out.push_str(part);
        }
        out
    }

    fn from_jwk(text: &[u8], role: KeyRole, path: &Path) -> Result<Self, KeyError> {
        // Borrowed throughout: no copy of `d` is left behind.
        let jwk: PrivateJwk<'_> = gatepass_engine::json::from_slice(text)
            .map_err(|_| KeyError::malformed(path, "not a private JWK with kty, crv, use, x, d"))?;
        if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
            return Err(KeyError::malformed(path, "not an Ed25519 key"));
        }
        if jwk.role != role.as_str() {
            return Err(KeyError::WrongRole { path: path.to_owned(), expected: role });
        }
        let mut seed = Zeroizing::new([0; 32]);
        match URL_SAFE_NO_PAD.decode_slice(jwk.d, seed.as_mut_slice()) {
            Ok(32) => {}
            _ => {
                return Err(KeyError::malformed(path, "`d` is not 32 bytes of base64url"));
            }
        }
        let key = Self::from_seed(&seed)?;
        if URL_SAFE_NO_PAD.encode(key.public()) != jwk.x {
            return Err(KeyError::malformed(path, "`x` is not the public key of `d`"));
        }
        Ok(key)
    }
}

impl Signer for SecretKey {
    fn public(&self) -> [u8; 32] {
        *self.secret.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let fast = self.fast.as_ref().and_then(|fast| fast.try_sign(message).ok());
        let fast = fast.and_then(|signature| signature.as_ref().try_into().ok());
        fast.unwrap_or_else(|| *self.secret.sign(message, None))
    }
}

/// The one thing that a key may sign; stated in its file and checked when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    Root,
    Feed,
    Issuer,
    Audit,
    /// Verdicts on uses and records.
    Redeem,
    /// An agent's own, for its client assertions.
    Agent,
}

impl KeyRole {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Feed => "feed",
            Self::Issuer => "issuer",
            Self::Audit => "audit",
            Self::Redeem => "redeem",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a key cannot be made, kept or used. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the seed is all zeros")]
    Weak,
    #[error("the operating system gave no randomness")]
    Randomness,
    #[error("`{}` exists already; keys are never overwritten", .0.display())]
    Exists(PathBuf),
    #[error("`{}` has mode {mode:04o}, so others can reach the key: run `chmod 600 {}`", .path.display(), .path.display())]
    Readable { path: PathBuf, mode: u32 },
    #[error("`{}` is not {expected} key: its `use` says another role", .path.display(), expected = article(*.expected))]
    WrongRole { path: PathBuf, expected: KeyRole },
    #[error("`{}`: {what}", .path.display())]
    Malformed { path: PathBuf, what: &'static str },
    #[error("`{}`: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}` holds too many key files: put those that no root names elsewhere", .0.display())]
    TooMany(PathBuf),
}

fn article(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Root => "a root",
        KeyRole::Feed => "a feed",
        KeyRole::Issuer => "an issuer",
        KeyRole::Audit => "an audit",
        KeyRole::Redeem => "a redeem",
        KeyRole::Agent => "an agent's",
    }
}

impl KeyError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    fn malformed(path: &Path, what: &'static str) -> Self {
        Self::Malformed { path: path.to_owned(), what }
    }
}

/// A public key as the plugin's configuration, root documents and JWKs write it.
#[must_use]
pub fn public_text(public: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(public)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrivateJwk<'a> {
    kty: &'a str,
    crv: &'a str,
    #[serde(rename = "use")]
    role: &'a str,
    #[serde(default, rename = "kid")]
    _kid: Option<&'a str>,
    x: &'a str,
    d: &'a str,
}

/// Bytes of a key file; a JWK of this kind has about 200.
const MAX_FILE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32]).unwrap()
    }

    fn refusal(path: &Path, role: KeyRole) -> String {
        SecretKey::load(path, role).err().unwrap().to_string()
    }

    #[test]
    fn both_libraries_sign_the_same_bytes() {
        for seed in 1..=20 {
            let key = SecretKey::from_seed(&[seed; 32]).unwrap();
            let message = vec![seed; usize::from(seed) * 37];
            assert!(key.fast.is_some());
            assert_eq!(key.sign(&message), *key.secret.sign(&message, None));
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_signs_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.key");
        key(7).save(&path, KeyRole::Feed).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = SecretKey::load(&path, KeyRole::Feed).unwrap();
        assert_eq!(loaded.public(), key(7).public());
        assert_eq!(loaded.sign(b"m"), key(7).sign(b"m"));
    }

    #[test]
    fn a_key_that_others_can_reach_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.key");
        key(7).save(&path, KeyRole::Feed).unwrap();
        for mode in [0o640, 0o604, 0o610, 0o601, 0o620, 0o644, 0o777] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let text = refusal(&path, KeyRole::Feed);
            assert!(text.contains("chmod 600 "), "{mode:o}: {text}");
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(SecretKey::load(&path, KeyRole::Feed).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_key_has_one_role() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.key");
        key(7).save(&path, KeyRole::Feed).unwrap();
        assert!(refusal(&path, KeyRole::Issuer).contains("is not an issuer key"));
        assert!(refusal(&path, KeyRole::Root).contains("is not a root key"));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.key");
        key(7).save(&path, KeyRole::Feed).unwrap();
        assert!(matches!(key(8).save(&path, KeyRole::Feed), Err(KeyError::Exists(_))));
        let kept = SecretKey::load(&path, KeyRole::Feed).unwrap();
        assert_eq!(kept.public(), key(7).public());
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let good = key(7).to_jwk(KeyRole::Feed).to_string();
        let x = public_text(&key(7).public());
        for (nth, bad) in [
            String::new(),
            "{}".into(),
            good.replace(&x, &public_text(&key(8).public())),
            good.replace("Ed25519", "X25519"),
            good.replace("\"d\"", "\"e\""),
            good.replace("\"d\":\"", "\"d\":\"A"),
            good.replacen('{', "{\"alg\":\"none\",", 1),
        ]
        .into_iter()
        .enumerate()
        {
            let path = dir.path().join(nth.to_string());
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
            file.write_all(bad.as_bytes()).unwrap();
            assert!(matches!(
                SecretKey::load(&path, KeyRole::Feed),
                Err(KeyError::Malformed { .. })
            ));
        }
        assert!(matches!(
            SecretKey::load(dir.path(), KeyRole::Feed),
            Err(KeyError::Malformed { .. } | KeyError::Io { .. })
        ));
    }

    #[test]
    fn made_keys_differ() {
        let (a, b) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        assert_ne!(a.public(), b.public());
        assert!(SecretKey::from_seed(&[0; 32]).is_err());
    }
}
