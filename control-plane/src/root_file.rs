//! Root documents as files: the one after the one in force is written, and signed by as many root
//! keys as it takes, wherever those are. Nothing here needs a database or a network.
//!
//! The files are small and human: `N.unsigned.json` is the document, `N.json` its envelope. An
//! envelope that some root keys have signed can be signed further by others.

use std::path::{Path, PathBuf};

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{MAX_SIGNATURES, PayloadType, Unverified};
use gatepass_engine::keyring::KeyId;
use gatepass_engine::root::{
    Document, MAX_DOCUMENT_LIFE, Pinned, Role, RoleKey, RootKeys, Trust, public_key,
};

use crate::keys::{KeyRole, SecretKey, Signer, public_text};
use crate::roots::{PinnedRoots, RootError, unverified_document};
use crate::setup::{MAX_ROOT_KEYS, SetupError, pretty, write_new};

/// What the next document has that the one in force has not.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Keys for a role, in base64url; the last of a role is the one that signs.
    pub add: Vec<(Role, String)>,
    /// Public keys or `kid`s.
    pub drop: Vec<String>,
    /// The feed's position may fall once.
    pub reset: bool,
    /// Other root keys from the next document on.
    pub root_keys: Option<PinnedRoots>,
}

/// The document after `previous`, unsigned.
///
/// # Errors
/// [`SetupError::Wrong`] says what no gate or no control plane would take.
pub fn next(
    previous: &Document,
    wanted: &Wanted,
    expires: UnixSeconds,
) -> Result<Document, SetupError> {
    let version = previous.version;
    let refuse = |what: String| Err(SetupError::Wrong(what));
    let mut keys = previous.keys.clone();
    for drop in &wanted.drop {
        let before = keys.len();
        keys.retain(|key| !is_called(key, drop));
        if keys.len() == before {
            return refuse(format!("root {version} names no key `{drop}`"));
        }
    }
    let root = match &wanted.root_keys {
        None => previous.root.clone(),
        Some(roots) => {
            roots.pinned(&previous.environment)?;
            RootKeys { threshold: roots.threshold, keys: roots.keys.clone() }
        }
    };
    for (role, public) in &wanted.add {
        if let Err(why) = public_key(public) {
            return refuse(format!("`{public}`: {why}"));
        }
        if keys.iter().any(|key| key.public == *public) {
            return refuse(format!(
                "root {version} names `{public}` already: one key has one role"
            ));
        }
        keys.push(RoleKey { role: *role, public: public.clone() });
    }
    if let Some(twice) = keys.iter().find(|key| root.keys.contains(&key.public)) {
        return refuse(format!("`{}` is a root key: it signs root documents alone", twice.public));
    }
    for (role, name) in SIGNING {
        if !keys.iter().any(|key| key.role == role) {
            return refuse(format!("no {name} key would be left: give one with --add {name}=.."));
        }
    }
    Ok(Document {
        environment: previous.environment.clone(),
        version: version.saturating_add(1),
        expires,
        root,
        keys,
        reset: wanted.reset,
    })
}

/// The newest signed document in a folder.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn newest(roots: &Path) -> Result<PathBuf, SetupError> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(roots).map_err(io(roots))? {
        let path = entry.map_err(io(roots))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".json").and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|n| newest.as_ref().is_none_or(|(old, _)| n > old)) {
            newest = Some((number, path));
        }
    }
    newest.map(|(_, path)| path).ok_or_else(|| {
        SetupError::Wrong(format!(
            "`{}` holds no signed root document (1.json, ..)",
            roots.display()
        ))
    })
}

/// Reads a document, signed or not.
///
/// # Errors
/// [`SetupError`] names the file.
pub fn read(path: &Path) -> Result<Document, SetupError> {
    Ok(Read::open(path)?.document)
}

/// Writes the document where it waits for its signatures, and never over another one.
///
/// # Errors
/// [`SetupError`] names the file.
pub fn write_unsigned(document: &Document, path: &Path) -> Result<(), SetupError> {
    if path.exists() {
        return Err(SetupError::Wrong(format!(
            "`{}` exists already: sign it, or remove it and begin again",
            path.display()
        )));
    }
    write_new(path, &pretty(document)?)
}

/// A document to be signed.
#[derive(Clone, Debug)]
pub struct Signing {
    /// Where root keys are: `root-1.key`, ...
    pub root_dirs: Vec<PathBuf>,
    /// A document, or an envelope that was signed in part.
    pub document: PathBuf,
    /// The document before it; the one beside it when it is there.
    pub previous: Option<PathBuf>,
    pub out: PathBuf,
}

/// How far a document is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub document: Document,
    /// Distinct root keys of its own that signed.
    pub own: usize,
    /// Distinct keys of the root before it that signed, and how many must; `None` where that
    /// document was not at hand.
    pub previous: Option<(usize, usize)>,
}

impl Signed {
    /// Whether a gate would take it, as far as can be known here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.own >= self.document.root.threshold
            && self.previous.is_none_or(|(signed, needed)| signed >= needed)
    }
}

impl Signing {
    /// Adds the signatures that are still needed, of the root keys that are here, and writes the
    /// envelope.
    ///
    /// # Errors
    /// [`SetupError`] names the file; a complete document is also read as a gate would.
    pub fn sign(&self, now: UnixSeconds) -> Result<Signed, SetupError> {
        let Read { document, mut envelope } = Read::open(&self.document)?;
        if document.expires > now.plus(MAX_DOCUMENT_LIFE) {
            return Err(RootError::LongLived.into());
        }
        let previous = self.previous(&document)?;
        let mut needed = vec![&document.root];
        needed.extend(previous.as_ref().map(|previous| &previous.root));
        let mut used = false;
        for key in root_keys_in(&self.root_dirs)? {
            let public = public_text(&key.public());
            let of = |root: &&&RootKeys| root.keys.contains(&public);
            // Without the document before, it is not known whose signatures are needed.
            let wants = previous.is_none()
                || needed.iter().filter(of).any(|root| signers(&envelope, root) < root.threshold);
            if wants && !has_signed(&envelope, &public) {
                envelope = envelope.sign_with(|message| key.sign(message));
                used = true;
            }
        }
        if !used {
            return Err(SetupError::Wrong(
                "none of these keys adds a signature that is needed: they are of another root, or have signed"
                    .to_owned(),
            ));
        }
        let json = envelope.to_json();
        let counted = Unverified::from_json(json.as_bytes()).map_err(|_| {
            SetupError::Wrong(format!("it would have more than {MAX_SIGNATURES} signatures"))
        })?;
        let signed = Signed {
            own: signers(&counted, &document.root),
            previous: previous.as_ref().map(|p| (signers(&counted, &p.root), p.root.threshold)),
            document,
        };
        self.check(&signed, previous.as_ref(), &json, now)?;
        write_new(&self.out, &json)?;
        Ok(signed)
    }

    /// Read as a gate reads it. `serve` does not start on one that lacks signatures, so that is not
    /// written under the name that it looks for.
    fn check(
        &self,
        signed: &Signed,
        previous: Option<&Document>,
        json: &str,
        now: UnixSeconds,
    ) -> Result<(), SetupError> {
        let document = &signed.document;
        let final_name = format!("{}.json", document.version);
        let is_final = self.out.file_name().is_some_and(|name| *name == *final_name);
        if is_final && document.version > 1 && previous.is_none() {
            return Err(SetupError::Wrong(format!(
                "the root before it is not at hand: put {}.json beside it, or name it with --previous",
                document.version.saturating_sub(1)
            )));
        }
        if !signed.is_complete() {
            if is_final {
                return Err(SetupError::Wrong(format!(
                    "signatures are missing ({signed}): write it to another name, such as {}.part.json, and sign that where the other root keys are",
                    document.version
                )));
            }
            return Ok(());
        }
        let root = &previous.unwrap_or(document).root;
        let pinned = Pinned::new(&document.environment, &root.keys, root.threshold, 1);
        let trust = Trust::new(pinned.map_err(RootError::Pinned)?);
        trust.advance(&[json.as_bytes()], now).map_err(RootError::Refused)?;
        Ok(())
    }

    fn previous(&self, document: &Document) -> Result<Option<Document>, SetupError> {
        let before = document.version.saturating_sub(1);
        let beside = self.document.with_file_name(format!("{before}.json"));
        let path = match &self.previous {
            Some(path) => path,
            None if before > 0 && beside.exists() => &beside,
            None => return Ok(None),
        };
        let previous = read(path)?;
        if previous.version != before || previous.environment != document.environment {
            return Err(SetupError::Wrong(format!(
                "`{}` is root {} of `{}`, and not the one before root {} of `{}`",
                path.display(),
                previous.version,
                previous.environment,
                document.version,
                document.environment,
            )));
        }
        Ok(Some(previous))
    }
}

/// The root keys that lie in folders.
///
/// # Errors
/// [`SetupError`] names the key that cannot be read, or the folder without any.
pub fn root_keys_in(folders: &[PathBuf]) -> Result<Vec<SecretKey>, SetupError> {
    let mut keys = Vec::new();
    for dir in folders {
        let before = keys.len();
        for number in 1..=MAX_ROOT_KEYS {
            let path = dir.join(format!("root-{number}.key"));
            if path.exists() {
                keys.push(SecretKey::load(&path, KeyRole::Root)?);
            }
        }
        if keys.len() == before {
            return Err(SetupError::Wrong(format!(
                "`{}` holds no root key (root-1.key, ...)",
                dir.display()
            )));
        }
    }
    Ok(keys)
}

impl core::fmt::Display for Signed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let root = &self.document.root;
        if let Some((signed, needed)) = self.previous {
            write!(f, "{signed} of {needed} of the root before, ")?;
        }
        write!(f, "{} of {} of its own", self.own, root.threshold)
    }
}

/// A document and its envelope, which nobody has signed where the file is the document itself.
struct Read {
    document: Document,
    envelope: Unverified,
}

impl Read {
    fn open(path: &Path) -> Result<Self, SetupError> {
        let text = std::fs::read_to_string(path).map_err(io(path))?;
        let no_document = |why: &dyn core::fmt::Display| {
            SetupError::Wrong(format!("`{}` is no root document: {why}", path.display()))
        };
        if text.contains("\"payloadType\"") {
            let document = unverified_document(&text).map_err(|error| no_document(&error))?;
            let envelope = Unverified::from_json(text.as_bytes());
            return Ok(Self { document, envelope: envelope.map_err(|e| no_document(&e))? });
        }
        let document: Document = gatepass_engine::json::from_slice(text.as_bytes())
            .map_err(|error| no_document(&error))?;
        let payload = serde_json::to_vec(&document).map_err(|_| RootError::Encoding)?;
        Ok(Self { document, envelope: Unverified::new(PayloadType::Root, payload) })
    }
}

fn is_called(key: &RoleKey, name: &str) -> bool {
    let kid = || public_key(&key.public).map(|public| KeyId::of(public.as_bytes()).to_string());
    key.public == name || kid().is_ok_and(|kid| kid == name)
}

/// Distinct keys of a root that signed.
fn signers(envelope: &Unverified, root: &RootKeys) -> usize {
    let mut keys: Vec<&String> = root.keys.iter().collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter(|public| has_signed(envelope, public)).count()
}

fn has_signed(envelope: &Unverified, public: &str) -> bool {
    public_key(public).is_ok_and(|key| envelope.clone().verify(PayloadType::Root, &[key]).is_ok())
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> SetupError {
    let path = path.to_owned();
    move |source| SetupError::Io { path: path.clone(), source }
}

/// The roles without which a control plane cannot work.
const SIGNING: [(Role, &str); 3] =
    [(Role::Feed, "feed"), (Role::Issuer, "issuer"), (Role::Audit, "audit")];

#[cfg(test)]
mod tests;
