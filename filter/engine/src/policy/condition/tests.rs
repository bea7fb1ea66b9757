//! What is decided by questions in a row is what the nodes say, for every pair of operands and for conditions of any
//! shape.

use super::*;
use crate::budget::Budgets;
use crate::bundle::{Currency, Input, InputKind, Recording, Source};
use crate::clock::UnixSeconds;
use crate::gatepass::Claims;
use crate::inputs::Inputs;
use crate::policy::{Asked, Facts, Kind, NOWHERE, Pattern, Slot};
use crate::target::Target;
use crate::testkit::{AGENT, AUDIENCE, BLUEPRINT, Dice, OWNER, Pass};

/// Texts, some of which the gatepass below or its request says.
const TEXTS: [&str; 10] =
    [AGENT, BLUEPRINT, OWNER, "orders:write", "files:all", "EUR", "attested", "blue", "POST", ""];
/// Inputs of the rules: each kind, one that is missing, one that is none of its kind, one that the route lacks.
const INPUTS: u16 = 7;

/// What a condition is made of.
fn operands() -> (Vec<Node>, Vec<u32>) {
    let mut nodes: Vec<Node> = (0..TEXTS.len() as u32).map(Node::Text).collect();
    let lists = vec![3, 4, 3, 6, 8, 8, 3, 10];
    nodes.extend([
        Node::Long(5),
        Node::Decimal(50_000),
        Node::Datetime(1_000_000),
        Node::Duration(1_000_000),
        Node::Boolean(true),
        Node::Boolean(false),
        Node::Principal,
        Node::Entity(Kind::Agent, 0),
        Node::Entity(Kind::Blueprint, 1),
        Node::Entity(Kind::Person, 2),
        Node::Set(0, 0),
        Node::Set(0, 2),
        Node::Set(2, 1),
        Node::Set(3, 2),
        // A text and a number.
        Node::Set(6, 2),
        Node::Long(i64::MAX),
    ]);
    let slots = [
        Slot::Owner,
        Slot::Environment,
        Slot::Method,
        Slot::Path,
        Slot::Time,
        Slot::Source,
        Slot::Scopes,
        Slot::Assurance,
        Slot::Issued,
        Slot::Expires,
        Slot::Subject,
        Slot::Task,
        Slot::Approval,
        Slot::Budget(0),
    ];
    let of_inputs =
        (0..INPUTS).flat_map(|nth| [Slot::Input(nth), Slot::Amount(nth), Slot::Currency(nth)]);
    for slot in slots.into_iter().chain(of_inputs) {
        nodes.extend([Node::Slot(slot), Node::Has(slot)]);
    }
    let time = nodes.iter().position(|node| *node == Node::Slot(Slot::Time)).unwrap() as u32;
    nodes.push(Node::ToTime(time));
    (nodes, lists)
}

/// Calls it with facts of a request, and of none.
fn with_facts(mut each: impl FnMut(&Facts<'_>)) {
    // Beyond 64 none is looked at, and that is an error where none before was the one.
    let after = |others: usize| format!("{}orders:write", "a ".repeat(others));
    for scopes in ["orders:write orders:read".to_owned(), after(63), after(64), String::new()] {
        let mut pass = Pass::good();
        pass.claims["scope"] = scopes.into();
        let claims = pass.claims.to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        let input = |name: &str, kind| Input {
            name: name.to_owned(),
            kind,
            source: Source::Query(name.to_owned()),
            record: Recording::None,
        };
        let wanted = [
            input("count", InputKind::Integer),
            input("weight", InputKind::Decimal),
            input("amount", InputKind::Money(Currency::Fixed("EUR".to_owned()))),
            input("color", InputKind::Text),
            input("missing", InputKind::Text),
            input("broken", InputKind::Integer),
        ];
        let line = b"/orders?count=5&weight=5.0&amount=5.00&color=blue&broken=x";
        let target = Target::parse(line).unwrap();
        let inputs = Inputs::read(&wanted, &[], &target, &[]).unwrap();
        let asked = Asked {
            audience: AUDIENCE,
            method: "POST",
            host: "orders.example",
            path: "/orders",
            route: "/orders",
            source: None,
            inputs: &inputs,
            places: &[0, 1, 2, 3, 4, 5, NOWHERE],
        };
        for asked in [Some(asked), None] {
            for now in [999, 1_000, 1_001, 86_400 + 1_000] {
                let now = UnixSeconds(now);
                each(&Facts {
                    claims: &claims,
                    environment: "prod",
                    now,
                    action: "orders:create",
                    budgets: Budgets::default(),
                    asked,
                });
            }
        }
    }
}

fn program(nodes: Vec<Node>, lists: Vec<u32>) -> Program {
    let texts = TEXTS.map(str::to_owned).to_vec();
    let patterns = vec![Pattern(["", "o", ""].map(str::to_owned).to_vec())];
    Program { texts, patterns, nodes, lists, ..Program::default() }
}

/// Holds the rows of these conditions against their nodes.
fn hold(program: &Program, conditions: &[u32]) {
    let mut laying = Laying::of(program);
    let rows: Vec<_> = conditions.iter().map(|at| (*at, laying.add(*at))).collect();
    let all = laying.end();
    with_facts(|facts| {
        let evaluation = Evaluation { program, facts };
        for (at, row) in &rows {
            let (row, node) = (evaluation.decide(&all, *row), evaluation.holds(*at));
            assert_eq!(row, node, "{:?} of {:?}", program.nodes.get(*at as usize), program.nodes);
        }
    });
}

#[test]
fn a_question_and_its_node_have_one_answer() {
    let (mut nodes, lists) = operands();
    let operands = nodes.len() as u32;
    for left in 0..operands {
        nodes.push(Node::Like(left, 0));
        for right in 0..operands {
            nodes.extend([
                Node::Equal(left, right),
                Node::Less(left, right),
                Node::LessOrEqual(left, right),
                Node::DecimalLess(left, right),
                Node::DecimalLessOrEqual(left, right),
                Node::Contains(left, right),
                Node::ContainsAll(left, right),
                Node::In(left, right),
            ]);
        }
    }
    let conditions: Vec<u32> = (0..nodes.len() as u32).collect();
    let program = program(nodes, lists);
    let of = |at: &u32| !matches!(Question::of(&program, *at), Question::Node);
    let short = conditions.iter().filter(|at| of(at)).count();
    assert!(short > 200, "{short} are more than a node");
    hold(&program, &conditions);
}

#[test]
fn a_row_of_questions_comes_to_what_its_nodes_do() {
    let mut dice = Dice::new(7);
    for _ in 0..200 {
        let (mut nodes, lists) = operands();
        for _ in 0..60 {
            let mut one = || dice.roll(nodes.len()) as u32;
            let (first, second, third) = (one(), one(), one());
            // Among those before it, so conditions use others again and again.
            nodes.push(match dice.roll(6) {
                0 => Node::And(first, second),
                1 => Node::Or(first, second),
                2 => Node::Not(first),
                3 => Node::If(first, second, third),
                4 => Node::Equal(first, second),
                _ => Node::Less(first, second),
            });
        }
        let conditions: Vec<u32> = (0..nodes.len() as u32).collect();
        hold(&program(nodes, lists), &conditions);
    }
}

#[test]
fn a_condition_of_many_questions_stays_a_node() {
    let chain = |times: u32| {
        let mut nodes = vec![Node::Boolean(true), Node::Boolean(true)];
        for at in 0..times {
            nodes.push(Node::And(at + 1, 0));
        }
        let last = nodes.len() as u32 - 1;
        let program = program(nodes, Vec::new());
        hold(&program, &[last]);
        let mut laying = Laying::of(&program);
        laying.add(last);
        laying.end().steps.len()
    };
    assert_eq!(chain(0), 1);
    assert_eq!(chain(31), 32);
    assert_eq!(chain(32), 1);
    // Twice the one before, each time: as many paths as nobody could write down.
    let mut nodes = vec![Node::Boolean(true)];
    nodes.extend((0..40).map(|at| Node::And(at, at)));
    let program = program(nodes, Vec::new());
    let mut laying = Laying::of(&program);
    laying.add(40);
    assert_eq!(laying.end().steps.len(), 1);
}

#[test]
fn rules_with_one_condition_share_its_row() {
    let nodes = vec![Node::Boolean(true), Node::Boolean(false), Node::Or(1, 0)];
    let program = program(nodes, Vec::new());
    let mut laying = Laying::of(&program);
    let (first, again) = (laying.add(2), laying.add(2));
    assert_eq!((first.0.get(), again.0.get(), laying.end().steps.len()), (1, 1, 2));
}
