//! The gatepass: bytes -> [`Token`] -> [`Unverified`] -> [`Signed`] -> [`Authentic`] -> [`Verified`].
//!
//! A JWS compact JWT (RFC 7515, RFC 7519) with the claim set of RFC 9068 and stricter than all of
//! them: header members are exactly `alg`, `typ`, `kid`; base64url is canonical; JSON has one
//! spelling. Each state is made by the check in front of it alone, so a claim cannot be used before
//! that check has passed.
//!
//! [`Signed`] is the one state that may be kept: that bytes verify under a key never changes. Whether
//! the key may speak now, and for whom, is asked each time that [`Authentic`] is made of it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};

use crate::budget::Taken;
use crate::bundle::Assurance;
use crate::clock::{MAX_CLOCK_SKEW, Times, UnixSeconds};
use crate::denial::{Code, Denial};
use crate::entry::{Bounded, Details};
use crate::ids::{
    AgentId, BlueprintId, EnvironmentName, Jti, PersonId, Subject, TaskId, Uri, is_token,
};
use crate::json::Object;
use crate::keyring::{Algorithm, KeyId};
use crate::position::Position;
use crate::record::Bearer;

mod lists;
mod owned;

pub use lists::{Audiences, Scopes};
use owned::OwnedClaims;

/// The parts of a compact JWS of the right shape; the payload is not decoded before somebody is known to
/// have signed it.
#[derive(Debug)]
pub struct Token<'a> {
    signing_input: &'a [u8],
    header: Vec<u8>,
    payload: &'a [u8],
    signature: [u8; 64],
}

impl<'a> Token<'a> {
    /// Splits `<header>.<payload>.<signature>` and decodes the first and the last.
    ///
    /// # Errors
    /// `malformed`: over [`MAX_TOKEN_BYTES`], not exactly three parts, not canonical base64url, or
    /// a signature that is not 64 bytes.
    pub fn split(text: &'a [u8]) -> Result<Self, Denial> {
        let malformed = |detail: &str| Denial::new(Code::Malformed, detail);
        if text.len() > MAX_TOKEN_BYTES {
            return Err(malformed("the gatepass is over 8 KiB"));
        }
        let mut dots = memchr::memchr_iter(b'.', text);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(malformed("the gatepass does not have three parts"));
        };
        let part = |range: core::ops::Range<usize>| text.get(range).unwrap_or_default();
        let header = decoded(part(0..first))?;
        let payload = part(first.saturating_add(1)..second);
        let signature = decoded(part(second.saturating_add(1)..text.len()))?;
        let signature =
            signature.try_into().map_err(|_| malformed("the signature does not have 64 bytes"))?;
        let signing_input = text.get(..second).unwrap_or_default();
        Ok(Self { signing_input, header, payload, signature })
    }

    /// Whether the payload is of the right shape too.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        decoded(self.payload).is_ok()
    }

    /// Reads the header. The claims are read once the key that it names is known to be ours:
    /// whoever makes up a `kid` costs no more than looking for it.
    ///
    /// # Errors
    /// `malformed`.
    pub fn read(self) -> Result<Unverified<'a>, Denial> {
        let malformed = |what: &str, e: &serde_json::Error| {
            Denial::new(Code::Malformed, format!("{what}: {e}"))
        };
        let header: JoseHeader<'_> =
            crate::json::from_slice(&self.header).map_err(|e| malformed("header", &e))?;
        if header.typ != TOKEN_TYPE {
            return Err(Denial::new(Code::Malformed, "`typ` is not `at+jwt`"));
        }
        let head = Head { algorithm: Algorithm::parse(header.alg), key: KeyId::parse(header.kid) };
        let Self { signing_input, payload, signature, .. } = self;
        Ok(Unverified { signing_input, signature, head, payload })
    }
}

fn decoded(part: &[u8]) -> Result<Vec<u8>, Denial> {
    let malformed = |_| Denial::new(Code::Malformed, "a part is not canonical base64url");
    URL_SAFE_NO_PAD.decode(part).map_err(malformed)
}

/// A header that nobody has vouched for, and claims that nobody has read.
pub struct Unverified<'a> {
    signing_input: &'a [u8],
    signature: [u8; 64],
    head: Head,
    payload: &'a [u8],
}

/// What a gatepass says of its signature. `None`: nothing that a gatepass may say.
#[derive(Clone, Copy, Debug)]
struct Head {
    algorithm: Option<Algorithm>,
    key: Option<KeyId>,
}

/// Whoever says which keys speak for which issuer.
pub trait Speakers {
    /// The key in force of this id.
    fn find(&self, key: &KeyId) -> Option<Speaker<'_>>;
    /// Whether the key of this id made the signature.
    fn verifies(&self, key: &KeyId, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub struct Speaker<'k> {
    pub algorithm: Algorithm,
    /// Its id as revocations name it.
    pub name: Cow<'k, str>,
    pub issuer: &'k str,
    pub in_window: bool,
}

impl Unverified<'_> {
    /// Whether the claims can be read, whoever signed them: asked of what was signed here.
    ///
    /// # Errors
    /// `malformed`.
    pub fn check_claims(&self) -> Result<(), Denial> {
        Claims::parse(&decoded(self.payload)?).map(drop)
    }

    /// Checks algorithm and key, reads the claims and checks the signature, in the order of their
    /// cost.
    ///
    /// # Errors
    /// `unsupported_algorithm`, `unknown_key`, `revoked_key`, `malformed`, `bad_signature`.
    pub fn verify(
        self,
        speakers: &(impl Speakers + ?Sized),
        key_is_revoked: impl FnOnce(&str) -> bool,
    ) -> Result<Signed, Denial> {
        self.head.speaker(speakers, key_is_revoked)?;
        let claims = OwnedClaims::parse(decoded(self.payload)?)?;
        let key =
            self.head.key.filter(|key| speakers.verifies(key, self.signing_input, &self.signature));
        match key {
            Some(_) => Ok(Signed { head: self.head, claims }),
            None => Err(Denial::new(Code::BadSignature, "the signature does not verify")),
        }
    }
}

impl Head {
    /// The key, if it may speak now.
    fn speaker<'k>(
        &self,
        speakers: &'k (impl Speakers + ?Sized),
        key_is_revoked: impl FnOnce(&str) -> bool,
    ) -> Result<Speaker<'k>, Denial> {
        let Some(algorithm) = self.algorithm else {
            return Err(Denial::new(
                Code::UnsupportedAlgorithm,
                "`alg` is none that a gatepass may have",
            ));
        };
        let Some(key) = self.key.and_then(|key| speakers.find(&key)) else {
            return Err(Denial::new(Code::UnknownKey, "no issuer key in force has this `kid`"));
        };
        if key.algorithm != algorithm {
            return Err(Denial::new(
                Code::UnsupportedAlgorithm,
                "`alg` is not the one registered with the key",
            ));
        }
        if key_is_revoked(&key.name) {
            return Err(Denial::new(Code::RevokedKey, "a revocation matches the key's hash"));
        }
        if !key.in_window {
            return Err(Denial::new(Code::RevokedKey, "outside the key's window"));
        }
        Ok(key)
    }
}

/// Signed by the key that it names. Says nothing of what that key may do now.
pub struct Signed {
    head: Head,
    claims: OwnedClaims,
}

impl Signed {
    /// The claims, if the key may speak now.
    ///
    /// # Errors
    /// `unsupported_algorithm`, `unknown_key`, `revoked_key`.
    pub fn authentic(
        &self,
        speakers: &(impl Speakers + ?Sized),
        key_is_revoked: impl FnOnce(&str) -> bool,
    ) -> Result<Authentic<'_>, Denial> {
        let speaker = self.head.speaker(speakers, key_is_revoked)?;
        let claims = self.claims.get();
        // Of another issuer it is still authentic: whoever holds it must not pass it on. But never
        // usable.
        let issuer_matches = claims.iss.as_str() == speaker.issuer;
        Ok(Authentic { claims, issuer_matches })
    }

    /// The key that made the signature.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyId> {
        self.head.key.as_ref()
    }

    /// Who acts, as far as the claims say: for records alone.
    #[must_use]
    pub fn agent(&self) -> &str {
        self.claims.get().client_id.as_str()
    }

    /// The same for the record of a decision, with the chain.
    #[must_use]
    pub fn bearer(&self) -> Bearer<'_> {
        let claims = self.claims.get();
        let agent = claims.client_id.as_str();
        let subject = claims.sub.as_str();
        Bearer {
            agent,
            owner: claims.owner.as_str(),
            subject: (subject != agent).then_some(subject),
            through: claims.act.iter().skip(1).map(|actor| actor.sub.as_str()).collect(),
            task: claims.txn.as_str(),
            jti: claims.jti.as_str(),
        }
    }

    /// Bytes that keeping it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let claims = self.claims.get();
        size_of::<Claims<'_>>()
            .saturating_add(self.claims.payload_bytes())
            .saturating_add(claims.aud.0.capacity().saturating_mul(size_of::<Uri<'_>>()))
            .saturating_add(claims.act.capacity().saturating_mul(size_of::<Actor<'_>>()))
            .saturating_add(claims.anc.capacity().saturating_mul(size_of::<Jti<'_>>()))
            .saturating_add(claims.authorization_details.weight())
            .saturating_add(claims.budget.weight())
    }
}

/// Signed by an issuer key in force; not yet known to be for this gate.
#[derive(Clone, Copy, Debug)]
pub struct Authentic<'t> {
    claims: &'t Claims<'t>,
    issuer_matches: bool,
}

impl<'t> Authentic<'t> {
    /// Checks issuer, environment, audience (where a host matched) and time.
    ///
    /// # Errors
    /// `wrong_issuer`, `wrong_environment`, `wrong_audience`, `expired`, `not_yet_valid`.
    pub fn check(
        self,
        environment: &str,
        audience: Option<&str>,
        now: impl Into<Times>,
    ) -> Result<Verified<'t>, Denial> {
        let now = now.into();
        let deny = |code: Code, detail: &str| Err(Denial::new(code, detail));
        let claims = self.claims;
        if !self.issuer_matches {
            return deny(
                Code::WrongIssuer,
                "`iss` is not the issuer that the key is registered for",
            );
        }
        if claims.env.as_str() != environment {
            return deny(Code::WrongEnvironment, "`env` is another environment");
        }
        if audience.is_some_and(|wanted| !claims.aud.0.iter().any(|aud| aud.as_str() == wanted)) {
            return deny(Code::WrongAudience, "`aud` does not contain this host's audience");
        }
        if claims.exp <= now.ends {
            return deny(Code::Expired, "`exp` is past");
        }
        let latest = now.begins.plus(MAX_CLOCK_SKEW);
        if claims.iat > latest || claims.nbf.is_some_and(|nbf| nbf > latest) {
            return deny(Code::NotYetValid, "`iat` or `nbf` is in the future");
        }
        Ok(Verified { claims: self.claims })
    }
}

/// A gatepass of this environment, for this audience, in its time.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'t> {
    claims: &'t Claims<'t>,
}

impl<'t> Verified<'t> {
    #[must_use]
    pub const fn claims(&self) -> &'t Claims<'t> {
        self.claims
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoseHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// The claims (02-wire-formats, "The gatepass"). Other top-level claims are ignored.
#[derive(Debug, Deserialize)]
pub struct Claims<'a> {
    #[serde(borrow)]
    pub iss: Uri<'a>,
    #[serde(borrow)]
    pub aud: Audiences<'a>,
    pub exp: UnixSeconds,
    pub iat: UnixSeconds,
    #[serde(default)]
    pub nbf: Option<UnixSeconds>,
    #[serde(borrow)]
    pub jti: Jti<'a>,
    #[serde(deserialize_with = "position")]
    pub seq: Position,
    #[serde(borrow)]
    pub sub: Subject<'a>,
    #[serde(borrow, default, deserialize_with = "actors")]
    pub act: Vec<Actor<'a>>,
    #[serde(borrow)]
    pub client_id: AgentId<'a>,
    #[serde(borrow, default, deserialize_with = "ancestors")]
    pub anc: Vec<Jti<'a>>,
    #[serde(borrow)]
    pub owner: PersonId<'a>,
    #[serde(borrow)]
    pub blueprint: BlueprintId<'a>,
    #[serde(borrow, default)]
    pub scope: Scopes<'a>,
    #[serde(borrow, default)]
    pub authorization_details: Details<'a>,
    #[serde(borrow)]
    pub txn: TaskId<'a>,
    #[serde(borrow)]
    pub env: EnvironmentName<'a>,
    #[serde(deserialize_with = "assurance")]
    pub assurance: Assurance,
    #[serde(default)]
    pub req_wl: Present,
    #[serde(default)]
    pub cnf: Present,
    #[serde(borrow, default)]
    pub approval: Option<Approval<'a>>,
    #[serde(borrow, default)]
    pub budget: Taken<'a>,
    /// `uses` stands in an entry; at the top level it would be a restriction in the wrong place,
    /// and is denied rather than ignored.
    #[serde(default)]
    pub uses: Present,
}

impl<'a> Claims<'a> {
    /// Reads a payload that nobody has vouched for, or that is about to be signed.
    ///
    /// # Errors
    /// `malformed`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Denial> {
        let claims: Self = crate::json::from_slice(payload)
            .map_err(|e| Denial::new(Code::Malformed, format!("claims: {e}")))?;
        claims.check().map_err(|what| Denial::new(Code::Malformed, what))?;
        Ok(claims)
    }

    fn check(&self) -> Result<(), &'static str> {
        let life = self.exp.since(self.iat);
        if life == 0 || life > MAX_LIFETIME {
            return Err("the lifetime is not 1 s to 1 h");
        }
        let Some(acting) = self.acting() else {
            return Err("the acting party is not an agent");
        };
        if acting != self.client_id {
            return Err("`client_id` is not the acting agent");
        }
        if let Subject::Agent(agent) = self.sub
            && agent != self.client_id
            && !self.act.iter().any(|actor| actor.sub == agent)
        {
            // Its owner and blueprint could not be held against the revocations.
            return Err("the agent it is for is not in the `act` chain");
        }
        if let Some(actor) = self.act.first()
            && (actor.owner != self.owner || actor.blueprint != self.blueprint)
        {
            return Err("`owner` or `blueprint` is not the acting agent's");
        }
        Ok(())
    }

    /// The outermost `act`, else `sub`; `None` when that is a person.
    #[must_use]
    pub fn acting(&self) -> Option<AgentId<'a>> {
        match (self.act.first(), self.sub) {
            (Some(actor), _) => Some(actor.sub),
            (None, Subject::Agent(agent)) => Some(agent),
            (None, Subject::Person(_)) => None,
        }
    }
}

/// One member of the `act` chain, outermost first.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    pub sub: AgentId<'a>,
    pub owner: PersonId<'a>,
    pub blueprint: BlueprintId<'a>,
}

/// `{id, by, at, amr, digest}`: a human approved the action with this digest.
#[derive(Debug)]
pub struct Approval<'a> {
    pub id: &'a str,
    pub by: PersonId<'a>,
    pub digest: [u8; 32],
    /// It carries a member that this engine does not know.
    pub unsupported: bool,
}

/// Whether a claim is there at all; its content cannot be checked yet. JSON `null` counts as
/// present: a restriction that is spelled oddly is still one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Present {
    #[default]
    No,
    Yes,
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self::Yes)
    }
}

fn position<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
    let (epoch, sequence) = <(u64, u64)>::deserialize(deserializer)?;
    Ok(Position { epoch, sequence })
}

/// As text only: serde's derive would also take `{"attested":null}`.
fn assurance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Assurance, D::Error> {
    match <&str>::deserialize(deserializer)? {
        "static" => Ok(Assurance::Static),
        "federated" => Ok(Assurance::Federated),
        "attested" => Ok(Assurance::Attested),
        _ => Err(D::Error::custom("expected an assurance")),
    }
}

fn ancestors<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Jti<'a>>, D::Error> {
    Bounded::<Jti<'a>, MAX_ANCESTORS>::deserialize(deserializer).map(|list| list.0)
}

fn actors<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Actor<'a>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested<'a> {
        #[serde(borrow)]
        sub: AgentId<'a>,
        #[serde(borrow)]
        owner: PersonId<'a>,
        #[serde(borrow)]
        blueprint: BlueprintId<'a>,
        #[serde(borrow, default)]
        act: Option<Box<Object<Nested<'a>>>>,
    }
    let mut chain = Vec::new();
    let mut next = Some(Box::new(Object::<Nested<'_>>::deserialize(deserializer)?));
    while let Some(boxed) = next {
        let Object(nested) = *boxed;
        if chain.len() >= MAX_ACTORS {
            return Err(D::Error::custom("more than 8 actors"));
        }
        chain.push(Actor { sub: nested.sub, owner: nested.owner, blueprint: nested.blueprint });
        next = nested.act;
    }
    Ok(chain)
}

impl<'de: 'a, 'a> Deserialize<'de> for Approval<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use std::collections::BTreeMap;
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            id: &'a str,
            #[serde(borrow)]
            by: PersonId<'a>,
            /// When, in seconds. Named for its kind: its own bound is the gatepass's lifetime.
            at: UnixSeconds,
            #[serde(borrow)]
            amr: Vec<&'a str>,
            #[serde(borrow)]
            digest: &'a str,
            #[serde(flatten, borrow)]
            unknown: BTreeMap<&'a str, IgnoredAny>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let digest =
            URL_SAFE_NO_PAD.decode(wire.digest).ok().and_then(|d| <[u8; 32]>::try_from(d).ok());
        let digest =
            digest.ok_or_else(|| D::Error::custom("`digest` is not a SHA-256 in base64url"))?;
        if !is_token(wire.id) || wire.amr.is_empty() || wire.at.0 == 0 {
            return Err(D::Error::custom("expected an approval's id, time and methods"));
        }
        Ok(Self { id: wire.id, by: wire.by, digest, unsupported: !wire.unknown.is_empty() })
    }
}

/// Exactly this `typ` (RFC 9068 section 2.1; stricter: one spelling).
const TOKEN_TYPE: &str = "at+jwt";
/// Bytes of a compact gatepass.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Seconds from `iat` to `exp`, for any action.
pub const MAX_LIFETIME: u64 = 3600;
const MAX_ANCESTORS: usize = 8;
const MAX_ACTORS: usize = 8;

#[cfg(test)]
mod tests;
