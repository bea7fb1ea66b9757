//! A gatepass, and a request that bears it, in which everything is right until a test changes one thing.

use super::*;

/// A gatepass before it is signed.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) signer: u8,
}

impl Pass {
    /// [`AGENT`] acts for [`PRIOR_AGENT`], which acts for [`USER`]: issued 20 s ago for 5 minutes,
    /// exchanged twice, granting all actions without constraints.
    pub(crate) fn good() -> Self {
        Self {
            header: json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid(ISSUER)}),
            claims: json!({
                "iss": ISS,
                "aud": [AUDIENCE],
                "iat": NOW - 20,
                "exp": NOW + 280,
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
                "env": "prod",
                "assurance": "attested",
            }),
            signer: ISSUER,
        }
    }

    /// Sets one claim.
    pub(crate) fn set(&mut self, claim: &str, value: Value) -> &mut Self {
        self.claims[claim] = value;
        self
    }

    pub(crate) fn remove(&mut self, claim: &str) -> &mut Self {
        self.claims.as_object_mut().unwrap().remove(claim);
        self
    }

    /// Sets one member of the first entry.
    pub(crate) fn entry(&mut self, member: &str, value: Value) -> &mut Self {
        self.claims["authorization_details"][0][member] = value;
        self
    }

    pub(crate) fn token(&self) -> String {
        let header = serde_json::to_vec(&self.header).unwrap();
        let claims = serde_json::to_vec(&self.claims).unwrap();
        compact(&header, &claims, self.signer)
    }
}

/// Signs exactly these bytes as a compact JWS.
pub(crate) fn compact(header: &[u8], claims: &[u8], signer: u8) -> String {
    let input = format!("{}.{}", b64(header), b64(claims));
    sign_text(&input, signer)
}

/// Signs `<header>.<claims>` as it is spelled.
pub(crate) fn sign_text(input: &str, signer: u8) -> String {
    let signature = pair(signer).sk.sign(input.as_bytes(), None);
    format!("{input}.{}", b64(*signature))
}

/// What the gate has heard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    /// The snapshot of the scene as a baseline.
    Baseline,
    /// The snapshot of the scene from the feed, at the scene's first moment.
    Feed,
}

/// A gate, a gatepass and a request that are allowed; tests change one thing.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) settings: Settings,
    pub(crate) bundle: Bundle,
    pub(crate) keys: Vec<IssuerKey>,
    pub(crate) revoked: Vec<(Kind, String, Below)>,
    pub(crate) heard: Heard,
    pub(crate) pass: Pass,
    /// Replaces the whole of `Authorization` when set.
    pub(crate) authorization: Option<Vec<u8>>,
    /// `None` leaves `Authorization` out.
    pub(crate) scheme: Option<&'static str>,
    pub(crate) method: &'static str,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) ends_with_headers: bool,
    /// All of it, where there is one; then the headers do not end the request.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) unfinished: Option<Unfinished>,
    pub(crate) now: Now,
}

/// What all tests of this process have presented.
static SEEN: LazyLock<Mutex<TokenCache>> = LazyLock::new(|| Mutex::new(TokenCache::new(4 << 20)));

impl Scene {
    pub(crate) fn good() -> Self {
        Self {
            settings: settings(),
            bundle: bundle(),
            keys: issuer_keys().keys,
            revoked: vec![],
            heard: Heard::Feed,
            pass: Pass::good(),
            authorization: None,
            scheme: Some("Bearer"),
            method: "POST",
            authority: "orders.example".into(),
            path: "/orders/c1?amount=100.00&currency=EUR&count=5&weight=1.5&express=true".into(),
            headers: vec![("x-tag", b"blue".to_vec())],
            ends_with_headers: true,
            body: None,
            unfinished: None,
            now: now(),
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut scene = Self::good();
        change(&mut scene);
        scene
    }

    /// The action of the request's route.
    pub(crate) fn action(&mut self) -> &mut Action {
        &mut self.bundle.actions[0]
    }

    pub(crate) fn revoke(&mut self, kind: Kind, id: &str, below: Below) {
        self.revoked.push((kind, id.into(), below));
    }

    /// Asks for another route of `orders.example`.
    pub(crate) fn ask(&mut self, method: &'static str, path: &str) {
        (self.method, self.path) = (method, path.into());
    }

    /// The action digest of the good request, from its canonical form written out by hand.
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

    /// An approval of `digest` for the claim of that name.
    pub(crate) fn approval(digest: &str) -> Value {
        json!({"id": "ap-1", "by": "user:corp/carol", "at": NOW - 60, "amr": ["hwk"], "digest": digest})
    }

    pub(crate) fn snapshot(&self) -> Message {
        let revoked: Vec<(Kind, &str, Below)> =
            self.revoked.iter().map(|(kind, id, below)| (*kind, id.as_str(), *below)).collect();
        let keys = IssuerKeys { version: 1, keys: self.keys.clone() };
        Message::snapshot(AT).bundle(&self.bundle).keys(&keys).revoking(&revoked)
    }

    pub(crate) fn gate(&self) -> Gate {
        let mut gate = bare_gate(self.settings.clone());
        if self.heard != Heard::Nothing {
            gate.prime(TABLES.clone());
        }
        let root = Root::version(1).sealed();
        let snapshot = self.snapshot();
        match self.heard {
            Heard::Nothing => {}
            Heard::Baseline => {
                let sealed = snapshot.sealed();
                let feed = Feed { roots: vec![&root], batches: vec![&sealed] };
                gate.baseline(&feed, now()).unwrap();
            }
            Heard::Feed => {
                gate.take_roots(&[&root], UnixSeconds(NOW)).unwrap();
                feed(&mut gate, &snapshot).unwrap();
            }
        }
        gate
    }

    /// Calls `run` with the request.
    pub(crate) fn request<R>(&self, run: impl FnOnce(&Request<'_>) -> R) -> R {
        let authorization = match (&self.authorization, self.scheme) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(scheme)) => Some(format!("{scheme} {}", self.pass.token()).into_bytes()),
            (None, None) => None,
        };
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", self.method.as_bytes()),
            (":authority", self.authority.as_bytes()),
            (":path", self.path.as_bytes()),
        ];
        headers.extend(authorization.iter().map(|v| ("authorization", v.as_slice())));
        headers.extend(self.headers.iter().map(|(n, v)| (*n, v.as_slice())));
        let headers: Vec<RequestHeader<'_>> = headers
            .into_iter()
            .map(|(name, value)| RequestHeader { name: name.as_bytes(), value })
            .collect();
        let body = match (&self.body, self.unfinished) {
            (_, Some(why)) => Body::Unfinished(why),
            (Some(bytes), None) => Body::Whole(bytes),
            (None, None) => Body::after_headers(self.ends_with_headers),
        };
        run(&Request { headers: &headers, body, source: None })
    }

    pub(crate) fn decide(&self) -> Decision {
        self.decide_at(&self.gate())
    }

    /// The decision of a gate that the test made itself. Each is taken twice more, with a cache that
    /// has seen what every other test asked: it must not change a thing.
    pub(crate) fn decide_at(&self, gate: &Gate) -> Decision {
        self.request(|request| {
            let decision = decide(request, gate, self.now);
            let mut cache = SEEN.lock().unwrap();
            for _ in 0..2 {
                assert_eq!(decide_with(request, gate, &mut cache, self.now), decision);
            }
            decision
        })
    }
}
