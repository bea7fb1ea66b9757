//! What an Envoy reports of its decisions on verified gatepasses.

use gatepass::publish::Changes;
use gatepass_engine::bundle::Treatment;
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::Request;
use gatepass_tests::kit::signed::{JTI, grant};
use gatepass_tests::kit::site::{Site, order};

fn asking(site: &Site, action: &str, jti: &str) -> Request {
    let mut grant = grant(action);
    grant.jti = jti.to_owned();
    let token = site.control.issue(&grant, site.now()).unwrap();
    order("GET", "/orders", Some(&token))
}

/// What the next poll says.
fn told(site: &mut Site) -> String {
    site.live(2).unwrap();
    let call = site.poll().unwrap();
    call.headers.text("x-gatepass-decided").unwrap_or_default().to_owned()
}

#[test]
fn all_workers_add_to_one_count_and_junk_is_in_none() {
    let mut site = Site::start(3).unwrap();
    let policy = site.control.position();
    assert_eq!(told(&mut site), "", "nothing was decided");
    let good = asking(&site, "orders:read", "jti-2");
    let denied = asking(&site, "orders:create", "jti-3");
    let revoked = asking(&site, "orders:read", JTI);
    site.revoke(Kind::Credential, JTI).unwrap();
    for _ in 0..5 {
        assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 3]);
    }
    assert_eq!(site.ask_all(&denied).unwrap(), ["403 action_not_granted"; 3]);
    assert_eq!(told(&mut site), format!("{policy} 15 3"));
    // What is no gatepass, what is forged, what is revoked, and what needs none.
    for (junk, expected) in [
        (order("GET", "/orders", None), "401 no_credential"),
        (order("GET", "/orders", Some("a.b.c")), "401 malformed"),
        (revoked, "401 revoked_credential"),
        (order("GET", "//orders", None), "400 ambiguous_request"),
    ] {
        for _ in 0..20 {
            assert_eq!(site.ask_all(&junk).unwrap(), [expected; 3]);
        }
    }
    assert_eq!(told(&mut site), format!("{policy} 15 3"));
    // The twin: one more gatepass that is.
    assert_eq!(site.ask(0, denied).unwrap(), "403 action_not_granted");
    assert_eq!(told(&mut site), format!("{policy} 15 4"));
}

#[test]
fn a_worker_that_is_loaded_anew_takes_nothing_away_and_a_new_policy_starts_at_zero() {
    let mut site = Site::start(2).unwrap();
    let policy = site.control.position();
    let good = asking(&site, "orders:read", "jti-2");
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
    assert_eq!(told(&mut site), format!("{policy} 2 0"));
    site.workers[0].reload().unwrap();
    site.live(5).unwrap();
    assert_eq!(told(&mut site), format!("{policy} 2 0"));
    assert_eq!(site.ask(0, good.clone()).unwrap(), "allow");
    assert_eq!(told(&mut site), format!("{policy} 3 0"));

    // The same bytes are the same policy; with one number changed it is another.
    let same = site.control.publisher().index().bundle().clone();
    let mut other = same.clone();
    let Treatment::Guarded(routes) = &mut other.hosts[0].treatment else { panic!("guarded") };
    routes[0].max_duration += 1;
    let mut told_before = format!("{policy} 3 0");
    for (bundle, counted) in [(same, 4), (other, 1)] {
        let now = site.now();
        let delta = site.control.delta(&Changes::bundle(bundle), now).unwrap();
        site.hear(&[delta]).unwrap();
        let newer = site.control.position();
        assert_eq!(told(&mut site), told_before, "until something is decided by it");
        assert_eq!(site.ask(1, good.clone()).unwrap(), "allow");
        told_before = format!("{newer} {counted} 0");
        assert_eq!(told(&mut site), told_before);
    }
}

#[test]
fn what_another_plugin_writes_there_is_replaced_and_harms_no_decision() {
    let mut site = Site::start(1).unwrap();
    let policy = site.control.position();
    let good = asking(&site, "orders:read", "jti-2");
    for forged in [&b""[..], b"x", &[0xff; 64]] {
        site.forge("decided", forged).unwrap();
        assert_eq!(told(&mut site), "");
        assert_eq!(site.ask(0, good.clone()).unwrap(), "allow");
        assert_eq!(told(&mut site), format!("{policy} 1 0"));
    }
}
