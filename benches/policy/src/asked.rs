//! Requests with their gatepasses, all different, as the gate and as Cedar have them.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema,
};
use gatepass_engine::budget::Budgets;
use gatepass_engine::bundle::{Input, Treatment};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::inputs::Inputs;
use gatepass_engine::policy::{Asked, Facts};
use gatepass_engine::target::Target;
use serde_json::json;

use crate::written::Written;

/// One request's texts.
pub(crate) struct Texts {
    pub(crate) action: usize,
    name: String,
    path: String,
    target: String,
    payload: String,
    owner: &'static str,
    blueprint: &'static str,
    environment: &'static str,
    context: Vec<(&'static str, String)>,
    now: u64,
}

const AGENT: &str = "agent:aaaaaaaa-0000-4000-8000-000000000001";
const NOW: u64 = 1_800_000_000;

impl Texts {
    pub(crate) fn new(nth: usize, actions: usize) -> Self {
        let action = (nth * 7) % actions;
        let owner = ["user:corp/ada", "user:corp/bob", "user:corp/carl"][nth % 3];
        let blueprint = ["buyer", "reader"][nth / 2 % 2];
        let environment = if nth.is_multiple_of(5) { "dev" } else { "prod" };
        let assurance = ["attested", "static", "federated"][nth / 4 % 3];
        let scopes = ["orders.read orders.write", "orders.read", "large orders.all"][nth / 3 % 3];
        let (amount, currency) = (100 + nth * 97 % 9_000, ["EUR", "USD"][nth % 2]);
        let (count, now) = (nth * 13 % 150, NOW + (nth as u64) * 5_000);
        let note = (nth % 3 == 1).then(|| ["plain", "a-secret-b", "other"][nth / 3 % 3]);
        let path = format!("/a{action}");
        let mut target = format!("{path}?amount={amount}&currency={currency}&count={count}");
        let mut inputs = format!(
            "amount: {{amount: decimal(\"{amount}.0\"), currency: \"{currency}\"}}, count: {count}"
        );
        if let Some(note) = note {
            target.push_str(&format!("&note={note}"));
            inputs.push_str(&format!(", note: \"{note}\""));
        }
        let payload = json!({
            "iss": "https://desk.example", "aud": ["https://orders.example"], "iat": now - 20,
            "exp": now + 280, "jti": "jti-1", "seq": [7, 50], "sub": AGENT, "client_id": AGENT,
            "owner": owner, "blueprint": blueprint, "scope": scopes, "txn": "task-1",
            "env": environment, "assurance": assurance,
        });
        let moment = |time: u64| format!("datetime(\"1970-01-01\").offset(duration(\"{time}s\"))");
        let scopes: Vec<String> = scopes.split(' ').map(|scope| format!("\"{scope}\"")).collect();
        let context = vec![
            ("environment", format!("\"{environment}\"")),
            (
                "request",
                format!(
                    "{{method: \"POST\", host: \"orders.example\", path: \"{path}\", route: \"{path}\", time: {}}}",
                    moment(now)
                ),
            ),
            (
                "gatepass",
                format!(
                    "{{id: \"jti-1\", scopes: [{}], assurance: \"{assurance}\", issued: {}, expires: {}, subject: \"{AGENT}\", through: []}}",
                    scopes.join(", "),
                    moment(now - 20),
                    moment(now + 280)
                ),
            ),
            ("task", "{id: \"task-1\"}".to_owned()),
            ("inputs", format!("{{{inputs}}}")),
        ];
        Self {
            action,
            name: format!("orders:a{action}"),
            path,
            target,
            payload: payload.to_string(),
            owner,
            blueprint,
            environment,
            context,
            now,
        }
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target::parse(self.target.as_bytes()).unwrap()
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims::parse(self.payload.as_bytes()).unwrap()
    }

    pub(crate) fn wanted<'w>(&self, written: &'w Written) -> &'w [Input] {
        match &written.bundle.hosts[0].treatment {
            Treatment::Guarded(routes) => &routes[self.action].inputs,
            Treatment::PassedThrough => &[],
        }
    }

    pub(crate) fn facts<'a>(
        &'a self,
        claims: &'a Claims<'a>,
        inputs: &'a Inputs<'a>,
        places: &'a [u8],
    ) -> Facts<'a> {
        Facts {
            claims,
            environment: self.environment,
            now: UnixSeconds(self.now),
            action: &self.name,
            budgets: Budgets::default(),
            asked: Some(Asked {
                audience: "https://orders.example",
                method: "POST",
                host: "orders.example",
                path: &self.path,
                route: &self.path,
                source: None,
                inputs,
                places,
            }),
        }
    }

    /// What Cedar decides.
    pub(crate) fn is_permitted(&self, rules: &PolicySet, schema: &Schema) -> bool {
        let uid = |kind: &str, id: &str| EntityUid::from_str(&format!("{kind}::\"{id}\"")).unwrap();
        let agent = uid("Gatepass::Agent", AGENT);
        let owner = RestrictedExpression::new_entity_uid(uid("Gatepass::Person", self.owner));
        let parents = HashSet::from([uid("Gatepass::Blueprint", self.blueprint)]);
        let attributes = HashMap::from([("owner".to_owned(), owner)]);
        let principal = Entity::new(agent.clone(), attributes, parents).unwrap();
        let entities = Entities::from_entities([principal], Some(schema)).unwrap();
        let context = self.context.iter().map(|(name, value)| {
            ((*name).to_owned(), RestrictedExpression::from_str(value).unwrap())
        });
        let context = Context::from_pairs(context).unwrap();
        let resource = uid("Gatepass::System", "https://orders.example");
        let action = uid("Action", &self.name);
        let request = Request::new(agent, action, resource, context, Some(schema)).unwrap();
        let answer = Authorizer::new().is_authorized(&request, rules, &entities);
        assert!(answer.diagnostics().errors().next().is_none());
        answer.decision() == Decision::Allow
    }
}
