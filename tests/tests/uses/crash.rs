//! The control plane is killed at any moment between a question and its answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatepass_tests::kit::wire::Connection;
use gatepass_tests::kit::world::bearing;

use crate::site::{AGENTS, Pass, Site, pay, pay_all};

#[test]
fn a_control_plane_that_is_killed_while_it_answers_never_grants_a_use_twice() {
    let mut site = Site::start();
    let envoys = [site.envoy("edge-1"), site.envoy("edge-2")];
    let passes: Vec<Pass> = (0..240).map(|n| site.pass_of(n % AGENTS, "orders:pay")).collect();
    // Again and again, the earlier ones too: a use whose answer was lost must not come back.
    let asked: Vec<Pass> =
        (0..4).flat_map(|_| passes.chunks(8)).flat_map(|some| [some, some].concat()).collect();
    let done = AtomicBool::new(false);
    let mut kills = 0;
    let told = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let told = pay_all(&[&envoys[0], &envoys[1]], &asked, 24);
            done.store(true, Ordering::SeqCst);
            told
        });
        let mut wait = 7;
        while !done.load(Ordering::SeqCst) {
            // Moments of all kinds, the same in each run.
            wait = (wait * 31 + 17) % 149;
            std::thread::sleep(Duration::from_millis(60 + wait));
            site.desk.kill();
            kills += 1;
            site.desk.serve().unwrap();
        }
        asking.join().unwrap()
    });
    let mut allowed: HashMap<&str, usize> = HashMap::new();
    let mut verdicts: HashMap<&str, usize> = HashMap::new();
    for (pass, verdict) in asked.iter().zip(&told) {
        *verdicts.entry(verdict).or_default() += 1;
        if verdict == "200" {
            *allowed.entry(&pass.jti).or_default() += 1;
        }
    }
    println!("{kills} kills, {} requests: {verdicts:?}", asked.len());
    assert!(kills >= 3, "{kills}");
    assert!(allowed.values().all(|times| *times == 1), "{allowed:?}");
    let known = ["200", "401 replayed", "503 confirmation_failed"];
    assert!(verdicts.keys().all(|verdict| known.contains(verdict)), "{verdicts:?}");
    // Each that was let on was spent; one that was spent need not have been let on.
    let paid = site.upstream.take().iter().filter(|one| one.line().contains("/payments")).count();
    assert_eq!(paid, allowed.len());
    let spent = site.spent();
    assert!(spent >= paid as u64 && spent <= passes.len() as u64, "{spent} of {paid}");
}

#[test]
fn without_a_control_plane_nothing_is_confirmed_and_everything_else_goes_on() {
    let mut site = Site::start();
    let envoy = site.envoy("edge-1");
    let (spent, fresh) = (site.pass("orders:pay"), site.pass("orders:pay"));
    let plain = site.pass("orders:read");
    // What a worker remembers is its own: one connection is one worker.
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    let mut paying = |pass: &Pass| {
        connection.exchange(&bearing("GET", "/payments", Some(&pass.token))).unwrap().verdict()
    };
    assert_eq!(paying(&spent), "200");
    site.desk.kill();
    let began = Instant::now();
    let answer = pay(&envoy, &fresh);
    assert_eq!(answer.verdict(), "503 confirmation_failed");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    for _ in 0..8 {
        let read = crate::site::ask(&envoy, "GET", "/orders", &plain);
        assert_eq!(read.verdict(), "200");
        // Known here, so nobody is asked.
        let began = Instant::now();
        assert_eq!(paying(&spent), "401 replayed");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    site.desk.serve().unwrap();
    // What was not confirmed was not spent.
    assert_eq!(pay(&envoy, &fresh).verdict(), "200");
    assert_eq!(pay(&envoy, &fresh).verdict(), "401 replayed");
}
