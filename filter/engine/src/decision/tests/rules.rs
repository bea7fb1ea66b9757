//! Rules in a decision: after all else that the gatepass must be, and before anything is spent for it.

use super::*;
use crate::bundle::{Bundle, Uses};
use crate::clock::{Milliseconds, Now};
use crate::inputs::Decimal;
use crate::policy::{Applies, Effect, Node, Program, Rule, Slot};

pub(super) fn rule(id: &str, effect: Effect, condition: Option<u32>) -> Rule {
    Rule { id: id.to_owned(), effect, shadow: false, code: None, message: None, condition }
}

/// The rules of the request's action, and none of any other.
pub(super) fn govern(scene: &mut Scene, nodes: &[Node], rules: Vec<Rule>) {
    let mut actions = vec![Applies::default(); scene.bundle.actions.len()];
    actions[0].rules = (0..).take(rules.len()).collect();
    let texts = ["amount", "EUR", "orders:write", "/orders/{customer}", "customer", "c1"];
    let program = Program {
        texts: texts.map(str::to_owned).to_vec(),
        inputs: vec![0, 4],
        nodes: nodes.to_vec(),
        rules,
        actions,
        ..Program::default()
    };
    scene.bundle.policy = postcard::to_allocvec(&program).unwrap();
}

fn governed(nodes: &[Node], rules: Vec<Rule>) -> Scene {
    Scene::with(|scene| govern(scene, nodes, rules))
}

pub(super) fn permitted(scene: &mut Scene) {
    govern(scene, &[], vec![rule("all", Effect::Permit, None)]);
}

pub(super) fn forbidden(scene: &mut Scene) {
    let rules = vec![rule("all", Effect::Permit, None), rule("none", Effect::Forbid, None)];
    govern(scene, &[], rules);
}

pub(super) fn without_a_rule(scene: &mut Scene) {
    govern(scene, &[], vec![]);
}

/// Whether it is forbidden cannot be said.
pub(super) fn failing(scene: &mut Scene) {
    let nodes = [Node::Long(i64::MIN), Node::Negate(0)];
    let rules = vec![rule("all", Effect::Permit, None), rule("none", Effect::Forbid, Some(1))];
    govern(scene, &nodes, rules);
}

fn denied(scene: &Scene) -> Denial {
    match scene.decide() {
        Decision::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

/// No order of more than 100 euros.
fn up_to(most: &str) -> Scene {
    let most = Decimal::parse(most).unwrap().ten_thousandths();
    let nodes = [Node::Decimal(most), Node::Slot(Slot::Amount(0)), Node::DecimalLess(0, 1)];
    governed(
        &nodes,
        vec![rule("all", Effect::Permit, None), rule("spend", Effect::Forbid, Some(2))],
    )
}

#[test]
fn what_the_request_carries_is_held_against_the_rules() {
    assert!(matches!(up_to("100.00").decide(), Decision::Allow(_)));
    let denial = denied(&up_to("99.99"));
    assert_eq!(denial.code(), Code::PolicyDenied);
    assert_eq!(denial.detail(), "forbidden by `spend`");
    assert_eq!(denial.ruling(), None, "the rule says nothing to the caller");
    let (rules, shadow) = denial.whom().noted.rules();
    assert_eq!((rules.iter().collect::<Vec<_>>(), shadow.is_empty()), (vec![1], true));
    // An input that is not of its kind is an error, not a way round.
    let mut odd = up_to("100.00");
    odd.path = odd.path.replace("amount=100.00", "amount=1e2");
    assert_eq!(denied(&odd).code(), Code::PolicyError);
    // And so is one that the rule takes for granted.
    let mut without = up_to("100.00");
    without.path = without.path.replace("amount=100.00&", "");
    assert_eq!(denied(&without).code(), Code::PolicyError);
}

#[test]
fn where_there_are_rules_an_action_needs_a_permit() {
    let permitted = governed(&[], vec![rule("all", Effect::Permit, None)]);
    assert!(matches!(permitted.decide(), Decision::Allow(_)));
    let denial = denied(&governed(&[], vec![rule("none", Effect::Forbid, None)]));
    assert_eq!(denial.code(), Code::PolicyDenied);
    assert_eq!(
        denied(&governed(&[], vec![])).detail(),
        "no rule permits it",
        "rules without a rule"
    );
    // The rule is another action's.
    let mut other = Scene::with(|scene| {
        govern(scene, &[], vec![rule("all", Effect::Permit, None)]);
        let mut program: Program = postcard::from_bytes(&scene.bundle.policy).unwrap();
        program.actions.swap(0, 1);
        scene.bundle.policy = postcard::to_allocvec(&program).unwrap();
    });
    assert_eq!(denied(&other).detail(), "no rule permits it");
    other.bundle.policy = Vec::new();
    assert!(matches!(other.decide(), Decision::Allow(_)), "the twin: no rules at all");
}

#[test]
fn who_forbids_may_say_why_and_who_does_not_permit_may_not() {
    let speaking = |effect, condition| Rule {
        code: Some("too_much".to_owned()),
        message: Some("Up to 100 euros.".to_owned()),
        ..rule("spend", effect, condition)
    };
    let denial = denied(&governed(&[], vec![speaking(Effect::Forbid, None)]));
    let ruling = denial.ruling().unwrap();
    assert_eq!(ruling.code.as_deref(), Some("too_much"));
    assert_eq!(ruling.message.as_deref(), Some("Up to 100 euros."));
    let denial =
        denied(&governed(&[Node::Boolean(false)], vec![speaking(Effect::Permit, Some(0))]));
    assert_eq!(denial.ruling(), None);
}

#[test]
fn rules_come_after_what_the_gatepass_must_be_and_before_anything_is_spent() {
    let forbidden = |change: &dyn Fn(&mut Scene)| {
        let mut scene = governed(&[], vec![rule("none", Effect::Forbid, None)]);
        change(&mut scene);
        denied(&scene).code()
    };
    assert_eq!(forbidden(&|_| {}), Code::PolicyDenied);
    assert_eq!(forbidden(&|s| s.action().uses = Uses::Once), Code::PolicyDenied);
    assert_eq!(forbidden(&|s| s.action().approval = true), Code::ApprovalRequired);
    assert_eq!(forbidden(&|s| s.action().scopes_all = vec!["x".into()]), Code::InsufficientScope);
    let revoked = |s: &mut Scene| s.revoke(Kind::Agent, AGENT, Below::Always);
    assert_eq!(forbidden(&revoked), Code::RevokedAgent);
}

#[test]
fn in_shadow_mode_the_denial_is_told_and_the_request_goes_on() {
    let mut scene = governed(&[], vec![rule("none", Effect::Forbid, None)]);
    scene.action().mode = ActionMode::Shadow;
    let Decision::Allow(permit) = scene.decide() else { panic!() };
    let Reason::Shadow(denial) = permit.reason() else { panic!() };
    assert_eq!(denial.code(), Code::PolicyDenied);
    // A rule in shadow mode by itself: the request is granted, and what it would have come to is noted.
    let shadow = Rule { shadow: true, ..rule("none", Effect::Forbid, None) };
    let scene = governed(&[], vec![rule("all", Effect::Permit, None), shadow]);
    let Decision::Allow(permit) = scene.decide() else { panic!() };
    assert!(matches!(permit.reason(), Reason::Decided(_)));
    let (rules, shadow) = permit.noted().rules();
    assert_eq!(rules.iter().collect::<Vec<_>>(), [0]);
    assert_eq!(shadow.iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn what_is_open_ends_when_the_time_that_a_rule_allows_is_over() {
    let at = |seconds: i64| Node::Datetime(seconds.saturating_mul(1_000));
    let until = i64::try_from(NOW + 2).unwrap();
    let nodes = [Node::Slot(Slot::Time), at(until), Node::Less(0, 1)];
    let scene = governed(&nodes, vec![rule("hours", Effect::Permit, Some(2))]);
    let gate = scene.gate();
    let Decision::Allow(permit) = scene.decide_at(&gate) else { panic!() };
    let mut standing = permit.into_standing();
    let later = |seconds: u64| Now {
        unix: scene.now.unix.plus(seconds),
        monotonic: Milliseconds(scene.now.monotonic.0 + seconds * 1_000),
    };
    let mut cache = TokenCache::new(0);
    assert!(!standing.is_due(&gate, scene.now));
    assert!(standing.needs_request(&gate));
    assert!(standing.is_due(&gate, later(1)), "each second is another time");
    let mut again = |standing: &mut Standing, seconds| {
        scene.request(|request| standing.decide_anew(request, &gate, &mut cache, later(seconds)))
    };
    assert_eq!(again(&mut standing, 1), Ok(()));
    assert!(!standing.is_due(&gate, later(1)));
    // Without the request it cannot be said, and so it ends.
    let lost = standing.still_stands(&gate, later(2)).unwrap_err();
    assert_eq!(lost.code(), Code::PolicyChanged);
    assert_eq!(again(&mut standing, 2).unwrap_err().code(), Code::PolicyDenied);
    // The twin: rules that say nothing of the time are not asked each second.
    let scene = governed(&[], vec![rule("all", Effect::Permit, None)]);
    let gate = scene.gate();
    let Decision::Allow(permit) = scene.decide_at(&gate) else { panic!() };
    assert!(!permit.into_standing().needs_request(&gate));
}

#[test]
fn a_bundle_whose_rules_are_garbage_is_refused_whole() {
    let good = up_to("100.00").bundle;
    assert!(crate::routes::Index::build(good.clone()).is_ok());
    for cut in 0..good.policy.len() {
        let policy = good.policy[..cut].to_vec();
        let built = crate::routes::Index::build(Bundle { policy, ..good.clone() });
        assert!(built.is_err() || cut == 0, "{cut}");
    }
    // Whatever a byte is changed to, it is refused or decides: it never panics.
    let mut scene = up_to("100.00");
    for at in 0..good.policy.len() {
        for bit in 0..8 {
            scene.bundle.policy.clone_from(&good.policy);
            scene.bundle.policy[at] ^= 1 << bit;
            if let Ok(index) = crate::routes::Index::build(scene.bundle.clone()) {
                let claims = scene.pass.claims.to_string();
                let claims = Claims::parse(claims.as_bytes()).unwrap();
                let _ = super::super::admit(&claims, &index);
            }
        }
    }
}

#[test]
fn issuing_asks_the_same_rules_with_what_is_known_already() {
    let admitted = |scene: &Scene| {
        let claims = scene.pass.claims.to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        let index = crate::routes::Index::build(scene.bundle.clone()).unwrap();
        super::super::admit(&claims, &index).map_err(|denial| denial.code())
    };
    let only = |scene: &mut Scene| {
        scene.pass.entry("actions", json!(["orders:create"]));
    };
    let with = |nodes: &[Node], rules| {
        let mut scene = governed(nodes, rules);
        only(&mut scene);
        admitted(&scene)
    };
    // The amount is not known yet, the scopes are.
    let mut amount = up_to("0.01");
    only(&mut amount);
    assert_eq!(admitted(&amount), Ok(()));
    let scope = [Node::Slot(Slot::Scopes), Node::Text(2), Node::Contains(0, 1), Node::Not(2)];
    assert_eq!(with(&scope, vec![rule("a", Effect::Permit, Some(2))]), Ok(()));
    let refused = Err(Code::PolicyDenied);
    assert_eq!(with(&scope, vec![rule("a", Effect::Permit, Some(3))]), refused);
    let forbid = vec![rule("a", Effect::Permit, None), rule("b", Effect::Forbid, Some(2))];
    assert_eq!(with(&scope, forbid), refused);
}

#[test]
fn an_input_that_a_route_does_not_have_is_missing_there() {
    let nodes = [
        Node::Slot(Slot::Input(1)),
        Node::Text(5),
        Node::Equal(0, 1),
        Node::Has(Slot::Input(1)),
        Node::And(3, 2),
    ];
    let scene = governed(&nodes, vec![rule("mine", Effect::Permit, Some(4))]);
    assert!(matches!(scene.decide(), Decision::Allow(_)));
    let mut other = scene.clone();
    other.path = other.path.replace("/c1?", "/c2?");
    assert_eq!(denied(&other).code(), Code::PolicyDenied);
    // The agent itself is a fact like any other.
    let nodes = [Node::Principal, Node::Entity(crate::policy::Kind::Agent, 5), Node::Equal(0, 1)];
    assert_eq!(
        denied(&governed(&nodes, vec![rule("one", Effect::Permit, Some(2))])).code(),
        Code::PolicyDenied
    );
}

#[test]
fn the_callers_address_is_a_fact_where_the_proxy_knows_it() {
    let nodes = [Node::Slot(Slot::Source), Node::IsLoopback(0), Node::Has(Slot::Source)];
    let scene = governed(&nodes, vec![rule("near", Effect::Permit, Some(1))]);
    let gate = scene.gate();
    assert!(gate.index().unwrap().rules().use_source());
    let decided = |address: Option<&str>| {
        scene.request(|request| {
            let source = address.map(|address| address.parse().unwrap());
            match decide(&Request { source, ..*request }, &gate, scene.now) {
                Decision::Allow(_) => None,
                Decision::Deny(denial) => Some(denial.code()),
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(decided(Some("127.0.0.9")), None);
    assert_eq!(decided(Some("::1")), None);
    assert_eq!(decided(Some("10.0.0.9")), Some(Code::PolicyDenied));
    assert_eq!(decided(None), Some(Code::PolicyError), "not known is not near");
    let far = governed(&[], vec![rule("all", Effect::Permit, None)]);
    assert!(!far.gate().index().unwrap().rules().use_source(), "nobody asks for it");
}
