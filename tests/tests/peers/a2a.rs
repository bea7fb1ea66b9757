//! The official A2A SDKs through a real gate.

use gatepass_tests::kit::peers::{Sdk, Server};
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
        // Its method is not granted; the message is.
        let answer = ask(sdk, &shop.at(""), &asking, streaming);
        assert_eq!(answer["did"][0], straight["did"][0], "{sdk:?}");
        assert_eq!(shop.server.said().unwrap().len(), reached + 1);
        println!("{sdk:?} {streaming} {answer}");
        for token in [other.as_str(), ""] {
            let answer = ask(sdk, &shop.at(""), token, streaming);
            println!("{sdk:?} {streaming} {answer}");
            assert!(answer["did"][0]["refused"].is_object(), "{answer}");
        }
        assert_eq!(shop.server.said().unwrap().len(), reached + 1);
    }
}
