//! `gatepass dev explain` and `gatepass explain`: the engine's own decision on one request, check by check.
//!
//! What is asked and what is shown is the same for both: one decides here on a directory, the other has a running
//! control plane decide.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use gatepass::explain::{Explanation, gate};
use gatepass::store::News;
use gatepass_engine::Gate;
use gatepass_engine::clock::UnixSeconds;

use super::{At, Outcome};

mod print;
mod request;

pub(crate) use print::print;
pub(crate) use request::RequestArgs;

#[derive(Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    request: RequestArgs,
}

impl ExplainArgs {
    /// Success when the request would go on; 2 when it is denied.
    pub(crate) fn explain(&self, now: UnixSeconds, out: &mut impl Write) -> Outcome {
        let sent = self.request.sent()?;
        let explanation = sent.explained(self.gate(now)?, now);
        print(&explanation, out)?;
        Ok(exit_code(&explanation))
    }

    /// A gate that follows the store's feed and has just heard of everything.
    fn gate(&self, now: UnixSeconds) -> Outcome<Gate> {
        let mut store = self.at.open()?;
        let batches = match store.news(None, now)? {
            News::Batches(batches) => batches,
            News::Nothing | News::Ahead => Vec::new(),
        };
        let state = store.publisher().state();
        let (environment, audience) = (state.environment.as_str(), state.audience.as_str());
        let pinned = store.pinned_roots()?.pinned(environment)?;
        Ok(gate(environment, audience, pinned, store.roots(), &batches, now)?)
    }
}

/// For scripts.
pub(crate) fn exit_code(explanation: &Explanation) -> ExitCode {
    if explanation.goes_on() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
