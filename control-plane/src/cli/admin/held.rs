//! Whether somebody may hold the scopes that a policy demands: asked of the control plane's blueprints.

use std::collections::BTreeSet;
use std::path::Path;

use gatepass::desk::ceiling::Ceiling;
use gatepass_policy::{Level, report, unheld_scopes};
use serde_json::Value;

use super::Server;
use super::request::Asked;
use crate::cli::Outcome;
use crate::cli::policy::{Checked, shown};

impl Server {
    /// Tells of scopes that no blueprint's ceiling has; false where that is an error, for `strict`.
    pub(super) async fn tell_unheld(
        &self,
        path: &Path,
        checked: &Checked,
        strict: bool,
    ) -> Outcome<bool> {
        // Where there is no blueprint yet, nothing is said of scopes.
        let Some(held) = self.held().await? else { return Ok(true) };
        let mut unheld = unheld_scopes(&checked.compiled, &checked.sources, &held);
        for problem in &mut unheld {
            problem.file = shown(path, &problem.file);
            if strict {
                problem.level = Level::Error;
            }
        }
        eprint!("{}", report(&unheld));
        Ok(!strict || unheld.is_empty())
    }

    /// What agents of blueprints that are not disabled may ask for; `None` where there is no blueprint.
    async fn held(&self) -> Outcome<Option<BTreeSet<String>>> {
        let blueprints = self.send(&Asked::get("/v1/blueprints")).await?;
        if blueprints.as_array().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        let mut held = BTreeSet::new();
        for blueprint in blueprints.as_array().into_iter().flatten() {
            if blueprint.get("state").and_then(Value::as_str) == Some("disabled") {
                continue;
            }
            let ceiling = blueprint.get("ceiling").and_then(Value::as_str).unwrap_or_default();
            held.extend(serde_json::from_str::<Ceiling>(ceiling)?.scopes);
        }
        Ok(Some(held))
    }
}
