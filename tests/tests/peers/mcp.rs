//! The official MCP SDKs through a real gate: what is allowed reaches their callers as it does without
//! one, and what is refused is shown to them.

use gatepass_tests::kit::peers::{Sdk, Server};
use serde_json::{Value, json};

use crate::shop::Shop;

const POLICY: &str = include_str!("mcp.yaml");
const ALL: [&str; 9] = [
    "shop:session",
    "shop:stream",
    "shop:search",
    "shop:count",
    "shop:pay",
    "shop:wipe",
    "shop:ask",
    "shop:prices",
    "shop:greet",
];
/// What an agent needs to speak MCP at all.
const SESSION: [&str; 2] = ["shop:session", "shop:stream"];
/// One of each protocol era, and of each language.
const TWO: [Sdk; 2] = [Sdk::PythonBefore, Sdk::NodeNow];
const WITH_SCOPE: (&str, &str) = ("scope", "shop.pay");

fn shop(server: Server) -> Shop {
    Shop::open(server, POLICY, &ALL)
}

/// The control plane issues nothing that the gate would refuse as it stands, so what lacks a scope or an
/// approval was issued before the policy asked for it.
fn before_it_was_asked_for(server: Server) -> Shop {
    let policy = POLICY.replace(", scopes: {all: [shop.pay]}", "").replace(", approval: true", "");
    assert_eq!(policy.len() + ", scopes: {all: [shop.pay]}, approval: true".len(), POLICY.len());
    Shop::open(server, &policy, &ALL)
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "do": "call", "name": tool, "arguments": arguments })
}

fn search() -> Value {
    call("search", json!({ "query": "pens" }))
}

fn pay(amount: &str) -> Value {
    call("pay", json!({ "amount": amount, "currency": "EUR", "region": "eu" }))
}

fn ask(sdk: Sdk, url: &str, token: &str, todo: &[Value]) -> Value {
    sdk.run(&json!({ "url": url, "token": token, "do": todo })).unwrap()
}

fn gatepass(shop: &Shop, actions: &[&str]) -> String {
    shop.gatepass(&[&SESSION[..], actions].concat(), &json!({}))
}

/// What the SDK told its caller of a step.
fn told(answer: &Value, step: usize) -> &Value {
    answer.pointer(&format!("/did/{step}")).unwrap_or_else(|| panic!("{answer}"))
}

/// Where the SDK hands over what the gate said, rather than the text of an HTTP answer: the error's code,
/// the gate's own, and the scopes that are missing.
fn refusal(answer: &Value, step: usize) -> (i64, &str, Vec<&str>) {
    let refused = &told(answer, step)["refused"];
    let scopes = refused["data"]["scopes"].as_array().into_iter().flatten();
    (
        refused["code"].as_i64().unwrap_or_else(|| panic!("{answer}")),
        refused["data"]["code"].as_str().unwrap_or_else(|| panic!("{answer}")),
        scopes.filter_map(Value::as_str).collect(),
    )
}

fn allowed_as_without_a_gate(server: Server, streams: bool, sdks: &[Sdk]) {
    let shop = shop(server);
    let actions = ["shop:search", "shop:count", "shop:prices", "shop:greet", "shop:ask"];
    let token = gatepass(&shop, &actions);
    for &sdk in sdks {
        let mut todo = vec![
            search(),
            // It reports its progress: messages that come before the answer.
            call("count", json!({ "to": 3 })),
            json!({ "do": "read", "uri": "shop://prices" }),
            json!({ "do": "prompt", "name": "greet", "arguments": { "name": "Bo" } }),
        ];
        if !Sdk::STATELESS.contains(&sdk) {
            // The server asks the client's model, and the answer to that has no method.
            todo.push(call("test_sampling", json!({ "prompt": "hm" })));
        }
        let straight = ask(sdk, &shop.straight("/mcp"), "", &todo);
        assert_eq!(ask(sdk, &shop.at("/mcp"), &token, &todo), straight, "{sdk:?}");
        assert_eq!(told(&straight, 0)["text"], "found pens", "{sdk:?}: {straight}");
        let steps = told(&straight, 1)["progress"].as_array().map(Vec::len);
        assert!(!streams || steps == Some(3), "{sdk:?}: {straight}");
        let version = if Sdk::STATELESS.contains(&sdk) { "2026-07-28" } else { "2025-11-25" };
        assert_eq!(straight["version"], version, "{sdk:?}");
    }
}

#[test]
fn what_is_allowed_is_told_as_without_a_gate() {
    allowed_as_without_a_gate(Server::mcp().unwrap(), true, &Sdk::MCP);
}

#[test]
fn so_it_is_where_the_server_answers_without_streams() {
    allowed_as_without_a_gate(Server::mcp_without_streams().unwrap(), false, &TWO);
}

fn lists_are_cut(server: Server, sdks: &[Sdk]) {
    let shop = before_it_was_asked_for(server);
    let lists = ["tools", "resources", "prompts"];
    let todo = lists.map(|what| json!({ "do": what }));
    let seen = |sdk: Sdk, url: &str, token: &str| {
        let answer = ask(sdk, url, token, &todo);
        let list = |(step, what): (usize, &&str)| told(&answer, step)[*what].clone();
        Value::from_iter(lists.iter().enumerate().map(list))
    };
    let gate = shop.at("/mcp");
    let some = gatepass(&shop, &["shop:search", "shop:count", "shop:prices", "shop:greet"]);
    let none = gatepass(&shop, &[]);
    let paying = [&SESSION[..], &["shop:pay", "shop:wipe"]].concat();
    let paying_without = shop.gatepass(&paying, &json!({}));
    let paying = shop.gatepass_with(&paying, &json!({}), &[WITH_SCOPE]);
    shop.publish(POLICY);
    for &sdk in sdks {
        let cut = json!([["search", "count"], ["shop://prices"], ["greet"]]);
        assert_eq!(seen(sdk, &gate, &some), cut, "{sdk:?}");
    }
    for sdk in TWO {
        let all = seen(sdk, &shop.straight("/mcp"), "");
        assert_eq!(all[0].as_array().map(Vec::len), Some(28), "{sdk:?}: {all}");
        assert_eq!(seen(sdk, &gate, &none), json!([[], [], []]), "{sdk:?}");
        // What awaits an approval is shown, and what lacks a scope is not.
        assert_eq!(seen(sdk, &gate, &paying)[0], json!(["pay", "wipe"]), "{sdk:?}");
        assert_eq!(seen(sdk, &gate, &paying_without)[0], json!(["wipe"]), "{sdk:?}");
    }
}

#[test]
fn lists_show_what_the_caller_may_call() {
    lists_are_cut(Server::mcp().unwrap(), &Sdk::MCP);
}

#[test]
fn so_they_do_where_the_server_answers_without_streams() {
    lists_are_cut(Server::mcp_without_streams().unwrap(), &TWO);
}

#[test]
fn what_is_refused_is_shown_and_the_session_lives() {
    let shop = before_it_was_asked_for(Server::mcp().unwrap());
    let most = json!({ "amount": { "max": "50.00 EUR" } });
    let paying = shop.gatepass_with(
        &[&SESSION[..], &["shop:pay", "shop:count", "shop:wipe"]].concat(),
        &json!({}),
        &[WITH_SCOPE],
    );
    let limited = shop.gatepass_with(&["shop:pay"], &most, &[WITH_SCOPE]);
    shop.publish(POLICY);
    for sdk in Sdk::MCP {
        let before = shop.server.ran().unwrap().len();
        let todo = [
            pay("60.00"),
            search(),
            call("wipe", json!({ "confirm": true })),
            call("count", json!({ "to": 1 })),
            call("nobody", json!({})),
            json!({ "do": "read", "uri": "shop://prices" }),
            call("count", json!({ "to": 1 })),
        ];
        let answer = ask(sdk, &shop.at("/mcp"), &paying, &todo);
        assert_eq!(told(&answer, 0)["text"], "paid 60.00 EUR", "{sdk:?}: {answer}");
        assert_eq!(refusal(&answer, 1), (-31403, "action_not_granted", vec![]), "{sdk:?}");
        assert_eq!(refusal(&answer, 2), (-31403, "approval_required", vec![]), "{sdk:?}");
        for step in [3, 6] {
            assert_eq!(told(&answer, step)["text"], "counted to 1", "{sdk:?}: {answer}");
        }
        // MCP has a status of its own for what nobody serves, from 2026-07-28 on.
        let nobody = told(&answer, 4)["refused"].to_string();
        assert!(nobody.contains("no_route") && nobody.contains("-32601"), "{sdk:?}: {answer}");
        assert_eq!(refusal(&answer, 5), (-31403, "action_not_granted", vec![]), "{sdk:?}");
        let message = told(&answer, 1)["refused"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("Ask for a gatepass for this action."), "{sdk:?}: {message}");
        let ran = shop.server.ran().unwrap();
        assert_eq!(ran.get(before..).unwrap(), ["pay", "count", "count"], "{sdk:?}");
    }
    // A gatepass for this amount only, and none for a session: the handshake is refused.
    for sdk in Sdk::MCP {
        let answer = ask(sdk, &shop.at("/mcp"), &limited, &[pay("40.00")]);
        let refused = answer["refused"].to_string();
        assert!(refused.contains("action_not_granted"), "{sdk:?}: {answer}");
    }
}

#[test]
fn an_argument_decides() {
    let shop = shop(Server::mcp().unwrap());
    let todo = [pay("50.00"), pay("50.01"), pay("1e9"), pay("40.00")];
    // Two entries: constraints on a payment, none on the session.
    let session = json!({ "type": "agent_action", "actions": SESSION });
    let at_most = json!({ "amount": { "max": "50.00 EUR" } });
    let paying = json!({ "type": "agent_action", "actions": ["shop:pay"], "constraints": at_most });
    let token = shop.gatepass_of(&json!([session, paying]), &[WITH_SCOPE]);
    for sdk in Sdk::MCP {
        let before = shop.server.ran().unwrap().len();
        let answer = ask(sdk, &shop.at("/mcp"), &token, &todo);
        assert_eq!(told(&answer, 0)["text"], "paid 50.00 EUR", "{sdk:?}: {answer}");
        assert_eq!(refusal(&answer, 1), (-31403, "constraint_violated", vec![]), "{sdk:?}");
        assert!(told(&answer, 2)["refused"].is_object(), "{sdk:?}: {answer}");
        assert_eq!(told(&answer, 3)["text"], "paid 40.00 EUR", "{sdk:?}: {answer}");
        let ran = shop.server.ran().unwrap();
        assert_eq!(ran.get(before..).unwrap(), ["pay", "pay"], "{sdk:?}");
    }
}

#[test]
fn a_scope_that_is_missing_is_named() {
    let shop = before_it_was_asked_for(Server::mcp().unwrap());
    let actions = [&SESSION[..], &["shop:pay"]].concat();
    let without = shop.gatepass(&actions, &json!({}));
    let with = shop.gatepass_with(&actions, &json!({}), &[WITH_SCOPE]);
    shop.publish(POLICY);
    for sdk in Sdk::MCP {
        let answer = ask(sdk, &shop.at("/mcp"), &without, &[pay("1.00"), pay("1.00")]);
        for step in [0, 1] {
            if sdk == Sdk::NodeNow {
                // It reads the challenge, and raises what it has for it.
                let refused = &told(&answer, step)["refused"];
                assert_eq!(refused["type"], "InsufficientScopeError", "{answer}");
                assert_eq!(refused["message"], "Insufficient scope: required \"shop.pay\"");
            } else {
                let expected = (-31403, "insufficient_scope", vec!["shop.pay"]);
                assert_eq!(refusal(&answer, step), expected, "{sdk:?}");
            }
        }
        let answer = ask(sdk, &shop.at("/mcp"), &with, &[pay("1.00")]);
        assert_eq!(told(&answer, 0)["text"], "paid 1.00 EUR", "{sdk:?}: {answer}");
    }
    assert_eq!(shop.server.ran().unwrap().len(), Sdk::MCP.len());
}

#[test]
fn whoever_brings_no_gatepass_or_a_dead_one_is_told_so() {
    let shop = shop(Server::mcp().unwrap());
    let token = gatepass(&shop, &["shop:search"]);
    let dead = gatepass(&shop, &["shop:search"]);
    shop.revoke(&dead);
    for sdk in Sdk::MCP {
        for (bad, code) in [("", "no_credential"), (dead.as_str(), "revoked_credential")] {
            let answer = ask(sdk, &shop.at("/mcp"), bad, &[search()]);
            let refused = answer["refused"].to_string();
            // The 1.x client for Python shows nothing but the status.
            let shown = if sdk == Sdk::PythonBefore { "401 Unauthorized" } else { code };
            assert!(refused.contains(shown), "{sdk:?}: {answer}");
            assert_eq!(answer["did"], json!([]), "{sdk:?}: {answer}");
        }
        let answer = ask(sdk, &shop.at("/mcp"), &token, &[search()]);
        assert_eq!(told(&answer, 0)["text"], "found pens", "{sdk:?}: {answer}");
    }
    assert_eq!(shop.server.ran().unwrap().len(), Sdk::MCP.len());
}
