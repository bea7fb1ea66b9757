//! `gatepass keys`: what the control plane signs with, made and listed in its working directory.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use gatepass::db;
use gatepass::issuers;
use gatepass::keychain::{Kept, Keychain, new_key};
use gatepass::keys::KeyRole;
use gatepass::roots::unverified_document;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::revocation::Kind;

use super::{Outcome, now};

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Make a key beside the one in use. It signs once a root document names it.
    New {
        role: KeyOf,
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// The keys in the directory, and what each does under the root document in force.
    List {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// The roles that have a key in the working directory.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KeyOf {
    Feed,
    Issuer,
    Audit,
    Redeem,
}

impl Keys {
    pub(crate) async fn run(self) -> Outcome<()> {
        match self {
            Self::New { role, dir } => new(role.role(), &dir),
            Self::List { dir } => list(&dir).await,
        }
    }
}

impl KeyOf {
    const fn role(self) -> KeyRole {
        match self {
            Self::Feed => KeyRole::Feed,
            Self::Issuer => KeyRole::Issuer,
            Self::Audit => KeyRole::Audit,
            Self::Redeem => KeyRole::Redeem,
        }
    }
}

fn new(role: KeyRole, dir: &Path) -> Outcome<()> {
    // A directory of something else gets no keys.
    if !dir.join(db::DATABASE).exists() {
        return Err(db::DbError::Missing(dir.to_owned()).into());
    }
    let made = new_key(dir, role)?;
    println!("the {role} key is in {}; copy it to where you keep secrets", made.path.display());
    println!("public: {}", made.public);
    println!("kid: {}", made.kid);
    println!("name it in the next root document:");
    println!("  gatepass root rotate --dir {} --add {role}={}", dir.display(), made.public);
    Ok(())
}

async fn list(dir: &Path) -> Outcome<()> {
    let (publisher, roots) = db::standing(dir).await?;
    let keychain = Keychain::open(dir)?;
    let document = roots.last().map(|root| unverified_document(root)).transpose()?;
    let signers = keychain.under(document.as_ref());
    let listed = &publisher.state().keys.keys;
    let is_revoked = |kid: &str| publisher.hits(Kind::Key, kid, 0);
    let signing = issuers::signing(&signers, listed, is_revoked, now()).map(|kept| &kept.kid);
    let in_use = [signers.feed().ok(), signers.audit().ok()];
    let in_use = || in_use.into_iter().flatten().chain(signers.redeem());
    let state = |kept: &Kept| {
        let named = document
            .as_ref()
            .is_some_and(|document| document.keys.iter().any(|key| key.public == kept.public));
        let signs = in_use().any(|used| used.kid == kept.kid) || signing == Some(&kept.kid);
        match (is_revoked(&kept.kid), signs, named) {
            (true, _, _) => "revoked",
            (false, true, _) => "signs",
            (false, false, true) => "named",
            (false, false, false) => "not named",
        }
    };
    let believed = |kept: &Kept| {
        let found = listed.iter().find(|key| issuers::kid(key) == kept.kid);
        found.map(|key| key.not_after)
    };
    match &document {
        Some(document) => println!("root {}, until {}", document.version, stamp(document.expires)),
        None => println!("no root document is in force"),
    }
    for kept in keychain.all() {
        let file = kept.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let until = believed(&kept).map(|end| format!("  believed until {}", stamp(end)));
        println!(
            "{:<14}  {:<9}  public {}  kid {}{}",
            file.unwrap_or_default(),
            state(&kept),
            kept.public,
            kept.kid,
            until.unwrap_or_default(),
        );
    }
    Ok(())
}

fn stamp(at: UnixSeconds) -> String {
    let stamp = i64::try_from(at.0).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    stamp.map(|stamp| stamp.to_string()).unwrap_or_default()
}
