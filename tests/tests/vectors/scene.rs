//! A gate, a gatepass and a request that are allowed, at any time; a case changes one thing.

use gatepass_engine::bundle::{Action, Bundle};
use gatepass_engine::keyring::IssuerKey;
use gatepass_engine::revocation::{Below, Kind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::format::{Base64, GateConfiguration, HeaderVector, RequestVector, Roots as PinnedRoots};
use crate::keys::{ISSUER, ROOT, Seed, b64, compact, kid, public};
use crate::message::{AT, ENVIRONMENT, EPOCH, ISS, Message, Root, answer, issuer_keys};
use crate::policy::{self, AUDIENCE};

pub(crate) const USER: &str = "user:corp/ursula";
/// The acting agent.
pub(crate) const AGENT: &str = "agent:bbbbbbbb-0000-4000-8000-000000000001";
pub(crate) const OWNER: &str = "user:corp/bob";
pub(crate) const BLUEPRINT: &str = "bp-b";
/// The agent that the acting one acts for.
pub(crate) const PRIOR_AGENT: &str = "agent:aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const PRIOR_OWNER: &str = "user:corp/ann";
pub(crate) const PRIOR_BLUEPRINT: &str = "bp-a";

/// What the gate has heard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    /// The snapshot as a baseline in its configuration.
    Baseline,
    Feed,
}

/// What stands in `authorization`.
#[derive(Clone)]
pub(crate) enum Authorization {
    Absent,
    /// The gatepass under this scheme.
    Scheme(&'static str),
    /// This, with `{}` for the gatepass.
    Text(&'static str),
    Bytes(Vec<u8>),
}

pub(crate) struct Scene {
    /// When the gate hears the feed.
    pub(crate) start: u64,
    /// When the request comes.
    pub(crate) now: u64,
    pub(crate) audience: String,
    pub(crate) shadow: bool,
    pub(crate) bundle: Bundle,
    pub(crate) keys: Vec<IssuerKey>,
    pub(crate) revoked: Vec<(Kind, String, Below)>,
    pub(crate) heard: Heard,
    /// Seconds before `start` at which the snapshot was issued.
    pub(crate) snapshot_age: u64,
    /// In how many parts the snapshot comes, and how many of them do come.
    pub(crate) parts: (u16, usize),
    /// Batches behind the snapshot.
    pub(crate) more: Vec<Message>,
    pub(crate) pass: Pass,
    pub(crate) authorization: Authorization,
    pub(crate) method: &'static str,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) ends_with_headers: bool,
}

impl Scene {
    pub(crate) fn good(start: u64, audience: &str) -> Self {
        Self {
            start,
            now: start,
            audience: audience.to_owned(),
            shadow: false,
            bundle: policy::bundle(),
            keys: issuer_keys(start).keys,
            revoked: vec![],
            heard: Heard::Feed,
            snapshot_age: 0,
            parts: (1, 1),
            more: vec![],
            pass: Pass::good(start),
            authorization: Authorization::Scheme("Bearer"),
            method: "POST",
            authority: "orders.example".into(),
            path: "/orders/c1?amount=100.00&currency=EUR&count=5&weight=1.5&express=true".into(),
            headers: vec![("x-tag", b"blue".to_vec())],
            ends_with_headers: true,
        }
    }

    /// The action of the request's route.
    pub(crate) fn action(&mut self) -> &mut Action {
        self.bundle.actions.first_mut().unwrap()
    }

    pub(crate) fn key(&mut self) -> &mut IssuerKey {
        self.keys.first_mut().unwrap()
    }

    pub(crate) fn revoke(&mut self, kind: Kind, id: &str, below: Below) {
        self.revoked.push((kind, id.into(), below));
    }

    pub(crate) fn header(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        self.headers.push((name, value.as_ref().to_vec()));
    }

    /// Asks for another route.
    pub(crate) fn ask(&mut self, method: &'static str, path: &str) {
        (self.method, self.path) = (method, path.into());
        self.headers.clear();
    }

    /// A delta behind whatever came before.
    pub(crate) fn delta(&mut self, change: impl FnOnce(&mut Message)) {
        let from = AT + u64::try_from(self.more.len()).unwrap();
        let mut delta = Message::delta(from, from + 1, &self.audience, self.start);
        change(&mut delta);
        self.more.push(delta);
    }

    /// An approval of the good request's digest, from its canonical form written out by hand.
    pub(crate) fn approval(&self) -> Value {
        self.approval_of(&digest())
    }

    pub(crate) fn approval_of(&self, digest: &str) -> Value {
        let at = self.start - 60;
        json!({"id": "ap-1", "by": "user:corp/carol", "at": at, "amr": ["hwk"], "digest": digest})
    }

    /// The gate's plugin configuration.
    pub(crate) fn configuration(&self) -> GateConfiguration {
        let baseline = (self.heard == Heard::Baseline).then(|| Base64::of(self.answer()));
        GateConfiguration {
            environment: ENVIRONMENT.to_owned(),
            feed_audience: self.audience.clone(),
            roots: PinnedRoots { keys: vec![b64(public(ROOT))], threshold: 1 },
            min_root_version: 1,
            mode: if self.shadow { "shadow" } else { "enforce" }.to_owned(),
            baseline,
        }
    }

    /// What the feed says.
    pub(crate) fn feed(&self) -> Option<Vec<u8>> {
        (self.heard == Heard::Feed).then(|| self.answer())
    }

    fn answer(&self) -> Vec<u8> {
        let revoked: Vec<(Kind, &str, Below)> =
            self.revoked.iter().map(|(kind, id, below)| (*kind, id.as_str(), *below)).collect();
        let issued_at = self.start - self.snapshot_age;
        let snapshot = Message::snapshot(AT, &self.audience, issued_at)
            .bundle(&self.bundle)
            .keys(1, self.keys.clone());
        let (parts, come) = self.parts;
        let mut batches = match parts {
            1 => vec![snapshot.revoking(&revoked, self.start)],
            _ => snapshot.in_parts(parts, &revoked, self.start),
        };
        batches.truncate(come);
        batches.extend(self.more.iter().cloned());
        let sealed: Vec<Vec<u8>> = batches.iter().map(Message::sealed).collect();
        answer(&[Root::version(1, self.start).sealed()], &sealed)
    }

    pub(crate) fn request(&self) -> RequestVector {
        let token = self.pass.token();
        let authorization = match &self.authorization {
            Authorization::Absent => None,
            Authorization::Scheme(scheme) => Some(format!("{scheme} {token}").into_bytes()),
            Authorization::Text(text) => Some(text.replace("{}", &token).into_bytes()),
            Authorization::Bytes(bytes) => Some(bytes.clone()),
        };
        let mut headers = vec![
            HeaderVector::new(":method", self.method.as_bytes()),
            HeaderVector::new(":authority", self.authority.as_bytes()),
            HeaderVector::new(":path", self.path.as_bytes()),
        ];
        headers.extend(authorization.map(|value| HeaderVector::new("authorization", &value)));
        headers.extend(self.headers.iter().map(|(name, value)| {
            match core::str::from_utf8(value) {
                Ok(text) => HeaderVector::new(name, text.replace("{}", &token).as_bytes()),
                Err(_) => HeaderVector::new(name, value),
            }
        }));
        RequestVector { headers, ends_with_headers: self.ends_with_headers }
    }
}

/// A gatepass before it is signed.
pub(crate) struct Pass {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    /// Signed instead of `header`.
    pub(crate) header_text: Option<Vec<u8>>,
    /// Signed instead of `claims`.
    pub(crate) claims_text: Option<Vec<u8>>,
    pub(crate) signer: Seed,
    /// Makes something else of the three parts.
    pub(crate) spoil: Option<Spoil>,
}

/// Takes header, claims and signature, each in base64url.
pub(crate) type Spoil = Box<dyn Fn([&str; 3]) -> String>;

impl Pass {
    /// [`AGENT`] acts for [`PRIOR_AGENT`], which acts for [`USER`]: issued 20 s ago for 5 minutes,
    /// exchanged twice, granting all actions without constraints.
    fn good(now: u64) -> Self {
        Self {
            header: json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid(ISSUER)}),
            claims: json!({
                "iss": ISS,
                "aud": [AUDIENCE],
                "iat": now - 20,
                "exp": now + 280,
                "jti": "jti-1",
                "seq": [EPOCH, AT],
                "sub": USER,
                "act": {
                    "sub": AGENT, "owner": OWNER, "blueprint": BLUEPRINT,
                    "act": {"sub": PRIOR_AGENT, "owner": PRIOR_OWNER, "blueprint": PRIOR_BLUEPRINT},
                },
                "client_id": AGENT,
                "anc": ["jti-parent", "jti-grandparent"],
                "owner": OWNER,
                "blueprint": BLUEPRINT,
                "scope": "orders:write orders:read",
                "authorization_details": [{
                    "type": "agent_action",
                    "actions": ["orders:create", "orders:list", "files:upload"],
                }],
                "txn": "task-1",
                "env": ENVIRONMENT,
                "assurance": "attested",
            }),
            header_text: None,
            claims_text: None,
            signer: ISSUER,
            spoil: None,
        }
    }

    /// Sets one claim.
    pub(crate) fn set(&mut self, claim: &str, value: Value) {
        self.claims[claim] = value;
    }

    pub(crate) fn remove(&mut self, claim: &str) {
        self.claims.as_object_mut().unwrap().remove(claim);
    }

    /// Sets one member of the first entry.
    pub(crate) fn entry(&mut self, member: &str, value: Value) {
        self.claims["authorization_details"][0][member] = value;
    }

    /// Writes the header's JSON another way.
    pub(crate) fn respell_header(&mut self, respell: impl FnOnce(&str) -> String) {
        self.header_text = Some(respell(&self.header.to_string()).into_bytes());
    }

    /// Writes the claims' JSON another way; it must be another.
    pub(crate) fn respell(&mut self, old: &str, new: &str) {
        let text = self.claims.to_string();
        assert!(text.contains(old), "`{old}` is not in {text}");
        self.claims_text = Some(text.replacen(old, new, 1).into_bytes());
    }

    pub(crate) fn spoil(&mut self, spoil: impl Fn([&str; 3]) -> String + 'static) {
        self.spoil = Some(Box::new(spoil));
    }

    /// Pads claims and header with white space, which is ignored, to a token of that many bytes.
    pub(crate) fn claims_of(&mut self, bytes: usize) {
        self.header_text = None;
        self.claims_text = None;
        let header = self.header.to_string();
        let claims = self.claims.to_string();
        // Three bytes more are four characters more; the header makes up for the rest.
        for spaces in 0..3 {
            let header = format!("{header}{}", " ".repeat(spaces));
            let rest = bytes - b64(&header).len() - b64([0; 64]).len() - 2;
            let wanted = rest / 4 * 3 + (rest % 4).saturating_sub(1);
            let padded = format!("{claims}{}", " ".repeat(wanted - claims.len()));
            if b64(&padded).len() == rest {
                self.header_text = Some(header.into_bytes());
                self.claims_text = Some(padded.into_bytes());
                break;
            }
        }
        assert_eq!(self.token().len(), bytes);
    }

    pub(crate) fn token(&self) -> String {
        let json = |text: &Option<Vec<u8>>, value: &Value| {
            text.clone().unwrap_or_else(|| value.to_string().into_bytes())
        };
        let header = json(&self.header_text, &self.header);
        let claims = json(&self.claims_text, &self.claims);
        let token = compact(&header, &claims, self.signer);
        match &self.spoil {
            None => token,
            Some(spoil) => {
                let mut parts = token.split('.');
                let mut part = || parts.next().unwrap_or_default();
                spoil([part(), part(), part()])
            }
        }
    }
}

/// The action digest of the good request.
pub(crate) fn digest() -> String {
    let canonical = concat!(
        r#"{"action":"orders:create","audience":"https://orders.example","#,
        r#""body_sha256":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","#,
        r#""environment":"prod","host":"orders.example","inputs":{"#,
        r#""amount":"100.0000 EUR","count":"5","customer":"c1","express":"true","#,
        r#""tag":"blue","weight":"1.5000"},"method":"POST","path":"/orders/c1"}"#
    );
    b64(Sha256::digest(canonical))
}
