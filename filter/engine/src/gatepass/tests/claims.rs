//! Claims: their forms, their bounds, who acts, and which key may say so.

use super::*;
use crate::testkit::{
    AGENT, AT, AUDIENCE, BLUEPRINT, EPOCH, ISS, NOW, OTHER_ISSUER, OWNER, PRIOR_AGENT, USER,
    issuer_key,
};

#[test]
fn a_number_is_a_whole_number_in_digits() {
    let exp = NOW + 280;
    for (spelled, expected) in [
        (format!("{exp}"), None),
        (format!("{exp}.0"), MALFORMED),
        (format!("{exp}.5"), MALFORMED),
        (format!("{exp}e0"), MALFORMED),
        ("1.80000028e9".into(), MALFORMED),
        (format!("\"{exp}\""), MALFORMED),
        (format!("[{exp}]"), MALFORMED),
        (format!("{{\"exp\":{exp}}}"), MALFORMED),
        (format!("-{exp}"), MALFORMED),
        (format!("+{exp}"), MALFORMED),
        (format!("0{exp}"), MALFORMED),
        (format!("0x{exp:x}"), MALFORMED),
        ("-0".into(), MALFORMED),
        ("-1".into(), MALFORMED),
        ("1e400".into(), MALFORMED),
        ("-1e400".into(), MALFORMED),
        ("1e-400".into(), MALFORMED),
        ("18446744073709551615".into(), MALFORMED),
        ("18446744073709551616".into(), MALFORMED),
        ("9".repeat(400), MALFORMED),
        ("null".into(), MALFORMED),
        ("true".into(), MALFORMED),
        ("NaN".into(), MALFORMED),
        ("Infinity".into(), MALFORMED),
    ] {
        check_spelling(&format!(r#""exp":{exp}"#), &format!(r#""exp":{spelled}"#), expected);
    }
    check_spelling("{", r#"{"ignored":1e400,"#, MALFORMED);
    check_spelling("{", r#"{"ignored":1.5,"#, None);
}

#[test]
fn seq_is_two_whole_numbers() {
    check_claim("seq", json!([EPOCH, AT]), None);
    for bad in [
        json!([EPOCH]),
        json!([EPOCH, AT, 0]),
        json!([]),
        json!(["7", 50]),
        json!([7, "50"]),
        json!([7.0, 50]),
        json!([-7, 50]),
        json!([7, -50]),
        json!([[7, 50]]),
        json!({"0": 7, "1": 50}),
        json!({"epoch": 7, "sequence": 50}),
        json!("7.50"),
        json!(750),
        json!(null),
    ] {
        check_claim("seq", bad, MALFORMED);
    }
    check_spelling("[7,50]", "[7,50,]", MALFORMED);
    check_spelling("[7,50]", "[7,18446744073709551616]", MALFORMED);
    check_spelling("[7,50]", "[7,18446744073709551615]", Some(Code::Behind));
}

#[test]
fn every_claim_that_decides_is_demanded() {
    for claim in [
        "iss",
        "aud",
        "exp",
        "iat",
        "jti",
        "seq",
        "sub",
        "client_id",
        "owner",
        "blueprint",
        "txn",
        "env",
        "assurance",
    ] {
        let mut pass = Pass::good();
        pass.remove(claim);
        check(pass.token(), MALFORMED, claim);
        check_claim(claim, json!(null), MALFORMED);
        check_claim(claim, json!({}), MALFORMED);
        check_claim(claim, json!(true), MALFORMED);
    }
    for claim in ["anc", "scope", "nbf", "approval"] {
        let mut pass = Pass::good();
        pass.remove(claim);
        check(pass.token(), None, claim);
    }
    check_claims("{}", MALFORMED);
    check_claims("[]", MALFORMED);
    check_claims("null", MALFORMED);
}

#[test]
fn claims_are_an_object_and_so_is_each_actor() {
    // What a struct's fields in order would be to a lenient reader.
    let details = json!([{"type": "agent_action", "actions": ["orders:create"]}]);
    let fields = json!([
        ISS, [AUDIENCE], NOW + 280, NOW - 20, null, "jti-1", [EPOCH, AT], AGENT,
        {"sub": AGENT, "owner": OWNER, "blueprint": BLUEPRINT},
        AGENT, [], OWNER, BLUEPRINT, "", details, "task-1", "prod", "attested", {}, {}, null, {},
    ]);
    check_claims(&fields.to_string(), MALFORMED);
    check_claim("act", json!([AGENT, OWNER, BLUEPRINT]), MALFORMED);
    check_claim("act", json!([AGENT, OWNER, BLUEPRINT, null]), MALFORMED);
    let nested = json!({
        "sub": AGENT, "owner": OWNER, "blueprint": BLUEPRINT,
        "act": [PRIOR_AGENT, OWNER, BLUEPRINT],
    });
    check_claim("act", nested, MALFORMED);
    check_claim("assurance", json!({"attested": null}), MALFORMED);
    let details = json!([["agent_action", ["orders:create"]]]);
    check_claim("authorization_details", details, MALFORMED);
    check_claim("approval", json!(["ap", USER, 1, ["hwk"], b64([0; 32])]), MALFORMED);
}

#[test]
fn an_id_of_another_kind_is_refused() {
    for (claim, bad) in [
        ("client_id", json!(USER)),
        ("client_id", json!("bbbbbbbb-0000-4000-8000-000000000001")),
        ("client_id", json!(AGENT.to_uppercase())),
        ("sub", json!("agent:root")),
        ("sub", json!("root")),
        ("sub", json!("")),
        ("owner", json!(AGENT)),
        ("owner", json!("bob")),
        ("owner", json!("user:corp/b/ob")),
        ("blueprint", json!("")),
        ("blueprint", json!("bp b")),
        ("jti", json!("")),
        ("jti", json!("a,b")),
        ("jti", json!("a".repeat(129))),
        ("txn", json!("task\n1")),
        ("txn", json!("tâche")),
        ("env", json!("")),
        ("iss", json!("desk.example")),
        ("aud", json!("orders.example")),
        ("aud", json!([])),
        ("aud", json!([AUDIENCE, "orders.example"])),
        ("aud", json!([AUDIENCE, 1])),
        ("aud", json!([[AUDIENCE]])),
        ("aud", json!([AUDIENCE, null])),
        ("scope", json!(["orders:write"])),
        ("assurance", json!("ATTESTED")),
    ] {
        check_claim(claim, bad, MALFORMED);
    }
}

#[test]
fn lists_are_bounded() {
    let audiences = |count: usize| {
        let mut all = vec![AUDIENCE.to_owned()];
        all.extend((1..count).map(|n| format!("https://a{n}.example")));
        json!(all)
    };
    check_claim("aud", audiences(16), None);
    check_claim("aud", audiences(17), MALFORMED);
    let ancestors = |count: usize| json!((0..count).map(|n| format!("j{n}")).collect::<Vec<_>>());
    check_claim("anc", ancestors(8), None);
    check_claim("anc", ancestors(9), MALFORMED);
    check_claim("anc", json!([]), None);
    check_claim("anc", json!("jti-0"), MALFORMED);
    let entry = json!({"type": "agent_action", "actions": ["orders:create"]});
    check_claim("authorization_details", json!(vec![entry.clone(); 16]), None);
    check_claim("authorization_details", json!(vec![entry; 17]), MALFORMED);
    let actions = |count: usize| {
        let mut all = vec!["orders:create".to_owned()];
        all.extend((1..count).map(|n| format!("a{n}")));
        json!([{"type": "agent_action", "actions": all}])
    };
    check_claim("authorization_details", actions(32), None);
    check_claim("authorization_details", actions(33), MALFORMED);
    let choices = |count: usize| {
        let all: Vec<usize> = (0..count).collect();
        json!([{
            "type": "agent_action", "actions": ["orders:create"],
            "constraints": {"count": {"in": all}},
        }])
    };
    check_claim("authorization_details", choices(64), None);
    check_claim("authorization_details", choices(65), MALFORMED);
    let constraints = |count: usize| {
        let all: serde_json::Map<String, Value> =
            (0..count).map(|n| (format!("i{n}"), json!({"max": 1}))).collect();
        json!([{"type": "agent_action", "actions": ["orders:create"], "constraints": all}])
    };
    let violated = Some(Code::ConstraintViolated);
    check_claim("authorization_details", constraints(32), violated);
    check_claim("authorization_details", constraints(33), MALFORMED);
    check_claim("ignored", json!(vec![0; 2000]), None);
}

#[test]
fn nesting_and_members_are_bounded() {
    let nested = |depth: usize| {
        let text = format!("{{\"ignored\":{}{},", "[".repeat(depth), "]".repeat(depth));
        good_claims().replacen('{', &text, 1)
    };
    check_claims(&nested(15), None);
    check_claims(&nested(17), MALFORMED);
    check_claims(&nested(2000), MALFORMED);
    check_claims(&"[".repeat(4000), MALFORMED);
    check_claims(&"{\"a\":".repeat(1000), MALFORMED);
    let members = |count: usize| {
        let mut pass = Pass::good();
        let mut n = 0;
        while pass.claims.as_object().unwrap().len() < count {
            pass.set(&format!("x{n}"), json!(0));
            n += 1;
        }
        pass.token()
    };
    check(members(64), None, "64 members");
    check(members(65), MALFORMED, "65 members");
}

/// A good token of exactly this many bytes.
fn of_length(bytes: usize) -> String {
    for spaces in 0..4 {
        let header = format!("{}{}", good_header(), " ".repeat(spaces));
        let mut pad = bytes * 3 / 4 - header.len() - good_claims().len() - 120;
        loop {
            let claims =
                good_claims().replacen('{', &format!(r#"{{"pad":"{}","#, "x".repeat(pad)), 1);
            let length = b64(&header).len() + b64(&claims).len() + 2 + 86;
            if length == bytes {
                return compact(header.as_bytes(), claims.as_bytes(), ISSUER);
            }
            if length > bytes {
                break;
            }
            pad += 1;
        }
    }
    panic!("no token of {bytes} bytes");
}

#[test]
fn a_token_of_8_kib_is_read_and_one_of_a_byte_more_is_not() {
    for (bytes, expected) in [(8191, None), (8192, None), (8193, MALFORMED), (9000, MALFORMED)] {
        let token = of_length(bytes);
        assert_eq!(token.len(), bytes);
        check(token, expected, &bytes.to_string());
    }
    check("A".repeat(1 << 20), MALFORMED, "a megabyte");
    check(".".repeat(1 << 20), MALFORMED, "a megabyte of dots");
}

fn actor(agent: &str, next: Option<Value>) -> Value {
    let mut actor = json!({"sub": agent, "owner": OWNER, "blueprint": BLUEPRINT});
    if let Some(next) = next {
        actor["act"] = next;
    }
    actor
}

#[test]
fn the_acting_party_is_an_agent_and_is_the_client() {
    let chain = |sub: &str, act: Option<Value>, client: &str| {
        let mut pass = Pass::good();
        pass.set("sub", json!(sub)).set("client_id", json!(client));
        match act {
            Some(act) => pass.set("act", act),
            None => pass.remove("act"),
        };
        pass.token()
    };
    let b = || actor(AGENT, None);
    check(chain(AGENT, None, AGENT), None, "A alone");
    check(chain(PRIOR_AGENT, Some(b()), AGENT), MALFORMED, "B for A, whose owner is not told");
    let told = actor(AGENT, Some(actor(PRIOR_AGENT, None)));
    check(chain(PRIOR_AGENT, Some(told), AGENT), None, "B for A");
    check(chain(USER, Some(b()), AGENT), None, "B for U");
    let b_for_a = actor(AGENT, Some(actor(PRIOR_AGENT, None)));
    check(chain(USER, Some(b_for_a), AGENT), None, "B for A for U");
    check(chain(USER, None, AGENT), MALFORMED, "a person acts");
    check(chain(AGENT, None, PRIOR_AGENT), MALFORMED, "another client");
    check(chain(PRIOR_AGENT, Some(b()), PRIOR_AGENT), MALFORMED, "the subject as client");
    let a_for_b = actor(PRIOR_AGENT, Some(b()));
    check(chain(USER, Some(a_for_b), AGENT), MALFORMED, "the inner actor as client");
    check(chain(USER, Some(actor(USER, None)), AGENT), MALFORMED, "a person as actor");
    check_claim("act", json!(null), MALFORMED);
    check_claim("act", json!(AGENT), MALFORMED);
    check_claim("act", json!({}), MALFORMED);
}

#[test]
fn the_acting_agents_owner_and_blueprint_are_stated_once_and_agree() {
    for (claim, other) in [("owner", "user:corp/eve"), ("blueprint", "bp-x")] {
        check_claim(claim, json!(other), MALFORMED);
        let mut act = actor(AGENT, None);
        act[claim] = json!(other);
        check_claim("act", act.clone(), MALFORMED);
        act.as_object_mut().unwrap().remove(claim);
        check_claim("act", act, MALFORMED);
    }
}

#[test]
fn an_actor_with_an_unknown_member_is_refused_at_any_depth() {
    for member in ["iss", "cnf", "client_id", "Act"] {
        let mut outer = actor(AGENT, None);
        outer[member] = json!("x");
        check_claim("act", outer, MALFORMED);
        let mut inner = actor(PRIOR_AGENT, None);
        inner[member] = json!("x");
        check_claim("act", actor(AGENT, Some(inner)), MALFORMED);
    }
}

#[test]
fn a_chain_has_at_most_eight_actors() {
    let chain = |count: usize| {
        let mut act = None;
        for n in (0..count).rev() {
            let agent = format!("agent:bbbbbbbb-0000-4000-8000-{:012}", n + 1);
            act = Some(actor(&agent, act));
        }
        act.unwrap()
    };
    check_claim("act", chain(1), None);
    check_claim("act", chain(8), None);
    check_claim("act", chain(9), MALFORMED);
    check_claim("act", chain(14), MALFORMED);
}

#[test]
fn an_issuer_speaks_only_with_its_own_key() {
    let mut scene = Scene::good();
    let mut second = issuer_key(OTHER_ISSUER);
    second.issuer = "https://second.example".into();
    scene.keys.push(second);
    let gate = scene.gate();
    for (signer, iss, expected) in [
        (ISSUER, ISS, None),
        (OTHER_ISSUER, "https://second.example", None),
        (OTHER_ISSUER, ISS, Some(Code::WrongIssuer)),
        (ISSUER, "https://second.example", Some(Code::WrongIssuer)),
        (ISSUER, "https://desk.example/", Some(Code::WrongIssuer)),
    ] {
        let mut pass = Pass::good();
        pass.signer = signer;
        pass.header["kid"] = json!(kid(signer));
        pass.set("iss", json!(iss));
        check_in(&scene, &gate, pass.token().as_bytes(), expected, iss);
    }
    let mut crossed = Pass::good();
    crossed.signer = OTHER_ISSUER;
    check_in(&scene, &gate, crossed.token().as_bytes(), Some(Code::BadSignature), "crossed");
}

#[test]
fn a_key_is_believed_from_its_first_second_to_before_its_last() {
    for (not_before, not_after, expected) in [
        (NOW, NOW + 1, None),
        (0, u64::MAX, None),
        (NOW + 1, NOW + 10, Some(Code::RevokedKey)),
        (NOW - 10, NOW, Some(Code::RevokedKey)),
        (NOW, NOW, Some(Code::RevokedKey)),
        (NOW + 10, NOW - 10, Some(Code::RevokedKey)),
    ] {
        let scene = Scene::with(|s| {
            s.keys[0].not_before = UnixSeconds(not_before);
            s.keys[0].not_after = UnixSeconds(not_after);
        });
        let token = Pass::good().token();
        check_in(&scene, &scene.gate(), token.as_bytes(), expected, "window");
    }
}
