//! A registered agent with its key: it makes client assertions (RFC 7523) and asks for gatepasses.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::keys::{SecretKey, Signer as _, public_text};
use serde_json::{Value, json};

use super::{AUDIENCE, Answer, ISSUER, Wire};

pub(crate) struct Agent {
    pub(crate) id: String,
    key: SecretKey,
    made: AtomicU64,
}

/// A gatepass that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) jti: String,
    pub(crate) task: String,
}

impl Issued {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.json());
        let body = answer.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let token = text(&body["access_token"]);
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        Self { jti: text(&claims["jti"]), task: text(&body["task"]), token }
    }
}

impl Agent {
    pub(super) fn new() -> Self {
        Self { id: String::new(), key: SecretKey::generate().unwrap(), made: AtomicU64::new(0) }
    }

    pub(super) fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": public_text(&self.key.public()) })
    }

    /// A new one each time: each is good once. `jti` counts on from the time, so that no two
    /// agents of one key in two runs make the same.
    pub(crate) fn assertion(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let claims = json!({
            "iss": self.id, "sub": self.id, "aud": ISSUER, "exp": now.as_secs() + 290,
            "jti": format!("{}-{number}", now.as_nanos()),
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
        let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes())))
    }

    /// The form that asks for `orders:read`, under a task of its own where none is named.
    pub(crate) fn form(&self, task: Option<&str>) -> String {
        let details = format!(
            r#"[{{"type":"agent_action","actions":["orders:read"],"locations":["{AUDIENCE}"]}}]"#
        );
        let mut form = format!(
            "grant_type=client_credentials&{}&authorization_details={}",
            self.proof(),
            escaped(&details)
        );
        if let Some(task) = task {
            form.push_str("&task=");
            form.push_str(task);
        }
        form
    }

    /// The parameters with which it proves itself.
    pub(crate) fn proof(&self) -> String {
        format!(
            "client_assertion_type={}&client_assertion={}",
            escaped(gatepass::desk::assertion::ASSERTION_TYPE),
            self.assertion()
        )
    }

    pub(crate) fn ask(&self, wire: &mut Wire, task: Option<&str>) -> io::Result<Answer> {
        wire.form("/oauth2/token", &self.form(task))
    }

    pub(crate) fn open_task(&self, wire: &mut Wire) -> io::Result<Answer> {
        wire.form("/v1/tasks", &self.proof())
    }

    pub(crate) fn complete_task(&self, wire: &mut Wire, task: &str) -> io::Result<Answer> {
        wire.form("/v1/tasks/complete", &format!("{}&task={task}", self.proof()))
    }
}

impl Wire {
    pub(crate) fn form(&mut self, target: &str, form: &str) -> io::Result<Answer> {
        self.post(target, "content-type: application/x-www-form-urlencoded\r\n", form)
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}
