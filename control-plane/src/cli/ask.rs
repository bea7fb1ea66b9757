//! What an agent does: make a key, and ask for gatepasses with it. For trying things out, and for
//! agents that are shell scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatepass::client::Client;
use gatepass::desk::assertion::{self, ASSERTION_TYPE};
use gatepass::issue::Entry;
use gatepass::keys::{KeyRole, SecretKey, Signer as _, public_text};
use serde_json::{Value, json};

use super::grant::constrain;
use super::{Outcome, now};

#[derive(Subcommand)]
pub(crate) enum AsAgent {
    /// Make an agent's key; the public key to register is printed.
    NewKey {
        /// Where the private key goes, mode 0600.
        file: PathBuf,
    },
    /// Ask for a gatepass as an agent, and print it.
    Ask(Box<AskArgs>),
}

#[derive(Args)]
pub(crate) struct AskArgs {
    /// The issuer: where the token endpoint is.
    #[arg(long)]
    issuer: String,
    /// `agent:<uuid>`.
    #[arg(long)]
    agent: String,
    /// Its private key, as `gatepass new-key` wrote it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The target system's audience.
    #[arg(long)]
    resource: String,
    /// An action to be granted; repeat for each.
    #[arg(long = "action", required_unless_present = "details")]
    actions: Vec<String>,
    /// `INPUT.max=VALUE`, or `min`, `equals`, `prefix`, or `in` with values separated by commas; repeat for each.
    #[arg(long, value_name = "INPUT.OPERATOR=VALUE")]
    constraint: Vec<String>,
    /// `authorization_details` as JSON, instead of --action and --constraint.
    #[arg(long, conflicts_with_all = ["actions", "constraint"])]
    details: Option<String>,
    #[arg(long)]
    scope: Option<String>,
    /// An open task of the agent's own.
    #[arg(long)]
    task: Option<String>,
    /// Seconds.
    #[arg(long)]
    lifetime: Option<String>,
    /// Who signed the server's certificate.
    #[arg(long, value_name = "FILE")]
    issuer_ca: Option<PathBuf>,
}

impl AsAgent {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::NewKey { file } => {
                let key = SecretKey::generate()?;
                key.save(&file, KeyRole::Agent)?;
                let x = public_text(&key.public());
                println!("{}", json!({ "kty": "OKP", "crv": "Ed25519", "x": x }));
            }
            Self::Ask(args) => println!("{}", args.ask()?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl AskArgs {
    fn ask(&self) -> Outcome<String> {
        let key = SecretKey::load(&self.key, KeyRole::Agent)?;
        let made = assertion::make(&self.agent, &key, &self.issuer, now())?;
        let entry = self.entry()?;
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &made),
            ("resource", &self.resource),
            ("authorization_details", self.details.as_deref().unwrap_or(&entry)),
        ];
        let optional = [("scope", &self.scope), ("task", &self.task), ("lifetime", &self.lifetime)];
        for (name, value) in optional {
            form.extend(value.as_deref().map(|value| (name, value)));
        }
        let (origin, path) = origin(&self.issuer);
        let client = Client::new(origin, None, self.issuer_ca.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let path = format!("{path}/oauth2/token");
        let answer = runtime.block_on(client.post_form(&path, &form))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let member = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        match body.get("access_token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => Err(format!("{}: {}", member("error"), member("error_description")).into()),
        }
    }
}

impl AskArgs {
    /// As `authorization_details`.
    fn entry(&self) -> Outcome<String> {
        let mut entry = Entry { actions: self.actions.clone(), ..Entry::default() };
        for text in &self.constraint {
            constrain(&mut entry, text, |_| None)?;
        }
        let mut entry = serde_json::to_value(&entry)?;
        if let Some(members) = entry.as_object_mut() {
            members.insert("type".to_owned(), "agent_action".into());
        }
        Ok(json!([entry]).to_string())
    }
}

/// A URL's scheme and authority, and its path without a slash at the end.
fn origin(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(authority..).and_then(|rest| rest.find('/')).map(|at| authority + at);
    let (origin, path) = path.map_or((url, ""), |at| url.split_at_checked(at).unwrap_or((url, "")));
    (origin, path.trim_end_matches('/'))
}
