//! What is asked about leaves no trace.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{but, read};
use crate::kit::{Ask, Plan, Plane, send};

/// The bytes of each file below a directory.
fn files(dir: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, all),
            false => all.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
}

#[test]
fn the_gatepass_that_is_asked_about_is_in_no_log_and_no_file() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut plane = Plane::with(&Plan { now, ..Plan::default() });
    plane.furnish();
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    let export = plane.export();
    plane.stop();
    let log = plane.file("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
    command.args(["serve", "--dir"]).arg(plane.dir()).env("GATEPASS_LOG", "trace");
    command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let admin = told["admin"].as_str().unwrap().parse().unwrap();
    let authorization = format!("Bearer {}", plane.admin);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let post = |asked: Value| {
        send(admin, "POST", "/v1/explain", &headers, asked.to_string().as_bytes()).json()
    };
    assert_eq!(post(read(&token))["decision"], "allow");
    assert_eq!(post(but(read(&token), "path", "/nothing"))["decision"], "deny");
    assert_eq!(post(but(read(&token), "gatepass", json!([token])))["status"], 400);
    assert_eq!(post(but(read(&token), "nothing", token.as_str()))["status"], 400);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut all = vec![("log".to_owned(), std::fs::read(&log).unwrap())];
    assert!(all[0].1.len() > 1_000, "it logs what it does");
    files(&plane.dir(), &mut all);
    plane.start();
    let after = plane.export();
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with("{\"head\"")).count();
    assert_eq!(lines(&after), lines(&export), "a question leaves no record");
    all.push(("export".to_owned(), after.into_bytes()));
    for secret in token.split('.').skip(1) {
        for (name, bytes) in &all {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{name}");
        }
    }
}
