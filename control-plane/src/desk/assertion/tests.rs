use super::*;
use crate::keys::{SecretKey, public_text};
const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const AGENT: &str = "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f";
const ISSUER: &str = "https://gatepass.example/prod";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn jwk(seed: u8) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": public_text(&secret(seed).public())})
}

fn key(seed: u8) -> AgentKey {
    let read = PublicJwk::read(&jwk(seed)).unwrap();
    AgentKey {
        thumbprint: read.thumbprint,
        agent: AGENT.into(),
        jwk: read.text,
        algorithm: read.algorithm.into(),
        created_at: 0,
        removed_at: None,
    }
}

fn by(keys: &[AgentKey], assertion: &str, issuer: &str) -> Result<Assertion, String> {
    AgentKeys::read(AGENT, keys)?.verify(assertion, issuer, NOW)
}

fn signed(header: Value, claims: Value, seed: u8) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(secret(seed).sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn claims() -> Value {
    json!({"iss": AGENT, "sub": AGENT, "aud": ISSUER, "exp": NOW.0 + 60, "iat": NOW.0, "jti": "a1"})
}

fn asked(header: Value, claims: Value, seed: u8) -> Result<Assertion, String> {
    by(&[key(1), key(2)], &signed(header, claims, seed), ISSUER)
}

#[test]
fn an_assertion_by_a_registered_key_is_taken_and_each_change_of_it_refused() {
    let header = json!({"alg": "EdDSA"});
    let good = asked(header.clone(), claims(), 1).unwrap();
    assert_eq!((good.agent.as_str(), good.jti.as_str()), (AGENT, "a1"));
    assert_eq!(good.thumbprint, key(1).thumbprint);
    assert!(asked(header.clone(), claims(), 2).is_ok(), "during a rotation both keys speak");
    assert!(asked(header.clone(), claims(), 3).is_err(), "a key of nobody");
    let longest = NOW.0 + MAX_ASSERTION_LIFE + MAX_CLOCK_SKEW;
    for (member, value, taken) in [
        ("iss", json!("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e50"), false),
        ("sub", json!("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e50"), false),
        ("aud", json!([ISSUER]), true),
        ("aud", json!([ISSUER, "https://other.example"]), false),
        ("aud", json!("https://gatepass.example/prod/oauth2/token"), false),
        ("aud", json!([]), false),
        ("exp", json!(NOW.0), false),
        ("exp", json!(NOW.0 + 1), true),
        ("exp", json!(longest), true),
        ("exp", json!(longest + 1), false),
        ("exp", json!(-1), false),
        ("exp", json!("soon"), false),
        ("iat", json!(NOW.0 + MAX_CLOCK_SKEW), true),
        ("iat", json!(NOW.0 + MAX_CLOCK_SKEW + 1), false),
        ("nbf", json!(NOW.0 + MAX_CLOCK_SKEW + 1), false),
        ("jti", json!(""), false),
        ("jti", json!("a b"), false),
        ("jti", json!(7), false),
    ] {
        let mut changed = claims();
        changed[member] = value.clone();
        assert_eq!(asked(header.clone(), changed, 1).is_ok(), taken, "{member}: {value}");
    }
    for member in ["iss", "sub", "aud", "exp", "jti"] {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(member);
        assert!(asked(header.clone(), without, 1).is_err(), "without {member}");
    }
}

#[test]
fn what_is_made_here_is_taken_here() {
    let made = make(AGENT, &secret(1), ISSUER, NOW).unwrap();
    assert!(by(&[key(1)], &made, ISSUER).is_ok());
    assert!(by(&[key(2)], &made, ISSUER).is_err());
    assert!(by(&[key(1)], &made, "https://other.example").is_err());
    assert_ne!(made, make(AGENT, &secret(1), ISSUER, NOW).unwrap());
}

#[test]
fn no_algorithm_but_the_keys_own_is_taken() {
    for alg in ["none", "HS256", "ES256", "RS256", "eddsa"] {
        assert!(asked(json!({"alg": alg}), claims(), 1).is_err(), "{alg}");
    }
    // The public key as an HMAC secret, the classic confusion.
    let input = signed(json!({"alg": "HS256"}), claims(), 1);
    assert!(by(&[key(1)], &input, ISSUER).is_err());
}

#[test]
fn a_kid_that_names_another_key_of_the_agent_is_held_to() {
    let header = json!({"alg": "EdDSA", "kid": key(2).thumbprint});
    assert!(asked(header.clone(), claims(), 2).is_ok());
    assert!(asked(header, claims(), 1).is_err());
}

#[test]
fn keys_are_public_and_of_a_kind_that_is_taken() {
    assert_eq!(PublicJwk::read(&jwk(1)).unwrap().algorithm, "EdDSA");
    for (bad, why) in [
        (json!("x"), "expected a JWK"),
        (json!({}), "expected Ed25519"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"}), "private"),
        (json!({"kty": "oct", "k": "AAAA"}), "private"),
        (json!({"kty": "OKP", "crv": "X25519", "x": public_text(&[9; 32])}), "expected Ed25519"),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "2048"),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": public_text(&[9; 32]), "alg": "ES256"}),
            "alg",
        ),
    ] {
        let refused = PublicJwk::read(&bad).unwrap_err().to_string();
        assert!(refused.contains(why), "{bad}: {refused}");
    }
}

#[test]
fn whoever_it_claims_to_be_of_must_be_an_agent() {
    let good = signed(json!({"alg": "EdDSA"}), claims(), 1);
    assert_eq!(claimed_agent(&good).unwrap(), AGENT);
    let person = signed(json!({"alg": "EdDSA"}), json!({"sub": "user:corp/alice"}), 1);
    for bad in ["", "a.b.c", &person, &"x".repeat(5000)] {
        assert!(claimed_agent(bad).is_err(), "{bad}");
    }
}
