//! Another plugin of the same process writes to the gate's shared keys: it may cost availability,
//! until the staleness bound at the latest, and never makes an allow of a denial.

use gatepass::publish::{Changes, Revoke};
use gatepass_engine::batch::Batch;
use gatepass_engine::clock::Milliseconds;
use gatepass_engine::envelope::Unverified;
use gatepass_engine::revocation::Kind;
use gatepass_filter::log::{EnvelopeDigest, Log, Place, Stored};
use gatepass_tests::host::Request;
use gatepass_tests::kit::signed::{JTI, grant};
use gatepass_tests::kit::site::{Site, VM_ID, order, verdict};

fn bearing(site: &Site, jti: &str) -> Request {
    let mut grant = grant("orders:read");
    grant.jti = jti.to_owned();
    let token = site.control.issue(&grant, site.now()).unwrap();
    order("GET", "/orders", Some(&token))
}

/// Shared keys with their values.
type Keys = Vec<(Vec<u8>, Vec<u8>)>;

/// All of the gate.
fn keys(site: &Site) -> Keys {
    let data = site.envoy.shared_data();
    let keys = data.keys(VM_ID).into_iter();
    keys.map(|key| {
        let value = data.peek(VM_ID, &key).unwrap().value;
        (key, value)
    })
    .collect()
}

/// A site with a base in keys of its own, a large and a small delta and a checkpoint, after which
/// the gatepass `JTI` is revoked.
fn site() -> (Site, Request, Keys) {
    let mut site = Site::cold(2, |_| {}).unwrap();
    let many = |round: usize| {
        let now = site.now();
        let revoke = |nth| Revoke::new(Kind::Credential, &format!("many-{round}-{nth}"), now);
        Changes::revoke((0..600).map(revoke).collect())
    };
    let (one, two) = (many(1), many(2));
    site.control.publisher().advance(&one).unwrap();
    site.hear_snapshot().unwrap();
    let delta = site.control.delta(&two, site.now()).unwrap();
    site.hear(&[delta]).unwrap();
    site.advance(1_000);
    site.hear_checkpoint().unwrap();
    site.tick().unwrap();
    let doomed = bearing(&site, JTI);
    assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 2]);
    let old = keys(&site);
    site.revoke(Kind::Credential, JTI).unwrap();
    assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
    site.tick().unwrap();
    (site, doomed, old)
}

/// Asks every worker for what must be denied.
fn check(site: &mut Site, doomed: &Request, what: &str) {
    for request in [doomed.clone(), order("GET", "/orders", None)] {
        for said in site.ask_all(&request).unwrap() {
            assert_ne!(said, "allow", "{what}");
        }
    }
}

fn announce(site: &Site) {
    site.forge("gen", b"").unwrap();
}

#[test]
fn no_value_in_any_key_makes_an_allow_of_a_denial_or_a_crash() {
    let (mut site, doomed, old) = site();
    assert!(old.len() >= 9, "{}", old.len());
    let mut values = vec![
        vec![],
        vec![0],
        vec![1],
        vec![0; 4],
        vec![0xff; 12],
        vec![0xff; 100_000],
        vec![0; 1 << 20],
        b"\xff\xff\xff\xff\x0f".to_vec(),
        (0..=255).collect(),
    ];
    values.extend(old.iter().map(|(_, value)| value.clone()));
    values.extend(keys(&site).into_iter().map(|(_, value)| value));
    let present = keys(&site);
    for (key, before) in &present {
        for (nth, value) in values.iter().enumerate() {
            let what = format!("{} {nth}", String::from_utf8_lossy(key));
            let data = site.envoy.shared_data();
            data.overwrite(VM_ID, key, value);
            announce(&site);
            check(&mut site, &doomed, &what);
            site.advance(50);
            site.tick().unwrap();
            check(&mut site, &doomed, &what);
        }
        // As a flip of each of its first bits, too.
        for bit in 0..before.len().min(64) * 8 {
            let mut value = before.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            site.envoy.shared_data().overwrite(VM_ID, key, &value);
            announce(&site);
            check(&mut site, &doomed, "a flipped bit");
        }
        site.live(2).unwrap();
    }
    site.live(3).unwrap();
    let good = bearing(&site, "jti-2");
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
    assert!(site.metric("gatepass_shared_state_forged") > 0);
    for vm in site.workers.iter().chain([&site.leader]) {
        assert!(vm.memory_size() < 48 << 20, "{}", vm.memory_size());
    }
}

#[test]
fn a_vm_that_starts_among_garbage_serves_nothing_and_is_back_when_it_stops() {
    let (mut site, doomed, _) = site();
    let present = keys(&site);
    for (key, before) in &present {
        let name = String::from_utf8_lossy(key).into_owned();
        let flipped: Vec<u8> = before.iter().map(|byte| byte ^ 0x55).collect();
        let half = before[..before.len() / 2].to_vec();
        for value in [vec![], vec![0xff; 40], vec![0; 40], flipped, half] {
            site.envoy.shared_data().overwrite(VM_ID, key, &value);
            announce(&site);
            site.workers[1].reload().unwrap();
            check(&mut site, &doomed, &name);
        }
        site.live(3).unwrap();
        let good = bearing(&site, "jti-2");
        assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2], "{name}");
        check(&mut site, &doomed, &name);
    }
}

#[test]
fn a_log_put_together_from_real_parts_makes_no_allow_of_a_denial() {
    let (mut site, doomed, old) = site();
    let real = site.shared("log").unwrap().value;
    let real = Log::decode(&real).unwrap();
    let old_log = site.key("log").unwrap().into_bytes();
    let (_, old_log) = old.iter().find(|(key, _)| *key == old_log).unwrap();
    let old = Log::decode(old_log).unwrap();
    let garbage = Stored {
        received: Milliseconds(0),
        digest: EnvelopeDigest::of(b"garbage"),
        place: Place::Here(b"garbage".to_vec()),
    };
    let mut cases: Vec<(&str, Log)> = Vec::new();
    let mut case = |name, change: &dyn Fn(&mut Log)| {
        let mut log = real.clone();
        change(&mut log);
        cases.push((name, log));
    };
    case("no roots", &|log| log.roots.clear());
    case("garbage roots", &|log| log.roots = vec![vec![7; 100]; 3]);
    case("the root twice", &|log| log.roots.push(log.roots[0].clone()));
    case("no base", &|log| log.base.clear());
    case("no deltas", &|log| log.deltas.clear());
    case("the last delta gone", &|log| drop(log.deltas.pop()));
    case("the first delta gone", &|log| drop(log.deltas.remove(0)));
    case("reversed", &|log| log.deltas.reverse());
    case("base as deltas", &|log| core::mem::swap(&mut log.base, &mut log.deltas));
    case("an old checkpoint", &|log| log.checkpoint = old.checkpoint.clone());
    case("garbage before", &|log| log.base.insert(0, garbage.clone()));
    case("garbage after", &|log| log.deltas.push(garbage.clone()));
    case("a base twice", &|log| log.base.push(log.base[0].clone()));
    case("received at the start of time", &|log| received(log, 0));
    case("received at the end of time", &|log| received(log, u64::MAX));
    case("another's digest", &|log| log.base[0].digest = log.deltas[0].digest);
    case("another's bytes", &|log| log.base[0].place = log.deltas[0].place.clone());
    case("nothing", &|log| *log = Log::default());
    for reloads in [false, true] {
        for (name, log) in &cases {
            let bytes = log.encode().unwrap();
            site.forge("log", &bytes).unwrap();
            announce(&site);
            if reloads {
                site.workers[1].reload().unwrap();
            }
            // A VM without memory cannot know of a delta that was cut off at the end, nor how old
            // a base is that comes alone; only staleness bounds that.
            let cut = ["the last delta gone", "no deltas", "reversed", "an old checkpoint"];
            if !reloads || !cut.contains(name) {
                check(&mut site, &doomed, name);
            }
            site.live(4).unwrap();
            let good = bearing(&site, "jti-2");
            assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2], "{name}");
            check(&mut site, &doomed, name);
        }
    }
}

fn received(log: &mut Log, at: u64) {
    for stored in log.base.iter_mut().chain(&mut log.deltas).chain(&mut log.checkpoint) {
        stored.received = Milliseconds(at);
    }
}

#[test]
fn an_old_log_in_front_of_a_new_vm_ends_at_the_staleness_bound() {
    let (mut site, doomed, old) = site();
    let mut seconds_allowed = 0;
    for second in 0..40 {
        let put_back = |site: &Site| {
            for (key, value) in &old {
                site.envoy.shared_data().overwrite(VM_ID, key, value);
            }
            announce(site);
        };
        for _ in 0..20 {
            site.advance(50);
            put_back(&site);
            site.tick().unwrap();
            put_back(&site);
        }
        site.workers[1].reload().unwrap();
        let newest = verdict(&site.workers[0].decide(doomed.clone()).unwrap());
        let rebuilt = verdict(&site.workers[1].decide(doomed.clone()).unwrap());
        assert_ne!(newest, "allow", "one that knows better never goes back");
        match rebuilt.as_str() {
            "allow" => seconds_allowed += 1,
            other => assert!(second >= 29, "{second} {other}"),
        }
        site.serve().unwrap();
    }
    // `orders:read` may be decided on a proof of at most 30 s.
    assert!((28..=30).contains(&seconds_allowed), "{seconds_allowed}");
    site.live(4).unwrap();
    let good = bearing(&site, "jti-2");
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
    assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
}

#[test]
fn a_plugin_that_never_stops_writing_garbage_makes_the_gate_stale_and_no_worse() {
    let (mut site, doomed, _) = site();
    let mut fresh = 0;
    for second in 0..45 {
        for _ in 0..20 {
            site.advance(50);
            site.forge("log", b"garbage").unwrap();
            announce(&site);
            site.tick().unwrap();
        }
        site.forge("log", b"garbage").unwrap();
        site.serve().unwrap();
        site.forge("log", b"garbage").unwrap();
        announce(&site);
        check(&mut site, &doomed, "garbage");
        let good = bearing(&site, "jti-2");
        for said in site.ask_all(&good).unwrap() {
            match said.as_str() {
                "allow" => fresh = second,
                other => assert_eq!(other, "503 stale", "{second}"),
            }
        }
    }
    assert!((28..=30).contains(&fresh), "{fresh}");
    assert!(site.metric("gatepass_shared_state_forged") >= 45);
    site.live(3).unwrap();
    let good = bearing(&site, "jti-2");
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
}

#[test]
fn a_log_that_only_the_leader_saw_is_counted_as_forged_too() {
    let (mut site, _, _) = site();
    assert_eq!(site.metric("gatepass_shared_state_forged"), 0);
    site.forge("log", b"garbage").unwrap();
    site.live(2).unwrap();
    assert!(site.metric("gatepass_shared_state_forged") > 0);
}

#[test]
fn a_forged_record_of_crashes_does_not_hide_a_revocation() {
    let mut site = Site::start(2).unwrap();
    let doomed = bearing(&site, JTI);
    let good = bearing(&site, "jti-2");
    assert_eq!(site.ask_all(&doomed).unwrap(), ["allow"; 2]);
    let now = site.now();
    let delta = site.control.revoke(Kind::Credential, JTI, now).unwrap();
    // Postcard: one record, what the batch says, three begun, none ended, long ago.
    let mut record = vec![1];
    record.extend(content(&delta).0);
    record.extend([3, 0, 0]);
    site.forge("try", &record).unwrap();
    site.hear(&[delta]).unwrap();
    check(&mut site, &doomed, "called poison");
    assert_eq!(site.ask_all(&good).unwrap(), ["held"; 2], "known to be behind");
    // The leader starts a new base, which the record does not name.
    site.live(3).unwrap();
    assert_eq!(site.ask_all(&doomed).unwrap(), ["401 revoked_credential"; 2]);
    assert_eq!(site.ask_all(&good).unwrap(), ["allow"; 2]);
}

#[test]
fn roots_that_were_cut_short_do_not_blind_a_vm_for_good() {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    site.control.rotate_feed_key(20, now).unwrap();
    site.hear_snapshot().unwrap();
    let good = bearing(&site, JTI);
    let whole = site.shared("log").unwrap().value;
    let mut cut = Log::decode(&whole).unwrap();
    assert_eq!(cut.roots.len(), 2);
    cut.roots.pop();
    site.forge("log", &cut.encode().unwrap()).unwrap();
    announce(&site);
    site.workers[0].reload().unwrap();
    assert_eq!(site.ask(0, good.clone()).unwrap(), "held");
    site.forge("log", &whole).unwrap();
    announce(&site);
    assert_eq!(site.ask(0, good).unwrap(), "allow");
}

#[test]
fn a_log_of_many_empty_things_does_not_fill_the_memory() {
    let mut site = Site::start(1).unwrap();
    let doomed = order("GET", "/orders", None);
    // Postcard: eight million roots, each empty; the same as a base, and as deltas.
    for lists in 0..3 {
        let mut log = vec![0; lists];
        log.extend([0x80, 0xa4, 0xe8, 0x03]);
        log.resize(8_000_000, 0);
        site.forge("log", &log).unwrap();
        announce(&site);
        assert_eq!(site.ask(0, doomed.clone()).unwrap(), "401 no_credential");
    }
    let size = site.workers[0].memory_size() >> 20;
    assert!(size < 32, "{size} MiB");
}

/// What the filter knows the content of a batch by.
fn content(envelope: &[u8]) -> EnvelopeDigest {
    let envelope = Unverified::from_postcard(envelope).unwrap();
    let header = Batch::decode(envelope.unverified_payload()).unwrap().header;
    let numbers = [header.epoch, header.from, header.to, header.part.into()];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend(header.whole_digest);
    EnvelopeDigest::of(&bytes)
}
