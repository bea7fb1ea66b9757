//! The commands of operators: each is one request to the admin API.

use std::path::PathBuf;

use axum::http::Method;
use clap::Args;
use gatepass::client::Client;
use gatepass_policy::{Sources, report};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Checked, Outcome, rehearse, show};

mod commands;
mod decisions;
mod differences;
mod enforced;
mod explain;
mod held;
mod replay;
mod request;

pub(crate) use commands::Admin;
use commands::Policy;
use enforced::Awaited;
pub(super) use request::read_text;
use request::{Asked, put, request};

/// Which control plane, and as whom.
#[derive(Args)]
pub(crate) struct Server {
    /// The admin listener.
    #[arg(long, env = "GATEPASS_SERVER", default_value = "http://127.0.0.1:9401", global = true)]
    server: String,
    /// A file with the operator's token; else GATEPASS_TOKEN is used.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Who signed the server's certificate.
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

impl Server {
    pub(crate) fn run(&self, command: Admin) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.ask(command))
    }

    async fn ask(&self, command: Admin) -> Outcome {
        if let Admin::Policy(Policy::Diff(args)) = &command {
            return self.diff(args).await;
        }
        if let Admin::Policy(Policy::Replay(args)) = &command {
            return self.replay(args).await;
        }
        if let Admin::Policy(Policy::ImportMcp(import)) = &command {
            print!("{}", import.run(self.ca.as_deref()).await?);
            return Ok(std::process::ExitCode::SUCCESS);
        }
        if let Admin::Decisions(args) = &command
            && !args.gaps
        {
            return self.decisions(args).await;
        }
        if let Admin::Explain(args) = &command
            && args.id.is_none()
        {
            return self.explain(args).await;
        }
        if let Admin::Status { wait } = &command {
            self.wait(std::time::Duration::from_secs(*wait)).await;
        }
        let awaited = Awaited::by(&command);
        let asked = match command {
            Admin::Policy(Policy::Check { policy, strict, with_blueprints }) => {
                if with_blueprints {
                    let Some(checked) = super::checked(&policy, strict) else {
                        return Ok(std::process::ExitCode::FAILURE);
                    };
                    if !self.tell_unheld(&policy, &checked, strict).await? {
                        return Ok(std::process::ExitCode::FAILURE);
                    }
                    return super::told(&policy, &checked, &mut std::io::stdout().lock());
                }
                return super::check(&policy, strict, &mut std::io::stdout().lock());
            }
            Admin::Policy(Policy::Fmt { policy, check }) => {
                return super::rules::lay_out(&policy, check, &mut std::io::stdout().lock());
            }
            Admin::Policy(Policy::Schema { policy }) => {
                return super::rules::schema(&policy, &mut std::io::stdout().lock());
            }
            Admin::Policy(Policy::Test { policy, verbose, junit }) => {
                let mut out = std::io::stdout().lock();
                return rehearse::test(&policy, verbose, junit.as_ref(), &mut out);
            }
            Admin::Policy(Policy::Publish { policy, strict, cohort, why, .. }) => {
                // The problems are shown with lines and carets before anybody is asked.
                let Some(checked) = super::checked(&policy, strict) else {
                    return Ok(std::process::ExitCode::FAILURE);
                };
                if !rehearse::passes(&policy, &checked.compiled)?
                    || !self.tell_unheld(&policy, &checked, strict).await?
                {
                    return Ok(std::process::ExitCode::FAILURE);
                }
                let Checked { sources, compiled } = checked;
                self.tell_changes(&sources, &compiled).await;
                let mut members = json!({ "content": sources.to_text() });
                put(&mut members, "cohort", cohort);
                Asked::post("/v1/policies", why, members)
            }
            other => request(other)?,
        };
        let answer = self.send(&asked).await?;
        match asked.path.as_str() {
            _ if self.json => println!("{answer:#}"),
            path => print!("{}", show::answer(path, &asked.method, &answer)),
        }
        if let Some(secret) = &asked.secret {
            println!("token: {}", secret.as_str());
            println!("it is shown this once; the server has its digest alone");
        }
        match awaited {
            Some(awaited) => self.until_enforced(&awaited, &answer).await,
            None => Ok(std::process::ExitCode::SUCCESS),
        }
    }

    /// Until the server is ready, or for so long; what it lacks is told by the request itself.
    async fn wait(&self, longest: std::time::Duration) {
        let end = tokio::time::Instant::now() + longest;
        while tokio::time::Instant::now() < end {
            let client = Client::new(&self.server, None, self.ca.as_deref());
            if let Ok(client) = client
                && let Ok(answer) = client.request(Method::GET, "/readyz", None).await
                && answer.status.is_success()
            {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn send(&self, asked: &Asked) -> Outcome<Value> {
        let token = match &self.token_file {
            Some(path) => Some(Zeroizing::new(read_text(path)?.trim().to_owned())),
            None => std::env::var("GATEPASS_TOKEN").ok().map(Zeroizing::new),
        };
        let client = Client::new(&self.server, token, self.ca.as_deref())?;
        let answer = client.request(asked.method.clone(), &asked.path, asked.body.as_ref()).await?;
        if asked.path.starts_with("/v1/audit/export") && answer.status.is_success() {
            return Ok(Value::String(String::from_utf8_lossy(&answer.body).into_owned()));
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status.is_success() {
            return Ok(body);
        }
        let detail = body.get("detail").and_then(Value::as_str);
        Err(detail.map_or_else(|| format!("the server answered {}", answer.status), str::to_owned))?
    }

    /// A version's content, or that of a file or a folder.
    async fn policy(&self, named: &str) -> Outcome<String> {
        let path = PathBuf::from(named);
        if path.exists() {
            let sources = Sources::read(&path).map_err(|problems| report(&problems))?;
            return Ok(sources.to_text());
        }
        self.version(named).await
    }

    async fn version(&self, named: &str) -> Outcome<String> {
        let answer = self.send(&Asked::get(format!("/v1/policies/{named}"))).await?;
        Ok(answer.get("content").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
