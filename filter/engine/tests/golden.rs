//! The bytes of each format that is signed or stored, held against committed files: a change of
//! format shows as a diff, and needs a new version of the payload type or a higher `min_filter`.

mod held;

use gatepass_engine::UnixSeconds;
use gatepass_engine::batch::{Batch, Feed, Header, exact};
use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Budget, Bundle, Call, Currency,
    Holder, Host, Input, InputKind, Protocol, Recording, Risk, Route, RouteTarget, Source, Sums,
    Treatment, Uses,
};
use gatepass_engine::keyring::{Algorithm, IssuerKey, IssuerKeys};
use gatepass_engine::revocation::{Below, Change, HashKey, Kind, Revocation};
use serde::{Deserialize, Serialize};

/// Encodes, compares with the committed file, and decodes back.
fn check<'a, T>(name: &str, value: &T, buffer: &'a mut Vec<u8>)
where
    T: Serialize + Deserialize<'a> + PartialEq + core::fmt::Debug,
{
    let encoded = postcard::to_allocvec(value);
    assert!(encoded.is_ok(), "{name} does not encode");
    *buffer = encoded.unwrap_or_default();
    held::hold(&format!("tests/vectors/golden/{name}.hex"), &hex(buffer));
    let decoded = exact::<T>(buffer, name);
    assert_eq!(decoded.as_ref().ok(), Some(value), "{name} does not decode back");
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(32) {
        line.iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
        out.push('\n');
    }
    out
}

fn header() -> Header {
    Header {
        environment: "prod".into(),
        feed_audience: "fleet".into(),
        root_version: 3,
        epoch: 1_800_000_000,
        from: 41,
        to: 300,
        part: 0,
        parts: 1,
        whole_digest: [0xd1; 32],
        hash_key_id: 0x0123_4567_89ab_cdef,
        issued_at: UnixSeconds(1_800_000_001),
        expires_at: UnixSeconds(1_800_086_401),
        min_filter: 1,
        audit_head: Some([0xa0; 32]),
    }
}

#[test]
fn the_header_keeps_its_bytes() {
    check("header", &header(), &mut Vec::new());
    let mut without_audit = header();
    without_audit.audit_head = None;
    check("header-without-audit-head", &without_audit, &mut Vec::new());
}

#[test]
fn the_batch_keeps_its_bytes() {
    let batch = Batch {
        header: header(),
        revocations: Some(b"revocations"),
        keys: Some(b"keys"),
        bundle: Some(b"bundle"),
    };
    check("batch", &batch, &mut Vec::new());
    let checkpoint = Batch {
        header: Header { from: 300, ..header() },
        revocations: None,
        keys: None,
        bundle: None,
    };
    check("checkpoint", &checkpoint, &mut Vec::new());
}

#[test]
fn the_revocations_keep_their_bytes() {
    let kinds = [
        Kind::Credential,
        Kind::Task,
        Kind::Key,
        Kind::Subject,
        Kind::Agent,
        Kind::Owner,
        Kind::Blueprint,
    ];
    let items = kinds.into_iter().zip(1..).map(|(kind, nth)| Revocation {
        kind,
        key: nth << 40,
        below: if nth % 2 == 0 { Below::Always } else { Below::Sequence(nth * 100) },
        drop_after: UnixSeconds(1_800_000_000 + nth),
    });
    let items: Vec<Revocation> = items.collect();
    let snapshot = Change { hash_key: Some([0x5e; 16]), total: 7, items: items.clone() };
    check("revocations-of-a-snapshot", &snapshot, &mut Vec::new());
    let delta = Change { hash_key: None, total: 7, items };
    check("revocations-of-a-delta", &delta, &mut Vec::new());
}

#[test]
fn the_hash_of_an_id_keeps_its_value() {
    let key = HashKey::new("prod", &[0x5e; 16]);
    let mut lines = format!("id {:016x}\n", key.id());
    for kind in [
        Kind::Credential,
        Kind::Task,
        Kind::Key,
        Kind::Subject,
        Kind::Agent,
        Kind::Owner,
        Kind::Blueprint,
    ] {
        lines.push_str(&format!("{kind:?} {:016x}\n", key.hash(kind, "id-1")));
    }
    held::hold("tests/vectors/golden/revocation-hashes.txt", &lines);
}

#[test]
fn the_issuer_keys_keep_their_bytes() {
    let key = |byte: u8, algorithm| IssuerKey {
        public: [byte; 32],
        issuer: "https://desk.example".into(),
        algorithm,
        not_before: UnixSeconds(1_700_000_000),
        not_after: UnixSeconds(1_900_000_000),
    };
    let keys =
        IssuerKeys { version: 5, keys: vec![key(1, Algorithm::EdDsa), key(2, Algorithm::Ed25519)] };
    check("issuer-keys", &keys, &mut Vec::new());
}

#[test]
fn the_feeds_answer_keeps_its_bytes() {
    let feed = Feed { roots: vec![b"root 1", b"root 2"], batches: vec![b"batch"] };
    check("feed", &feed, &mut Vec::new());
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
        staleness: 900,
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
        groups: vec![],
    }
}

#[test]
fn the_bundle_keeps_its_bytes() {
    let query = |key: &str| Source::Query(key.into());
    let input = |name: &str, kind, source| Input {
        name: name.into(),
        record: Recording::of(&kind),
        kind,
        source,
    };
    let strict = Action {
        risk: Risk::High,
        scopes_all: vec!["orders:write".into()],
        scopes_any: vec!["a".into(), "b".into()],
        assurance: Assurance::Attested,
        binding: Binding::Key,
        uses: Uses::Once,
        max_age: Some(60),
        staleness: 10,
        approval: true,
        mode: ActionMode::Shadow,
        audit: Audit::Confirmed,
        groups: vec!["spending".into()],
        ..action("orders:create")
    };
    let medium = Action {
        risk: Risk::Medium,
        assurance: Assurance::Federated,
        binding: Binding::Certificate,
        body: BodyRule::Unread,
        ..action("files:upload")
    };
    let workload = Action { binding: Binding::Workload, ..action("orders:list") };
    let create = Route {
        methods: vec!["POST".into(), "PUT".into()],
        path: "/orders/{customer}".into(),
        target: RouteTarget::Action(0),
        inputs: vec![
            input("customer", InputKind::Text, Source::Path("customer".into())),
            input("count", InputKind::Integer, query("count")),
            input("weight", InputKind::Decimal, Source::Header("x-weight".into())),
            input("fixed", InputKind::Money(Currency::Fixed("EUR".into())), query("a")),
            input("free", InputKind::Money(Currency::From(query("c"))), query("b")),
            input("express", InputKind::Boolean, query("express")),
        ],
        call: Some(Call {
            protocol: Protocol::Mcp,
            method: "tools/call".into(),
            name: Some("create".into()),
        }),
        max_body: 1_048_576,
        max_duration: 60,
        upgrade: Some("websocket".into()),
    };
    let health = Route {
        methods: vec!["GET".into()],
        path: "/health".into(),
        target: RouteTarget::Public,
        inputs: vec![],
        call: None,
        max_body: 65_536,
        max_duration: 5,
        upgrade: None,
    };
    let bundle = Bundle {
        actions: vec![strict, medium, workload],
        hosts: vec![
            Host {
                names: vec!["orders.example".into(), "orders.internal".into()],
                audience: "https://orders.example".into(),
                origin: Some("https://orders.example".into()),
                treatment: Treatment::Guarded(vec![create, health]),
            },
            Host {
                names: vec!["open.example".into()],
                audience: "https://open.example".into(),
                origin: None,
                treatment: Treatment::PassedThrough,
            },
        ],
        policy: vec![1, 2, 3],
        budgets: vec![
            budget(Holder::Agent, Sums::Uses),
            budget(Holder::Task, Sums::Integer("count".into())),
            budget(Holder::Owner, Sums::Decimal("weight".into())),
            budget(Holder::Blueprint, Sums::Money("amount".into(), "EUR".into())),
        ],
    };
    check("bundle", &bundle, &mut Vec::new());
    check("bundle-empty", &Bundle::default(), &mut Vec::new());
}

fn budget(per: Holder, sums: Sums) -> Budget {
    Budget {
        name: "day".into(),
        per,
        window: 86_400,
        sums,
        actions: vec![0, 2],
        claim: "day.0".into(),
    }
}
