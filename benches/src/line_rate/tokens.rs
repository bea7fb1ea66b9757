//! Credentials, made before anything is timed: the same claims for every row, each with a `jti` of its
//! own, signed by the issuer's key or by a P-256 key for the row that compares with ES256.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::issue::{Entry, Grant, Issuer, Party, new_id, sign};
use gatepass::keys::{KeyRole, SecretKey, Signer as _, public_text};
use gatepass::store::Store;
use gatepass_engine::keyring::{Algorithm, KeyId};
use gatepass_engine::position::Position;
use gatepass_tests::kit::world::now;
use serde_json::{Value, json};

use super::Failed;
use super::load::Credentials;
use super::request::{ACTION, AUDIENCE, SCOPE};

/// What signs, and whom it signs for.
pub(crate) struct Mint {
    issuer: Issuer,
    position: Position,
    key: SecretKey,
    p256: EcdsaKeyPair,
}

/// Who signs, and how well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    /// Of an agent that is revoked.
    Revoked,
    /// Its signature was changed.
    Forged,
    /// Its last claim has a type that it may not have: found as late as that can be.
    Malformed,
    /// It names a key that nobody has.
    Stranger,
    Es256,
}

impl Mint {
    pub(crate) fn new(store: &Store) -> Result<Self, Failed> {
        let random = SystemRandom::new();
        let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret.as_ref())
            .map_err(text)?;
        let key = SecretKey::load(&store.dir().join("issuer.key"), KeyRole::Issuer)?;
        Ok(Self { issuer: store.issuer(), position: store.position(), key, p256 })
    }

    /// Both public keys (RFC 7517).
    pub(crate) fn jwks(&self) -> Result<Value, Failed> {
        let point = self.p256.public_key().as_ref();
        let half = |from: usize| {
            point.get(from..from + 32).map(|half| URL_SAFE_NO_PAD.encode(half)).ok_or("no point")
        };
        Ok(json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": self.kid(), "x": self.x() },
            { "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": P256, "x": half(1)?, "y": half(33)? },
        ] }))
    }

    pub(crate) fn x(&self) -> String {
        public_text(&self.key.public())
    }

    pub(crate) fn kid(&self) -> String {
        KeyId::of(&self.key.public()).to_string()
    }

    /// Good ones that grant just this, each to an agent of its own where there are several.
    pub(crate) fn granting(
        &self,
        entry: &Entry,
        scope: &str,
        agents: usize,
        count: usize,
    ) -> Result<Vec<String>, Failed> {
        let one = |at: usize| {
            let mut grant =
                Grant::new(&new_id()?, party(&agent(at % agents)), "task-1", AUDIENCE, &[]);
            grant.scopes = vec![scope.to_owned()];
            grant.entries = vec![entry.clone()];
            grant.lifetime = LIFETIME;
            let claims = grant.claims(&self.issuer, self.position, now())?;
            Ok(sign(&claims, Algorithm::EdDsa, &self.key)?)
        };
        (0..count).map(one).collect()
    }

    pub(crate) fn make(&self, kind: Kind, count: usize) -> Result<Vec<String>, Failed> {
        (0..count).map(|_| self.one(kind)).collect()
    }

    fn one(&self, kind: Kind) -> Result<String, Failed> {
        let agent = if kind == Kind::Revoked { REVOKED } else { AGENT };
        let mut grant = Grant::new(&new_id()?, party(agent), "task-1", AUDIENCE, &[ACTION]);
        grant.scopes = vec![SCOPE.to_owned()];
        grant.entries = vec![Entry { actions: vec![ACTION.to_owned()], ..Entry::default() }];
        grant.lifetime = LIFETIME;
        let claims = grant.claims(&self.issuer, self.position, now())?;
        match kind {
            Kind::Good | Kind::Revoked => Ok(sign(&claims, Algorithm::EdDsa, &self.key)?),
            Kind::Forged => Ok(forged(&sign(&claims, Algorithm::EdDsa, &self.key)?)),
            Kind::Malformed => {
                let mut claims = claims;
                let members = claims.as_object_mut().ok_or("claims are an object")?;
                members.insert("uses".to_owned(), json!(""));
                members.insert("txn".to_owned(), json!(7));
                Ok(unsigned(&self.kid(), &claims))
            }
            Kind::Stranger => Ok(unsigned(&KeyId::of(&[7; 32]).to_string(), &claims)),
            Kind::Es256 => self.es256(&claims),
        }
    }

    fn es256(&self, claims: &Value) -> Result<String, Failed> {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": P256 });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let signature = self.p256.sign(&SystemRandom::new(), input.as_bytes()).map_err(text)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn party(agent: &str) -> Party {
    Party {
        id: agent.to_owned(),
        owner: "user:corp/alice".to_owned(),
        blueprint: "buyer".to_owned(),
    }
}

fn agent(at: usize) -> String {
    format!("agent:018f3c2e-7b1a-7c3d-8e4f-{at:012}")
}

/// Of the right shape, with a signature that nobody looks at.
fn unsigned(kid: &str, claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&header), part(claims), URL_SAFE_NO_PAD.encode([7; 64]))
}

/// Another character in the middle of the signature: the bytes decode, and are wrong.
fn forged(token: &str) -> String {
    let at = token.len() - 40;
    let (before, after) = token.split_at(at);
    let other = if after.starts_with('A') { "B" } else { "A" };
    format!("{before}{other}{}", after.get(1..).unwrap_or_default())
}

fn text(error: impl core::fmt::Debug) -> Failed {
    format!("{error:?}").into()
}

/// No `Authorization` at all.
pub(crate) struct Nothing;

impl Credentials for Nothing {
    fn next(&mut self) -> Option<Option<&str>> {
        Some(None)
    }
}

/// Each once; what one round left over is for the next.
pub(crate) struct Once(std::vec::IntoIter<String>, String);

impl Once {
    pub(crate) fn new(all: Vec<String>) -> Self {
        Self(all.into_iter(), String::new())
    }
}

impl Credentials for Once {
    fn next(&mut self) -> Option<Option<&str>> {
        self.1 = self.0.next()?;
        Some(Some(&self.1))
    }
}

/// The same over and over, in order.
pub(crate) struct Again {
    all: Vec<String>,
    at: usize,
}

impl Again {
    pub(crate) fn new(all: Vec<String>) -> Self {
        Self { all, at: 0 }
    }
}

impl Credentials for Again {
    fn next(&mut self) -> Option<Option<&str>> {
        let at = self.at;
        self.at = (at + 1) % self.all.len();
        self.all.get(at).map(|one| Some(one.as_str()))
    }
}

const AGENT: &str = "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f";
pub(crate) const REVOKED: &str = "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e60";
/// Seconds: longer than a whole run of one setting.
const LIFETIME: u64 = 3600;
const P256: &str = "p256";
