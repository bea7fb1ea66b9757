//! The check and the evaluator on programs made by hand; that they mean what Cedar means is shown beside Cedar
//! (`control-plane/policy/tests/differential`).

use super::*;
use crate::budget::Budgets;
use crate::clock::UnixSeconds;
use crate::gatepass::Claims;
use crate::inputs::Inputs;
use crate::testkit::{AGENT, AUDIENCE, BLUEPRINT, OWNER, Pass};

fn rule(effect: Effect, condition: Option<u32>) -> Rule {
    Rule { id: "r".to_owned(), effect, shadow: false, code: None, message: None, condition }
}

fn program(nodes: &[Node], rules: Vec<Rule>) -> Program {
    let applies = Applies { rules: (0..).take(rules.len()).collect() };
    let texts = [AGENT, BLUEPRINT, OWNER, "orders:write", "orders:create"].map(str::to_owned);
    Program {
        texts: texts.to_vec(),
        nodes: nodes.to_vec(),
        rules,
        actions: vec![applies],
        ..Program::default()
    }
}

fn decided(program: Program, asked: bool) -> Verdict {
    let rules = Rules::check(program, 1).unwrap();
    let pass = Pass::good().claims.to_string();
    let claims = Claims::parse(pass.as_bytes()).unwrap();
    let inputs = Inputs::default();
    let asked = asked.then_some(Asked {
        audience: AUDIENCE,
        method: "POST",
        host: "orders.example",
        path: "/orders",
        route: "/orders",
        source: None,
        inputs: &inputs,
        places: &[],
    });
    let facts = Facts {
        claims: &claims,
        environment: "prod",
        now: UnixSeconds(1_000),
        action: "orders:create",
        budgets: Budgets::default(),
        asked,
    };
    rules.decide(0, &facts)
}

fn outcome(nodes: &[Node], rules: Vec<Rule>) -> Outcome {
    decided(program(nodes, rules), true).outcome
}

const TRUE: Node = Node::Boolean(true);
const FALSE: Node = Node::Boolean(false);
/// Beyond 64 bits.
const ERROR: [Node; 2] = [Node::Long(i64::MIN), Node::Negate(0)];

#[test]
fn nothing_is_permitted_by_default_and_a_forbid_wins() {
    use Effect::{Forbid, Permit};
    assert_eq!(outcome(&[], vec![]), Outcome::NotPermitted);
    assert_eq!(outcome(&[], vec![rule(Permit, None)]), Outcome::Permitted);
    assert_eq!(outcome(&[FALSE], vec![rule(Permit, Some(0))]), Outcome::NotPermitted);
    assert_eq!(outcome(&[TRUE], vec![rule(Permit, Some(0))]), Outcome::Permitted);
    let both = vec![rule(Permit, None), rule(Forbid, Some(0))];
    assert_eq!(outcome(&[TRUE], both.clone()), Outcome::Forbidden);
    assert_eq!(outcome(&[FALSE], both), Outcome::Permitted);
}

#[test]
fn an_error_never_permits_and_always_forbids() {
    use Effect::{Forbid, Permit};
    let overflow = Stop::Overflow;
    let failed = [ERROR[0], ERROR[1]];
    assert_eq!(outcome(&failed, vec![rule(Permit, Some(1))]), Outcome::PermitFailed(overflow));
    assert_eq!(
        outcome(&failed, vec![rule(Permit, Some(1)), rule(Permit, None)]),
        Outcome::Permitted,
        "another permits"
    );
    let both = vec![rule(Permit, None), rule(Forbid, Some(1))];
    assert_eq!(outcome(&failed, both), Outcome::ForbidFailed(overflow));
    // What is no boolean is an error too.
    assert_eq!(outcome(&failed, vec![rule(Permit, Some(0))]), Outcome::PermitFailed(Stop::Type));
}

#[test]
fn a_rule_in_shadow_mode_is_told_of_and_changes_nothing() {
    use Effect::{Forbid, Permit};
    let shadow = |effect, condition| Rule { shadow: true, ..rule(effect, condition) };
    let all = |rules| decided(program(&[TRUE, FALSE, ERROR[0], Node::Negate(2)], rules), true);
    let found = all(vec![rule(Permit, None), shadow(Forbid, Some(0))]);
    assert_eq!(found.outcome, Outcome::Permitted);
    assert_eq!(found.shadow.iter().collect::<Vec<_>>(), [1]);
    let found = all(vec![rule(Permit, None), shadow(Forbid, Some(3))]);
    assert_eq!(found.outcome, Outcome::Permitted);
    assert_eq!(found.shadow.iter().collect::<Vec<_>>(), [1], "an error would forbid");
    let found =
        all(vec![shadow(Permit, Some(0)), shadow(Permit, Some(1)), shadow(Permit, Some(3))]);
    assert_eq!(found.outcome, Outcome::NotPermitted);
    assert_eq!(found.shadow.iter().collect::<Vec<_>>(), [0], "what is false or an error would not");
    let found = all(vec![rule(Permit, None), shadow(Forbid, Some(1))]);
    assert!(found.shadow.is_empty());
}

#[test]
fn a_denial_names_the_rules_that_caused_it() {
    let all = vec![
        rule(Effect::Permit, None),
        rule(Effect::Forbid, Some(1)),
        rule(Effect::Forbid, Some(0)),
        rule(Effect::Forbid, None),
    ];
    let found = decided(program(&[TRUE, FALSE], all), true);
    assert_eq!(found.causes.iter().collect::<Vec<_>>(), [2, 3]);
    let many = vec![rule(Effect::Forbid, None); 20];
    assert_eq!(decided(program(&[], many), true).causes.iter().count(), 8, "as many as are named");
}

#[test]
fn before_there_is_a_request_what_only_it_has_neither_permits_nor_forbids_for_certain() {
    use Effect::{Forbid, Permit};
    let method = [Node::Slot(Slot::Method), Node::Text(0), Node::Equal(0, 1)];
    let may = |nodes: &[Node], rules| decided(program(nodes, rules), false).outcome;
    let request = |nodes: &[Node], rules| decided(program(nodes, rules), true).outcome;
    let permit = vec![rule(Permit, Some(2))];
    assert_eq!(may(&method, permit.clone()), Outcome::Permitted);
    assert_eq!(request(&method, permit), Outcome::NotPermitted);
    let forbid = vec![rule(Permit, None), rule(Forbid, Some(2))];
    assert_eq!(may(&method, forbid), Outcome::Permitted);
    // What the gatepass says is known already.
    let scope = [Node::Slot(Slot::Scopes), Node::Text(3), Node::Contains(0, 1), Node::Not(2)];
    assert_eq!(may(&scope, vec![rule(Permit, Some(2))]), Outcome::Permitted);
    assert_eq!(may(&scope, vec![rule(Permit, Some(3))]), Outcome::NotPermitted);
    assert_eq!(may(&scope, vec![rule(Permit, None), rule(Forbid, Some(2))]), Outcome::Forbidden);
    // `false && unknown` is false, and `unknown && false` is not known.
    let nodes = [Node::Slot(Slot::Method), Node::Text(0), Node::Equal(0, 1), FALSE];
    let with = |node| [nodes.as_slice(), &[node]].concat();
    let permit = || vec![rule(Permit, Some(4))];
    assert_eq!(may(&with(Node::And(3, 2)), permit()), Outcome::NotPermitted);
    assert_eq!(may(&with(Node::And(2, 3)), permit()), Outcome::Permitted);
}

#[test]
fn an_agent_is_in_its_blueprint_and_in_no_other() {
    let agent = Node::Principal;
    for (kind, id, is) in [
        (Kind::Agent, 0, true),
        (Kind::Blueprint, 1, true),
        (Kind::Blueprint, 0, false),
        (Kind::Agent, 1, false),
        (Kind::Person, 2, false),
    ] {
        let nodes = [agent, Node::Entity(kind, id), Node::In(0, 1)];
        let found = outcome(&nodes, vec![rule(Effect::Permit, Some(2))]);
        let expected = if is { Outcome::Permitted } else { Outcome::NotPermitted };
        assert_eq!(found, expected, "{kind:?} {id}");
    }
}

fn refused(change: impl FnOnce(&mut Program)) -> BadProgram {
    let nodes = [TRUE, Node::Not(0), Node::And(0, 1), Node::Text(4), Node::Set(0, 2)];
    let mut one = program(&nodes, vec![rule(Effect::Permit, Some(2))]);
    one.lists = vec![0, 1];
    assert!(Rules::check(one.clone(), 1).is_ok());
    change(&mut one);
    Rules::check(one, 1).unwrap_err()
}

#[test]
fn a_program_that_names_what_is_not_there_is_refused() {
    let names = |what, at| BadProgram::Names { what, at };
    assert_eq!(refused(|p| p.nodes[1] = Node::Not(1)), names("expression", 1), "itself");
    assert_eq!(refused(|p| p.nodes[1] = Node::Not(2)), names("expression", 1), "a later one");
    assert_eq!(refused(|p| p.nodes[2] = Node::If(0, 1, 99)), names("expression", 2));
    assert_eq!(refused(|p| p.nodes[3] = Node::Text(5)), names("expression", 3));
    assert_eq!(refused(|p| p.nodes[4] = Node::Set(1, 2)), names("expression", 4));
    assert_eq!(refused(|p| p.nodes[4] = Node::Set(u32::MAX, u32::MAX)), names("expression", 4));
    assert_eq!(refused(|p| p.nodes[4] = Node::Record(0, 2)), names("expression", 4));
    assert_eq!(refused(|p| p.nodes[4] = Node::Like(3, 0)), names("expression", 4));
    assert_eq!(refused(|p| p.nodes[4] = Node::Net(0)), names("expression", 4));
    assert_eq!(refused(|p| p.nodes[4] = Node::Whole(0, 0)), names("expression", 4), "by zero");
    assert_eq!(refused(|p| p.nodes[4] = Node::Slot(Slot::Input(0))), names("expression", 4));
    assert_eq!(refused(|p| p.lists[1] = 4), names("expression", 4), "a member of itself");
    assert_eq!(refused(|p| p.rules[0].condition = Some(5)), names("rule", 0));
    assert_eq!(refused(|p| p.actions[0].rules = vec![1]), names("action", 0));
    assert_eq!(refused(|p| p.actions[0].rules = vec![0, 0]), names("action", 0), "twice");
    assert_eq!(refused(|p| p.inputs = vec![5]), names("input", 0));
    assert_eq!(refused(|p| p.inputs = vec![1, 1]), names("input", 1), "twice");
    assert_eq!(refused(|p| p.groups = vec![(0, 5)]), names("group", 0));
    assert_eq!(refused(|p| p.patterns = vec![Pattern(vec![])]), names("pattern", 0));
    assert_eq!(refused(|p| p.actions.push(Applies::default())), BadProgram::Actions(2, 1));
    for bad in ["", "a b", "a\nb", "a,b"] {
        assert_eq!(refused(|p| p.rules[0].id = bad.to_owned()), BadProgram::Texts(0), "{bad}");
    }
    assert_eq!(refused(|p| p.rules[0].code = Some("A".to_owned())), BadProgram::Texts(0));
    assert_eq!(refused(|p| p.rules[0].message = Some("a\nb".to_owned())), BadProgram::Texts(0));
}

#[test]
fn depth_and_steps_are_bounded_before_anything_is_decided() {
    let deep = |levels: u32| {
        let nodes = core::iter::once(TRUE).chain((0..levels).map(Node::Not));
        let nodes: Vec<Node> = nodes.collect();
        Rules::check(program(&nodes, vec![rule(Effect::Permit, Some(levels))]), 1)
    };
    assert!(deep(MAX_DEPTH - 1).is_ok());
    assert_eq!(deep(MAX_DEPTH).unwrap_err(), BadProgram::TooDeep("r".to_owned()));
    // Shared operands are cheap to write and dear to evaluate: each level takes twice the one below.
    let wide = |levels: u32| {
        let nodes = core::iter::once(TRUE).chain((0..levels).map(|at| Node::And(at, at)));
        let nodes: Vec<Node> = nodes.collect();
        Rules::check(program(&nodes, vec![rule(Effect::Permit, Some(levels))]), 1)
    };
    assert!(wide(10).is_ok());
    assert_eq!(wide(40).unwrap_err(), BadProgram::TooLong("r".to_owned()));
    // Sets of sets, compared with themselves.
    let mut nodes = vec![TRUE];
    let mut lists = Vec::new();
    for level in 0..12_u32 {
        lists.extend([level, level]);
        nodes.push(Node::Set(2 * level, 2));
    }
    nodes.push(Node::Equal(12, 12));
    let mut one = program(&nodes, vec![rule(Effect::Permit, Some(13))]);
    one.lists = lists;
    assert_eq!(Rules::check(one, 1).unwrap_err(), BadProgram::TooLong("r".to_owned()));
    // Ten of these took 50 ms before each level counted twice.
    let sets = |levels: u32| {
        let mut nodes = vec![Node::Long(1)];
        nodes.extend((0..levels).map(|level| Node::Set(level, 1)));
        nodes.push(Node::Equal(levels, levels));
        let mut one = program(&nodes, vec![rule(Effect::Permit, Some(levels + 1))]);
        one.lists = (0..levels).collect();
        Rules::check(one, 1)
    };
    assert!(sets(3).is_ok());
    assert_eq!(sets(16).unwrap_err(), BadProgram::TooLong("r".to_owned()));
    // A long path, and who asks chooses it.
    let like = |rules: usize| {
        let nodes = [Node::Slot(Slot::Path), Node::Like(0, 0)];
        let mut one = program(&nodes, vec![rule(Effect::Permit, Some(1)); rules]);
        one.patterns = vec![Pattern(vec![String::new(), "b".to_owned(), String::new()])];
        Rules::check(one, 1)
    };
    assert!(like(100).is_ok());
    assert_eq!(like(200).unwrap_err(), BadProgram::TooLongTogether(0));
    // Many rules of one action.
    let nodes: Vec<Node> =
        core::iter::once(TRUE).chain((0..14).map(|at| Node::And(at, at))).collect();
    let many = vec![rule(Effect::Permit, Some(14)); 20];
    assert_eq!(Rules::check(program(&nodes, many), 1).unwrap_err(), BadProgram::TooLongTogether(0));
}

#[test]
fn whether_time_matters_is_known_of_each_action() {
    let nodes = [Node::Slot(Slot::Time), Node::Datetime(5), Node::Less(0, 1), TRUE];
    let uses = |condition| {
        let one = program(&nodes, vec![rule(Effect::Permit, Some(condition))]);
        Rules::check(one, 1).unwrap().use_time(0)
    };
    assert!(uses(2));
    assert!(!uses(3));
    let shadow = Rule { shadow: true, ..rule(Effect::Permit, Some(2)) };
    assert!(!Rules::check(program(&nodes, vec![shadow]), 1).unwrap().use_time(0), "in shadow");
}

#[test]
fn a_pattern_matches_what_cedar_says_it_does() {
    let pattern = |text: &str| Pattern(text.split('*').map(str::to_owned).collect());
    for (like, text, is) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "abc", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*a", "ba", true),
        ("*a", "ab", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("a*b*c", "axbxc", true),
        ("a*b*c", "axcxb", false),
        ("*ab*", "xaab", true),
        ("é*", "éa", true),
        ("a**b", "ab", true),
        ("*b*b", "ab", false),
        ("*b*b", "bb", true),
    ] {
        assert_eq!(pattern(like).matches(text), is, "{text} like {like}");
    }
}

#[test]
fn a_guard_rules_out_what_is_false_and_nothing_else() {
    // Each beside an `&&` whose other side is an error: only a rule that is false by its first term is no error.
    let error = [Node::Long(i64::MIN), Node::Negate(0)];
    let with = |nodes: &[Node]| {
        let mut all = error.to_vec();
        all.extend_from_slice(nodes);
        let first = u32::try_from(all.len()).unwrap() - 1;
        all.push(Node::And(first, 1));
        let forbid = rule(Effect::Forbid, Some(first + 1));
        outcome(&all, vec![rule(Effect::Permit, None), forbid])
    };
    let failed = Outcome::ForbidFailed(Stop::Overflow);
    let agent = |text| [Node::Principal, Node::Entity(Kind::Agent, text), Node::Equal(2, 3)];
    assert_eq!(with(&agent(0)), failed);
    assert_eq!(with(&agent(1)), Outcome::Permitted);
    let blueprint = |text| [Node::Principal, Node::Entity(Kind::Blueprint, text), Node::In(2, 3)];
    assert_eq!(with(&blueprint(1)), failed);
    assert_eq!(with(&blueprint(0)), Outcome::Permitted);
    let owner =
        |text| [Node::Entity(Kind::Person, text), Node::Slot(Slot::Owner), Node::Equal(2, 3)];
    assert_eq!(with(&owner(2)), failed);
    assert_eq!(with(&owner(0)), Outcome::Permitted);
    let until = |end| [Node::Slot(Slot::Time), Node::Datetime(end), Node::Less(2, 3)];
    assert_eq!(with(&until(1_000_001)), failed);
    assert_eq!(with(&until(1_000_000)), Outcome::Permitted);
    // Of another type it is false and no text of the request.
    let odd = [Node::Slot(Slot::Owner), Node::Text(2), Node::Equal(2, 3)];
    assert_eq!(with(&odd), Outcome::Permitted);
    // What is not known yet rules nothing out: the method is none of these texts.
    let method = [Node::Slot(Slot::Method), Node::Text(0), Node::Equal(0, 1)];
    let permit = || vec![rule(Effect::Permit, Some(2))];
    assert_eq!(decided(program(&method, permit()), false).outcome, Outcome::Permitted);
    assert_eq!(decided(program(&method, permit()), true).outcome, Outcome::NotPermitted);
}
