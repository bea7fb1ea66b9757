//! The corpus that real envelopes, tokens and documents make; `gatepass-tests --bin fuzz-seeds`
//! writes it. What campaigns found is beside it in `tests/fuzz/corpus`.

use gatepass_engine::batch::Feed;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::Milliseconds;
use gatepass_engine::root::RootKeys;
use gatepass_filter::log::{BankKey, EnvelopeDigest, Log, Place, Stored};
use serde_json::{Value, json};

use super::bytes::block;
use super::claims::approved_digest;
use super::gate::POOL;
use super::scene::{self, AGENT, AT, AUDIENCE, Draft, FEED, NOW, OWNER, ROOT, STRANGER};

/// The seeds of a target, each with its name.
#[must_use]
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let all = match target {
        "attempts" => attempts(),
        "batch" => batches(),
        "body" => bodies(),
        "bundle" => vec![scene::postcard(scene::bundle()), scene::postcard(&Bundle::default())],
        "cedar" => lines(&super::rules::SEEDS),
        "claims" => claims(),
        "configuration" => configurations(),
        "decide" => requests(),
        "document" => json_bodies(),
        "envelope" => envelopes(),
        "exchange" => exchanges(),
        "feed" => feeds(),
        "gate" => gates(),
        "host" => lines(&["orders.example", "orders.example:8443", "[::1]:80", "127.0.0.1", "A."]),
        "ids" => ids(),
        "inputs" => inputs(),
        "json" => documents(),
        "log" => logs(),
        "numbers" => numbers(),
        "pairs" => pairs(),
        "places" => places(),
        "policy" => policies(),
        "root" => roots(),
        "rules" => super::rules::programs(),
        "target" => targets(),
        "token" => tokens(),
        _ => Vec::new(),
    };
    (0..).zip(all).map(|(at, bytes): (u32, _)| (format!("seed-{at:02}"), bytes)).collect()
}

fn lines(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|line| line.as_bytes().to_vec()).collect()
}

fn ids() -> Vec<Vec<u8>> {
    let key = gatepass_engine::keyring::KeyId::of(&scene::public(FEED)).to_string();
    lines(&[AGENT, OWNER, AUDIENCE, "7.50", "01.2", "30s", "5m", "1h", &key, "jti-1"])
}

fn numbers() -> Vec<Vec<u8>> {
    lines(&[
        "0",
        "-1\n1",
        "500.50\n500.5000",
        "-0.0001\n0.0001",
        "922337203685477.5807\n922337203685477.5806",
        "9223372036854775807\n-9223372036854775808",
        "500.00 EUR\n5 USD",
    ])
}

fn targets() -> Vec<Vec<u8>> {
    lines(&[
        "/",
        "/orders",
        "/orders/7/notes",
        "/orders?amount=500.00&currency=EUR&item=pen",
        "/a/%C3%A9/?a=%2f%61&b[]=1",
        "/orders//7",
        "/orders/../7",
        "/orders/%2e%2e",
    ])
}

fn inputs() -> Vec<Vec<u8>> {
    lines(&[
        "/c1?amount=100.00&currency=EUR&count=5&weight=1.5&express=true&item=pen&fee=1\nx-tag:blue",
        "/%C3%A9?item=%22%0A%5C&count=-7",
        "/?amount=1&amount=2",
        "/?Amount=1\nx_tag:red",
    ])
}

fn tokens() -> Vec<Vec<u8>> {
    let good = scene::good_token();
    let stranger = scene::token(scene::claims().to_string().as_bytes(), STRANGER);
    let padded = format!("{good}=");
    lines(&[good, &stranger, &padded, "a.b.c", ".."])
}

fn requests() -> Vec<Vec<u8>> {
    let ask = |choice: char, method: &str, path: &str, rest: &str| {
        format!("{choice}:method: {method}\n:authority: orders.example\n:path: {path}\n{rest}")
            .into_bytes()
    };
    let bearer = "authorization: Bearer $TOKEN";
    let create = "/orders?amount=5.00&currency=EUR&item=pen";
    let token = scene::good_token();
    let elsewhere = format!(
        "\0:method: GET\n:authority: static.example\n:path: /a\nauthorization: bearer {token}"
    );
    vec![
        ask('\0', "POST", create, bearer),
        ask('\0', "POST", create, &format!("authorization: Bearer {token}")),
        ask('\u{1}', "POST", "/orders/7/notes", bearer),
        ask('\0', "GET", "/orders/7", bearer),
        ask('\0', "GET", "/audit", bearer),
        ask('\0', "DELETE", "/orders", bearer),
        ask('\0', "GET", "/healthz", &format!("authorization: Basic x, DPoP {token}")),
        ask('\u{2}', "GET", "/nowhere", "authorization: Bearer x"),
        ask('\u{4}', "GET", "/orders", bearer),
        ask('\u{78}', "GET", "/orders", bearer),
        ask('\0', "GET", "/orders", &format!("{bearer}\nupgrade: websocket")),
        ask('\0', "CONNECT", "", &format!("{bearer}\n:protocol: websocket")),
        elsewhere.into_bytes(),
    ]
}

fn claims() -> Vec<Vec<u8>> {
    let with = |name: &str, value: Value| {
        let mut claims = scene::claims();
        claims[name] = value;
        claims
    };
    let entry = |constraints: Value| {
        json!([{
            "type": "agent_action",
            "actions": ["orders:create", "orders:read"],
            "locations": [AUDIENCE],
            "constraints": constraints,
        }])
    };
    let details = "authorization_details";
    let approval = json!({
        "id": "ap-1", "by": OWNER, "at": NOW - 60, "amr": ["hwk"], "digest": approved_digest(),
    });
    let actor = |inner: Option<Value>| {
        let mut actor = json!({"sub": AGENT, "owner": OWNER, "blueprint": "buyer"});
        if let Some(inner) = inner {
            actor["act"] = inner;
        }
        actor
    };
    let mut chain = with("sub", json!("user:corp/ursula"));
    chain["act"] = actor(Some(actor(None)));
    chain["anc"] = json!(["jti-0"]);
    [
        scene::claims(),
        chain,
        with("aud", json!(AUDIENCE)),
        with("approval", approval),
        with("jti", json!("jti-dead")),
        with("cnf", Value::Null),
        with(details, entry(json!({"amount": {"max": "5.00 EUR", "min": "1 EUR"}}))),
        with(
            details,
            entry(json!({"amount": {"in": ["5 EUR", "6 EUR"]}, "item": {"prefix": "p"}})),
        ),
        with(details, entry(json!({"id": {"equals": "7"}}))),
        with(
            details,
            json!([{"type": "agent_action", "actions": ["orders:wipe"],
            "args_digest": approved_digest()}]),
        ),
    ]
    .iter()
    .map(|claims| claims.to_string().into_bytes())
    .collect()
}

fn configurations() -> Vec<Vec<u8>> {
    let key = scene::base64url(&scene::public(ROOT));
    let full = json!({
        "environment": "prod",
        "feed_audience": "fleet",
        "control_plane": {"cluster": "gatepass", "authority": "gatepass", "path_prefix": "/feed"},
        "roots": {"keys": [key], "threshold": 1},
        "min_root_version": 1,
        "baseline": "AAA=",
        "hold_ms": 2000,
        "mode": "enforce",
        "expose_position": true,
    });
    let mut least = full.clone();
    if let Some(fields) = least.as_object_mut() {
        fields.retain(|name, _| !["baseline", "hold_ms", "expose_position"].contains(&&**name));
    }
    vec![full.to_string().into_bytes(), least.to_string().into_bytes()]
}

fn documents() -> Vec<Vec<u8>> {
    let mut all = lines(&[
        "{}",
        r#"{"a":[1,-2,3.5e1,true,null,"\u00e9\\\""],"b":{"a":{}}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"\u0061":1}"#,
        r#"{"a":1e400}"#,
        "[]",
    ]);
    all.push(scene::claims().to_string().into_bytes());
    all
}

fn json_bodies() -> Vec<Vec<u8>> {
    lines(&[
        "/a\n{\"a\":1}",
        "/a/b/0\n {\"a\" : {\"b\": [1.50e+1, -0, true, null, \"\\u00e9\\ud83d\\ude00\\/\"]}, \"c\": {}}",
        "/a~1b\n{\"a/b\":\"x\",\"A/B\":2}",
        "/order_id\n{\"order_id\":1,\"orderId\":2,\"order_id\\u0000\":3}",
        "/0\n[1e400,[],{\"x\":1,\"x\":2}]",
        "/params/name\n{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{\"name\":\"search\",\"arguments\":{\"q\":1}}}",
        "/params/uri\n{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"resources/read\",\"params\":{\"uri\":\"file:///a\"}}",
        "/result\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
        "/x\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":[1]}",
        "/a\n{\"a\":1,}",
        "\n\"\\ud800\"",
        "\n333333333.33333329",
    ])
}

fn bodies() -> Vec<Vec<u8>> {
    lines(&[
        "/pay\n{\"amount\":\"100.00\",\"currency\":\"EUR\"}",
        "/pay?item=pen\n{\"amount\":499.9999,\"currency\":\"EUR\",\"x\":[1]}",
        "/pay\n{\"amount\":900,\"currency\":\"EUR\"}",
        "/pay?amount=1\n{\"Amount\":1,\"amount\":2,\"currency\":\"EUR\"}",
        "/sign\namount=100.00&to=bob",
        "/sign\nx=%20+%2B&amount=1&[amount]=900&amount%00=2",
        "/sign?amount=3\namounts=4;amount=5",
        "/rpc\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ask\"}",
        "/rpc\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tell\",\"params\":{}}",
        "/small\n{}",
        "/pass\nanything",
        "/nowhere\n{}",
    ])
}

fn policies() -> Vec<Vec<u8>> {
    lines(&[
        scene::POLICY,
        "hosts:\n  - {names: [a.example], audience: 'https://a', pass_through: true}\n",
        "actions: &a {x: {risk: low, scopes: {any: [a, b]}, max_age: 5m}}\nhosts: []\n",
        "actions: {x: {risk: lw}}\n---\n",
        super::bodies::POLICY,
    ])
}

fn batches() -> Vec<Vec<u8>> {
    let mut revoking = Draft::delta(50, 51);
    revoking = revoking.revoking(&[(
        gatepass_engine::revocation::Kind::Task,
        "task-1",
        gatepass_engine::revocation::Below::Sequence(51),
    )]);
    [scene::snapshot(), Draft::snapshot(AT), revoking, Draft::delta(51, 51)]
        .map(|draft| draft.whole().payload())
        .to_vec()
}

fn envelopes() -> Vec<Vec<u8>> {
    vec![
        scene::root_version(1, false),
        Draft::snapshot(AT).sealed(),
        Draft::delta(51, 51).sealed(),
        scene::seal(&Draft::delta(51, 51).whole().payload(), STRANGER),
        scene::seal(b"", FEED),
    ]
}

fn feeds() -> Vec<Vec<u8>> {
    let (root, batch) = (scene::root_version(1, false), Draft::snapshot(AT).sealed());
    let feed = Feed { roots: vec![&root], batches: vec![&batch, &batch] };
    vec![feed.encode().unwrap_or_default(), Feed::default().encode().unwrap_or_default()]
}

fn roots() -> Vec<Vec<u8>> {
    let document = |version: u64, roots: &[u8], threshold: usize| {
        let mut document = scene::document(version);
        let keys = roots.iter().map(|seed| scene::base64url(&scene::public(*seed))).collect();
        document.root = RootKeys { threshold, keys };
        // The feed key of the scene is the second root key here.
        document.keys.truncate(1);
        document.keys.iter_mut().for_each(|k| k.public = scene::base64url(&scene::public(20)));
        block(&serde_json::to_vec(&document).unwrap_or_default())
    };
    let signed = |mask: u8, document: Vec<u8>| [vec![mask], document].concat();
    let first = signed(1, document(1, &[1], 1));
    vec![
        first.clone(),
        [first.clone(), signed(3, document(2, &[2], 1))].concat(),
        [first.clone(), signed(0b111, document(2, &[1, 2, 3], 2))].concat(),
        [first, signed(2, document(2, &[2], 1))].concat(),
        signed(2, document(1, &[2], 1)),
        [vec![0x80], block(&scene::root_version(1, false))].concat(),
    ]
}

fn gates() -> Vec<Vec<u8>> {
    let pool = |all: &[u8]| all.iter().flat_map(|at| [7, *at]).collect::<Vec<u8>>();
    let snapshot = POOL.get(7).cloned().unwrap_or_default();
    vec![
        // The snapshot, deltas and a checkpoint; in parts; of another epoch; with a policy.
        pool(&[7, 8, 9, 10]),
        pool(&[0, 1, 2, 11]),
        pool(&[7, 0, 1, 3, 4, 13]),
        pool(&[5, 6, 12]),
        [vec![0], block(&snapshot)].concat(),
        [vec![1], block(&Draft::snapshot(AT).whole().payload())].concat(),
        // A snapshot that revokes, a refused bundle, time, and a checkpoint.
        vec![2, 8, 50, 1, 0, 0, 3, 9, 2, 18, 51, 1, 0, 5, 20, 2, 1, 51],
        // Another root, a snapshot under it, a stranger's.
        vec![6, 1, 2, 64, 50, 2, 4, 60, 6, 2, 6, 3],
        // Times, and each way to be wrong.
        vec![2, 32, 50, 101, 9, 2, 128, 51, 0, 2, 128, 51, 5, 1, 2, 2, 128, 51, 4, 9],
    ]
}

fn logs() -> Vec<Vec<u8>> {
    let here = Draft::snapshot(AT).sealed();
    let stored = |place: Place| Stored {
        received: Milliseconds(1),
        digest: EnvelopeDigest::of(&here),
        place,
    };
    let log = Log {
        roots: vec![scene::root_version(1, false)],
        base: vec![stored(Place::Here(here.clone()))],
        deltas: vec![stored(Place::Bank(BankKey { owner: 1, bank: 0, number: 2 }))],
        checkpoint: Some(stored(Place::Here(Vec::new()))),
    };
    vec![log.encode().unwrap_or_default(), Log::default().encode().unwrap_or_default()]
}

fn exchanges() -> Vec<Vec<u8>> {
    let forged = logs().into_iter().next().unwrap_or_default();
    vec![
        // A root and the snapshot, in the base; both check.
        vec![1, 1, 1, 65, 7, 2, 4, 5],
        vec![1, 1, 4, 65, 0, 65, 1, 65, 2, 129, 11, 2, 4, 5],
        // Lies about digest, place and time.
        vec![1, 3, 3, 69, 7, 73, 7, 81, 7, 2, 4, 5, 3, 0, 4, 3, 1, 5],
        [vec![0, 0], block(&forged), vec![2, 4, 5]].concat(),
        [vec![0, 2], block(b"\x01\xff\xff"), vec![0, 1], block(b"x"), vec![4]].concat(),
    ]
}

fn attempts() -> Vec<Vec<u8>> {
    let count = |digest: u8, begun: u32, ended: u32, last: u64| {
        scene::postcard(&([digest; 32], begun, ended, last))
    };
    vec![
        Vec::new(),
        [vec![1], count(1, 3, 0, 5)].concat(),
        [vec![2], count(0xab, 9, 0, 5), count(2, 1, 1, u64::MAX)].concat(),
    ]
}

fn places() -> Vec<Vec<u8>> {
    let lead = block(&scene::postcard(&(2_u64, scene::MONOTONIC + 100)));
    let place = block(&scene::postcard(&(3_u64, scene::MONOTONIC + 100, Some((7_u64, 8_u64)))));
    vec![Vec::new(), [lead, place.clone(), place].concat()]
}

fn pairs() -> Vec<Vec<u8>> {
    vec![
        gatepass_filter::pairs::write(&[(":method", "GET"), (":path", "/"), ("x-a", "")]),
        b":method=GET\nx-a=\xc3\xa9\n=".to_vec(),
    ]
}
