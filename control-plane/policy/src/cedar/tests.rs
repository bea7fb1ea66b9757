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
