//! A control plane of one environment in memory: keys from seeds, no files, no sockets, no clock.
//! Time is an argument, so the same calls give the same bytes in every run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass::issue::{Grant, Issuer, Party, issue, sign as sign_claims};
use gatepass::keys::{SecretKey, Signer as _};
use gatepass::publish::{Changes, Genesis, Publisher, Revoke};
use gatepass::roots::{PinnedRoots, first, sign, sign_grace, successor};
use gatepass_engine::batch::Feed;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::grace;
use gatepass_engine::keyring::{Algorithm, IssuerKey};
use gatepass_engine::position::Position;
use gatepass_engine::redeem::{Document as Answer, Verdict};
use gatepass_engine::revocation::Kind;
use gatepass_engine::root::{Document, Role};
use serde_json::{Value, json};

use super::orders::{AUDIENCE, POLICY};

/// An error of the kit: a test stops on it.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Root, feed, issuer and policy of an environment, and what they sign.
pub struct Signed {
    publisher: Publisher,
    document: Document,
    roots: Vec<String>,
    feed: SecretKey,
    issuer: SecretKey,
}

impl Signed {
    /// The environment and feed audience `prod` with the orders policy.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn start(now: UnixSeconds) -> Result<Self, Failed> {
        Self::of("prod", "prod", now)
    }

    /// The same keys, in another environment or for another feed audience.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn of(environment: &str, audience: &str, now: UnixSeconds) -> Result<Self, Failed> {
        let (root, feed, issuer) = (key(ROOT)?, key(FEED)?, key(ISSUER)?);
        let pinned = PinnedRoots::new(&[root.public()], 1);
        let redeem = (Role::Redeem, key(REDEEM)?.public());
        let keys = [(Role::Feed, feed.public()), (Role::Issuer, issuer.public()), redeem];
        let document = first(environment, &pinned, &keys, now.plus(ROOT_LIFE));
        let roots = vec![sign(&document, &[&root], now)?];
        let mut publisher = Publisher::new(Genesis {
            environment: environment.to_owned(),
            audience: audience.to_owned(),
            epoch: EPOCH,
            hash_key: [9; 16],
            root_version: 1,
            keys: vec![registered(&issuer, now)],
        })?;
        publisher.advance(&Changes::bundle(compile(POLICY)?))?;
        Ok(Self { publisher, document, roots, feed, issuer })
    }

    /// The plugin configuration that follows this control plane.
    ///
    /// # Errors
    /// A seed that is no key.
    pub fn configuration(&self) -> Result<Value, Failed> {
        let state = self.publisher.state();
        let pinned = PinnedRoots::new(&[key(ROOT)?.public()], 1);
        Ok(json!({
            "environment": state.environment,
            "feed_audience": state.audience,
            "control_plane": {"cluster": CLUSTER, "authority": "gatepass"},
            "roots": {"keys": pinned.keys, "threshold": pinned.threshold},
            "min_root_version": 1,
            "mode": "enforce",
        }))
    }

    /// A grace of four hours for these actions, as the plugin's configuration takes it.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn grace(&self, actions: &[&str], now: UnixSeconds) -> Result<String, Failed> {
        let document = grace::Document {
            environment: self.publisher.state().environment.clone(),
            issued_at: now,
            expires: now.plus(grace::MAX_GRACE),
            actions: actions.iter().map(|name| (*name).to_owned()).collect(),
        };
        let signed = sign_grace(&document, &[&key(ROOT)?])?;
        Ok(STANDARD.encode(signed))
    }

    /// All that this control plane could say or do besides.
    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    pub fn position(&self) -> Position {
        self.publisher.position()
    }

    /// # Errors
    /// It does not fit.
    pub fn snapshot(&mut self, now: UnixSeconds) -> Result<Vec<Vec<u8>>, Failed> {
        Ok(self.publisher.snapshot(&self.feed, now)?)
    }

    /// # Errors
    /// What the publisher says.
    pub fn delta(&mut self, changes: &Changes, now: UnixSeconds) -> Result<Vec<u8>, Failed> {
        Ok(self.publisher.delta(changes, &self.feed, now)?)
    }

    /// A delta that revokes one thing.
    ///
    /// # Errors
    /// What the publisher says.
    pub fn revoke(&mut self, kind: Kind, id: &str, now: UnixSeconds) -> Result<Vec<u8>, Failed> {
        self.delta(&Changes::revoke(vec![Revoke::new(kind, id, now)]), now)
    }

    /// # Errors
    /// None in practice.
    pub fn checkpoint(&mut self, now: UnixSeconds) -> Result<Vec<u8>, Failed> {
        Ok(self.publisher.checkpoint(&self.feed, now)?)
    }

    /// The same control plane after its feed key was stolen and replaced by another: what `self`
    /// signs from here on is a stranger's.
    ///
    /// # Errors
    /// A seed that is no key.
    pub fn signs_as(&mut self, seed: u8) -> Result<(), Failed> {
        self.feed = key(seed)?;
        Ok(())
    }

    /// A new root document in force from the next step on, with the feed key of this seed.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn rotate_feed_key(&mut self, seed: u8, now: UnixSeconds) -> Result<(), Failed> {
        let feed = key(seed)?;
        let redeem = (Role::Redeem, key(REDEEM)?.public());
        let keys = [(Role::Feed, feed.public()), (Role::Issuer, self.issuer.public()), redeem];
        self.document = successor(&self.document, &keys, now.plus(ROOT_LIFE));
        self.roots.push(sign(&self.document, &[&key(ROOT)?], now)?);
        self.feed = feed;
        self.publisher.advance(&Changes {
            root_version: Some(self.document.version),
            ..Changes::default()
        })?;
        Ok(())
    }

    /// The body of a feed answer: all root documents, and these batches.
    ///
    /// # Errors
    /// None in practice.
    pub fn answer(&self, batches: &[Vec<u8>]) -> Result<Vec<u8>, Failed> {
        let feed = Feed {
            roots: self.roots.iter().map(String::as_bytes).collect(),
            batches: batches.iter().map(Vec::as_slice).collect(),
        };
        Ok(feed.encode().map_err(|error| error.to_string())?)
    }

    /// A gatepass issued at the newest position.
    ///
    /// # Errors
    /// No gate would read it.
    pub fn issue(&self, grant: &Grant, now: UnixSeconds) -> Result<String, Failed> {
        self.issue_at(grant, self.position(), now)
    }

    /// # Errors
    /// No gate would read it.
    pub fn issue_at(
        &self,
        grant: &Grant,
        position: Position,
        now: UnixSeconds,
    ) -> Result<String, Failed> {
        Ok(issue(grant, &self.named(), &self.issuer, position, now)?)
    }

    /// The claims of a good gatepass, for a test to change one.
    ///
    /// # Errors
    /// None in practice.
    pub fn claims(&self, grant: &Grant, now: UnixSeconds) -> Result<Value, Failed> {
        Ok(grant.claims(&self.named(), self.position(), now)?)
    }

    /// Signs claims as they are with the key of this seed.
    ///
    /// # Errors
    /// A seed that is no key.
    pub fn sign(&self, claims: &Value, seed: u8) -> Result<String, Failed> {
        Ok(sign_claims(claims, Algorithm::EdDsa, &key(seed)?)?)
    }

    /// The verdict on a question of a gate, as its answer has it; `change` may do to it what it likes, and say
    /// whose key signs.
    ///
    /// # Errors
    /// The question cannot be read.
    pub fn verdict(
        &self,
        question: &[u8],
        verdict: Verdict,
        now: UnixSeconds,
        change: impl FnOnce(&mut Answer, &mut u8),
    ) -> Result<Vec<u8>, Failed> {
        let asked: Value = serde_json::from_slice(question)?;
        let text = |name: &str| asked.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut answer = Answer {
            environment: self.publisher.state().environment.clone(),
            jti: text("jti").to_owned(),
            nonce: text("nonce").to_owned(),
            verdict,
            at: now,
        };
        let mut seed = REDEEM;
        change(&mut answer, &mut seed);
        let envelope = Unverified::new(PayloadType::Verdict, serde_json::to_vec(&answer)?);
        let key = key(seed)?;
        Ok(envelope.sign_with(|message| key.sign(message)).to_json().into_bytes())
    }

    fn named(&self) -> Issuer {
        Issuer {
            issuer: ISS.to_owned(),
            environment: self.publisher.state().environment.clone(),
            algorithm: Algorithm::EdDsa,
        }
    }
}

/// A grant of `action` at the orders API, with the scope that its policy asks for.
pub fn grant(action: &str) -> Grant {
    let agent =
        Party { id: AGENT.to_owned(), owner: OWNER.to_owned(), blueprint: BLUEPRINT.to_owned() };
    let mut grant = Grant::new(JTI, agent, TASK, AUDIENCE, &[action]);
    grant.scopes = vec!["orders.write".to_owned()];
    grant
}

fn compile(policy: &str) -> Result<gatepass_engine::bundle::Bundle, Failed> {
    let compiled = gatepass_policy::compile(policy);
    Ok(compiled.map_err(|problems| format!("{problems:?}"))?.bundle)
}

fn registered(issuer: &SecretKey, now: UnixSeconds) -> IssuerKey {
    IssuerKey {
        public: issuer.public(),
        issuer: ISS.to_owned(),
        algorithm: Algorithm::EdDsa,
        not_before: UnixSeconds(0),
        not_after: now.plus(ROOT_LIFE),
    }
}

fn key(seed: u8) -> Result<SecretKey, Failed> {
    Ok(SecretKey::from_seed(&[seed; 32])?)
}

/// Seeds of the keys, by what they sign.
pub const ROOT: u8 = 1;
pub const FEED: u8 = 2;
pub const ISSUER: u8 = 3;
/// Signs verdicts.
pub const REDEEM: u8 = 77;
/// Named by no root document.
pub const STRANGER: u8 = 9;

pub const EPOCH: u64 = 7;
pub const CLUSTER: &str = "gatepass_control_plane";
pub const ISS: &str = "https://gatepass.example/prod";
pub const AGENT: &str = "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f";
pub const OWNER: &str = "user:corp/alice";
pub const BLUEPRINT: &str = "buyer";
pub const TASK: &str = "task-1";
pub const JTI: &str = "jti-1";
/// Seconds.
const ROOT_LIFE: u64 = 30 * 86_400;
