use super::*;
use serde_json::json;

fn entry(value: Value) -> Entry {
    serde_json::from_value(value).unwrap()
}

fn narrower(asked: Value, ceiling: Value) -> bool {
    is_narrower(&entry(asked), &entry(ceiling), &["https://orders.example".to_owned()])
}

#[test]
fn each_thing_that_is_wider_than_the_ceiling_is_refused() {
    let ceiling = json!({
        "actions": ["orders:create", "orders:read"],
        "locations": ["https://orders.example"],
        "constraints": {
            "amount": {"max": "500.00 EUR"},
            "count": {"min": 1, "max": 10},
            "region": {"in": ["eu", "us"]},
            "folder": {"prefix": "/public/"},
        },
        "uses": 1,
    });
    let good = json!({
        "actions": ["orders:create"],
        "constraints": {
            "amount": {"max": "499.99 EUR"},
            "count": {"min": 1, "max": 10},
            "region": {"equals": "eu"},
            "folder": {"prefix": "/public/a/"},
        },
        "uses": 1,
    });
    assert!(narrower(good.clone(), ceiling.clone()));
    assert!(narrower(ceiling.clone(), ceiling.clone()), "the same is not wider");
    for (pointer, wider) in [
        ("/actions", json!(["orders:create", "orders:delete"])),
        ("/actions", json!([])),
        ("/locations", json!(["https://other.example"])),
        ("/locations", json!([])),
        ("/constraints/amount", json!({"max": "500.01 EUR"})),
        ("/constraints/amount", json!({"max": "1.00 USD"})),
        ("/constraints/amount", json!({"min": "1.00 EUR"})),
        ("/constraints/amount", json!({"max": 1})),
        ("/constraints/count", json!({"min": 0, "max": 10})),
        ("/constraints/count", json!({"min": 1, "max": 11})),
        ("/constraints/count", json!({"max": 10})),
        ("/constraints/count", json!({"in": [1, 11]})),
        ("/constraints/count", json!({"in": []})),
        ("/constraints/region", json!({"equals": "cn"})),
        ("/constraints/region", json!({"in": ["eu", "cn"]})),
        ("/constraints/region", json!({"prefix": "e"})),
        ("/constraints/folder", json!({"prefix": "/"})),
        ("/constraints/folder", json!({"prefix": "/public/../secret/"})),
        ("/constraints/folder", json!({"equals": "/public/../secret"})),
        ("/constraints", json!({})),
        ("/uses", json!(2)),
    ] {
        let mut asked = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        asked.pointer_mut(parent).unwrap()[name] = wider.clone();
        assert!(!narrower(asked, ceiling.clone()), "{pointer} {wider}");
    }
    let mut unlimited = good.clone();
    unlimited.as_object_mut().unwrap().remove("uses");
    assert!(!narrower(unlimited, ceiling.clone()));
}

#[test]
fn an_entry_without_locations_is_read_at_the_audiences() {
    let ceiling = json!({"actions": ["a"], "locations": ["https://orders.example"]});
    assert!(narrower(json!({"actions": ["a"]}), ceiling.clone()));
    let elsewhere = ["https://orders.example".to_owned(), "https://other.example".to_owned()];
    assert!(!is_narrower(&entry(json!({"actions": ["a"]})), &entry(ceiling.clone()), &elsewhere));
    assert!(!is_narrower(&entry(json!({"actions": ["a"]})), &entry(ceiling), &[]));
}

#[test]
fn what_narrows_may_carry_more_constraints_than_the_ceiling() {
    let ceiling = json!({"actions": ["a"]});
    assert!(narrower(json!({"actions": ["a"], "constraints": {"x": {"equals": 1}}}), ceiling));
}

#[test]
fn entries_are_never_combined() {
    let ceiling = Ceiling {
        entries: vec![
            entry(json!({"actions": ["a"], "constraints": {"x": {"max": 1}}})),
            entry(json!({"actions": ["b"], "constraints": {"x": {"max": 9}}})),
        ],
        scopes: vec![],
        lifetime: Lifetimes::default(),
    };
    assert!(
        ceiling.covers(&entry(json!({"actions": ["b"], "constraints": {"x": {"max": 9}}})), &[])
    );
    assert!(
        !ceiling.covers(&entry(json!({"actions": ["a"], "constraints": {"x": {"max": 9}}})), &[])
    );
    assert!(
        !ceiling
            .covers(&entry(json!({"actions": ["a", "b"], "constraints": {"x": {"max": 1}}})), &[])
    );
}

#[test]
fn lifetimes_are_capped_by_the_risk_and_by_the_ceiling() {
    let lifetime = Lifetimes { low: Some(60), medium: None, high: Some(300) };
    let ceiling =
        Ceiling { entries: vec![entry(json!({"actions": ["a"]}))], scopes: vec![], lifetime };
    ceiling.check().unwrap();
    assert_eq!(ceiling.longest(Risk::Low), 60);
    assert_eq!(ceiling.longest(Risk::Medium), 900);
    let long = Lifetimes { high: Some(301), ..lifetime };
    assert!(Ceiling { lifetime: long, ..ceiling }.check().is_err());
}

#[test]
fn details_that_are_not_understood_are_refused_by_name() {
    let bad = [
        ("", "expected a list"),
        ("{}", "expected a list"),
        ("[]", "1 to 16"),
        (r#"[{"actions":["a"]}]"#, "agent_action"),
        (r#"[{"type":"payment","actions":["a"]}]"#, "agent_action"),
        (r#"[{"type":"agent_action"}]"#, "actions"),
        (r#"[{"type":"agent_action","actions":[]}]"#, "actions"),
        (r#"[{"type":"agent_action","actions":["A B"]}]"#, "no action's name"),
        (r#"[{"type":"agent_action","actions":["a"],"privileges":["x"]}]"#, "privileges"),
        (r#"[{"type":"agent_action","actions":["a"],"constraints":{"x":{}}}]"#, "operator"),
        (
            r#"[{"type":"agent_action","actions":["a"],"constraints":{"x":{"maximum":1}}}]"#,
            "maximum",
        ),
        (r#"[{"type":"agent_action","actions":["a"],"locations":["x"]}]"#, "locations"),
        (r#"[{"type":"agent_action","actions":["a"],"identifier":"7"}]"#, "identifier"),
        (r#"[{"type":"agent_action","actions":["a"],"actions":["b"]}]"#, "actions"),
    ];
    for (text, names) in bad {
        let refused = entries(text).unwrap_err().to_string();
        assert!(refused.contains(names), "{text}: {refused}");
    }
    assert_eq!(entries(r#"[{"type":"agent_action","actions":["a"]}]"#).unwrap().len(), 1);
}
