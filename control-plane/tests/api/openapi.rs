//! The OpenAPI document: a golden file whose diff is the review of the API, judged by a validator
//! and by a fuzzer that others wrote.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::kit::{Plane, python};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_document_is_the_golden_file() {
    let made = format!("{:#}\n", gatepass::api::openapi());
    if std::env::var_os("GATEPASS_REGENERATE").is_some() {
        std::fs::write(golden(), &made).unwrap();
    }
    let kept = std::fs::read_to_string(golden()).unwrap();
    let is_same = kept == made;
    assert!(
        is_same,
        "the API is not docs/openapi.json: run GATEPASS_REGENERATE=1 cargo test -p gatepass --test api, and review its diff"
    );
}

#[test]
fn the_document_is_openapi() {
    let output = python()
        .args(["-m", "openapi_spec_validator", "--schema", "3.1.0"])
        .arg(golden())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_running_server_answers_as_the_document_says() {
    let plane = Plane::furnished();
    plane.agent(1);
    let url = format!("http://{}/openapi.json", plane.addresses().admin);
    let output = python()
        .args(["-m", "schemathesis.cli", "run", &url, "--no-color"])
        .args(["-H", &format!("Authorization: Bearer {}", plane.admin)])
        .args(["--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--max-time", "40"])
        // What would end its own token, or stop what the others need.
        .args(["--exclude-path-regex", "/v1/(stop|tokens|operators)"])
        .args(["--generation-database", "none", "--seed", "1"])
        .current_dir(plane.file("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
