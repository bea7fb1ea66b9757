//! What a decision costs, in the instructions of the shipped filter: the same number on every
//! machine. Host calls are not in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::issue::{Constraint, Entry};
use gatepass::publish::{Changes, Revoke};
use gatepass_engine::bundle::{Route, Treatment};
use gatepass_engine::keyring::KeyId;
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{Request, Vm};
use gatepass_tests::kit::documents;
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order, verdict};
use gatepass_tests::kit::world::compile;
use serde_json::json;

type Counts = BTreeMap<String, u64>;

fn fuel(vm: &mut Vm, request: &Request, expected: &str) -> u64 {
    let (outcome, fuel) = vm.fuel_of(|vm| vm.decide(request.clone()).unwrap());
    assert_eq!(verdict(&outcome), expected);
    fuel
}

/// The gatepass with one text of its header (0) or claims (1) exchanged.
fn with_part(token: &str, place: usize, old: &str, new: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&parts[place]).unwrap()).unwrap();
    assert!(text.contains(old), "{text}");
    parts[place] = URL_SAFE_NO_PAD.encode(text.replacen(old, new, 1));
    parts.join(".")
}

fn measure() -> Counts {
    let mut site = Site::start(1).unwrap();
    // Its first makes the tables.
    site.tick().unwrap();
    let now = site.now();
    let good = site.control.issue(&grant("orders:read"), now).unwrap();
    let other = site.control.issue(&grant("orders:create"), now).unwrap();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{signature}");
    let each_once = (0..16).map(|at| {
        let mut grant = grant("orders:read");
        grant.jti = format!("fuel-{at:02}");
        order("GET", "/orders", Some(&site.control.issue(&grant, now).unwrap()))
    });
    let each_once: Vec<Request> = each_once.collect();
    let unreadable = with_part(&good, 1, "\"jti\":", "\"jtj\":");
    let kid = KeyId::of(&site.control.publisher().state().keys.keys[0].public).to_string();
    let strange = with_part(&good, 0, &kid, &KeyId::of(&[7; 32]).to_string());
    let cases = [
        ("allowed_recurring", order("GET", "/orders", Some(&good)), "allow"),
        ("no_credential", order("GET", "/orders", None), "401 no_credential"),
        ("bad_signature", order("GET", "/orders", Some(&forged)), "401 bad_signature"),
        ("malformed", order("GET", "/orders", Some(&unreadable)), "401 malformed"),
        ("unknown_key", order("GET", "/orders", Some(&strange)), "401 unknown_key"),
        ("public", order("GET", "/healthz", None), "allow"),
    ];
    let mut counts = Counts::new();
    let mut costs: Vec<u64> =
        each_once.iter().map(|request| fuel(&mut site.workers[0], request, "allow")).collect();
    costs.sort_unstable();
    counts.insert("allowed_fresh".to_owned(), costs[8]);
    for (name, request, expected) in &cases {
        let worker = &mut site.workers[0];
        // The first of a kind define metrics, and the allocator takes some to settle.
        let costs: Vec<u64> = (0..16).map(|_| fuel(worker, request, expected)).collect();
        let settled = costs[8..].iter().copied().max().unwrap();
        counts.insert((*name).to_owned(), settled);
    }
    let (_, idle) = site.workers[0].fuel_of(|vm| vm.tick().unwrap());
    counts.insert("idle_tick".to_owned(), idle);
    site.revoke(Kind::Credential, "other").unwrap();
    let (name, request, expected) = &cases[1];
    let first = fuel(&mut site.workers[0], request, expected);
    counts.insert("one_delta".to_owned(), first - counts[*name]);
    site.tick().unwrap();
    let ((), start) = {
        let mut fresh = site.another().unwrap();
        fresh.fuel_of(|vm| vm.reload().unwrap())
    };
    counts.insert("reload".to_owned(), start);
    counts.extend(with_bodies());
    counts
}

/// A kilobyte and more that a decision rests on, from headers to the last byte, under a gatepass that was seen.
fn with_bodies() -> Counts {
    let mut site = Site::cold(1, |_| {}).unwrap();
    site.envoy.allow_on_headers_stop_iteration(true);
    let changes = Changes::bundle(compile(documents::POLICY).unwrap());
    site.control.publisher().advance(&changes).unwrap();
    site.hear_snapshot().unwrap();
    site.load().unwrap();
    let most = Constraint { max: Some(json!("500.00 EUR")), ..Constraint::default() };
    let mut grant = grant(documents::ACTIONS[0]);
    grant.scopes = vec![documents::SCOPE.to_owned()];
    grant.entries = vec![Entry {
        actions: documents::ACTIONS.map(str::to_owned).to_vec(),
        constraints: [("amount".to_owned(), most)].into(),
        ..Entry::default()
    }];
    let token = site.control.issue(&grant, site.now()).unwrap();
    let (orders, calls) = (documents::ORDER_HEADERS, documents::CALL_HEADERS);
    let cases = [
        ("json_body_1k", documents::ORDERS, orders, documents::order(1 << 10, "500.00"), "allow"),
        ("json_body_16k", documents::ORDERS, orders, documents::order(16 << 10, "500.00"), "allow"),
        ("mcp_call_1k", documents::TOOLS, calls, documents::call(1 << 10, "500.00"), "allow"),
        (
            "json_body_1k_denied",
            documents::ORDERS,
            orders,
            documents::order(1 << 10, "500.01"),
            "403 constraint_violated",
        ),
    ];
    let mut counts = Counts::new();
    for (name, path, headers, body, expected) in cases {
        let request = order("POST", path, Some(&token)).with_body();
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let whole = || {
            let (outcome, fuel) = site.workers[0].fuel_of(|vm| {
                let stream = vm.send(request.clone()).unwrap();
                let outcome = vm.request_body(stream, &body, true).unwrap();
                vm.finish(stream).unwrap();
                outcome
            });
            assert_eq!(verdict(&outcome), expected, "{name}");
            fuel
        };
        let costs: Vec<u64> = std::iter::repeat_with(whole).take(16).collect();
        counts.insert(name.to_owned(), costs[8..].iter().copied().max().unwrap());
    }
    counts
}

/// What a seen gatepass costs when there are so many routes and revocations besides, also for a path that
/// no route has.
fn among(routes: usize, revocations: usize) -> [u64; 2] {
    let mut site = Site::cold(1, |_| {}).unwrap();
    let now = site.now();
    let mut bundle = site.control.publisher().index().bundle().clone();
    if let Treatment::Guarded(all) = &mut bundle.hosts[0].treatment {
        let like = all
            .iter()
            .find(|route| route.path == "/orders" && route.methods == ["GET"])
            .unwrap()
            .clone();
        all.extend(
            (0..routes).map(|at| Route { path: format!("/more{at}/{{id}}"), ..like.clone() }),
        );
    }
    let revoked =
        (0..revocations).map(|at| Revoke::new(Kind::Credential, &format!("dead-{at}"), now));
    let changes =
        Changes { bundle: Some(bundle), revocations: revoked.collect(), ..Changes::default() };
    site.control.publisher().advance(&changes).unwrap();
    site.hear_snapshot().unwrap();
    site.load().unwrap();
    let token = site.control.issue(&grant("orders:read"), now).unwrap();
    let request = order("GET", "/orders", Some(&token));
    let unknown = order("GET", "/elsewhere", Some(&token));
    [(&request, "allow"), (&unknown, "403 no_route")].map(|(request, expected)| {
        (0..8).map(|_| fuel(&mut site.workers[0], request, expected)).min().unwrap()
    })
}

/// Within a tenth: the look-ups are by hash and by segment, whatever there is besides. Memory that does not
/// fit the caches is not in these counts.
#[test]
fn what_a_decision_costs_does_not_grow_with_routes_or_revocations() {
    let least = among(0, 0);
    for (routes, revocations) in [(10_000, 0), (0, 100_000)] {
        let much = among(routes, revocations);
        println!("{routes} routes, {revocations} revocations: {least:?} -> {much:?}");
        for (least, much) in least.into_iter().zip(much) {
            assert!(much <= least + least / 10, "{routes} {revocations}: {least} -> {much}");
        }
    }
}

#[test]
fn a_decision_costs_no_more_instructions_than_it_is_known_to() {
    let counts = measure();
    assert_eq!(counts, measure(), "the counts are the same in every run");
    let text = format!("{}\n", serde_json::to_string_pretty(&counts).unwrap());
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(MANIFEST).join("../target"), PathBuf::from);
    std::fs::create_dir_all(target.join("bench")).unwrap();
    std::fs::write(target.join("bench/fuel.json"), &text).unwrap();
    let known = Path::new(MANIFEST).join("vectors/fuel.json");
    if std::env::var_os("UPDATE_FUEL").is_some() {
        std::fs::write(&known, &text).unwrap();
    }
    let known = std::fs::read_to_string(known).unwrap_or_else(|_| "{}".to_owned());
    let known: Counts = serde_json::from_str(&known).unwrap();
    let names = |counts: &Counts| counts.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&counts), names(&known), "{REMEDY}");
    for (name, count) in &counts {
        let most = known[name] + known[name] / 20;
        assert!(*count <= most, "`{name}` costs {count}, was {}; {REMEDY}", known[name]);
    }
}

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");
const REMEDY: &str = "if it is meant, run this test with UPDATE_FUEL=1 and commit \
                      tests/vectors/fuel.json";

#[test]
fn no_request_waits_for_the_table_of_a_key() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    site.hear_snapshot().unwrap();
    let mut fresh = |jti: &str| {
        let mut grant = grant("orders:read");
        jti.clone_into(&mut grant.jti);
        let token = site.control.issue(&grant, site.now()).unwrap();
        let request = order("GET", "/orders", Some(&token));
        let verified = fuel(&mut site.workers[0], &request, "allow");
        let ((), tick) = site.workers[0].fuel_of(|vm| vm.tick().unwrap());
        (verified, tick)
    };
    // The first brings the state along; the second has the state, and no table but by then.
    let (applied, made) = fresh("one");
    let (verified, idle) = fresh("two");
    assert!(made > 5 * applied, "the tick made it");
    assert!(verified < applied && idle < verified, "and the next has it");
}
