//! Whether a gatepass that is about to be issued could be of use at the gate, for all that the
//! policy says of its actions: asked by the functions that decide a request.
//!
//! What only a request has (inputs, body, who presents it) is not looked at; the gate does.

use std::collections::HashSet;

use super::check;
use super::demands::{approved, assurance, bindable, budgeted, restrictions, scopes, young};
use super::ruling::permitted;
use crate::bundle::{Action, Route, RouteTarget, Treatment};
use crate::denial::{About, Code, Denial};
use crate::gatepass::Claims;
use crate::policy::Facts;
use crate::routes::Index;

/// Asks of every action that some entry names.
///
/// # Errors
/// The denial that the first useless action would meet, with that action's name.
pub fn admit(claims: &Claims<'_>, index: &Index) -> Result<(), Denial> {
    let details = &claims.authorization_details;
    if let Some(what) = details.unsupported() {
        return Err(Denial::new(Code::UnsupportedRestriction, what));
    }
    if details.is_empty() {
        return Err(Denial::new(Code::ActionNotGranted, "there is no entry"));
    }
    for (name, locations) in details.named() {
        let about = About { action: Some(name.to_owned()), ..About::default() };
        let mut actions = (0..).zip(&index.bundle().actions);
        let admitted = match actions.find(|(_, action)| action.name == name) {
            None => Err(Denial::new(Code::NoRoute, "no such action in the policy in force")),
            Some((at, action)) => reachable(claims, locations, name, index)
                .and_then(|()| demands(claims, action))
                .and_then(|()| budgeted(claims, index.budgets(at)))
                .and_then(|()| may_be_permitted(claims, at, action, index)),
        };
        admitted.map_err(|denial| denial.about(about))?;
    }
    Ok(())
}

/// The actions that some entry names here.
pub(super) fn named<'c>(claims: &'c Claims<'_>, audience: &str) -> HashSet<&'c str> {
    let here = |locations: Option<&[&str]>| locations.is_none_or(|all| all.contains(&audience));
    let named = claims.authorization_details.named();
    named.filter(|(_, locations)| here(*locations)).map(|(name, _)| name).collect()
}

/// Whether the gatepass may be of use for an action that it names, if perhaps only once somebody has approved it.
pub(super) fn usable(claims: &Claims<'_>, action: &Action, age: u64) -> bool {
    young(claims, action, age).is_ok()
        && scopes(claims, action).is_ok()
        && restrictions(claims, action).is_ok()
        && bindable(action).is_ok()
        && assurance(claims, action).is_ok()
}

/// What the action asks of a gatepass, whatever the request.
fn demands(claims: &Claims<'_>, action: &Action) -> Result<(), Denial> {
    young(claims, action, 0)?;
    scopes(claims, action)?;
    restrictions(claims, action)?;
    bindable(action)?;
    assurance(claims, action)?;
    approved(claims, action)
}

/// Whether the rules may permit some request of the action; what only a request has is not known.
pub(super) fn may_be_permitted(
    claims: &Claims<'_>,
    at: u32,
    action: &Action,
    index: &Index,
) -> Result<(), Denial> {
    let rules = index.rules();
    if rules.are_none() {
        return Ok(());
    }
    let (environment, now) = (claims.env.as_str(), claims.iat);
    let budgets = index.budgets(at);
    let facts = Facts { claims, environment, now, action: &action.name, budgets, asked: None };
    permitted(&rules.decide(at, &facts), rules)
}

/// Whether a host of one of the audiences has a route to the action.
fn reachable(
    claims: &Claims<'_>,
    locations: Option<&[&str]>,
    action: &str,
    index: &Index,
) -> Result<(), Denial> {
    let bundle = index.bundle();
    let leads = |route: &Route| match route.target {
        RouteTarget::Public => false,
        RouteTarget::Action(at) => usize::try_from(at)
            .ok()
            .and_then(|at| bundle.actions.get(at))
            .is_some_and(|found| found.name == action),
    };
    let named = |audience: &str| {
        claims.aud.0.iter().any(|aud| aud.as_str() == audience)
            && locations.is_none_or(|all| all.contains(&audience))
    };
    let found = bundle.hosts.iter().any(|host| match &host.treatment {
        Treatment::Guarded(routes) => named(&host.audience) && routes.iter().any(leads),
        Treatment::PassedThrough => false,
    });
    check(found, Code::WrongAudience, "no audience of the gatepass has a route to this action")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bundle::{Assurance, Binding, Bundle, Risk, Uses};
    use crate::testkit::{AUDIENCE, Pass, Scene, bundle};

    const ACTION: &str = "orders:create";

    fn admitted(bundle: Bundle, change: impl FnOnce(&mut Pass)) -> Result<(), Denial> {
        let mut pass = Pass::good();
        pass.entry("actions", json!([ACTION]));
        change(&mut pass);
        let claims = pass.claims.to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        admit(&claims, &Index::build(bundle).unwrap())
    }

    fn code(bundle: Bundle, change: impl FnOnce(&mut Pass)) -> Option<Code> {
        admitted(bundle, change).err().map(|denial| denial.code())
    }

    /// Each change of what the policy demands, and the claim that meets it.
    #[test]
    fn what_the_action_demands_is_asked_when_it_is_issued() {
        type Demand = fn(&mut Action);
        let none = || json!(null);
        let table: [(&str, Demand, &str, Value, Code); 7] = [
            (
                "scope",
                |a| a.scopes_all = vec!["x".into()],
                "scope",
                json!("x"),
                Code::InsufficientScope,
            ),
            (
                "any",
                |a| a.scopes_any = vec!["x".into()],
                "scope",
                json!("y x"),
                Code::InsufficientScope,
            ),
            (
                "risk",
                |a| a.risk = Risk::High,
                "exp",
                json!(crate::testkit::NOW - 20 + 300),
                Code::TooOld,
            ),
            (
                "assurance",
                |a| a.assurance = Assurance::Attested,
                "assurance",
                json!("attested"),
                Code::InsufficientAssurance,
            ),
            (
                "static",
                |a| a.risk = Risk::Medium,
                "assurance",
                json!("federated"),
                Code::InsufficientAssurance,
            ),
            ("binding", |a| a.binding = Binding::Key, "", none(), Code::BindingMismatch),
            ("approval", |a| a.approval = true, "", none(), Code::ApprovalRequired),
        ];
        for (name, demand, claim, met, expected) in table {
            let mut asks = bundle();
            demand(&mut asks.actions[0]);
            let lacking = |pass: &mut Pass| {
                match name {
                    "risk" => pass.set("exp", json!(crate::testkit::NOW - 20 + 301)),
                    "assurance" => pass.set("assurance", json!("federated")),
                    "static" => pass.set("assurance", json!("static")),
                    _ => pass,
                };
            };
            assert_eq!(code(bundle(), lacking), None, "{name}: without the demand");
            let denial = admitted(asks.clone(), lacking).unwrap_err();
            assert_eq!(denial.code(), expected, "{name}");
            assert_eq!(denial.whom().action.as_deref(), Some(ACTION), "{name}");
            if !claim.is_empty() {
                assert_eq!(
                    code(asks, |pass| {
                        pass.set(claim, met);
                    }),
                    None,
                    "{name}: met"
                );
            }
        }
    }

    #[test]
    fn restrictions_that_no_gate_checks_are_not_issued() {
        assert_eq!(code(bundle(), |_| {}), None);
        for (name, value) in [("cnf", json!({"jkt": "x"})), ("req_wl", json!("spiffe://a/b"))] {
            let expected = Some(Code::UnsupportedRestriction);
            assert_eq!(
                code(bundle(), |pass| {
                    pass.set(name, value);
                }),
                expected,
                "{name}"
            );
        }
        let uses = |pass: &mut Pass| {
            pass.entry("uses", json!(1));
        };
        assert_eq!(code(bundle(), uses), None);
        let more = |pass: &mut Pass| {
            pass.entry("uses", json!(2));
        };
        assert_eq!(code(bundle(), more), Some(Code::UnsupportedRestriction));
        let mut once = bundle();
        once.actions[0].uses = Uses::Once;
        assert_eq!(code(once, |_| {}), None, "the gate has the use spent");
    }

    #[test]
    fn every_action_that_is_named_must_be_of_use() {
        let names = |names: Value| {
            move |pass: &mut Pass| {
                pass.entry("actions", names);
            }
        };
        assert_eq!(code(bundle(), names(json!([ACTION, "orders:list"]))), None);
        assert_eq!(code(bundle(), names(json!([ACTION, "orders:wipe"]))), Some(Code::NoRoute));
        let empty = |pass: &mut Pass| {
            pass.set("authorization_details", json!([]));
        };
        assert_eq!(code(bundle(), empty), Some(Code::ActionNotGranted));
        let second = |pass: &mut Pass| {
            pass.claims["authorization_details"].as_array_mut().unwrap().push(json!({
                "type": "agent_action", "actions": ["orders:wipe"],
            }));
        };
        assert_eq!(code(bundle(), second), Some(Code::NoRoute), "in any entry");
    }

    #[test]
    fn an_action_is_reached_at_an_audience_that_has_a_route_to_it() {
        let elsewhere = "https://elsewhere.example";
        let aud = |pass: &mut Pass| {
            pass.set("aud", json!([elsewhere]));
        };
        assert_eq!(code(bundle(), aud), Some(Code::WrongAudience));
        let both = |pass: &mut Pass| {
            pass.set("aud", json!([elsewhere, AUDIENCE]));
        };
        assert_eq!(code(bundle(), both), None);
        let here = |pass: &mut Pass| {
            pass.entry("locations", json!([AUDIENCE]));
        };
        assert_eq!(code(bundle(), here), None);
        for locations in [json!([elsewhere]), json!([])] {
            let there = |pass: &mut Pass| {
                pass.entry("locations", locations.clone());
            };
            assert_eq!(code(bundle(), there), Some(Code::WrongAudience), "{locations}");
        }
        // A host that is passed through, and one whose only route is public, lead nowhere.
        let open = |pass: &mut Pass| {
            pass.set("aud", json!(["https://open.example"]));
        };
        assert_eq!(code(bundle(), open), Some(Code::WrongAudience));
        let mut routeless = bundle();
        if let Treatment::Guarded(routes) = &mut routeless.hosts[0].treatment {
            routes.retain(|route| route.target != RouteTarget::Action(0));
        }
        assert_eq!(code(routeless, |_| {}), Some(Code::WrongAudience));
    }

    #[test]
    fn what_is_admitted_is_allowed_at_the_gate() {
        let scene = Scene::good();
        let claims = scene.pass.claims.to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        assert_eq!(admit(&claims, scene.gate().index().unwrap()), Ok(()));
        assert!(matches!(scene.decide(), super::super::Decision::Allow(_)));
    }
}
