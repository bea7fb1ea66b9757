//! Both clocks: freshness, lifetimes, and a clock that is set back.

use super::*;
use crate::clock::UnixSeconds;
use crate::testkit::{Message, feed_at, now};

#[test]
fn each_action_has_its_own_staleness_bound_to_the_millisecond() {
    for bound in [3_u32, 60, 900] {
        let aged = |milliseconds: u64| {
            Scene::with(|s| {
                s.action().staleness = bound;
                s.now.monotonic.0 += milliseconds;
                s.pass.set("exp", json!(NOW + 3000));
            })
        };
        let most = u64::from(bound) * 1000;
        check_scene(&aged(most), None, "at the bound");
        check_scene(&aged(most + 1), Some(Code::Stale), "past the bound");
    }
}

#[test]
fn staleness_counts_by_the_wall_clock_and_by_the_monotonic_one() {
    let at = |wall: u64, monotonic: u64| {
        Scene::with(|s| {
            s.now.unix.0 += wall;
            s.now.monotonic.0 += monotonic * 1000;
        })
    };
    check_scene(&at(60, 0), None, "wall at the bound");
    check_scene(&at(61, 0), Some(Code::Stale), "wall past the bound");
    check_scene(&at(0, 61), Some(Code::Stale), "the wall stands still");
    let back = Scene::with(|s| {
        s.now.unix.0 -= 3600;
        s.now.monotonic.0 += 61_000;
        s.pass.set("iat", json!(NOW - 3600)).set("exp", json!(NOW));
    });
    let Decision::Deny(denial) = back.decide() else {
        panic!("allowed");
    };
    assert_eq!(denial.code(), Code::Expired, "the floor is `issued_at`");
    let back = Scene::with(|s| {
        s.now.unix.0 -= 3600;
        s.now.monotonic.0 += 61_000;
    });
    check_scene(&back, Some(Code::Stale), "the wall was set back");
}

#[test]
fn a_monotonic_clock_that_runs_backwards_does_not_overflow() {
    check(|s| s.now.monotonic = Milliseconds(0), None);
}

#[test]
fn a_clock_set_back_does_not_revive_an_expired_gatepass() {
    let scene = Scene::with(|s| {
        s.pass.set("exp", json!(NOW + 100));
        s.now = later(0);
        s.action().staleness = 900;
    });
    let mut gate = scene.gate();
    assert!(matches!(scene.decide_at(&gate), Decision::Allow(_)));
    let checkpoint = Message::checkpoint(AT).issued_at(NOW + 100);
    feed_at(&mut gate, &checkpoint, later(100)).unwrap();
    // The wall clock says the first moment again.
    let Decision::Deny(denial) = scene.decide_at(&gate) else {
        panic!("revived");
    };
    assert_eq!(denial.code(), Code::Expired);
}

#[test]
fn what_ends_while_the_clock_is_back_ends_by_the_monotonic_one() {
    type Ends = fn(&mut Scene);
    let ends: [(Code, Ends); 3] = [
        (Code::Expired, |s| {
            s.pass.set("exp", json!(NOW + 100));
        }),
        (Code::RevokedKey, |s| s.keys[0].not_after.0 = NOW + 100),
        (Code::TooOld, |s| s.action().max_age = Some(119)),
    ];
    for (expected, ends) in ends {
        let mut scene = Scene::with(|s| {
            s.action().staleness = 900;
            s.pass.set("iat", json!(NOW - 20));
            ends(s);
        });
        let gate = scene.gate();
        for (seconds, code) in [(99, None), (100, Some(expected)), (270, Some(expected))] {
            // No newer proof is believed meanwhile: it would be from the future.
            scene.now = Now { unix: UnixSeconds(NOW - 3600), ..later(seconds) };
            let denied = match scene.decide_at(&gate) {
                Decision::Deny(denial) => Some(denial.code()),
                Decision::Allow(_) => None,
                Decision::Redeem(redemption) => panic!("{redemption:?}"),
                Decision::Read(awaited) => panic!("{awaited:?}"),
            };
            assert_eq!(denied, code, "{expected} after {seconds}");
        }
    }
}

#[test]
fn a_clock_set_back_does_not_make_a_gatepass_younger_or_reopen_a_keys_window() {
    let mut scene = Scene::with(|s| {
        s.action().max_age = Some(100);
        s.action().staleness = 900;
    });
    let mut gate = scene.gate();
    let checkpoint = Message::checkpoint(AT).issued_at(NOW + 81);
    feed_at(&mut gate, &checkpoint, later(81)).unwrap();
    let code = |scene: &Scene, gate: &Gate| match scene.decide_at(gate) {
        Decision::Deny(denial) => Some(denial.code()),
        Decision::Allow(_) => None,
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    };
    assert_eq!(code(&scene, &gate), Some(Code::TooOld));

    scene.keys[0].not_after.0 = NOW + 50;
    scene.action().max_age = None;
    let mut gate = scene.gate();
    assert_eq!(code(&scene, &gate), None);
    feed_at(&mut gate, &checkpoint, later(81)).unwrap();
    assert_eq!(code(&scene, &gate), Some(Code::RevokedKey));
}

#[test]
fn each_risk_has_its_longest_lifetime_to_the_second() {
    for (risk, longest) in [(Risk::Low, 3600), (Risk::Medium, 900), (Risk::High, 300)] {
        let lives = |seconds: u64| {
            Scene::with(|s| {
                s.action().risk = risk;
                s.action().staleness = 10;
                s.pass.set("iat", json!(NOW - 10)).set("exp", json!(NOW - 10 + seconds));
            })
        };
        check_scene(&lives(longest), None, "at the longest");
        let over = if risk == Risk::Low { Code::Malformed } else { Code::TooOld };
        check_scene(&lives(longest + 1), Some(over), "past the longest");
    }
}

#[test]
fn exp_iat_and_nbf_hold_to_the_second() {
    let claims = |claims: &[(&str, u64)]| {
        Scene::with(|s| {
            for (claim, value) in claims {
                s.pass.set(claim, json!(value));
            }
        })
    };
    for (times, expected) in [
        (&[("exp", NOW + 1)][..], None),
        (&[("exp", NOW)], Some(Code::Expired)),
        (&[("exp", NOW - 1)], Some(Code::Expired)),
        (&[("iat", NOW - 20), ("exp", NOW - 20)], Some(Code::Malformed)),
        (&[("iat", NOW + 5), ("exp", NOW + 4)], Some(Code::Malformed)),
        (&[("iat", NOW + 30)], None),
        (&[("iat", NOW + 31)], Some(Code::NotYetValid)),
        (&[("nbf", NOW + 30)], None),
        (&[("nbf", NOW + 31)], Some(Code::NotYetValid)),
        (&[("nbf", 0)], None),
        (&[("iat", 0), ("exp", 3600)], Some(Code::Expired)),
        (&[("iat", 0)], Some(Code::Malformed)),
        (&[("exp", u64::MAX)], Some(Code::Malformed)),
        (&[("iat", u64::MAX - 300), ("exp", u64::MAX)], Some(Code::NotYetValid)),
        (&[("exp", 0)], Some(Code::Malformed)),
    ] {
        check_scene(&claims(times), expected, &format!("{times:?}"));
    }
}

#[test]
fn at_the_end_of_time_nothing_is_allowed_and_nothing_overflows() {
    for unix in [0, 1, u64::MAX - 1, u64::MAX] {
        let mut scene = Scene::good();
        let gate = scene.gate();
        scene.now.unix.0 = unix;
        scene.now.monotonic = Milliseconds(u64::MAX);
        assert!(matches!(scene.decide_at(&gate), Decision::Deny(_)));
    }
    assert!(matches!(
        Scene::good().decide_at(&{
            let mut gate = Scene::good().gate();
            let far = Message::checkpoint(AT).issued_at(NOW + 30);
            feed_at(&mut gate, &far, now()).unwrap();
            gate
        }),
        Decision::Allow(_)
    ));
}
