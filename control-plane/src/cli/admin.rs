//! The commands of operators: each is one request to the admin API.

use std::path::PathBuf;

use axum::http::Method;
use clap::{Args, Subcommand};
use gatepass::client::{Client, escaped as part};
use gatepass::desk::operators::{
    JOIN_PREFIX, MAX_TOKEN_LIFE, OPERATOR_PREFIX, Role, digest_text, new_secret,
};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Outcome, now, show};

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

#[derive(Subcommand)]
pub(crate) enum Admin {
    /// People, who own agents.
    #[command(subcommand)]
    Person(Person),
    /// Types of agents and their ceilings.
    #[command(subcommand)]
    Blueprint(Blueprint),
    /// Agents.
    #[command(subcommand)]
    Agent(Agent),
    /// Versions of the policy.
    #[command(subcommand)]
    Policy(Policy),
    /// Operators of the control plane.
    #[command(subcommand)]
    Operator(Operator),
    /// Operators' tokens.
    #[command(subcommand)]
    Token(Token),
    /// Tokens with which fleets follow the feed.
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Changes that wait for a second person.
    #[command(subcommand)]
    Proposal(Proposal),
    /// Kill gatepasses by what they carry.
    Revoke {
        /// credential, task, subject, agent, owner, blueprint or key.
        kind: String,
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// Kill every gatepass and close issuance.
    Stop {
        #[command(flatten)]
        why: Why,
    },
    /// Open issuance again.
    Open {
        #[command(flatten)]
        why: Why,
    },
    /// The Envoys that follow, and the position of the slowest worker of each.
    Fleet,
    /// Where the environment stands.
    Status {
        /// Try again for so many seconds until the server is there.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// The audit record.
    #[command(subcommand)]
    Audit(Audit),
}

/// Goes on record.
#[derive(Args)]
pub(crate) struct Why {
    #[arg(long)]
    reason: String,
}

#[derive(Subcommand)]
pub(crate) enum Person {
    Add {
        /// `user:<directory>/<id>`.
        id: String,
        #[arg(long)]
        name: String,
        #[arg(long)]
        contact: String,
        #[command(flatten)]
        why: Why,
    },
    /// They left: their agents are orphaned, what these hold is dead.
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    Return {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    List,
}

#[derive(Subcommand)]
pub(crate) enum Blueprint {
    Add {
        id: String,
        #[arg(long)]
        purpose: String,
        /// The group that answers for it.
        #[arg(long)]
        owners: String,
        /// A JSON file.
        #[arg(long, value_name = "FILE")]
        ceiling: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    Ceiling {
        id: String,
        ceiling: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    Disable {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    Enable {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    List,
}

#[derive(Subcommand)]
pub(crate) enum Agent {
    Register(Register),
    /// Everything on one screen: owner, contact, keys, live tasks, history.
    Show {
        id: String,
    },
    List {
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        owner: Option<String>,
        #[arg(long)]
        blueprint: Option<String>,
        #[arg(long)]
        project: Option<String>,
        /// Somewhere in id, name, purpose, owner or contact.
        #[arg(long)]
        text: Option<String>,
    },
    Activate {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// One agent, or all of a project or blueprint.
    Suspend {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// For good: one agent, or all of a project or blueprint.
    Retire {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// Ask somebody to take it over.
    ProposeOwner {
        id: String,
        owner: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take it over: with the token of the person who was asked.
    Accept {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    AddKey {
        id: String,
        /// A public JWK in a file.
        key: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    RemoveKey {
        id: String,
        thumbprint: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args)]
pub(crate) struct Register {
    name: String,
    #[arg(long)]
    blueprint: String,
    #[arg(long)]
    owner: String,
    #[arg(long)]
    department: String,
    #[arg(long)]
    purpose: String,
    #[arg(long)]
    contact: String,
    #[arg(long)]
    project: String,
    #[arg(long, default_value_t = 365)]
    valid_days: u64,
    /// Its public JWK in a file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    why: Why,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    id: Option<String>,
    #[arg(long)]
    project: Option<String>,
    #[arg(long)]
    blueprint: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Compile a policy without a server and say what is wrong with it, or what it leaves open.
    Check {
        file: PathBuf,
    },
    Publish {
        file: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    List,
    /// Print one version; `current` is the one in force.
    Show {
        version: String,
    },
    /// What changed from one version to another, or to a file.
    Diff {
        from: String,
        to: String,
    },
    Rollback {
        version: u64,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum Operator {
    Add {
        id: String,
        /// The person they are, so that they can accept agents.
        #[arg(long)]
        person: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    List,
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Makes a token here and registers its digest; it is printed once.
    Add {
        operator: String,
        #[arg(long)]
        role: Role,
        #[arg(long, default_value_t = 90)]
        days: u64,
        #[command(flatten)]
        why: Why,
    },
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum JoinToken {
    /// Makes a token here and registers its digest; it is printed once.
    Add {
        fleet: String,
        #[arg(long, default_value_t = 90)]
        days: u64,
        #[command(flatten)]
        why: Why,
    },
    End {
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum Proposal {
    List,
    Accept {
        id: String,
        #[command(flatten)]
        why: Why,
    },
    Reject {
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Check that the record is one chain, through an anchor that you kept if you have one.
    Verify {
        /// `<n>:<hash>`.
        #[arg(long)]
        anchor: Option<String>,
    },
    /// Print it as JSON lines, with its signed head.
    Export,
}

/// A request, and a secret that was made here to go with it.
struct Asked {
    method: Method,
    path: String,
    body: Option<Value>,
    secret: Option<Zeroizing<String>>,
}

impl Asked {
    fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, secret: None }
    }

    fn post(path: impl Into<String>, why: Why, members: Value) -> Self {
        let mut body = match members {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        body.insert("reason".to_owned(), why.reason.into());
        Self {
            method: Method::POST,
            path: path.into(),
            body: Some(Value::Object(body)),
            secret: None,
        }
    }

    fn with(self, secret: Zeroizing<String>) -> Self {
        Self { secret: Some(secret), ..self }
    }
}

impl Server {
    pub(crate) fn run(&self, command: Admin) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.ask(command))
    }

    async fn ask(&self, command: Admin) -> Outcome {
        if let Admin::Policy(Policy::Diff { from, to }) = &command {
            let (a, b) = (self.policy(from).await?, self.policy(to).await?);
            print!("{}", super::diff::unified(&a, &b, from, to));
            return Ok(std::process::ExitCode::SUCCESS);
        }
        if let Admin::Status { wait } = &command {
            self.wait(std::time::Duration::from_secs(*wait)).await;
        }
        let asked = match command {
            Admin::Policy(Policy::Check { file }) => {
                return super::check(&file, &mut std::io::stdout().lock());
            }
            Admin::Policy(Policy::Publish { file, why }) => {
                // The problems are shown with lines and carets before anybody is asked.
                if super::compiled(&file)?.is_none() {
                    return Ok(std::process::ExitCode::FAILURE);
                }
                Asked::post("/v1/policies", why, json!({ "content": read_text(&file)? }))
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
        Ok(std::process::ExitCode::SUCCESS)
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

    /// A version's content, or a file's.
    async fn policy(&self, named: &str) -> Outcome<String> {
        let path = PathBuf::from(named);
        if path.exists() {
            return read_text(&path);
        }
        let answer = self.send(&Asked::get(format!("/v1/policies/{named}"))).await?;
        Ok(answer.get("content").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

fn request(command: Admin) -> Outcome<Asked> {
    let none = || json!({});
    Ok(match command {
        Admin::Person(person) => match person {
            Person::Add { id, name, contact, why } => Asked::post(
                "/v1/people",
                why,
                json!({ "id": id, "name": name, "contact": contact }),
            ),
            Person::End { id, why } => {
                Asked::post(format!("/v1/people/{}/end", part(&id)), why, none())
            }
            Person::Return { id, why } => {
                Asked::post(format!("/v1/people/{}/return", part(&id)), why, none())
            }
            Person::List => Asked::get("/v1/people"),
        },
        Admin::Blueprint(blueprint) => match blueprint {
            Blueprint::Add { id, purpose, owners, ceiling, why } => Asked::post(
                "/v1/blueprints",
                why,
                json!({ "id": id, "purpose": purpose, "owners": owners, "ceiling": read_json(&ceiling)? }),
            ),
            Blueprint::Ceiling { id, ceiling, why } => Asked::post(
                format!("/v1/blueprints/{}/ceiling", part(&id)),
                why,
                json!({ "ceiling": read_json(&ceiling)? }),
            ),
            Blueprint::Disable { id, why } => {
                Asked::post(format!("/v1/blueprints/{}/disable", part(&id)), why, none())
            }
            Blueprint::Enable { id, why } => {
                Asked::post(format!("/v1/blueprints/{}/enable", part(&id)), why, none())
            }
            Blueprint::List => Asked::get("/v1/blueprints"),
        },
        Admin::Agent(agent) => agent_request(agent)?,
        Admin::Policy(policy) => match policy {
            Policy::List => Asked::get("/v1/policies"),
            Policy::Show { version } => Asked::get(format!("/v1/policies/{}", part(&version))),
            Policy::Rollback { version, why } => {
                Asked::post(format!("/v1/policies/{version}/rollback"), why, none())
            }
            // INVARIANT: answered before; asking for the list is harmless.
            Policy::Check { .. } | Policy::Publish { .. } | Policy::Diff { .. } => {
                Asked::get("/v1/policies")
            }
        },
        Admin::Operator(operator) => match operator {
            Operator::Add { id, person, why } => {
                let mut members = json!({ "id": id });
                put(&mut members, "person", person);
                Asked::post("/v1/operators", why, members)
            }
            Operator::End { id, why } => {
                Asked::post(format!("/v1/operators/{}/end", part(&id)), why, none())
            }
            Operator::List => Asked::get("/v1/operators"),
        },
        Admin::Token(token) => match token {
            Token::Add { operator, role, days, why } => {
                let secret = new_secret(OPERATOR_PREFIX)?;
                let members = json!({
                    "operator": operator, "role": role,
                    "digest": digest_text(&secret), "expires_at": until(days),
                });
                Asked::post("/v1/tokens", why, members).with(secret)
            }
            Token::End { id, why } => {
                Asked::post(format!("/v1/tokens/{}/end", part(&id)), why, none())
            }
        },
        Admin::JoinToken(token) => match token {
            JoinToken::Add { fleet, days, why } => {
                let secret = new_secret(JOIN_PREFIX)?;
                let members = json!({
                    "fleet": fleet, "digest": digest_text(&secret), "expires_at": until(days),
                });
                Asked::post("/v1/join-tokens", why, members).with(secret)
            }
            JoinToken::End { id, why } => {
                Asked::post(format!("/v1/join-tokens/{}/end", part(&id)), why, none())
            }
        },
        Admin::Proposal(proposal) => match proposal {
            Proposal::List => Asked::get("/v1/proposals"),
            Proposal::Accept { id, why } => {
                Asked::post(format!("/v1/proposals/{}/accept", part(&id)), why, none())
            }
            Proposal::Reject { id, why } => {
                Asked::post(format!("/v1/proposals/{}/reject", part(&id)), why, none())
            }
        },
        Admin::Revoke { kind, id, why } => {
            Asked::post("/v1/revocations", why, json!({ "kind": kind, "id": id }))
        }
        Admin::Stop { why } => Asked::post("/v1/stop", why, none()),
        Admin::Open { why } => Asked::post("/v1/open", why, none()),
        Admin::Fleet => Asked::get("/v1/fleet"),
        Admin::Status { .. } => Asked::get("/v1/environment"),
        Admin::Audit(Audit::Verify { anchor }) => Asked::get(match anchor {
            Some(anchor) => format!("/v1/audit/verify?anchor={}", part(&anchor)),
            None => "/v1/audit/verify".to_owned(),
        }),
        Admin::Audit(Audit::Export) => Asked::get("/v1/audit/export"),
    })
}

fn agent_request(agent: Agent) -> Outcome<Asked> {
    let to = |id: &str, what: &str| format!("/v1/agents/{}/{what}", part(id));
    Ok(match agent {
        Agent::Register(args) => {
            let mut members = json!({
                "name": args.name, "blueprint": args.blueprint, "owner": args.owner,
                "department": args.department, "purpose": args.purpose, "contact": args.contact,
                "project": args.project, "valid_until": now().0 + args.valid_days * 24 * 3600,
            });
            if let (Some(key), Some(members)) = (&args.key, members.as_object_mut()) {
                members.insert("key".to_owned(), read_json(key)?);
            }
            Asked::post("/v1/agents", args.why, members)
        }
        Agent::Show { id } => Asked::get(format!("/v1/agents/{}", part(&id))),
        Agent::List { state, owner, blueprint, project, text } => {
            let named = [
                ("state", state),
                ("owner", owner),
                ("blueprint", blueprint),
                ("project", project),
                ("text", text),
            ];
            let given: Vec<String> = named
                .into_iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", part(&value?))))
                .collect();
            Asked::get(match given.is_empty() {
                true => "/v1/agents".to_owned(),
                false => format!("/v1/agents?{}", given.join("&")),
            })
        }
        Agent::Activate { id, why } => Asked::post(to(&id, "activate"), why, json!({})),
        Agent::Suspend { which, why } => many(which, "suspend", why),
        Agent::Retire { which, why } => many(which, "retire", why),
        Agent::ProposeOwner { id, owner, why } => {
            Asked::post(to(&id, "owner"), why, json!({ "owner": owner }))
        }
        Agent::Accept { id, why } => Asked::post(to(&id, "accept"), why, json!({})),
        Agent::AddKey { id, key, why } => {
            Asked::post(to(&id, "keys"), why, json!({ "key": read_json(&key)? }))
        }
        Agent::RemoveKey { id, thumbprint, why } => {
            Asked::post(to(&id, &format!("keys/{}/remove", part(&thumbprint))), why, json!({}))
        }
    })
}

fn many(which: Which, what: &str, why: Why) -> Asked {
    if let Some(id) = &which.id {
        return Asked::post(format!("/v1/agents/{}/{what}", part(id)), why, json!({}));
    }
    let mut members = json!({});
    put(&mut members, "project", which.project);
    put(&mut members, "blueprint", which.blueprint);
    Asked::post(format!("/v1/agents/{what}"), why, members)
}

fn put(members: &mut Value, name: &str, value: Option<String>) {
    if let (Some(value), Some(members)) = (value, members.as_object_mut()) {
        members.insert(name.to_owned(), value.into());
    }
}

fn until(days: u64) -> u64 {
    // A moment less than the longest, so that clocks may differ a little.
    now().0 + (days * 24 * 3600).min(MAX_TOKEN_LIFE - 60)
}

fn read_text(path: &std::path::Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("`{}`: {error}", path.display()).into())
}

fn read_json(path: &std::path::Path) -> Outcome<Value> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|error| format!("`{}`: {error}", path.display()).into())
}

const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
