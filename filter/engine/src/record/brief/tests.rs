use super::super::{Batch, Hash, Header, NoBatch, Reporter, Told, append, chain, read_entry};
use super::*;

fn decision(nth: u8) -> Decision<'static> {
    let bearer = Bearer {
        agent: "agent:1",
        owner: "user:corp/ada",
        subject: Some("user:corp/bob"),
        through: vec!["agent:2"],
        task: "task-1",
        jti: "jti-1",
    };
    Decision {
        id: [nth; 16],
        at: 1_000 + u64::from(nth),
        outcome: Outcome::Allow,
        code: "decided",
        policy: Some(Position { epoch: 1, sequence: 2 }),
        position: Some(Position { epoch: 1, sequence: 3 }),
        age: Some(20),
        bearer: Some(bearer),
        action: Some("orders:create"),
        audience: Some("https://orders.example"),
        method: Some("POST"),
        host: Some("orders.example"),
        route: Some("/orders"),
        call: Some(Call { is_mcp: true, method: "tools/call", name: Some("search") }),
        inputs: vec![("amount", Shown::Value("12")), ("account", Shown::Hash([7; 16]))],
        workload: Some("spiffe://prod/a"),
        certificate: Some("00ff"),
        request: Some("r-1"),
        trace: Some("00-01-02-03"),
        rules: vec!["spend"],
        shadow_rules: vec!["night", "cap"],
    }
}

fn with_bearer(jti: &'static str) -> Decision<'static> {
    let mut one = decision(9);
    one.bearer.iter_mut().for_each(|bearer| bearer.jti = jti);
    one
}

fn written(all: &[Decision<'_>]) -> Vec<u8> {
    let (mut sayings, mut scratch) = (Sayings::default(), Scratch::default());
    let mut bytes = Vec::new();
    for (at, one) in (0..).zip(all) {
        assert!(sayings.append(&mut bytes, at, one, &mut scratch));
    }
    bytes
}

fn batch(count: usize, entries: &[u8]) -> Vec<u8> {
    let reporter = Reporter {
        vm: 1,
        envoy: "00",
        audience: "prod",
        environment: "prod",
        version: "1",
        shadow: false,
    };
    let who = postcard::to_allocvec(&reporter).unwrap();
    let hash: Hash =
        sha2::Digest::finalize(sha2::Digest::chain_update(chain(&[0; 32], 0, &who), entries))
            .into();
    let count = u32::try_from(count).unwrap();
    let header = Header { reporter, first: 0, count, prev: [0; 32], hash };
    [postcard::to_allocvec(&header).unwrap(), entries.to_vec()].concat()
}

fn read(all: &[Decision<'_>]) {
    let bytes = batch(all.len(), &written(all));
    let found = Batch::read(&bytes).unwrap();
    assert_eq!(found.entries.len(), all.len());
    for ((_, told), one) in found.entries.iter().zip(all) {
        assert_eq!(*told, Told::Decision(Box::new(one.clone())));
    }
}

#[test]
fn what_is_written_in_brief_is_read_whole() {
    let bare = Decision { bearer: None, workload: None, certificate: None, ..decision(1) };
    let nowhere = Decision {
        policy: None,
        action: None,
        audience: None,
        method: None,
        host: None,
        route: None,
        call: None,
        ..decision(2)
    };
    let elsewhere = Decision { route: Some("/other"), ..decision(3) };
    let peer = Decision { certificate: Some("0100"), ..decision(4) };
    let all = [
        decision(0),
        bare,
        with_bearer("jti-2"),
        nowhere,
        elsewhere,
        peer,
        with_bearer("jti-1"),
        decision(6),
    ];
    read(&all);
    read(&all[1..]);
}

#[test]
fn the_second_of_a_kind_is_a_third_as_long() {
    let one = written(&[decision(0)]).len();
    let two = written(&[decision(0), decision(1)]).len() - one;
    assert!(two * 2 < one, "{one}, then {two}");
    // What is another's is said again.
    let other = written(&[decision(0), with_bearer("jti-2")]).len() - one;
    assert!(other > two + "agent:1user:corp/adajti-2".len(), "{other}");
}

#[test]
fn a_new_batch_knows_nothing_of_the_one_before() {
    let (mut sayings, mut scratch) = (Sayings::default(), Scratch::default());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    assert!(sayings.append(&mut first, 0, &decision(0), &mut scratch));
    sayings.forget();
    assert!(sayings.append(&mut second, 0, &decision(0), &mut scratch));
    assert_eq!(first, second);
    // Nor when the number of batches begins again.
    sayings.batch = u32::MAX;
    assert!(sayings.append(&mut Vec::new(), 0, &decision(0), &mut scratch));
    sayings.forget();
    let mut third = Vec::new();
    assert!(sayings.append(&mut third, 0, &decision(0), &mut scratch));
    assert_eq!(first, third);
}

#[test]
fn thousands_of_gatepasses_that_meet_in_a_slot_are_all_told_apart() {
    let names: Vec<String> = (0..3_000).map(|nth| format!("jti-{nth}")).collect();
    let one = |name: &'static str| with_bearer(name);
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    let all: Vec<_> = names.iter().chain(&names[..500]).map(|name| one(name)).collect();
    let bytes = written(&all);
    // Batches are smaller than that: the entries by themselves.
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at(u16::from_le_bytes(*length).into());
        entries.push(entry);
        rest = after;
    }
    for (entry, one) in entries.iter().zip(&all) {
        let other = |at| read_entry(entries.get(usize::try_from(at).ok()?)?);
        let told = read_entry(entry).unwrap().whole(other);
        assert_eq!(told, Some(Told::Decision(Box::new(one.clone()))));
    }
}

#[test]
fn one_that_is_too_long_leaves_nothing_and_is_nobodys_word() {
    let text = "a".repeat(MAX_ENTRY_BYTES);
    let long = Decision { inputs: vec![("note", Shown::Value(&text))], ..decision(0) };
    let (mut sayings, mut scratch) = (Sayings::default(), Scratch::default());
    let mut bytes = vec![1, 2];
    assert!(!sayings.append(&mut bytes, 0, &long, &mut scratch));
    assert_eq!(bytes, [1, 2]);
    let mut first = Vec::new();
    assert!(sayings.append(&mut first, 0, &decision(0), &mut scratch));
    assert_eq!(first, written(&[decision(0)]));
}

#[test]
fn a_name_that_leads_to_nothing_is_no_batch() {
    let brief = |bearer, place| {
        let rest = Rest {
            id: [1; 16],
            at: 1,
            outcome: Outcome::Deny,
            code: "no_route",
            position: None,
            age: None,
            call: None,
            inputs: Vec::new(),
            request: None,
            trace: None,
            rules: Vec::new(),
            shadow_rules: Vec::new(),
        };
        Entry::Brief(Box::new(Brief { bearer, place, peer: Said::Nothing, rest }))
    };
    let bearer = || Said::Here(decision(0).bearer.unwrap());
    let attempt = |all: &[Entry<'_>]| {
        let mut bytes = Vec::new();
        all.iter().for_each(|one| assert!(append(&mut bytes, one, &mut Scratch::default())));
        Batch::read(&batch(all.len(), &bytes)).map(|_| ())
    };
    let said = || brief(bearer(), Said::Nothing);
    assert_eq!(attempt(&[said(), brief(Said::By(0), Said::Nothing)]), Ok(()));
    // Itself, one that comes later, one that is not there.
    for at in [1, 2, 3, u32::MAX] {
        let all = [said(), brief(Said::By(at), Said::Nothing), said()];
        assert_eq!(attempt(&all), Err(NoBatch::Entry(1)), "{at}");
    }
    // One that says something else, one that names another, one that only counts, one of the form before.
    assert_eq!(attempt(&[said(), brief(Said::Nothing, Said::By(0))]), Err(NoBatch::Entry(1)));
    let third = [said(), brief(Said::By(0), Said::Nothing), brief(Said::By(1), Said::Nothing)];
    assert_eq!(attempt(&third), Err(NoBatch::Entry(2)));
    let before = Entry::Decision(Box::new(decision(0)));
    assert_eq!(attempt(&[before, brief(Said::By(0), Said::Nothing)]), Err(NoBatch::Entry(1)));
}

#[test]
fn what_is_large_is_said_each_time_and_nobody_may_name_it() {
    let actors = vec!["agent:0190a1b2-0000-7000-8000-000000000001"; 12];
    let large = |nth| {
        let mut one = decision(nth);
        one.bearer.iter_mut().for_each(|bearer| bearer.through.clone_from(&actors));
        one
    };
    read(&[large(0), large(1)]);
    let bytes = written(&[large(0), large(1)]);
    assert!(bytes.len() > 2 * 12 * 42, "{}", bytes.len());
    let Some(Entry::Brief(first)) =
        read_entry(&bytes[2..2 + usize::from(bytes[0]) + 256 * usize::from(bytes[1])])
    else {
        panic!()
    };
    let second = Brief { bearer: Said::By(0), ..*first.clone() };
    let one = Entry::Brief(first);
    assert_eq!(second.clone().whole(|_| Some(one.clone())), None);
    // The twin: with one actor less than is too many.
    let Entry::Brief(mut fewer) = one else { panic!() };
    let Said::Here(bearer) = &mut fewer.bearer else { panic!() };
    bearer.through.truncate(10);
    assert!(second.whole(|_| Some(Entry::Brief(fewer.clone()))).is_some());
}
