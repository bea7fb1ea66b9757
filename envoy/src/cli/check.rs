//! `gatepass-envoy check`: reads a file or standard input, prints what was found.

use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::check::check;

/// Say what in an Envoy's configuration goes past the gate or weakens it.
#[derive(clap::Args)]
pub struct CheckArgs {
    /// A bootstrap, a discovery response or the answer of /config_dump, YAML or JSON; `-` reads
    /// standard input.
    config: PathBuf,
}

/// The exit code is 1 when there is an error among the findings.
///
/// # Errors
/// What could not be read.
pub fn run(args: &CheckArgs) -> Result<ExitCode, Box<dyn Error>> {
    let text = if args.config.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(&args.config)
            .map_err(|error| format!("cannot read `{}`: {error}", args.config.display()))?
    };
    let checked = check(&text)?;
    for finding in &checked.findings {
        println!("{finding}\n");
    }
    let gates = match checked.gates.len() {
        1 => "1 gate".to_owned(),
        count => format!("{count} gates"),
    };
    match checked.findings.len() {
        0 => println!("{gates}, nothing found"),
        count => println!("{gates}, {count} found"),
    }
    Ok(if checked.has_error() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
