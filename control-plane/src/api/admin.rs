//! The endpoints for operators.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::Value;

use super::endpoint::{Endpoint, JSON, PathNames, in_path, members, schema, text};
use super::problem::Problem;
use super::{auth, decisions, explain, fleet, json, reads};
use crate::audit;
use crate::decisions::{Explained, Page, Standing};
use crate::desk::agents::Agent;
use crate::desk::budgets::Balance;
use crate::desk::change::{
    AcceptOwner, ActivateAgent, AddAgentKey, AddBlueprint, AddCohort, AddJoinToken, AddOperator,
    AddPerson, AddToken, AdoptRoot, DescribeAgent, DisableBlueprint, EnableBlueprint, EndJoinToken,
    EndOperator, EndPerson, EndTask, EndToken, OpenIssuance, PromotePolicy, ProposeOwner,
    PublishPolicy, RegisterAgent, RemoveAgentKey, RemoveCohort, RetireAgent, RetireAgents,
    ReturnPerson, RevokeThing, RollbackPolicy, SetCeiling, StopEverything, SuspendAgent,
    SuspendAgents, WithdrawPolicy,
};
use crate::desk::cohorts::CohortView;
use crate::desk::operators::Need;
use crate::desk::policies::Policy;
use crate::desk::{Refused, apply, compiled, proposals};
use crate::fleet::FleetView;
use crate::server::Shared;

/// Every endpoint of the admin API.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = changes();
    all.extend(questions());
    all.extend(seconds());
    all.push(explain::endpoint());
    all.push(export());
    all
}

fn changes() -> Vec<Endpoint> {
    vec![
        Endpoint::change::<AddPerson>("/v1/people", "Add a person"),
        Endpoint::change::<EndPerson>(
            "/v1/people/{id}/end",
            "A person left: their agents are orphaned, what these hold is dead",
        ),
        Endpoint::change::<ReturnPerson>("/v1/people/{id}/return", "A person is back"),
        Endpoint::change::<AddBlueprint>("/v1/blueprints", "Add a blueprint"),
        Endpoint::change::<SetCeiling>("/v1/blueprints/{id}/ceiling", "Replace a ceiling"),
        Endpoint::change::<DisableBlueprint>(
            "/v1/blueprints/{id}/disable",
            "Stop all agents of a blueprint",
        ),
        Endpoint::change::<EnableBlueprint>("/v1/blueprints/{id}/enable", "Let them work again"),
        Endpoint::change::<RegisterAgent>("/v1/agents", "Register an agent"),
        Endpoint::change::<DescribeAgent>(
            "/v1/agents/{agent}/describe",
            "Change what is known of it",
        ),
        Endpoint::change::<ActivateAgent>("/v1/agents/{agent}/activate", "Let an agent work"),
        Endpoint::change::<SuspendAgent>("/v1/agents/{agent}/suspend", "Stop an agent"),
        Endpoint::change::<RetireAgent>("/v1/agents/{agent}/retire", "End an agent for good"),
        Endpoint::change::<SuspendAgents>(
            "/v1/agents/suspend",
            "Stop all agents of a project or blueprint",
        ),
        Endpoint::change::<RetireAgents>(
            "/v1/agents/retire",
            "End all agents of a project or blueprint",
        ),
        Endpoint::change::<ProposeOwner>("/v1/agents/{agent}/owner", "Ask for a new owner"),
        Endpoint::change::<AcceptOwner>(
            "/v1/agents/{agent}/accept",
            "Accept to be the owner: by that person's own token",
        ),
        Endpoint::change::<AddAgentKey>("/v1/agents/{agent}/keys", "Add a public key"),
        Endpoint::change::<RemoveAgentKey>(
            "/v1/agents/{agent}/keys/{thumbprint}/remove",
            "Remove a public key",
        ),
        Endpoint::change::<RevokeThing>("/v1/revocations", "Revoke by what gatepasses carry"),
        Endpoint::change::<EndTask>("/v1/tasks/{task}/end", "End a task"),
        Endpoint::change::<PublishPolicy>("/v1/policies", "Put a policy in force"),
        Endpoint::change::<RollbackPolicy>(
            "/v1/policies/{version}/rollback",
            "Put an older policy in force again",
        ),
        Endpoint::change::<PromotePolicy>(
            "/v1/policies/promote",
            "Put the policy that a cohort tries in force for all",
        ),
        Endpoint::change::<WithdrawPolicy>(
            "/v1/policies/withdraw",
            "Give a cohort the policy of all again",
        ),
        Endpoint::change::<AddCohort>(
            "/v1/cohorts",
            "Add a cohort, with a feed audience of its own",
        ),
        Endpoint::change::<RemoveCohort>("/v1/cohorts/{name}/remove", "Remove a cohort"),
        Endpoint::change::<StopEverything>("/v1/stop", "Kill every gatepass and close issuance"),
        Endpoint::change::<OpenIssuance>("/v1/open", "Open issuance again"),
        Endpoint::change::<AddOperator>("/v1/operators", "Add an operator"),
        Endpoint::change::<EndOperator>("/v1/operators/{id}/end", "End an operator"),
        Endpoint::change::<AddToken>("/v1/tokens", "Add a token"),
        Endpoint::change::<EndToken>("/v1/tokens/{id}/end", "End a token"),
        Endpoint::change::<AddJoinToken>("/v1/join-tokens", "Add a fleet's join token"),
        Endpoint::change::<EndJoinToken>("/v1/join-tokens/{id}/end", "End a join token"),
        Endpoint::change::<AdoptRoot>("/v1/roots", "Put a newer root document in force"),
    ]
}

fn questions() -> Vec<Endpoint> {
    vec![
        Endpoint::read::<Vec<Agent>, _>("/v1/agents", "Search agents", Need::Read, reads::agents)
            .with_query(&[
                ("state", "staged, active, suspended, orphaned or retired"),
                ("owner", "`user:<directory>/<id>`"),
                ("blueprint", "its id"),
                ("project", "its name"),
                ("text", "somewhere in id, name, purpose, owner or contact"),
                ("after", "the last id of the page before"),
            ]),
        Endpoint::read::<reads::Dossier, _>(
            "/v1/agents/{agent}",
            "All that is known of an agent: owner, contact, keys, live tasks, history",
            Need::Read,
            reads::agent,
        ),
        Endpoint::read::<Vec<reads::Person>, _>("/v1/people", "People", Need::Read, reads::people),
        Endpoint::read::<Vec<reads::Blueprint>, _>(
            "/v1/blueprints",
            "Blueprints",
            Need::Read,
            reads::blueprints,
        ),
        Endpoint::read::<Vec<Balance>, _>(
            "/v1/budgets",
            "What is reserved and taken of the policy's budgets",
            Need::Read,
            reads::budgets,
        )
        .with_query(&[("holder", "the agent, task, owner or blueprint that it is counted for")]),
        Endpoint::read::<Vec<Policy>, _>(
            "/v1/policies",
            "Versions of the policy",
            Need::Read,
            reads::policies,
        ),
        Endpoint::read::<reads::PolicyContent, _>(
            "/v1/policies/{version}",
            "One version",
            Need::Read,
            reads::policy,
        ),
        Endpoint::read::<Vec<CohortView>, _>(
            "/v1/cohorts",
            "Cohorts, and how the policies that they try stand",
            Need::Read,
            reads::cohorts,
        ),
        Endpoint::read::<Vec<proposals::Proposal>, _>(
            "/v1/proposals",
            "Changes that wait, or waited, for a second person",
            Need::Read,
            reads::proposals,
        ),
        Endpoint::read::<Vec<reads::Operator>, _>(
            "/v1/operators",
            "Operators and their tokens",
            Need::Administer,
            reads::operators,
        ),
        Endpoint::read::<FleetView, _>(
            "/v1/fleet",
            "Envoys that follow the feed: who enforces what",
            Need::Read,
            fleet::fleet,
        ),
        Endpoint::read::<Page, _>(
            "/v1/decisions",
            "What gates decided: the newest first, or what comes after a cursor",
            Need::Read,
            decisions::list,
        )
        .with_query(&[
            ("agent", "`agent:<uuid>`"),
            ("action", "its name"),
            ("code", "`decided`, or a denial's"),
            ("task", "its id"),
            ("outcome", "allow, deny, shadow or ended"),
            ("envoy", "as the fleet names it"),
            ("since", "RFC 3339 or Unix seconds, by the gate's clock"),
            ("until", "the same; not included"),
            ("limit", "at most 1000"),
            ("before", "`older` of the page before: what is older"),
            ("after", "`newest` of the answer before: what came since, the oldest first"),
            ("wait", "with `after`: seconds to wait for something new, at most 20"),
        ]),
        Endpoint::read::<Explained, _>(
            "/v1/decisions/{id}",
            "One decision, what its code means and what to do next",
            Need::Read,
            decisions::one,
        ),
        Endpoint::read::<decisions::Chain, _>(
            "/v1/tasks/{task}/decisions",
            "A task and what was decided under it, the oldest first",
            Need::Read,
            decisions::task,
        )
        .with_query(&[("after", "`more` of the answer before")]),
        Endpoint::read::<Standing, _>(
            "/v1/decision-reporters",
            "The VMs that tell decisions, what is missing, and what was only counted",
            Need::Read,
            decisions::standing,
        )
        .with_query(&[(
            "verify",
            "`true`: hold what is kept against the hashes that it came with",
        )]),
        Endpoint::read::<reads::Overview, _>(
            "/v1/environment",
            "Where the environment stands",
            Need::Read,
            reads::environment,
        ),
        Endpoint::read::<reads::AuditVerdict, _>(
            "/v1/audit/verify",
            "Check the audit record",
            Need::Audit,
            reads::verify,
        )
        .with_query(&[("anchor", "`<n>:<hash>` that somebody kept")]),
    ]
}

/// What a second person says to a proposal.
fn seconds() -> Vec<Endpoint> {
    let accept =
        async |State(shared): State<Arc<Shared>>,
               names: PathNames,
               headers: HeaderMap,
               body: Bytes| { accept(&shared, names, &headers, &body).await };
    let reject =
        async |State(shared): State<Arc<Shared>>,
               names: PathNames,
               headers: HeaderMap,
               body: Bytes| { reject(&shared, names, &headers, &body).await };
    let endpoint = |path, summary, answer, handler| Endpoint {
        method: "post",
        path,
        summary,
        need: Need::Agree,
        query: &[],
        request: Some(serde_json::json!({ "type": "object" })),
        answer,
        kind: JSON,
        referred: Vec::new(),
        has_reason: true,
        may_wait: false,
        handler,
    };
    vec![
        endpoint(
            "/v1/proposals/{id}/accept",
            "Agree, and have it done",
            schema::<apply::Done>(),
            post(accept),
        ),
        endpoint(
            "/v1/proposals/{id}/reject",
            "Refuse",
            serde_json::json!({ "type": "object" }),
            post(reject),
        ),
    ]
}

async fn accept(
    shared: &Arc<Shared>,
    names: PathNames,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let who = auth::operator(shared, headers, Need::Agree).await?;
    let reason = only_reason(headers, body)?;
    let id = in_path(names)?.remove("id").unwrap_or_default();
    compiled::prepare_proposed(&id, shared.db.readers()).await.map_err(Refused::from)?;
    let write = async move |tx: &mut crate::db::Tx| proposals::accept(tx, &who, &id, &reason).await;
    let done: Result<apply::Done, Refused> = shared.db.write(write).await;
    Ok(json(&serde_json::to_value(done?).unwrap_or_default()))
}

async fn reject(
    shared: &Arc<Shared>,
    names: PathNames,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let who = auth::operator(shared, headers, Need::Agree).await?;
    let reason = only_reason(headers, body)?;
    let id = in_path(names)?.remove("id").unwrap_or_default();
    let write = async move |tx: &mut crate::db::Tx| proposals::reject(tx, &who, &id, &reason).await;
    let done: Result<(), Refused> = shared.db.write(write).await;
    done?;
    Ok(json(&Value::Object(serde_json::Map::new())))
}

fn only_reason(headers: &HeaderMap, body: &Bytes) -> Result<String, Refused> {
    let (others, reason) = members(headers, body)?;
    match others.into_iter().next() {
        None => Ok(reason),
        Some((name, _)) => Err(Refused::invalid(name, "only a `reason` is taken here")),
    }
}

/// The record as JSON lines, its head signed.
fn export() -> Endpoint {
    let handler = async |State(shared): State<Arc<Shared>>, headers: HeaderMap| {
        let answered: Result<Response, Problem> = async {
            auth::operator(&shared, &headers, Need::Audit).await?;
            Ok(text(JSON_LINES, exported(&shared).await?))
        }
        .await;
        answered
    };
    Endpoint {
        method: "get",
        path: "/v1/audit/export",
        summary: "The audit record as JSON lines; the last line is its signed head",
        need: Need::Audit,
        query: &[],
        request: None,
        answer: serde_json::json!({ "type": "string" }),
        kind: JSON_LINES,
        referred: Vec::new(),
        has_reason: false,
        may_wait: false,
        handler: get(handler),
    }
}

async fn exported(shared: &Arc<Shared>) -> Result<String, Refused> {
    let mut connection = shared.db.readers().acquire().await?;
    let mut out = String::new();
    let mut head = audit::Head::default();
    loop {
        let page = audit::page(&mut connection, head.n, audit::PAGE).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            out.push_str(&record.line());
            out.push('\n');
            head = audit::Head { n: record.n, hash: record.hash };
        }
    }
    let signers = shared.db.book().signers();
    let signed = head.sign(&shared.environment, &*signers.audit()?.key, shared.db.now());
    out.push_str(&format!("{{\"head\":{signed}}}\n"));
    Ok(out)
}

const JSON_LINES: &str = "application/jsonl";
