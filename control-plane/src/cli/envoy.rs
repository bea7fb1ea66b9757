//! The commands around Envoy: what to load, what is wrong with a configuration, what ails a running
//! one. The environment, its roots and its feed come from the working directory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatepass::config::Config;
use gatepass::filter_file::FilterFile;
use gatepass::roots::unverified_document;
use gatepass::setup::ROOTS;
use gatepass_envoy::Code;
use gatepass_envoy::cli::{check, doctor, manifests};

use super::Outcome;

#[derive(Subcommand)]
pub(crate) enum AroundEnvoy {
    /// Print configuration that loads the gate, filled in for this control plane.
    Manifests(Box<ManifestsArgs>),
    /// Envoy's own configuration.
    #[command(subcommand)]
    Envoy(EnvoyCommand),
    Doctor(doctor::DoctorArgs),
}

#[derive(Subcommand)]
pub(crate) enum EnvoyCommand {
    Check(check::CheckArgs),
}

#[derive(Args)]
pub(crate) struct ManifestsArgs {
    /// The working directory of the control plane.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where Envoy reaches the feed, HOST:PORT; as the directory says unless stated.
    #[arg(long)]
    feed: Option<String>,
    /// The filter as a file on Envoy's machine; otherwise Envoy fetches it from the feed's listener.
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// For Envoys of this cohort.
    #[arg(long, value_name = "NAME")]
    cohort: Option<String>,
    /// The oldest root document that gates accept; the newest in the directory unless stated.
    #[arg(long)]
    min_root_version: Option<u64>,
    #[command(flatten)]
    place: manifests::PlaceArgs,
}

impl AroundEnvoy {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Manifests(args) => args.print()?,
            Self::Envoy(EnvoyCommand::Check(args)) => return check::run(&args),
            Self::Doctor(args) => return doctor::run(args),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ManifestsArgs {
    fn print(self) -> Outcome<()> {
        let config = Config::read(&self.dir)?;
        let root = |version: u64| {
            let path = self.dir.join(ROOTS).join(format!("{version}.json"));
            std::fs::read_to_string(&path).ok().map(|envelope| (path, envelope))
        };
        let Some((path, first)) = root(1) else {
            return Err(format!(
                "`{}` holds no signed root document: run `gatepass root sign`",
                self.dir.join(ROOTS).display()
            )
            .into());
        };
        let document = unverified_document(&first)
            .map_err(|error| format!("`{}`: {error}", path.display()))?;
        let newest = (1..).take_while(|version| root(*version).is_some()).last().unwrap_or(1);
        let feed = self.feed.unwrap_or_else(|| config.feed.listener.address.to_string());
        let code = match (self.wasm, &config.filter) {
            (Some(path), _) => Code::Local(path),
            (None, Some(path)) => Code::Remote {
                url: format!(
                    "{}://{feed}/filter/gatepass.wasm",
                    if config.feed.listener.tls.is_some() { "https" } else { "http" }
                ),
                sha256: FilterFile::read(path)?.sha256,
            },
            (None, None) => {
                return Err("give --wasm, or set `filter` in gatepass.toml".into());
            }
        };
        let identity = manifests::IdentityArgs {
            feed_audience: gatepass::db::audience(&self.dir, self.cohort.as_deref())?,
            environment: document.environment,
            root_keys: document.root.keys,
            threshold: u32::try_from(document.root.threshold)?,
            min_root_version: self.min_root_version.unwrap_or(newest),
        };
        print!("{}", manifests::render(identity, &feed, code, self.place)?);
        Ok(())
    }
}
