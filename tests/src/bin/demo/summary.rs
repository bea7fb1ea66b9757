//! `target/demo/summary.json`: each step with what was expected and what came over the wire.

use std::path::PathBuf;
use std::time::Duration;

use gatepass_tests::kit::world::Failed;
use serde_json::{Value, json};

/// The steps of one run.
#[derive(Default)]
pub(crate) struct Summary {
    steps: Vec<Value>,
    differs: bool,
}

impl Summary {
    /// Notes and prints one step. `got` is status and code as read from the wire.
    pub(crate) fn step(
        &mut self,
        name: &str,
        how: &str,
        expected: &str,
        got: &str,
        took: Duration,
    ) {
        let ok = expected == got;
        self.differs |= !ok;
        let ms = took.as_secs_f64() * 1000.0;
        println!(
            "\n# {name}\n{how}\n  expected {expected:<28} got {got:<28} {} ({ms:.1} ms)",
            if ok { "ok" } else { "DIFFERS" }
        );
        self.steps.push(json!({
            "name": name,
            "expected": expected,
            "got": got,
            "ok": ok,
            "ms": (ms * 10.0).round() / 10.0,
        }));
    }

    pub(crate) fn is_as_expected(&self) -> bool {
        !self.differs && !self.steps.is_empty()
    }

    pub(crate) fn write(&self) -> Result<(), Failed> {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        let text = serde_json::to_string_pretty(
            &json!({ "steps": self.steps, "ok": self.is_as_expected() }),
        )?;
        std::fs::write(folder.join("summary.json"), text)?;
        let good =
            self.steps.iter().filter(|step| step.get("ok") == Some(&Value::Bool(true))).count();
        println!(
            "\n{good} of {} steps as expected; target/demo/summary.json has them all",
            self.steps.len()
        );
        Ok(())
    }
}

/// `target/demo`.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/demo")
}
