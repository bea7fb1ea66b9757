//! The demo is a check that can fail: with other pinned roots it does.

use std::process::Command;

#[test]
fn the_demo_passes_and_with_other_pinned_roots_it_fails() {
    let foreign = Command::new(env!("CARGO_BIN_EXE_demo")).arg("--foreign-roots").output().unwrap();
    let printed = String::from_utf8_lossy(&foreign.stdout).into_owned();
    assert!(!foreign.status.success(), "{printed}");
    assert!(printed.contains("0 of 9 steps as expected"), "{printed}");
    let demo = Command::new(env!("CARGO_BIN_EXE_demo")).output().unwrap();
    let printed = String::from_utf8_lossy(&demo.stdout).into_owned();
    let errors = String::from_utf8_lossy(&demo.stderr).into_owned();
    assert!(demo.status.success(), "{printed}\n{errors}");
    assert!(printed.contains("42 of 42 steps as expected"), "{printed}");
}
