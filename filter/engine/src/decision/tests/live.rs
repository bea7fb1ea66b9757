//! Whose denials are held against the policy: those of a live gatepass for this system.

use super::*;

#[test]
fn only_a_live_gatepass_for_this_system_is_held_against_the_policy() {
    let counts = |change: Change, dead: Change| {
        let scene = Scene::with(|s| {
            change(s);
            dead(s);
        });
        match scene.decide() {
            Decision::Deny(denial) => denial.whom().is_live && denial.code().rests_on_policy(),
            Decision::Allow(permit) => panic!("{permit:?}"),
            Decision::Redeem(redemption) => panic!("{redemption:?}"),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        }
    };
    // What is denied before and after position and revocation are looked at.
    let early: [Change; 3] = [
        |s| s.ask("GET", "/nothing"),
        |s| s.headers.push(("upgrade", b"websocket".to_vec())),
        |s| s.ends_with_headers = false,
    ];
    let late: [Change; 2] = [
        |s| {
            s.pass.remove("authorization_details");
        },
        |s| s.action().scopes_all = vec!["x".into()],
    ];
    let dead: [Change; 7] = [
        |s| s.revoke(Kind::Credential, "jti-1", Below::Always),
        |s| s.revoke(Kind::Agent, AGENT, Below::Always),
        |s| {
            s.pass.set("seq", json!([EPOCH - 1, u64::MAX]));
        },
        |s| {
            s.pass.set("seq", json!([EPOCH, AT + 1]));
        },
        |s| {
            s.pass.set("aud", json!("https://else.example"));
        },
        |s| {
            s.pass.set("exp", json!(NOW));
        },
        |s| s.authority = "nowhere.example".into(),
    ];
    for (at, change) in early.into_iter().chain(late).enumerate() {
        assert!(counts(change, |_| {}), "{at}");
        for (why, dead) in dead.into_iter().enumerate() {
            assert!(!counts(change, dead), "{at}: {why}");
        }
    }
    // Where no host matched, no audience was looked at, however good the gatepass is.
    assert!(!counts(|s| s.authority = "nowhere.example".into(), |_| {}));
}
