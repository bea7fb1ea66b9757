//! Gatepasses: claims built from a [`Grant`], signed, and read back by the engine before anyone
//! gets them (02-wire-formats, "The gatepass").
//!
//! It signs what it is told to. Whether the agent may have the gatepass is decided before, by
//! whoever calls; this module only refuses what no gate would accept.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::budget::Amount;
use gatepass_engine::bundle::Assurance;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::denial::Denial;
use gatepass_engine::entry::ENTRY_TYPE;
use gatepass_engine::gatepass::{MAX_LIFETIME, Token};
use gatepass_engine::keyring::{Algorithm, KeyId};
use gatepass_engine::position::Position;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keys::{KeyError, Signer};

/// Who issues, and under which key's algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`: an absolute URI.
    pub issuer: String,
    pub environment: String,
    /// As registered with the key.
    pub algorithm: Algorithm,
}

/// Everything that a gatepass says, apart from issuer, environment and times.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Unique; [`new_id`] makes one.
    pub jti: String,
    /// The acting agent: who presents the gatepass.
    pub agent: Party,
    /// Whom it acts for: a person or another agent; absent when it acts for itself.
    pub subject: Option<String>,
    /// The actors before the acting one, nearest first. They can only deny.
    pub prior_actors: Vec<Party>,
    /// The `jti`s that this was exchanged from.
    pub ancestors: Vec<String>,
    /// The target systems.
    pub audiences: Vec<String>,
    pub scopes: Vec<String>,
    /// One entry grants; they are never combined.
    pub entries: Vec<Entry>,
    /// The unit of work: its end is this gatepass's end.
    pub task: String,
    pub assurance: Assurance,
    pub approval: Option<Approval>,
    /// What is taken of each budget with it, by name.
    pub budgets: BTreeMap<String, Amount>,
    /// The SPIFFE ID that must present it.
    pub workload: Option<String>,
    pub confirmation: Option<Confirmation>,
    /// Seconds.
    pub lifetime: u64,
    /// The decision that issued it.
    pub decision: Option<String>,
    /// The policy position that it was issued under.
    pub policy: Option<Position>,
}

/// An agent with who answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// `agent:<uuid>`.
    pub id: String,
    /// `user:<directory>/<id>`.
    pub owner: String,
    pub blueprint: String,
}

/// One member of `authorization_details`, type `agent_action`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub actions: Vec<String>,
    /// Absent: every audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locations: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// By input name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, Constraint>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "digest",
        deserialize_with = "read_digest"
    )]
    pub args_digest: Option<[u8; 32]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// Bounds on one input. Amounts are text (`"500.00 EUR"`), whole numbers may be numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    pub among: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A human approved the action with this digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Approval {
    pub id: String,
    /// `user:<directory>/<id>`.
    pub by: String,
    pub at: UnixSeconds,
    /// How they proved themselves (RFC 8176).
    pub amr: Vec<String>,
    #[serde(serialize_with = "some_digest")]
    pub digest: [u8; 32],
}

/// What the presenter must hold (`cnf`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Confirmation {
    /// A certificate's SHA-256 in base64url (RFC 8705).
    #[serde(rename = "x5t#S256")]
    Certificate(String),
    /// A key's thumbprint (RFC 9449).
    #[serde(rename = "jkt")]
    Key(String),
}

impl Grant {
    /// The least that makes a gatepass: an agent acting for itself, 5 minutes long.
    #[must_use]
    pub fn new(jti: &str, agent: Party, task: &str, audience: &str, actions: &[&str]) -> Self {
        Self {
            jti: jti.to_owned(),
            agent,
            subject: None,
            prior_actors: Vec::new(),
            ancestors: Vec::new(),
            audiences: vec![audience.to_owned()],
            scopes: Vec::new(),
            entries: vec![Entry {
                actions: actions.iter().map(|&action| action.to_owned()).collect(),
                ..Entry::default()
            }],
            task: task.to_owned(),
            assurance: Assurance::Federated,
            approval: None,
            budgets: BTreeMap::new(),
            workload: None,
            confirmation: None,
            lifetime: DEFAULT_LIFETIME,
            decision: None,
            policy: None,
        }
    }

    /// The claims, issued at `position`.
    ///
    /// # Errors
    /// [`IssueError::Lifetime`], [`IssueError::Encoding`].
    pub fn claims(
        &self,
        issuer: &Issuer,
        position: Position,
        now: UnixSeconds,
    ) -> Result<Value, IssueError> {
        if self.lifetime == 0 || self.lifetime > MAX_LIFETIME {
            return Err(IssueError::Lifetime(self.lifetime));
        }
        let subject = match (&self.subject, self.prior_actors.is_empty()) {
            (Some(subject), _) => subject,
            (None, true) => &self.agent.id,
            (None, false) => return Err(IssueError::NoSubject),
        };
        let details: Result<Vec<Value>, _> = self.entries.iter().map(typed).collect();
        let claims = Claims {
            iss: &issuer.issuer,
            aud: &self.audiences,
            exp: now.plus(self.lifetime),
            iat: now,
            jti: &self.jti,
            seq: (position.epoch, position.sequence),
            sub: subject,
            act: self.subject.as_ref().map(|_| self.actor_chain()),
            client_id: &self.agent.id,
            anc: &self.ancestors,
            owner: &self.agent.owner,
            blueprint: &self.agent.blueprint,
            scope: self.scopes.join(" "),
            authorization_details: details.map_err(|_| IssueError::Encoding)?,
            txn: &self.task,
            env: &issuer.environment,
            assurance: self.assurance,
            req_wl: self.workload.as_deref(),
            cnf: self.confirmation.as_ref(),
            approval: self.approval.as_ref(),
            budget: &self.budgets,
            dec: self.decision.as_deref(),
            pol: self.policy.map(|at| (at.epoch, at.sequence)),
        };
        serde_json::to_value(&claims).map_err(|_| IssueError::Encoding)
    }

    /// RFC 8693 section 4.1: outermost is who acts now.
    fn actor_chain(&self) -> Value {
        let nested =
            self.prior_actors.iter().rev().fold(None, |inner, party| Some(actor(party, inner)));
        actor(&self.agent, nested)
    }
}

/// Issues a gatepass. `position` is read in the transaction that checked agent, owner, blueprint,
/// subject and task.
///
/// # Errors
/// [`IssueError::Refused`] with the engine's reason when no gate would read it.
pub fn issue(
    grant: &Grant,
    issuer: &Issuer,
    key: &dyn Signer,
    position: Position,
    now: UnixSeconds,
) -> Result<String, IssueError> {
    let claims = grant.claims(issuer, position, now)?;
    let token = sign(&claims, issuer.algorithm, key)?;
    Token::split(token.as_bytes())
        .and_then(|split| split.read()?.check_claims())
        .map_err(IssueError::Refused)?;
    Ok(token)
}

/// Signs claims as they are: for [`issue`], and for tests of what a gate must refuse.
///
/// # Errors
/// [`IssueError::Encoding`].
pub fn sign(claims: &Value, algorithm: Algorithm, key: &dyn Signer) -> Result<String, IssueError> {
    let claims = serde_json::to_string(claims).map_err(|_| IssueError::Encoding)?;
    Ok(sign_text(&claims, algorithm, key))
}

/// [`sign`] of claims that are JSON text already.
#[must_use]
pub fn sign_text(claims: &str, algorithm: Algorithm, key: &dyn Signer) -> String {
    let kid = KeyId::of(&key.public());
    let alg = algorithm_name(algorithm);
    // Characters that JSON escapes occur in none of the three.
    let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"{kid}"}}"#);
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// The claims in the middle part of a token, whoever signed it.
#[must_use]
pub fn payload(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The JOSE name of an algorithm.
#[must_use]
pub const fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDsa => "EdDSA",
        Algorithm::Ed25519 => "Ed25519",
    }
}

/// 128 random bits in base64url: a `jti`, or a task without a name of its own.
///
/// # Errors
/// [`KeyError::Randomness`].
pub fn new_id() -> Result<String, KeyError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::Randomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn typed(entry: &Entry) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(entry)?;
    if let Value::Object(members) = &mut value {
        members.insert("type".to_owned(), ENTRY_TYPE.into());
    }
    Ok(value)
}

fn actor(party: &Party, inner: Option<Value>) -> Value {
    let mut members = serde_json::Map::new();
    members.insert("sub".to_owned(), party.id.as_str().into());
    members.insert("owner".to_owned(), party.owner.as_str().into());
    members.insert("blueprint".to_owned(), party.blueprint.as_str().into());
    if let Some(inner) = inner {
        members.insert("act".to_owned(), inner);
    }
    Value::Object(members)
}

fn digest<S: serde::Serializer>(
    digest: &Option<[u8; 32]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => some_digest(digest, serializer),
        None => serializer.serialize_none(),
    }
}

fn read_digest<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[u8; 32]>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digest = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    digest
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("`args_digest` is not a SHA-256 in base64url"))
}

fn some_digest<S: serde::Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&URL_SAFE_NO_PAD.encode(digest))
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a [String],
    exp: UnixSeconds,
    iat: UnixSeconds,
    jti: &'a str,
    seq: (u64, u64),
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    client_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    anc: &'a [String],
    owner: &'a str,
    blueprint: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    authorization_details: Vec<Value>,
    txn: &'a str,
    env: &'a str,
    assurance: Assurance,
    #[serde(skip_serializing_if = "Option::is_none")]
    req_wl: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<&'a Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<&'a Approval>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    budget: &'a BTreeMap<String, Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dec: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pol: Option<(u64, u64)>,
}

/// Why no gatepass was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("a lifetime of {0} s must be 1 to {MAX_LIFETIME} s")]
    Lifetime(u64),
    #[error("prior actors need a subject that they acted for")]
    NoSubject,
    #[error("the policy has no budget `{0}` of which `{1}` is a sum")]
    Budget(String, String),
    #[error("the claims do not encode")]
    Encoding,
    #[error("no gate would read the gatepass: {0}")]
    Refused(Denial),
}

/// Seconds.
pub const DEFAULT_LIFETIME: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
    const POSITION: Position = Position { epoch: 7, sequence: 3 };

    fn key() -> SecretKey {
        SecretKey::from_seed(&[5; 32]).unwrap()
    }

    fn issuer() -> Issuer {
        Issuer {
            issuer: "https://issuer.example".into(),
            environment: "prod".into(),
            algorithm: Algorithm::EdDsa,
        }
    }

    fn party(digit: char) -> Party {
        let d = |n: usize| digit.to_string().repeat(n);
        Party {
            id: format!("agent:{}-{}-{}-{}-{}", d(8), d(4), d(4), d(4), d(12)),
            owner: "user:corp/alice".into(),
            blueprint: "buyer".into(),
        }
    }

    fn grant() -> Grant {
        Grant::new("j1", party('1'), "t1", "https://orders.example", &["orders:create"])
    }

    fn check(change: impl FnOnce(&mut Grant)) -> Result<Value, String> {
        let mut grant = grant();
        change(&mut grant);
        let token = issue(&grant, &issuer(), &key(), POSITION, NOW).map_err(|e| e.to_string())?;
        let payload = token.split('.').nth(1).unwrap();
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap())
    }

    #[test]
    fn the_engine_reads_what_is_issued() {
        let claims = check(|_| {}).unwrap();
        assert_eq!(claims["exp"], 1_700_000_300);
        assert_eq!(claims["seq"], serde_json::json!([7, 3]));
        assert_eq!(claims["sub"], party('1').id);
        assert_eq!(claims["authorization_details"][0]["type"], "agent_action");
        assert!(claims.get("act").is_none());
        assert!(check(|g| g.jti = "a b".into()).is_err());
        assert!(check(|g| g.agent.id = "agent:1".into()).is_err());
        assert!(check(|g| g.agent.owner = "alice".into()).is_err());
        assert!(check(|g| g.audiences = vec![]).is_err());
        assert!(check(|g| g.scopes = vec!["a b".into(), String::new()]).is_err());
        assert!(check(|g| g.lifetime = 0).is_err());
        assert!(check(|g| g.lifetime = 3601).is_err());
        assert!(check(|g| g.entries[0].actions = vec!["a".into(); 99]).is_err());
    }

    #[test]
    fn a_chain_nests_with_the_acting_agent_outermost() {
        let claims = check(|g| {
            g.subject = Some("user:corp/bob".into());
            g.prior_actors = vec![party('2'), party('3')];
            g.ancestors = vec!["j0".into()];
        })
        .unwrap();
        assert_eq!(claims["sub"], "user:corp/bob");
        assert_eq!(claims["act"]["sub"], party('1').id);
        assert_eq!(claims["act"]["act"]["sub"], party('2').id);
        assert_eq!(claims["act"]["act"]["act"]["sub"], party('3').id);
        assert_eq!(claims["client_id"], party('1').id);
        assert!(check(|g| g.prior_actors = vec![party('2')]).is_err());
    }

    #[test]
    fn entries_carry_their_restrictions() {
        let claims = check(|g| {
            let bound = Constraint { max: Some("500.00 EUR".into()), ..Constraint::default() };
            g.entries[0].constraints.insert("amount".into(), bound);
            g.entries[0].locations = Some(vec!["https://orders.example".into()]);
            g.entries[0].args_digest = Some([1; 32]);
            g.approval = Some(Approval {
                id: "a1".into(),
                by: "user:corp/alice".into(),
                at: NOW,
                amr: vec!["hwk".into()],
                digest: [2; 32],
            });
        })
        .unwrap();
        let entry = &claims["authorization_details"][0];
        assert_eq!(entry["constraints"]["amount"]["max"], "500.00 EUR");
        assert_eq!(entry["args_digest"], URL_SAFE_NO_PAD.encode([1; 32]));
        assert_eq!(claims["approval"]["digest"], URL_SAFE_NO_PAD.encode([2; 32]));
    }

    #[test]
    fn the_header_is_exact() {
        let token = issue(&grant(), &issuer(), &key(), POSITION, NOW).unwrap();
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let expected = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{}"}}"#, key().id());
        assert_eq!(String::from_utf8(header).unwrap(), expected);
    }
}
