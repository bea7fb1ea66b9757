//! The target for what a token says: any claims, signed by the issuer key, held against a few
//! requests. What is allowed must be granted by a second, plain reading of the same text.

use std::collections::BTreeMap;

use gatepass_engine::body::Body;
use gatepass_engine::decision::{Decision, Header, Reason, Request};
use gatepass_engine::revocation::Kind;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::scene::{self, AT, AUDIENCE, EPOCH, ISS, ISSUER, NOW};
use super::values::ten_thousandths;

/// A request that the orders policy has a route for.
struct Ask {
    method: &'static str,
    target: &'static str,
    action: &'static str,
    /// Seconds that a token for the action's risk may live.
    life: u64,
    scope: Option<&'static str>,
    approval: bool,
    /// Its body is not read, so that nothing can be held against it.
    unread: bool,
    /// Each with its kind and its canonical text.
    inputs: &'static [(&'static str, InputIs, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InputIs {
    Text,
    Money,
}

const ASKS: [Ask; 4] = [
    Ask {
        method: "POST",
        target: "/orders?amount=5.00&currency=EUR&item=pen",
        action: "orders:create",
        life: 300,
        scope: Some("orders.write"),
        approval: false,
        unread: false,
        inputs: &[("amount", InputIs::Money, "5.0000 EUR"), ("item", InputIs::Text, "pen")],
    },
    Ask {
        method: "GET",
        target: "/orders/7",
        action: "orders:read",
        life: 3600,
        scope: None,
        approval: false,
        unread: false,
        inputs: &[("id", InputIs::Text, "7")],
    },
    Ask {
        method: "POST",
        target: "/orders/7/notes",
        action: "orders:note",
        life: 3600,
        scope: None,
        approval: false,
        unread: true,
        inputs: &[],
    },
    Ask {
        method: "DELETE",
        target: "/orders",
        action: "orders:wipe",
        life: 300,
        scope: None,
        approval: true,
        unread: false,
        inputs: &[],
    },
];

/// Decides each request with a token of these claims.
pub fn claims(bytes: &[u8]) {
    if bytes.len() > MAX_BYTES {
        return;
    }
    let token = format!("Bearer {}", scene::token(bytes, ISSUER));
    for ask in &ASKS {
        let pairs = [
            (":method", ask.method),
            (":authority", "orders.example"),
            (":path", ask.target),
            ("authorization", &token),
        ];
        let headers =
            pairs.map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() });
        let request = Request { headers: &headers, body: Body::None, source: None };
        let decision = gatepass_engine::decide(&request, &scene::gates().enforcing, scene::now());
        if let Decision::Allow(permit) = decision {
            assert!(matches!(permit.reason(), Reason::Decided(_)));
            let granted = check(bytes, ask);
            assert_eq!(granted, Ok(()), "{}", String::from_utf8_lossy(bytes));
        }
    }
}

fn check(bytes: &[u8], ask: &Ask) -> Result<(), &'static str> {
    let claims: Value = serde_json::from_slice(bytes).map_err(|_| "not JSON")?;
    let is = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    let number = |name: &str| claims[name].as_u64();
    let (iat, exp) = number("iat").zip(number("exp")).ok_or("no time")?;
    is(exp > NOW && iat <= NOW + 30 && exp > iat && exp - iat <= ask.life, "time")?;
    is(claims["nbf"].is_null() || number("nbf").is_some_and(|nbf| nbf <= NOW + 30), "nbf")?;
    is(claims["iss"] == ISS && claims["env"] == "prod", "issuer or environment")?;
    let audiences = match &claims["aud"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    is(audiences.contains(&AUDIENCE.into()), "audience")?;
    let sequence = claims["seq"][1].as_u64();
    is(claims["seq"][0] == EPOCH && sequence.is_some_and(|sequence| sequence <= AT), "seq")?;
    for restriction in ["cnf", "req_wl", "uses"] {
        is(claims.get(restriction).is_none(), "a restriction that cannot be checked")?;
    }
    let scopes = claims["scope"].as_str().unwrap_or_default();
    is(ask.scope.is_none_or(|scope| scopes.split(' ').any(|one| one == scope)), "scope")?;
    is(
        claims["assurance"] == "attested" || claims["assurance"] == "federated" || ask.life > 900,
        "assurance",
    )?;
    parties(&claims)?;
    let digest = scene::base64url(&digest(ask));
    match &claims["approval"] {
        Value::Null => is(!ask.approval, "no approval")?,
        approval => {
            is(approval["digest"] == *digest, "another approval")?;
            is(!ask.unread, "an approval of what is not read")?;
            let known = ["id", "by", "at", "amr", "digest"];
            let names = approval.as_object().ok_or("no object")?;
            is(names.keys().all(|name| known.contains(&name.as_str())), "approval")?;
        }
    }
    let entries = claims["authorization_details"].as_array().ok_or("no entries")?;
    is(entries.iter().all(is_known), "an unknown member")?;
    is(entries.iter().any(|entry| grants(entry, ask, &digest)), "no entry grants")
}

/// Who acts is named, and nobody in the chain is revoked.
fn parties(claims: &Value) -> Result<(), &'static str> {
    let mut named: Vec<(Kind, &Value)> = vec![
        (Kind::Credential, &claims["jti"]),
        (Kind::Task, &claims["txn"]),
        (Kind::Subject, &claims["sub"]),
        (Kind::Agent, &claims["sub"]),
        (Kind::Agent, &claims["client_id"]),
        (Kind::Owner, &claims["owner"]),
        (Kind::Blueprint, &claims["blueprint"]),
    ];
    let ancestors = claims["anc"].as_array().cloned().unwrap_or_default();
    named.extend(ancestors.iter().map(|ancestor| (Kind::Credential, ancestor)));
    let mut actor = &claims["act"];
    let acting = if actor.is_null() { &claims["sub"] } else { &actor["sub"] };
    if *acting != claims["client_id"] || !acting.as_str().is_some_and(|a| a.starts_with("agent:")) {
        return Err("the acting party");
    }
    while !actor.is_null() {
        named.push((Kind::Agent, &actor["sub"]));
        named.push((Kind::Owner, &actor["owner"]));
        named.push((Kind::Blueprint, &actor["blueprint"]));
        actor = &actor["act"];
    }
    let dead =
        |(kind, id): &(Kind, &Value)| scene::REVOKED.iter().any(|(k, i)| k == kind && *id == i);
    if named.iter().any(dead) { Err("revoked") } else { Ok(()) }
}

fn is_known(entry: &Value) -> bool {
    let known = ["type", "actions", "locations", "constraints", "args_digest"];
    let operators = ["max", "min", "equals", "in", "prefix"];
    let empty = Map::new();
    let constraints = entry["constraints"].as_object().unwrap_or(&empty);
    entry["type"] == "agent_action"
        && entry.as_object().is_some_and(|entry| entry.keys().all(|n| known.contains(&n.as_str())))
        && constraints.values().all(|all| {
            all.as_object().is_some_and(|all| all.keys().all(|o| operators.contains(&o.as_str())))
        })
}

fn grants(entry: &Value, ask: &Ask, digest: &str) -> bool {
    let contains =
        |list: &Value, one: &str| list.as_array().is_some_and(|l| l.contains(&one.into()));
    let here = entry.get("locations").is_none_or(|all| contains(all, AUDIENCE));
    let restricted = entry.get("args_digest").is_some()
        || entry["constraints"].as_object().is_some_and(|all| !all.is_empty());
    let same = entry.get("args_digest").is_none_or(|stated| stated == digest);
    let empty = Map::new();
    let constraints = entry["constraints"].as_object().unwrap_or(&empty);
    contains(&entry["actions"], ask.action)
        && here
        && same
        && !(restricted && ask.unread)
        && constraints.iter().all(|(input, operators)| {
            let input = ask.inputs.iter().find(|(name, ..)| name == input);
            let empty = Map::new();
            let operators = operators.as_object().unwrap_or(&empty);
            input.is_some_and(|(_, kind, text)| {
                operators.iter().all(|(operator, bound)| holds(*kind, text, operator, bound))
            })
        })
}

fn holds(kind: InputIs, text: &str, operator: &str, bound: &Value) -> bool {
    if operator == "in" {
        let any = |all: &Vec<Value>| all.iter().any(|one| holds(kind, text, "equals", one));
        return bound.as_array().is_some_and(any);
    }
    let Some(bound) = bound.as_str() else {
        return false;
    };
    match (kind, operator) {
        (InputIs::Text, "equals") => text == bound,
        (InputIs::Text, "prefix") => text.starts_with(bound),
        (InputIs::Text, _) => false,
        (InputIs::Money, _) => {
            let amount = |money: &str| {
                let (amount, currency) = money.split_once(' ')?;
                Some((ten_thousandths(amount)?, currency.to_owned()))
            };
            let (Some((value, euro)), Some((bound, currency))) = (amount(text), amount(bound))
            else {
                return false;
            };
            euro == currency
                && match operator {
                    "max" => value <= bound,
                    "min" => value >= bound,
                    "equals" => value == bound,
                    _ => false,
                }
        }
    }
}

/// The action digest, from the canonical JSON that another writer makes.
fn digest(ask: &Ask) -> [u8; 32] {
    let inputs: BTreeMap<&str, &str> =
        ask.inputs.iter().map(|(name, _, text)| (*name, *text)).collect();
    let path = ask.target.split('?').next().unwrap_or_default();
    let facts = serde_json::json!({
        "action": ask.action,
        "audience": AUDIENCE,
        "body_sha256": scene::base64url(&Sha256::digest(b"")),
        "environment": "prod",
        "host": "orders.example",
        "inputs": inputs,
        "method": ask.method,
        "path": path,
    });
    Sha256::digest(facts.to_string()).into()
}

/// The digest of the action that asks for an approval, for a seed.
#[must_use]
pub fn approved_digest() -> String {
    let wipe = ASKS.iter().find(|ask| ask.approval);
    wipe.map(|ask| scene::base64url(&digest(ask))).unwrap_or_default()
}

/// As many as can be in a token of the largest size.
const MAX_BYTES: usize = 6_000;
