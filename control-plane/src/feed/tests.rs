//! A real TCP client against a real listener. Time is tokio's paused clock, so a wait of seconds
//! costs none, and nothing here sleeps.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};

use super::*;
use crate::fixture::{AGENT, NOW, ask, at, bundle, gate_of, grant, store};
use crate::publish::Changes;
use gatepass_engine::revocation::Kind;
use gatepass_engine::{Code, Gate, Milliseconds};

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn problem(&self) -> serde_json::Value {
        assert!(self.head.contains("content-type: application/problem+json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Gives a gate what came, roots first; how many batches that were.
    fn give(&self, gate: &mut Gate) -> usize {
        assert_eq!(self.status, 200);
        assert!(self.head.contains(Body::CONTENT_TYPE));
        let body = Body::decode(&self.body).unwrap();
        gate.take_roots(&body.roots, NOW).unwrap();
        for batch in &body.batches {
            gate.apply(batch, Milliseconds(0), at(NOW)).unwrap();
        }
        body.batches.len()
    }
}

async fn send(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Response {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: bytes[end + 4..].to_vec(),
    }
}

async fn fetch(address: SocketAddr, target: &str) -> Response {
    send(address, &format!("GET {target} HTTP/1.1\r\nhost: feed\r\nconnection: close\r\n\r\n"))
        .await
}

struct Desk {
    _dir: tempfile::TempDir,
    serving: Serving,
    gate: Gate,
}

/// A feed with one action of a staleness bound of 60 s, and a gate that has followed it.
async fn desk() -> Desk {
    let (dir, mut store) = store();
    store.publish(bundle(&["a"]), NOW).unwrap();
    let mut gate = gate_of(&store);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = Feed::serve(listener, store, Arc::new(|| NOW)).unwrap();
    let answer = fetch(serving.address(), "/v1/feed?audience=prod&wait=30").await;
    assert_eq!(answer.give(&mut gate), 1);
    Desk { _dir: dir, serving, gate }
}

impl Desk {
    fn after(&self, wait: u64) -> String {
        let position = self.gate.position().unwrap();
        format!("/v1/feed?audience=prod&after={position}&wait={wait}&formats=batch.v1,root.v1")
    }

    /// Starts a poll and comes back when it is held.
    async fn held(&self) -> tokio::task::JoinHandle<Response> {
        let (address, target) = (self.serving.address(), self.after(30));
        let poll = tokio::spawn(async move { fetch(address, &target).await });
        while self.serving.feed.polls.available_permits() == MAX_POLLS {
            tokio::task::yield_now().await;
        }
        assert!(!poll.is_finished());
        poll
    }
}

fn agent() -> Vec<Revoke> {
    vec![Revoke::new(Kind::Agent, AGENT, NOW)]
}

#[tokio::test(start_paused = true)]
async fn news_are_answered_at_once() {
    let mut desk = desk().await;
    let token = desk.serving.issue(&grant("a")).unwrap();
    assert_eq!(ask(&desk.gate, "a", &token), Ok(()));
    desk.serving.revoke(agent()).unwrap();
    desk.serving.publish(bundle(&["a", "b"])).unwrap();
    let began = Instant::now();
    let answer = fetch(desk.serving.address(), &desk.after(30)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(answer.give(&mut desk.gate), 2);
    assert_eq!(ask(&desk.gate, "a", &token), Err(Code::RevokedAgent));
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_news_is_held_until_there_are() {
    let mut desk = desk().await;
    let token = desk.serving.issue(&grant("a")).unwrap();
    let poll = desk.held().await;
    desk.serving.revoke(agent()).unwrap();
    assert_eq!(poll.await.unwrap().give(&mut desk.gate), 1);
    assert_eq!(ask(&desk.gate, "a", &token), Err(Code::RevokedAgent));
}

#[tokio::test(start_paused = true)]
async fn a_poll_hears_of_what_another_process_writes() {
    let mut desk = desk().await;
    let token = desk.serving.issue(&grant("a")).unwrap();
    let dir = desk.serving.with(|store, _| store.dir().to_owned());
    let poll = desk.held().await;
    Store::open(&dir).unwrap().revoke(agent(), NOW).unwrap();
    let began = Instant::now();
    assert_eq!(poll.await.unwrap().give(&mut desk.gate), 1);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(ask(&desk.gate, "a", &token), Err(Code::RevokedAgent));
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_cut_to_a_third_of_the_smallest_staleness_bound() {
    let desk = desk().await;
    let mut strict = bundle(&["a", "b"]);
    strict.actions[1].staleness = 9;
    for (bundle, asked, granted) in [
        (bundle(&["a"]), 600, 20),
        (bundle(&["a"]), 7, 7),
        (strict, 600, 3),
        (gatepass_engine::bundle::Bundle::default(), 600, 20),
    ] {
        let mut gate = desk.serving.with(|store, now| {
            store.publish(bundle, now).unwrap();
            gate_of(store)
        });
        let address = desk.serving.address();
        fetch(address, "/v1/feed?audience=prod").await.give(&mut gate);
        let position = gate.position().unwrap();
        let began = Instant::now();
        let target = format!("/v1/feed?audience=prod&after={position}&wait={asked}");
        let answer = fetch(address, &target).await;
        let waited = began.elapsed();
        let granted = Duration::from_secs(granted);
        assert!(waited >= granted && waited < granted + Duration::from_secs(1), "{waited:?}");
        assert_eq!(answer.give(&mut gate), 1, "a checkpoint");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_a_checkpoint_comes_at_once_and_is_shared() {
    let mut desk = desk().await;
    let first = fetch(desk.serving.address(), &desk.after(0)).await;
    let second = fetch(desk.serving.address(), &desk.after(0)).await;
    assert_eq!(first.body, second.body);
    assert_eq!(first.give(&mut desk.gate), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_ahead_of_the_database_is_told_that_it_is_an_old_copy() {
    let mut desk = desk().await;
    let here = desk.gate.position().unwrap();
    for ahead in [
        Position { sequence: here.sequence + 1, ..here },
        Position { epoch: here.epoch + 1, sequence: 1 },
    ] {
        let target = format!("/v1/feed?audience=prod&after={ahead}&wait=30");
        let answer = fetch(desk.serving.address(), &target).await;
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("retry-after: 1"));
        assert_eq!(answer.problem()["code"], "old_copy");
        assert!(answer.problem()["detail"].as_str().unwrap().contains("old copy"));
    }
    // Its twin: exactly where the database is.
    let answer = fetch(desk.serving.address(), &desk.after(0)).await;
    assert_eq!(answer.give(&mut desk.gate), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bad_parameter_is_named() {
    let desk = desk().await;
    for (query, parameter) in [
        ("", "audience"),
        ("audience=", "audience"),
        ("audience=dev", "audience"),
        ("audience=a%20b", "audience"),
        ("audience=%ff%", "audience"),
        ("audience=prod&audience=prod", "audience"),
        ("audience=prod&after=1", "after"),
        ("audience=prod&after=", "after"),
        ("audience=prod&after=01.1", "after"),
        ("audience=prod&after=1.1&after=1.1", "after"),
        ("audience=prod&after=1.99999999999999999999", "after"),
        ("audience=prod&wait=-1", "wait"),
        ("audience=prod&wait=1.5", "wait"),
        ("audience=prod&wait=", "wait"),
        ("audience=prod&wait=99999999999", "wait"),
        ("audience=prod&formats=batch.v9", "formats"),
        ("audience=prod&formats=", "formats"),
    ] {
        let answer = fetch(desk.serving.address(), &format!("/v1/feed?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.problem()["parameter"], parameter, "{query}");
    }
    let good = "/v1/feed?audience=prod&formats=root.v1,batch.v1,other.v2&later=1";
    assert_eq!(fetch(desk.serving.address(), good).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_served() {
    let desk = desk().await;
    let address = desk.serving.address();
    let health = fetch(address, "/healthz").await;
    let text = String::from_utf8_lossy(&health.body).into_owned();
    assert_eq!(health.status, 200);
    assert!(text.contains(&desk.serving.position().to_string()), "{text}");
    assert_eq!(fetch(address, "/v1/feed/").await.problem()["code"], "not_found");
    let post = "POST /v1/feed?audience=prod HTTP/1.1\r\nhost: feed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let post = send(address, post).await;
    assert_eq!(post.status, 405);
    assert_eq!(post.problem()["code"], "method_not_allowed");
}

#[tokio::test(start_paused = true)]
async fn headers_are_bounded_in_number_size_and_time() {
    let desk = desk().await;
    let address = desk.serving.address();
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    assert_eq!(send(address, &request).await.status, 431);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let began = Instant::now();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn polls_at_once_are_bounded() {
    let mut desk = desk().await;
    let most = u32::try_from(MAX_POLLS).unwrap();
    let feed = Arc::clone(&desk.serving.feed);
    let places = feed.polls.acquire_many(most).await.unwrap();
    let answer = fetch(desk.serving.address(), &desk.after(0)).await;
    assert_eq!((answer.status, &answer.problem()["code"]), (503, &"busy".into()));
    drop(places);
    let answer = fetch(desk.serving.address(), &desk.after(0)).await;
    assert_eq!(answer.give(&mut desk.gate), 1);
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let (_dir, store) = store();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = Feed::serve(listener, store, Arc::new(|| NOW)).err().unwrap();
    assert!(refused.to_string().contains("127.0.0.1"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn it_stops_with_its_handle() {
    let desk = desk().await;
    let address = desk.serving.address();
    let poll = desk.held().await;
    drop(desk);
    assert!(poll.await.is_err(), "the held poll is cut");
    assert!(TcpStream::connect(address).await.is_err());
}

/// Many followers, many steps: each ends where the feed is, and hears of every revocation.
#[tokio::test(start_paused = true)]
async fn followers_converge() {
    let desk = desk().await;
    let address = desk.serving.address();
    let (_, mut gates) = desk.serving.with(|store, _| {
        let gates: Vec<Gate> = (0..8).map(|_| gate_of(store)).collect();
        (store.position(), gates)
    });
    for round in 0..6 {
        let changes = Changes::revoke(vec![Revoke::new(Kind::Credential, &round.to_string(), NOW)]);
        desk.serving.with(|store, now| store.change(&changes, now)).unwrap();
        for (nth, gate) in gates.iter_mut().enumerate() {
            if nth % 3 == round % 3 {
                continue;
            }
            let after = gate.position().map(|at| format!("&after={at}")).unwrap_or_default();
            fetch(address, &format!("/v1/feed?audience=prod{after}")).await.give(gate);
            assert_eq!(gate.position(), Some(desk.serving.position()));
            for known in 0..=round {
                let table = gate.revocations().unwrap();
                assert!(table.hits(Kind::Credential, &known.to_string(), u64::MAX));
            }
        }
    }
}
