//! `tests/peers/read_gatepass.py`, run once for a list of requests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The answers, in the order of the requests.
pub(crate) fn ask(requests: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/read_gatepass.py");
    let mut python = Command::new(interpreter())
        .args(["-W", "ignore"])
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let requests = serde_json::to_vec(requests).unwrap();
    // The script reads everything before it writes anything.
    python.stdin.take().unwrap().write_all(&requests).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "the script ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Nothing is skipped where it is missing: the peers are the point of the test.
fn interpreter() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/python");
    let named = std::env::var_os("GATEPASS_PYTHON").map(PathBuf::from);
    let found = named.clone().unwrap_or_else(|| made.clone());
    assert!(
        found.exists(),
        "no Python with joserfc and authlib at `{}`: run `make tools`, or name one in \
         GATEPASS_PYTHON",
        found.display()
    );
    found
}
