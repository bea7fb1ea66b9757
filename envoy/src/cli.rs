//! The subcommands of `gatepass-envoy`: each parses, calls the library and prints.

pub mod check;
pub mod doctor;
pub mod manifests;

use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::{EnvoyBinary, Mode, OperatorConfig, PluginConfig, Roots};
use clap::Parser;

/// Envoy for Gatepass.
#[derive(Parser)]
#[command(name = "gatepass-envoy", version)]
enum Cli {
    /// Print the filter, the cluster and the settings around them for your own bootstrap.
    Config(ConfigArgs),
    Manifests(Box<manifests::ManifestsArgs>),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    /// Print the path of the Envoy that is run, installing one if there is none.
    Path,
    /// Run that Envoy with the arguments given, such as `run -c envoy.yaml`.
    Run {
        /// Handed to Envoy as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(clap::Args)]
struct ConfigArgs {
    /// The trust domain whose gatepasses are accepted.
    #[arg(long)]
    environment: String,
    /// The audience of the feed; a canary cohort has one of its own.
    #[arg(long)]
    feed_audience: String,
    /// A root public key as `gatepass root init` prints it; repeat for each.
    #[arg(long = "root-key", required = true, allow_hyphen_values = true)]
    root_keys: Vec<String>,
    /// How many root keys must sign a root document.
    #[arg(long)]
    threshold: u32,
    /// The oldest root document to accept.
    #[arg(long, default_value_t = 1)]
    min_root_version: u64,
    /// Where Envoy reaches the control plane, HOST:PORT.
    #[arg(long)]
    feed: String,
    /// Where Envoy reads filter.wasm.
    #[arg(long)]
    wasm: PathBuf,
    /// An environment variable of Envoy's that the gate may read; repeat for each.
    #[arg(long, default_value = JOIN_TOKEN)]
    host_env: Vec<String>,
    /// Record denials, and let the requests pass.
    #[arg(long)]
    shadow: bool,
}

/// Runs the subcommand that the command line names.
///
/// # Errors
/// What it says to the person at the terminal.
pub fn run() -> Result<ExitCode, Box<dyn Error>> {
    match Cli::parse() {
        Cli::Config(args) => print!("{}", operator_config(args).render()?),
        Cli::Manifests(args) => manifests::run(*args)?,
        Cli::Check(args) => return check::run(&args),
        Cli::Doctor(args) => return doctor::run(args),
        Cli::Path => println!("{}", EnvoyBinary::find()?.path().display()),
        Cli::Run { arguments } => {
            // Only a failure returns: Envoy takes this process over, and its signals.
            return Err(Command::new(EnvoyBinary::find()?.path()).args(arguments).exec().into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn operator_config(args: ConfigArgs) -> OperatorConfig {
    let roots = Roots { keys: args.root_keys, threshold: args.threshold };
    let mut plugin = PluginConfig::new(&args.environment, &args.feed_audience, roots);
    plugin.control_plane.authority.clone_from(&args.feed);
    plugin.min_root_version = args.min_root_version;
    if args.shadow {
        plugin.mode = Mode::Shadow;
    }
    OperatorConfig { plugin, feed: args.feed, wasm: args.wasm, host_env: args.host_env }
}

/// Where a fleet's join token is read from by default.
pub const JOIN_TOKEN: &str = "GATEPASS_JOIN_TOKEN";
