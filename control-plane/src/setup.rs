//! A new working directory: its keys, its configuration, its database and the first operator.
//!
//! Root keys are not made here and never lie here: `gatepass root init` makes them elsewhere, and
//! what is written here is the root document for them to sign.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gatepass_engine::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use gatepass_engine::ids::{Uri, is_token};
use gatepass_engine::keyring::{Algorithm, IssuerKey};
use gatepass_engine::root::{Document, MAX_DOCUMENT_LIFE, Role};
use zeroize::Zeroizing;

use crate::config::{AUDIT_KEY, FEED_KEY, FILE, ISSUER_KEY, REDEEM_KEY};
use crate::db::{self, DbError, FirstOperator, Genesis};
use crate::desk::apply::SYSTEM;
use crate::desk::operators::{MAX_TOKEN_LIFE, OPERATOR_PREFIX, digest, new_secret};
use crate::keys::{KeyError, KeyRole, SecretKey, Signer};
use crate::root_file::Signing;
use crate::roots::{self, PinnedRoots, RootError};

/// What a new environment is called and how it is trusted.
#[derive(Clone, Debug)]
pub struct Init {
    pub dir: PathBuf,
    pub environment: String,
    /// The feed audience.
    pub audience: String,
    /// `iss`: where agents reach the token endpoint.
    pub issuer: String,
    /// What gates pin.
    pub roots: PinnedRoots,
    /// The first operator's name.
    pub operator: String,
    pub two_persons: bool,
    /// The filter to hand out.
    pub filter: Option<PathBuf>,
    /// Ports of admin, agents, feed and metrics on loopback; 0 lets the system choose.
    pub ports: [u16; 4],
    /// `join_token`, or `anyone` on loopback.
    pub followers: &'static str,
}

/// What came of it.
pub struct Made {
    /// The first operator's token. It is nowhere else.
    pub token: Zeroizing<String>,
    /// The root document that waits for the root keys' signatures.
    pub document: PathBuf,
    /// Where the signed document goes.
    pub signed: PathBuf,
}

impl Init {
    /// Makes the directory, which must not exist or be empty.
    ///
    /// # Errors
    /// [`SetupError`] names what is wrong.
    pub async fn make(&self, now: UnixSeconds) -> Result<Made, SetupError> {
        self.check()?;
        make_empty(&self.dir)?;
        let roots_dir = self.dir.join(ROOTS);
        make_empty(&roots_dir)?;
        let key = |name: &str, role: KeyRole| -> Result<SecretKey, SetupError> {
            let key = SecretKey::generate()?;
            key.save(&self.dir.join(name), role)?;
            Ok(key)
        };
        let feed = key(FEED_KEY, KeyRole::Feed)?;
        let issuer = key(ISSUER_KEY, KeyRole::Issuer)?;
        let audit = key(AUDIT_KEY, KeyRole::Audit)?;
        let redeem = key(REDEEM_KEY, KeyRole::Redeem)?;
        let expires = now.plus(MAX_DOCUMENT_LIFE);
        let named = [
            (Role::Feed, feed.public()),
            (Role::Issuer, issuer.public()),
            (Role::Audit, audit.public()),
            (Role::Redeem, redeem.public()),
        ];
        let document = roots::first(&self.environment, &self.roots, &named, expires);
        let unsigned = roots_dir.join("1.unsigned.json");
        write_new(&unsigned, &pretty(&document)?)?;
        write_new(&self.dir.join(FILE), &self.configuration())?;
        let token = new_secret(OPERATOR_PREFIX)?;
        let genesis = Genesis {
            environment: self.environment.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            two_persons: self.two_persons,
            now,
            keys: vec![IssuerKey {
                public: issuer.public(),
                issuer: self.issuer.clone(),
                algorithm: Algorithm::EdDsa,
                // A gate's clock may be behind ours by as much as it accepts.
                not_before: UnixSeconds(now.0.saturating_sub(MAX_CLOCK_SKEW)),
                not_after: expires,
            }],
            operator: FirstOperator {
                id: self.operator.clone(),
                digest: digest(&token),
                expires_at: now.plus(MAX_TOKEN_LIFE),
            },
        };
        db::create(&self.dir, &genesis).await?;
        Ok(Made { token, document: unsigned, signed: roots_dir.join("1.json") })
    }

    fn check(&self) -> Result<(), SetupError> {
        let refuse = |what: &str| Err(SetupError::Wrong(what.to_owned()));
        for (name, value) in [
            ("environment", &self.environment),
            ("audience", &self.audience),
            ("operator", &self.operator),
        ] {
            if !is_token(value) {
                return refuse(&format!("the {name} must be 1 to 128 visible ASCII characters"));
            }
        }
        if self.operator == SYSTEM {
            return refuse("`gatepass` is what the control plane is called in its record");
        }
        if Uri::parse(&self.issuer).is_none() || self.issuer.ends_with('/') {
            return refuse(
                "the issuer must be an absolute URI without a slash at the end, such as `https://gatepass.example/prod`",
            );
        }
        self.roots.pinned(&self.environment)?;
        Ok(())
    }

    fn configuration(&self) -> String {
        let [admin, agents, feed, metrics] = self.ports;
        let filter = match &self.filter {
            Some(path) => format!("filter = {}\n", toml::Value::from(path.display().to_string())),
            None => "# filter = \"gatepass_filter.wasm\"\n".to_owned(),
        };
        format!(
            r#"# The control plane of `{environment}`. Paths are relative to this directory.
# Without `tls`, a listener binds loopback only: tls = {{ certificate = "..", key = "..", client_ca = ".." }}

# The filter that Envoys may fetch from the feed's listener, at /filter/gatepass.wasm.
{filter}
# Gatepasses that one agent may ask for in a minute.
issued_per_minute = 600

# For operators.
[admin]
address = "127.0.0.1:{admin}"

# For agents: the token endpoint of {issuer}
[agents]
address = "127.0.0.1:{agents}"

# For Envoys. followers: "certificate" (mTLS), "join_token", or "anyone" on loopback.
[feed]
address = "127.0.0.1:{feed}"
followers = "{followers}"

# For Prometheus.
[metrics]
address = "127.0.0.1:{metrics}"
"#,
            environment = self.environment,
            issuer = self.issuer,
            followers = self.followers,
        )
    }
}

/// Makes root keys in a directory of their own and returns what gates pin.
///
/// # Errors
/// [`SetupError`] names what is wrong.
pub fn make_root_keys(
    dir: &Path,
    count: usize,
    threshold: usize,
) -> Result<PinnedRoots, SetupError> {
    if count == 0 || count > MAX_ROOT_KEYS || threshold == 0 || threshold > count {
        return Err(SetupError::Wrong(format!(
            "make 1 to {MAX_ROOT_KEYS} root keys, with a threshold of 1 to as many"
        )));
    }
    make_empty(dir)?;
    let mut publics = Vec::with_capacity(count);
    for number in 1..=count {
        let key = SecretKey::generate()?;
        key.save(&dir.join(format!("root-{number}.key")), KeyRole::Root)?;
        publics.push(key.public());
    }
    let pinned = PinnedRoots::new(&publics, threshold);
    write_new(&dir.join(PINNED), &pretty(&pinned)?)?;
    Ok(pinned)
}

/// Signs a root document with the root keys in a directory.
///
/// # Errors
/// [`SetupError`] names the file.
pub fn sign_root(
    root_dir: &Path,
    document: &Path,
    out: &Path,
    now: UnixSeconds,
) -> Result<Document, SetupError> {
    let signing = Signing {
        root_dirs: vec![root_dir.to_owned()],
        document: document.to_owned(),
        previous: None,
        out: out.to_owned(),
    };
    signing.sign(now).map(|signed| signed.document)
}

pub(crate) fn pretty(what: &impl serde::Serialize) -> Result<String, SetupError> {
    let text = serde_json::to_string_pretty(what);
    text.map(|text| text + "\n").map_err(|error| SetupError::Wrong(error.to_string()))
}

fn make_empty(dir: &Path) -> Result<(), SetupError> {
    let io = |source| SetupError::Io { path: dir.to_owned(), source };
    match std::fs::read_dir(dir) {
        Ok(entries) => match entries.count() {
            0 => Ok(()),
            _ => Err(SetupError::NotEmpty(dir.to_owned())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), SetupError> {
    let io = |source| SetupError::Io { path: path.to_owned(), source };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)
}

/// Why a directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("{0}")]
    Wrong(String),
    #[error("`{}` is not empty: give a new directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("`{}`: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The folder of signed root documents: `1.json`, `2.json`, ...
pub const ROOTS: &str = "roots";
/// What gates pin, beside the root keys.
pub const PINNED: &str = "pinned.json";
pub(crate) const MAX_ROOT_KEYS: usize = 8;
