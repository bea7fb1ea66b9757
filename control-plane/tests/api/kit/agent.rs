//! An agent as it speaks to the token endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::keys::{SecretKey, Signer as _, public_text};
use serde_json::{Value, json};

use super::{Answer, ORDERS, Plane, percent, send};

pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) seed: u8,
}

/// The public key of a seed, as a JWK.
pub(crate) fn key_of(seed: u8) -> Value {
    let key = SecretKey::from_seed(&[seed; 32]).unwrap();
    json!({ "kty": "OKP", "crv": "Ed25519", "x": public_text(&key.public()) })
}

/// What an agent asks the token endpoint for.
#[derive(Clone, Default)]
pub(crate) struct Ask(pub(crate) Vec<(String, String)>);

impl Ask {
    /// `client_credentials` for one entry.
    pub(crate) fn entry(entry: Value) -> Self {
        Self::default().with("grant_type", "client_credentials").entries(&[entry])
    }

    /// An entry of these actions at the orders' system.
    pub(crate) fn actions(actions: &[&str]) -> Self {
        Self::entry(json!({ "actions": actions })).with("resource", ORDERS)
    }

    pub(crate) fn read() -> Self {
        Self::actions(&["orders:read"])
    }

    /// Token exchange (RFC 8693).
    pub(crate) fn exchange(subject_token: &str, entry: Value) -> Self {
        Self::default()
            .with("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .with("subject_token", subject_token)
            .with("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
            .with("resource", ORDERS)
            .entries(&[entry])
    }

    pub(crate) fn entries(self, entries: &[Value]) -> Self {
        let typed: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let mut entry = entry.clone();
                entry["type"] = "agent_action".into();
                entry
            })
            .collect();
        self.with("authorization_details", &Value::from(typed).to_string())
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a parameter out, then puts another value in.
    pub(crate) fn but(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.with(name, value)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn form(&self) -> String {
        let pair =
            |(name, value): &(String, String)| format!("{}={}", percent(name), percent(value));
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

impl Agent {
    pub(crate) fn new(id: &str, seed: u8) -> Self {
        Self { id: id.to_owned(), seed }
    }

    /// The claims of a good assertion.
    pub(crate) fn claims(&self, plane: &Plane) -> Value {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let jti = format!("assertion-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        json!({
            "iss": self.id, "sub": self.id, "aud": plane.issuer, "jti": jti,
            "iat": plane.now(), "exp": plane.now() + 60,
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "EdDSA" }), claims)
    }

    pub(crate) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let key = SecretKey::from_seed(&[self.seed; 32]).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())))
    }

    /// Sends a form to an endpoint of the agents' listener with a new assertion.
    pub(crate) fn post(&self, plane: &Plane, path: &str, ask: &Ask) -> Answer {
        let assertion = self.sign(&self.claims(plane));
        self.post_with(plane, path, ask, &assertion)
    }

    pub(crate) fn post_with(
        &self,
        plane: &Plane,
        path: &str,
        ask: &Ask,
        assertion: &str,
    ) -> Answer {
        let ask = ask
            .clone()
            .with("client_assertion_type", gatepass::desk::assertion::ASSERTION_TYPE)
            .with("client_assertion", assertion);
        post(plane, path, &ask)
    }

    pub(crate) fn ask(&self, plane: &Plane, ask: &Ask) -> Answer {
        self.post(plane, "/oauth2/token", ask)
    }

    /// What is issued.
    pub(crate) fn issued(&self, plane: &Plane, ask: &Ask) -> Value {
        let answer = self.ask(plane, ask);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The gatepass that is issued.
    pub(crate) fn gatepass(&self, plane: &Plane, ask: &Ask) -> String {
        self.issued(plane, ask)["access_token"].as_str().unwrap().to_owned()
    }

    /// The OAuth error, and nothing is issued.
    pub(crate) fn refused(&self, plane: &Plane, ask: &Ask) -> String {
        let answer = self.ask(plane, ask);
        assert_ne!(answer.status, 200, "issued: {}", answer.text());
        answer.json()["error"].as_str().unwrap().to_owned()
    }

    /// A task of its own.
    pub(crate) fn task(&self, plane: &Plane) -> String {
        let answer = self.post(plane, "/v1/tasks", &Ask::default().with("purpose", "paper"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["task"].as_str().unwrap().to_owned()
    }
}

/// Sends a form without an assertion.
pub(crate) fn post(plane: &Plane, path: &str, ask: &Ask) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send(plane.addresses().agents, "POST", path, &headers, ask.form().as_bytes())
}

/// The claims of a gatepass.
pub(crate) fn claims(token: &str) -> Value {
    gatepass::issue::payload(token.split('.').nth(1).unwrap()).unwrap()
}
