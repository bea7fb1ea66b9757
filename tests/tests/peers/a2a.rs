//! The official A2A SDKs through a real gate.

use gatepass_tests::kit::peers::{Sdk, Server};
use gatepass_tests::kit::wire::Connection;
use serde_json::{Value, json};

use crate::shop::Shop;

const POLICY: &str = include_str!("a2a.yaml");
const SDKS: [Sdk; 2] = [Sdk::A2aPython, Sdk::A2aNode];

fn ask(sdk: Sdk, url: &str, token: &str, streaming: bool) -> Value {
    let todo = json!([{ "say": "hello" }, { "task": "none" }]);
    sdk.run(&json!({ "url": url, "token": token, "streaming": streaming, "do": todo })).unwrap()
}

#[test]
fn messages_pass_by_method_and_what_they_say() {
    let shop = Shop::open(Server::a2a().unwrap(), POLICY, &["clerk:ask", "clerk:look"]);
    let both = shop.gatepass(&["clerk:ask", "clerk:look"], &json!({}));
    let asking = shop.gatepass(&["clerk:ask"], &json!({}));
    let other = shop.gatepass(&["clerk:ask"], &json!({ "says": { "equals": "bye" } }));
    for (sdk, streaming) in SDKS.into_iter().flat_map(|sdk| [(sdk, false), (sdk, true)]) {
        let straight = ask(sdk, &shop.straight(""), "", streaming);
        assert_eq!(ask(sdk, &shop.at(""), &both, streaming), straight, "{sdk:?}");
        assert_eq!(straight["did"][0]["text"], "answer to hello", "{straight}");
        let reached = shop.server.said().unwrap().len();
        // The message is granted, the task is not.
        let answer = ask(sdk, &shop.at(""), &asking, streaming);
        assert_eq!(answer["did"][0], straight["did"][0], "{sdk:?}");
        assert!(shows(&answer, 1, "action_not_granted"), "{sdk:?}: {answer}");
        assert_eq!(shop.server.said().unwrap().len(), reached + 1);
        let answer = ask(sdk, &shop.at(""), &other, streaming);
        assert!(shows(&answer, 0, "constraint_violated"), "{sdk:?}: {answer}");
        // This SDK for Python shows nothing but the status of what is not 200.
        let shown = if sdk == Sdk::A2aPython { "401 Unauthorized" } else { "no_credential" };
        let answer = ask(sdk, &shop.at(""), "", streaming);
        assert!(shows(&answer, 0, shown), "{sdk:?}: {answer}");
        assert_eq!(shop.server.said().unwrap().len(), reached + 1);
    }
}

fn shows(answer: &Value, step: usize, code: &str) -> bool {
    answer["did"][step]["refused"].to_string().contains(code)
}

/// The server takes A2A 0.3 at the same address; the policy speaks of 1.0.
#[test]
fn the_other_names_of_the_same_methods_are_not_open() {
    let shop = Shop::open(Server::a2a().unwrap(), POLICY, &["clerk:ask", "clerk:look"]);
    let token = shop.gatepass(&["clerk:ask", "clerk:look"], &json!({}));
    let said = |address, method: &str, version: &str| {
        let part = json!({ "kind": "text", "text": "hello" });
        let message =
            json!({ "kind": "message", "messageId": "m", "role": "user", "parts": [part] });
        let new = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "hello" }] });
        let message = if version == "0.3" { message } else { new };
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "message": message } });
        let call = call.to_string();
        let request = format!(
            "POST /a2a HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\na2a-version: {version}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{call}",
            call.len()
        );
        let answer = Connection::open(address).unwrap().exchange(request.as_bytes()).unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let (gate, server) = (shop.envoy.address("in").unwrap(), shop.server.address());
    assert!(said(gate, "SendMessage", "1.0")["result"].is_object());
    assert!(said(server, "message/send", "0.3")["result"].is_object());
    let refused = said(gate, "message/send", "0.3");
    assert_eq!(refused["error"]["data"]["code"], "no_route", "{refused}");
}
