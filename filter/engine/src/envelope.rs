//! The signed envelope: DSSE v1 (`PAE` of payload type and payload), Ed25519 only.
//!
//! Two encodings of the same envelope: JSON as the DSSE specification has it for documents that
//! people and other tools read (`+json` payloads), and postcard for batches, where base64 would
//! add a third to what every Envoy fetches. The signature is over the PAE, so the encoding of the
//! envelope is not part of what is believed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::ed25519::PublicKey;
use crate::refusal::{Refusal, RefusalCode};

/// What an envelope may hold. The type on the wire must be exactly this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadType {
    Batch,
    Root,
    /// The newest record of an audit log; no gate reads it.
    AuditHead,
    Grace,
    /// What the control plane says of a use or of a record: [`crate::redeem`].
    Verdict,
}

impl PayloadType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "application/vnd.gatepass.batch.v1+postcard",
            Self::Root => "application/vnd.gatepass.root.v1+json",
            Self::AuditHead => "application/vnd.gatepass.audit-head.v1+json",
            Self::Grace => "application/vnd.gatepass.grace.v1+json",
            Self::Verdict => "application/vnd.gatepass.verdict.v1+json",
        }
    }
}

/// An envelope whose signatures nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<[u8; 64]>,
}

/// A payload signed by as many distinct keys as were asked for. Only [`Unverified::verify`] and
/// what is built on it makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    payload: Vec<u8>,
}

impl Verified {
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }
}

impl Unverified {
    /// Wraps a payload for signing; [`Unverified::sign_with`] adds the signatures.
    #[must_use]
    pub fn new(payload_type: PayloadType, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.as_str().to_owned(), payload, signatures: Vec::new() }
    }

    /// Adds the signature that `sign` makes over the PAE.
    #[must_use]
    pub fn sign_with(mut self, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let signature = sign(&pre_authentication_encoding(&self.payload_type, &self.payload));
        self.signatures.push(signature);
        self
    }

    /// Reads the postcard form; `bytes` must be used up.
    ///
    /// # Errors
    /// `poison` when it does not decode or has more than [`MAX_SIGNATURES`] signatures.
    pub fn from_postcard(bytes: &[u8]) -> Result<Self, Refusal> {
        let (wire, rest) = postcard::take_from_bytes::<Binary>(bytes)
            .map_err(|_| poison("the envelope does not decode"))?;
        if !rest.is_empty() {
            return Err(poison("bytes follow the envelope"));
        }
        let signatures = wire.signatures.iter().map(|s| signature(s)).collect::<Result<_, _>>()?;
        Self {
            payload_type: wire.payload_type.to_owned(),
            payload: wire.payload.to_vec(),
            signatures,
        }
        .bounded()
    }

    /// Reads the JSON form of the DSSE specification. Key ids are not looked at: who signed is
    /// found by trying the keys that are believed.
    ///
    /// # Errors
    /// As [`Unverified::from_postcard`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        let wire: Json = crate::json::from_slice(bytes)
            .map_err(|error| poison(&format!("the envelope does not parse: {error}")))?;
        let decode = |text: &str| {
            STANDARD.decode(text).map_err(|_| poison("the envelope holds invalid base64"))
        };
        let signatures = wire
            .signatures
            .iter()
            .map(|s| decode(&s.sig).and_then(|bytes| signature(&bytes)))
            .collect::<Result<_, _>>()?;
        Self { payload_type: wire.payload_type, payload: decode(&wire.payload)?, signatures }
            .bounded()
    }

    fn bounded(self) -> Result<Self, Refusal> {
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(poison("the envelope has too many signatures"));
        }
        Ok(self)
    }

    /// # Errors
    /// None in practice: writing to memory. The type is postcard's.
    pub fn to_postcard(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(&Binary {
            payload_type: &self.payload_type,
            payload: &self.payload,
            signatures: self.signatures.iter().map(|s| s.as_slice()).collect(),
        })
    }

    #[must_use]
    pub fn to_json(&self) -> String {
        let wire = Json {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
            signatures: self
                .signatures
                .iter()
                .map(|s| JsonSignature { keyid: String::new(), sig: STANDARD.encode(s) })
                .collect(),
        };
        // INVARIANT: strings and vectors of strings always serialise.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// The payload before any signature was checked: for `inspect` and for finding the keys that
    /// would have to verify it. Never for a decision.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Believes the payload when at least one of `keys` signed it.
    ///
    /// # Errors
    /// `bad_payload_type`, `bad_signature`.
    pub fn verify(self, expected: PayloadType, keys: &[PublicKey]) -> Result<Verified, Refusal> {
        self.require(expected, keys, 1)?;
        Ok(Verified { payload: self.payload })
    }

    /// Checks that at least `threshold` distinct public keys of `keys` signed.
    pub(crate) fn require(
        &self,
        expected: PayloadType,
        keys: &[PublicKey],
        threshold: usize,
    ) -> Result<(), Refusal> {
        if self.payload_type != expected.as_str() {
            return Err(Refusal::new(
                RefusalCode::BadPayloadType,
                format!("expected `{}`", expected.as_str()),
            ));
        }
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        let mut signers: Vec<&[u8; 32]> = Vec::new();
        for key in keys {
            if !signers.contains(&key.as_bytes())
                && self.signatures.iter().any(|signature| key.verifies(&message, signature))
            {
                signers.push(key.as_bytes());
            }
        }
        if threshold == 0 || signers.len() < threshold {
            return Err(Refusal::new(
                RefusalCode::BadSignature,
                format!("{} of {threshold} needed signatures verify", signers.len()),
            ));
        }
        Ok(())
    }
}

/// DSSE v1 `PAE(type, body)` = `DSSEv1 <len type> <type> <len body> <body>`.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

fn signature(bytes: &[u8]) -> Result<[u8; 64], Refusal> {
    bytes.try_into().map_err(|_| poison("a signature does not have 64 bytes"))
}

fn poison(detail: &str) -> Refusal {
    Refusal::new(RefusalCode::Poison, detail)
}

#[derive(Serialize, Deserialize)]
struct Binary<'a> {
    payload_type: &'a str,
    payload: &'a [u8],
    #[serde(borrow)]
    signatures: Vec<&'a [u8]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Signatures of one envelope; each costs a verification per believed key.
pub const MAX_SIGNATURES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> (ed25519_compact::KeyPair, PublicKey) {
        let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([seed; 32]));
        let public = PublicKey::from_bytes(&*pair.pk).unwrap();
        (pair, public)
    }

    fn signed(pair: &ed25519_compact::KeyPair) -> Unverified {
        Unverified::new(PayloadType::Batch, b"hello".to_vec()).sign_with(|m| *pair.sk.sign(m, None))
    }

    #[test]
    fn pae_is_that_of_the_specification() {
        let pae = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn both_encodings_carry_the_same_envelope() {
        let envelope = signed(&key(1).0);
        assert_eq!(Unverified::from_postcard(&envelope.to_postcard().unwrap()).unwrap(), envelope);
        assert_eq!(Unverified::from_json(envelope.to_json().as_bytes()).unwrap(), envelope);
        let mut long = envelope.to_postcard().unwrap();
        long.push(0);
        assert_eq!(Unverified::from_postcard(&long).unwrap_err().code, RefusalCode::Poison);
    }

    #[test]
    fn a_signature_of_a_believed_key_is_needed() {
        let (pair, public) = key(1);
        assert!(signed(&pair).verify(PayloadType::Batch, std::slice::from_ref(&public)).is_ok());
        let code = |e: Result<Verified, Refusal>| e.unwrap_err().code;
        let other = [key(2).1];
        assert_eq!(
            code(signed(&pair).verify(PayloadType::Batch, &other)),
            RefusalCode::BadSignature
        );
        assert_eq!(code(signed(&pair).verify(PayloadType::Batch, &[])), RefusalCode::BadSignature);
        let own = [public];
        assert_eq!(
            code(signed(&pair).verify(PayloadType::Root, &own)),
            RefusalCode::BadPayloadType
        );
        let stripped = Unverified::new(PayloadType::Batch, b"hello".to_vec());
        assert_eq!(code(stripped.verify(PayloadType::Batch, &own)), RefusalCode::BadSignature);
    }

    #[test]
    fn a_threshold_counts_keys_and_not_signatures() {
        let (pair, public) = key(1);
        let twice = signed(&pair).sign_with(|m| *pair.sk.sign(m, None));
        let keys = [public.clone(), public];
        let refused = twice.require(PayloadType::Batch, &keys, 2).unwrap_err();
        assert_eq!(refused.code, RefusalCode::BadSignature);
        let (second, other) = key(2);
        let both = signed(&pair).sign_with(|m| *second.sk.sign(m, None));
        assert!(both.require(PayloadType::Batch, &[keys[0].clone(), other], 2).is_ok());
        assert!(both.require(PayloadType::Batch, &keys, 0).is_err());
    }
}
