//! `gatepass policy diff`, and what `publish` says will change.

use std::process::ExitCode;

use clap::Args;
use gatepass_policy::changes::{Side, changes, summary};
use gatepass_policy::{Compiled, Sources, compile_sources, report};

use super::Server;
use crate::cli::{Outcome, diff};

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
                (Ok(before), Ok(after)) => print!("{}", meaning(&before, &after)),
                (Err(why), _) | (_, Err(why)) if args.summary => return Err(why.into()),
                // The text of what does not compile is worth seeing too.
                (Err(why), _) | (_, Err(why)) => eprintln!("no summary: {why}"),
            }
        }
        if !args.summary {
            print!("{}", diff::unified(&from, &to, &args.from, &args.to));
        }
        Ok(ExitCode::SUCCESS)
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
