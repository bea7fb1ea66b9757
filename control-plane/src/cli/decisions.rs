//! Decisions for people at a terminal.

use gatepass::decisions::{DecisionView, Explained, Format};
use serde_json::Value;

use super::show::{columns, rows, text, time};

/// One decision, each fact on a line of its own.
pub(crate) fn explained(answer: &Value) -> String {
    let Ok(explained) = serde_json::from_value::<Explained>(answer.clone()) else {
        return format!("{answer:#}\n");
    };
    let mut out = String::new();
    for record in &explained.records {
        out.push_str(&facts(record));
        out.push('\n');
    }
    out.push_str(&format!("meaning     {}\nnext        {}\n", explained.meaning, explained.next));
    out
}

fn facts(of: &DecisionView) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            out.push_str(&format!("{name:<12}{value}\n"));
        }
    };
    line("decision", Some(&of.id));
    line("outcome", Some(&format!("{}: {}", of.outcome, of.code)));
    line("time", Some(&of.at));
    line("agent", of.agent.as_deref().or(Some("unknown: no gatepass was verified")));
    line("for", of.subject.as_deref());
    line("through", (!of.through.is_empty()).then(|| of.through.join(", ")).as_deref());
    line("owner", of.owner.as_deref());
    line("task", of.task.as_deref());
    line("gatepass", of.gatepass.as_deref());
    line("action", of.action.as_deref());
    let tool = of.mcp_method.as_ref().map(|method| {
        format!("{method} {}", of.mcp_tool.as_deref().unwrap_or_default()).trim_end().to_owned()
    });
    line("mcp", tool.as_deref());
    line("rpc", of.rpc_method.as_deref());
    let place = [&of.method, &of.host, &of.route].map(|part| part.as_deref().unwrap_or("-"));
    line("request", Some(&place.join(" ")));
    line("audience", of.audience.as_deref());
    for (name, shown) in &of.inputs {
        let shown = match shown {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        line("input", Some(&format!("{name} = {shown}")));
    }
    line("policy", of.policy.as_deref());
    for (name, rules) in [("rules", &of.rules), ("shadow", &of.shadow_rules)] {
        line(name, (!rules.is_empty()).then(|| rules.join(", ")).as_deref());
    }
    let age = of.age_ms.map(|age| format!(", heard of {age} ms before")).unwrap_or_default();
    line("state", of.position.as_ref().map(|position| format!("{position}{age}")).as_deref());
    line("mode", of.shadow.then_some("shadow"));
    line("workload", of.workload.as_deref());
    line("certificate", of.certificate.as_deref());
    line("request id", of.request_id.as_deref());
    line("trace", of.traceparent.as_deref());
    let known = if of.verified { "by its certificate" } else { "unverified" };
    line(
        "told by",
        Some(&format!("{} {} vm {} #{}, {known}", of.node, of.envoy, of.vm, of.sequence)),
    );
    out
}

/// A task and its chain.
pub(crate) fn task(answer: &Value) -> String {
    let mut out = String::new();
    match answer.get("task") {
        Some(task @ Value::Object(_)) => {
            for name in ["id", "agent", "purpose", "state"] {
                out.push_str(&format!("{name:<12}{}\n", text(task, name)));
            }
            out.push_str(&format!("opened      {}\n", time(task, "created_at")));
            let ended = time(task, "ended_at");
            if !ended.is_empty() {
                out.push_str(&format!("ended       {ended}\n"));
            }
        }
        _ => out.push_str("the control plane knows no task of this id; gates decided under it\n"),
    }
    out.push_str("decisions\n");
    for decision in rows(answer, "decisions") {
        if let Ok(decision) = serde_json::from_value::<DecisionView>(decision.clone()) {
            let line = Format::Table.line(&decision).unwrap_or_default();
            out.push_str(&format!("  {line}\n"));
        }
    }
    if answer.get("more").is_some_and(Value::is_number) {
        out.push_str("  and more: gatepass decisions --task ..\n");
    }
    out
}

/// Who tells decisions, and what is missing.
pub(crate) fn standing(answer: &Value) -> String {
    let mut lines = vec![named(&["node", "envoy", "vm", "told", "next", "last", "chain"])];
    for reporter in rows(answer, "reporters") {
        let mut line: Vec<String> =
            ["node", "envoy", "vm", "told", "next"].map(|name| text(reporter, name)).to_vec();
        line.push(time(reporter, "last_at"));
        line.push(text(reporter, "chain"));
        lines.push(line);
    }
    let mut out = columns(&lines);
    out.push_str("\nmissing\n");
    let names = ["kind", "count", "outcome", "code", "node", "envoy", "vm", "sequence"];
    let mut lines = vec![named(&names)];
    for gap in rows(answer, "gaps") {
        lines.push(names.map(|name| text(gap, name)).to_vec());
    }
    out.push_str(&if lines.len() > 1 { columns(&lines) } else { "nothing\n".to_owned() });
    out.push_str("\nonly counted, lately\n");
    let names = ["why", "outcome", "code", "count", "from", "to", "vm"];
    let mut lines = vec![named(&names)];
    for counted in rows(answer, "counted") {
        lines.push(names.map(|name| text(counted, name)).to_vec());
    }
    out.push_str(&if lines.len() > 1 { columns(&lines) } else { "nothing\n".to_owned() });
    out
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
