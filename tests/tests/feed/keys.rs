//! Keys of the real control plane exchanged in front of a real Envoy: under load, after a theft,
//! and told to an Envoy that knows of the exchange.

use std::net::SocketAddr;
use std::time::Instant;

use gatepass::issue::payload;
use gatepass::keys::{KeyRole, SecretKey, Signer as _, public_text};
use gatepass_engine::batch::Feed;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig};
use gatepass_tests::kit::desk::{Agent, Desk, Issued, word};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::hostile::{Answer, HostileFeed, Poll};
use gatepass_tests::kit::orders::AUDIENCE;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, Response, WireError, request};
use serde_json::Value;

use crate::desk::{body, resigned};
use crate::gated::{Gated, IN, WORKERS, pause};
use crate::load::{LONG, Load};

/// A third of the bound is a poll's wait, and all of it the time to an issuer key's take-over.
const POLICY: &str = "\
actions:
  orders:read: {risk: low, staleness: 9s}
  orders:wipe: {risk: low, staleness: 9s}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
      - match: GET /wipe
        action: orders:wipe
      - match: GET /healthz
        public: true
";
const PATH: &str = "/orders";
const DETAILS: &str = r#"[{"type": "agent_action", "actions": ["orders:read"]}]"#;
const CEILING: &str = r#"{"entries": [{"actions": ["orders:read"]}], "scopes": []}"#;

/// A served control plane with one agent.
struct Site {
    desk: Desk,
    agent: Agent,
    join: String,
}

impl Site {
    fn start() -> Self {
        let mut desk = Desk::start("prod", false).unwrap();
        desk.kill();
        let many =
            |text: String| text.replace("issued_per_minute = 600", "issued_per_minute = 60000");
        desk.configure(many).unwrap();
        desk.serve().unwrap();
        let alice = "user:corp/alice";
        let known = ["--name", "Alice", "--contact", "#it", "--reason", "joined"];
        desk.done(&[&["person", "add", alice], &known[..]].concat()).unwrap();
        let ceiling = desk.file("ceiling.json", CEILING).unwrap();
        let answered_for = ["--owners", "it", "--ceiling", &ceiling];
        let why = ["--purpose", "reads orders", "--reason", "agreed"];
        desk.done(&[&["blueprint", "add", "reader"], &answered_for[..], &why].concat()).unwrap();
        let policy = desk.file("policy.yaml", POLICY).unwrap();
        desk.done(&["policy", "publish", &policy, "--reason", "first version"]).unwrap();
        let agent = desk.agent("reader-bot", "reader", alice).unwrap();
        let joined = desk.done(&["join-token", "add", "edge", "--reason", "the edge"]).unwrap();
        let join = word(&joined, "gpj_").unwrap();
        Self { desk, agent, join }
    }

    /// An Envoy that follows it.
    fn envoy(&self, plugin: &PluginConfig) -> Gated {
        let upstream = Upstream::start().unwrap();
        let gate = Gate::new(filter::path().unwrap(), plugin).host_env("GATEPASS_JOIN_TOKEN");
        let bootstrap = Bootstrap::new()
            .listener(Listener::forwarding(IN, upstream.address()).gate(gate))
            .feed(self.desk.feed())
            .workers(WORKERS)
            .env("GATEPASS_JOIN_TOKEN", &self.join);
        Gated::of(Envoy::launch(&bootstrap).unwrap(), upstream, &[IN])
    }

    fn gatepass(&self) -> Issued {
        self.agent.gatepass(&[("resource", AUDIENCE), ("authorization_details", DETAILS)]).unwrap()
    }

    fn revoke(&self, kind: &str, id: &str) {
        self.desk.done(&["revoke", kind, id, "--reason", "a test"]).unwrap();
    }

    /// Makes a key; its public key.
    fn new_key(&self, role: &str) -> String {
        let dir = self.desk.dir();
        let said = self.desk.done(&["keys", "new", role, "--dir", dir.to_str().unwrap()]).unwrap();
        let line = said.lines().find_map(|line| line.strip_prefix("public: "));
        line.unwrap().to_owned()
    }

    fn first_key(&self, role: KeyRole) -> SecretKey {
        SecretKey::load(&self.desk.dir().join(format!("{role}.key")), role).unwrap()
    }

    /// Rotates, signs and adopts, as docs/control-plane.md says.
    fn next_root(&self, version: u64, changes: &[&str]) {
        let dir = self.desk.dir();
        let roots = dir.parent().unwrap().join("roots");
        let of = |name: String| dir.join("roots").join(name).to_str().unwrap().to_owned();
        let (unsigned, signed) =
            (of(format!("{version}.unsigned.json")), of(format!("{version}.json")));
        self.desk
            .done(&[&["root", "rotate", "--dir", dir.to_str().unwrap()], changes].concat())
            .unwrap();
        let root_dir = roots.to_str().unwrap();
        self.desk
            .done(&["root", "sign", "--root-dir", root_dir, &unsigned, "--out", &signed])
            .unwrap();
        self.desk.done(&["adopt-root", &signed, "--reason", "rotation"]).unwrap();
    }

    fn position(&self) -> String {
        let status: Value =
            serde_json::from_str(&self.desk.done(&["status", "--json"]).unwrap()).unwrap();
        status["position"].as_str().unwrap().to_owned()
    }

    /// One poll of the feed, passed on.
    fn proxied(&self) -> impl Fn(&Poll) -> Answer + Send + Sync + 'static {
        let (feed, join) = (self.desk.feed(), self.join.clone());
        move |poll| match polled(feed, &join, &poll.target) {
            Ok(answer) if answer.status == 200 => Answer::Body(answer.body),
            Ok(answer) => Answer::status(answer.status, b"refused"),
            Err(_) => Answer::Reset,
        }
    }

    /// The newest snapshot, far ahead, signed with the first feed key.
    fn stolen(&self) -> impl Fn(&Poll) -> Answer + Send + Sync + 'static {
        let (feed, join) = (self.desk.feed(), self.join.clone());
        let thief = self.first_key(KeyRole::Feed);
        move |_| {
            let newest = polled(feed, &join, "/v1/feed?audience=prod&wait=0").unwrap().body;
            let said = Feed::decode(&newest).unwrap();
            let far = resigned(said.batches[0], &thief, |batch| batch.header.epoch += 1_000);
            Answer::Body(body(&said.roots, &[far]))
        }
    }
}

fn polled(feed: SocketAddr, join: &str, target: &str) -> Result<Response, WireError> {
    let authorization = format!("Bearer {join}");
    let asked = request("GET", "feed", target, &[("authorization", authorization.as_str())]);
    Connection::open(feed)?.exchange(&asked)
}

/// `kid` of whoever signed a gatepass, and its `jti`.
fn kid(token: &str) -> String {
    member(token, 0, "kid")
}

fn jti(token: &str) -> String {
    member(token, 1, "jti")
}

fn member(token: &str, part: usize, name: &str) -> String {
    let part = payload(token.split('.').nth(part).unwrap()).unwrap();
    part[name].as_str().unwrap().to_owned()
}

#[test]
fn keys_are_exchanged_under_load_without_one_wrong_decision() {
    let site = Site::start();
    let mut gated = site.envoy(&site.desk.plugin().unwrap());
    let (old, revoked) = (site.gatepass().token, site.gatepass().token);
    gated.until(PATH, &old, "200");
    site.revoke("credential", &jti(&revoked));
    gated.until(PATH, &revoked, "401 revoked_credential");
    gated.until("/wipe", &old, "403 action_not_granted");
    let old_kid = kid(&old);
    let address = gated.envoy.address(IN).unwrap();
    let load = Load::start(address, PATH);
    load.expect(&old, "200");
    load.expect(&revoked, "401 revoked_credential");
    load.grow(200);

    // The feed's and the audit record's keys, one root each.
    for (version, role) in [(2, KeyRole::Feed), (3, KeyRole::Audit)] {
        let was = public_text(&site.first_key(role).public());
        let add = format!("{role}={}", site.new_key(role.as_str()));
        site.next_root(version, &["--add", &add, "--drop", &was]);
        gated.until_positions(&site.position());
        let killed = site.gatepass().token;
        site.revoke("credential", &jti(&killed));
        gated.until(PATH, &killed, "401 revoked_credential");
        load.expect(&killed, "401 revoked_credential");
        load.expect(&site.gatepass().token, "200");
        load.grow(200);
    }

    // The issuer's: what is issued is asked with at once, before and after the take-over.
    let add = format!("issuer={}", site.new_key("issuer"));
    site.next_root(4, &["--add", &add]);
    let start = Instant::now();
    let (mut by_old, mut by_new) = (0, 0);
    let new = loop {
        let token = site.gatepass().token;
        load.expect(&token, "200");
        load.grow(10);
        match kid(&token) == old_kid {
            true => by_old += 1,
            false => by_new += 1,
        }
        if by_new >= 10 {
            break token;
        }
        assert!(start.elapsed() < LONG, "the new key does not sign");
    };
    assert!(by_old > 0, "published before it signs");
    load.expect(&old, "200");
    load.grow(200);

    // The old one is revoked: what it signed is dead, what the new one signed is not.
    let killed = site.gatepass().token;
    site.revoke("credential", &jti(&killed));
    gated.until(PATH, &killed, "401 revoked_credential");
    load.forget("200");
    load.forget("401 revoked_credential");
    load.expect(&new, "200");
    load.expect(&killed, "401 revoked_credential");
    load.grow(50);
    site.revoke("key", &old_kid);
    for token in [&old, &revoked] {
        gated.until(PATH, token, "401 revoked_key");
        load.expect(token, "401 revoked_key");
    }
    load.grow(200);
    // A policy from before brings nothing back.
    let wider = site.desk.file("wider.yaml", &POLICY.replace("9s}\nhosts", "10s}\nhosts")).unwrap();
    site.desk.done(&["policy", "publish", &wider, "--reason", "second version"]).unwrap();
    site.desk.done(&["policy", "rollback", "1", "--reason", "back"]).unwrap();
    gated.until_positions(&site.position());
    load.grow(200);
    let (answers, wrong) = load.stop();
    println!(
        "{answers} answers, {} wrong; {by_old} issued by the old key, {by_new} by the new",
        wrong.len()
    );
    assert_eq!(wrong, Vec::<String>::new());
    gated.assert_no_crash();

    // Named no longer, it is unknown, also to a gate that starts now.
    site.next_root(5, &["--drop", &old_kid]);
    gated.until(PATH, &old, "401 unknown_key");
    gated.until(PATH, &new, "200");
    let mut young = site.envoy(&site.desk.plugin().unwrap());
    young.until(PATH, &new, "200");
    assert_eq!(young.ask(PATH, &old), "401 unknown_key");
    assert_eq!(young.ask(PATH, &revoked), "401 unknown_key");
}

#[test]
fn a_stolen_feed_key_is_undone_by_a_root_that_resets() {
    let site = Site::start();
    let feed = HostileFeed::start(site.proxied()).unwrap();
    let mut gated = Gated::launch(&site.desk.plugin().unwrap(), &feed);
    let (allowed, revoked) = (site.gatepass().token, site.gatepass().token);
    site.revoke("credential", &jti(&revoked));
    gated.until(PATH, &allowed, "200");
    gated.until(PATH, &revoked, "401 revoked_credential");

    // Today's state, far in the future, as whoever has the key signs it.
    feed.conduct(site.stolen());
    gated.until(PATH, &allowed, "401 wrong_epoch");

    // The control plane takes the gate for one of a newer database, and issues nothing.
    feed.conduct(site.proxied());
    let start = Instant::now();
    while site
        .agent
        .ask(&[("resource", AUDIENCE), ("authorization_details", DETAILS)])
        .unwrap()
        .status
        != 503
    {
        assert!(start.elapsed() < LONG, "it goes on");
        pause();
    }
    let was = public_text(&site.first_key(KeyRole::Feed).public());
    let add = format!("feed={}", site.new_key("feed"));
    site.next_root(2, &["--reset", "--add", &add, "--drop", &was]);
    gated.until(PATH, &allowed, "200");
    gated.until(PATH, &revoked, "401 revoked_credential");
    site.desk.done(&["open", "--reason", "it was a thief"]).unwrap();
    let fresh = site.gatepass().token;
    gated.until(PATH, &fresh, "200");

    // The thief does not come back.
    let refused = gated.stat("gatepass_batch_refusals.bad_signature");
    feed.conduct(site.stolen());
    gated.until_stat("gatepass_batch_refusals.bad_signature", |count| count > refused);
    assert_eq!(gated.ask(PATH, &fresh), "200");
    assert_eq!(gated.ask(PATH, &revoked), "401 revoked_credential");
    gated.assert_no_crash();
}

#[test]
fn an_envoy_that_was_told_of_the_second_root_believes_no_shorter_chain() {
    let site = Site::start();
    let plugin = site.desk.plugin().unwrap();
    let wary = PluginConfig { min_root_version: 2, hold_ms: 0, ..plugin.clone() };
    let token = site.gatepass().token;
    let (mut plain, mut wary) = (site.envoy(&plugin), site.envoy(&wary));
    plain.until(PATH, &token, "200");
    wary.until_stat("gatepass_batch_refusals.rollback", |count| count > 0);
    assert_eq!(wary.ask(PATH, &token), "503 not_ready");
    site.next_root(2, &[]);
    wary.until(PATH, &token, "200");
    plain.until(PATH, &token, "200");
}
