//! `gatepass-envoy doctor`: asks a running Envoy and its surroundings, prints a line for each check.

use std::error::Error;
use std::process::ExitCode;

use crate::Roots;
use crate::doctor::{Doctor, Outcome};

/// Ask a running Envoy whether the gate is in place and works.
#[derive(clap::Args)]
pub struct DoctorArgs {
    /// Envoy's admin interface, HOST:PORT.
    #[arg(long, default_value = "127.0.0.1:9901")]
    admin: String,
    /// The control plane, <http://HOST:PORT>.
    #[arg(long)]
    feed: String,
    /// A URL that the gate guards; it is asked without a gatepass.
    #[arg(long)]
    listener: Option<String>,
    /// The same system without the gate; it should not be reachable.
    #[arg(long)]
    upstream: Option<String>,
    /// A root key that the gate should have pinned; repeat for each.
    #[arg(long = "root-key", requires = "threshold", allow_hyphen_values = true)]
    root_keys: Vec<String>,
    /// How many of them must sign.
    #[arg(long, requires = "root_keys")]
    threshold: Option<u32>,
}

/// The exit code is 1 when there is a problem.
///
/// # Errors
/// What could not be read.
pub fn run(args: DoctorArgs) -> Result<ExitCode, Box<dyn Error>> {
    let roots = args.threshold.map(|threshold| Roots { keys: args.root_keys, threshold });
    let doctor = Doctor {
        admin: args.admin,
        feed: args.feed,
        listener: args.listener,
        upstream: args.upstream,
        roots,
    };
    let lines = doctor.examine();
    for line in &lines {
        println!("{line}");
    }
    let problem = lines.iter().any(|line| line.outcome == Outcome::Problem);
    Ok(if problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
