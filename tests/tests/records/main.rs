//! Decisions on record: a real Envoy, the real control plane, and the commands that operators run.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod cost;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gatepass::decisions::{DecisionView, Gap, Standing};
use gatepass_envoy::Envoy;
use gatepass_tests::kit::edge::{Edge, ask};
use gatepass_tests::kit::wire::{Connection, Response, request};
use gatepass_tests::kit::world::until;
use serde_json::Value;

/// Edge's, with inputs of each kind of record; the state may be as old as this test takes.
const POLICY: &str = "\
actions:
  orders:read: {risk: low, staleness: 900s}
  orders:list: {risk: medium, staleness: 900s}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
        inputs:
          count: {type: integer, query: count}
          account: {type: text, query: account, record: hash}
          label: {type: text, query: label, record: value}
          note: {type: text, query: note}
      - match: GET /lists
        action: orders:list
      - match: GET /healthz
        public: true
";
const HOST: &str = "orders.example";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SOON: Duration = Duration::from_secs(60);

fn policy(edge: &Edge) {
    let file = edge.desk.file("records.yaml", POLICY).unwrap();
    edge.desk.done(&["policy", "publish", &file, "--reason", "inputs"]).unwrap();
}

fn start() -> (Edge, Envoy) {
    let edge = Edge::start().unwrap();
    policy(&edge);
    let envoy = edge.envoy().unwrap();
    let token = edge.reading().unwrap();
    until(SOON, || ask(&envoy, "/orders", Some(&token)), |answer| answer.status == 200).unwrap();
    (edge, envoy)
}

fn send(connection: &mut Connection, path: &str, token: Option<&str>) -> Response {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("traceparent", TRACE), ("cookie", "session=s3cret-cookie")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    connection.exchange(&request("GET", HOST, path, &headers)).unwrap()
}

/// The id that a denied caller is told.
fn denied_id(answer: &Response) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body.get("decision_id").and_then(Value::as_str).unwrap().to_owned()
}

fn records(edge: &Edge) -> Vec<DecisionView> {
    let said = edge.desk.done(&["decisions", "--limit", "1000000", "--output", "jsonl"]).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn standing(edge: &Edge) -> Standing {
    let said = edge.desk.done(&["decisions", "--gaps", "--verify", "--json"]).unwrap();
    serde_json::from_str(&said).unwrap()
}

/// How often each id stands in the records; when all of these do, or the time is over.
fn found(edge: &Edge, wanted: &[String]) -> BTreeMap<String, usize> {
    let start = Instant::now();
    loop {
        let mut times = BTreeMap::new();
        for record in records(edge) {
            *times.entry(record.id).or_insert(0) += 1;
        }
        if wanted.iter().all(|id| times.contains_key(id)) || start.elapsed() > SOON {
            return times;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The first look that is as wanted, or else the last.
fn soon<T>(look: impl Fn() -> T, is: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let seen = look();
        if is(&seen) || start.elapsed() > SOON {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The ids of allowed requests, as the upstream was told them.
fn allowed_ids(edge: &Edge) -> Vec<String> {
    let heads = edge.upstream.take();
    heads.iter().flat_map(|request| request.header("x-gatepass-decision-id")).collect()
}

#[test]
fn every_decision_is_found_by_its_id_exactly_once_and_says_nothing_secret() {
    let (edge, envoy) = start();
    let token = edge.reading().unwrap();
    let mut connections: Vec<Connection> =
        (0..4).map(|_| Connection::open(envoy.address("in").unwrap()).unwrap()).collect();
    let mut ids = Vec::new();
    for nth in 0..240 {
        let connection = &mut connections[nth % 4];
        match nth % 4 {
            0 | 1 => {
                let path = format!(
                    "/orders?count={nth}&account=s3cret-account&note=s3cret-note&label=office"
                );
                assert_eq!(send(connection, &path, Some(&token)).status, 200);
            }
            2 => {
                let answer = send(connection, "/lists", Some(&token));
                assert_eq!(answer.verdict(), "403 action_not_granted");
                ids.push(denied_id(&answer));
            }
            _ => {
                let answer = send(connection, "/nowhere/s3cret-path?x=s3cret-query", Some(&token));
                assert_eq!(answer.verdict(), "403 no_route");
                ids.push(denied_id(&answer));
            }
        }
    }
    let denied = ids.clone();
    ids.extend(allowed_ids(&edge));
    assert!(ids.len() >= 240);
    let times = found(&edge, &ids);
    for id in &ids {
        assert_eq!(times.get(id), Some(&1), "{id}");
    }
    // And nothing else of a gatepass's holder: none is made up.
    let all = records(&edge);
    let of_agent = all.iter().filter(|record| record.agent.is_some()).count();
    assert_eq!(of_agent, ids.len());
    let standing = standing(&edge);
    assert!(standing.gaps.is_empty(), "{:?}", standing.gaps);
    assert!(
        standing.reporters.iter().all(|one| one.chain.as_ref().unwrap().ends_with("as they came"))
    );
    assert_eq!(standing.reporters.len(), 2, "each worker tells its own");

    // What is told of one.
    let one = all
        .iter()
        .find(|record| record.code == "decided" && record.inputs.contains_key("count"))
        .unwrap();
    assert_eq!(one.agent.as_deref(), Some(edge.agent.id.as_str()));
    assert_eq!(
        (one.action.as_deref(), one.route.as_deref()),
        (Some("orders:read"), Some("/orders"))
    );
    assert_eq!(one.inputs.keys().collect::<Vec<_>>(), ["account", "count", "label"]);
    assert_eq!(one.inputs.get("label"), Some(&Value::from("office")));
    assert!(one.inputs.get("account").unwrap().get("hash").is_some());
    assert_eq!(one.traceparent.as_deref(), Some(TRACE));
    assert!(one.request_id.is_some() && one.task.is_some() && one.owner.is_some());

    // By the commands of an operator.
    let id = denied.first().unwrap();
    let said = edge.desk.done(&["explain", id]).unwrap();
    for part in [
        id.as_str(),
        "deny: action_not_granted",
        &edge.agent.id,
        "next ",
        "No entry of the gatepass",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let absent = edge.desk.run(&["explain", "0190a1b2-c3d4-7e5f-8a6b-0011223344ff"]).unwrap();
    assert!(!absent.ok && absent.text.contains("there is no record"), "{}", absent.text);
    let task = edge.desk.done(&["task", "show", one.task.as_ref().unwrap()]).unwrap();
    assert!(task.contains(&one.id) && task.contains("decisions"), "{task}");
    let filtered = ["decisions", "--code", "no_route", "--limit", "1000", "--output", "jsonl"];
    assert_eq!(edge.desk.done(&filtered).unwrap().lines().count(), 60);
    let since =
        ["decisions", "--since", "1h", "--outcome", "deny", "--limit", "1000", "--output", "ocsf"];
    assert_eq!(
        edge.desk.done(&since).unwrap().lines().filter(|line| line.contains("6003")).count(),
        120
    );
    let spans = edge.desk.done(&["decisions", "--limit", "1000", "--output", "otlp"]).unwrap();
    assert!(spans.lines().count() >= 240 && spans.contains("0af7651916cd43dd8448eb211c80319c"));

    // Nothing of what must not be kept is, wherever in the files.
    let mut kept = said + &task;
    for record in &all {
        kept.push_str(&serde_json::to_string(record).unwrap());
    }
    for name in ["decisions.db", "decisions.db-wal"] {
        let bytes = std::fs::read(edge.desk.dir().join(name)).unwrap_or_default();
        kept.push_str(&String::from_utf8_lossy(&bytes));
    }
    for secret in token.split('.').chain(["s3cret", "session="]) {
        assert!(!kept.contains(secret), "{secret}");
    }
    assert!(kept.contains("office"), "the twin: what the policy shows is there");
}

#[test]
fn those_without_a_gatepass_have_a_share_and_the_rest_is_counted() {
    let (edge, envoy) = start();
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    let mut ids = Vec::new();
    for _ in 0..600 {
        let answer = send(&mut connection, "/orders", None);
        assert_eq!(answer.verdict(), "401 no_credential");
        ids.push(denied_id(&answer));
        send(&mut connection, "/healthz", None);
    }
    let sum = |of: &Standing, why: &str| {
        of.counted.iter().filter(|one| one.why == why).map(|one| one.count).sum::<u64>()
    };
    let own = || records(&edge).iter().filter(|one| one.code == "no_credential").count() as u64;
    let look = || (own(), standing(&edge));
    let (own, told) = soon(look, |(own, told)| own + sum(told, "unverified") == 600);
    assert!((1..300).contains(&own), "{own}");
    assert!(sum(&told, "open") >= 600);
    assert!(told.gaps.is_empty());
}

#[test]
fn a_control_plane_that_is_gone_fails_no_request_and_hears_of_all_later() {
    let (mut edge, envoy) = start();
    let token = edge.reading().unwrap();
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    let ask_for = |connection: &mut Connection, time: Duration| {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < time || count < 200 {
            assert_eq!(send(connection, "/orders?count=1", Some(&token)).status, 200);
            count += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        count
    };
    let mut asked = ask_for(&mut connection, Duration::from_millis(500));
    edge.desk.kill();
    asked += ask_for(&mut connection, Duration::from_secs(4));
    edge.desk.serve().unwrap();
    asked += ask_for(&mut connection, Duration::from_millis(500));
    let ids = allowed_ids(&edge);
    assert!(ids.len() >= asked);
    let times = found(&edge, &ids);
    let wrong: Vec<_> = ids.iter().filter(|id| times.get(*id) != Some(&1)).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), ids.len());
    assert!(standing(&edge).gaps.is_empty());
    assert!(envoy.wasm_stat("gatepass_record_posts_failed").unwrap_or(0) > 0);
    assert_eq!(envoy.wasm_stat("gatepass_records_dropped").unwrap_or(0), 0);
}

#[test]
fn past_the_rings_bound_the_gap_is_counted_and_shown_and_no_request_fails() {
    let (mut edge, envoy) = start();
    let token = edge.reading().unwrap();
    edge.desk.kill();
    let address = envoy.address("in").unwrap();
    let dropped = || envoy.wasm_stat("gatepass_records_dropped").unwrap_or(0);
    // Many requests at a time: each is answered before more are sent.
    let one = request("GET", HOST, "/orders", &[("authorization", &format!("Bearer {token}"))]);
    let mut connection = Connection::open(address).unwrap();
    let mut asked = 0_u64;
    while dropped() == 0 {
        assert!(asked < 100_000, "the ring has no end");
        for _ in 0..50 {
            connection.send(&one.repeat(20)).unwrap();
            for _ in 0..20 {
                assert_eq!(connection.receive().unwrap().status, 200);
                asked += 1;
            }
        }
    }
    edge.desk.serve().unwrap();
    let sum = |gaps: &[Gap]| {
        let dropped = gaps.iter().filter(|gap| gap.kind == "dropped");
        dropped.map(|gap| u64::try_from(gap.count).unwrap()).sum::<u64>()
    };
    let look = || (records(&edge).len() as u64, standing(&edge).gaps);
    let wanted = allowed_ids(&edge).len() as u64;
    assert!(wanted >= asked);
    let (told, gaps) = soon(look, |(told, gaps)| told + sum(gaps) >= wanted);
    assert_eq!(told + sum(&gaps), wanted, "each is told or counted");
    assert!(sum(&gaps) > 0 && gaps.iter().all(|gap| gap.kind == "dropped"), "{gaps:?}");
    assert_eq!(dropped(), sum(&gaps));
    let said = edge.desk.done(&["decisions", "--gaps"]).unwrap();
    assert!(said.contains("dropped"), "{said}");
    println!("{asked} requests without a control plane: {told} told later, {} dropped", sum(&gaps));
}
