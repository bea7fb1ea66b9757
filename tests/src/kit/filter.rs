//! The shipped `filter.wasm`, built from this checkout so that a test never runs a stale one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::host::{Stream, Vm};

/// Builds the filter with its shipping profile and gives its path. Once per process; cargo itself
/// serialises processes.
///
/// # Errors
/// Cargo's own words when the build fails.
pub fn path() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build(&target(), &[])).clone()
}

/// The same source without the check before each request, for the tests that must notice. It lies apart
/// from what ships, and exports what it is.
///
/// # Errors
/// As [`path`].
pub fn unchecked_path() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let apart = || build(&target().join("unchecked"), &["--features", "unchecked-for-tests"]);
    BUILT.get_or_init(apart).clone()
}

fn build(target: &Path, features: &[&str]) -> Result<PathBuf, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--locked", "-p", "gatepass-filter", "--lib"])
        .args(["--target", "wasm32-wasip1", "--profile", "filter"])
        .args(features)
        .env("CARGO_TARGET_DIR", target)
        // What both have in common is compiled once.
        .env("CARGO_BUILD_BUILD_DIR", build_dir())
        .current_dir(&root)
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the filter does not build; is the target there (`make setup`)?\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(target.join("wasm32-wasip1/filter/gatepass_filter.wasm"))
}

/// Where cargo puts what it has built.
fn target() -> PathBuf {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from)
}

/// Where cargo keeps what is on the way there.
fn build_dir() -> PathBuf {
    std::env::var_os("CARGO_BUILD_BUILD_DIR").map_or_else(target, PathBuf::from)
}

/// What the filter said of a decision in the filter state `gatepass`, by its parts.
#[must_use]
pub fn record(vm: &Vm, stream: Stream) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(vm.filter_state(stream, "gatepass").unwrap_or_default());
    let parts = text.split(' ').filter_map(|part| part.split_once('='));
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
