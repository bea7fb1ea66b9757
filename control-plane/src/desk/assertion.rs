//! How an agent proves itself to the token endpoint: `private_key_jwt` (RFC 7523 section 2.2) by a
//! key registered for it.
//!
//! Stricter than the RFC: the audience is exactly the issuer, so that an assertion made for another
//! server is never of use here; it lives five minutes at most; its `jti` is spent once. Keys that
//! say their private part are refused, so that nobody sends one by mistake and never hears of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use gatepass_engine::ids::{AgentId, is_token};
use gatepass_engine::keyring::KeyId;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Refused;
use super::agents::AgentKey;
use crate::keys::{KeyError, Signer};

/// A public key of a kind that agents may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwk {
    pub thumbprint: String,
    /// The JOSE name that its assertions carry.
    pub algorithm: &'static str,
    /// The key as it is stored.
    pub text: String,
}

impl PublicJwk {
    /// # Errors
    /// [`Refused::Invalid`] says what is taken.
    pub fn read(value: &Value) -> Result<Self, Refused> {
        let invalid = |why: &str| Refused::invalid("key", why);
        let members = value.as_object().ok_or_else(|| invalid("expected a JWK (RFC 7517)"))?;
        if let Some(secret) = SECRET_MEMBERS.iter().find(|name| members.contains_key(**name)) {
            return Err(invalid(&format!(
                "it holds the private member `{secret}`: send the public key alone, and make a new key, this one is known to others now"
            )));
        }
        let kept = members.iter().filter(|(name, _)| PUBLIC_MEMBERS.contains(&name.as_str()));
        let kept: serde_json::Map<String, Value> =
            kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let stated = members.get("alg").and_then(Value::as_str);
        let jwk: Jwk = serde_json::from_value(Value::Object(kept.clone()))
            .map_err(|error| invalid(&format!("not a public JWK: {error}")))?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                "EdDSA"
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => "ES256",
            AlgorithmParameters::RSA(key) if !RSA_BITS.contains(&bits(&key.n)) => {
                return Err(invalid("an RSA key has 2048 to 8192 bits"));
            }
            AlgorithmParameters::RSA(_) if stated == Some("PS256") => "PS256",
            AlgorithmParameters::RSA(_) => "RS256",
            // The library may learn of more kinds; none of them is taken before we say so.
            _ => {
                return Err(invalid("expected Ed25519, P-256 or RSA (2048 bits or more)"));
            }
        };
        if stated.is_some_and(|stated| stated != algorithm && stated != "Ed25519") {
            return Err(invalid(&format!("its `alg` is not `{algorithm}`")));
        }
        DecodingKey::from_jwk(&jwk).map_err(|_| invalid("not a key of its kind"))?;
        let thumbprint = jwk
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| invalid("it has no thumbprint (RFC 7638)"))?;
        Ok(Self { thumbprint, algorithm, text: Value::Object(kept).to_string() })
    }
}

/// Of a modulus in base64url, zeros before it not counted; 0 for what is none.
fn bits(modulus: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).unwrap_or_default();
    let mut significant = bytes.iter().skip_while(|byte| **byte == 0);
    let Some(first) = significant.next() else {
        return 0;
    };
    significant.count() * 8 + (8 - first.leading_zeros() as usize)
}

/// An assertion whose signature and claims are right. Its `jti` is not spent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    pub agent: String,
    /// The key that made it.
    pub thumbprint: String,
    pub jti: String,
    /// Until then its `jti` must be remembered.
    pub until: UnixSeconds,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Who an assertion says it is of, to find the keys that it may be signed with. Nobody has vouched
/// for it.
///
/// # Errors
/// It does not say.
pub fn claimed_agent(assertion: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Named {
        sub: String,
    }
    if assertion.len() > MAX_ASSERTION_BYTES {
        return Err(format!("the assertion is over {MAX_ASSERTION_BYTES} bytes"));
    }
    let named: Named = jsonwebtoken::dangerous::insecure_decode_claims(assertion)
        .map_err(|error| format!("the assertion is not a JWT: {error}"))?;
    AgentId::parse(&named.sub)
        .map(|agent| agent.as_str().to_owned())
        .ok_or_else(|| "`sub` is not `agent:<uuid>`".to_owned())
}

/// The keys that one agent may prove itself with, ready to verify with.
pub struct AgentKeys {
    agent: String,
    keys: Vec<ReadKey>,
}

struct ReadKey {
    thumbprint: String,
    /// One algorithm: what an assertion states must be the key's own.
    validation: Validation,
    algorithm: Algorithm,
    public: DecodingKey,
}

impl AgentKeys {
    /// # Errors
    /// A stored key is not what was registered, or another agent's.
    pub fn read(agent: &str, stored: &[AgentKey]) -> Result<Self, String> {
        if let Some(foreign) = stored.iter().find(|key| key.agent != agent) {
            return Err(format!("`{}` is a key of another agent", foreign.thumbprint));
        }
        let keys = stored.iter().map(ReadKey::read).collect::<Result<_, _>>()?;
        Ok(Self { agent: agent.to_owned(), keys })
    }

    /// Verifies an assertion of the agent.
    ///
    /// # Errors
    /// Says what is wrong; for the log and for the agent's developer, who has the assertion.
    pub fn verify(
        &self,
        assertion: &str,
        issuer: &str,
        now: UnixSeconds,
    ) -> Result<Assertion, String> {
        let header = decode_header(assertion).map_err(|error| format!("the header: {error}"))?;
        // A `kid` that names one of the agent's keys by thumbprint is taken at its word.
        let named = header.kid.filter(|kid| self.keys.iter().any(|key| key.thumbprint == *kid));
        let mut why = "no key registered for the agent made it".to_owned();
        for key in &self.keys {
            if named.as_ref().is_some_and(|named| *named != key.thumbprint) {
                continue;
            }
            match key.verify(assertion, header.alg) {
                Ok(claims) => return check(claims, &self.agent, key, issuer, now),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

impl ReadKey {
    fn read(stored: &AgentKey) -> Result<Self, String> {
        let algorithm = match stored.algorithm.as_str() {
            "EdDSA" => Algorithm::EdDSA,
            "ES256" => Algorithm::ES256,
            "RS256" => Algorithm::RS256,
            "PS256" => Algorithm::PS256,
            other => return Err(format!("the key's algorithm `{other}` is not taken")),
        };
        let jwk: Jwk = serde_json::from_str(&stored.jwk).map_err(|error| error.to_string())?;
        let public = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(algorithm);
        // Checked below, against the time that we are given.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self { thumbprint: stored.thumbprint.clone(), validation, algorithm, public })
    }

    fn verify(&self, assertion: &str, stated: Algorithm) -> Result<Claims, String> {
        if stated != self.algorithm {
            return Err(format!("`alg` is not `{:?}`, the one of the key", self.algorithm));
        }
        let data = decode::<Claims>(assertion, &self.public, &self.validation);
        data.map(|data| data.claims).map_err(|error| format!("the assertion: {error}"))
    }
}

fn check(
    claims: Claims,
    agent: &str,
    key: &ReadKey,
    issuer: &str,
    now: UnixSeconds,
) -> Result<Assertion, String> {
    let refuse = |why: &str| Err(why.to_owned());
    if claims.sub != agent || claims.iss != agent {
        return refuse("`iss` and `sub` must both be the agent");
    }
    let ours = match &claims.aud {
        Audience::One(audience) => audience == issuer,
        Audience::Many(all) => matches!(all.as_slice(), [only] if only == issuer),
    };
    if !ours {
        return Err(format!("`aud` must be exactly the issuer, `{issuer}`"));
    }
    let seconds = |value: f64| (value.is_finite() && value >= 0.0).then_some(value as u64);
    let Some(exp) = seconds(claims.exp) else {
        return refuse("`exp` is not a time");
    };
    if exp <= now.0 {
        return refuse("it has expired");
    }
    if exp > now.0.saturating_add(MAX_ASSERTION_LIFE).saturating_add(MAX_CLOCK_SKEW) {
        return refuse("`exp` is more than five minutes away");
    }
    for (name, value) in [("iat", claims.iat), ("nbf", claims.nbf)] {
        let early = |value: f64| seconds(value).is_none_or(|at| at > now.0 + MAX_CLOCK_SKEW);
        if value.is_some_and(early) {
            return Err(format!("`{name}` is in the future"));
        }
    }
    if !is_token(&claims.jti) {
        return refuse("`jti` must be 1 to 128 visible ASCII characters");
    }
    Ok(Assertion {
        agent: agent.to_owned(),
        thumbprint: key.thumbprint.clone(),
        jti: claims.jti,
        until: UnixSeconds(exp),
    })
}

/// Makes an assertion, for agents that are written with this library and for the command line.
///
/// # Errors
/// No randomness.
pub fn make(
    agent: &str,
    key: &dyn Signer,
    issuer: &str,
    now: UnixSeconds,
) -> Result<String, KeyError> {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "EdDSA", "kid": KeyId::of(&key.public()).to_string() });
    let claims = json!({
        "iss": agent, "sub": agent, "aud": issuer, "jti": crate::issue::new_id()?,
        "iat": now, "exp": now.plus(MADE_LIFE),
    });
    let input = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()));
    Ok(format!("{input}.{signature}"))
}

/// `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds that an assertion may still live.
pub const MAX_ASSERTION_LIFE: u64 = 300;
/// Seconds that one made here lives.
const MADE_LIFE: u64 = 60;
const MAX_ASSERTION_BYTES: usize = 4096;
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
const PUBLIC_MEMBERS: [&str; 6] = ["kty", "crv", "x", "y", "n", "e"];
/// What the library verifies with; more would be work for whoever asks.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2048..=8192;

#[cfg(test)]
mod tests;
