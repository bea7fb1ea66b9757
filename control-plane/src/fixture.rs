//! A small environment for this crate's tests: keys from seeds, one guarded host, and a gate that
//! pins its root.

use gatepass_engine::body::Body;
use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Bundle, Host, Risk, Route,
    RouteTarget, Treatment, Uses,
};
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::Header;
use gatepass_engine::keyring::{Algorithm, IssuerKey};
use gatepass_engine::root::Role;
use gatepass_engine::{Code, Decision, Gate, Mode, Position, Reason, Request, Settings, decide};

use crate::issue::{Grant, Issuer, Party, issue};
use crate::keys::{SecretKey, Signer as _};
use crate::publish::{Genesis, Publisher};
use crate::roots::{PinnedRoots, first, sign};
use crate::store::{Setup, Store};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
pub(crate) const AUDIENCE: &str = "https://orders.example";
pub(crate) const AGENT: &str = "agent:11111111-1111-1111-1111-111111111111";

pub(crate) fn root_key() -> SecretKey {
    SecretKey::from_seed(&[1; 32]).unwrap()
}

pub(crate) fn feed_key() -> SecretKey {
    SecretKey::from_seed(&[2; 32]).unwrap()
}

pub(crate) fn issuer_key() -> SecretKey {
    SecretKey::from_seed(&[3; 32]).unwrap()
}

pub(crate) fn issuer() -> Issuer {
    Issuer {
        issuer: "https://issuer.example".into(),
        environment: "prod".into(),
        algorithm: Algorithm::EdDsa,
    }
}

pub(crate) fn issuer_entry() -> IssuerKey {
    IssuerKey {
        public: issuer_key().public(),
        issuer: issuer().issuer,
        algorithm: Algorithm::EdDsa,
        not_before: UnixSeconds(0),
        not_after: NOW.plus(1_000_000),
    }
}

pub(crate) fn root() -> String {
    let roots = PinnedRoots::new(&[root_key().public()], 1);
    let keys = [(Role::Feed, feed_key().public()), (Role::Issuer, issuer_key().public())];
    let document = first("prod", &roots, &keys, NOW.plus(1_000_000));
    sign(&document, &[&root_key()], NOW).unwrap()
}

pub(crate) fn publisher() -> Publisher {
    Publisher::new(Genesis {
        environment: "prod".into(),
        audience: "prod".into(),
        epoch: 7,
        hash_key: [9; 16],
        root_version: 1,
        keys: vec![issuer_entry()],
    })
    .unwrap()
}

/// A gate that has taken the root document and nothing else.
pub(crate) fn gate() -> Gate {
    gate_of_audience("prod")
}

/// The same in a cohort.
pub(crate) fn gate_of_audience(audience: &str) -> Gate {
    let roots = PinnedRoots::new(&[root_key().public()], 1);
    let settings = Settings {
        environment: "prod".into(),
        feed_audience: audience.into(),
        mode: Mode::Enforce,
    };
    let mut gate = Gate::new(settings, roots.pinned("prod").unwrap());
    gate.take_roots(&[root().as_bytes()], NOW).unwrap();
    gate
}

/// A new store in a directory that goes when the first is dropped.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gp");
    let setup = Setup::new(&path, "prod", "prod", "https://issuer.example");
    let store = Store::create(&path, &setup, NOW).unwrap();
    (dir, store)
}

/// A gate that pins the roots of a store and has taken its root documents.
pub(crate) fn gate_of(store: &Store) -> Gate {
    let settings =
        Settings { environment: "prod".into(), feed_audience: "prod".into(), mode: Mode::Enforce };
    let pinned = store.pinned_roots().unwrap().pinned("prod").unwrap();
    let mut gate = Gate::new(settings, pinned);
    let roots: Vec<&[u8]> = store.roots().iter().map(String::as_bytes).collect();
    gate.take_roots(&roots, NOW).unwrap();
    gate
}

pub(crate) fn at(unix: UnixSeconds) -> Now {
    Now { unix, monotonic: Milliseconds(0) }
}

/// One host with one low-risk action for each name, at `GET /<name>`.
pub(crate) fn bundle(names: &[&str]) -> Bundle {
    let routes = (0..).zip(names).map(|(id, name)| Route {
        methods: vec!["GET".into()],
        path: format!("/{name}"),
        target: RouteTarget::Action(id),
        inputs: vec![],
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    });
    Bundle {
        actions: names.iter().map(|name| action(name)).collect(),
        hosts: vec![Host {
            names: vec!["orders.example".into()],
            audience: AUDIENCE.into(),
            origin: None,
            treatment: Treatment::Guarded(routes.collect()),
        }],
        policy: vec![],
        budgets: vec![],
    }
}

/// A bundle of over a megabyte, with actions `0` to `299`.
pub(crate) fn large_bundle() -> Bundle {
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bundle = bundle(&names);
    for action in &mut bundle.actions {
        action.scopes_any = (0..32).map(|n| format!("{n:0>128}")).collect();
    }
    bundle
}

fn action(name: &str) -> Action {
    Action {
        name: name.into(),
        risk: Risk::Low,
        scopes_all: vec![],
        scopes_any: vec![],
        assurance: Assurance::Static,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness: 60,
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
        groups: vec![],
    }
}

pub(crate) fn grant(action: &str) -> Grant {
    let agent =
        Party { id: AGENT.into(), owner: "user:corp/alice".into(), blueprint: "buyer".into() };
    Grant::new("j1", agent, "t1", AUDIENCE, &[action])
}

pub(crate) fn token(grant: &Grant, position: Position) -> String {
    issue(grant, &issuer(), &issuer_key(), position, NOW).unwrap()
}

/// What the gate says to `GET /<action>` with this token.
pub(crate) fn ask(gate: &Gate, action: &str, token: &str) -> Result<(), Code> {
    let path = format!("/{action}");
    let authorization = format!("Bearer {token}");
    let header = |name: &'static str, value| Header { name: name.as_bytes(), value };
    let headers = [
        header(":method", b"GET".as_slice()),
        header(":authority", b"orders.example"),
        header(":path", path.as_bytes()),
        header("authorization", authorization.as_bytes()),
    ];
    let request = Request { headers: &headers, body: Body::None, source: None };
    match decide(&request, gate, at(NOW)) {
        Decision::Allow(permit) => match permit.reason() {
            Reason::Decided(_) => Ok(()),
            other => panic!("{other:?}"),
        },
        Decision::Deny(denial) => Err(denial.code()),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}
