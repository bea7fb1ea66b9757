//! A bundle that ends every VM that puts it in force. What ends them here is a bound on memory that ten
//! thousand routes exceed, in place of a flaw that nobody knows of.

use gatepass::publish::{Changes, Revoke};
use gatepass_engine::bundle::{Bundle, Route, Treatment};
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::Request;
use gatepass_tests::kit::signed::{JTI, grant};
use gatepass_tests::kit::site::{Site, order};

/// Bytes: enough for all but the bundle.
const MEMORY: usize = 11 << 19;

/// A worker that serves, and then a step with a revocation and a bundle that is too much for it.
fn attacked() -> (Site, [Request; 2], Bundle) {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    let token = |jti: &str| {
        let mut grant = grant("orders:read");
        grant.jti = jti.to_owned();
        order("GET", "/orders", Some(&site.control.issue(&grant, now).unwrap()))
    };
    let requests = [token(JTI), token("another")];
    let before = site.control.publisher().index().bundle().clone();
    let mut bundle = before.clone();
    if let Treatment::Guarded(all) = &mut bundle.hosts[0].treatment {
        let like = all.iter().find(|route| route.path == "/orders").unwrap().clone();
        all.extend((0..10_000).map(|at| Route { path: format!("/more{at}"), ..like.clone() }));
    }
    let revocations = vec![Revoke::new(Kind::Credential, JTI, now)];
    let changes = Changes { bundle: Some(bundle), revocations, ..Changes::default() };
    site.control.publisher().advance(&changes).unwrap();
    site.hear_snapshot().unwrap();
    site.workers[0].set_memory_limit(MEMORY);
    (site, requests, before)
}

/// Whether the VM ends while it takes what there is: a cold one takes it in turns.
fn ends(site: &mut Site, request: &Request) -> bool {
    (0..8).any(|_| site.ask(0, request.clone()).is_err())
}

#[test]
fn a_bundle_that_ends_vms_is_refused_after_three_and_costs_no_revocation() {
    let (mut site, [revoked, good], before) = attacked();
    for _ in 0..3 {
        assert!(ends(&mut site, &good), "the bundle ends the VM");
        site.workers[0].reload().unwrap();
        site.advance(300);
    }
    // So long may those that apply it side by side need.
    site.advance(1_000);
    assert!(!ends(&mut site, &good));
    assert_eq!(site.metric("gatepass_batch_refusals.bundle_refused"), 1);
    // A VM that starts anew has no policy but that one. It lives, and hears of the next.
    let next = Changes::bundle(before);
    let delta = site.control.delta(&next, site.now()).unwrap();
    site.hear(&[delta]).unwrap();
    assert_eq!(site.ask(0, good).unwrap(), "allow");
    assert_eq!(site.ask(0, revoked).unwrap(), "401 revoked_credential");
}

#[test]
fn the_same_bundle_with_memory_enough_is_put_in_force() {
    let (mut site, [revoked, good], _) = attacked();
    site.workers[0].set_memory_limit(1 << 30);
    assert_eq!(site.ask(0, revoked).unwrap(), "401 revoked_credential");
    assert_eq!(site.ask(0, good).unwrap(), "allow");
    assert_eq!(site.metric("gatepass_batch_refusals.bundle_refused"), 0);
}
