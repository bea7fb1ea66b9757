//! The MCP project's own conformance package, against a server and against the same server behind a gate.

use gatepass_tests::kit::peers::{Findings, Server, conformance};
use serde_json::json;

use crate::shop::Shop;

/// Checks that do not end alike in two runs: without the gate, and behind it.
fn differences(straight: &Findings, gated: &Findings) -> Vec<String> {
    let mut found = Vec::new();
    let none = Vec::new();
    for (scenario, checks) in straight {
        let behind = gated.get(scenario).unwrap_or(&none);
        let only = |these: &[(String, String)], those: &[(String, String)]| -> Vec<String> {
            let gone = these.iter().filter(|check| !those.contains(check));
            gone.map(|(id, outcome)| format!("{id} {outcome}")).collect()
        };
        let (without, with) = (only(checks, behind), only(behind, checks));
        if !without.is_empty() || !with.is_empty() {
            found.push(format!("{scenario}: {without:?}, and behind the gate {with:?}"));
        }
    }
    found
}

#[test]
fn the_conformance_package_finds_behind_a_gate_what_it_finds_without() {
    let policy = include_str!("conformance.yaml");
    let shop = Shop::open(Server::mcp().unwrap(), policy, &["mcp:all", "mcp:stream"]);
    let token = shop.gatepass(&["mcp:all", "mcp:stream"], &json!({}));
    for (revision, scenarios, expected) in
        [("2025-11-25", 33, vec![]), ("2026-07-28", 50, vec![WITHOUT_URI.to_owned()])]
    {
        let straight = conformance(&shop.straight("/mcp"), revision, &token).unwrap();
        let gated = conformance(&shop.at("/mcp"), revision, &token).unwrap();
        assert_eq!((straight.len(), gated.len()), (scenarios, scenarios), "{revision}");
        assert_eq!(differences(&straight, &gated), expected, "{revision}");
    }
}

/// It calls, without any URI, what 2026-07-28 no longer has. To the server that is a method that it does not know;
/// the gate refuses a call that says nothing of what it means (`body_malformed`) before it looks for a route.
const WITHOUT_URI: &str = "server-stateless: [\"sep-2575-http-server-method-not-found-404-resources-subscribe SUCCESS\", \"sep-2575-http-server-method-not-found-404-resources-unsubscribe SUCCESS\"], and behind the gate [\"sep-2575-http-server-method-not-found-404-resources-subscribe FAILURE\", \"sep-2575-http-server-method-not-found-404-resources-unsubscribe FAILURE\"]";
