//! `gatepass policy replay`: recorded decisions against a candidate.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gatepass::decisions::{DecisionView, Format};
use gatepass::fleet::FleetView;
use gatepass::replay::{Again, Known, Replay, Tally};
use gatepass_engine::bundle::Bundle;
use serde_json::{Value, json};

use super::Server;
use super::decisions::moment;
use super::request::Asked;
use crate::cli::{Outcome, checked};

// No doc comment: clap would print it as the help of the command.
#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// A file, or a folder with `gatepass.yaml`.
    candidate: PathBuf,
    /// `15m`, `2h` or `7d` ago, or a time as RFC 3339.
    #[arg(long, default_value = "1d")]
    since: String,
    /// At most so many, the newest.
    #[arg(long, default_value_t = 10_000)]
    limit: u32,
    #[arg(long, value_enum, default_value_t = Listing::Table)]
    output: Listing,
}

/// How what would change is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Listing {
    /// Counts, then a line for each that would change.
    Table,
    /// One JSON object for each that would change.
    Jsonl,
}

impl Server {
    /// What differs is no failure.
    pub(super) async fn replay(&self, args: &ReplayArgs) -> Outcome {
        let Some(candidate) = checked(&args.candidate, false) else {
            return Ok(ExitCode::FAILURE);
        };
        let (before, known) = self.in_force().await?;
        let replay = Replay::new(before, candidate.compiled.bundle, known)?;
        let records = self.since(&args.since, args.limit).await?;
        let mut tally = Tally::default();
        let mut changed = Vec::new();
        for decision in &records {
            let Some(again) = replay.again(decision) else { continue };
            tally.add(decision, &again);
            if matches!(again, Again::Denied { .. } | Again::Allowed) {
                changed.push((decision, again));
            }
        }
        let mut out = std::io::stdout().lock();
        let for_people = args.output == Listing::Table && !self.json;
        if for_people {
            write!(out, "{tally}")?;
        }
        for (decision, again) in changed {
            if for_people {
                let shown = Format::Table.line(decision).unwrap_or_default();
                writeln!(out, "{shown}\n    now {again}")?;
            } else {
                writeln!(out, "{}", line(&json!(decision), &again))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The policy in force, and what the control plane knows beside the records.
    pub(super) async fn in_force(&self) -> Outcome<(Bundle, Known)> {
        let current = self.version("current").await?;
        let before = gatepass_policy::compile(&current)
            .map_err(|_| "the policy in force does not compile here: nothing to compare with")?;
        Ok((before.bundle, self.known().await?))
    }

    /// Recorded decisions since then, oldest first; of more than `limit` the newest.
    pub(super) async fn since(&self, since: &str, limit: u32) -> Outcome<Vec<DecisionView>> {
        let since = moment(since)?;
        let since = gatepass::client::escaped(&since);
        let pages = self.pages(limit, &format!("&since={since}")).await?;
        let newest_first = pages.into_iter().flat_map(|page| page.decisions);
        let mut all: Vec<DecisionView> = newest_first.collect();
        all.reverse();
        Ok(all)
    }

    async fn known(&self) -> Outcome<Known> {
        let environment = self.send(&Asked::get("/v1/environment")).await?;
        let environment = environment.get("environment").and_then(Value::as_str);
        let fleet: FleetView = serde_json::from_value(self.send(&Asked::get("/v1/fleet")).await?)?;
        let agents = self.send(&Asked::get("/v1/agents")).await?;
        let text = |of: &Value, name| of.get(name).and_then(Value::as_str).map(str::to_owned);
        let agents = agents.as_array().into_iter().flatten();
        let blueprints = agents.filter_map(|of| Some((text(of, "id")?, text(of, "blueprint")?)));
        Ok(Known {
            environment: environment.unwrap_or_default().to_owned(),
            policy: fleet.policy,
            blueprints: blueprints.collect(),
        })
    }
}

/// A decision with what it would be now.
fn line(decision: &Value, again: &Again) -> Value {
    match again {
        Again::Denied { code, rules } => json!({
            "decision": decision,
            "now": { "outcome": "deny", "code": code.as_str(), "rules": rules },
        }),
        Again::Allowed | Again::Same | Again::Undecided(_) => {
            json!({ "decision": decision, "now": { "outcome": "allow" } })
        }
    }
}
