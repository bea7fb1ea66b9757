//! The shipped `filter.wasm`, built from this checkout so that a test never runs a stale one.

use std::collections::BTreeMap;
use std::path::PathBuf;
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
    BUILT.get_or_init(build).clone()
}

fn build() -> Result<PathBuf, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--locked", "-p", "gatepass-filter", "--lib"])
        .args(["--target", "wasm32-wasip1", "--profile", "filter"])
        .current_dir(&root)
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the filter does not build; is the target there (`make setup`)?\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("wasm32-wasip1/filter/gatepass_filter.wasm"))
}

/// What the filter said of a decision in the filter state `gatepass`, by its parts.
#[must_use]
pub fn record(vm: &Vm, stream: Stream) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(vm.filter_state(stream, "gatepass").unwrap_or_default());
    let parts = text.split(' ').filter_map(|part| part.split_once('='));
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
