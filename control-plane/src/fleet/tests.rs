use super::*;

const NOW: u64 = 1_000_000;
const NEWEST: Newest = Newest {
    position: Position { epoch: 1, sequence: 9 },
    policy: Some(Position { epoch: 1, sequence: 5 }),
    smallest_staleness: 10,
};

fn report(envoy: &str, seen_at: u64) -> Report {
    let who =
        Name { node: "edge".to_owned(), envoy: envoy.to_owned(), audience: "prod".to_owned() };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-gatepass-position", "1.9"),
        ("x-gatepass-policy", "1.5"),
        ("x-gatepass-age", "2500"),
        ("x-gatepass-mode", "enforce"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    Report::read(who, "join_token", [127, 0, 0, 1].into(), &headers, UnixSeconds(seen_at))
}

fn states(fleet: &Fleet, now: u64) -> Vec<(String, State)> {
    let list = fleet.list(|_| NEWEST, UnixSeconds(now));
    list.into_iter().map(|follower| (follower.envoy, follower.state)).collect()
}

#[test]
fn the_fleet_is_bounded_and_forgets() {
    let fleet = Fleet::new(UnixSeconds(0));
    let mut verified = report("with a certificate", 1);
    verified.identity = "certificate";
    fleet.report(verified);
    for at in 0..=MAX_FOLLOWERS as u64 {
        fleet.report(report(&format!("node-{at}"), 1000 + at));
    }
    let all = fleet.list(|_| NEWEST, UnixSeconds(1000));
    assert_eq!(all.len(), MAX_FOLLOWERS);
    assert!(!all.iter().any(|f| f.envoy == "node-0"), "the oldest gave way");
    assert!(all.iter().any(|f| f.verified), "whoever is verified gives way last");
    fleet.report(report("node-1", 5_000_000));
    assert_eq!(fleet.list(|_| NEWEST, UnixSeconds(5_000_000)).len(), 1);
}

#[test]
fn each_state_has_its_reason() {
    type Change = fn(&mut Report);
    let cases: [(&str, State, Change); 10] = [
        ("all is well", State::Enforcing, |_| {}),
        ("a worker has nothing", State::Cold, |r| r.position = None),
        ("no proof of freshness", State::Cold, |r| r.age = None),
        ("an old proof", State::Stale, |r| r.age = Some(11_000)),
        ("no older than allowed", State::Enforcing, |r| r.age = Some(10_999)),
        ("of what was never published", State::Ahead, |r| r.position = "1.10".parse().ok()),
        ("one position behind", State::Lagging, |r| r.position = "1.8".parse().ok()),
        ("its bundle was refused", State::Lagging, |r| r.policy = "1.4".parse().ok()),
        ("silent at the bound", State::Enforcing, |r| {
            r.answered_by = UnixSeconds(NOW - LOST_AFTER);
        }),
        ("silent past the bound", State::Lost, |r| {
            r.answered_by = UnixSeconds(NOW - LOST_AFTER - 1);
        }),
    ];
    for (why, state, change) in cases {
        let mut told = report("one", NOW);
        change(&mut told);
        assert_eq!(told.state(&NEWEST, UnixSeconds(NOW)), state, "{why}");
    }
}

#[test]
fn the_worst_stand_first_and_age_goes_on() {
    let fleet = Fleet::new(UnixSeconds(0));
    for envoy in ["c", "a"] {
        fleet.report(report(envoy, NOW));
    }
    let mut lost = report("z", NOW - 60);
    lost.answered_by = UnixSeconds(NOW - 60);
    fleet.report(lost);
    let expected = [("z", State::Lost), ("a", State::Enforcing), ("c", State::Enforcing)];
    let expected: Vec<_> = expected.map(|(envoy, state)| (envoy.to_owned(), state)).into();
    assert_eq!(states(&fleet, NOW), expected);
    let list = fleet.list(|_| NEWEST, UnixSeconds(NOW + 7));
    assert_eq!(list.last().and_then(|follower| follower.age), Some(9));
}

#[test]
fn a_policy_is_enforced_only_where_its_bundle_is() {
    let at = |text: &str| text.parse::<Position>().unwrap();
    let told = report("one", NOW).follower(&NEWEST, UnixSeconds(NOW));
    assert!(told.enforces(at("1.9"), None));
    assert!(!told.enforces(at("1.9"), Some(at("1.9"))), "its bundle is of 1.5");
    assert!(told.enforces(at("1.5"), Some(at("1.5"))));
    assert!(told.enforces(at("1.9"), Some(at("1.5"))), "a cohort had it before all others");
    assert!(!told.enforces(at("1.10"), None));
    assert!(!told.enforces(at("2.1"), None), "of another epoch");
    let shadow = Follower { mode: "shadow".to_owned(), ..told.clone() };
    assert!(!shadow.enforces(at("1.5"), Some(at("1.5"))), "in shadow nothing is enforced");
    let many = Follower { workers: "128+".to_owned(), ..told.clone() };
    assert!(!many.enforces(at("1.5"), Some(at("1.5"))), "of those beyond nobody knows");
    let ahead = Follower { state: State::Ahead, ..told.clone() };
    assert!(!ahead.enforces(at("1.5"), Some(at("1.5"))), "of what was never published here");
    let lost = Follower { state: State::Lost, ..told };
    assert!(!lost.enforces(at("1.5"), Some(at("1.5"))), "nobody knows what it enforces");
}

#[test]
fn what_was_decided_is_read_strictly() {
    let decided = |policy: &str, allowed, denied| {
        Some(Decided { policy: policy.parse().unwrap(), allowed, denied })
    };
    assert_eq!(Decided::read("1.5 7 2"), decided("1.5", 7, 2));
    let most = MAX_DECIDED;
    assert_eq!(Decided::read(&format!("1.5 {most} 0")), decided("1.5", most, 0));
    assert_eq!(Decided::read(&format!("1.5 0 {most}")), decided("1.5", 0, most));
    for over in [most + 1, u64::MAX] {
        assert_eq!(Decided::read(&format!("1.5 {over} 0")), None);
        assert_eq!(Decided::read(&format!("1.5 0 {over}")), None);
    }
    for wrong in ["", "1.5", "1.5 7", "1.5 7 2 1", "1.5  7 2", "1.5 -7 2", "7 2 1.5", "1.5 7 2 "] {
        assert_eq!(Decided::read(wrong), None, "{wrong}");
    }
    let over = format!("1.5 {}0 0", u64::MAX);
    assert_eq!(Decided::read(&over), None);
}

#[test]
fn what_is_said_for_one_audience_replaces_nothing_of_another() {
    let fleet = Fleet::new(UnixSeconds(0));
    let told = |audience: &str, allowed: u64| {
        let mut told = report("one", NOW);
        told.who.audience = audience.to_owned();
        told.decided = Decided::read(&format!("1.5 {allowed} 0"));
        fleet.report(told);
    };
    told("prod", 7);
    told("canary", 9);
    told("canary", 10);
    let mut seen = Vec::new();
    fleet.each(UnixSeconds(NOW), |report| {
        seen.push((report.who.audience.clone(), report.decided.map_or(0, |all| all.allowed)));
    });
    assert_eq!(seen, [("canary".to_owned(), 10), ("prod".to_owned(), 7)]);
}

#[test]
fn each_cohort_has_its_own_mark_and_a_report_keeps_it() {
    let fleet = Fleet::new(UnixSeconds(0));
    let from = |policy: &str, allowed: u64| {
        let mut told = report("one", NOW);
        told.decided = Decided::read(&format!("{policy} {allowed} 0"));
        fleet.report(told);
    };
    let decides = |allowed: u64| from("1.5", allowed);
    let lately = |cohort: &str| {
        let mut found = None;
        let of_all = Position { epoch: 1, sequence: 5 };
        fleet.each(UnixSeconds(NOW), |report| found = report.lately(cohort, of_all));
        found.map(|decided| decided.allowed)
    };
    decides(100);
    fleet.mark("a");
    decides(110);
    fleet.mark("b");
    decides(115);
    assert_eq!([lately("a"), lately("b"), lately("c")], [Some(15), Some(5), Some(115)]);
    from("1.8", 115);
    assert_eq!([lately("a"), lately("b")], [Some(15), Some(5)], "one VM has it of a base now");
    decides(115);
    // Under a policy from before that of all is no mark of it.
    let mut found = None;
    let newer = Position { epoch: 1, sequence: 6 };
    fleet.each(UnixSeconds(NOW), |report| found = report.lately("a", newer));
    assert_eq!(found.map(|decided| decided.allowed), Some(115));
    fleet.unmark("a");
    decides(116);
    assert_eq!([lately("a"), lately("b")], [Some(116), Some(6)]);
}

#[test]
fn all_were_heard_once_the_longest_silence_is_over() {
    let fleet = Fleet::new(UnixSeconds(NOW));
    let unheard = |at: u64| fleet.unheard(UnixSeconds(at));
    assert_eq!(unheard(NOW), Some(LONGEST_SILENCE));
    assert_eq!(unheard(NOW - 5), Some(LONGEST_SILENCE), "a clock that went back");
    assert_eq!(unheard(NOW + LONGEST_SILENCE - 1), Some(1));
    assert_eq!(unheard(NOW + LONGEST_SILENCE), None);
}

#[test]
fn only_a_worker_behind_its_leader_reports_early() {
    let told = report("one", NOW);
    assert!(!told.lags("1.9".parse().ok()));
    assert!(!told.lags(None), "nothing was fetched");
    assert!(told.lags("1.10".parse().ok()));
    let soon = told.soon().as_millis();
    assert!((1_000..2_000).contains(&soon), "{soon}");
}
