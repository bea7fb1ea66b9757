//! What a gate does while the control plane says whether a use is spent: what it asks, what it believes, how
//! long it waits, and what is left of those who go.

use gatepass::publish::Changes;
use gatepass_engine::UnixSeconds;
use gatepass_engine::bundle::Audit;
use gatepass_engine::redeem::{Document, Verdict};
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{HttpCall, Outcome, Request, Stream};
use gatepass_tests::kit::signed::{FEED, ISSUER, ROOT, STRANGER, grant};
use gatepass_tests::kit::site::{Site, order, verdict};
use serde_json::{Value, json};

/// A gatepass with one use, of this id.
fn once(site: &Site, jti: &str) -> String {
    once_of(site, jti, None)
}

fn once_of(site: &Site, jti: &str, agent: Option<&str>) -> String {
    let mut grant = grant("orders:read");
    grant.jti = jti.to_owned();
    grant.entries[0].uses = Some(1);
    if let Some(agent) = agent {
        grant.agent.id = agent.to_owned();
    }
    site.control.issue(&grant, site.now()).unwrap()
}

fn reading(token: &str) -> Request {
    order("GET", "/orders", Some(token))
}

/// A worker's request that waits, and its question.
struct Waits {
    stream: Stream,
    call: HttpCall,
}

fn begin(site: &mut Site, token: &str) -> Waits {
    let before: Vec<u32> = site.workers[0].http_calls().iter().map(|call| call.token).collect();
    let stream = site.workers[0].send(reading(token)).unwrap();
    assert!(matches!(site.workers[0].outcome(stream).unwrap(), Outcome::Paused));
    let calls = site.workers[0].http_calls();
    let call = calls.into_iter().find(|call| !before.contains(&call.token)).unwrap();
    Waits { stream, call }
}

impl Waits {
    fn hears(&self, site: &mut Site, status: &str, body: &[u8]) -> String {
        site.workers[0].answer_http_call(self.call.token, &[(":status", status)], body).unwrap();
        verdict(&site.workers[0].outcome(self.stream).unwrap())
    }

    fn told(&self, site: &mut Site, said: Verdict) -> String {
        self.told_with(site, said, |_, _| {})
    }

    fn told_with(
        &self,
        site: &mut Site,
        said: Verdict,
        change: impl FnOnce(&mut Document, &mut u8),
    ) -> String {
        let now = site.now();
        let body = site.control.verdict(&self.call.body, said, now, change).unwrap();
        self.hears(site, "200", &body)
    }

    fn question(&self) -> Value {
        serde_json::from_slice(&self.call.body).unwrap()
    }
}

const UNCONFIRMED: &str = "503 confirmation_failed";

#[test]
fn a_request_waits_for_its_use_and_goes_on_when_it_is_granted() {
    let mut site = Site::start(1).unwrap();
    let token = once(&site, "j1");
    let waits = begin(&mut site, &token);
    assert_eq!(waits.call.path(), "/v1/redeem");
    assert_eq!(waits.call.headers.text(":method").unwrap(), "POST");
    let question = waits.question();
    assert_eq!((&question["jti"], &question["kind"]), (&json!("j1"), &json!("use")));
    assert_eq!(question["exp"], site.now().0 + 300);
    assert!(question.get("record").is_none());
    let position = site.control.position();
    assert_eq!(question["position"], json!([position.epoch, position.sequence]));
    assert_eq!(waits.told(&mut site, Verdict::Granted), "allow");
    assert_eq!(site.workers[0].http_calls().len(), 0);
    // Known from now on: nobody is asked.
    assert_eq!(site.ask(0, reading(&token)).unwrap(), "401 replayed");
    assert_eq!(site.workers[0].http_calls().len(), 0);
    let other = once(&site, "j2");
    let waits = begin(&mut site, &other);
    assert_ne!(waits.question()["nonce"], question["nonce"]);
    assert_eq!(waits.told(&mut site, Verdict::Spent), "401 replayed");
    assert_eq!(site.ask(0, reading(&other)).unwrap(), "401 replayed");
    let third = once(&site, "j3");
    let waits = begin(&mut site, &third);
    assert_eq!(waits.told(&mut site, Verdict::Refused), UNCONFIRMED);
    // Nobody has said that it is spent.
    let waits = begin(&mut site, &third);
    assert_eq!(waits.told(&mut site, Verdict::Granted), "allow");
}

#[test]
fn a_verdict_that_is_not_the_control_planes_own_word_on_this_question_lets_nothing_on() {
    type Change = fn(&mut Document, &mut u8);
    let forged: [(&str, Change); 11] = [
        ("a stranger's key", |_, key| *key = STRANGER),
        ("the feed's key", |_, key| *key = FEED),
        ("the issuer's key", |_, key| *key = ISSUER),
        ("the root's key", |_, key| *key = ROOT),
        ("another gatepass", |said, _| said.jti = "j9".to_owned()),
        ("another question", |said, _| said.nonce = "0".repeat(32)),
        ("another environment", |said, _| said.environment = "dev".to_owned()),
        ("an old one", |said, _| said.at = UnixSeconds(said.at.0 - 61)),
        ("one of the future", |said, _| said.at = UnixSeconds(said.at.0 + 31)),
        ("what is said of a record", |said, _| said.verdict = Verdict::Stored),
        ("a long one", |said, _| said.environment = "e".repeat(9_000)),
    ];
    let mut site = Site::start(1).unwrap();
    for (nth, (name, change)) in forged.into_iter().enumerate() {
        let token = once(&site, &format!("j-{nth}"));
        let waits = begin(&mut site, &token);
        assert_eq!(waits.told_with(&mut site, Verdict::Granted, change), UNCONFIRMED, "{name}");
        let twin = begin(&mut site, &token);
        assert_eq!(twin.told(&mut site, Verdict::Granted), "allow", "{name}");
    }
    assert_eq!(site.metric("gatepass_verdicts_refused"), 11);
    for body in [&b""[..], b"{}", b"\xff\xfe", b"granted", &[b'['; 9_000]] {
        let token = once(&site, &format!("body-{}-{}", body.len(), body.first().unwrap_or(&0)));
        let waits = begin(&mut site, &token);
        assert_eq!(waits.hears(&mut site, "200", body), UNCONFIRMED);
    }
}

#[test]
fn a_verdict_is_good_for_one_request() {
    let mut site = Site::start(1).unwrap();
    let token = once(&site, "j1");
    let first = begin(&mut site, &token);
    let now = site.now();
    let said = site.control.verdict(&first.call.body, Verdict::Granted, now, |_, _| {}).unwrap();
    let second = begin(&mut site, &token);
    assert_eq!(first.hears(&mut site, "200", &said), "allow");
    assert_eq!(second.hears(&mut site, "200", &said), UNCONFIRMED, "the other's");
}

#[test]
fn what_is_revoked_while_its_request_waits_is_denied_although_it_is_granted() {
    let mut site = Site::start(1).unwrap();
    let (dead, alive) = (once(&site, "j1"), once(&site, "j2"));
    let (dead, alive) = (begin(&mut site, &dead), begin(&mut site, &alive));
    site.revoke(Kind::Credential, "j1").unwrap();
    assert_eq!(dead.told(&mut site, Verdict::Granted), "401 revoked_credential");
    assert_eq!(alive.told(&mut site, Verdict::Granted), "allow");
}

#[test]
fn a_question_without_an_answer_is_asked_again_under_the_same_nonce_until_its_time_is_over() {
    let mut site = Site::start(1).unwrap();
    let token = once(&site, "j1");
    let waits = begin(&mut site, &token);
    for status in ["503", "504", "500", "429"] {
        let call = site.workers[0].http_calls()[0].clone();
        site.workers[0].answer_http_call(call.token, &[(":status", status)], b"").unwrap();
        assert!(site.workers[0].http_calls().is_empty(), "not at once");
        site.advance(300);
        site.tick().unwrap();
        let again = &site.workers[0].http_calls()[0];
        assert_eq!(again.body, waits.call.body, "after {status}");
    }
    let call = site.workers[0].http_calls()[0].clone();
    let last = Waits { stream: waits.stream, call };
    assert_eq!(last.told(&mut site, Verdict::Granted), "allow");
    // Another that nobody ever answers.
    let token = once(&site, "j2");
    let waits = begin(&mut site, &token);
    site.advance(4_900);
    site.tick().unwrap();
    assert!(matches!(site.workers[0].outcome(waits.stream).unwrap(), Outcome::Paused));
    site.advance(1_200);
    site.tick().unwrap();
    assert_eq!(verdict(&site.workers[0].outcome(waits.stream).unwrap()), UNCONFIRMED);
    // A control plane that takes no such question is not asked again.
    for status in ["403", "400", "404"] {
        let token = once(&site, &format!("refused-{status}"));
        let waits = begin(&mut site, &token);
        assert_eq!(waits.hears(&mut site, status, b""), UNCONFIRMED);
    }
}

#[test]
fn a_client_that_leaves_leaves_nothing_and_an_answer_to_it_is_nobodys() {
    let mut site = Site::start(1).unwrap();
    let token = once(&site, "j1");
    // More than may wait at once, in all and of one agent.
    for _ in 0..2_100 {
        let waits = begin(&mut site, &token);
        site.workers[0].finish(waits.stream).unwrap();
        let body = site.control.verdict(&waits.call.body, Verdict::Granted, site.now(), |_, _| {});
        let call = waits.call.token;
        site.workers[0].answer_http_call(call, &[(":status", "200")], &body.unwrap()).unwrap();
    }
    // Whether it is spent the gate has not heard from anybody who waited.
    let waits = begin(&mut site, &token);
    assert_eq!(waits.told(&mut site, Verdict::Granted), "allow");
}

#[test]
fn one_agent_does_not_take_all_places_and_what_finds_none_is_refused_at_once() {
    let mut site = Site::start(1).unwrap();
    let mut waiting = Vec::new();
    for nth in 0..256 {
        let token = once(&site, &format!("j-{nth}"));
        waiting.push(begin(&mut site, &token));
    }
    let more = once(&site, "one-more");
    assert_eq!(site.ask(0, reading(&more)).unwrap(), UNCONFIRMED);
    let other = once_of(&site, "other", Some("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e60"));
    let other = begin(&mut site, &other);
    assert_eq!(other.told(&mut site, Verdict::Granted), "allow");
    let first = waiting.remove(0);
    assert_eq!(first.told(&mut site, Verdict::Granted), "allow");
    let waits = begin(&mut site, &more);
    assert_eq!(waits.told(&mut site, Verdict::Granted), "allow", "a place was given back");
}

#[test]
fn a_record_is_stored_before_its_request_goes_on() {
    let mut site = Site::start(1).unwrap();
    let mut bundle = site.control.publisher().index().bundle().clone();
    let read = bundle.actions.iter_mut().find(|action| action.name == "orders:read").unwrap();
    read.audit = Audit::Confirmed;
    let now = site.now();
    let delta = site.control.delta(&Changes::bundle(bundle), now).unwrap();
    site.hear(&[delta]).unwrap();
    let token = site.control.issue(&grant("orders:read"), now).unwrap();
    let request = order("GET", "/orders?secret=1", Some(&token));
    for said in [Verdict::Stored, Verdict::Refused, Verdict::Granted] {
        let stream = site.workers[0].send(request.clone()).unwrap();
        let call = site.workers[0].http_calls()[0].clone();
        let waits = Waits { stream, call };
        let question = waits.question();
        assert_eq!(question["kind"], "audit");
        assert_eq!(question["record"]["route"], "/orders");
        assert!(!question["record"].to_string().contains("secret"), "neither path nor query");
        assert_eq!(question["record"]["action"], "orders:read");
        let expected = if said == Verdict::Stored { "allow" } else { UNCONFIRMED };
        assert_eq!(waits.told(&mut site, said), expected);
    }
}

#[test]
fn nothing_is_asked_in_shadow_mode() {
    let mut site = Site::with(1, |configuration| configuration["mode"] = json!("shadow")).unwrap();
    let token = once(&site, "j1");
    for _ in 0..3 {
        assert_eq!(site.ask(0, reading(&token)).unwrap(), "allow");
    }
    assert!(site.workers[0].http_calls().is_empty());
}

#[test]
fn an_open_request_is_not_asked_about_again_when_the_policy_changes() {
    let mut site = Site::start(1).unwrap();
    let token = once(&site, "j1");
    let waits = begin(&mut site, &token);
    assert_eq!(waits.told(&mut site, Verdict::Granted), "allow");
    let bundle = site.control.publisher().index().bundle().clone();
    let now = site.now();
    let delta = site.control.delta(&Changes::bundle(bundle), now).unwrap();
    site.hear(&[delta]).unwrap();
    for _ in 0..3 {
        site.advance(50);
        site.tick().unwrap();
    }
    assert!(site.workers[0].http_calls().is_empty());
    assert_eq!(verdict(&site.workers[0].outcome(waits.stream).unwrap()), "allow");
}
