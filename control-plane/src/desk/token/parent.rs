//! The gatepass that another is exchanged from (RFC 8693 `subject_token`).
//!
//! An agent narrows its own, or acts for the agent that gave it one. Either way nothing is gained:
//! entries, scopes, audiences, lifetime and assurance only shrink, and whatever kills the parent
//! kills the child, because the child names it.

use gatepass_engine::bundle::Assurance;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::denial::Denial;
use gatepass_engine::gatepass::{Present, Token};
use gatepass_engine::keyring::Listed;
use gatepass_engine::revocation::Kind;
use serde_json::Value;

use super::{Denied, OAuthError};
use crate::db::Tx;
use crate::desk::ceiling;
use crate::issue::{self, Entry, Party};

pub(super) struct Parent {
    /// `sub` of the child, where it acts for another.
    pub(super) subject: Option<String>,
    /// Actors before the one that asks, nearest first.
    pub(super) actors: Vec<Party>,
    pub(super) ancestors: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) task: String,
    pub(super) expires_at: UnixSeconds,
    pub(super) assurance: Assurance,
}

impl Parent {
    /// # Errors
    /// `invalid_grant` says why the token is of no use.
    pub(super) async fn read(
        tx: &mut Tx,
        token: &str,
        asking: &Party,
        now: UnixSeconds,
    ) -> Result<Self, Denied> {
        let invalid = |why: String| Denied::new(OAuthError::InvalidGrant, why);
        let publisher = tx.publisher();
        let environment = publisher.state().environment.clone();
        let split = Token::split(token.as_bytes()).map_err(|d| invalid(d.to_string()))?;
        let unverified = split.read().map_err(|d| invalid(d.to_string()))?;
        let revoked = |kid: &str| publisher.hits(Kind::Key, kid, 0);
        let denied = |denial: Denial| invalid(format!("the `subject_token` is denied: {denial}"));
        let listed = Listed { keys: &publisher.state().keys.keys, now };
        let signed = unverified.verify(&listed, revoked).map_err(denied)?;
        let verified = signed
            .authentic(&listed, revoked)
            .and_then(|authentic| authentic.check(&environment, None, now))
            .map_err(denied)?;
        let claims = verified.claims();
        if claims.seq.epoch != publisher.position().epoch {
            return Err(invalid("the `subject_token` is of another epoch".to_owned()));
        }
        if claims.cnf == Present::Yes || claims.req_wl == Present::Yes {
            // Whoever exchanges it has not shown that they hold what it is bound to.
            return Err(invalid("a bound gatepass cannot be exchanged".to_owned()));
        }
        gatepass_engine::decision::alive(claims, |kind, id, at| publisher.hits(kind, id, at))
            .map_err(|denial| invalid(format!("the `subject_token` is dead: {denial}")))?;
        let task: Option<(String,)> = sqlx::query_as("SELECT state FROM tasks WHERE id = ?")
            .bind(claims.txn.as_str())
            .fetch_optional(tx.sql())
            .await?;
        if task.is_none_or(|(state,)| state != "open") {
            return Err(invalid("the task of the `subject_token` has ended".to_owned()));
        }
        let payload = token.split('.').nth(1).and_then(issue::payload).unwrap_or_default();
        let details = payload.get("authorization_details").unwrap_or(&Value::Null).to_string();
        let entries = ceiling::entries(&details)?;
        let mut ancestors: Vec<String> =
            claims.anc.iter().map(|jti| jti.as_str().to_owned()).collect();
        ancestors.insert(0, claims.jti.as_str().to_owned());
        if ancestors.len() > MAX_ANCESTORS {
            return Err(invalid(format!("it was exchanged {MAX_ANCESTORS} times already")));
        }
        let party = |sub: &str, owner: &str, blueprint: &str| Party {
            id: sub.to_owned(),
            owner: owner.to_owned(),
            blueprint: blueprint.to_owned(),
        };
        let own = claims.client_id.as_str() == asking.id;
        let mut actors: Vec<Party> = claims
            .act
            .iter()
            .map(|actor| party(actor.sub.as_str(), actor.owner.as_str(), actor.blueprint.as_str()))
            .collect();
        let subject = if own {
            // The outermost actor is who asks; it stands there again.
            if !actors.is_empty() {
                actors.remove(0);
            }
            (claims.sub.as_str() != asking.id || !claims.act.is_empty())
                .then(|| claims.sub.as_str().to_owned())
        } else {
            if actors.is_empty() {
                let (owner, blueprint) = (claims.owner.as_str(), claims.blueprint.as_str());
                actors.push(party(claims.client_id.as_str(), owner, blueprint));
            }
            Some(claims.sub.as_str().to_owned())
        };
        if actors.len() >= MAX_ACTORS {
            return Err(invalid(format!("{MAX_ACTORS} agents act in it already")));
        }
        Ok(Self {
            subject,
            actors,
            ancestors,
            audiences: claims.aud.0.iter().map(|aud| aud.as_str().to_owned()).collect(),
            scopes: claims.scope.iter().map(str::to_owned).collect(),
            entries,
            task: claims.txn.as_str().to_owned(),
            expires_at: claims.exp,
            assurance: claims.assurance,
        })
    }
}

/// As many as a gatepass may name (02-wire-formats, `anc`).
const MAX_ANCESTORS: usize = 8;
/// As many as `act` may nest, with the one that asks.
const MAX_ACTORS: usize = 8;
