//! A server as it is published, npm's `@modelcontextprotocol/server-everything`, guarded by the policy that
//! `gatepass policy import-mcp` makes of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use gatepass_tests::kit::desk::binary;
use gatepass_tests::kit::peers::{Sdk, Server};
use gatepass_tests::kit::wire::{Connection, Response};
use serde_json::{Value, json};

use crate::shop::{AUDIENCE, Shop};

/// What `import-mcp` prints of a server.
fn imported(server: &Server) -> String {
    let url = format!("http://{}/mcp", server.address());
    let output = Command::new(binary().unwrap())
        .args(["policy", "import-mcp", &url, "--host", "127.0.0.1", "--audience", AUDIENCE])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn everything() -> Shop {
    let server = Server::everything().unwrap();
    let policy = imported(&server);
    Shop::open(server, &policy, &["mcp:session", "mcp:stream", ECHO, SUM, LONG])
}

fn ask(sdk: Sdk, url: &str, token: &str, todo: &[Value]) -> Value {
    sdk.run(&json!({ "url": url, "token": token, "do": todo })).unwrap()
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "do": "call", "name": tool, "arguments": arguments })
}

#[test]
fn a_published_server_works_behind_the_policy_that_is_made_of_it() {
    let shop = everything();
    let session =
        json!({ "type": "agent_action", "actions": ["mcp:session", "mcp:stream", ECHO, LONG] });
    let small = json!({ "a": { "max": 10 } });
    let sum = json!({ "type": "agent_action", "actions": [SUM], "constraints": small });
    let token = shop.gatepass_of(&json!([session, sum]), &[]);
    let allowed = [
        call("echo", json!({ "message": "hi" })),
        call("trigger-long-running-operation", json!({ "duration": 0.2, "steps": 2 })),
        call("get-sum", json!({ "a": 2, "b": 3 })),
    ];
    for sdk in Sdk::MCP {
        // Clients of both eras find that the server is of the earlier one, behind a gate too.
        let straight = ask(sdk, &shop.straight("/mcp"), "", &allowed);
        assert_eq!(ask(sdk, &shop.at("/mcp"), &token, &allowed), straight, "{sdk:?}");
        assert_eq!(straight["version"], "2025-11-25", "{sdk:?}");
        assert_eq!(straight["did"][0]["text"], "Echo: hi", "{sdk:?}: {straight}");
        assert_eq!(straight["did"][1]["progress"].as_array().map(Vec::len), Some(2), "{straight}");
        let todo = [
            json!({ "do": "tools" }),
            call("get-env", json!({})),
            call("get-sum", json!({ "a": 11, "b": 3 })),
            call("echo", json!({ "message": "still" })),
        ];
        let answer = ask(sdk, &shop.at("/mcp"), &token, &todo);
        let listed = json!(["echo", "get-sum", "trigger-long-running-operation"]);
        assert_eq!(answer["did"][0]["tools"], listed, "{sdk:?}: {answer}");
        for (step, code) in [(1, "action_not_granted"), (2, "constraint_violated")] {
            assert_eq!(answer["did"][step]["refused"]["data"]["code"], code, "{sdk:?}: {answer}");
        }
        assert_eq!(answer["did"][3]["text"], "Echo: still", "{sdk:?}: {answer}");
    }
}

/// One POST to the gate on a connection of its own.
fn post(shop: &Shop, token: &str, session: Option<&str>, body: &Value) -> Response {
    let mut more = format!("authorization: Bearer {token}\r\n");
    if let Some(session) = session {
        let head = "mcp-protocol-version: 2025-11-25\r\nmcp-session-id: ";
        more = [more.as_str(), head, session, "\r\n"].concat();
    }
    let body = body.to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = Connection::open(shop.envoy.address("in").unwrap()).unwrap();
    connection.exchange(request.as_bytes()).unwrap()
}

#[test]
fn a_replayed_stream_does_not_bring_the_list_that_was_cut() {
    let shop = everything();
    let token = shop.gatepass(&["mcp:session", "mcp:stream", ECHO], &json!({}));
    let client = json!({ "name": "raw", "version": "1" });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client } });
    let greeted = post(&shop, &token, None, &hello);
    let session = greeted.header("mcp-session-id").unwrap().to_owned();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(post(&shop, &token, Some(&session), &ready).status, 202);
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let listed = post(&shop, &token, Some(&session), &list);
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    assert!(text.contains("\"echo\"") && !text.contains("get-env"), "{text}");
    let event = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().trim();
    // Without a gate the server sends the list once more; behind it, it is asked for a new stream.
    let replay = |address, bearer: &str| {
        let request = format!(
            "GET /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n{bearer}mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\nlast-event-id: {event}\r\n\r\n"
        );
        beginning(address, request.as_bytes())
    };
    let straight = replay(shop.server.address(), "");
    assert!(straight.contains("get-env"), "{straight}");
    let bearer = format!("authorization: Bearer {token}\r\n");
    let gated = replay(shop.envoy.address("in").unwrap(), &bearer);
    assert!(gated.starts_with("HTTP/1.1 ") && !gated.contains("get-env"), "{gated}");
}

/// What is answered within a second: a stream does not end by itself.
fn beginning(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(request).unwrap();
    let mut out = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(size @ 1..) = stream.read(&mut piece) {
        out.extend_from_slice(piece.get(..size).unwrap());
    }
    String::from_utf8_lossy(&out).into_owned()
}

const ECHO: &str = "tools:echo";
const SUM: &str = "tools:get-sum";
const LONG: &str = "tools:trigger-long-running-operation";
