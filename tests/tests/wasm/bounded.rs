//! What a VM takes for what it holds: memory and instructions, the same in every run.

use gatepass::publish::{Changes, Revoke};
use gatepass_engine::bundle::{Route, Treatment};
use gatepass_engine::revocation::Kind;
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, answer, order};

/// What holding so much took.
struct Taken {
    /// Bytes of Wasm memory, which never shrinks: the peak.
    leader: usize,
    worker: usize,
    /// Instructions from the feed's answer to the leader having published it.
    publish: u64,
    /// Instructions of a worker until it serves it, in all ticks together, and of the longest.
    apply: u64,
    longest: u64,
    /// Instructions of the next revocation, in a worker.
    one_more: u64,
}

fn hold(revocations: usize, routes: usize) -> Taken {
    let mut site = Site::cold(1, |_| {}).unwrap();
    let now = site.now();
    let mut bundle = site.control.publisher().index().bundle().clone();
    if let Treatment::Guarded(all) = &mut bundle.hosts[0].treatment {
        let like = all.iter().find(|route| route.path == "/orders").unwrap().clone();
        all.extend(
            (0..routes).map(|at| Route { path: format!("/more{at}/{{id}}"), ..like.clone() }),
        );
    }
    let revoked =
        (0..revocations).map(|at| Revoke::new(Kind::Credential, &format!("dead-{at}"), now));
    let changes =
        Changes { bundle: Some(bundle), revocations: revoked.collect(), ..Changes::default() };
    site.control.publisher().advance(&changes).unwrap();
    let snapshot = site.control.snapshot(now).unwrap();
    let body = site.control.answer(&snapshot).unwrap();
    println!("{revocations} revocations: {} parts, {} bytes", snapshot.len(), body.len());
    let call = site.poll().unwrap();
    for vm in [&mut site.leader, &mut site.workers[0]] {
        vm.set_fuel_limit(20_000_000_000);
    }
    let ((), publish) = site.leader.fuel_of(|leader| answer(leader, call.token, &body).unwrap());
    let token = site.control.issue(&grant("orders:read"), now).unwrap();
    let request = order("GET", "/orders", Some(&token));
    let (mut apply, mut longest) = (0, 0);
    for _ in 0..10_000 {
        site.leader.tick().unwrap();
        let ((), tick) = site.workers[0].fuel_of(|vm| vm.tick().unwrap());
        apply += tick;
        longest = tick.max(longest);
        site.advance(50);
        if site.ask(0, request.clone()).unwrap() == "allow" {
            break;
        }
    }
    assert_eq!(site.ask(0, request.clone()).unwrap(), "allow");
    site.tick().unwrap();
    site.revoke(Kind::Credential, "one-more").unwrap();
    let ((), one_more) = site.workers[0].fuel_of(|vm| vm.tick().unwrap());
    Taken {
        leader: site.leader.memory_size(),
        worker: site.workers[0].memory_size(),
        publish,
        apply,
        longest,
        one_more,
    }
}

/// A cold worker takes a large snapshot in turns, so that it goes on with all else that it serves; and what
/// is in force costs a revocation nothing.
#[test]
fn a_large_state_neither_stops_a_worker_nor_takes_more_memory_than_it_is_said_to() {
    let small = hold(10, 0);
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let mut table = vec![
        (1_000, 0, 0.5),
        (100_000, 0, 3.0),
        (10, 100, 0.5),
        (10, 1_000, 1.5),
        (10, 10_000, 8.0),
    ];
    // `make bounded`: signing so many takes a minute.
    if let Ok(number) = std::env::var("REVOCATIONS") {
        table.push((number.parse().unwrap(), 0, 24.0));
    }
    for (revocations, routes, most) in table {
        let much = hold(revocations, routes);
        let more = mebibytes(much.worker - small.worker);
        println!(
            "{revocations} revocations, {routes} routes: worker {:.1} MiB, leader {:.1} MiB; {} M instructions to \
             publish, {} M to take, {} M of them at once; {} K for the next revocation",
            mebibytes(much.worker),
            mebibytes(much.leader),
            much.publish / 1_000_000,
            much.apply / 1_000_000,
            much.longest / 1_000_000,
            much.one_more / 1_000,
        );
        assert!(more <= most, "{more} MiB more than with ten");
        if routes == 0 {
            assert!(much.longest <= small.longest + 150_000_000, "{}", much.longest);
        }
        assert!(much.one_more <= small.one_more + 8_000_000, "{}", much.one_more);
    }
}
