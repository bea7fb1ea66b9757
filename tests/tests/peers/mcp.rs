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

fn shop(server: Server) -> Shop {
    Shop::open(server, POLICY, &ALL)
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

#[test]
fn what_is_allowed_is_told_as_without_a_gate() {
    for server in [Server::mcp(), Server::mcp_without_streams()] {
        let shop = shop(server.unwrap());
        let token = gatepass(
            &shop,
            &["shop:search", "shop:count", "shop:prices", "shop:greet", "shop:ask"],
        );
        for sdk in Sdk::MCP {
            let mut todo = vec![
                search(),
                call("count", json!({ "to": 3 })),
                json!({ "do": "resources" }),
                json!({ "do": "read", "uri": "shop://prices" }),
                json!({ "do": "prompts" }),
                json!({ "do": "prompt", "name": "greet", "arguments": { "name": "Bo" } }),
            ];
            if !Sdk::STATELESS.contains(&sdk) {
                // The server asks the client's model, and the answer is a message without a method.
                todo.push(call("test_sampling", json!({ "prompt": "hm" })));
            }
            let straight = ask(sdk, &shop.straight("/mcp"), "", &todo);
            assert_eq!(ask(sdk, &shop.at("/mcp"), &token, &todo), straight, "{sdk:?}");
            assert_eq!(told(&straight, 0)["text"], "found pens", "{sdk:?}: {straight}");
        }
    }
}
