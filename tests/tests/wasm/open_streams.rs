//! What is open is decided again: after news, when time has something to say, and when the state is stale.
//! Each stream that ends has a twin that goes on.

use gatepass::issue::Grant;
use gatepass::publish::Changes;
use gatepass_engine::bundle::{ActionMode, Bundle, Treatment};
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{Request, Stream, Vm};
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order};

use crate::permits::state;

/// A gatepass of a task of its own.
fn note(task: &str) -> Grant {
    let mut grant = grant("orders:note");
    grant.jti = format!("{task}-pass");
    task.clone_into(&mut grant.task);
    grant
}

fn asking(site: &Site, grant: &Grant) -> Request {
    let token = site.control.issue(grant, site.now()).unwrap();
    order("POST", "/orders/1/notes", Some(&token))
}

/// Sends it on and lets the response begin.
fn open(vm: &mut Vm, request: Request) -> Stream {
    let stream = vm.send(request).unwrap();
    vm.response(stream, &[(":status", "200")], false).unwrap();
    assert_eq!(state(vm, stream), "allow");
    stream
}

fn recorded(vm: &Vm, stream: Stream) -> String {
    String::from_utf8_lossy(vm.filter_state(stream, "gatepass").unwrap()).into_owned()
}

fn publish(site: &mut Site, change: impl FnOnce(&mut Bundle)) {
    let mut bundle = site.control.publisher().index().bundle().clone();
    change(&mut bundle);
    let changes = Changes { bundle: Some(bundle), ..Changes::default() };
    let now = site.now();
    let delta = site.control.delta(&changes, now).unwrap();
    site.hear(&[delta]).unwrap();
}

#[test]
fn a_revocation_ends_what_is_open_in_every_worker_and_says_why() {
    let mut site = Site::start(2).unwrap();
    let [dead, alive] = ["dead", "alive"].map(|task| asking(&site, &note(task)));
    let streams: Vec<[Stream; 2]> = site
        .workers
        .iter_mut()
        .map(|worker| [open(worker, dead.clone()), open(worker, alive.clone())])
        .collect();
    let before = recorded(&site.workers[0], streams[0][0]);
    site.revoke(Kind::Task, "dead").unwrap();
    site.tick().unwrap();
    for (worker, [dead, alive]) in site.workers.iter().zip(&streams) {
        assert_eq!(state(worker, *dead), "reset");
        assert_eq!(state(worker, *alive), "allow");
        assert_eq!(worker.filter_state(*dead, "gatepass_code").unwrap(), b"revoked_task");
        assert_eq!(worker.filter_state(*alive, "gatepass_code"), None);
    }
    // The same decision, by its id.
    let expected =
        before.replace("decision=allow code=decided", "decision=ended code=revoked_task");
    assert_ne!(before, expected);
    assert_eq!(recorded(&site.workers[0], streams[0][0]), expected);
    assert_eq!(site.metric("gatepass_permits_ended"), 2);
    assert_eq!(site.metric("gatepass_permit_ends.revoked_task"), 2);
    // The worker that hears it by a request ends the others at its next tick, with no news then.
    site.tick().unwrap();
    assert_eq!(site.metric("gatepass_permits_ended"), 2);
}

#[test]
fn news_that_a_request_brought_ends_what_is_open() {
    let mut site = Site::start(1).unwrap();
    let (dead, alive) = (asking(&site, &note("dead")), asking(&site, &note("alive")));
    let streams = [&dead, &alive].map(|request| open(&mut site.workers[0], request.clone()));
    site.revoke(Kind::Task, "dead").unwrap();
    assert_eq!(site.ask(0, dead).unwrap(), "401 revoked_task");
    let worker = &mut site.workers[0];
    worker.tick().unwrap();
    assert_eq!(streams.map(|stream| state(worker, stream)), ["reset", "allow"]);
}

#[test]
fn the_end_of_a_gatepass_ends_what_it_opened() {
    let mut site = Site::start(1).unwrap();
    let (mut short, long) = (note("short"), note("long"));
    short.lifetime = 20;
    let requests = [asking(&site, &short), asking(&site, &long)];
    let streams = requests.map(|request| open(&mut site.workers[0], request));
    for (milliseconds, expected) in [(19_000, ["allow", "allow"]), (1_000, ["reset", "allow"])] {
        site.advance(milliseconds);
        site.tick().unwrap();
        assert_eq!(streams.map(|stream| state(&site.workers[0], stream)), expected);
    }
    assert_eq!(site.metric("gatepass_permit_ends.expired"), 1);
}

#[test]
fn stale_state_ends_what_may_not_be_decided_on_it() {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    let read =
        order("GET", "/orders", Some(&site.control.issue(&grant("orders:read"), now).unwrap()));
    let note = asking(&site, &note("low"));
    // 30 s and 15 min.
    let streams = [read, note].map(|request| open(&mut site.workers[0], request));
    site.advance(20_000);
    site.hear_checkpoint().unwrap();
    for (milliseconds, expected) in [(30_000, ["allow", "allow"]), (1_000, ["reset", "allow"])] {
        site.advance(milliseconds);
        site.tick().unwrap();
        assert_eq!(streams.map(|stream| state(&site.workers[0], stream)), expected);
    }
    assert_eq!(site.metric("gatepass_permit_ends.stale"), 1);
}

#[test]
fn another_policy_decides_again_on_the_whole_request() {
    let mut site = Site::start(1).unwrap();
    let big = "x".repeat(17 << 10);
    let request = asking(&site, &note("one"));
    let audit = order("GET", "/audit", None);
    let worker = &mut site.workers[0];
    let kept = open(worker, request.clone());
    // More than is kept of one: it can be decided again only under the policy it was decided under.
    let too_big = open(worker, request.header("x-big", big));
    let public = open(worker, order("GET", "/healthz", None));
    let passed = open(worker, Request::to("GET", "static.example", "/any"));
    let shadow = open(worker, audit);
    let all = |site: &Site| {
        [kept, too_big, public, passed, shadow].map(|stream| state(&site.workers[0], stream))
    };
    site.revoke(Kind::Task, "another").unwrap();
    site.tick().unwrap();
    assert_eq!(all(&site), ["allow"; 5]);
    publish(&mut site, |_| {});
    site.tick().unwrap();
    assert_eq!(all(&site), ["allow", "reset", "allow", "allow", "allow"]);
    assert_eq!(site.metric("gatepass_permit_ends.policy_changed"), 1);
    publish(&mut site, |bundle| {
        for action in &mut bundle.actions {
            action.mode = ActionMode::Enforce;
        }
    });
    site.tick().unwrap();
    assert_eq!(all(&site), ["allow", "reset", "allow", "allow", "reset"]);
    assert_eq!(site.metric("gatepass_permit_ends.no_credential"), 1);
    publish(&mut site, |bundle| {
        bundle.hosts.retain(|host| matches!(host.treatment, Treatment::Guarded(_)));
        if let Treatment::Guarded(routes) = &mut bundle.hosts[0].treatment {
            routes.retain(|route| route.path == "/orders");
        }
    });
    site.tick().unwrap();
    assert_eq!(all(&site), ["reset"; 5]);
    assert_eq!(site.metric("gatepass_permit_ends.no_route"), 1, "of who has a gatepass");
    assert_eq!(site.metric("gatepass_permit_ends.no_credential"), 3);
}

/// 4 MiB of their headers are kept; what is not kept ends with its policy.
#[test]
fn open_requests_without_a_gatepass_make_little_grow() {
    let mut site = Site::start(1).unwrap();
    let public = order("GET", "/healthz", None).header("x-big", "x".repeat(4 << 10));
    let before = site.workers[0].memory_size();
    for _ in 0..8_000 {
        open(&mut site.workers[0], public.clone());
    }
    let grown = site.workers[0].memory_size() - before;
    assert!(grown < 8 << 20, "{grown} of some 33 MB that came");
    publish(&mut site, |_| {});
    // Some at a time.
    for _ in 0..240 {
        site.tick().unwrap();
    }
    let ended = site.metric("gatepass_permit_ends.policy_changed");
    assert!((6_900..7_100).contains(&ended), "{ended}");
    assert_eq!(site.metric("gatepass_permits_ended"), ended);
}

#[test]
fn a_gate_in_shadow_mode_ends_nothing() {
    let mut site = Site::with(1, |plugin| plugin["mode"] = "shadow".into()).unwrap();
    let request = asking(&site, &note("dead"));
    let stream = open(&mut site.workers[0], request);
    site.revoke(Kind::Task, "dead").unwrap();
    site.advance(400_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], stream), "allow");
    assert_eq!(site.metric("gatepass_permits_ended"), 0);
}

#[test]
fn a_request_that_waited_is_decided_on_what_is_newest_then() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    let [dead, alive] = ["dead", "alive"].map(|task| asking(&site, &note(task)));
    let worker = &mut site.workers[0];
    let streams = [dead, alive].map(|request| worker.send(request).unwrap());
    assert_eq!(streams.map(|stream| state(worker, stream)), ["held", "held"]);
    let now = site.now();
    site.control.revoke(Kind::Task, "dead", now).unwrap();
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    let worker = &site.workers[0];
    assert_eq!(streams.map(|stream| state(worker, stream)), ["401 revoked_task", "allow"]);
}

/// More than one tick has time for: all are looked at, in the ticks that follow, and news in between keeps
/// none of them waiting. And what one look costs beside a decision.
#[test]
fn many_open_requests_are_decided_again_in_rounds() {
    let mut site = Site::start(1).unwrap();
    let (dead, alive) = (asking(&site, &note("dead")), asking(&site, &note("alive")));
    let worker = &mut site.workers[0];
    worker.decide(alive.clone()).unwrap();
    let (_, decision) = worker.fuel_of(|vm| vm.decide(alive.clone()).unwrap());
    let many: Vec<Stream> = (0..40_000).map(|_| open(worker, alive.clone())).collect();
    let last = open(worker, dead);
    let (_, first) = worker.fuel_of(|vm| vm.tick().unwrap());
    let mut idle = first;
    for _ in 0..20 {
        (_, idle) = site.workers[0].fuel_of(|vm| vm.tick().unwrap());
    }
    site.revoke(Kind::Task, "dead").unwrap();
    let mut most = 0;
    for _ in 0..3 {
        let (_, cost) = site.workers[0].fuel_of(|vm| vm.tick().unwrap());
        most = most.max(cost);
        site.revoke(Kind::Task, "another").unwrap();
    }
    let look = most.saturating_sub(idle) / 16_384;
    println!(
        "a decision {decision}, a first look {}, a look {look}; a tick with 40,000 open {idle}, at most {most}",
        first / 2_048
    );
    assert!(look < decision / 8, "a look costs {look}, a decision {decision}");
    let worker = &site.workers[0];
    assert_eq!(state(worker, last), "reset");
    assert!(many.iter().all(|stream| state(worker, *stream) == "allow"));
}

/// Cedar's rules for the bundle as it is.
fn with_rules(site: &mut Site, rules: &str) {
    publish(site, |bundle| {
        let (program, _) = gatepass_policy::cedar::compile(&[("a.cedar", rules)], bundle)
            .unwrap_or_else(|notes| {
                panic!("{notes:?}");
            });
        bundle.policy = postcard::to_allocvec(&program).unwrap();
    });
    site.tick().unwrap();
}

#[test]
fn a_rule_about_the_caller_reaches_what_is_open() {
    let all = "permit (principal, action, resource);\n";
    let near = "forbid (principal, action, resource) when { context.request has source && \
                context.request.source.isInRange(ip(\"203.0.113.0/24\")) };\n";
    let far = near.replace("203.0.113.0/24", "198.51.100.0/24");
    let from = |request: Request| request.property(&["source", "address"], "203.0.113.7:4711");
    let mut site = Site::start(1).unwrap();
    let request = from(asking(&site, &note("one")));
    // Nobody asked where it came from, so that cannot be held against the rule now.
    let before = open(&mut site.workers[0], request.clone());
    with_rules(&mut site, &[all, &far].concat());
    assert_eq!(state(&site.workers[0], before), "reset");
    assert_eq!(site.metric("gatepass_permit_ends.policy_changed"), 1);
    // It was asked then, and is held against what comes.
    let known = open(&mut site.workers[0], request.clone());
    with_rules(&mut site, all);
    assert_eq!(state(&site.workers[0], known), "allow");
    with_rules(&mut site, &[all, near].concat());
    assert_eq!(state(&site.workers[0], known), "reset");
    assert_eq!(site.metric("gatepass_permit_ends.policy_denied"), 1);
    // As dual-stack proxies write it.
    let mapped = asking(&site, &note("two"));
    let mapped = mapped.property(&["source", "address"], "[::ffff:203.0.113.7]:4711");
    let stream = site.workers[0].send(mapped).unwrap();
    assert_eq!(state(&site.workers[0], stream), "403 policy_denied");
}

#[test]
fn a_rule_about_the_time_in_shadow_mode_cuts_nothing() {
    let all = "permit (principal, action, resource);\n";
    let hours = "forbid (principal, action, resource) when { context.request.time < datetime(\"2000-01-01\") };\n";
    let mut site = Site::start(1).unwrap();
    with_rules(&mut site, &format!("{all}@mode(\"shadow\")\n{hours}"));
    // More than is kept of one.
    let big =
        |site: &Site, task: &str| asking(site, &note(task)).header("x-big", "x".repeat(17 << 10));
    let request = big(&site, "one");
    let stream = open(&mut site.workers[0], request);
    site.advance(3_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], stream), "allow");
    // Enforced, it could not be held to what is not kept.
    with_rules(&mut site, &format!("{all}{hours}"));
    let request = big(&site, "two");
    let stream = open(&mut site.workers[0], request);
    site.advance(3_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], stream), "reset");
}
