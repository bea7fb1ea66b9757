//! The engine's look-ups in a loop, in Envoy's V8. What each takes goes into gauges, in tenths of a nanosecond.

use std::hint::black_box;
use std::time::Duration;

use gatepass_engine::bundle::{Bundle, Host, Route, RouteTarget, Treatment};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::revocation::{Below, HashKey, Kind, Revocation, Revocations};
use gatepass_engine::routes::{HostMatch, Index};
use gatepass_engine::target::Target;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// `None` where anything is not as it must be: a host call fails, or a look-up finds what it should not.
pub(crate) fn measure() -> Option<()> {
    for count in REVOCATIONS {
        publish(&format!("revocation_among_{count}"), revocations(count)?)?;
    }
    for count in ROUTES {
        publish(&format!("route_among_{count}"), routes(count)?)?;
    }
    let id = hostcalls::define_metric(MetricType::Counter, "bench.loop").ok()?;
    publish("counter", timed(|| hostcalls::increment_metric(id, 1).ok())?)
}

/// One look-up of an id that is not revoked, its hash included: eight of them are a decision's.
fn revocations(count: u64) -> Option<u64> {
    let key = HashKey::new("prod", &[7; 16]);
    let mut table = Revocations::new(key, usize::try_from(count).ok()?);
    for at in 0..count {
        table.insert(&Revocation {
            kind: Kind::Credential,
            key: table.hash_key().hash(Kind::Credential, &format!("dead-{at}")),
            below: Below::Always,
            drop_after: UnixSeconds(1_900_000_000),
        });
    }
    // Many, so that the table's places are not the same few that stay in the processor's caches.
    let ids: Vec<String> =
        (0..MANY).map(|at| format!("018f3a7e-5b1c-7d20-9a53-{at:012}")).collect();
    let found = |id: &String| black_box(&table).hits(Kind::Credential, id, 1);
    if ids.iter().any(found) || !table.hits(Kind::Credential, "dead-0", 1) {
        return None;
    }
    let mut next = ids.iter().cycle();
    timed(|| (!found(next.next()?)).then_some(()))
}

/// One request's route, its path parsed before.
fn routes(count: usize) -> Option<u64> {
    let route = |at: usize| Route {
        methods: vec!["GET".to_owned()],
        path: format!("/more{at}/{{id}}"),
        target: RouteTarget::Public,
        inputs: Vec::new(),
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    };
    let host = Host {
        names: vec!["orders.example".to_owned()],
        audience: "https://orders.example".to_owned(),
        origin: None,
        treatment: Treatment::Guarded((0..count).map(route).collect()),
    };
    let index = Index::build(Bundle { hosts: vec![host], ..Bundle::default() }).ok()?;
    let Some(HostMatch::Guarded(host)) = index.host("orders.example") else { return None };
    let paths: Vec<String> =
        (0..MANY).map(|at| format!("/more{}/4711", at * 7919 % count)).collect();
    let targets: Option<Vec<Target<'_>>> =
        paths.iter().map(|path| Target::parse(path.as_bytes()).ok()).collect();
    let targets = targets?;
    let mut next = targets.iter().cycle();
    timed(|| host.route("GET", black_box(next.next()?), &[]).ok()?.map(|_| ()))
}

/// Tenths of a nanosecond of one call, the median of rounds.
fn timed(mut once: impl FnMut() -> Option<()>) -> Option<u64> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = now()?;
        for _ in 0..CALLS {
            once()?;
        }
        let taken = now()?.saturating_sub(start);
        rounds.push(u64::try_from(taken.as_nanos() * 10 / u128::from(CALLS)).ok()?);
    }
    rounds.sort_unstable();
    rounds.get(ROUNDS / 2).copied()
}

fn now() -> Option<Duration> {
    hostcalls::get_current_time().ok()?.duration_since(std::time::UNIX_EPOCH).ok()
}

fn publish(name: &str, value: u64) -> Option<()> {
    let id = hostcalls::define_metric(MetricType::Gauge, &format!("bench.{name}")).ok()?;
    hostcalls::record_metric(id, value).ok()
}

const REVOCATIONS: [u64; 4] = [10, 1_000, 100_000, 1_000_000];
const ROUTES: [usize; 4] = [1, 100, 1_000, 10_000];
const MANY: usize = 4_096;
/// The first of them warm V8 up.
const ROUNDS: usize = 9;
const CALLS: u32 = 50_000;
