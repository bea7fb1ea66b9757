//! Reads an Envoy's configuration and says what in it goes past the gate, changes the request that
//! the gate decided on, or takes the gate's footing away.
//!
//! It reads a bootstrap, a discovery response or a `/config_dump`, in YAML or JSON, and follows
//! what they name. It proves nothing: what it does not see (an xDS server's routes in a bootstrap)
//! it says it did not see. It asks no network.

mod clusters;
mod defect;
mod filters;
mod gate;
mod manager;
mod routes;
mod source;
mod spot;

pub use defect::{Defect, Severity};
pub use source::CheckError;

use source::Config;

/// One thing found, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// What it is: its code, severity, meaning and fix.
    pub defect: Defect,
    /// The path into the configuration, such as `static_resources.listeners[0]`; empty for the
    /// whole.
    pub place: String,
    /// What stands there, in words; empty where the place says it all.
    pub detail: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.place.is_empty() { "the configuration" } else { &self.place };
        writeln!(f, "{} {} at {place}", self.defect.severity(), self.defect.code())?;
        if !self.detail.is_empty() {
            writeln!(f, "  found:   {}", self.detail)?;
        }
        writeln!(f, "  meaning: {}", self.defect.meaning())?;
        write!(f, "  fix:     {}", self.defect.fix())
    }
}

/// A gate that the configuration has, as its plugin configuration states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSeen {
    /// The filter's place.
    pub place: String,
    /// Absent: the text is not one that the gate takes; there is a finding.
    pub plugin: Option<crate::PluginConfig>,
}

/// What a configuration has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Errors first, then warnings, then notes; within each in the order of the configuration.
    pub findings: Vec<Finding>,
    /// Each gate once per connection manager.
    pub gates: Vec<GateSeen>,
}

impl Checked {
    /// Whether one of the findings is an error.
    pub fn has_error(&self) -> bool {
        self.findings.iter().any(|finding| finding.defect.severity() == Severity::Error)
    }
}

/// Checks a bootstrap, a discovery response or a `/config_dump`, YAML or JSON.
///
/// # Errors
/// The text is neither, or holds no Envoy configuration.
pub fn check(text: &str) -> Result<Checked, CheckError> {
    let document = source::read(text)?;
    let config = Config::of(&document)?;
    let mut checked = Checked::default();
    let managers = manager::all(&config);
    for manager in &managers {
        manager::check(manager, &config, &mut checked);
    }
    clusters::check(&config, &managers, &mut checked.findings);
    clusters::check_admin(&config, &mut checked.findings);
    gate::check_sharing(&config, &mut checked.findings);
    if managers.iter().all(|manager| manager.gates.is_empty()) {
        checked.findings.push(Defect::NoGate.at(""));
    }
    checked.findings.sort_by_key(|finding| finding.defect.severity());
    let mut seen = std::collections::HashSet::new();
    checked.findings.retain(|finding| seen.insert(finding.clone()));
    Ok(checked)
}
