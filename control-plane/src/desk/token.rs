//! Issuing gatepasses: client credentials (RFC 6749 section 4.4) and token exchange (RFC 8693), with
//! `authorization_details` (RFC 9396) and `resource` (RFC 8707).
//!
//! One transaction checks agent, owner, blueprint, subject and task, reads the position, writes the
//! record and commits before anybody has the gatepass. What is asked for must be narrower than one
//! entry of the blueprint's ceiling, and allowed by the policy in force as the engine says it.

use std::collections::BTreeMap;

use gatepass_engine::bundle::{Assurance, Risk};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::decision::{admit, alive};
use gatepass_engine::denial::Denial;
use gatepass_engine::gatepass::{Claims, Token};
use gatepass_engine::ids::{Uri, is_token};
use gatepass_engine::keyring::Listed;
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use serde_json::{Value, json};

use super::assertion::Assertion;
use super::ceiling::{self, Ceiling};
use super::{budgets, tasks};
use crate::audit::Entry;
use crate::budget::use_once;
use crate::db::{Issuance, Tx, signed, unsigned};
use crate::issue::{self, Entry as Detail, Grant, Issuer};
use crate::keychain::Kept;
use crate::publish::Revoke;

mod denied;
mod parent;
mod standing;

use denied::not_admitted;
pub use denied::{Denied, OAuthError};
use standing::Standing;

/// What an agent asks for, already well-formed.
#[derive(Clone, Debug)]
pub struct Request {
    pub assertion: Assertion,
    pub entries: Vec<Detail>,
    pub scopes: Vec<String>,
    /// The target systems; those of the entries' `locations` when none is named.
    pub resources: Vec<String>,
    /// A task of the agent's own that is open; absent: one is made.
    pub task: Option<String>,
    /// Seconds; capped.
    pub lifetime: Option<u64>,
    /// The gatepass that this is exchanged from.
    pub subject_token: Option<String>,
}

/// A gatepass that is on record and not signed yet.
pub struct Issued {
    /// What signs it.
    pub key: Kept,
    /// What will be signed, as it is on record.
    pub claims: String,
    /// Its `authorization_details`.
    pub details: Value,
    pub jti: String,
    pub task: String,
    pub expires_in: u64,
    pub scope: String,
}

/// Issues one gatepass. The assertion's `jti` is spent whatever becomes of it, so the inner error
/// is a change to keep; it changed nothing else.
///
/// # Errors
/// The outer one: ours, and nothing is kept.
pub async fn issue(tx: &mut Tx, request: Request) -> Result<Result<Issued, Denied>, Denied> {
    let assertion = request.assertion.clone();
    let decided = kept(decide(tx, request).await)?;
    if decided.is_err() {
        tx.guard().await?;
        // It may have been refused for being spent.
        let _ = note_spent(tx, &assertion).await?;
    }
    Ok(decided)
}

/// Makes a refusal, before which nothing but the assertion's `jti` was written, a change to keep.
///
/// # Errors
/// Ours, of which nothing is kept.
pub fn kept<T>(outcome: Result<T, Denied>) -> Result<Result<T, Denied>, Denied> {
    match outcome {
        Err(denied) if denied.error == OAuthError::ServerError => Err(denied),
        decided => Ok(decided),
    }
}

/// INVARIANT: whatever is refused is refused before the first statement that changes something.
async fn decide(tx: &mut Tx, mut request: Request) -> Result<Issued, Denied> {
    let now = tx.now();
    if request.subject_token.is_some() || request.task.is_none() {
        tx.guard().await?;
    }
    let standing = Standing::read(tx, &request.assertion, request.task.as_deref()).await?;
    let party = standing.check(&request.assertion, now)?;
    if standing.spent {
        return Err(used_before());
    }
    use_once(&mut request.entries, tx.publisher().index().bundle());
    let parent = match &request.subject_token {
        Some(token) => Some(parent::Parent::read(tx, token, &party, now).await?),
        None => None,
    };
    let audiences = audiences(&request, parent.as_ref())?;
    covered(&request, &standing.ceiling, &audiences, parent.as_ref())?;
    let longest = longest(tx, &request.entries, &standing.ceiling)?;
    let wanted = request.lifetime.unwrap_or(issue::DEFAULT_LIFETIME).min(longest);
    let lifetime = match &parent {
        Some(parent) => wanted.min(parent.expires_at.since(now)),
        None => wanted,
    };
    let lifetime = lifetime.min(UnixSeconds(unsigned(standing.valid_until)).since(now));
    let task = task(&request, &standing, parent.as_ref())?;
    let key = tx.issuer().cloned().ok_or_else(no_issuer_key)?;
    let position = tx.position();
    let jti = uuid::Uuid::now_v7().to_string();
    let mut grant = Grant {
        jti: jti.clone(),
        subject: parent.as_ref().and_then(|parent| parent.subject.clone()),
        prior_actors: parent.as_ref().map(|parent| parent.actors.clone()).unwrap_or_default(),
        ancestors: parent.as_ref().map(|parent| parent.ancestors.clone()).unwrap_or_default(),
        agent: party,
        audiences,
        scopes: request.scopes,
        entries: request.entries,
        task: task.id().to_owned(),
        assurance: match &parent {
            Some(parent) => parent.assurance.min(REGISTERED_KEY),
            None => REGISTERED_KEY,
        },
        approval: None,
        budgets: BTreeMap::new(),
        workload: None,
        confirmation: None,
        lifetime,
        decision: Some(jti.clone()),
        policy: Some(position),
    };
    let reserved = budgets::add_up(tx, &grant).await?;
    grant.budgets = reserved.sums;
    let (mut claims, text) = admitted(tx, &grant, &standing, position, now)?;
    if !reserved.parts.is_empty() {
        tx.guard().await?;
    }
    if let Work::New(id) = &task {
        tasks::open(tx, id, &grant.agent.id, "").await?;
    }
    let issuance = Issuance {
        agent: &grant.agent.id,
        assertion: &request.assertion.jti,
        assertion_until: request.assertion.until,
        jti: &grant.jti,
        task: &grant.task,
        subject: grant.subject.as_ref().unwrap_or(&grant.agent.id),
        claims: &text,
        expires_at: now.plus(grant.lifetime),
    };
    record(tx, &grant, &issuance).await?;
    for part in &reserved.parts {
        tx.reserve(&grant.jti, issuance.expires_at, part).await?;
    }
    Ok(Issued {
        key,
        details: claims.get_mut("authorization_details").map(Value::take).unwrap_or_default(),
        claims: text,
        jti: grant.jti,
        task: grant.task,
        expires_in: grant.lifetime,
        scope: grant.scopes.join(" "),
    })
}

/// The claims that will be signed, as a gate would take them.
fn admitted(
    tx: &Tx,
    grant: &Grant,
    standing: &Standing,
    position: Position,
    now: UnixSeconds,
) -> Result<(Value, String), Denied> {
    let issuer = Issuer {
        issuer: standing.issuer.clone(),
        environment: standing.environment.clone(),
        algorithm: gatepass_engine::keyring::Algorithm::EdDsa,
    };
    let server = |error: &dyn core::fmt::Display| {
        tracing::error!(%error, "claims that cannot be issued");
        Denied::new(OAuthError::ServerError, "the control plane's log says why")
    };
    let claims = grant.claims(&issuer, position, now).map_err(|error| server(&error))?;
    let text = claims.to_string();
    if text.len() > MAX_CLAIMS_BYTES {
        return Err(Denied::new(
            OAuthError::InvalidRequest,
            "no gate would read so long a gatepass: ask for less at once",
        ));
    }
    // What is ours in it is well-formed; what is not comes from the entries that were asked for.
    let read = Claims::parse(text.as_bytes()).map_err(|denial| not_admitted(&denial))?;
    if read.authorization_details.has_uses() && tx.signers().redeem().is_empty() {
        return Err(Denied::new(
            OAuthError::TemporarilyUnavailable,
            "no `redeem` key is in force here, so no gate could have the use spent",
        ));
    }
    admit(&read, tx.publisher().index()).map_err(|denial| not_admitted(&denial))?;
    Ok((claims, text))
}

/// Writes the gatepass down.
async fn record(tx: &mut Tx, grant: &Grant, issuance: &Issuance<'_>) -> Result<(), Denied> {
    let mut after = json!({
        "jti": grant.jti, "task": grant.task, "audiences": grant.audiences,
        "entries": grant.entries, "scopes": grant.scopes, "subject": grant.subject,
        "ancestors": grant.ancestors, "expires_at": issuance.expires_at,
    });
    if let (Some(members), false) = (after.as_object_mut(), grant.budgets.is_empty()) {
        members.insert("budget".to_owned(), json!(grant.budgets));
    }
    let entry = Entry {
        actor: &grant.agent.id,
        action: "gatepass.issue",
        target: &grant.agent.id,
        before: Value::Null,
        after,
        reason: "",
    };
    tx.issued(issuance, entry).await?;
    Ok(())
}

/// Whether the agent may do anything at all now.
///
/// # Errors
/// [`Denied`] says why not.
pub async fn may_work(tx: &mut Tx, assertion: &Assertion) -> Result<(), Denied> {
    let now = tx.now();
    Standing::read(tx, assertion, None).await?.check(assertion, now).map(|_| ())
}

/// An agent gives one of its own gatepasses back (RFC 7009). Of any other nothing is said.
///
/// # Errors
/// What the database says.
pub async fn give_back(tx: &mut Tx, agent: &str, token: &str) -> Result<(), Denied> {
    let now = tx.now();
    let Ok(claims) = is_active(token, tx.publisher(), now) else {
        return Ok(());
    };
    let own = claims.get("client_id").and_then(Value::as_str) == Some(agent);
    let Some(jti) = claims.get("jti").and_then(Value::as_str).filter(|_| own) else {
        return Ok(());
    };
    sqlx::query("UPDATE gatepasses SET revoked_at = ifnull(revoked_at, ?) WHERE jti = ?")
        .bind(signed(now.0))
        .bind(jti)
        .execute(tx.sql())
        .await?;
    tx.release(jti).await?;
    tx.revoke([Revoke::new(Kind::Credential, jti, now)]);
    tx.audit(Entry {
        actor: agent,
        action: "gatepass.revoke",
        target: agent,
        before: Value::Null,
        after: json!({ "jti": jti }),
        reason: "",
    })
    .await?;
    Ok(())
}

/// An assertion is good once (RFC 7523 section 3).
///
/// # Errors
/// `invalid_client` when it was used before.
pub async fn spend(tx: &mut Tx, assertion: &Assertion) -> Result<(), Denied> {
    if note_spent(tx, assertion).await? { Ok(()) } else { Err(used_before()) }
}

/// Whether it was not spent before.
async fn note_spent(tx: &mut Tx, assertion: &Assertion) -> Result<bool, Denied> {
    let done = sqlx::query("INSERT OR IGNORE INTO spent (agent, jti, until) VALUES (?, ?, ?)")
        .bind(&assertion.agent)
        .bind(&assertion.jti)
        .bind(signed(assertion.until.0))
        .execute(tx.sql())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Its window is over, or it was revoked: no gate would believe what it signs.
fn no_issuer_key() -> Denied {
    Denied::new(
        OAuthError::TemporarilyUnavailable,
        "no issuer key is in force that this control plane could sign with",
    )
}

fn used_before() -> Denied {
    Denied::new(
        OAuthError::InvalidClient,
        "the assertion's `jti` was used before: make a new assertion for each request",
    )
}

/// `resource`, else the locations of the entries; what it is exchanged from bounds both.
fn audiences(request: &Request, parent: Option<&parent::Parent>) -> Result<Vec<String>, Denied> {
    let invalid = |why: &str| Err(Denied::new(OAuthError::InvalidTarget, why));
    let mut audiences = request.resources.clone();
    if audiences.is_empty() {
        audiences = request.entries.iter().filter_map(|e| e.locations.clone()).flatten().collect();
    }
    audiences.sort();
    audiences.dedup();
    if audiences.is_empty() || audiences.len() > MAX_AUDIENCES {
        return invalid("name 1 to 8 target systems with `resource`");
    }
    if audiences.iter().any(|audience| Uri::parse(audience).is_none()) {
        return invalid("a `resource` is an absolute URI");
    }
    if parent.is_some_and(|parent| audiences.iter().any(|one| !parent.audiences.contains(one))) {
        return invalid("the `subject_token` is not for this target system");
    }
    Ok(audiences)
}

fn covered(
    request: &Request,
    ceiling: &Ceiling,
    audiences: &[String],
    parent: Option<&parent::Parent>,
) -> Result<(), Denied> {
    for entry in &request.entries {
        let beyond = |of: &str| {
            Err(Denied::new(
                OAuthError::InvalidAuthorizationDetails,
                format!("an entry for `{}` is beyond {of}", entry.actions.join("`, `")),
            ))
        };
        if !ceiling.covers(entry, audiences) {
            return beyond("the blueprint's ceiling");
        }
        let narrower = |parent: &parent::Parent| {
            // One use would be as many as there are children.
            let unspent = parent.entries.iter().filter(|own| own.uses.is_none());
            unspent.into_iter().any(|own| ceiling::is_narrower(entry, own, audiences))
        };
        if parent.is_some_and(|parent| !narrower(parent)) {
            return beyond("what the `subject_token` grants");
        }
    }
    for scope in &request.scopes {
        let held = ceiling.scopes.contains(scope)
            && parent.is_none_or(|parent| parent.scopes.contains(scope));
        if !is_token(scope) || !held {
            return Err(Denied::new(
                OAuthError::InvalidScope,
                format!("the scope `{}` is beyond the ceiling", scope.escape_default()),
            ));
        }
    }
    Ok(())
}

/// The shortest of what the risks of all actions allow, in seconds.
fn longest(tx: &Tx, entries: &[Detail], ceiling: &Ceiling) -> Result<u64, Denied> {
    let actions = &tx.publisher().index().bundle().actions;
    let mut longest = ceiling.longest(Risk::Low);
    for name in entries.iter().flat_map(|entry| &entry.actions) {
        let Some(action) = actions.iter().find(|action| action.name == *name) else {
            return Err(Denied::new(
                OAuthError::InvalidAuthorizationDetails,
                format!("the policy in force has no action `{name}`"),
            ));
        };
        longest = longest.min(ceiling.longest(action.risk));
    }
    Ok(longest.into())
}

fn task(
    request: &Request,
    standing: &Standing,
    parent: Option<&parent::Parent>,
) -> Result<Work, Denied> {
    if let Some(parent) = parent {
        // The work is the one that the parent was issued for: its end ends this too.
        if request.task.as_ref().is_some_and(|task| *task != parent.task) {
            return Err(Denied::new(
                OAuthError::InvalidRequest,
                "the task of an exchange is that of its `subject_token`",
            ));
        }
        return Ok(Work::Open(parent.task.clone()));
    }
    let Some(id) = &request.task else {
        return Ok(Work::New(tasks::new_id()));
    };
    match standing.task.as_deref() {
        Some("open") => Ok(Work::Open(id.clone())),
        _ => {
            let unknown = "the agent has no open task of this id";
            Err(Denied::new(OAuthError::InvalidRequest, unknown))
        }
    }
}

/// The task of a gatepass.
enum Work {
    Open(String),
    /// It is opened when the gatepass is issued.
    New(String),
}

impl Work {
    fn id(&self) -> &str {
        match self {
            Self::Open(id) | Self::New(id) => id,
        }
    }
}

/// Whether a gatepass is alive by the committed state: RFC 7662's `active`.
///
/// # Errors
/// Says why not.
pub fn is_active(
    token: &str,
    publisher: &crate::publish::Publisher,
    now: UnixSeconds,
) -> Result<Value, String> {
    let text = |denial: Denial| denial.to_string();
    let split = Token::split(token.as_bytes()).map_err(text)?;
    let unverified = split.read().map_err(text)?;
    let revoked = |kid: &str| publisher.hits(Kind::Key, kid, 0);
    let state = publisher.state();
    let listed = Listed { keys: &state.keys.keys, now };
    let signed = unverified.verify(&listed, revoked).map_err(text)?;
    let authentic = signed.authentic(&listed, revoked).map_err(text)?;
    let verified = authentic.check(&state.environment, None, now).map_err(text)?;
    let claims = verified.claims();
    if claims.seq.epoch < publisher.position().epoch {
        return Err("issued in an older epoch".to_owned());
    }
    alive(claims, |kind, id, sequence| publisher.hits(kind, id, sequence)).map_err(text)?;
    let payload = token.split('.').nth(1).and_then(issue::payload);
    payload.ok_or_else(|| "its claims are not JSON".to_owned())
}

/// A key that the agent alone holds and that people registered: more than a shared secret, less
/// than an attested workload.
const REGISTERED_KEY: Assurance = Assurance::Federated;
const MAX_AUDIENCES: usize = 8;
/// With header and signature, and in base64url, below the 8 KiB that a gate reads.
const MAX_CLAIMS_BYTES: usize = 5900;
