//! Each command as one request to the admin API.

use axum::http::Method;
use gatepass::client::escaped as part;
use gatepass::desk::operators::{
    JOIN_PREFIX, MAX_TOKEN_LIFE, OPERATOR_PREFIX, digest_text, new_secret,
};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::commands::{
    Admin, Agent, Audit, Blueprint, Cohort, JoinToken, Operator, Person, Policy, Proposal, Task,
    Token, Which, Why,
};
use crate::cli::{Outcome, now};

/// A request, and a secret that was made here to go with it.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) secret: Option<Zeroizing<String>>,
}

impl Asked {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, secret: None }
    }

    pub(super) fn post(path: impl Into<String>, why: Why, members: Value) -> Self {
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

pub(super) fn request(command: Admin) -> Outcome<Asked> {
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
        Admin::Budgets { holder } => Asked::get(match holder {
            Some(holder) => format!("/v1/budgets?holder={}", part(&holder)),
            None => "/v1/budgets".to_owned(),
        }),
        Admin::Policy(policy) => match policy {
            Policy::List => Asked::get("/v1/policies"),
            Policy::Show { version } => Asked::get(format!("/v1/policies/{}", part(&version))),
            Policy::Rollback { version, why, .. } => {
                Asked::post(format!("/v1/policies/{version}/rollback"), why, none())
            }
            Policy::Promote { cohort, version, since, despite_denials, why, .. } => {
                let mut members = json!({ "despite_denials": despite_denials });
                put(&mut members, "cohort", cohort);
                put(&mut members, "version", version);
                put(&mut members, "since", since);
                Asked::post("/v1/policies/promote", why, members)
            }
            Policy::Withdraw { cohort, version, since, why, .. } => {
                let mut members = none();
                put(&mut members, "cohort", cohort);
                put(&mut members, "version", version);
                put(&mut members, "since", since);
                Asked::post("/v1/policies/withdraw", why, members)
            }
            // INVARIANT: answered before; asking for the list is harmless.
            Policy::Check { .. }
            | Policy::Test { .. }
            | Policy::Fmt { .. }
            | Policy::Schema { .. }
            | Policy::ImportMcp(_)
            | Policy::Publish { .. }
            | Policy::Diff(_)
            | Policy::Replay(_) => Asked::get("/v1/policies"),
        },
        Admin::Cohort(cohort) => match cohort {
            Cohort::Add { name, why } => Asked::post("/v1/cohorts", why, json!({ "name": name })),
            Cohort::Remove { name, despite_followers, why } => Asked::post(
                format!("/v1/cohorts/{}/remove", part(&name)),
                why,
                json!({ "despite_followers": despite_followers }),
            ),
            Cohort::List => Asked::get("/v1/cohorts"),
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
            JoinToken::Add { fleet, cohort, days, why } => {
                let secret = new_secret(JOIN_PREFIX)?;
                let mut members = json!({
                    "fleet": fleet, "digest": digest_text(&secret), "expires_at": until(days),
                });
                put(&mut members, "cohort", cohort);
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
        Admin::Revoke { kind, id, why, .. } => {
            Asked::post("/v1/revocations", why, json!({ "kind": kind, "id": id }))
        }
        Admin::Stop { why, .. } => Asked::post("/v1/stop", why, none()),
        Admin::Open { why } => Asked::post("/v1/open", why, none()),
        Admin::AdoptRoot { document, why } => {
            Asked::post("/v1/roots", why, json!({ "envelope": read_text(&document)? }))
        }
        Admin::Fleet => Asked::get("/v1/fleet"),
        // The decisions themselves are asked for page by page.
        Admin::Decisions(args) => Asked::get(match args.verify {
            true => "/v1/decision-reporters?verify=true",
            false => "/v1/decision-reporters",
        }),
        // A request that is asked about is no change, and its answer more than a text.
        Admin::Explain(args) => {
            let id = args.id.unwrap_or_default();
            Asked::get(format!("/v1/decisions/{}", part(&id)))
        }
        Admin::Task(Task::Show { id }) => Asked::get(format!("/v1/tasks/{}/decisions", part(&id))),
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

pub(super) fn put(members: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(value), Some(members)) = (value, members.as_object_mut()) {
        members.insert(name.to_owned(), value.into());
    }
}

fn until(days: u64) -> u64 {
    // A moment less than the longest, so that clocks may differ a little.
    now().0 + (days * 24 * 3600).min(MAX_TOKEN_LIFE - 60)
}

pub(in crate::cli) fn read_text(path: &std::path::Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("`{}`: {error}", path.display()).into())
}

fn read_json(path: &std::path::Path) -> Outcome<Value> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|error| format!("`{}`: {error}", path.display()).into())
}
