//! Constraints: each operator on each kind of input.

use gatepass_engine::denial::Code;
use serde_json::{Value, json};

use super::GRANTED;
use crate::case::Family;

pub(crate) fn family() -> Family {
    let mut f = Family::new(900, "Constraints");
    each_operator(&mut f);
    not_of_the_kind(&mut f);
    values(&mut f);
    shapes(&mut f);
    f
}

/// The request has `customer` c1, `amount` 100.00 EUR, `count` 5, `weight` 1.5, `express` true and
/// `tag` blue.
fn each_operator(f: &mut Family) {
    let table: Vec<(&str, &str, &str, Value, Value)> = vec![
        ("text", "customer", "equals", json!("c1"), json!("c2")),
        ("text", "customer", "in", json!(["c0", "c1"]), json!(["c0", "c11", "C1"])),
        ("text", "customer", "prefix", json!("c"), json!("c1x")),
        ("header_text", "tag", "equals", json!("blue"), json!("Blue")),
        ("integer", "count", "max", json!(5), json!(4)),
        ("integer", "count", "min", json!(5), json!(6)),
        ("integer", "count", "equals", json!(5), json!(-5)),
        ("integer", "count", "in", json!([1, 5]), json!([1, 6])),
        ("decimal", "weight", "max", json!("1.5"), json!("1.4999")),
        ("decimal", "weight", "min", json!("1.5000"), json!("1.5001")),
        ("decimal", "weight", "equals", json!("1.50"), json!(1)),
        ("decimal", "weight", "in", json!([1, "1.5"]), json!([1, 2])),
        ("money", "amount", "max", json!("100.00 EUR"), json!("99.9999 EUR")),
        ("money", "amount", "min", json!("100 EUR"), json!("100.0001 EUR")),
        ("money", "amount", "equals", json!("100.0 EUR"), json!("100.00 USD")),
        ("money", "amount", "in", json!(["1 EUR", "100 EUR"]), json!(["100 USD"])),
        ("boolean", "express", "equals", json!(true), json!(false)),
        ("boolean", "express", "in", json!([true, false]), json!([false])),
    ];
    for (kind, input, operator, holds, fails) in table {
        let twin = format!("{kind}_{operator}_holds");
        f.allow(&twin, format!("`{operator}` on a {kind} input."), move |s| {
            s.pass.entry("constraints", json!({input: {operator: holds}}));
        });
        if operator == "max" {
            f.live();
        }
        f.deny(
            Code::ConstraintViolated,
            format!("{kind}_{operator}_violated"),
            (&twin, "the constraint's value is another"),
            "The input is outside its constraint.",
            move |s| s.pass.entry("constraints", json!({input: {operator: fails}})),
        );
        if operator == "max" || operator == "prefix" {
            f.live();
        }
    }
    f.deny(
        Code::ConstraintViolated,
        "money_max_in_another_currency",
        ("money_max_holds", "the constraint is in dollars"),
        "Amounts of two currencies are not compared.",
        |s| s.pass.entry("constraints", json!({"amount": {"max": "1000000.00 USD"}})),
    );
    f.allow("range_holds", "Every operator of a constraint holds.", |s| {
        s.pass.entry("constraints", json!({"count": {"min": 1, "max": 5}}));
    });
    f.deny(
        Code::ConstraintViolated,
        "range_violated",
        ("range_holds", "the upper bound is lower"),
        "Every operator of a constraint must hold.",
        |s| s.pass.entry("constraints", json!({"count": {"min": 1, "max": 4}})),
    );
    f.deny(
        Code::ConstraintViolated,
        "second_constraint_violated",
        ("range_holds", "a second input is constrained too"),
        "Every constraint of an entry must hold.",
        |s| {
            let both = json!({"count": {"min": 1, "max": 5}, "tag": {"equals": "red"}});
            s.pass.entry("constraints", both);
        },
    );
    f.allow("another_entry_without_the_constraint", "One entry grants.", |s| {
        s.pass.entry("constraints", json!({"count": {"max": 4}}));
        let other = json!({
            "type": "agent_action", "actions": ["orders:create"],
            "constraints": {"count": {"max": 9}}
        });
        s.pass.claims["authorization_details"].as_array_mut().unwrap().push(other);
    });
}

fn not_of_the_kind(f: &mut Family) {
    let why = "A bound that does not fit the input's kind cannot be checked.";
    for (name, input, operator, value) in [
        ("text_max", "customer", "max", json!("c9")),
        ("text_min", "customer", "min", json!("a")),
        ("text_equals_a_number", "customer", "equals", json!(1)),
        ("integer_prefix", "count", "prefix", json!("5")),
        ("integer_max_as_a_text", "count", "max", json!("5")),
        ("integer_in_with_a_text", "count", "in", json!([5, "5"])),
        ("decimal_prefix", "weight", "prefix", json!("1")),
        ("decimal_max_with_five_places", "weight", "max", json!("1.50000")),
        ("decimal_max_with_an_exponent", "weight", "max", json!("1e3")),
        ("money_prefix", "amount", "prefix", json!("1")),
        ("money_max_without_a_currency", "amount", "max", json!("100.00")),
        ("money_max_as_a_number", "amount", "max", json!(100)),
        ("boolean_max", "express", "max", json!(true)),
        ("boolean_min", "express", "min", json!(false)),
        ("boolean_prefix", "express", "prefix", json!("t")),
        ("boolean_equals_a_text", "express", "equals", json!("true")),
    ] {
        f.deny(
            Code::UnsupportedRestriction,
            format!("{name}_not_checkable"),
            (GRANTED, &format!("`{input}` is constrained by `{operator}`")),
            why,
            move |s| s.pass.entry("constraints", json!({input: {operator: value}})),
        );
    }
    f.live();
}

fn values(f: &mut Family) {
    for (kind, input, operator, bound, from, to, what) in [
        ("integer", "count", "max", json!(5), "count=5", "count=05", "a leading zero"),
        ("integer", "count", "max", json!(5), "count=5", "count=-0", "a negative zero"),
        ("integer", "count", "max", json!(5), "count=5", "count=5e0", "an exponent"),
        ("integer", "count", "max", json!(5), "count=5", "count=", "nothing"),
        ("decimal", "weight", "max", json!("1.5"), "weight=1.5", "weight=1.50000", "five places"),
        ("decimal", "weight", "max", json!("1.5"), "weight=1.5", "weight=.5", "no digit in front"),
        (
            "money",
            "amount",
            "max",
            json!("100.00 EUR"),
            "currency=EUR",
            "currency=eur",
            "a currency in lower case",
        ),
        ("boolean", "express", "equals", json!(true), "express=true", "express=TRUE", "upper case"),
    ] {
        f.deny(
            Code::ConstraintViolated,
            format!("{kind}_with_{}", what.replace(' ', "_")),
            (&format!("{kind}_{operator}_holds"), &format!("the query holds `{to}`")),
            "A value that is not of its kind, in its one spelling, is inside no constraint.",
            move |s| {
                s.pass.entry("constraints", json!({input: {operator: bound}}));
                s.path = s.path.replacen(from, to, 1);
            },
        );
    }
    f.deny(
        Code::ConstraintViolated,
        "input_missing",
        ("integer_max_holds", "the request has no `count`"),
        "A constraint on what the request does not carry is not met.",
        |s| s.path = s.path.replacen("&count=5", "", 1),
    )
    .live();
    f.deny(
        Code::ConstraintViolated,
        "header_input_missing",
        ("header_text_equals_holds", "the request has no `x-tag`"),
        "A constraint on what the request does not carry is not met.",
        |s| s.headers.clear(),
    );
    f.deny(
        Code::ConstraintViolated,
        "input_that_the_route_lacks",
        (GRANTED, "`colour` is constrained"),
        "A constraint on what the route does not read is not met.",
        |s| s.pass.entry("constraints", json!({"colour": {"equals": "blue"}})),
    );
}

fn shapes(f: &mut Family) {
    f.deny(
        Code::UnsupportedRestriction,
        "unknown_operator",
        (GRANTED, "`count` is constrained by `below`"),
        "A restriction that this gate cannot check is never passed over.",
        |s| s.pass.entry("constraints", json!({"count": {"below": 6}})),
    )
    .live();
    f.deny(
        Code::UnsupportedRestriction,
        "unknown_operator_in_another_entry",
        (GRANTED, "a second entry has a constraint with `below`"),
        "An unknown member anywhere denies the whole.",
        |s| {
            let other = json!({
                "type": "agent_action", "actions": ["orders:list"],
                "constraints": {"count": {"below": 6}}
            });
            s.pass.claims["authorization_details"].as_array_mut().unwrap().push(other);
        },
    );
    f.deny(
        Code::UnsupportedRestriction,
        "constraint_on_an_unread_body",
        ("body_that_is_not_read", "the entry has a constraint"),
        "What is not read could contradict it.",
        |s| s.pass.entry("constraints", json!({"count": {"max": 5}})),
    );
    for (name, changed, value) in [
        ("constraints_as_a_list", "`constraints` is a list", json!([{"count": {"max": 5}}])),
        ("constraint_without_an_operator", "`count` has no operator", json!({"count": {}})),
        (
            "constraint_with_a_fraction",
            "a bound is a JSON fraction",
            json!({"weight": {"max": 1.5}}),
        ),
        ("constraint_with_null", "a bound is null", json!({"count": {"max": null}})),
        (
            "constraint_with_a_number_as_prefix",
            "a prefix is a number",
            json!({"tag": {"prefix": 1}}),
        ),
        ("constraint_in_no_list", "`in` is no list", json!({"count": {"in": 5}})),
    ] {
        f.deny(
            Code::Malformed,
            name,
            (GRANTED, changed),
            "A constraint is an object of operators; numbers are whole or texts.",
            move |s| s.pass.entry("constraints", value.clone()),
        );
    }
}
