use gatepass_engine::record::{Batch, Bearer, Told};

use super::*;

fn reporter() -> Reporter<'static> {
    Reporter {
        vm: 3,
        envoy: "0011223344556677",
        audience: "prod",
        environment: "prod",
        version: "0.1.0",
        shadow: false,
    }
}

fn records() -> Records {
    let mut records = Records::new(&reporter());
    records.set_clock(1_000_000, Milliseconds(0));
    records
}

fn decision(nth: u32, outcome: Outcome, code: &'static str, known: bool) -> Decision<'static> {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&nth.to_le_bytes());
    let bearer = Bearer {
        agent: "agent:0190a1b2-0000-7000-8000-000000000001",
        owner: "user:corp/ada",
        subject: None,
        through: Vec::new(),
        task: "task-1",
        jti: "jti-1",
    };
    Decision {
        id,
        at: 0,
        outcome,
        code,
        policy: None,
        position: None,
        age: Some(20),
        bearer: known.then_some(bearer),
        action: Some("orders:create"),
        audience: Some("https://orders.example"),
        method: Some("POST"),
        host: Some("orders.example"),
        route: Some("/orders"),
        call: None,
        inputs: Vec::new(),
        workload: None,
        certificate: None,
        request: None,
        trace: None,
        rules: Vec::new(),
        shadow_rules: Vec::new(),
    }
}

fn allow(records: &mut Records, nth: u32) {
    records.add(Class::Allowed, decision(nth, Outcome::Allow, "decided", true));
}

type Counts = Vec<(Why, &'static str, u64)>;

/// Everything that is told until nothing is left, as a control plane would check it: without a hole, each
/// batch joined to the one before.
fn told(records: &mut Records) -> (Vec<u32>, Counts) {
    let (mut next, mut head) = (0, Hash::default());
    let (mut ids, mut counts) = (Vec::new(), Vec::new());
    while let Some(bytes) = records.oldest() {
        let batch = Batch::read(&bytes).unwrap();
        assert_eq!((batch.header.first, batch.header.prev), (next, head));
        assert_eq!(batch.header.reporter, reporter());
        for (_, entry) in &batch.entries {
            match entry {
                Told::Decision(decision) => {
                    ids.push(u32::from_le_bytes(*decision.id.first_chunk().unwrap()));
                }
                Told::Counted(counted) => {
                    counts.push((counted.why, known_code(counted.code), counted.count));
                }
            }
        }
        next += u64::from(batch.header.count);
        head = batch.header.hash;
        records.taken();
    }
    (ids, counts)
}

#[test]
fn each_decision_is_told_once_and_in_order() {
    let mut records = records();
    for nth in 0..5_000 {
        allow(&mut records, nth);
    }
    let (ids, counts) = told(&mut records);
    assert_eq!(ids, (0..5_000).collect::<Vec<_>>());
    assert_eq!(counts, []);
    assert_eq!(records.held.all, 0);
    allow(&mut records, 7);
    assert!(records.oldest().is_some(), "and so is what comes later");
}

#[test]
fn a_batch_stays_the_same_until_it_is_taken() {
    let mut records = records();
    allow(&mut records, 1);
    let first = records.oldest().unwrap();
    allow(&mut records, 2);
    assert_eq!(records.oldest().unwrap(), first);
    records.taken();
    assert_ne!(records.oldest().unwrap(), first);
    assert!(records.oldest().is_some());
}

#[test]
fn what_waits_is_told_within_a_second_and_at_once_when_a_batch_is_full() {
    let mut records = records();
    records.begin(Milliseconds(500), None);
    assert!(!records.is_due(Milliseconds(10_000)), "nothing waits");
    allow(&mut records, 1);
    assert!(!records.is_due(Milliseconds(1_499)));
    assert!(records.is_due(Milliseconds(1_500)));
    while !records.is_due(Milliseconds(500)) {
        allow(&mut records, 1);
    }
    assert!(records.held.all <= RING_BYTES / 4);
    // What is only counted is told in its time too.
    let mut records = self::records();
    records.count(Why::Open, Outcome::Allow, "public");
    assert!(!records.is_due(Milliseconds(999)));
    assert!(records.is_due(Milliseconds(1_000)));
    assert_eq!(told(&mut records).1, [(Why::Open, "public", 1)]);
}

#[test]
fn a_full_ring_drops_the_newest_and_says_how_many_when_there_is_room() {
    let mut records = records();
    let all = 200_000;
    for nth in 0..all {
        allow(&mut records, nth);
        assert!(records.held.all <= RING_BYTES);
    }
    let dropped = records.take_dropped();
    assert!(dropped > 0);
    assert_eq!(records.take_dropped(), 0, "told once");
    let (ids, counts) = told(&mut records);
    assert_eq!(ids, (0..all - u32::try_from(dropped).unwrap()).collect::<Vec<_>>());
    assert_eq!(counts, [(Why::Dropped, "decided", dropped)]);
    // The twin: what fits leaves no gap.
    for nth in 0..10_000 {
        allow(&mut records, nth);
    }
    assert_eq!(records.take_dropped(), 0);
}

#[test]
fn an_outage_of_days_takes_no_more_room() {
    let mut records = records();
    for second in 0..100_000_u64 {
        records.begin(Milliseconds(second * 1_000), None);
        allow(&mut records, 1);
        records.count(Why::Unverified, Outcome::Deny, "no_credential");
        if records.is_due(Milliseconds(second * 1_000 + 999)) {
            // Posted and never answered.
            assert!(records.oldest().is_some());
        }
        assert!(records.held.all <= RING_BYTES);
    }
    let (_, counts) = told(&mut records);
    let of = |why| counts.iter().filter(|(known, ..)| *known == why).map(|(.., n)| n).sum::<u64>();
    assert_eq!(of(Why::Unverified), 100_000);
    assert!(of(Why::Dropped) > 0);
}

#[test]
fn a_flood_without_gatepasses_pushes_no_verified_one_out() {
    let mut records = records();
    let mut counted = 0;
    for nth in 0..200_000_u64 {
        records.begin(Milliseconds(nth / 10), None);
        if records.has_turn() {
            records.add(Class::Unverified, decision(9, Outcome::Deny, "no_credential", false));
        } else {
            counted += 1;
            records.count(Why::Unverified, Outcome::Deny, "no_credential");
        }
    }
    assert_eq!(records.take_dropped(), 0, "20 seconds of it fit");
    assert!(records.held.all < RING_BYTES / 8 + BATCH_BYTES);
    for nth in 0..5_000 {
        allow(&mut records, nth);
    }
    assert_eq!(records.take_dropped(), 0);
    let (ids, counts) = told(&mut records);
    assert_eq!(ids.iter().filter(|id| **id == 9).count(), 20 * 16 + 1);
    assert_eq!(ids.iter().filter(|id| **id != 9).count(), 4_999);
    assert_eq!(counts, [(Why::Unverified, "no_credential", counted)]);
}

#[test]
fn those_without_have_an_eighth_and_denials_half_however_long_nothing_is_taken() {
    let mut records = records();
    for _ in 0..60_000 {
        records.add(Class::Unverified, decision(9, Outcome::Deny, "bad_signature", false));
    }
    let share = records.held.all;
    assert!((RING_BYTES / 8..RING_BYTES / 8 + MAX_ENTRY_BYTES).contains(&share), "{share}");
    for _ in 0..60_000 {
        records.add(Class::Denied, decision(8, Outcome::Deny, "constraint_violated", true));
    }
    let share = records.held.all - share;
    assert!((RING_BYTES / 2..RING_BYTES / 2 + MAX_ENTRY_BYTES).contains(&share), "{share}");
    let before = records.take_dropped();
    assert!(before > 0);
    allow(&mut records, 1);
    assert_eq!(records.take_dropped(), 0, "what is allowed has its room");
}

#[test]
fn what_is_never_taken_is_counted_and_its_numbers_stay_missing() {
    let mut records = records();
    (0..3).for_each(|nth| allow(&mut records, nth));
    let first = records.oldest().unwrap();
    records.refused();
    allow(&mut records, 3);
    let next = records.oldest().unwrap();
    let (first, next) = (Batch::read(&first).unwrap(), Batch::read(&next).unwrap());
    assert_eq!((first.header.first, first.header.count), (0, 3));
    assert_eq!((next.header.first, next.header.prev), (3, first.header.hash));
    let gap = next.entries.iter().find_map(|(_, entry)| match entry {
        Told::Counted(counted) => Some((counted.why, counted.code, counted.count)),
        Told::Decision(_) => None,
    });
    assert_eq!(gap, Some((Why::Dropped, "not_taken", 3)));
}

#[test]
fn inputs_that_do_not_fit_are_left_out_and_the_decision_stays() {
    let mut records = records();
    let text = "a".repeat(256);
    let input = |_| ("note", gatepass_engine::record::Shown::Value(text.as_str()));
    let inputs = (0..20).map(input).collect();
    records
        .add(Class::Allowed, Decision { inputs, ..decision(4, Outcome::Allow, "decided", true) });
    assert_eq!(told(&mut records).0, [4]);
    assert_eq!(records.take_dropped(), 0);
}

#[test]
fn a_record_says_when_it_was_by_the_wall() {
    let mut records = records();
    records.set_clock(5_000_000, Milliseconds(100));
    records.begin(Milliseconds(130), Some(7));
    allow(&mut records, 1);
    let bytes = records.oldest().unwrap();
    let batch = Batch::read(&bytes).unwrap();
    let Some((_, Told::Decision(decision))) = batch.entries.first() else { panic!() };
    assert_eq!(decision.at, 5_000_030);
}
