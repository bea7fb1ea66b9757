//! The same on the command line.

use std::process::{Command, Output};

use serde_json::Value;

use super::furnished;
use crate::kit::Plane;

/// Runs the command as an operator.
fn gatepass(plane: &Plane, arguments: &[&str]) -> (i32, String) {
    let server = format!("http://{}", plane.addresses().admin);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
    command.args(["--server", &server, "explain"]).args(arguments);
    said(&command.env("GATEPASS_TOKEN", &plane.admin).output().unwrap())
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (output.status.code().unwrap(), text.concat())
}

#[test]
fn the_command_line_asks_the_running_control_plane() {
    let (plane, agent, token) = furnished();
    let file = plane.file("gatepass.jwt");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.to_str().unwrap();
    let asked = ["--host", "orders.example", "--path", "/orders/1"];
    let with = |more: &[&str]| gatepass(&plane, &[asked.as_slice(), more].concat());
    let (code, told) = with(&["--gatepass-file", file]);
    let allowed = format!("allowed: `orders:read` by {}, owned by user:corp/alice", agent.id);
    assert!(code == 0 && told.contains(&allowed), "{told}");
    assert!(told.starts_with("state: position ") && told.contains(", 0 ms old\n"), "{told}");
    assert!(told.contains("\n  ok      nothing in the chain is revoked\n"), "{told}");
    assert_eq!(with(&["--token", &token]), (code, told), "the same, however it comes");
    let (code, told) = with(&["--gatepass-file", file, "--age", "86400"]);
    assert!(code == 2 && told.contains("\ndenied: stale (503): "), "{told}");
    let (code, told) = with(&["--gatepass-file", file, "--header", "Content-Length: 3"]);
    assert!(code == 2 && told.contains("\ndenied: body_not_allowed"), "{told}");
    let (code, told) = with(&["--gatepass-file", file, "--audience", "nobody"]);
    assert!(code == 1 && told.contains("`audience`: no cohort has this name"), "{told}");
    let (code, told) = with(&["--gatepass-file", file, "--json"]);
    let json: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &json["decision"]), (0, &"allow".into()));
    let (code, told) = with(&[]);
    assert!(code == 2 && told.contains("\ndenied: no_credential (401): "), "{told}");

    let text = "GET /orders/1 HTTP/1.1\r\nHost: orders.example\r\n\r\n";
    let request = plane.file("request");
    std::fs::write(&request, text).unwrap();
    let request = request.to_str().unwrap();
    let (code, told) = gatepass(&plane, &["--request", request, "--gatepass-file", file]);
    assert!(code == 0 && told.contains(&allowed), "{told}");
    // An id is still one of a decision on record.
    let (code, told) = gatepass(&plane, &["0190a1b2-c3d4-7e5f-8a6b-0011223344ff"]);
    assert!(code == 1 && told.contains("there is no record of the decision"), "{told}");
    let (code, told) = gatepass(&plane, &["an-id", "--token", "x"]);
    assert!(code == 2 && told.contains("cannot be used with"), "{told}");
    let (code, told) = gatepass(&plane, &[]);
    assert!(code == 1 && told.contains("which request?"), "{told}");
}

#[test]
fn the_gatepass_can_come_by_the_standard_input() {
    let (plane, _, token) = furnished();
    let server = format!("http://{}", plane.addresses().admin);
    for flag in ["--token", "--gatepass-file"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
        command.args(["--server", &server, "explain", "--host", "orders.example"]);
        command.args(["--path", "/orders/1", flag, "-"]).env("GATEPASS_TOKEN", &plane.admin);
        let file = plane.file("piped");
        std::fs::write(&file, &token).unwrap();
        let output = command.stdin(std::fs::File::open(file).unwrap()).output().unwrap();
        let (code, told) = said(&output);
        assert!(code == 0 && told.contains("\nallowed: `orders:read`"), "{told}");
    }
}
