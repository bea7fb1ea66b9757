//! A store, and a gate that has heard what it says.

use gatepass::issue::{Approval, Confirmation, Constraint, Grant, Party};
use gatepass::jwks::jwks;
use gatepass::store::{News, Setup, Store};
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::{Decision, Header, Request, decide};
use gatepass_engine::gate::{Gate, Mode, Settings};
use gatepass_engine::keyring::Algorithm;
use gatepass_engine::position::Position;
use gatepass_tests::kit::orders::{AUDIENCE, HOST, POLICY};
use gatepass_tests::kit::world::{AGENT, BLUEPRINT, OWNER, TASK, compile};
use serde_json::Value;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
pub(crate) const ISSUER: &str = "https://gatepass.example/prod";

pub(crate) struct Desk {
    pub(crate) store: Store,
    directory: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn open(algorithm: Algorithm) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let mut setup = Setup::new(&path, "prod", "prod", ISSUER);
        setup.algorithm = algorithm;
        let mut store = Store::create(&path, &setup, NOW).unwrap();
        store.publish(compile(POLICY).unwrap(), NOW).unwrap();
        Self { store, directory }
    }

    pub(crate) fn jwks(&self) -> Value {
        jwks(self.store.issuer_keys())
    }

    /// The issuer's private JWK, as its file has it but for `use`, which other libraries read
    /// otherwise.
    pub(crate) fn private_key(&self) -> Value {
        let path = self.directory.path().join("store/issuer.key");
        let mut key: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        key.as_object_mut().unwrap().remove("use");
        key
    }

    /// What a gate that follows this store says to a request with this token: `allow`, or the code.
    pub(crate) fn verdict(&mut self, token: &str) -> String {
        let now = Now { unix: NOW, monotonic: Milliseconds(1) };
        let pinned = self.store.pinned_roots().unwrap().pinned("prod").unwrap();
        let settings = Settings {
            environment: "prod".to_owned(),
            feed_audience: "prod".to_owned(),
            mode: Mode::Enforce,
        };
        let mut gate = Gate::new(settings, pinned);
        let roots: Vec<&[u8]> = self.store.roots().iter().map(String::as_bytes).collect();
        gate.take_roots(&roots, now.unix).unwrap();
        let News::Batches(batches) = self.store.news(None, NOW).unwrap() else {
            panic!("a follower that knows nothing is told nothing");
        };
        for batch in batches {
            gate.apply(&batch, now.monotonic, now).unwrap();
        }
        let authorization = format!("Bearer {token}");
        let headers = [
            (":method", "GET"),
            (":authority", HOST),
            (":path", "/orders"),
            ("authorization", authorization.as_str()),
        ];
        let headers =
            headers.map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() });
        let request = Request { headers: &headers, body: Body::None, source: None };
        match decide(&request, &gate, now) {
            Decision::Allow(_) => "allow".to_owned(),
            Decision::Deny(denial) => denial.code().to_string(),
            Decision::Redeem(_) => "redeem".to_owned(),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        }
    }
}

/// The least that reads orders.
pub(crate) fn plain() -> Grant {
    let mut grant = Grant::new("jti-1", party(AGENT), TASK, AUDIENCE, &["orders:read"]);
    grant.scopes = vec!["orders.read".to_owned()];
    grant
}

/// Everything that a grant can say.
pub(crate) fn full() -> Grant {
    let mut grant = plain();
    grant.jti = "jti-2".to_owned();
    grant.subject = Some("user:corp/ursula".to_owned());
    grant.prior_actors = vec![party("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e60")];
    grant.ancestors = vec!["jti-1".to_owned(), "jti-0".to_owned()];
    grant.audiences.push("https://else.example".to_owned());
    grant.scopes.push("orders.write".to_owned());
    grant.approval = Some(Approval {
        id: "ap-1".to_owned(),
        by: OWNER.to_owned(),
        at: NOW,
        amr: vec!["hwk".to_owned()],
        digest: [0; 32],
    });
    grant.workload = Some("spiffe://prod/buyer".to_owned());
    grant.confirmation = Some(Confirmation::Key("thumb".to_owned()));
    grant.decision = Some("d-1".to_owned());
    grant.policy = Some(Position { epoch: 1, sequence: 2 });
    if let Some(entry) = grant.entries.first_mut() {
        let most = Constraint { max: Some("500.00 EUR".into()), ..Constraint::default() };
        entry.constraints.insert("amount".to_owned(), most);
        entry.locations = Some(vec![AUDIENCE.to_owned()]);
        entry.args_digest = Some([0xff; 32]);
        entry.uses = Some(1);
    }
    grant
}

fn party(id: &str) -> Party {
    Party { id: id.to_owned(), owner: OWNER.to_owned(), blueprint: BLUEPRINT.to_owned() }
}
