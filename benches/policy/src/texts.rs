//! Requests with their gatepasses, all different, and what Cedar decides of them.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema,
};
use gatepass_bench_policy::asked::{AUDIENCE, Asks};
use serde_json::json;

/// One request as Cedar has it, and as the gate does.
pub(crate) struct Texts {
    asks: Asks,
    owner: &'static str,
    blueprint: &'static str,
    context: Vec<(&'static str, String)>,
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
            "iss": "https://desk.example", "aud": [AUDIENCE], "iat": now - 20,
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
            ("budget", "{}".to_owned()),
            ("inputs", format!("{{{inputs}}}")),
        ];
        let asks = Asks {
            action: u32::try_from(action).unwrap(),
            name: format!("orders:a{action}"),
            path,
            target,
            payload: payload.to_string(),
            environment: environment.to_owned(),
            now,
            permitted: false,
        };
        Self { asks, owner, blueprint, context }
    }

    /// With Cedar's decision.
    pub(crate) fn decided(self, rules: &PolicySet, schema: &Schema) -> Asks {
        let permitted = self.is_permitted(rules, schema);
        Asks { permitted, ..self.asks }
    }

    fn is_permitted(&self, rules: &PolicySet, schema: &Schema) -> bool {
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
        let resource = uid("Gatepass::System", AUDIENCE);
        let action = uid("Action", &self.asks.name);
        let request = Request::new(agent, action, resource, context, Some(schema)).unwrap();
        let answer = Authorizer::new().is_authorized(&request, rules, &entities);
        assert!(answer.diagnostics().errors().next().is_none());
        answer.decision() == Decision::Allow
    }
}
