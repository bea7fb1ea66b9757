//! A record as it is shown, and what to make of it.

use std::collections::BTreeMap;

use gatepass_engine::Code;
use gatepass_engine::record::{Decision, Shown};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::read::Row;
use crate::audit::hex;

/// One decision, with who told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// In the order in which they came; the cursor.
    pub n: i64,
    /// A UUID; the caller of a denied request has it, and the upstream of an allowed one.
    pub id: String,
    /// RFC 3339, by the gate's clock.
    pub at: String,
    /// `allow`, `deny`, `shadow` (it would have been denied and went on) or `ended` (it went on and was cut).
    pub outcome: String,
    /// `decided`, or a denial's.
    pub code: String,
    pub agent: Option<String>,
    pub owner: Option<String>,
    /// For whom, where that is somebody else than the agent.
    pub subject: Option<String>,
    /// The actors between, outermost first.
    pub through: Vec<String>,
    pub task: Option<String>,
    /// Its `jti`.
    pub gatepass: Option<String>,
    pub action: Option<String>,
    pub audience: Option<String>,
    pub method: Option<String>,
    pub host: Option<String>,
    /// The route's template, never the path.
    pub route: Option<String>,
    pub mcp_method: Option<String>,
    /// Of the tool or prompt.
    pub mcp_tool: Option<String>,
    /// Of another JSON-RPC protocol.
    pub rpc_method: Option<String>,
    /// What the policy shows: a text, `{"hash": ..}`, or `{"invalid": true}`.
    #[schema(value_type = Object)]
    pub inputs: BTreeMap<String, Value>,
    /// `<epoch>.<sequence>` of the policy that it was decided under.
    pub policy: Option<String>,
    /// The gate's.
    pub position: Option<String>,
    /// Of the gate's state.
    pub age_ms: Option<u64>,
    /// The gate as a whole is in shadow mode.
    pub shadow: bool,
    /// From the certificate of the connection that it came over, where there was one.
    pub workload: Option<String>,
    /// SHA-256 of that certificate.
    pub certificate: Option<String>,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
    /// The rules that it rests on, by their ids.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Rules in shadow mode that would have had a part in it.
    #[serde(default)]
    pub shadow_rules: Vec<String>,
    /// The VM and its number for it.
    pub vm: String,
    pub sequence: i64,
    pub envoy: String,
    /// Who told it: the certificate's name, or the fleet of the join token.
    pub node: String,
    /// Who told it is known by a certificate.
    pub verified: bool,
    /// Unix seconds.
    pub received_at: i64,
}

/// A decision with what to make of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// More than one where a request went on and was ended later.
    pub records: Vec<DecisionView>,
    /// What the code of the last means.
    pub meaning: String,
    /// What to do next.
    pub next: String,
}

/// # Errors
/// `None` where there is no record.
#[must_use]
pub fn explain(records: Vec<DecisionView>) -> Option<Explained> {
    let last = records.last()?;
    let code = Code::ALL.iter().find(|code| code.as_str() == last.code);
    let (meaning, next) = match code {
        Some(code) => (code.meaning(), code.next_step()),
        None => ("A gatepass granted it.", "Nothing: the request went on."),
    };
    let next = match last.outcome.as_str() {
        "shadow" => format!("It went on, in shadow mode. Before enforcing: {next}"),
        _ => next.to_owned(),
    };
    let meaning = meaning.to_owned();
    Some(Explained { records, meaning, next })
}

impl DecisionView {
    pub(super) fn of(row: &Row, decision: &Decision<'_>) -> Self {
        let bearer = decision.bearer.as_ref();
        let text = |text: Option<&str>| text.map(str::to_owned);
        let mcp = decision.call.as_ref().filter(|call| call.is_mcp);
        let rpc = decision.call.as_ref().filter(|call| !call.is_mcp);
        let input = |(name, shown): &(&str, Shown<'_>)| {
            let shown = match shown {
                Shown::Value(text) => Value::from(*text),
                Shown::Hash(hash) => json!({ "hash": hex(hash) }),
                Shown::Invalid => json!({ "invalid": true }),
            };
            ((*name).to_owned(), shown)
        };
        Self {
            n: row.n,
            id: uuid::Uuid::from_bytes(decision.id).to_string(),
            at: time(decision.at),
            outcome: decision.outcome.as_str().to_owned(),
            code: decision.code.to_owned(),
            agent: text(bearer.map(|bearer| bearer.agent)),
            owner: text(bearer.map(|bearer| bearer.owner)),
            subject: text(bearer.and_then(|bearer| bearer.subject)),
            through: bearer
                .map(|bearer| bearer.through.iter().map(|actor| (*actor).to_owned()).collect())
                .unwrap_or_default(),
            task: text(bearer.map(|bearer| bearer.task)),
            gatepass: text(bearer.map(|bearer| bearer.jti)),
            action: text(decision.action),
            audience: text(decision.audience),
            method: text(decision.method),
            host: text(decision.host),
            route: text(decision.route),
            mcp_method: text(mcp.map(|call| call.method)),
            mcp_tool: text(mcp.and_then(|call| call.name)),
            rpc_method: text(rpc.map(|call| call.method)),
            inputs: decision.inputs.iter().map(input).collect(),
            policy: decision.policy.map(|at| at.to_string()),
            position: decision.position.map(|at| at.to_string()),
            age_ms: decision.age,
            shadow: row.shadow,
            workload: text(decision.workload),
            certificate: text(decision.certificate),
            request_id: text(decision.request),
            traceparent: text(decision.trace),
            rules: decision.rules.iter().map(|id| (*id).to_owned()).collect(),
            shadow_rules: decision.shadow_rules.iter().map(|id| (*id).to_owned()).collect(),
            vm: row.vm.clone(),
            sequence: row.sequence,
            envoy: row.envoy.clone(),
            node: row.node.clone(),
            verified: row.identity == "certificate",
            received_at: row.received_at,
        }
    }
}

/// RFC 3339 with milliseconds.
pub(super) fn time(milliseconds: u64) -> String {
    let stamp = i64::try_from(milliseconds).ok();
    let stamp = stamp.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    stamp.map(|stamp| format!("{stamp:.3}")).unwrap_or_default()
}
