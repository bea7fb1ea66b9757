//! `gatepass policy diff`, and what `publish` says will change.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gatepass::decisions::Format;
use gatepass::rehearsal::fates;
use gatepass::replay::{Again, Replay};
use gatepass_engine::bundle::Bundle;
use gatepass_policy::changes::{Side, changes, summary};
use gatepass_policy::{Compiled, Sources, compile_sources, report};

use super::Server;
use crate::cli::policy::shown;
use crate::cli::{Outcome, diff, rehearse};

// No doc comment: clap would print it as the help of the command.
#[derive(Args)]
pub(crate) struct DiffArgs {
    /// A version, `current`, a file or a folder.
    from: String,
    to: String,
    /// Only the text, line by line.
    #[arg(long, conflicts_with = "summary")]
    text: bool,
    /// Only the meaning.
    #[arg(long)]
    summary: bool,
    /// A folder whose tests give requests, or a file of such tests: which of them are decided otherwise.
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    requests: Option<PathBuf>,
    /// Decisions that were recorded since: `15m`, `2h` or `7d` ago, or a time as RFC 3339.
    #[arg(long, conflicts_with = "text")]
    since: Option<String>,
}

impl DiffArgs {
    const fn asks_requests(&self) -> bool {
        self.requests.is_some() || self.since.is_some()
    }
}

impl Server {
    /// The meaning first, then the text; nothing where the texts are the same.
    pub(super) async fn diff(&self, args: &DiffArgs) -> Outcome {
        let (from, to) = (self.policy(&args.from).await?, self.policy(&args.to).await?);
        if from == to {
            return Ok(ExitCode::SUCCESS);
        }
        if !args.text {
            match (compiled(&args.from, &from), compiled(&args.to, &to)) {
                (Ok(before), Ok(after)) => {
                    print!("{}", meaning(&before, &after));
                    if let Some(path) = &args.requests {
                        given(path, &before.1, &after.1)?;
                    }
                    if let Some(since) = &args.since {
                        self.recorded(since, before.1.bundle, after.1.bundle).await?;
                    }
                }
                (Err(why), _) | (_, Err(why)) if args.asks_requests() => return Err(why.into()),
                (Err(why), _) | (_, Err(why)) if args.summary => return Err(why.into()),
                // The text of what does not compile is worth seeing too.
                (Err(why), _) | (_, Err(why)) => eprintln!("no summary: {why}"),
            }
        }
        if !args.summary && !args.asks_requests() {
            print!("{}", diff::unified(&from, &to, &args.from, &args.to));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Recorded decisions under both policies. What one of them cannot say of a record is told of as that.
    async fn recorded(&self, since: &str, before: Bundle, after: Bundle) -> Outcome<()> {
        let records = self.since(since, RECORDS).await?;
        let (in_force, known) = self.in_force().await?;
        let old = Replay::new(in_force.clone(), before, known.clone())?;
        let new = Replay::new(in_force, after, known)?;
        let (mut asked, mut flips, mut unclear) = (0_usize, Vec::new(), 0_usize);
        for record in &records {
            let went_on = record.outcome != "deny";
            let (Some(was), Some(is)) = (old.again(record), new.again(record)) else { continue };
            asked = asked.saturating_add(1);
            match (lets_on(&was, went_on), lets_on(&is, went_on)) {
                (Some(was), Some(is)) if was == is => {}
                (Some(was), Some(_)) => flips.push((record, was, is)),
                (None, _) | (_, None) => unclear = unclear.saturating_add(1),
            }
        }
        println!(
            "{} of {asked} recorded decisions flip; of {unclear} it cannot be said",
            flips.len()
        );
        for (record, was, is) in flips {
            let shown = Format::Table.line(record).unwrap_or_default();
            let said = |lets_on: bool| if lets_on { "allow" } else { "deny" };
            let now = match is {
                Again::Denied { .. } => is.to_string(),
                Again::Same | Again::Allowed | Again::Undecided(_) => said(!was).to_owned(),
            };
            println!("{shown}\n    {} -> {now}", said(was));
        }
        Ok(())
    }

    /// Says on the standard error what a policy changes that is about to be published. Nothing where there is
    /// none in force, or it cannot be had: whether it is published is not decided by this.
    pub(super) async fn tell_changes(&self, sources: &Sources, candidate: &Compiled) {
        let Ok(current) = self.version("current").await else { return };
        match compiled("current", &current) {
            Ok(before) => {
                eprint!("{}", meaning(&before, &(sources.clone(), candidate.clone())));
            }
            Err(why) => eprintln!("no summary of what changes: {why}"),
        }
    }
}

/// Whether a record's request goes on; `None` where that cannot be said.
const fn lets_on(again: &Again, went_on: bool) -> Option<bool> {
    match again {
        Again::Same => Some(went_on),
        Again::Allowed => Some(true),
        Again::Denied { .. } => Some(false),
        Again::Undecided(_) => None,
    }
}

/// The requests of tests under both policies.
fn given(path: &Path, before: &Compiled, after: &Compiled) -> Outcome<()> {
    let Some(cases) = rehearse::given(path) else {
        return Err(format!("`{}` gives no requests", path.display()).into());
    };
    let (was, is) = (fates(before, &cases)?, fates(after, &cases)?);
    let flips = cases.iter().zip(was.iter().zip(&is)).filter(|(_, (was, is))| !was.is_as(is));
    let flips: Vec<_> = flips.collect();
    println!("{} of {} given requests are decided otherwise", flips.len(), cases.len());
    for (case, (was, is)) in flips {
        let file = if path.is_dir() { shown(path, &case.file) } else { case.file.clone() };
        println!("{file}:{}: {}\n    {was} -> {is}", case.line, case.name);
    }
    Ok(())
}

fn compiled(named: &str, text: &str) -> Result<(Sources, Compiled), String> {
    let sources = Sources::parse(text);
    let read = sources.and_then(|sources| Ok((compile_sources(&sources)?, sources)));
    match read {
        Ok((compiled, sources)) => Ok((sources, compiled)),
        Err(problems) => Err(format!("`{named}` does not compile\n{}", report(&problems))),
    }
}

fn meaning(before: &(Sources, Compiled), after: &(Sources, Compiled)) -> String {
    let found = changes(
        Side { sources: &before.0, compiled: &before.1 },
        Side { sources: &after.0, compiled: &after.1 },
    );
    match found.is_empty() {
        true => "the same in meaning\n".to_owned(),
        false => summary(&found),
    }
}

/// Records that are held against both, the newest.
const RECORDS: u32 = 10_000;
