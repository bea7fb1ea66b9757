//! Several VMs of one Envoy share one state.

use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use gatepass_filter::log::{EnvelopeDigest, Log, Place, Stored};
use gatepass_tests::host::{Envoy, HttpCall, Request, Vm};
use gatepass_tests::kit::signed::{AGENT, EPOCH, JTI, grant};
use gatepass_tests::kit::site::{Site, answer, filter, order, verdict};

fn reading(site: &Site) -> Request {
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    order("GET", "/orders", Some(&token))
}

/// A request whose gatepass has this `jti`.
fn bearing(site: &Site, jti: &str) -> Request {
    let mut grant = grant("orders:read");
    grant.jti = jti.to_owned();
    let token = site.control.issue(&grant, site.now()).unwrap();
    order("GET", "/orders", Some(&token))
}

fn ask(vm: &mut Vm, request: &Request) -> String {
    verdict(&vm.decide(request.clone()).unwrap())
}

fn log(site: &Site) -> Log {
    Log::decode(&site.shared("log").unwrap().value).unwrap()
}

/// Revokes enough at once that the delta does not fit into `log` itself.
fn revoke_many(site: &mut Site, round: usize) {
    use gatepass::publish::{Changes, Revoke};
    let now = site.now();
    let revoked = (0..600)
        .map(|nth| Revoke::new(Kind::Credential, &format!("many-{round}-{nth}"), now))
        .collect();
    let delta = site.control.delta(&Changes::revoke(revoked), now).unwrap();
    assert!(delta.len() > 8 * 1024);
    site.hear(&[delta]).unwrap();
}

/// A leader that revokes `JTI` in `log` and dies before it sets `gen`.
fn revoke_and_die(site: &mut Site) {
    let now = site.now();
    let delta = site.control.revoke(Kind::Credential, JTI, now).unwrap();
    write(site, delta);
}

/// Appends to `log` as a leader does, and leaves `gen` alone.
fn write(site: &Site, delta: Vec<u8>) {
    let mut written = log(site);
    let received = written.base[0].received;
    let digest = EnvelopeDigest::of(&delta);
    written.deltas.push(Stored { received, digest, place: Place::Here(delta) });
    site.forge("log", &written.encode().unwrap()).unwrap();
}

#[test]
fn the_main_thread_leads_and_its_workers_serve() {
    // Records are each VM's own to tell.
    let silent = serde_json::json!({ "enabled": false });
    let mut site = Site::with(3, |plugin| plugin["records"] = silent).unwrap();
    let request = reading(&site);
    assert_eq!(site.ask_all(&request).unwrap(), ["allow"; 3]);
    site.live(5).unwrap();
    assert_eq!(site.leader.http_calls().len(), 1);
    assert!(site.workers.iter().all(|w| w.host_calls("proxy_http_call") == 0));
    let call = site.poll().unwrap();
    let here = site.control.position();
    assert_eq!(
        call.path(),
        format!("/v1/feed?audience=prod&after={here}&wait=20&formats=batch.v1,root.v1")
    );
    assert_eq!(call.headers.text("x-gatepass-position"), Some(here.to_string().as_str()));
    assert_eq!(call.headers.text("x-gatepass-vms"), Some("4"));
}

#[test]
fn a_revocation_is_enforced_by_every_worker_at_its_very_next_request() {
    let mut site = Site::start(3).unwrap();
    let doomed = reading(&site);
    let other = bearing(&site, "jti-2");
    assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 3]);
    site.revoke(Kind::Credential, JTI).unwrap();
    assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 3]);
    assert_eq!(site.ask_all(&other).unwrap(), ["allow"; 3]);
}

#[test]
fn a_reloaded_worker_rebuilds_from_the_log_alone() {
    let mut site = Site::start(1).unwrap();
    let doomed = reading(&site);
    for nth in 0..40 {
        site.revoke(Kind::Credential, &format!("other-{nth}")).unwrap();
    }
    site.revoke(Kind::Credential, JTI).unwrap();
    for nth in 40..80 {
        site.revoke(Kind::Credential, &format!("other-{nth}")).unwrap();
    }
    assert_eq!(log(&site).deltas.len(), 81);
    let (good, first) = (bearing(&site, "jti-2"), bearing(&site, "other-0"));
    site.workers[0].set_fuel_limit(4_000_000_000);
    site.workers[0].reload().unwrap();
    assert_eq!(site.ask(0, doomed).unwrap(), "401 revoked_credential");
    assert_eq!(site.ask(0, first).unwrap(), "401 revoked_credential");
    assert_eq!(site.ask(0, good).unwrap(), "allow");
    assert_eq!(site.metric("gatepass_shared_state_forged"), 0);
}

#[test]
fn a_snapshot_over_8_kib_lies_in_keys_of_its_own_and_is_rebuilt_from_there() {
    use gatepass::publish::{Changes, Revoke};
    let mut site = Site::cold(2, |_| {}).unwrap();
    let doomed = reading(&site);
    let now = site.now();
    let mut revoked: Vec<Revoke> =
        (0..40_000).map(|nth| Revoke::new(Kind::Credential, &format!("many-{nth}"), now)).collect();
    revoked.push(Revoke::new(Kind::Credential, JTI, now));
    let changes = Changes::revoke(revoked);
    site.control.publisher().advance(&changes).unwrap();
    site.hear_snapshot().unwrap();
    let base = log(&site).base;
    assert!(base.len() > 1, "{}", base.len());
    assert!(base.iter().any(|s| matches!(s.place, Place::Bank(_))));
    let (good, last) = (bearing(&site, "jti-2"), bearing(&site, "many-39999"));
    for _ in 0..2 {
        // Until it has all of it, a gate answers nobody.
        assert_eq!(ask(&mut site.workers[1], &good), "held");
        site.load().unwrap();
        assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
        assert_eq!(site.ask_all(&last).unwrap(), ["401 revoked_credential"; 2]);
        assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
        site.workers[1].reload().unwrap();
    }
    assert_eq!(site.metric("gatepass_shared_state_forged"), 0);
}

#[test]
fn a_new_base_of_several_parts_at_the_same_position_is_read_once() {
    use gatepass::publish::{Changes, Revoke};
    let mut site = Site::cold(1, |_| {}).unwrap();
    let now = site.now();
    let revoked =
        (0..40_000).map(|nth| Revoke::new(Kind::Credential, &format!("many-{nth}"), now)).collect();
    let changes = Changes::revoke(revoked);
    site.control.publisher().advance(&changes).unwrap();
    site.hear_snapshot().unwrap();
    site.load().unwrap();
    let good = reading(&site);
    assert_eq!(ask(&mut site.workers[0], &good), "allow");
    // Somebody wants a base, and the feed has nothing newer.
    site.forge("want", b"").unwrap();
    site.advance(1_000);
    site.hear_checkpoint().unwrap();
    let call = site.poll().unwrap();
    assert!(!call.path().contains("after="), "{}", call.path());
    let old = log(&site).base;
    site.hear_snapshot().unwrap();
    assert_eq!(log(&site).base.len(), old.len());
    assert_ne!(log(&site).base, old);
    site.tick().unwrap();
    assert_eq!(ask(&mut site.workers[0], &good), "allow");
    let reads = site.shared("log").unwrap().reads;
    for _ in 0..10 {
        assert_eq!(ask(&mut site.workers[0], &good), "allow");
    }
    assert_eq!(site.shared("log").unwrap().reads, reads);
    assert_eq!(site.metric("gatepass_batches_refused"), 0);
}

#[test]
fn large_deltas_around_a_checkpoint_do_not_overwrite_each_other() {
    let mut site = Site::start(1).unwrap();
    revoke_many(&mut site, 0);
    site.advance(1_000);
    site.hear_checkpoint().unwrap();
    revoke_many(&mut site, 1);
    revoke_many(&mut site, 2);
    let good = reading(&site);
    for round in 0..2 {
        for delta in 0..3 {
            let doomed = bearing(&site, &format!("many-{delta}-599"));
            assert_eq!(
                ask(&mut site.workers[0], &doomed),
                "401 revoked_credential",
                "{round} {delta}"
            );
        }
        assert_eq!(ask(&mut site.workers[0], &good), "allow", "{round}");
        site.workers[0].reload().unwrap();
    }
    assert_eq!(site.metric("gatepass_shared_state_forged"), 0);
}

#[test]
fn when_the_deltas_outgrow_their_bound_the_leader_starts_a_new_base() {
    let mut site = Site::start(2).unwrap();
    let doomed = reading(&site);
    site.revoke(Kind::Credential, JTI).unwrap();
    let mut bases = 0;
    let mut deltas = 0;
    site.workers[1].set_fuel_limit(4_000_000_000);
    for round in 0..700 {
        let call = site.poll().unwrap();
        if call.path().contains("after=") {
            site.revoke(Kind::Credential, &format!("other-{round}")).unwrap();
            deltas += 1;
        } else {
            site.hear_snapshot().unwrap();
            bases += 1;
        }
        if round % 50 == 0 {
            site.workers[1].reload().unwrap();
            assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
        }
    }
    assert!(bases >= 2, "{bases} bases, {deltas} deltas");
    assert!(site.shared("log").unwrap().value.len() < 128 * 1024);
    let good = bearing(&site, "jti-2");
    let last = bearing(&site, "other-1");
    site.workers[1].reload().unwrap();
    for (request, expected) in
        [(&doomed, "401 revoked_credential"), (&last, "401 revoked_credential"), (&good, "allow")]
    {
        assert_eq!(site.ask_all(request).unwrap(), [expected; 2]);
    }
}

#[test]
fn a_worker_that_slept_through_bases_and_deltas_wakes_up_with_the_newest_state() {
    let mut site = Site::start(2).unwrap();
    let doomed = reading(&site);
    let mut sleeper = site.workers.pop().unwrap();
    assert_eq!(ask(&mut sleeper, &doomed), "allow");
    for round in 0..3 {
        site.revoke(Kind::Agent, &format!("{AGENT}{round}")).unwrap();
        site.forge("want", b"").unwrap();
        site.advance(1_000);
        site.hear_checkpoint().unwrap();
        site.hear_snapshot().unwrap();
        assert_eq!(log(&site).deltas, []);
    }
    site.revoke(Kind::Agent, AGENT).unwrap();
    assert_eq!(ask(&mut sleeper, &doomed), "401 revoked_agent");
    assert_eq!(ask(&mut sleeper, &reading(&site)), "allow", "issued since");
}

#[test]
fn when_the_leader_dies_another_polls_from_where_it_was() {
    let mut site = Site::start(2).unwrap();
    site.revoke(Kind::Credential, JTI).unwrap();
    let here = site.control.position();
    assert_eq!(site.leader.http_calls().len(), 1);
    for worker in &mut site.workers {
        worker.tick().unwrap();
        assert_eq!(worker.http_calls(), [], "the lease still runs");
    }
    site.advance(250);
    for worker in &mut site.workers {
        worker.tick().unwrap();
    }
    let polls: Vec<_> = site.workers.iter().flat_map(Vm::http_calls).collect();
    assert_eq!(polls.len(), 1);
    assert!(polls[0].path().contains(&format!("&after={here}&")));
}

#[test]
fn a_leader_that_is_taken_down_gives_its_lease_back() {
    let mut site = Site::start(1).unwrap();
    let before = site.poll().unwrap();
    assert!(site.leader.shut_down().unwrap());
    site.workers[0].tick().unwrap();
    let polls = site.workers[0].http_calls();
    assert_eq!(polls.len(), 1);
    // Another VM, the same Envoy.
    let says = |call: &HttpCall, name: &str| call.headers.text(name).unwrap().to_owned();
    assert_ne!(says(&polls[0], "x-gatepass-vm"), says(&before, "x-gatepass-vm"));
    assert_eq!(says(&polls[0], "x-gatepass-node"), says(&before, "x-gatepass-node"));
}

#[test]
fn an_old_leader_that_wakes_up_with_an_old_answer_clobbers_nothing() {
    let mut site = Site::start(2).unwrap();
    let doomed = reading(&site);
    let old_poll = site.poll().unwrap();
    let now = site.now();
    let early = site.control.revoke(Kind::Credential, "early", now).unwrap();
    let snapshot = site.control.snapshot(now).unwrap();
    let checkpoint = site.control.checkpoint(now).unwrap();
    let old_answers = [vec![early.clone()], snapshot, vec![checkpoint]]
        .map(|batches| site.control.answer(&batches).unwrap());
    // The leader is stopped; a worker takes over and hears of more.
    site.advance(300);
    site.workers[0].tick().unwrap();
    let late = site.control.revoke(Kind::Credential, JTI, now).unwrap();
    let body = site.control.answer(&[early, late]).unwrap();
    let call = site.workers[0].http_calls().pop().unwrap();
    answer(&mut site.workers[0], call.token, &body).unwrap();
    assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
    let before = site.shared("log").unwrap().value;
    for (nth, body) in old_answers.iter().enumerate() {
        let token = match nth {
            0 => old_poll.token,
            _ => match site.leader.http_calls().pop() {
                Some(call) => call.token,
                None => break,
            },
        };
        answer(&mut site.leader, token, body).unwrap();
        assert_eq!(site.shared("log").unwrap().value, before);
        site.workers[1].reload().unwrap();
        assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
    }
    site.leader.tick().unwrap();
    site.workers[0].tick().unwrap();
    assert_eq!(site.shared("log").unwrap().value, before);
}

#[test]
fn two_leaders_at_once_lose_nothing() {
    // Both believe that they lead; each hears of one revocation, in either order.
    let mut site = Site::start(2).unwrap();
    let poll = site.poll().unwrap();
    site.advance(300);
    site.workers[0].tick().unwrap();
    let other_poll = site.workers[0].http_calls().pop().unwrap();
    let now = site.now();
    let one = site.control.revoke(Kind::Credential, "one", now).unwrap();
    let two = site.control.revoke(Kind::Credential, "two", now).unwrap();
    let body = site.control.answer(std::slice::from_ref(&one)).unwrap();
    answer(&mut site.leader, poll.token, &body).unwrap();
    let body = site.control.answer(&[one, two]).unwrap();
    answer(&mut site.workers[0], other_poll.token, &body).unwrap();
    for jti in ["one", "two"] {
        let doomed = bearing(&site, jti);
        assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
    }
    let good = reading(&site);
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
}

#[test]
fn the_shared_counter_may_wrap_at_any_write() {
    for before in 0..32 {
        let envoy = Envoy::new(&filter().unwrap());
        envoy.shared_data().set_next_number(u32::MAX - before);
        let mut site = Site::on(envoy, 2, |_| {}).unwrap();
        site.hear_snapshot().unwrap();
        let doomed = reading(&site);
        assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 2], "{before}");
        site.revoke(Kind::Credential, "other").unwrap();
        site.workers[1].reload().unwrap();
        site.revoke(Kind::Credential, JTI).unwrap();
        assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2], "{before}");
        site.workers[0].reload().unwrap();
        assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2], "{before}");
        let good = bearing(&site, "jti-2");
        assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2], "{before}");
    }
}

#[test]
fn a_new_root_reaches_every_worker_and_the_old_feed_key_is_dead() {
    let mut site = Site::start(2).unwrap();
    let good = reading(&site);
    let now = site.now();
    site.control.rotate_feed_key(20, now).unwrap();
    site.hear_snapshot().unwrap();
    site.workers[1].reload().unwrap();
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
    site.revoke(Kind::Credential, JTI).unwrap();
    assert_eq!(site.ask_all(&good).unwrap(), ["401 revoked_credential"; 2]);
    // What the old key signs is refused, by the leader and by a worker that rebuilds.
    let before = site.shared("log").unwrap().value;
    site.control.signs_as(gatepass_tests::kit::signed::FEED).unwrap();
    site.revoke(Kind::Credential, "other").unwrap();
    assert_eq!(site.shared("log").unwrap().value, before);
    let other = bearing(&site, "other");
    assert_eq!(ask(&mut site.workers[0], &other), "held", "it is ahead");
    assert!(site.metric("gatepass_batch_refusals.bad_signature") > 0);
}

#[test]
fn two_gates_of_one_envoy_do_not_meet() {
    let mut site = Site::start(1).unwrap();
    let good = reading(&site);
    assert_eq!(site.ask(0, good.clone()).unwrap(), "allow");
    let text = String::from_utf8(site.configuration().to_vec()).unwrap();
    let canary = text.replace("\"feed_audience\":\"prod\"", "\"feed_audience\":\"canary\"");
    let other = site.workers[0].add_root(canary.as_bytes()).unwrap().unwrap();
    assert_eq!(site.ask(0, good.clone().root(other)).unwrap(), "held");
    assert_eq!(site.ask(0, good).unwrap(), "allow");
}

#[test]
fn an_idle_request_reads_one_number_and_writes_nothing() {
    let mut site = Site::start(1).unwrap();
    let good = reading(&site);
    assert_eq!(site.ask(0, good.clone()).unwrap(), "allow");
    let worker = &site.workers[0];
    let calls = |vm: &Vm, name| vm.host_calls(name);
    let (reads, writes) =
        (calls(worker, "proxy_get_shared_data"), calls(worker, "proxy_set_shared_data"));
    let logged = worker.logs().len();
    for _ in 0..10 {
        assert_eq!(site.ask(0, good.clone()).unwrap(), "allow");
    }
    let worker = &site.workers[0];
    assert_eq!(calls(worker, "proxy_get_shared_data"), reads + 10);
    assert_eq!(calls(worker, "proxy_set_shared_data"), writes);
    assert_eq!(worker.logs().len(), logged, "nothing is logged");
}

#[test]
fn a_restored_control_plane_with_a_newer_epoch_kills_what_was_issued_before() {
    use gatepass::publish::Publisher;
    let mut site = Site::start(2).unwrap();
    let old = reading(&site);
    assert_eq!(site.ask_all(&old).unwrap(), ["allow"; 2]);
    let mut state = site.control.publisher().state().clone();
    state.epoch = EPOCH + 1;
    state.sequence = 1;
    state.hash_key = [10; 16];
    state.revocations.clear();
    let bundle = gatepass_policy::compile(gatepass_tests::kit::orders::POLICY).unwrap().bundle;
    *site.control.publisher() = Publisher::restore(state, bundle).unwrap();
    site.hear_snapshot().unwrap();
    site.workers[1].reload().unwrap();
    assert_eq!(site.ask_all(&old).unwrap(), ["401 wrong_epoch"; 2]);
    let new = reading(&site);
    assert_eq!(site.ask_all(&new).unwrap(), ["allow"; 2]);
    assert_eq!(site.control.position(), Position { epoch: EPOCH + 1, sequence: 1 });
}

#[test]
fn two_listeners_in_one_vm_share_one_state_and_keep_their_modes() {
    let mut site = Site::start(1).unwrap();
    let doomed = reading(&site);
    let text = String::from_utf8(site.configuration().to_vec()).unwrap();
    let shadow = text.replace("\"mode\":\"enforce\"", "\"mode\":\"shadow\"");
    let other = site.workers[0].add_root(shadow.as_bytes()).unwrap().unwrap();
    assert_eq!(site.ask(0, doomed.clone().root(other)).unwrap(), "allow");
    site.revoke(Kind::Credential, JTI).unwrap();
    let shadowed = site.workers[0].send(doomed.clone().root(other)).unwrap();
    assert_eq!(
        site.workers[0].filter_state(shadowed, "gatepass_code"),
        Some(&b"revoked_credential"[..])
    );
    assert_eq!(site.ask(0, doomed.clone()).unwrap(), "401 revoked_credential");
    site.live(2).unwrap();
    assert_eq!(site.ask(0, doomed).unwrap(), "401 revoked_credential");
}

#[test]
fn what_one_worker_answered_from_binds_the_others_though_its_leader_died_before_telling() {
    let mut site = Site::start(2).unwrap();
    let doomed = reading(&site);
    assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 2]);
    revoke_and_die(&mut site);
    assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 2], "nobody was told");
    site.workers[1].reload().unwrap();
    assert_eq!(ask(&mut site.workers[1], &doomed), "401 revoked_credential");
    assert_eq!(ask(&mut site.workers[0], &doomed), "401 revoked_credential");
}

#[test]
fn a_batch_from_ahead_of_the_clock_is_taken_when_its_time_has_come_without_another_word() {
    let mut site = Site::start(1).unwrap();
    let doomed = reading(&site);
    let at = site.now().plus(31);
    let delta = site.control.revoke(Kind::Credential, JTI, at).unwrap();
    write(&site, delta);
    site.forge("gen", b"").unwrap();
    assert_eq!(site.ask(0, doomed.clone()).unwrap(), "held", "known to be behind");
    site.advance(900);
    assert_eq!(site.ask(0, doomed.clone()).unwrap(), "held");
    site.advance(100);
    assert_eq!(site.ask(0, doomed).unwrap(), "401 revoked_credential");
}

#[test]
fn a_new_leader_tells_what_the_one_before_wrote_and_did_not_tell() {
    let mut site = Site::start(2).unwrap();
    let doomed = reading(&site);
    assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 2]);
    revoke_and_die(&mut site);
    site.advance(250);
    site.workers[0].tick().unwrap();
    assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
}
