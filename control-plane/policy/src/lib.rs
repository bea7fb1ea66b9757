//! Policy authoring: the YAML that operators write, compiled to the engine's [`Bundle`].
//!
//! ```yaml
#![doc = include_str!("../example.yaml")]
//! ```
//!
//! The text is checked here; what it means is checked by the engine's own index, the same that a
//! gate builds, so nothing compiles that a gate would refuse. Every [`Problem`] says where it is.
//!
//! It refuses what this filter cannot hold to: tunnels, inputs and approvals on actions whose
//! body passes unread, fields that it does not know.
#![forbid(unsafe_code)]

use gatepass_engine::bundle::Bundle;

pub mod cedar;
mod flaws;
mod lower;
pub mod mcp;
mod problem;
mod reader;
mod tree;

pub use problem::{Problem, report};
pub use reader::seconds;

/// A policy that a gate takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub bundle: Bundle,
}

/// Compiles one YAML document.
///
/// # Errors
/// All problems that could be found at once, in the order of the text; at most [`MAX_PROBLEMS`].
pub fn compile(yaml: &str) -> Result<Compiled, Vec<Problem>> {
    if yaml.len() > MAX_BYTES {
        return Err(vec![Problem {
            line: 1,
            column: 1,
            message: format!("the policy is over {MAX_BYTES} bytes"),
            remedy: "split it by environment".to_owned(),
        }]);
    }
    let tree = tree::parse(yaml).map_err(|problem| vec![problem])?;
    let mut reader = reader::Reader::default();
    let (bundle, places) = lower::policy(&mut reader, &tree);
    let mut problems = reader.into_problems();
    flaws::find(bundle.clone(), places, &mut problems);
    if problems.is_empty() {
        return Ok(Compiled { bundle });
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    // A route that names several calls is several to the index, each with its flaw.
    problems.dedup();
    problems.truncate(MAX_PROBLEMS);
    Err(problems)
}

/// Bytes of one document.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Problems told at once.
pub const MAX_PROBLEMS: usize = 50;

#[cfg(test)]
mod tests;
