//! `gatepass root`: root keys and root documents, where the root keys are.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gatepass::grace_file::{Granting, What};
use gatepass::root_file::{Signing, Wanted, newest, next, read, write_unsigned};
use gatepass::roots::PinnedRoots;
use gatepass::setup::{self, PINNED, ROOTS};
use gatepass_engine::root::{Document, MAX_DOCUMENT_LIFE, Role};

use super::{Outcome, now};

#[derive(Subcommand)]
pub(crate) enum Root {
    /// Make root keys and what gates pin of them.
    Init {
        #[arg(long, value_name = "DIR")]
        root_dir: PathBuf,
        #[arg(long, default_value_t = 1)]
        keys: usize,
        /// How many of them must sign a root document.
        #[arg(long, default_value_t = 1)]
        threshold: usize,
    },
    /// Write the document after the one in force, for the root keys to sign.
    Rotate(RotateArgs),
    /// Sign a root document with the keys in the directories: the thresholds of the root before it
    /// and of its own.
    Sign {
        /// May be repeated.
        #[arg(long, value_name = "DIR", required = true)]
        root_dir: Vec<PathBuf>,
        /// The document, or what other root keys have signed already.
        document: PathBuf,
        /// The root document before it; `N.json` beside it unless said otherwise.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a grace: named low-risk actions go on for some hours without the control plane.
    Grace(GraceArgs),
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct GraceArgs {
    /// The root document in force, such as `roots/1.json`.
    document: PathBuf,
    /// Where root keys are; may be repeated.
    #[arg(long, value_name = "DIR", required = true)]
    root_dir: Vec<PathBuf>,
    /// An action that goes on; may be repeated. One that the policy does not call low risk is not covered.
    #[arg(long, value_name = "NAME", group = "what")]
    action: Vec<String>,
    /// A grace that other root keys have signed already.
    #[arg(long, value_name = "FILE", group = "what")]
    begun: Option<PathBuf>,
    /// How long it lasts, at most 4.
    #[arg(long, default_value_t = 4)]
    hours: u64,
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("from").required(true))]
pub(crate) struct RotateArgs {
    /// The root document in force, such as `roots/1.json`.
    #[arg(group = "from")]
    document: Option<PathBuf>,
    /// The working directory: the newest of its `roots/N.json` is in force.
    #[arg(long, value_name = "DIR", group = "from")]
    dir: Option<PathBuf>,
    /// Name a key for a role: feed, issuer, audit, receipt or redeem. The last of a role signs.
    #[arg(long, value_name = "ROLE=PUBLIC", value_parser = named)]
    add: Vec<(Role, String)>,
    /// Name a key no longer; its `kid` will do.
    #[arg(long, value_name = "PUBLIC", allow_hyphen_values = true)]
    drop: Vec<String>,
    /// Let the feed's position fall once: after a stolen feed key pushed gates ahead.
    #[arg(long)]
    reset: bool,
    /// Other root keys from then on: a `pinned.json` of `gatepass root init`.
    #[arg(long, value_name = "FILE")]
    root_keys: Option<PathBuf>,
    /// How long it lasts.
    #[arg(long, default_value_t = 365, value_name = "DAYS")]
    days: u64,
    /// Where it goes; `N.unsigned.json` beside the one in force unless said otherwise.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Root {
    pub(crate) fn run(self) -> Outcome<()> {
        match self {
            Self::Init { root_dir, keys, threshold } => {
                let pinned = setup::make_root_keys(&root_dir, keys, threshold)?;
                println!("root keys are in {}: keep it offline", root_dir.display());
                println!("what gates pin is in {}", root_dir.join(PINNED).display());
                for key in pinned.keys {
                    println!("root public key: {key}");
                }
            }
            Self::Rotate(args) => args.run()?,
            Self::Grace(args) => args.run()?,
            Self::Sign { root_dir, document, previous, out } => {
                let signing = Signing { root_dirs: root_dir, document, previous, out };
                let signed = signing.sign(now())?;
                let (version, environment) =
                    (signed.document.version, &signed.document.environment);
                let out = signing.out.display();
                if signed.is_complete() {
                    println!("root document {version} of `{environment}` is signed: {out}");
                } else {
                    println!("root document {version} of `{environment}` is signed in part: {out}");
                    println!("signatures: {signed}; sign that where the other root keys are");
                }
                if version > 1 && signed.previous.is_none() {
                    println!(
                        "whether the root before agrees was not looked at: {}.json is not beside it",
                        version - 1
                    );
                }
            }
        }
        Ok(())
    }
}

impl GraceArgs {
    fn run(self) -> Outcome<()> {
        let what = match self.begun {
            Some(begun) => What::Begun(begun),
            None => What::New { actions: self.action, seconds: self.hours.saturating_mul(3_600) },
        };
        let granting =
            Granting { root: self.document, root_dirs: self.root_dir, what, out: self.out };
        let granted = granting.sign(now())?;
        let out = granting.out.display();
        let document = &granted.document;
        println!(
            "grace for {} in `{}`, {} seconds from its signing: {out}",
            document.actions.join(", "),
            document.environment,
            document.expires.since(document.issued_at)
        );
        if granted.is_complete() {
            println!("put this into the plugin's configuration of every gate:");
            println!("  \"grace\": \"{}\"", granted.base64);
        } else {
            println!("signed by {} of {} root keys;", granted.signed, granted.threshold);
            println!("where the others are: gatepass root grace .. --begun {out} --out ..");
        }
        Ok(())
    }
}

impl RotateArgs {
    fn run(self) -> Outcome<()> {
        let from = match (self.document, &self.dir) {
            (Some(document), _) => document,
            (None, Some(dir)) => newest(&dir.join(ROOTS))?,
            (None, None) => return Err("name the root document in force, or --dir".into()),
        };
        let previous = read(&from)?;
        let root_keys = self.root_keys.map(|path| -> Outcome<PinnedRoots> {
            let shown = path.display();
            let text = std::fs::read(&path).map_err(|error| format!("`{shown}`: {error}"))?;
            Ok(serde_json::from_slice(&text).map_err(|error| format!("`{shown}`: {error}"))?)
        });
        let longest = MAX_DOCUMENT_LIFE / DAY;
        if self.days == 0 || self.days > longest {
            return Err(format!("--days: a root document lasts 1 to {longest} days").into());
        }
        let wanted = Wanted {
            add: self.add,
            drop: self.drop,
            reset: self.reset,
            root_keys: root_keys.transpose()?,
        };
        let document = next(&previous, &wanted, now().plus(self.days.saturating_mul(DAY)))?;
        let version = document.version;
        let out =
            self.out.unwrap_or_else(|| from.with_file_name(format!("{version}.unsigned.json")));
        write_unsigned(&document, &out)?;
        tell(&previous, &document);
        println!("sign it where the root keys are, with {} beside it:", from.display());
        let signed = out.with_file_name(format!("{version}.json"));
        println!(
            "  gatepass root sign --root-dir ROOTS {} --out {}",
            out.display(),
            signed.display()
        );
        println!("then put it in force:");
        println!("  gatepass adopt-root {} --reason ..", signed.display());
        Ok(())
    }
}

/// What the next document has that the one before has not, for whoever is to sign it.
fn tell(previous: &Document, document: &Document) {
    println!("root document {} of `{}`:", document.version, document.environment);
    for key in previous.keys.iter().filter(|key| !document.keys.contains(key)) {
        println!("  no longer {} {}", role_name(key.role), key.public);
    }
    for key in &document.keys {
        let new = if previous.keys.contains(key) { "" } else { " (new)" };
        println!("  {} {}{new}", role_name(key.role), key.public);
    }
    if previous.root != document.root {
        println!("  other root keys, of which {} must sign", document.root.threshold);
    }
    if document.reset {
        println!("  the feed's position may fall once");
    }
}

fn named(text: &str) -> Result<(Role, String), String> {
    let expected = || "expected ROLE=PUBLIC, the role feed, issuer, audit, receipt or redeem";
    let (name, public) = text.split_once('=').ok_or_else(expected)?;
    let role = ROLES.into_iter().find(|role| role_name(*role) == name).ok_or_else(expected)?;
    Ok((role, public.to_owned()))
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Feed => "feed",
        Role::Issuer => "issuer",
        Role::Receipt => "receipt",
        Role::Audit => "audit",
        Role::Redeem => "redeem",
    }
}

const ROLES: [Role; 5] = [Role::Feed, Role::Issuer, Role::Receipt, Role::Audit, Role::Redeem];
const DAY: u64 = 86_400;
