//! Root documents put in force, and with them the keys that sign from then on.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::keyring::{IssuerKey, MAX_ISSUER_KEYS};
use gatepass_engine::root::Document;
use serde_json::{Value, json};

use super::Effect;
use super::environment::OLD_COPY;
use crate::audit::Entry;
use crate::db::{DbError, Tx};
use crate::desk::Refused;
use crate::issuers::{self, Rotation};
use crate::keychain::Signers;
use crate::keys::{KeyError, Signer as _};
use crate::roots::{self, PinnedRoots, unverified_document};

/// Walks the chain as a gate does. From this change on the keys that the root names and that lie in
/// the directory sign; those that it does not name are gone with it.
pub(super) async fn adopt(tx: &mut Tx, envelope: String) -> Result<Effect, Refused> {
    let invalid = |error: roots::RootError| Refused::invalid("envelope", error.to_string());
    let mut chain = tx.roots().to_vec();
    let first = chain.first().unwrap_or(&envelope);
    let pinned = PinnedRoots::of_first(first).map_err(invalid)?;
    let environment = tx.publisher().state().environment.clone();
    let before = tx.publisher().state().root_version;
    chain.push(envelope.clone());
    let pinned = pinned.pinned(&environment).map_err(invalid)?;
    let trust = roots::walk(pinned, &chain, tx.now()).map_err(invalid)?;
    if trust.version() <= before {
        return Err(Refused::invalid("envelope", format!("root {before} is in force already")));
    }
    let document = unverified_document(&envelope).map_err(invalid)?;
    let signers = under(tx, &document)?;
    let rotation = rotate(tx, &document, &signers).await?;
    let after = json!({
        "version": document.version, "reset": document.reset,
        "feed": signers.feed()?.public, "audit": signers.audit()?.public,
        "issuers": rotation.listed(),
    });
    tx.set_issuer_keys(rotation.keys);
    // Of a position ahead of ours it cannot be told whether a thief led there, so after a reset
    // nobody may be at ours but who had our snapshot.
    let leap = match document.reset {
        true => {
            not_an_old_copy(tx).await?;
            random()?
        }
        false => 0,
    };
    tx.keychain().keep_root(document.version, &envelope);
    tx.adopt_root(document.version, envelope, signers, leap).await?;
    Ok(Effect { target: "root".to_owned(), before: json!({ "version": before }), after })
}

/// A follower that a thief pushed ahead looks as one of a newer database does. The root keys have
/// said which it is, so `gatepass open` may open again.
async fn not_an_old_copy(tx: &mut Tx) -> Result<(), Refused> {
    sqlx::query("UPDATE environment SET issuance_closed = ? WHERE instr(issuance_closed, ?) = 1")
        .bind(RESET)
        .bind(OLD_COPY)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// Takes an issuer key into use whose file was put here after the root that names it was adopted.
///
/// # Errors
/// What the database says.
pub(crate) async fn take_issuer_key(tx: &mut Tx) -> Result<(), Refused> {
    let corrupt = |error| DbError::Corrupt(format!("a root document: {error}"));
    let Some(newest) = tx.roots().last() else { return Ok(()) };
    let document = unverified_document(newest).map_err(corrupt)?;
    let signers = tx.signers().clone();
    let known = &tx.publisher().state().keys.keys;
    if signers
        .issuers()
        .last()
        .is_none_or(|new| known.iter().any(|key| key.public == new.key.public()))
    {
        return Ok(());
    }
    let rotation = rotate(tx, &document, &signers).await?;
    let after = json!({ "issuers": rotation.listed() });
    tx.set_issuer_keys(rotation.keys);
    tx.audit(Entry {
        actor: super::SYSTEM,
        action: "root.take_key",
        target: "root",
        before: Value::Null,
        after,
        reason: "its file was put into the directory",
    })
    .await?;
    Ok(())
}

/// Under a root that names none of our keys for a role every gate would refuse what is signed here,
/// revocations first.
fn under(tx: &Tx, document: &Document) -> Result<Signers, Refused> {
    let keychain = tx.keychain();
    keychain.look().map_err(|error| Refused::Conflict(error.to_string()))?;
    let signers = keychain.under(Some(document));
    let missing = |role| {
        Refused::invalid(
            "envelope",
            format!("it names no {role} key that lies in this directory: see `gatepass keys list`"),
        )
    };
    match signers.check() {
        Ok(()) => Ok(signers),
        Err(DbError::NoKey(role)) => Err(missing(role)),
        Err(other) => Err(other.into()),
    }
}

/// The issuer keys under a root.
struct Rotated {
    keys: Vec<IssuerKey>,
    takeover: UnixSeconds,
    now: UnixSeconds,
}

async fn rotate(tx: &mut Tx, document: &Document, signers: &Signers) -> Result<Rotated, Refused> {
    let (issuer,): (String,) =
        sqlx::query_as("SELECT issuer FROM environment").fetch_one(tx.sql()).await?;
    let now = tx.now();
    // Also by cohorts, whose own policies may ride out more.
    let heard = tx.publisher().indexes().map(|index| issuers::heard_by_all(index, now));
    let takeover = heard.max().unwrap_or(now);
    let current = &tx.publisher().state().keys.keys;
    let keys = Rotation { document, current, issuer: &issuer, now, takeover }.keys(signers);
    if keys.len() > MAX_ISSUER_KEYS {
        return Err(Refused::invalid(
            "envelope",
            format!("more than {MAX_ISSUER_KEYS} issuer keys would be in force: drop old ones"),
        ));
    }
    Ok(Rotated { keys, takeover, now })
}

impl Rotated {
    /// For the record and for whoever asked. `signs_from`: when the newest begins to.
    fn listed(&self) -> Value {
        let alone = self.keys.len() == 1;
        let last = self.keys.len().saturating_sub(1);
        let key = |(at, key): (usize, &IssuerKey)| {
            let mut listed = json!({ "kid": issuers::kid(key), "not_after": key.not_after });
            if let Some(members) = listed.as_object_mut().filter(|_| at == last) {
                let from = if alone { self.now } else { self.takeover };
                members.insert("signs_from".to_owned(), json!(from));
            }
            listed
        };
        self.keys.iter().enumerate().map(key).collect()
    }
}

fn random() -> Result<u32, Refused> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|_| DbError::from(KeyError::Randomness))?;
    Ok(u32::from_le_bytes(bytes))
}

/// Why issuance is closed where a follower was ahead before the reset.
const RESET: &str = "the position was reset: look through the audit record, then `gatepass open`";
