//! What gates tell: taken whole or not at all, once, in order; shown to operators and to nobody else.

use gatepass_engine::record::{
    Bearer, CONTENT_TYPE, Counted, Decision, Entry, Hash, Header, Outcome, Reporter, Scratch,
    Shown, Why, append, chain,
};
use serde_json::{Value, json};

use crate::kit::{Answer, Plan, Plane, python, send};

const AGENT: &str = "agent:0190a1b2-0000-7000-8000-000000000001";

/// What one VM has told so far.
struct Teller {
    vm: u64,
    next: u64,
    head: Hash,
}

impl Teller {
    const fn new(vm: u64) -> Self {
        Self { vm, next: 0, head: [0; 32] }
    }

    /// The next batch, as an honest VM makes it.
    fn batch(&mut self, entries: &[Entry<'_>]) -> Vec<u8> {
        let reporter = Reporter {
            vm: self.vm,
            envoy: "00000000000000ee",
            audience: "prod",
            environment: "prod",
            version: "0.1.0",
            shadow: false,
        };
        let mut bytes = Vec::new();
        entries
            .iter()
            .for_each(|entry| assert!(append(&mut bytes, entry, &mut Scratch::default())));
        let who = postcard::to_allocvec(&reporter).unwrap();
        let hash = sha2::Digest::finalize(sha2::Digest::chain_update(
            chain(&self.head, self.next, &who),
            &bytes,
        ))
        .into();
        let count = u32::try_from(entries.len()).unwrap();
        let header = Header { reporter, first: self.next, count, prev: self.head, hash };
        self.next += u64::from(count);
        self.head = hash;
        [postcard::to_allocvec(&header).unwrap(), bytes].concat()
    }
}

fn id(nth: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([nth; 16])
}

fn decision(nth: u8, outcome: Outcome, code: &'static str) -> Entry<'static> {
    Entry::Decision(Box::new(Decision {
        id: *id(nth).as_bytes(),
        at: 1_900_000_000_000 + u64::from(nth) * 1_000,
        outcome,
        code,
        policy: None,
        position: None,
        age: Some(12),
        bearer: Some(Bearer {
            agent: AGENT,
            owner: "user:corp/ada",
            subject: Some("user:corp/bob"),
            through: vec!["agent:0190a1b2-0000-7000-8000-000000000002"],
            task: "task-7",
            jti: "jti-7",
        }),
        action: Some("orders:create"),
        audience: Some("https://orders.example"),
        method: Some("POST"),
        host: Some("orders.example"),
        route: Some("/orders"),
        call: None,
        inputs: vec![("amount", Shown::Value("5.0000 EUR")), ("account", Shown::Hash([7; 16]))],
        workload: None,
        certificate: None,
        request: Some("r-1"),
        trace: None,
        rules: Vec::new(),
        shadow_rules: Vec::new(),
    }))
}

fn allow(nth: u8) -> Entry<'static> {
    decision(nth, Outcome::Allow, "decided")
}

fn post(plane: &Plane, batch: &[u8]) -> Answer {
    let headers = [("content-type", CONTENT_TYPE)];
    send(plane.addresses().feed, "POST", "/v1/decisions", &headers, batch)
}

fn status(plane: &Plane, path: &str) -> u16 {
    plane.admin_as(&plane.admin, "GET", path, &Value::Null).status
}

fn metrics(plane: &Plane) -> String {
    send(plane.addresses().metrics, "GET", "/metrics", &[], b"").text()
}

/// What somebody who has the file can do.
fn sqlite(file: &std::path::Path, script: &str) {
    let program = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        db.executescript(sys.argv[2])\n\
        db.commit()";
    let output = python().args(["-c", program]).arg(file).arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn ids(page: &Value) -> Vec<String> {
    let text = |decision: &Value| decision["id"].as_str().unwrap().to_owned();
    page["decisions"].as_array().unwrap().iter().map(text).collect()
}

fn named(nths: &[u8]) -> Vec<String> {
    nths.iter().map(|nth| id(*nth).to_string()).collect()
}

fn gaps(plane: &Plane) -> Vec<(String, u64, u64)> {
    let standing = plane.get("/v1/decision-reporters");
    let number = |gap: &Value, name: &str| gap[name].as_u64().unwrap();
    let one = |gap: &Value| {
        (gap["kind"].as_str().unwrap().to_owned(), number(gap, "sequence"), number(gap, "count"))
    };
    standing["gaps"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn what_is_told_is_found_and_explained() {
    let plane = Plane::new();
    let mut vm = Teller::new(1);
    let denied = decision(2, Outcome::Deny, "constraint_violated");
    assert_eq!(post(&plane, &vm.batch(&[allow(1), denied])).status, 200);
    assert_eq!(post(&plane, &vm.batch(&[allow(3)])).status, 200);
    let all = plane.get("/v1/decisions");
    assert_eq!(ids(&all), named(&[3, 2, 1]), "the newest first");
    assert_eq!(gaps(&plane), []);
    let checks: [(&str, &[u8]); 12] = [
        ("code=constraint_violated", &[2]),
        ("code=expired", &[]),
        ("outcome=allow", &[3, 1]),
        ("agent=agent%3A0190a1b2-0000-7000-8000-000000000001&limit=1", &[3]),
        ("agent=agent%3Aother", &[]),
        ("action=orders%3Acreate", &[3, 2, 1]),
        ("task=task-7", &[3, 2, 1]),
        ("task=task-8", &[]),
        ("envoy=00000000000000ee", &[3, 2, 1]),
        ("since=1900000002", &[3, 2]),
        ("until=2030-03-17T17%3A46%3A42Z", &[1]),
        ("after=0", &[1, 2, 3]),
    ];
    for (query, expected) in checks {
        let page = plane.get(&format!("/v1/decisions?{query}"));
        assert_eq!(ids(&page), named(expected), "{query}");
    }
    for wrong in ["outcome=maybe", "since=yesterday", "limit=x", "agents=x", "after=1&before=2"] {
        assert_eq!(status(&plane, &format!("/v1/decisions?{wrong}")), 400, "{wrong}");
    }
    // Page by page nothing is told twice or left out.
    let first = plane.get("/v1/decisions?limit=2");
    let second = plane.get(&format!("/v1/decisions?limit=2&before={}", first["older"]));
    assert_eq!([ids(&first), ids(&second)].concat(), named(&[3, 2, 1]));
    assert!(second["older"].is_null());
    let one = plane.get(&format!("/v1/decisions/{}", id(2)));
    let record = &one["records"][0];
    assert_eq!(record["inputs"]["amount"], "5.0000 EUR");
    assert_eq!(record["inputs"]["account"]["hash"], "07".repeat(16));
    assert_eq!(record["subject"], "user:corp/bob");
    assert_eq!(record["at"], "2030-03-17T17:46:42.000Z");
    assert_eq!(record["verified"], false, "nobody has proved who tells it");
    assert!(one["meaning"].as_str().unwrap().contains("outside the constraints"));
    assert!(one["next"].as_str().unwrap().contains("Stay inside"));
    assert_eq!(status(&plane, &format!("/v1/decisions/{}", id(9))), 404);
    assert_eq!(status(&plane, "/v1/decisions/x"), 400);
    let task = plane.get("/v1/tasks/task-7/decisions");
    assert_eq!(ids(&task), named(&[1, 2, 3]), "in their order");
    assert_eq!(status(&plane, "/v1/tasks/task-8/decisions"), 404);
}

#[test]
fn only_an_operator_reads_them() {
    let plane = Plane::new();
    for path in ["/v1/decisions", "/v1/decision-reporters", "/v1/tasks/task-7/decisions"] {
        let answer = send(plane.addresses().admin, "GET", path, &[], b"");
        assert_eq!(answer.status, 401, "{path}");
        // What gates speak to shows nothing.
        assert!(send(plane.addresses().feed, "GET", path, &[], b"").status >= 404, "{path}");
    }
    // And only the feed's listener takes them.
    let batch = Teller::new(1).batch(&[allow(1)]);
    let headers = [("content-type", CONTENT_TYPE)];
    let answer = send(plane.addresses().admin, "POST", "/v1/decisions", &headers, &batch);
    assert_eq!(answer.status, 405);
}

#[test]
fn a_batch_that_is_told_again_is_taken_once() {
    let plane = Plane::new();
    let mut vm = Teller::new(1);
    let (first, second) = (vm.batch(&[allow(1)]), vm.batch(&[allow(2)]));
    for batch in [&first, &first, &second, &first, &second] {
        assert_eq!(post(&plane, batch).status, 200);
    }
    assert_eq!(ids(&plane.get("/v1/decisions")), named(&[2, 1]));
    assert_eq!(gaps(&plane), []);
}

#[test]
fn what_is_left_out_put_in_or_told_otherwise_is_noticed() {
    let plane = Plane::new();
    let mut vm = Teller::new(1);
    post(&plane, &vm.batch(&[allow(1), allow(2)]));
    // Told again, and otherwise: what was told stays.
    let mut liar = Teller::new(1);
    assert_eq!(
        post(&plane, &liar.batch(&[allow(1), decision(2, Outcome::Deny, "stale")])).status,
        409
    );
    assert_eq!(gaps(&plane), [("altered".to_owned(), 0, 2)]);
    let kept = plane.get(&format!("/v1/decisions/{}", id(2)));
    assert_eq!(kept["records"].as_array().unwrap().len(), 1);
    assert_eq!(kept["records"][0]["outcome"], "allow");
    // One batch is left out.
    let _never_told = vm.batch(&[allow(3), allow(4), allow(5)]);
    assert_eq!(post(&plane, &vm.batch(&[allow(6)])).status, 200);
    assert_eq!(gaps(&plane)[0], ("missing".to_owned(), 2, 3));
    // One that does not join on to what was told.
    vm.head = [9; 32];
    assert_eq!(post(&plane, &vm.batch(&[allow(7)])).status, 200);
    assert_eq!(gaps(&plane)[0], ("broken".to_owned(), 6, 0));
    // The gate's own word that it had no room.
    let why = Why::Dropped;
    let dropped =
        Counted { why, outcome: Outcome::Allow, code: "decided", count: 40, from: 1, to: 2 };
    post(&plane, &vm.batch(&[Entry::Counted(dropped)]));
    assert_eq!(gaps(&plane)[0], ("dropped".to_owned(), 7, 40));
    assert_eq!(gaps(&plane).len(), 4);
    // The twin: another VM that leaves nothing out.
    let mut other = Teller::new(2);
    post(&plane, &other.batch(&[allow(1)]));
    post(&plane, &other.batch(&[allow(2)]));
    assert_eq!(gaps(&plane).len(), 4);
    assert!(metrics(&plane).contains("gatepass_records_total{kind=\"gap\"} 3"));
}

#[test]
fn of_what_is_no_batch_nothing_is_taken() {
    let plane = Plane::new();
    let good = Teller::new(1).batch(&[allow(1), allow(2)]);
    for at in [0, 8, 20, good.len() / 2, good.len() - 1] {
        let mut other = good.clone();
        other[at] ^= 1;
        assert_eq!(post(&plane, &other).status, 400, "bit of {at}");
    }
    assert_eq!(post(&plane, &good[..good.len() - 1]).status, 400);
    assert_eq!(post(&plane, b"").status, 400);
    let feed = plane.addresses().feed;
    assert_eq!(send(feed, "POST", "/v1/decisions", &[], &good).status, 415);
    let long = vec![0; 256 * 1024 + 1];
    assert_eq!(post(&plane, &long).status, 413);
    assert_eq!(ids(&plane.get("/v1/decisions")), Vec::<String>::new());
    // The twin.
    assert_eq!(post(&plane, &good).status, 200);
    assert_eq!(ids(&plane.get("/v1/decisions")).len(), 2);
}

#[test]
fn who_follows_the_feed_may_tell_and_nobody_else() {
    let plane = Plane::with(&Plan { followers: "join_token", ..Plan::default() });
    let batch = Teller::new(1).batch(&[allow(1)]);
    assert_eq!(post(&plane, &batch).status, 401);
    let token = gatepass::desk::operators::new_secret("gpj_").unwrap().to_string();
    let digest = gatepass::desk::operators::digest_text(&token);
    let joins = json!({ "fleet": "edge", "expires_at": plane.now() + 86_400, "digest": digest });
    plane.change("/v1/join-tokens", joins);
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", CONTENT_TYPE), ("authorization", bearer.as_str())];
        send(plane.addresses().feed, "POST", "/v1/decisions", &headers, &batch).status
    };
    assert_eq!(with(&format!("{token}x")), 401);
    assert_eq!(ids(&plane.get("/v1/decisions")), Vec::<String>::new());
    assert_eq!(with(&token), 200);
    let all = plane.get("/v1/decisions");
    assert_eq!(ids(&all), named(&[1]));
    assert_eq!(
        (&all["decisions"][0]["node"], &all["decisions"][0]["verified"]),
        (&"edge".into(), &false.into())
    );
}

#[test]
fn they_outlive_a_restart_and_what_is_changed_on_the_disk_is_found() {
    let mut plane = Plane::new();
    let mut vm = Teller::new(1);
    post(&plane, &vm.batch(&[allow(1), allow(2)]));
    plane.stop();
    plane.start();
    post(&plane, &vm.batch(&[allow(3)]));
    assert_eq!(ids(&plane.get("/v1/decisions")), named(&[3, 2, 1]));
    assert_eq!(gaps(&plane), []);
    let chain = |plane: &Plane| {
        let standing = plane.get("/v1/decision-reporters?verify=true");
        standing["reporters"][0]["chain"].as_str().unwrap().to_owned()
    };
    assert_eq!(chain(&plane), "2 batches as they came");
    let file = plane.dir().join("decisions.db");
    for (statement, found) in [
        (
            "UPDATE entries SET entry = (SELECT entry FROM entries WHERE sequence = 0) WHERE sequence = 1",
            "not as it came",
        ),
        ("DELETE FROM entries WHERE sequence = 1", "not there"),
    ] {
        sqlite(&file, &format!("DROP TRIGGER IF EXISTS entries_are_not_changed; {statement}"));
        assert!(chain(&plane).contains(found), "{statement}: {}", chain(&plane));
    }
}

const CANDIDATE: &str = "\
-- gatepass.yaml --
environment: prod
actions:
  orders:create: {risk: low}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: EUR}
          account: {type: text, query: account, record: hash}
";

/// A rule for candidates.
fn ruled(when: &str) -> String {
    format!(
        "-- a.cedar --\n@id(\"all\")\npermit (principal, action, resource);\n@id(\"no\")\n\
         forbid (principal, action, resource) when {{ {when} }};\n{CANDIDATE}"
    )
}

#[test]
fn what_was_decided_is_held_against_a_policy_that_is_not_in_force() {
    let plane = Plane::new();
    let done = plane.change("/v1/policies", json!({ "content": CANDIDATE }));
    let at: gatepass_engine::Position = done["position"].as_str().unwrap().parse().unwrap();
    let told = |nth, outcome, code| match decision(nth, outcome, code) {
        Entry::Decision(mut one) => {
            one.policy = Some(at);
            Entry::Decision(one)
        }
        other => other,
    };
    let all = [
        told(1, Outcome::Allow, "decided"),
        told(2, Outcome::Allow, "decided"),
        told(3, Outcome::Deny, "policy_denied"),
        told(4, Outcome::Deny, "expired"),
    ];
    assert_eq!(post(&plane, &Teller::new(1).batch(&all)).status, 200);
    let replay = |candidate: &str, more: &[&str]| {
        let file = plane.file("candidate");
        std::fs::write(&file, candidate).unwrap();
        let server = format!("http://{}", plane.addresses().admin);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass"));
        command.args(["--server", &server, "policy", "replay"]).arg(&file).args(more);
        let output = command.env("GATEPASS_TOKEN", &plane.admin).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let amount = |most: &str| {
        ruled(&format!(
            "context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal(\"{most}\"))"
        ))
    };
    let same = replay(&amount("5.0"), &[]);
    assert!(
        same.starts_with("4 decisions\n       3  the same\n       0  would be denied\n"),
        "{same}"
    );
    assert!(
        same.contains("       1  would be allowed\n                 1  no longer policy_denied\n"),
        "{same}"
    );
    let denied = replay(&amount("4.99"), &[]);
    let counts = "4 decisions\n       2  the same\n       2  would be denied\n                 2  policy_denied by `no`\n";
    assert!(denied.starts_with(counts), "{denied}");
    assert_eq!(denied.matches("    now policy_denied by `no`\n").count(), 2, "{denied}");
    let lines = replay(&amount("4.99"), &["--output", "jsonl"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["decision"]["id"], id(1).to_string());
    assert_eq!(
        lines[0]["now"],
        json!({"outcome": "deny", "code": "policy_denied", "rules": ["no"]})
    );
    // The same of any two policies.
    let (loose, strict) = (plane.file("loose"), plane.file("strict"));
    std::fs::write(&loose, amount("5.0")).unwrap();
    std::fs::write(&strict, amount("4.99")).unwrap();
    let between = |from: &std::path::Path, to: &std::path::Path| {
        let server = format!("http://{}", plane.addresses().admin);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass"));
        command.args(["--server", &server, "policy", "diff"]).arg(from).arg(to);
        command.args(["--since", "1d"]).env("GATEPASS_TOKEN", &plane.admin);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = between(&loose, &strict);
    assert!(told.contains("recorded decisions flip; of 0 it cannot be said\n"), "{told}");
    assert!(told.contains("\n    allow -> policy_denied by `no`\n"), "{told}");
    assert!(between(&strict, &loose).contains("\n    deny -> allow\n"));
    // What the record does not show is not guessed.
    let hidden =
        replay(&ruled("context.inputs has account && context.inputs.account == \"a\""), &[]);
    assert!(
        hidden.contains(
            "       3  undecided\n                 3  for want of input `account`, for `no`\n"
        ),
        "{hidden}"
    );
    let gone = replay(&CANDIDATE.replace("POST", "PUT"), &["--limit", "2"]);
    assert!(gone.starts_with("2 decisions\n       2  the same\n"), "{gone}");
    let none = replay(CANDIDATE, &["--since", "2031-01-01T00:00:00Z"]);
    assert!(none.starts_with("0 decisions\n"), "{none}");
}
