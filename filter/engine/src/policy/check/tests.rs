use super::*;
use crate::policy::{Applies, Pattern};

/// One rule whose condition is the last of these nodes.
fn program(nodes: Vec<Node>, texts: Vec<String>, patterns: Vec<Pattern>) -> Program {
    let condition = u32::try_from(nodes.len() - 1).unwrap();
    let rule = Rule {
        id: "a".into(),
        effect: Effect::Permit,
        shadow: false,
        code: None,
        message: None,
        condition: Some(condition),
    };
    let actions = vec![Applies { rules: vec![0] }];
    Program { texts, patterns, nodes, rules: vec![rule], actions, ..Program::default() }
}

fn check(nodes: Vec<Node>, text: &str, parts: usize) -> Option<BadProgram> {
    let pattern = Pattern(vec![String::new(); parts]);
    Rules::check(program(nodes, vec![text.into()], vec![pattern]), 1).err()
}

/// So many times the same, each with the one before.
fn chain(of: Node, first: u32, times: u32) -> Vec<Node> {
    let mut nodes = vec![Node::Text(0), of];
    for _ in 0..times {
        let last = u32::try_from(nodes.len() - 1).unwrap();
        nodes.push(Node::And(first, last));
    }
    nodes
}

#[test]
fn long_texts_and_patterns_of_many_parts_cost_what_they_take() {
    let too_long = Some(BadProgram::TooLong("a".into()));
    let like = || chain(Node::Like(0, 0), 1, 40);
    assert_eq!(check(like(), "a", 10), None);
    assert_eq!(check(like(), "a", 2_000), too_long);
    assert_eq!(check(like(), &"a".repeat(20_000), 10), too_long);
    let equal = || chain(Node::Equal(0, 0), 1, 40);
    assert_eq!(check(equal(), &"a".repeat(2_000), 1), None);
    assert_eq!(check(equal(), &"a".repeat(20_000), 1), too_long);
}

#[test]
fn an_operand_that_does_not_come_before_is_refused() {
    for nodes in [vec![Node::Not(0)], vec![Node::Text(1)], vec![Node::Text(0), Node::Like(0, 1)]] {
        let at = nodes.len() - 1;
        assert_eq!(check(nodes, "a", 1), Some(BadProgram::Names { what: "expression", at }));
    }
    assert_eq!(check(vec![Node::Boolean(true)], "a", 1), None);
}
