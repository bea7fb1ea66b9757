//! What an entry grants and restricts, on whole requests. The operators by themselves are tested
//! beside `entry.rs`.

use super::*;
use crate::testkit::{b64, bundle};

fn entry(member: &str, value: serde_json::Value, expected: Option<Code>) {
    let why = format!("{member}: {value}");
    let scene = Scene::with(|s| {
        s.pass.entry(member, value);
    });
    check_scene(&scene, expected, &why);
}

const VIOLATED: Option<Code> = Some(Code::ConstraintViolated);
const UNSUPPORTED: Option<Code> = Some(Code::UnsupportedRestriction);
const MALFORMED: Option<Code> = Some(Code::Malformed);

#[test]
fn each_operator_holds_and_fails_on_each_kind() {
    for (input, operator, good, bad) in [
        ("amount", "max", json!("100.00 EUR"), json!("99.9999 EUR")),
        ("amount", "min", json!("100 EUR"), json!("100.0001 EUR")),
        ("amount", "equals", json!("100 EUR"), json!("100 USD")),
        ("amount", "in", json!(["1 EUR", "100 EUR"]), json!(["1 EUR"])),
        ("amount", "max", json!("100.00 EUR"), json!("1000.00 USD")),
        ("count", "max", json!(5), json!(4)),
        ("count", "min", json!(5), json!(6)),
        ("count", "equals", json!(5), json!(-5)),
        ("count", "in", json!([4, 5]), json!([4, 6])),
        ("weight", "max", json!("1.5"), json!("1.4999")),
        ("weight", "min", json!(1), json!(2)),
        ("weight", "equals", json!("1.50"), json!("1.51")),
        ("weight", "in", json!(["1.5"]), json!([1])),
        ("express", "equals", json!(true), json!(false)),
        ("express", "in", json!([false, true]), json!([false])),
        ("customer", "equals", json!("c1"), json!("C1")),
        ("customer", "in", json!(["c0", "c1"]), json!(["c0"])),
        ("customer", "prefix", json!("c"), json!("c11")),
        ("tag", "equals", json!("blue"), json!("blue ")),
        ("tag", "prefix", json!("bl"), json!("Bl")),
    ] {
        entry("constraints", json!({input: {operator: good}}), None);
        entry("constraints", json!({input: {operator: bad}}), VIOLATED);
    }
}

#[test]
fn all_operators_of_an_input_and_all_inputs_must_hold() {
    entry("constraints", json!({"count": {"min": 5, "max": 5}}), None);
    entry("constraints", json!({"count": {"min": 5, "max": 4}}), VIOLATED);
    entry("constraints", json!({"count": {"max": 5}, "weight": {"max": "1"}}), VIOLATED);
    entry("constraints", json!({"count": {"in": []}}), VIOLATED);
    entry("constraints", json!({}), None);
}

#[test]
fn a_constraint_on_what_is_missing_or_invalid_is_a_denial() {
    let limit = |s: &mut Scene| {
        s.pass.entry("constraints", json!({"count": {"max": 5}}));
    };
    check(limit, None);
    for path in [
        "/orders/c1",
        "/orders/c1?count",
        "/orders/c1?count=",
        "/orders/c1?count=05",
        "/orders/c1?count=5.0",
        "/orders/c1?count=-0",
        "/orders/c1?count=1e0",
        "/orders/c1?count=%205",
        "/orders/c1?count=99999999999999999999",
    ] {
        let scene = Scene::with(|s| {
            limit(s);
            s.path = path.into();
        });
        check_scene(&scene, VIOLATED, path);
    }
    entry("constraints", json!({"unheard-of": {"max": 5}}), VIOLATED);
    entry("constraints", json!({"": {"max": 5}}), VIOLATED);
}

#[test]
fn money_carries_its_currency_and_another_never_compares() {
    let limit = |s: &mut Scene| {
        s.pass.entry("constraints", json!({"amount": {"max": "500 EUR"}}));
    };
    for (path, expected) in [
        ("/orders/c1?amount=500&currency=EUR", None),
        ("/orders/c1?amount=1&currency=USD", VIOLATED),
        ("/orders/c1?amount=1&currency=eur", VIOLATED),
        ("/orders/c1?amount=1&currency=", VIOLATED),
        ("/orders/c1?amount=1", VIOLATED),
        ("/orders/c1?currency=EUR", VIOLATED),
        ("/orders/c1?amount=1&currency=EUR&currency=USD", Some(Code::AmbiguousRequest)),
        ("/orders/c1?amount=1&currency=EUR&CURRENCY=USD", Some(Code::AmbiguousRequest)),
    ] {
        let scene = Scene::with(|s| {
            limit(s);
            s.path = path.into();
        });
        check_scene(&scene, expected, path);
    }
}

#[test]
fn a_bound_that_does_not_fit_the_inputs_kind_is_unsupported() {
    for (input, operator, value) in [
        ("amount", "max", json!(500)),
        ("amount", "max", json!("500")),
        ("amount", "max", json!("500 eur")),
        ("amount", "max", json!("500  EUR")),
        ("amount", "equals", json!(true)),
        ("amount", "prefix", json!("1")),
        ("count", "max", json!("5")),
        ("count", "max", json!(true)),
        ("count", "in", json!([5, "5"])),
        ("count", "prefix", json!("5")),
        ("weight", "max", json!("1.50000")),
        ("weight", "max", json!("1e3")),
        ("weight", "max", json!(i64::MAX)),
        ("express", "max", json!(true)),
        ("express", "equals", json!("true")),
        ("express", "equals", json!(1)),
        ("customer", "max", json!("zz")),
        ("customer", "min", json!("a")),
        ("customer", "equals", json!(1)),
        ("customer", "in", json!(["c1", 1])),
    ] {
        entry("constraints", json!({input: {operator: value}}), UNSUPPORTED);
    }
}

#[test]
fn an_unknown_operator_or_member_denies_the_whole_gatepass() {
    entry("constraints", json!({"count": {"maximum": 5}}), UNSUPPORTED);
    entry("constraints", json!({"count": {"max": 5, "not": 3}}), UNSUPPORTED);
    entry("constraints", json!({"count": {"Max": 5}}), UNSUPPORTED);
    for member in ["identifier", "privileges", "datatypes", "Actions", ""] {
        entry(member, json!(1), UNSUPPORTED);
    }
    for uses in [json!(0), json!(2), json!(-1), json!("1"), json!(true)] {
        entry("uses", uses, UNSUPPORTED);
    }
    entry("type", json!("payment_initiation"), UNSUPPORTED);
    // In another entry than the one that grants.
    let other = |second: serde_json::Value| {
        Scene::with(|s| {
            let first = s.pass.claims["authorization_details"][0].clone();
            s.pass.set("authorization_details", json!([first, second]));
        })
    };
    let known = json!({"type": "agent_action", "actions": ["orders:list"]});
    check_scene(&other(known), None, "known");
    let unknown = json!({"type": "agent_action", "actions": ["orders:list"], "identifier": 1});
    check_scene(&other(unknown), UNSUPPORTED, "unknown member elsewhere");
    let foreign = json!({"type": "other", "actions": ["orders:list"]});
    check_scene(&other(foreign), UNSUPPORTED, "another type elsewhere");
}

#[test]
fn an_entry_that_is_not_one_is_malformed() {
    for value in [
        json!({}),
        json!("agent_action"),
        json!([{"type": "agent_action"}]),
        json!([{"actions": ["orders:create"]}]),
        json!([{"type": "agent_action", "actions": "orders:create"}]),
        json!([{"type": "agent_action", "actions": [1]}]),
        json!([[]]),
        json!([null]),
        json!(null),
    ] {
        let scene = Scene::with(|s| {
            s.pass.set("authorization_details", value.clone());
        });
        check_scene(&scene, MALFORMED, &value.to_string());
    }
    entry("constraints", json!({"count": {}}), MALFORMED);
    entry("constraints", json!({"count": 5}), MALFORMED);
    entry("constraints", json!([]), MALFORMED);
    entry("constraints", json!({"count": {"max": 5.0}}), MALFORMED);
    entry("constraints", json!({"count": {"max": u64::MAX}}), MALFORMED);
    entry("constraints", json!({"count": {"max": null}}), MALFORMED);
    entry("constraints", json!({"count": {"max": [5]}}), MALFORMED);
    entry("constraints", json!({"count": {"in": 5}}), MALFORMED);
    entry("constraints", json!({"tag": {"prefix": 5}}), MALFORMED);
    entry("args_digest", json!("short"), MALFORMED);
    entry("locations", json!(AUDIENCE), MALFORMED);
}

#[test]
fn entries_are_never_combined() {
    let entries = |first: serde_json::Value, second: serde_json::Value| {
        Scene::with(|s| {
            s.pass.set("authorization_details", json!([first, second]));
        })
    };
    let tight = json!({
        "type": "agent_action", "actions": ["orders:create"],
        "constraints": {"count": {"max": 1}},
    });
    let other = json!({
        "type": "agent_action", "actions": ["orders:list"],
        "constraints": {"count": {"max": 10}},
    });
    let slack = json!({
        "type": "agent_action", "actions": ["orders:create"],
        "constraints": {"count": {"max": 10}},
    });
    let elsewhere = json!({
        "type": "agent_action", "actions": ["orders:create"],
        "locations": ["https://else.example"],
    });
    let here_other = json!({
        "type": "agent_action", "actions": ["orders:list"], "locations": [AUDIENCE],
    });
    for (first, second, expected) in [
        (&tight, &slack, None),
        (&slack, &tight, None),
        (&tight, &other, VIOLATED),
        (&other, &tight, VIOLATED),
        (&elsewhere, &here_other, Some(Code::ActionNotGranted)),
        (&here_other, &elsewhere, Some(Code::ActionNotGranted)),
        (&tight, &elsewhere, VIOLATED),
        (&elsewhere, &tight, VIOLATED),
    ] {
        let scene = entries(first.clone(), second.clone());
        check_scene(&scene, expected, &format!("{first} and {second}"));
    }
}

#[test]
fn locations_narrow_the_audiences() {
    entry("locations", json!([AUDIENCE]), None);
    entry("locations", json!(["https://else.example", AUDIENCE]), None);
    for other in [
        json!([]),
        json!(["https://else.example"]),
        json!(["https://orders.example/"]),
        json!(["https://orders.exampl"]),
        json!(["https://ORDERS.example"]),
    ] {
        entry("locations", other, Some(Code::ActionNotGranted));
    }
}

#[test]
fn args_digest_pins_exactly_this_request() {
    entry("args_digest", json!(Scene::digest()), None);
    entry("args_digest", json!(b64([0; 32])), VIOLATED);
    let pinned = |change: Change| {
        let mut scene = Scene::with(|s| {
            s.pass.entry("args_digest", json!(Scene::digest()));
        });
        change(&mut scene);
        scene
    };
    for (change, why) in [
        ((|s| s.path = s.path.replace("c1", "c2")) as Change, "path"),
        (|s| s.path = s.path.replace("100.00", "100.01"), "amount"),
        (|s| s.path = s.path.replace("EUR", "USD"), "currency"),
        (|s| s.path = s.path.replace("&count=5", ""), "left out"),
        (|s| s.path = s.path.replace("count=5", "count=x"), "invalid"),
        (|s| s.headers.clear(), "header"),
    ] {
        check_scene(&pinned(change), VIOLATED, why);
    }
    // The same value in another spelling is the same action.
    let same = pinned(|s| s.path = s.path.replace("100.00", "100"));
    check_scene(&same, None, "same amount");
}

#[test]
fn explain_tells_the_digest_that_an_approval_must_have() {
    let digest = |scene: &Scene| {
        let gate = scene.gate();
        let (_, recorded) = scene.request(|request| explain(request, &gate, scene.now));
        recorded.1.map(b64)
    };
    let wrong = Scene::with(|s| {
        s.pass.set("approval", Scene::approval(&b64([7; 32])));
    });
    assert_eq!(digest(&wrong), Some(Scene::digest()));
    assert_eq!(digest(&Scene::with(|_| {})), None, "nothing pins it, so none is made");
}

#[test]
fn an_approval_is_of_exactly_this_action() {
    let approved = |digest: &str| {
        let approval = Scene::approval(digest);
        Scene::with(|s| {
            s.pass.set("approval", approval);
        })
    };
    check_scene(&approved(&Scene::digest()), None, "not demanded, but right");
    let wrong = b64([7; 32]);
    check_scene(&approved(&wrong), Some(Code::ApprovalMismatch), "wrong");
    let mut invalid = approved(&Scene::digest());
    invalid.path = invalid.path.replace("count=5", "count=x");
    check_scene(&invalid, Some(Code::ApprovalMismatch), "no digest at all");
    let mut unknown = approved(&Scene::digest());
    unknown.pass.claims["approval"]["only_if"] = json!("sunny");
    check_scene(&unknown, UNSUPPORTED, "an unknown member");
    for member in ["id", "by", "at", "amr", "digest"] {
        let mut lacking = approved(&Scene::digest());
        lacking.pass.claims["approval"].as_object_mut().unwrap().remove(member);
        check_scene(&lacking, MALFORMED, member);
    }
    for (member, bad) in [
        ("id", json!("")),
        ("by", json!(AGENT)),
        ("at", json!(0)),
        ("amr", json!([])),
        ("digest", json!(format!("{}=", Scene::digest()))),
    ] {
        let mut odd = approved(&Scene::digest());
        odd.pass.claims["approval"][member] = bad;
        check_scene(&odd, MALFORMED, member);
    }
    let null = Scene::with(|s| {
        s.action().approval = true;
        s.pass.set("approval", json!(null));
    });
    check_scene(&null, Some(Code::ApprovalRequired), "null is no approval");
}

#[test]
fn a_restriction_that_cannot_be_checked_is_denied_however_it_is_spelled() {
    for claim in ["cnf", "req_wl", "uses"] {
        for value in [json!(null), json!({}), json!(""), json!(1), json!(false)] {
            let scene = Scene::with(|s| {
                s.pass.set(claim, value.clone());
            });
            check_scene(&scene, UNSUPPORTED, &format!("{claim}: {value}"));
        }
    }
    check(
        |s| {
            s.pass.set("something_new", json!({"a": [1.5, null]}));
        },
        None,
    );
}

#[test]
fn an_action_without_a_body_takes_none_and_one_that_passes_it_unread_restricts_nothing() {
    let unread = |s: &mut Scene| {
        s.ask("PUT", "/files");
        s.ends_with_headers = false;
    };
    check(unread, None);
    for (member, value) in
        [("constraints", json!({"count": {"max": 5}})), ("args_digest", json!(Scene::digest()))]
    {
        let mut scene = Scene::with(unread);
        scene.pass.entry(member, value);
        check_scene(&scene, UNSUPPORTED, member);
    }
    let mut approved = Scene::with(unread);
    let approval = Scene::approval(&Scene::digest());
    approved.pass.set("approval", approval);
    check_scene(&approved, UNSUPPORTED, "approval of what is unread");
    check(
        |s| {
            s.ask("GET", "/orders");
            s.ends_with_headers = false;
        },
        Some(Code::BodyNotAllowed),
    );
}

#[test]
fn scopes_are_whole_words() {
    for (scope, expected) in [
        ("orders:write", None),
        ("a orders:write b", None),
        ("", Some(Code::InsufficientScope)),
        ("orders", Some(Code::InsufficientScope)),
        ("orders:write2", Some(Code::InsufficientScope)),
        ("ORDERS:WRITE", Some(Code::InsufficientScope)),
        (" orders:write", MALFORMED),
        ("orders:write ", MALFORMED),
        ("a  orders:write", MALFORMED),
        ("a\torders:write", MALFORMED),
    ] {
        let scene = Scene::with(|s| {
            s.action().scopes_all = vec!["orders:write".into()];
            s.pass.set("scope", json!(scope));
        });
        check_scene(&scene, expected, scope);
    }
}

#[test]
fn scope_is_demanded_besides_the_entry_and_never_instead() {
    check(
        |s| {
            s.action().scopes_all = vec!["orders:write".into()];
            s.pass.entry("actions", json!(["orders:list"]));
        },
        Some(Code::ActionNotGranted),
    );
}

#[test]
fn assurance_is_ordered_and_static_secrets_are_for_low_risk() {
    use crate::bundle::Assurance::{Attested, Federated, Static};
    for (demanded, proved, risk, expected) in [
        (Static, "static", Risk::Low, None),
        (Static, "static", Risk::Medium, Some(Code::InsufficientAssurance)),
        (Static, "static", Risk::High, Some(Code::InsufficientAssurance)),
        (Static, "federated", Risk::High, None),
        (Federated, "static", Risk::Low, Some(Code::InsufficientAssurance)),
        (Federated, "federated", Risk::Low, None),
        (Federated, "attested", Risk::Low, None),
        (Attested, "federated", Risk::Low, Some(Code::InsufficientAssurance)),
        (Attested, "attested", Risk::High, None),
        (Static, "none", Risk::Low, MALFORMED),
        (Static, "Attested", Risk::Low, MALFORMED),
    ] {
        let scene = Scene::with(|s| {
            s.action().assurance = demanded;
            s.action().risk = risk;
            s.action().staleness = 10;
            s.pass.set("assurance", json!(proved));
        });
        check_scene(&scene, expected, proved);
    }
    check(
        |s| {
            s.pass.remove("assurance");
        },
        MALFORMED,
    );
}

#[test]
fn every_demand_of_binding_is_refused_until_it_can_be_checked() {
    for binding in [Binding::Key, Binding::Certificate, Binding::Workload] {
        for scheme in ["Bearer", "DPoP"] {
            let scene = Scene::with(|s| {
                s.action().binding = binding;
                s.scheme = Some(scheme);
            });
            check_scene(&scene, Some(Code::BindingMismatch), scheme);
        }
    }
}

#[test]
fn a_gatepass_for_one_host_does_not_open_another() {
    let mut two = bundle();
    let mut second = two.hosts[0].clone();
    second.names = vec!["billing.example".into()];
    second.audience = "https://billing.example".into();
    two.hosts.push(second);
    let scene = |authority: &str| {
        Scene::with(|s| {
            s.bundle = two.clone();
            s.authority = authority.into();
        })
    };
    check_scene(&scene("orders.example"), None, "its own");
    let other = scene("billing.example");
    check_scene(&other, Some(Code::WrongAudience), "the other");
    let mut both = other;
    let audiences = json!([AUDIENCE, "https://billing.example"]);
    both.pass.set("aud", audiences);
    check_scene(&both, None, "an entry without locations is for every audience");
    both.pass.entry("locations", json!([AUDIENCE]));
    check_scene(&both, Some(Code::ActionNotGranted), "locations narrow");
}

#[test]
fn an_action_name_grants_only_itself() {
    let mut scene = Scene::with(|s| {
        s.bundle.actions[0] = action("orders:create:all");
    });
    check_scene(&scene, Some(Code::ActionNotGranted), "longer");
    scene.bundle.actions[0] = action("orders");
    check_scene(&scene, Some(Code::ActionNotGranted), "shorter");
}
