//! How a revocation comes to all workers: over one poll, whatever their number.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::hostile::{Answer, HostileFeed, Poll};
use gatepass_tests::kit::world::bearing;

use crate::desk::{SLOW, SharedDesk};
use crate::gated::{IN, SOON, each_of, pause};

#[test]
fn one_poll_at_a_time_serves_all_workers() {
    let desk = SharedDesk::new("prod");
    let held = Arc::new(Held::default());
    let feed = HostileFeed::start(counted(&desk, &held)).unwrap();
    let plugin = desk.lock().plugin();
    let gate = Gate::new(filter::path().unwrap(), &plugin);
    let bootstrap = Bootstrap::new()
        .listener(Listener::responding(IN, 200, "{}").gate(gate))
        .feed(feed.address())
        .workers(WORKERS);
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let mut workers = each_of(&envoy, IN, WORKERS as usize);
    for _ in 0..REVOCATIONS {
        let pass = desk.issue(SLOW);
        let request = bearing("GET", "/slow", Some(&pass.token));
        for (is_revoked, expected) in [(false, "200"), (true, "401 revoked_credential")] {
            if is_revoked {
                desk.revoke(&pass.jti);
            }
            for worker in &mut workers {
                let start = Instant::now();
                while worker.exchange(&request).unwrap().verdict() != expected {
                    assert!(start.elapsed() < SOON, "never {expected}");
                    pause();
                }
            }
        }
    }
    // A leader that stood still for a lease, on a busy machine, has left a poll behind that ends with its wait.
    let start = Instant::now();
    while held.most_within(A_WHILE) != 1 {
        assert!(start.elapsed() < SOON, "more than one poll waits, and none ends");
    }
}

/// The polls that wait now, and the most that ever did.
#[derive(Default)]
struct Held {
    now: Mutex<BTreeSet<Instant>>,
    most: Mutex<usize>,
}

impl Held {
    fn most_within(&self, time: Duration) -> usize {
        *self.most.lock().unwrap() = 0;
        std::thread::sleep(time);
        *self.most.lock().unwrap()
    }
}

/// An honest feed that counts.
fn counted(
    desk: &SharedDesk,
    held: &Arc<Held>,
) -> impl Fn(&Poll) -> Answer + Send + Sync + 'static {
    let (honest, held) = (desk.honest(), Arc::clone(held));
    move |poll| {
        let answer = honest(poll);
        let mut now = held.now.lock().unwrap();
        match answer {
            Answer::Later => now.insert(poll.at),
            _ => now.remove(&poll.at),
        };
        let mut most = held.most.lock().unwrap();
        *most = (*most).max(now.len());
        answer
    }
}

const WORKERS: u32 = 8;
const REVOCATIONS: usize = 5;
/// The feed looks at a poll that waits every few milliseconds.
const A_WHILE: Duration = Duration::from_secs(1);
