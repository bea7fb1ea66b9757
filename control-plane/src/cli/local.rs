//! The commands that work on a directory: making it, serving it, copying it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatepass::audit::{self, Anchor, Verdict};
use gatepass::config::Config;
use gatepass::db::{self, DATABASE};
use gatepass::feed::system_clock;
use gatepass::roots::PinnedRoots;
use gatepass::server::Server;
use gatepass::setup::Init;
use serde_json::json;

use super::keys::Keys;
use super::root::Root;
use super::{Outcome, descriptors, now};

#[derive(Subcommand)]
pub(crate) enum Local {
    /// Make a working directory: keys, configuration, database and the first operator.
    Init(InitArgs),
    /// Root keys: made and used in a directory of their own, which belongs offline.
    #[command(subcommand)]
    Root(Root),
    /// The keys that the control plane signs with, in its working directory.
    #[command(subcommand)]
    Keys(Keys),
    /// Serve a working directory.
    Serve {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Log as JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Write a copy of the database; it may be in service.
    Backup {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        to: PathBuf,
    },
    /// Put a copy in force, under a new epoch and with issuance closed.
    Restore {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Absent: the database that is there is the copy.
        from: Option<PathBuf>,
    },
    /// Check the audit record of a directory or of a copy, without a server.
    AuditFile {
        /// A directory or a database file.
        path: PathBuf,
        /// `<n>:<hash>` that you kept.
        #[arg(long)]
        anchor: Option<Anchor>,
    },
    /// What is signed, as JSON.
    #[command(subcommand)]
    Bundle(Bundle),
    /// Print the OpenAPI document of the admin API.
    Openapi,
}

#[derive(Subcommand)]
pub(crate) enum Bundle {
    /// Print an envelope, a feed answer or a gatepass, without believing it.
    Inspect {
        /// `-` reads the standard input.
        file: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct InitArgs {
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The trust domain's name, such as `prod`.
    #[arg(long)]
    environment: String,
    /// The feed audience; the environment's name unless there are cohorts.
    #[arg(long)]
    audience: Option<String>,
    /// Where agents reach the token endpoint: `iss` of the gatepasses.
    #[arg(long)]
    issuer: String,
    /// What gates pin, as `gatepass root init` wrote it.
    #[arg(long, value_name = "FILE")]
    roots: PathBuf,
    /// The first operator.
    #[arg(long, default_value = "admin")]
    operator: String,
    /// What widens or reopens takes two operators; so it is in `prod` unless said otherwise.
    #[arg(long, value_name = "BOOL")]
    two_persons: Option<bool>,
    /// The filter to hand out.
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
    /// Ports of feed, admin, agents and metrics on loopback, the first of four.
    #[arg(long, default_value_t = 9400)]
    port: u16,
    /// Anyone on this machine may follow the feed, without a join token.
    #[arg(long)]
    open_feed: bool,
}

impl Local {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.start())
    }

    async fn start(self) -> Outcome {
        match self {
            Self::Init(args) => init(args).await?,
            Self::Root(root) => root.run()?,
            Self::Keys(keys) => keys.run().await?,
            Self::Serve { dir, log_json } => serve(dir, log_json).await?,
            Self::Backup { dir, to } => {
                db::backup(&dir, &to).await?;
                println!("copied to {}", to.display());
            }
            Self::Restore { dir, from } => {
                let restored = db::restore(&dir, from.as_deref(), now()).await?;
                println!("restored: {} is now {}", restored.from, restored.to);
                println!("every gatepass issued before is dead; issuance is closed");
                if restored.from_damaged {
                    println!(
                        "the database that was replaced is damaged: what was stopped since the copy was made may be active again"
                    );
                }
                println!("confirm owners and agents, then: gatepass open --reason ..");
            }
            Self::AuditFile { path, anchor } => return audit_file(path, anchor).await,
            Self::Bundle(Bundle::Inspect { file }) => {
                println!("{:#}", super::inspect::file(&file)?);
            }
            Self::Openapi => println!("{:#}", gatepass::api::openapi()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn init(args: InitArgs) -> Outcome<()> {
    let text = std::fs::read_to_string(&args.roots).map_err(|error| {
        format!("`{}`: {error}: run `gatepass root init`", args.roots.display())
    })?;
    let roots: PinnedRoots = serde_json::from_str(&text)
        .map_err(|error| format!("`{}`: {error}", args.roots.display()))?;
    let two_persons = args.two_persons.unwrap_or(args.environment == "prod");
    let at = |offset| if args.port == 0 { 0 } else { args.port.saturating_add(offset) };
    let filter = args.filter.as_deref().map(std::path::absolute).transpose()?;
    let made = Init {
        audience: args.audience.unwrap_or_else(|| args.environment.clone()),
        environment: args.environment,
        issuer: args.issuer,
        roots,
        operator: args.operator,
        two_persons,
        filter,
        ports: [at(1), at(2), at(0), at(3)],
        followers: if args.open_feed { "anyone" } else { "join_token" },
        dir: args.dir.clone(),
    }
    .make(now())
    .await?;
    println!("the working directory is {}", args.dir.display());
    println!("the first operator's token, shown this once: {}", made.token.as_str());
    println!("sign its first root document where the root keys are, then serve:");
    println!(
        "  gatepass root sign --root-dir ROOTS {} --out {}",
        made.document.display(),
        made.signed.display()
    );
    println!("  gatepass serve --dir {}", args.dir.display());
    Ok(())
}

async fn serve(dir: PathBuf, log_json: bool) -> Outcome<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GATEPASS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log_json {
        true => log.json().init(),
        false => log.init(),
    }
    descriptors::raise();
    let server = Server::start(Config::read(&dir)?, system_clock()).await?;
    let addresses = server.addresses();
    // For whoever started it with port 0: one line of JSON, then nothing more on this stream.
    println!(
        "{}",
        json!({
            "admin": addresses.admin.to_string(), "agents": addresses.agents.to_string(),
            "feed": addresses.feed.to_string(), "metrics": addresses.metrics.to_string(),
            "position": server.db().book().position().to_string(),
        })
    );
    tracing::info!(admin = %addresses.admin, agents = %addresses.agents, feed = %addresses.feed, "serving");
    if server.db().book().roots().is_empty() {
        tracing::warn!(
            "no root document is in force, so no gate believes this feed: sign one into `roots/1.json` and start again"
        );
    }
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = end.recv() => {}
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

async fn audit_file(path: PathBuf, anchor: Option<Anchor>) -> Outcome {
    let file = if path.is_dir() { path.join(DATABASE) } else { path };
    match db::audit_file(&file, anchor.as_ref()).await {
        Ok(Verdict::Anchored { records }) => println!("ok: {records} records, anchored"),
        Ok(Verdict::NotAnchored { records }) => {
            println!("ok: {records} records, consistent, not anchored");
        }
        Err(error @ audit::AuditError::Db(_)) => return Err(error.into()),
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
