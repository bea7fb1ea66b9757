use gatepass_engine::bundle::Bundle;
use gatepass_engine::policy::Rules;

use super::*;

const POLICY: &str = "
actions:
  orders:create: {risk: high, scopes: {all: [orders.write]}}
  orders:read: {risk: low}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
          count: {type: integer, query: count}
          note: {type: text, query: note}
      - match: GET /orders
        action: orders:read
        inputs:
          count: {type: integer, query: count}
";

fn bundle() -> Bundle {
    crate::compile(POLICY).unwrap().bundle
}

fn compiled(text: &str) -> (Program, Vec<Note>) {
    compile(&[("a.cedar", text)], &bundle()).unwrap_or_else(|notes| panic!("{notes:?}"))
}

fn refused(text: &str) -> Vec<(u64, u64, String)> {
    let notes = compile(&[("a.cedar", text)], &bundle()).unwrap_err();
    notes.into_iter().filter(|note| note.is_error).map(|n| (n.line, n.column, n.message)).collect()
}

#[test]
fn what_authorization_policies_use_is_lowered() {
    let (program, notes) = compiled(
        r#"
@id("spend") @code("too_much") @message("Up to 500 euros an order.")
forbid (principal, action == Action::"orders:create", resource)
when { context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal("500.0")) };

permit (principal is Gatepass::Agent in Gatepass::Blueprint::"buyer", action in [Action::"orders"], resource)
when { principal.owner == Gatepass::Person::"user:corp/ada" }
unless { context.request.time > datetime("2030-01-01") || context.gatepass.scopes.contains("x") };

@mode("shadow")
permit (principal, action in Action::"risk:high", resource == Gatepass::System::"https://orders.example")
when { context has approval.by && context.request.path like "/a*b" && ["a", "b"].containsAny(context.gatepass.scopes) };
"#,
    );
    assert_eq!(notes, []);
    let ids: Vec<&str> = program.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["spend", "a.cedar:6", "a.cedar:10"]);
    assert_eq!(program.rules[0].code.as_deref(), Some("too_much"));
    assert_eq!(program.rules[0].message.as_deref(), Some("Up to 500 euros an order."));
    let modes: Vec<bool> = program.rules.iter().map(|rule| rule.shadow).collect();
    assert_eq!(modes, [false, false, true]);
    assert_eq!(program.actions[0].rules, [0, 1, 2], "orders:create");
    assert_eq!(program.actions[1].rules, [1], "orders:read");
    let bytes = postcard::to_allocvec(&program).unwrap();
    assert!(Rules::read(&bytes, 2).is_ok());
    assert!(Rules::read(&bytes, 3).is_err(), "of another bundle");
    assert!(Rules::read(&bytes[..bytes.len() - 1], 2).is_err());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, place, says) in [
        ("permit (principal action, resource);", (1, 19), "unexpected token"),
        ("permit (principal, action, resource)\nwhen { context.nothing };", (2, 8), "nothing"),
        (
            "permit (principal, action, resource)\nwhen { context.inputs.amount.amount.lessThan(decimal(\"1.0\")) };",
            (2, 8),
            "amount",
        ),
        (
            "permit (principal, action == Action::\"orders:wipe\", resource);",
            (1, 30),
            "orders:wipe",
        ),
        ("permit (principal == ?principal, action, resource);", (1, 1), "template"),
        ("permit (principal, action, resource)\nwhen { context == {} };", (2, 8), ""),
        ("@mode(\"off\")\npermit (principal, action, resource);", (1, 1), "neither"),
        (
            "@Mode(\"shadow\")\npermit (principal, action, resource);",
            (1, 1),
            "`@Mode` means nothing",
        ),
        ("@mod(\"shadow\")\npermit (principal, action, resource);", (1, 1), "`@mod` means nothing"),
        ("@shadow\npermit (principal, action, resource);", (1, 1), "`@shadow` means nothing"),
        ("@code(\"Too Much\")\nforbid (principal, action, resource);", (1, 1), "`@code`"),
        (
            "@id(\"a\")\npermit (principal, action, resource);\n@id(\"a\")\npermit (principal, action, resource);",
            (3, 1),
            "second rule",
        ),
    ] {
        let found = refused(text);
        let hit = found
            .iter()
            .any(|(line, column, message)| (*line, *column) == place && message.contains(says));
        assert!(hit, "{text}: {found:?}");
    }
}

#[test]
fn an_action_of_one_risk_is_not_in_the_group_of_another() {
    let rule = "permit (principal, action in Action::\"risk:high\", resource);";
    let compiled = |risk: &str| {
        let policy =
            POLICY.replace("actions:\n", &format!("actions:\n  orders: {{risk: {risk}}}\n"));
        let policy = policy.replace("orders:read: {risk: low}", "orders:read: {risk: high}");
        let bundle = crate::compile(&policy).unwrap().bundle;
        compile(&[("a.cedar", rule)], &bundle)
    };
    let (program, _) = compiled("high").unwrap();
    assert!(program.actions.iter().all(|of| of.rules == [0]), "{:?}", program.actions);
    let notes = compiled("low").unwrap_err();
    assert!(notes[0].message.contains("`orders` is the group of `orders:create`"), "{notes:?}");
}

#[test]
fn what_is_nested_too_deep_is_told_on_a_small_stack() {
    let conditions = [
        format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("{}true", "!".repeat(10_000)),
        format!("{}true{}", "!(".repeat(10_000), ")".repeat(10_000)),
        format!("{}true", "if true then true else ".repeat(10_000)),
        format!("1 == {}1", "1 + ".repeat(10_000)),
        format!("{}true", "true && ".repeat(1_000_000)),
        // Within the bounds, and more than a small stack holds.
        format!(
            "{}{}{}true{}",
            "(".repeat(60),
            "if true then true else ".repeat(250),
            "true && ".repeat(4_900),
            ")".repeat(60)
        ),
    ];
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let told = small.spawn(move || {
        conditions.map(|condition| {
            let text = format!("permit (principal, action, resource)\nwhen {{ {condition} }};");
            refused(&text).into_iter().next().unwrap()
        })
    });
    let told = told.unwrap().join().unwrap();
    for (nth, (line, column, message)) in told.iter().enumerate() {
        let (place, says) = match nth {
            0 => ((2, 8 + 63), "brackets are nested too deep"),
            6 => ((1, 1), "is deeper than 64"),
            _ => ((2, *column), "are nested too deep"),
        };
        assert_eq!((*line, *column), place, "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_layout_is_the_same_once_it_is_made_and_keeps_what_is_said() {
    let wild =
        "// why\n@id(\"a\")permit(principal,action,\nresource)when{context.environment==\"prod\"};";
    let made = formatted("a.cedar", wild).unwrap();
    assert_ne!(made, wild);
    assert!(made.starts_with("// why\n@id(\"a\")\npermit ("), "{made}");
    assert_eq!(formatted("a.cedar", &made).unwrap(), made);
    assert_eq!(compiled(wild).0.rules, compiled(&made).0.rules);
    assert!(formatted("a.cedar", "permit (").is_err());
    let deep = format!("permit (principal, action, resource) when {{ {}1 }};", "(".repeat(10_000));
    assert!(formatted("a.cedar", &deep).is_err());
}

#[test]
fn an_annotation_of_ones_own_is_warned_of_and_an_action_is_no_risk() {
    let (_, notes) = compiled("@team(\"a\")\npermit (principal, action, resource);");
    assert!(
        notes.iter().any(|note| !note.is_error && note.message.contains("`@team`")),
        "{notes:?}"
    );
    let policy = POLICY.replace("orders:read", "risk:low");
    let bundle = crate::compile(&policy).unwrap().bundle;
    let notes = compile(&[("a.cedar", "permit (principal, action, resource);")], &bundle);
    let notes = notes.unwrap_err();
    assert!(notes.iter().any(|note| note.message.contains("name of a group")), "{notes:?}");
}

#[test]
fn a_rule_names_actions_by_groups_of_ones_own() {
    let named = |policy: &str, group: &str| {
        let bundle = crate::compile(policy).unwrap().bundle;
        let rule = format!("permit (principal, action in Action::\"{group}\", resource);");
        let compiled = compile(&[("a.cedar", &rule)], &bundle);
        compiled.map(|(program, _)| {
            let has = |applies: &Applies| !applies.rules.is_empty();
            program.actions.iter().map(has).collect::<Vec<bool>>()
        })
    };
    let grouped = POLICY.replace("{risk: low}", "{risk: low, groups: [reading, cheap]}");
    assert_eq!(named(&grouped, "reading"), Ok(vec![false, true]));
    assert_eq!(named(&grouped, "orders"), Ok(vec![true, true]));
    assert!(named(POLICY, "reading").is_err(), "nobody is in it");
    // Who is below an action is in its groups.
    let above = "orders: {risk: low, groups: [shop]}\n  orders:create: {risk: low}";
    let above = POLICY.replace("orders:create: {risk: high, scopes: {all: [orders.write]}}", above);
    assert_eq!(named(&above, "shop"), Ok(vec![true, true, true]));
    for group in ["risk:low", "risk", "orders:create"] {
        let taken = grouped.replace("reading", group);
        let bundle = crate::compile(&taken).unwrap().bundle;
        let notes = compile(&[("a.cedar", "permit (principal, action, resource);")], &bundle);
        let told = notes.unwrap_err();
        assert!(
            told.iter().any(|note| note.message.contains("is an action or a risk")),
            "{told:?}"
        );
    }
}

#[test]
fn what_takes_too_long_has_its_place() {
    let many = "[context.gatepass.scopes, context.gatepass.scopes]";
    let text = format!(
        "permit (principal, action, resource);\n\n  permit (principal, action, resource)\nwhen {{ {many} == {many} }};"
    );
    let (line, column, message) = refused(&text).into_iter().next().unwrap();
    assert_eq!((line, column), (3, 3), "{message}");
    assert!(message.ends_with("takes more than 50000 steps"), "{message}");
}

/// A rule for one action is held against a schema of that one: what is said of it is the same.
#[test]
fn what_is_wrong_is_told_whether_a_rule_names_one_action_or_all() {
    for (condition, expected) in [
        ("context.inputs has amount", None),
        ("context.inputs has nothing && context.inputs.nothing == 1", Some("nothing")),
        ("context.inputs.count > 1", Some("optional attribute")),
        ("context.inputs has count && context.inputs.count == \"a\"", Some("types")),
        ("context.nothing", Some("nothing")),
        ("action in Action::\"orders\"", None),
        ("action in Action::\"risk:low\" || action == Action::\"orders:read\"", None),
        ("action == Action::\"orders:wipe\"", Some("orders:wipe")),
        ("principal in Gatepass::Team::\"a\"", Some("Team")),
    ] {
        for action in ["action == Action::\"orders:create\"", "action"] {
            let rule = format!("permit (principal, {action}, resource) when {{ {condition} }};");
            let told = compile(&[("a.cedar", &rule)], &bundle()).err().unwrap_or_default();
            let told: Vec<String> = told.into_iter().map(|note| note.message).collect();
            match expected {
                None => assert_eq!(told, [] as [&str; 0], "{rule}"),
                Some(part) => {
                    assert!(told.iter().any(|told| told.contains(part)), "{rule} {told:?}")
                }
            }
        }
    }
    let unknown = "permit (principal, action == Action::\"orders:wipe\", resource);";
    assert!(compile(&[("a.cedar", unknown)], &bundle()).is_err());
}
