//! Targets for rules: a program as it stands in a bundle, and the text that it is compiled from.

use std::sync::LazyLock;

use gatepass_engine::budget::Budgets;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::policy::{Asked, Facts, Net, Outcome, Program, Rules, inputs_with_document};
use gatepass_engine::target::Target;
use gatepass_policy::cedar;

use super::scene::{self, AUDIENCE, NOW};

/// A program that is taken is decided for every action, each time the same, and before there is a request nothing
/// is denied that a request would be permitted. One that is not taken is refused; neither is a panic, nor long.
pub fn rules(bytes: &[u8]) {
    // The number of the actions is the bundle's; a program that is for another number is refused.
    let decoded = postcard::take_from_bytes::<Program>(bytes).ok();
    let actions = decoded.as_ref().map_or(ACTIONS, |(program, _)| program.actions.len());
    let Ok(rules) = Rules::read(bytes, actions) else {
        return;
    };
    if !bytes.is_empty() {
        assert!(Rules::read(bytes, actions.wrapping_add(1)).is_err());
        assert!(decoded.is_some_and(|(_, rest)| rest.is_empty()));
    }
    decide(&rules, actions);
}

/// Rules that compile are taken by an engine, as they are and off the wire, and are decided. Of those that do not, it
/// is said where.
pub fn cedar(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    let bundle = scene::bundle();
    match cedar::compile(&[("fuzz.cedar", text)], bundle) {
        Ok((program, notes)) => {
            assert!(notes.iter().all(|note| !note.is_error));
            let actions = bundle.actions.len();
            let encoded = scene::postcard(&program);
            let read = Rules::read(&encoded, actions);
            assert!(read.is_ok(), "a gate would refuse it: {:?}", read.err());
            let checked = Rules::check(program, actions);
            for rules in checked.into_iter().chain(read) {
                decide(&rules, actions);
            }
        }
        Err(notes) => {
            assert!(notes.iter().any(|note| note.is_error));
            let lines = text.split('\n').count() as u64;
            for note in notes {
                assert!(!note.message.is_empty());
                assert!(note.column >= 1 && (1..=lines).contains(&note.line), "{note:?}");
            }
        }
    }
}

fn decide(rules: &Rules, actions: usize) {
    let payload = PAYLOAD.as_bytes();
    let bundle = scene::bundle();
    let (Ok(claims), Ok(target)) = (Claims::parse(payload), Target::parse(TARGET)) else {
        return;
    };
    let route = bundle.hosts.iter().find_map(|host| match &host.treatment {
        gatepass_engine::bundle::Treatment::Guarded(routes) => routes.first(),
        gatepass_engine::bundle::Treatment::PassedThrough => None,
    });
    let wanted = route.map_or(&[][..], |route| route.inputs.as_slice());
    let Some(inputs) = inputs_with_document(wanted, &target, &[], b"{}") else {
        return;
    };
    let places: Vec<u8> = rules
        .inputs()
        .map(|name| wanted.iter().position(|input| input.name == name))
        .map(|place| place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX))
        .collect();
    let before = Facts {
        claims: &claims,
        environment: "prod",
        now: UnixSeconds(NOW),
        action: "orders:create",
        budgets: Budgets::default(),
        asked: None,
    };
    let source = Net::of(core::net::Ipv4Addr::LOCALHOST.into());
    let asked = Asked {
        audience: AUDIENCE,
        method: "POST",
        host: "orders.example",
        path: target.path,
        route: target.path,
        source: Some(&source),
        inputs: &inputs,
        places: &places,
    };
    let facts = Facts { asked: Some(asked), ..before };
    for action in (0..u32::try_from(actions).unwrap_or(u32::MAX)).take(MAX_ACTIONS) {
        let verdict = rules.decide(action, &facts);
        assert_eq!(verdict, rules.decide(action, &facts));
        assert!(
            verdict.causes.iter().chain(verdict.shadow.iter()).all(|at| rules.rule(at).is_some())
        );
        let may = rules.decide(action, &before).outcome;
        if verdict.outcome == Outcome::Permitted {
            assert_eq!(may, Outcome::Permitted, "refused before there is a request");
        }
    }
}

static PAYLOAD: LazyLock<String> = LazyLock::new(|| scene::claims().to_string());
const TARGET: &[u8] = b"/orders?amount=500.50&currency=EUR&item=%C3%A9";
/// Of a bundle of which only the rules are fuzzed.
const ACTIONS: usize = 5;
/// That are decided: one takes half a millisecond at most, and a program may have many.
const MAX_ACTIONS: usize = 16;

/// What the texts of the seeds compile to.
pub(super) fn programs() -> Vec<Vec<u8>> {
    let compiled = SEEDS.iter().filter_map(|text| {
        let (program, _) = cedar::compile(&[("seed.cedar", text)], scene::bundle()).ok()?;
        Some(scene::postcard(&program))
    });
    compiled.chain([Vec::new()]).collect()
}

pub(super) const SEEDS: [&str; 6] = [
    r#"
@id("spend") @code("too_much") @message("Up to 500 euros an order.")
forbid (principal, action == Action::"orders:create", resource)
when { context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal("500.0")) };
permit (principal is Gatepass::Agent in Gatepass::Blueprint::"buyer", action in [Action::"orders"], resource)
when { principal.owner == Gatepass::Person::"user:corp/alice" }
unless { context.request.time > datetime("2030-01-01") || context.gatepass.scopes.contains("x") };
"#,
    r#"
@mode("shadow")
permit (principal, action in Action::"risk:high", resource == Gatepass::System::"https://orders.example")
when { context has approval.by && context.request.path like "/a*b" };
permit (principal, action, resource)
when { ["a", context.environment].containsAny(context.gatepass.scopes) && [[1], [2, 3]].contains([3, 2]) };
"#,
    r#"
forbid (principal in Gatepass::Agent::"a", action, resource is Gatepass::System)
when { ip("10.0.0.0/8").isInRange(ip("0.0.0.0/0")) && !ip("::1").isLoopback() };
permit (principal, action, resource)
when { if context.inputs has item then context.inputs.item like "*\u{e9}*" else {a: 1, "b c": [true]}.a == 1 };
"#,
    r#"
permit (principal, action, resource)
when { context.request.time.offset(duration("-1h")).toDate().durationSince(context.gatepass.issued).toHours() < 9223372036854775807 }
when { principal in [Gatepass::Blueprint::"buyer", Gatepass::Blueprint::"b"] && action in Action::"orders" }
when { -(3 * 4) - 5 <= 2 + 1 && {a: {b: "c"}} == {a: {b: context.task.id}} };
"#,
    "permit (principal, action, resource) when { ((((((((((!(!(!!true)))))))))))) && (if true then 1 else 2) == 1 };",
    "permit (principal == ?principal, action, resource) when { context.inputs.amount.amount == 1 \u{2028} // \"\n};",
];
