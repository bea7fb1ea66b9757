//! Decisions for other systems: JSON lines of ours, CloudEvents 1.0, OCSF 1.3.0 (class 6003, API Activity), and
//! spans as OTLP/JSON lines. Each says what the record says and nothing more.

use serde_json::{Map, Value, json};

use super::show::DecisionView;

/// How decisions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object a line, as the API has it.
    Jsonl,
    /// CloudEvents 1.0 in JSON.
    Cloudevents,
    /// OCSF 1.3.0, class 6003.
    Ocsf,
    /// A span for each decision whose request carried a `traceparent`: OTLP/JSON, one request a line.
    Otlp,
}

impl Format {
    /// One decision as one line; `None` where the format has no place for it.
    #[must_use]
    pub fn line(self, decision: &DecisionView) -> Option<String> {
        let value = match self {
            Self::Table => return Some(row(decision)),
            Self::Jsonl => serde_json::to_value(decision).ok()?,
            Self::Cloudevents => cloud_event(decision)?,
            Self::Ocsf => ocsf(decision),
            Self::Otlp => span(decision)?,
        };
        Some(value.to_string())
    }
}

fn row(of: &DecisionView) -> String {
    let who = of.agent.as_deref().unwrap_or("-");
    let what = of.mcp_tool.as_deref().or(of.action.as_deref()).unwrap_or("-");
    let at = of.at.get(..19).unwrap_or(&of.at);
    format!("{at}  {:<6} {:<22} {who}  {what}  {}", of.outcome, of.code, of.id)
}

/// CloudEvents 1.0.2. An id is unique within its source: a decision and the end of what it let on have one
/// decision id, and two numbers.
fn cloud_event(of: &DecisionView) -> Option<Value> {
    let mut event = json!({
        "specversion": "1.0",
        "id": of.sequence.to_string(),
        "source": format!("/gatepass/envoys/{}/vms/{}", of.envoy, of.vm),
        "type": format!("gatepass.decision.{}", of.outcome),
        "subject": of.id,
        "time": of.at,
        "datacontenttype": "application/json",
        "data": serde_json::to_value(of).ok()?,
    });
    if let (Some(trace), Some(members)) = (&of.traceparent, event.as_object_mut()) {
        members.insert("traceparent".to_owned(), trace.as_str().into());
    }
    Some(event)
}

fn ocsf(of: &DecisionView) -> Value {
    let (activity, activity_name) = match of.method.as_deref() {
        Some("POST") => (1, "Create"),
        Some("GET" | "HEAD") => (2, "Read"),
        Some("PUT" | "PATCH") => (3, "Update"),
        Some("DELETE") => (4, "Delete"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    };
    let (action, disposition, status, severity) = match of.outcome.as_str() {
        "allow" => ((1, "Allowed"), (1, "Allowed"), (1, "Success"), (1, "Informational")),
        "shadow" => ((3, "Observed"), (17, "Logged"), (1, "Success"), (2, "Low")),
        "ended" => ((2, "Denied"), (6, "Dropped"), (2, "Failure"), (2, "Low")),
        _ => ((2, "Denied"), (2, "Blocked"), (2, "Failure"), (2, "Low")),
    };
    let agent = of.agent.as_deref().unwrap_or("unknown");
    let operation = of.mcp_tool.as_deref().or(of.action.as_deref()).unwrap_or("unknown");
    // Where the agent runs is known by its certificate alone.
    let source = of.workload.as_deref().or(of.certificate.as_deref()).unwrap_or(agent);
    let milliseconds = of.at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
    let mut event = json!({
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "type_uid": 600_300 + activity,
        "type_name": format!("API Activity: {activity_name}"),
        "activity_id": activity,
        "activity_name": activity_name,
        "severity_id": severity.0,
        "severity": severity.1,
        "time": milliseconds,
        "status_id": status.0,
        "status": status.1,
        "status_code": of.code,
        "action_id": action.0,
        "action": action.1,
        "disposition_id": disposition.0,
        "disposition": disposition.1,
        "metadata": {
            "version": OCSF,
            "profiles": ["security_control"],
            "product": { "name": "Gatepass", "vendor_name": "Gatepass" },
            "uid": format!("{}-{}", of.vm, of.sequence),
            "correlation_uid": of.id,
            "sequence": of.sequence,
            "log_provider": of.envoy,
            "logged_time": of.received_at.saturating_mul(1_000),
        },
        "actor": { "user": { "uid": agent, "type_id": 3, "type": "System" } },
        "api": { "operation": operation, "request": { "uid": of.request_id.as_deref().unwrap_or(&of.id) } },
        "src_endpoint": { "uid": source },
        "unmapped": {
            "decision_id": of.id, "owner": of.owner, "subject": of.subject, "through": of.through,
            "task": of.task, "gatepass": of.gatepass, "policy": of.policy, "position": of.position,
            "age_ms": of.age_ms, "shadow": of.shadow, "inputs": of.inputs, "route": of.route,
            "certificate": of.certificate, "rules": of.rules, "shadow_rules": of.shadow_rules,
            "traceparent": of.traceparent, "mcp_method": of.mcp_method,
        },
    });
    if let Some(members) = event.as_object_mut() {
        if let Some(host) = &of.host {
            members.insert("dst_endpoint".to_owned(), json!({ "hostname": host }));
        }
        if let Some(method) = &of.method {
            members.insert("http_request".to_owned(), json!({ "http_method": method }));
        }
        if let Some(audience) = &of.audience {
            members
                .insert("resources".to_owned(), json!([{ "uid": audience, "type": "audience" }]));
        }
    }
    event
}

/// OTLP 1 in its JSON form: ids in hexadecimal, 64-bit numbers as text.
fn span(of: &DecisionView) -> Option<Value> {
    let mut parts = of.traceparent.as_deref()?.split('-').skip(1);
    let (trace, parent) = (parts.next()?, parts.next()?);
    let nanoseconds = of.at.parse::<jiff::Timestamp>().ok()?.as_nanosecond().to_string();
    let uuid = uuid::Uuid::parse_str(&of.id).ok()?;
    let own = uuid.as_bytes().last_chunk::<8>().copied().unwrap_or_default();
    let texts = [
        ("gatepass.decision.id", Some(of.id.as_str())),
        ("gatepass.outcome", Some(of.outcome.as_str())),
        ("gatepass.code", Some(of.code.as_str())),
        ("gatepass.action", of.action.as_deref()),
        ("gatepass.task", of.task.as_deref()),
        ("gatepass.policy", of.policy.as_deref()),
        ("gen_ai.agent.id", of.agent.as_deref()),
        ("gen_ai.operation.name", of.mcp_tool.as_ref().map(|_| "execute_tool")),
        ("gen_ai.tool.name", of.mcp_tool.as_deref()),
        ("mcp.method.name", of.mcp_method.as_deref()),
        ("rpc.method", of.rpc_method.as_deref()),
        ("http.request.method", of.method.as_deref()),
        ("http.route", of.route.as_deref()),
        ("server.address", of.host.as_deref()),
    ];
    let attributes: Vec<Value> = texts
        .into_iter()
        .filter_map(|(key, value)| Some(json!({ "key": key, "value": { "stringValue": value? } })))
        .collect();
    let mut status = Map::new();
    if matches!(of.outcome.as_str(), "deny" | "ended") {
        status.insert("code".to_owned(), 2.into());
        status.insert("message".to_owned(), of.code.as_str().into());
    }
    Some(json!({ "resourceSpans": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "gatepass" } },
            { "key": "service.instance.id", "value": { "stringValue": of.envoy } },
        ] },
        "scopeSpans": [{
            "scope": { "name": "gatepass" },
            "spans": [{
                "traceId": trace,
                "spanId": crate::audit::hex(&own),
                "parentSpanId": parent,
                "name": format!("gatepass {}", of.outcome),
                "kind": 1,
                "startTimeUnixNano": nanoseconds,
                "endTimeUnixNano": nanoseconds,
                "attributes": attributes,
                "status": status,
            }],
        }],
    }] }))
}

/// The version of the schema.
const OCSF: &str = "1.3.0";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn view() -> DecisionView {
        let text = |text: &str| Some(text.to_owned());
        DecisionView {
            n: 9,
            id: "0190a1b2-c3d4-7e5f-8a6b-0011223344ff".to_owned(),
            at: "2026-11-22T10:00:00.250Z".to_owned(),
            outcome: "deny".to_owned(),
            code: "constraint_violated".to_owned(),
            agent: text("agent:0190a1b2-0000-7000-8000-000000000001"),
            owner: text("user:corp/ada"),
            subject: None,
            through: Vec::new(),
            task: text("t-1"),
            gatepass: text("j-1"),
            action: text("orders:create"),
            audience: text("https://orders.example"),
            method: text("POST"),
            host: text("orders.example"),
            route: text("/orders"),
            mcp_method: text("tools/call"),
            mcp_tool: text("search"),
            rpc_method: None,
            inputs: BTreeMap::from([("amount".to_owned(), Value::from("5.0000 EUR"))]),
            policy: text("7.3"),
            position: text("7.9"),
            age_ms: Some(40),
            shadow: false,
            workload: None,
            certificate: None,
            request_id: text("r-1"),
            traceparent: text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            rules: vec!["spend".to_owned()],
            shadow_rules: Vec::new(),
            vm: "00000000000000aa".to_owned(),
            sequence: 4,
            envoy: "00000000000000bb".to_owned(),
            node: "gate-1".to_owned(),
            verified: true,
            received_at: 1_795_000_000,
        }
    }

    fn json_of(format: Format, of: &DecisionView) -> Value {
        serde_json::from_str(&format.line(of).unwrap()).unwrap()
    }

    #[test]
    fn a_cloud_event_has_what_the_specification_requires() {
        let event = json_of(Format::Cloudevents, &view());
        assert_eq!(event["specversion"], "1.0");
        for name in ["id", "source", "type"] {
            assert!(event[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        assert_eq!(event["time"], "2026-11-22T10:00:00.250Z");
        assert_eq!(event["data"]["code"], "constraint_violated");
        assert_eq!(event["traceparent"], view().traceparent.unwrap());
        let untraced = DecisionView { traceparent: None, ..view() };
        assert!(json_of(Format::Cloudevents, &untraced).get("traceparent").is_none());
        // What ended a stream is another event of the same decision.
        let ended = DecisionView { sequence: 5, outcome: "ended".to_owned(), ..view() };
        let ended = json_of(Format::Cloudevents, &ended);
        assert_eq!(ended["subject"], event["subject"]);
        assert_ne!(ended["id"], event["id"]);
    }

    /// The attributes that OCSF 1.3.0 requires of class 6003 and of its objects.
    #[test]
    fn an_ocsf_event_has_what_its_class_requires() {
        let nothing = DecisionView {
            agent: None,
            action: None,
            audience: None,
            method: None,
            host: None,
            mcp_tool: None,
            request_id: None,
            ..view()
        };
        for of in [view(), nothing] {
            let event = json_of(Format::Ocsf, &of);
            for path in [
                "/activity_id",
                "/category_uid",
                "/class_uid",
                "/type_uid",
                "/severity_id",
                "/time",
                "/metadata/version",
                "/metadata/product/name",
                "/actor/user/uid",
                "/api/operation",
                "/api/request/uid",
                "/src_endpoint/uid",
            ] {
                assert!(event.pointer(path).is_some_and(|value| !value.is_null()), "{path}");
            }
            let number = |name: &str| event[name].as_i64().unwrap();
            assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        }
        let event = json_of(Format::Ocsf, &view());
        assert_eq!(event["time"], 1_795_341_600_250_i64);
        assert_eq!((&event["action_id"], &event["status_id"]), (&json!(2), &json!(2)));
        let allowed = DecisionView { outcome: "allow".to_owned(), ..view() };
        let allowed = json_of(Format::Ocsf, &allowed);
        assert_eq!((&allowed["action_id"], &allowed["status_id"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn a_span_belongs_to_the_callers_trace() {
        let request = json_of(Format::Otlp, &view());
        let span = request.pointer("/resourceSpans/0/scopeSpans/0/spans/0").unwrap();
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span["parentSpanId"], "b7ad6b7169203331");
        assert_eq!(span["spanId"], "8a6b0011223344ff");
        assert_eq!(span["status"]["code"], 2);
        let attributes = span["attributes"].as_array().unwrap();
        let find = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute["key"] == key);
            found.map(|attribute| attribute["value"]["stringValue"].clone())
        };
        assert_eq!(find("gen_ai.tool.name"), Some(json!("search")));
        assert_eq!(find("mcp.method.name"), Some(json!("tools/call")));
        // Without a trace there is nothing that it would be a part of.
        assert_eq!(Format::Otlp.line(&DecisionView { traceparent: None, ..view() }), None);
    }
}
