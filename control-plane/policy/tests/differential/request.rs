//! Requests with their gatepasses: as the gate has them (a payload, a target, a body, which are really read) and
//! as Cedar has them, both made of the same values and neither of the other.

use gatepass_engine::budget::Budgets;
use gatepass_engine::bundle::{Bundle, Input, RouteTarget, Treatment};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::policy::{Asked, Facts, Net, Rules, inputs_with_document};
use gatepass_engine::target::Target;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::pools::{
    ACTIONS, AGENTS, BLUEPRINTS, BUDGETS, CURRENCIES, DECIMALS, ENVIRONMENTS, LARGE, LONGS, NOW,
    PERSONS, SCOPES, TAGS, TEXTS, quoted,
};
use crate::writer::entity;

pub(crate) mod values;

/// One request.
pub(crate) struct Sample {
    pub(crate) at: At,
    pub(crate) audience: String,
    target: String,
    body: String,
    /// A gatepass's payload.
    payload: String,
    environment: &'static str,
    now: u64,
    source: Option<Net>,
    /// Cedar's.
    pub(crate) agent: &'static str,
    pub(crate) blueprint: &'static str,
    pub(crate) owner: &'static str,
    /// Names and values, as Cedar writes them.
    pub(crate) context: Vec<(&'static str, String)>,
    /// The same of `context.inputs`.
    pub(crate) inputs: Vec<(String, String)>,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) struct At {
    /// The action's number in the bundle.
    pub(crate) action: usize,
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
}

/// Of each action: method, host, path.
const ROUTES: &[(&str, &str, &str)] = &[
    ("POST", "orders.example", "/orders"),
    ("GET", "orders.example", "/orders"),
    ("DELETE", "bulk.example", "/bulk"),
    ("POST", "bulk.example", "/bulk"),
    ("PUT", "bulk.example", "/files"),
];

impl Sample {
    pub(crate) fn roll(dice: &mut Dice, bundle: &Bundle) -> Self {
        let action = dice.roll(ACTIONS.len());
        let (method, host, path) = ROUTES[action];
        let at = At { action, name: ACTIONS[action], method, host, path };
        Self::with(dice, at, None, |dice| {
            let taken = values::Taken::roll(dice, action, &bundle.budgets);
            let mut inputs = values::Inputs::default();
            inputs.roll(dice, action);
            (taken, inputs)
        })
    }

    /// Of an address, with what was taken of budgets and with inputs.
    pub(crate) fn with(
        dice: &mut Dice,
        at: At,
        source: Option<&str>,
        values: impl FnOnce(&mut Dice) -> (values::Taken, values::Inputs),
    ) -> Self {
        let At { method, host, path, .. } = at;
        let (agent, owner) = (dice.pick(AGENTS), dice.pick(PERSONS));
        let blueprint = dice.pick(BLUEPRINTS);
        let now = NOW + dice.pick(&[0, 1, 3_600, 57_600, 86_399, 86_400, 1_000_000]);
        let issued = now - dice.pick(&[0, 20, 600]);
        let expires = issued + dice.pick(&[700, 1_200, 3_600]);
        let environment = dice.pick(ENVIRONMENTS);
        let assurance = dice.pick(&["static", "federated", "attested"]);
        let scopes = dice.some(SCOPES);
        let through: Vec<&str> = dice.some(AGENTS);
        let for_person = dice.percent(40);
        // `sub` is the last of those that it was passed on through.
        let subject = match (for_person, through.last()) {
            (true, _) => dice.pick(PERSONS),
            (false, Some(last)) => last,
            (false, None) => agent,
        };
        let mut chain = json!(null);
        for (nth, sub) in through.iter().rev().chain([&agent]).enumerate() {
            let acting = nth == through.len();
            let of = if acting { (owner, blueprint) } else { (PERSONS[0], BLUEPRINTS[0]) };
            let mut link = json!({"sub": sub, "owner": of.0, "blueprint": of.1});
            if nth > 0 {
                link["act"] = chain;
            }
            chain = link;
        }
        let mut claims = json!({
            "iss": "https://desk.example", "aud": [format!("https://{host}")],
            "iat": issued, "exp": expires, "jti": dice.pick(&["jti-1", "a"]), "seq": [7, 50],
            "sub": subject, "act": chain, "client_id": agent, "owner": owner,
            "blueprint": blueprint, "scope": scopes.join(" "),
            "txn": dice.pick(&["task-1", "prod"]), "env": environment, "assurance": assurance,
        });
        let approved =
            dice.percent(50).then(|| (dice.pick(&["a", "approval-1"]), dice.pick(PERSONS)));
        if let Some((id, by)) = approved {
            claims["approval"] =
                json!({"id": id, "by": by, "at": now, "amr": ["pwd"], "digest": "A".repeat(43)});
        }
        let (taken, inputs) = values(dice);
        claims["budget"] = taken.claim;
        let target = match inputs.query.as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let agents: Vec<String> =
            through.iter().map(|agent| entity("Gatepass::Agent", agent)).collect();
        let scopes: Vec<String> = scopes.into_iter().map(quoted).collect();
        let path_text = quoted(path);
        let from = source.map_or(String::new(), |text| format!(", source: ip({})", quoted(text)));
        let mut context = vec![
            ("environment", quoted(environment)),
            (
                "request",
                format!(
                    "{{method: {}, host: {}, path: {path_text}, route: {path_text}, time: {}{from}}}",
                    quoted(method),
                    quoted(host),
                    moment(now)
                ),
            ),
            (
                "gatepass",
                format!(
                    "{{id: {}, scopes: [{}], assurance: {}, issued: {}, expires: {}, subject: {}, through: [{}]}}",
                    text(&claims["jti"]),
                    scopes.join(", "),
                    quoted(assurance),
                    moment(issued),
                    moment(expires),
                    quoted(subject),
                    agents.join(", ")
                ),
            ),
            ("task", format!("{{id: {}}}", text(&claims["txn"]))),
            ("budget", format!("{{{}}}", taken.cedar.join(", "))),
        ];
        if let Some((id, by)) = approved {
            let by = entity("Gatepass::Person", by);
            context.push(("approval", format!("{{id: {}, by: {by}}}", quoted(id))));
        }
        Self {
            at,
            audience: format!("https://{host}"),
            target,
            body: Value::Object(inputs.body).to_string(),
            payload: claims.to_string(),
            environment,
            now,
            source: source.map(|text| Net::of(text.parse().unwrap())),
            agent,
            blueprint,
            owner,
            context,
            inputs: inputs.cedar,
        }
    }

    /// As the gate reads it, with a request and before there is one.
    pub(crate) fn read<T>(
        &self,
        bundle: &Bundle,
        rules: &Rules,
        then: impl FnOnce(&Facts<'_>, &Facts<'_>) -> T,
    ) -> T {
        let claims = Claims::parse(self.payload.as_bytes()).unwrap();
        let target = Target::parse(self.target.as_bytes()).unwrap();
        let wanted = inputs_of(bundle, self.at.name);
        let inputs = inputs_with_document(wanted, &target, &[], self.body.as_bytes()).unwrap();
        let place = |name: &str| wanted.iter().position(|input| input.name == name);
        let places: Vec<u8> = rules
            .inputs()
            .map(|name| place(name).map_or(u8::MAX, |at| u8::try_from(at).unwrap()))
            .collect();
        let before = Facts {
            claims: &claims,
            environment: self.environment,
            // It is issued before it is used.
            now: claims.iat,
            action: self.at.name,
            budgets: Budgets::of(&bundle.budgets, u32::try_from(self.at.action).unwrap()),
            asked: None,
        };
        let asked = Asked {
            audience: &self.audience,
            method: self.at.method,
            host: self.at.host,
            path: target.path,
            route: target.path,
            source: self.source.as_ref(),
            inputs: &inputs,
            places: &places,
        };
        let now = UnixSeconds(self.now);
        then(&Facts { asked: Some(asked), now, ..before }, &before)
    }

    pub(crate) fn shown(&self) -> String {
        let inputs = self.inputs.iter().map(|(name, value)| format!("{name}: {value}"));
        let inputs = format!("inputs: {{{}}}", inputs.collect::<Vec<_>>().join(", "));
        let context = self.context.iter().map(|(name, value)| format!("{name}: {value}"));
        let context: Vec<String> = context.chain([inputs]).collect();
        format!(
            "action {} by {} of {} and {}\n{} {}{}\n{}\n{}\ncontext: {{{}}}",
            self.at.name,
            self.agent,
            self.blueprint,
            self.owner,
            self.at.method,
            self.at.host,
            self.target,
            self.body,
            self.payload,
            context.join(", ")
        )
    }
}

/// Of an action: all its routes have the same.
fn inputs_of<'b>(bundle: &'b Bundle, name: &str) -> &'b [Input] {
    let routes = bundle.hosts.iter().filter_map(|host| match &host.treatment {
        Treatment::Guarded(routes) => Some(routes),
        Treatment::PassedThrough => None,
    });
    let of = |target: RouteTarget| matches!(target, RouteTarget::Action(at) if bundle.actions[at as usize].name == name);
    let mut found = routes.flatten().filter(|route| of(route.target));
    &found.next().unwrap().inputs
}

fn text(value: &Value) -> String {
    quoted(value.as_str().unwrap())
}

fn moment(seconds: u64) -> String {
    format!("datetime(\"1970-01-01\").offset(duration(\"{seconds}s\"))")
}
