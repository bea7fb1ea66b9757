//! `--wait`: until every Envoy enforces what was just done, or the names of those that do not.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gatepass::fleet::{FleetView, Follower, LONGEST_SILENCE, State};
use gatepass_engine::position::Position;
use serde_json::Value;

use super::commands::{Admin, Policy};
use super::request::Asked;
use super::{LOOK_EVERY, Server};
use crate::cli::{Outcome, fleet};

// No doc comment: clap would print it as the help of each command that has it.
#[derive(Args, Clone, Copy)]
pub(crate) struct Wait {
    /// Return when every Envoy enforces it; after SECONDS (60) name those that do not, exit with 3.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    wait: Option<u64>,
    /// Do not wait for Envoys that are lost.
    #[arg(long, requires = "wait")]
    without_lost: bool,
}

/// What is waited for.
pub(super) struct Awaited {
    longest: Duration,
    without_lost: bool,
    is_policy: bool,
    /// Only the Envoys of the cohort that the answer names: for the others nothing changed.
    in_cohort: bool,
}

impl Awaited {
    pub(super) fn by(command: &Admin) -> Option<Self> {
        let (wait, is_policy, in_cohort) = match command {
            Admin::Policy(Policy::Publish { wait, cohort, .. }) => (wait, true, cohort.is_some()),
            Admin::Policy(Policy::Rollback { wait, .. } | Policy::Promote { wait, .. }) => {
                (wait, true, false)
            }
            Admin::Policy(Policy::Withdraw { wait, .. }) => (wait, true, true),
            Admin::Revoke { wait, .. } | Admin::Stop { wait, .. } => (wait, false, false),
            _ => return None,
        };
        let longest = Duration::from_secs(wait.wait?);
        Some(Self { longest, without_lost: wait.without_lost, is_policy, in_cohort })
    }

    fn counts(&self, envoy: &Follower, cohort: Option<&str>) -> bool {
        let concerned = !self.in_cohort || cohort == Some(envoy.audience.as_str());
        concerned && !(self.without_lost && envoy.state == State::Lost)
    }

    /// The policy to be enforced there: a cohort may have had what was done at `at` before.
    fn policy(&self, view: &FleetView, envoy: &Follower, at: Position) -> Option<Position> {
        let its = view.cohorts.iter().find(|cohort| cohort.cohort == envoy.audience);
        let published = its.map_or(&view.policy, |cohort| &cohort.policy).parse().unwrap_or(at);
        self.is_policy.then(|| published.min(at))
    }
}

impl Server {
    /// Asks for the fleet until all of it enforces what `answer` says was done.
    pub(super) async fn until_enforced(&self, awaited: &Awaited, answer: &Value) -> Outcome {
        let at = answer.get("position").and_then(Value::as_str);
        let Some(at) = at.and_then(|at| at.parse::<Position>().ok()) else {
            eprintln!("nothing to wait for yet: it takes a second person");
            return Ok(ExitCode::from(NOT_ENFORCED));
        };
        let cohort = answer.pointer("/result/cohort").and_then(Value::as_str);
        let end = tokio::time::Instant::now() + awaited.longest;
        loop {
            let view = self.send(&Asked::get("/v1/fleet")).await?;
            let view: FleetView = serde_json::from_value(view)?;
            let concerned = || view.envoys.iter().filter(|envoy| awaited.counts(envoy, cohort));
            let counted = concerned().count();
            let enforces = |envoy: &Follower| envoy.enforces(at, awaited.policy(&view, envoy, at));
            let missing: Vec<&Follower> = concerned().filter(|envoy| !enforces(envoy)).collect();
            // Before that, an Envoy that is there may not have polled yet.
            let has_heard_all = view.at.saturating_sub(view.since) >= LONGEST_SILENCE;
            if missing.is_empty() && counted > 0 && has_heard_all {
                eprintln!("every Envoy enforces {at}: {counted}");
                return Ok(ExitCode::SUCCESS);
            }
            if tokio::time::Instant::now() >= end {
                eprint!("{}", unmet(&view, counted, &missing, at));
                return Ok(ExitCode::from(NOT_ENFORCED));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn unmet(view: &FleetView, counted: usize, missing: &[&Follower], at: Position) -> String {
    if counted == 0 {
        return format!("{at} is in force, but no Envoy reports\n");
    }
    if missing.is_empty() {
        return format!(
            "{at} is in force, but the control plane has not run for {LONGEST_SILENCE} s: not every Envoy may have reported\n"
        );
    }
    format!(
        "{at} is in force, but {} of {counted} Envoys do not enforce it:\n{}",
        missing.len(),
        fleet::envoys(missing.iter().copied(), view.at)
    )
}

/// The exit status when it is done, and not enforced by all.
const NOT_ENFORCED: u8 = 3;
