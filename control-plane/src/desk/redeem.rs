//! Redeeming: a gate asks that the one use of a gatepass be spent, or that the record of a decision be
//! stored, before it lets a request go on.
//!
//! One transaction looks whether the gatepass is one that was issued here and lives, and whether its use is
//! free; it spends the use with its audit record, and nobody is answered before it is on the disk. So of all
//! who ask at most one is told `granted`. Whoever is told may hear it again: the same question, of the same
//! gate and with the same nonce, has the same answer for as long as the gatepass lives. A gate lets at most
//! one request on for a nonce, so an answer that was lost on the way can be asked for once more; where the
//! gate asks no more, the use is gone.
//!
//! It grants nothing that an old copy of the database could have granted before: a restored database knows
//! none of the gatepasses that were issued before (`gatepass restore` ends them all, with their epoch).

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::decision::alive;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::gatepass::Claims;
use gatepass_engine::position::Position;
use gatepass_engine::redeem::{Document, Verdict};
use serde_json::{Value, json};

use super::Refused;
use super::apply::environment::OLD_COPY;
use crate::audit::Entry;
use crate::db::{DbError, Spending, Tx, signed, unsigned};
use crate::keychain::Signers;
use crate::keys::Signer as _;

/// What a gate asks, already well-formed.
#[derive(Clone, Debug)]
pub struct Question {
    pub jti: String,
    /// The gate's own, of this question.
    pub nonce: String,
    /// `exp` of the gatepass.
    pub expires: UnixSeconds,
    /// Where the gate is.
    pub position: Position,
    pub asks: Asks,
}

#[derive(Clone, Debug)]
pub enum Asks {
    /// Spend the use; store the record as well, where there is one.
    Use(Option<String>),
    /// Store the record.
    Record(String),
}

/// What is answered, and when it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub verdict: Verdict,
    pub at: UnixSeconds,
}

/// What the database says of the gatepass and its use.
#[derive(sqlx::FromRow)]
struct Found {
    closed: Option<String>,
    agent: Option<String>,
    claims: Option<String>,
    epoch: Option<i64>,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    /// Of the question that the use was granted to.
    nonce: Option<String>,
    gate: Option<String>,
}

/// Decides one question of `gate`.
///
/// # Errors
/// [`Refused::Closed`] where this database is an old copy; ours. Then nothing was spent or stored.
pub async fn redeem(tx: &mut Tx, gate: &str, question: &Question) -> Result<Decided, Refused> {
    let at = tx.now();
    let found: Found = sqlx::query_as(FIND)
        .bind(&question.jti)
        .fetch_one(tx.reading())
        .await
        .map_err(DbError::from)?;
    let old_copy = found.closed.as_deref().is_some_and(|why| why.starts_with(OLD_COPY));
    if old_copy || question.position > tx.position() {
        return Err(Refused::Closed(format!(
            "{OLD_COPY}: at {}, the database is at {}",
            question.position,
            tx.position()
        )));
    }
    let decided = |verdict| Ok(Decided { verdict, at });
    let Some(agent) = lives(tx, &found, question, at) else {
        return decided(Verdict::Refused);
    };
    let (record, spends) = match &question.asks {
        Asks::Use(record) => (record.as_deref(), true),
        Asks::Record(record) => (Some(record.as_str()), false),
    };
    if spends && let (Some(nonce), Some(by)) = (&found.nonce, &found.gate) {
        let again = *nonce == question.nonce && by == gate;
        return decided(if again { Verdict::Granted } else { Verdict::Spent });
    }
    if record.is_some() && spends {
        // Both or neither.
        tx.guard().await?;
    }
    if let Some(record) = record {
        tx.stored(&question.jti, &question.nonce, gate, record).await?;
    }
    if !spends {
        return decided(Verdict::Stored);
    }
    let spending =
        Spending { jti: &question.jti, nonce: &question.nonce, gate, until: question.expires };
    let after = json!({ "jti": question.jti, "gate": gate, "nonce": question.nonce });
    let entry = Entry {
        actor: gate,
        action: "gatepass.use",
        target: &agent,
        before: Value::Null,
        after,
        reason: "",
    };
    tx.spent(&spending, entry).await?;
    decided(Verdict::Granted)
}

/// The verdict as it is answered, signed by every `redeem` key that the root in force names and that lies here:
/// a gate may not have heard of the newest root yet.
///
/// # Errors
/// It does not encode; JSON always does.
pub fn verdict(
    environment: &str,
    question: &Question,
    decided: Decided,
    signers: &Signers,
) -> Result<String, DbError> {
    let document = Document {
        environment: environment.to_owned(),
        jti: question.jti.clone(),
        nonce: question.nonce.clone(),
        verdict: decided.verdict,
        at: decided.at,
    };
    let payload = serde_json::to_vec(&document)
        .map_err(|error| DbError::Corrupt(format!("a verdict: {error}")))?;
    let keys = signers.redeem().iter().rev().take(MAX_VERDICT_KEYS);
    let envelope = keys.fold(Unverified::new(PayloadType::Verdict, payload), |envelope, kept| {
        envelope.sign_with(|message| kept.key.sign(message))
    });
    Ok(envelope.to_json())
}

/// The agent of the gatepass, if that was issued here, in this epoch, and is neither over nor dead.
fn lives(tx: &Tx, found: &Found, question: &Question, now: UnixSeconds) -> Option<String> {
    let expires = UnixSeconds(unsigned(found.expires_at?));
    let here = tx.publisher().position();
    let in_force = expires == question.expires
        && expires > now
        && found.revoked_at.is_none()
        && found.epoch? == signed(here.epoch)
        && question.position.epoch == here.epoch;
    let claims = Claims::parse(found.claims.as_deref()?.as_bytes()).ok()?;
    let publisher = tx.publisher();
    let is_alive = alive(&claims, |kind, id, sequence| publisher.hits(kind, id, sequence)).is_ok();
    if in_force && is_alive { found.agent.clone() } else { None }
}

/// Signatures of one verdict: the newest keys'.
const MAX_VERDICT_KEYS: usize = 4;
/// Also where there is no such gatepass: one row.
const FIND: &str = "SELECT e.issuance_closed AS closed, g.agent, g.claims, g.epoch, g.expires_at,
   g.revoked_at, u.nonce, u.gate
 FROM environment e LEFT JOIN gatepasses g ON g.jti = ?1 LEFT JOIN uses u ON u.jti = ?1";
