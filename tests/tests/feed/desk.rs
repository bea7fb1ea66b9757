//! A control plane in memory whose every byte the test can change before it is served.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatepass::issue::{Grant, Issuer, issue, new_id};
use gatepass::keys::{SecretKey, Signer as _, public_text};
use gatepass::publish::{Changes, Genesis, Publisher, Revoke};
use gatepass::roots::{PinnedRoots, first, sign, successor};
use gatepass_engine::batch::{Batch, Feed, whole_digest};
use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Bundle, Host, Risk, Route,
    RouteTarget, Treatment, Uses,
};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::keyring::{Algorithm, IssuerKey};
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use gatepass_engine::root::{Document, Role, RootKeys};
use gatepass_envoy::{PluginConfig, Roots};
use gatepass_tests::kit::hostile::{Answer, HostileFeed, Poll};
use gatepass_tests::kit::orders::AUDIENCE;
use gatepass_tests::kit::world::{self, now};

/// The control plane of one environment.
pub(crate) struct Desk {
    pub(crate) publisher: Publisher,
    pub(crate) roots: Vec<String>,
    document: Document,
    root: SecretKey,
    feed: SecretKey,
    issuer: SecretKey,
    /// Since `base`, by the sequence that each leads to.
    deltas: Vec<(u64, Vec<u8>)>,
    base: u64,
}

/// Between the feed that serves it and the test that changes it.
#[derive(Clone)]
pub(crate) struct SharedDesk(Arc<Mutex<Desk>>);

impl SharedDesk {
    pub(crate) fn new(environment: &str) -> Self {
        Self(Arc::new(Mutex::new(Desk::new(environment))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a good feed does: news at once, else a checkpoint at the end of the wait.
    pub(crate) fn honest(&self) -> impl Fn(&Poll) -> Answer + Send + Sync + 'static {
        let desk = self.clone();
        move |poll| {
            let mut desk = desk.lock();
            // Who is ahead of a database is ahead of an old copy, unless the root undoes that.
            if poll.after() > Some(desk.publisher.position()) && !desk.document.reset {
                return Answer::status(503, b"ahead");
            }
            match desk.news(poll.after()) {
                Some(batches) => Answer::Body(desk.body(&batches)),
                None if poll.waited() < WAIT.min(poll.wait()) => Answer::Later,
                None => {
                    let checkpoint = desk.checkpoint();
                    Answer::Body(desk.body(&[checkpoint]))
                }
            }
        }
    }

    pub(crate) fn serve(&self) -> HostileFeed {
        HostileFeed::start(self.honest()).unwrap()
    }

    /// Revokes one gatepass.
    pub(crate) fn revoke(&self, jti: &str) {
        let mut desk = self.lock();
        let changes = revocation(jti);
        desk.step(&changes);
    }

    /// A gatepass at the newest position and its `jti`.
    pub(crate) fn issue(&self, action: &str) -> Pass {
        let desk = self.lock();
        desk.issue_at(action, desk.publisher.position())
    }
}

/// A gatepass.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) jti: String,
    pub(crate) token: String,
}

impl Desk {
    fn new(environment: &str) -> Self {
        let [root, feed, issuer] = [1, 2, 3].map(|role| key(environment, role));
        let pinned = PinnedRoots::new(&[root.public()], 1);
        let keys = [(Role::Feed, feed.public()), (Role::Issuer, issuer.public())];
        let document = first(environment, &pinned, &keys, now().plus(YEAR));
        let roots = vec![sign(&document, &[&root], now()).unwrap()];
        let mut publisher = Publisher::new(Genesis {
            environment: environment.to_owned(),
            audience: environment.to_owned(),
            epoch: EPOCH,
            hash_key: [9; 16],
            root_version: 1,
            keys: vec![IssuerKey {
                public: issuer.public(),
                issuer: iss(environment),
                algorithm: Algorithm::EdDsa,
                not_before: UnixSeconds(0),
                not_after: now().plus(YEAR),
            }],
        })
        .unwrap();
        publisher.advance(&Changes::bundle(bundle())).unwrap();
        let base = publisher.position().sequence;
        Self { publisher, roots, document, root, feed, issuer, deltas: Vec::new(), base }
    }

    /// The first root document of an environment of that name, by somebody else.
    pub(crate) fn stranger(environment: &str) -> String {
        let root = key("elsewhere", 1);
        let pinned = PinnedRoots::new(&[root.public()], 1);
        let keys = [(Role::Feed, key(environment, 2).public())];
        let document = first(environment, &pinned, &keys, now().plus(YEAR));
        sign(&document, &[&root], now()).unwrap()
    }

    pub(crate) fn plugin(&self) -> PluginConfig {
        let environment = self.environment();
        let root = key(environment, 1);
        let roots = Roots { keys: vec![public_text(&root.public())], threshold: 1 };
        let mut plugin = PluginConfig::new(environment, environment, roots);
        plugin.expose_position = true;
        plugin
    }

    pub(crate) fn environment(&self) -> &str {
        &self.publisher.state().environment
    }

    pub(crate) fn position(&self) -> Position {
        self.publisher.position()
    }

    /// Takes a step and keeps its delta for those who follow.
    pub(crate) fn step(&mut self, changes: &Changes) -> Vec<u8> {
        let delta = self.publisher.delta(changes, &self.feed, now()).unwrap();
        self.keep(delta.clone());
        delta
    }

    /// Takes a step whose delta says something else than it should.
    pub(crate) fn step_as(&mut self, changes: &Changes, change: impl FnOnce(&mut Batch<'_>)) {
        let delta = self.changed(&self.foretold(changes), change);
        self.publisher.advance(changes).unwrap();
        self.keep(delta);
    }

    fn keep(&mut self, delta: Vec<u8>) {
        self.deltas.push((self.publisher.position().sequence, delta));
    }

    /// The delta that a step would have.
    pub(crate) fn foretold(&self, changes: &Changes) -> Vec<u8> {
        let mut publisher = self.publisher.clone();
        publisher.delta(changes, &self.feed, now()).unwrap()
    }

    pub(crate) fn snapshot(&mut self) -> Vec<u8> {
        let mut parts = self.publisher.snapshot(&self.feed, now()).unwrap();
        assert_eq!(parts.len(), 1);
        parts.remove(0)
    }

    pub(crate) fn checkpoint(&mut self) -> Vec<u8> {
        self.publisher.checkpoint(&self.feed, now()).unwrap()
    }

    /// What a follower has not heard.
    fn news(&mut self, after: Option<Position>) -> Option<Vec<Vec<u8>>> {
        let here = self.position();
        match after {
            Some(after) if after == here => None,
            Some(after) if after.epoch == here.epoch && after.sequence >= self.base => {
                let fresh = self.deltas.iter().filter(|(to, _)| *to > after.sequence);
                Some(fresh.map(|(_, delta)| delta.clone()).collect())
            }
            _ => Some(vec![self.snapshot()]),
        }
    }

    /// What a feed key that was stolen could sign: the state of today, far in the future.
    pub(crate) fn fast_forward(&mut self) -> Vec<u8> {
        let snapshot = self.snapshot();
        self.changed(&snapshot, |batch| {
            batch.header.epoch += 1_000;
            batch.header.to += 1_000_000;
        })
    }

    /// A feed answer with all root documents.
    pub(crate) fn body(&self, batches: &[Vec<u8>]) -> Vec<u8> {
        let roots: Vec<&[u8]> = self.roots.iter().map(String::as_bytes).collect();
        body(&roots, batches)
    }

    pub(crate) fn issue_at(&self, action: &str, position: Position) -> Pass {
        let grant = Grant { jti: new_id().unwrap(), ..world::grant(action).unwrap() };
        let environment = self.environment();
        let issuer = Issuer {
            issuer: iss(environment),
            environment: environment.to_owned(),
            algorithm: Algorithm::EdDsa,
        };
        let token = issue(&grant, &issuer, &self.issuer, position, now()).unwrap();
        Pass { jti: grant.jti, token }
    }

    /// Decodes an envelope, changes the batch, and signs it with the feed key.
    pub(crate) fn changed(&self, envelope: &[u8], change: impl FnOnce(&mut Batch<'_>)) -> Vec<u8> {
        resigned(envelope, &self.feed, change)
    }

    /// Signs a payload of any content with the feed key.
    pub(crate) fn signed(&self, payload: Vec<u8>) -> Vec<u8> {
        signed_by(&self.feed, PayloadType::Batch, payload)
    }

    pub(crate) const fn feed_key(&self) -> &SecretKey {
        &self.feed
    }

    pub(crate) const fn issuer_key(&self) -> &SecretKey {
        &self.issuer
    }

    /// The next root document: another feed key and, when `root` says so, another root key. From
    /// here on this is what signs.
    pub(crate) fn rotate(&mut self, feed: u8, root: Option<u8>, reset: bool) -> SecretKey {
        let environment = self.environment().to_owned();
        let next_feed = key(&environment, feed);
        let next_root = root.map(|number| key(&environment, number));
        let keys = [(Role::Feed, next_feed.public()), (Role::Issuer, self.issuer.public())];
        let mut document = successor(&self.document, &keys, now().plus(YEAR));
        document.reset = reset;
        let mut signers: Vec<&dyn gatepass::keys::Signer> = vec![&self.root];
        if let Some(next) = &next_root {
            document.root = RootKeys { threshold: 1, keys: vec![public_text(&next.public())] };
            signers.push(next);
        }
        self.roots.push(sign(&document, &signers, now()).unwrap());
        self.document = document;
        if let Some(next) = next_root {
            self.root = next;
        }
        self.publisher
            .advance(&Changes { root_version: Some(self.document.version), ..Changes::default() })
            .unwrap();
        // Under a newer root the deltas signed before are refused.
        self.deltas.clear();
        self.base = self.position().sequence;
        std::mem::replace(&mut self.feed, next_feed)
    }
}

/// A step that revokes one gatepass.
pub(crate) fn revocation(jti: &str) -> Changes {
    Changes::revoke(vec![Revoke::new(Kind::Credential, jti, now())])
}

pub(crate) fn body(roots: &[&[u8]], batches: &[Vec<u8>]) -> Vec<u8> {
    let feed = Feed { roots: roots.to_vec(), batches: batches.iter().map(Vec::as_slice).collect() };
    feed.encode().unwrap()
}

/// Decodes an envelope, changes the batch, and signs it with `key`; the digest fits the changes.
pub(crate) fn resigned(
    envelope: &[u8],
    key: &SecretKey,
    change: impl FnOnce(&mut Batch<'_>),
) -> Vec<u8> {
    let payload = payload(envelope);
    let mut batch = Batch::decode(&payload).unwrap();
    change(&mut batch);
    let fitting = whole_digest(&[batch.digest()]);
    if batch.header.whole_digest != WRONG_DIGEST && batch.header.parts == 1 {
        batch.header.whole_digest = fitting;
    }
    signed_by(key, PayloadType::Batch, batch.encode().unwrap())
}

pub(crate) fn signed_by(key: &SecretKey, kind: PayloadType, payload: Vec<u8>) -> Vec<u8> {
    let envelope = Unverified::new(kind, payload).sign_with(|message| key.sign(message));
    envelope.to_postcard().unwrap()
}

pub(crate) fn payload(envelope: &[u8]) -> Vec<u8> {
    let envelope = Unverified::from_postcard(envelope).unwrap();
    envelope.unverified_payload().to_vec()
}

/// A key of an environment by its number: 1 root, 2 feed, 3 issuer, others for rotation.
pub(crate) fn key(environment: &str, number: u8) -> SecretKey {
    let mut seed = [number; 32];
    for (place, byte) in seed.iter_mut().zip(environment.bytes()) {
        *place ^= byte;
    }
    SecretKey::from_seed(&seed).unwrap()
}

/// `GET /slow` outlives any test; `GET /quick` has the shortest staleness bound there is.
pub(crate) fn bundle() -> Bundle {
    let action = |name: &str, risk: Risk, staleness: u32| Action {
        name: name.into(),
        risk,
        scopes_all: vec![],
        scopes_any: vec![],
        assurance: Assurance::Federated,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness,
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
        groups: vec![],
    };
    let route = |path: &str, target| Route {
        methods: vec!["GET".into()],
        path: path.into(),
        target,
        inputs: vec![],
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    };
    let host = |name: &str, treatment| Host {
        names: vec![format!("{name}.example")],
        audience: format!("https://{name}.example"),
        origin: None,
        treatment,
    };
    let routes = vec![
        route("/slow", RouteTarget::Action(0)),
        route("/quick", RouteTarget::Action(1)),
        route("/healthz", RouteTarget::Public),
    ];
    let bundle = Bundle {
        actions: vec![action(SLOW, Risk::Low, 900), action(QUICK, Risk::High, STALE_AFTER)],
        hosts: vec![
            host("orders", Treatment::Guarded(routes)),
            host("static", Treatment::PassedThrough),
        ],
        policy: vec![],
        budgets: vec![],
    };
    assert_eq!(bundle.hosts[0].audience, AUDIENCE);
    bundle
}

fn iss(environment: &str) -> String {
    format!("https://gatepass.example/{environment}")
}

pub(crate) const SLOW: &str = "orders:slow";
pub(crate) const QUICK: &str = "orders:quick";
/// Seconds.
pub(crate) const STALE_AFTER: u32 = 3;
pub(crate) const WRONG_DIGEST: [u8; 32] = [0xee; 32];
pub(crate) const EPOCH: u64 = 7;
/// A third of the shortest staleness bound.
const WAIT: Duration = Duration::from_secs(1);
/// Seconds.
const YEAR: u64 = 365 * 86_400;
