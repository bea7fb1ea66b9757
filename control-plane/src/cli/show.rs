//! Answers of the admin API for people at a terminal.

use axum::http::Method;
use serde_json::Value;

/// What a person wants to see of an answer.
pub(crate) fn answer(path: &str, method: &Method, answer: &Value) -> String {
    if let Value::String(text) = answer {
        return text.clone();
    }
    if *method == Method::POST {
        return changed(answer);
    }
    let bare = path.split('?').next().unwrap_or_default();
    match bare.strip_prefix("/v1/").unwrap_or_default() {
        agent if agent.starts_with("agents/") => dossier(answer),
        policy if policy.starts_with("policies/") => text(answer, "content"),
        id if id.starts_with("decisions/") => super::decisions::explained(answer),
        task if task.starts_with("tasks/") => super::decisions::task(answer),
        "decision-reporters" => super::decisions::standing(answer),
        "proposals" => proposals(answer),
        "fleet" => super::fleet::table(answer),
        "cohorts" => cohorts(answer),
        _ => match answer {
            Value::Array(rows) => table(rows),
            other => members(other, ""),
        },
    }
}

fn changed(answer: &Value) -> String {
    if let Some(proposal) = answer.get("proposal").and_then(Value::as_str) {
        let trial = match text(answer, "trial") {
            trial if trial.is_empty() => trial,
            trial => format!("{trial}\n"),
        };
        return format!(
            "{trial}this takes a second person; another operator runs: gatepass proposal accept {proposal} --reason ..\n"
        );
    }
    let mut out = String::new();
    if let Some(trial) = answer.pointer("/result/trial").and_then(Value::as_str) {
        out.push_str(&format!("{trial}\n"));
    }
    if let Some(id) = answer.pointer("/result/id").and_then(Value::as_str) {
        out.push_str(&format!("id: {id}\n"));
    }
    if let Some(digest) = answer.pointer("/result/digest").and_then(Value::as_str) {
        let version = answer.pointer("/result/version").map(Value::to_string).unwrap_or_default();
        out.push_str(&format!("policy version {version}, digest {digest}\n"));
    }
    let (position, audit) = (text(answer, "position"), text(answer, "audit"));
    if !position.is_empty() {
        out.push_str(&format!("done at {position}, audit record {audit}\n"));
    }
    out
}

/// An agent on one screen: what an incident asks first comes first.
fn dossier(answer: &Value) -> String {
    let agent = answer.get("agent").unwrap_or(&Value::Null);
    let owner = answer.get("owner").unwrap_or(&Value::Null);
    let mut out = format!(
        "{}  {}\nstate       {}\nowner       {} ({}, {})\ncontact     {}\n            {}\n",
        text(agent, "id"),
        text(agent, "name"),
        text(agent, "state"),
        text(agent, "owner"),
        text(owner, "name"),
        text(owner, "state"),
        text(agent, "contact"),
        text(owner, "contact"),
    );
    for name in ["purpose", "blueprint", "department", "project", "environment", "creator"] {
        out.push_str(&format!("{name:<12}{}\n", text(agent, name)));
    }
    out.push_str(&format!("valid till  {}\n", time(agent, "valid_until")));
    if let Some(asked) = agent.get("proposed_owner").and_then(Value::as_str) {
        let accepted = agent.get("accepted_at").is_some_and(Value::is_number);
        let said = if accepted { "has accepted" } else { "has not answered" };
        out.push_str(&format!("new owner   {asked} {said}\n"));
    }
    for key in rows(answer, "keys") {
        out.push_str(&format!(
            "key         {} {}\n",
            text(key, "algorithm"),
            text(key, "thumbprint")
        ));
    }
    out.push_str(&format!("live        {} gatepasses\n", text(answer, "live_gatepasses")));
    for task in rows(answer, "open_tasks") {
        out.push_str(&format!("task        {} {}\n", text(task, "id"), text(task, "purpose")));
    }
    out.push_str("history\n");
    for record in rows(answer, "history") {
        out.push_str(&format!(
            "  {}  {}  by {}  {}\n",
            time(record, "at"),
            text(record, "action"),
            text(record, "actor"),
            text(record, "reason"),
        ));
    }
    out
}

/// Whole, so that whoever agrees has read what they agree to.
fn proposals(answer: &Value) -> String {
    let all = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |proposal: &Value| {
        let state = match proposal.get("outcome").and_then(Value::as_str) {
            Some(outcome) => format!("{outcome} by {}", text(proposal, "decided_by")),
            None => format!("waits until {}", time(proposal, "expires_at")),
        };
        let change: Value = serde_json::from_str(&text(proposal, "change")).unwrap_or_default();
        format!(
            "{}  by {}  {state}\nreason: {}\n{}\n",
            text(proposal, "id"),
            text(proposal, "proposed_by"),
            text(proposal, "reason"),
            members(&change, "  "),
        )
    };
    match all.is_empty() {
        true => "none\n".to_owned(),
        false => all.iter().map(one).collect(),
    }
}

/// With all that holds a promotion, so that whoever promotes has read it.
fn cohorts(answer: &Value) -> String {
    let all = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let share = |cohort: &Value, name: &str| {
        let count = |what: &str| cohort.pointer(&format!("/{name}/{what}")).and_then(Value::as_u64);
        let (denied, allowed) = (count("denied").unwrap_or(0), count("allowed").unwrap_or(0));
        format!("{denied} of {}", allowed.saturating_add(denied))
    };
    let one = |cohort: &Value| {
        let (name, version) = (text(cohort, "name"), text(cohort, "policy_version"));
        if cohort.get("is_canary") != Some(&Value::Bool(true)) {
            return format!("{name}  has the policy of all, {version}\n");
        }
        let mut out = format!(
            "{name}  tries version {version} since {}, on {} Envoys\n  verified gatepasses denied: {} there, {} elsewhere, {} there before\n",
            text(cohort, "policy"),
            text(cohort, "envoys"),
            share(cohort, "seen"),
            share(cohort, "elsewhere"),
            share(cohort, "before"),
        );
        for why in rows(cohort, "held").filter_map(Value::as_str) {
            out.push_str(&format!("  held: {why}\n"));
        }
        out
    };
    match all.is_empty() {
        true => "none\n".to_owned(),
        false => all.iter().map(one).collect(),
    }
}

pub(super) fn rows<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn table(rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else {
        return "none\n".to_owned();
    };
    let names: Vec<&String> =
        first.iter().filter(|(_, value)| !value.is_array()).map(|(name, _)| name).collect();
    let cell = |row: &Value, name: &str| match name.ends_with("_at") || name == "valid_until" {
        true => time(row, name),
        false => text(row, name).chars().take(MAX_CELL).collect(),
    };
    let mut lines: Vec<Vec<String>> = vec![names.iter().map(|name| (*name).clone()).collect()];
    lines.extend(rows.iter().map(|row| names.iter().map(|name| cell(row, name)).collect()));
    columns(&lines)
}

/// Columns as wide as what is in them.
pub(super) fn columns(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let count = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn members(value: &Value, indent: &str) -> String {
    let Value::Object(members) = value else {
        return format!("{indent}{value}\n");
    };
    let line = |name: &String| format!("{indent}{name}: {}\n", text(value, name));
    members.keys().map(line).collect()
}

pub(super) fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

pub(super) fn time(value: &Value, name: &str) -> String {
    let seconds = value.get(name).and_then(Value::as_i64);
    let stamp = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map(|stamp| stamp.to_string()).unwrap_or_default()
}

const MAX_CELL: usize = 60;
