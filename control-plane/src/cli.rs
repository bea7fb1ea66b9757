//! The subcommands of `gatepass`: each parses, calls the library and prints. The clock is read
//! here.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gatepass::desk::policies;
use gatepass::feed::system_clock;
use gatepass::jwks::jwks;
use gatepass::publish::Revoke;
use gatepass::store::{Setup, Store};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::keyring::KeyId;
use gatepass_engine::revocation::Kind;
use serde_json::{Value, json};

mod admin;
mod ask;
mod decisions;
mod descriptors;
mod diff;
mod envoy;
mod explain;
mod fleet;
mod grant;
mod import_mcp;
mod inspect;
mod keys;
mod local;
mod policy;
mod rehearse;
mod root;
mod rules;
mod serve;
mod show;
mod verify;

use policy::{Checked, check, checked, told};

pub(crate) type Outcome<T = ExitCode> = Result<T, Box<dyn Error>>;

/// Decides what AI agents may do, before they do it.
#[derive(Parser)]
#[command(name = "gatepass", version)]
struct Cli {
    #[command(flatten)]
    server: admin::Server,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Local(local::Local),
    #[command(flatten)]
    Envoy(envoy::AroundEnvoy),
    #[command(flatten)]
    Admin(admin::Admin),
    #[command(flatten)]
    Agent(ask::AsAgent),
    /// Check a gatepass where it arrives, at the target system, with public keys only.
    Verify(verify::VerifyArgs),
    /// An environment in a directory without a database, for tests of the formats.
    #[command(subcommand)]
    Dev(Dev),
}

#[derive(Subcommand)]
enum Dev {
    /// Make the keys, the first root document and an empty state.
    Init(InitArgs),
    /// Compile a policy and say what is wrong with it, or what it leaves open.
    Check {
        /// A file, or a folder with `gatepass.yaml`.
        policy: PathBuf,
        /// Warnings are errors.
        #[arg(long)]
        strict: bool,
    },
    /// Compile a policy and put it in force.
    Publish {
        #[command(flatten)]
        at: At,
        policy: PathBuf,
    },
    /// Issue a gatepass and print it.
    Gatepass(grant::GrantArgs),
    /// Kill the gatepasses of something; each flag may be repeated.
    Revoke(RevokeArgs),
    /// Serve the feed.
    Serve(serve::ServeArgs),
    /// Print an envelope, a feed answer or a gatepass as JSON, without believing it.
    Inspect {
        /// `-` reads the standard input.
        file: PathBuf,
    },
    /// Print the public keys that gatepasses are signed with (RFC 7517).
    Jwks(At),
    /// Print what a plugin's configuration pins.
    Roots(At),
    /// Decide a request on the newest state and print each check.
    Explain(explain::ExplainArgs),
}

/// Where the environment is.
#[derive(Args)]
pub(crate) struct At {
    /// The environment's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl At {
    pub(crate) fn open(&self) -> Outcome<Store> {
        Ok(Store::open(&self.dir)?)
    }
}

#[derive(Args)]
struct InitArgs {
    #[command(flatten)]
    at: At,
    /// The trust domain's name, such as `prod`.
    #[arg(long)]
    environment: String,
    /// The feed audience; the environment's name unless there are cohorts.
    #[arg(long)]
    audience: Option<String>,
    /// `iss` of the gatepasses: an absolute URI.
    #[arg(long)]
    issuer: String,
    /// Where the root keys go; `DIR-root` unless said otherwise. They belong offline.
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    #[arg(long, default_value_t = 1, value_name = "N")]
    root_keys: usize,
    /// How many root keys must sign a root document.
    #[arg(long, default_value_t = 1, value_name = "N")]
    threshold: usize,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
struct RevokeArgs {
    #[command(flatten)]
    at: At,
    /// A `jti`: it, and what was exchanged from it.
    #[arg(long, group = "what", value_name = "JTI")]
    credential: Vec<String>,
    #[arg(long, group = "what", value_name = "ID")]
    task: Vec<String>,
    /// `agent:<uuid>`: what was issued to it so far.
    #[arg(long, group = "what", value_name = "ID")]
    agent: Vec<String>,
    /// `user:<directory>/<id>`: what was issued so far to the agents that they own.
    #[arg(long, group = "what", value_name = "ID")]
    owner: Vec<String>,
    #[arg(long, group = "what", value_name = "ID")]
    blueprint: Vec<String>,
    /// Whom agents act for.
    #[arg(long, group = "what", value_name = "ID")]
    subject: Vec<String>,
    /// A `kid`: everything that the key signed.
    #[arg(long, group = "what", value_name = "KID", allow_hyphen_values = true)]
    key: Vec<String>,
}

/// Runs the subcommand that the command line names.
pub(crate) fn run() -> Outcome {
    let cli = Cli::parse();
    let ran = match cli.command {
        Command::Dev(command) => command.run(&mut std::io::stdout().lock()),
        Command::Local(command) => command.run(),
        Command::Envoy(command) => command.run(),
        Command::Admin(command) => cli.server.run(command),
        Command::Agent(command) => command.run(),
        Command::Verify(args) => args.run(),
    };
    match ran {
        // Whoever read our output has read enough.
        Err(error) if is_broken_pipe(&*error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Dev {
    fn run(self, out: &mut impl Write) -> Outcome {
        match self {
            Self::Init(args) => init(&args, out)?,
            Self::Check { policy, strict } => return check(&policy, strict, out),
            Self::Publish { at, policy } => return publish(&at, &policy, out),
            Self::Gatepass(args) => writeln!(out, "{}", args.issue(now())?)?,
            Self::Revoke(args) => revoke(&args, out)?,
            Self::Serve(args) => args.serve(out)?,
            Self::Inspect { file } => writeln!(out, "{:#}", inspect::file(&file)?)?,
            Self::Jwks(at) => writeln!(out, "{:#}", jwks(at.open()?.issuer_keys()))?,
            Self::Roots(at) => writeln!(out, "{:#}", roots(&at.open()?)?)?,
            Self::Explain(args) => return args.explain(now(), out),
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(crate) fn now() -> UnixSeconds {
    system_clock()()
}

fn init(args: &InitArgs, out: &mut impl Write) -> Outcome<()> {
    let dir = &args.at.dir;
    let audience = args.audience.as_ref().unwrap_or(&args.environment);
    let mut setup = Setup::new(dir, &args.environment, audience, &args.issuer);
    setup.root_keys = args.root_keys;
    setup.threshold = args.threshold;
    if let Some(root_dir) = &args.root_dir {
        setup.root_dir.clone_from(root_dir);
    }
    let store = Store::create(dir, &setup, now())?;
    writeln!(
        out,
        "environment `{}` is in `{}`, at {}",
        args.environment,
        dir.display(),
        store.position()
    )?;
    writeln!(out, "its root keys are in `{}`: take them offline", setup.root_dir.display())?;
    for key in store.pinned_roots()?.keys {
        writeln!(out, "root public key: {key}")?;
    }
    Ok(())
}

fn publish(at: &At, policy: &Path, out: &mut impl Write) -> Outcome {
    let mut store = at.open()?;
    let Some(Checked { compiled, sources }) = checked(policy, false) else {
        return Ok(ExitCode::FAILURE);
    };
    policies::is_for(&compiled, &store.publisher().state().environment)?;
    if !rehearse::passes(policy, &compiled)? {
        return Ok(ExitCode::FAILURE);
    }
    let position = store.publish(compiled.bundle, now())?;
    writeln!(out, "published at {position}, digest {}", policies::digest(&sources.to_text()))?;
    Ok(ExitCode::SUCCESS)
}

fn revoke(args: &RevokeArgs, out: &mut impl Write) -> Outcome<()> {
    let now = now();
    let all = [
        (Kind::Credential, &args.credential),
        (Kind::Task, &args.task),
        (Kind::Agent, &args.agent),
        (Kind::Owner, &args.owner),
        (Kind::Blueprint, &args.blueprint),
        (Kind::Subject, &args.subject),
        (Kind::Key, &args.key),
    ];
    let mut revocations = Vec::new();
    for (kind, ids) in all {
        for id in ids {
            check_id(kind, id)?;
            revocations.push(Revoke::new(kind, id, now));
        }
    }
    let position = args.at.open()?.revoke(revocations, now)?;
    writeln!(out, "revoked at {position}")?;
    Ok(())
}

/// An id that no gatepass can carry would be revoked in vain, and nobody would notice.
fn check_id(kind: Kind, id: &str) -> Outcome<()> {
    use gatepass_engine::ids::{AgentId, PersonId, is_token};
    let is_agent = AgentId::parse(id).is_some();
    let is_person = PersonId::parse(id).is_some();
    let (fits, expected) = match kind {
        Kind::Agent => (is_agent, "`agent:<uuid>` in lower case"),
        Kind::Owner => (is_person, "`user:<directory>/<id>`"),
        Kind::Subject => (is_agent || is_person, "`agent:<uuid>` or `user:<directory>/<id>`"),
        Kind::Key => (KeyId::parse(id).is_some(), "a `kid` as `gatepass dev jwks` prints it"),
        Kind::Credential | Kind::Task | Kind::Blueprint => {
            (is_token(id), "1 to 128 visible ASCII characters")
        }
    };
    if fits {
        return Ok(());
    }
    Err(format!("`{id}`: expected {expected}").into())
}

/// With the names that the plugin's configuration has for them.
fn roots(store: &Store) -> Outcome<Value> {
    let state = store.publisher().state();
    Ok(json!({
        "environment": state.environment,
        "feed_audience": state.audience,
        "roots": store.pinned_roots()?,
        "min_root_version": state.root_version,
    }))
}
