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
    let ((), publish) = site.leader.fuel_of(|leader| answer(leader, call.token, &body).unwrap());
    let token = site.control.issue(&grant("orders:read"), now).unwrap();
    let request = order("GET", "/orders", Some(&token));
    let (mut apply, mut longest) = (0, 0);
    for _ in 0..1_000 {
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

#[test]
fn what_it_takes() {
    for (revocations, routes) in [(10, 0), (1_000, 0), (100_000, 0), (10, 10_000)] {
        let t = hold(revocations, routes);
        println!(
            "{revocations} {routes}: leader {} KiB, worker {} KiB, publish {}, apply {}, longest {}, one more {}",
            t.leader / 1024,
            t.worker / 1024,
            t.publish,
            t.apply,
            t.longest,
            t.one_more
        );
    }
}
