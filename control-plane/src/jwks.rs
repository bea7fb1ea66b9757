//! The issuer keys as a JWK Set (RFC 7517 section 5, RFC 8037): what others verify gatepasses with.
//!
//! It states keys, not their windows: a gate takes those from the feed, and so must whoever decides.

use gatepass_engine::keyring::{IssuerKey, KeyId};
use serde_json::{Value, json};

use crate::issue::algorithm_name;
use crate::keys::public_text;

/// Public members only; `kid` is the RFC 7638 thumbprint, as in a gatepass's header.
#[must_use]
pub fn jwks(keys: &[IssuerKey]) -> Value {
    let keys = keys.iter().map(|key| {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": algorithm_name(key.algorithm),
            "kid": KeyId::of(&key.public).to_string(),
            "x": public_text(&key.public),
        })
    });
    json!({ "keys": keys.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepass_engine::clock::UnixSeconds;
    use gatepass_engine::keyring::Algorithm;

    fn key(algorithm: Algorithm) -> IssuerKey {
        IssuerKey {
            public: [7; 32],
            issuer: "https://issuer.example".into(),
            algorithm,
            not_before: UnixSeconds(0),
            not_after: UnixSeconds(1),
        }
    }

    #[test]
    fn each_key_says_its_algorithm_and_nothing_secret() {
        let set = jwks(&[key(Algorithm::EdDsa), key(Algorithm::Ed25519)]);
        for (at, alg) in ["EdDSA", "Ed25519"].into_iter().enumerate() {
            let mut members: Vec<&String> = set["keys"][at].as_object().unwrap().keys().collect();
            members.sort();
            assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
            assert_eq!(set["keys"][at]["alg"], alg);
        }
        assert_eq!(jwks(&[]), json!({"keys": []}));
    }
}
