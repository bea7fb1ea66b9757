//! The policy of the vectors, as the bundle that a gate gets.

use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Bundle, Currency, Host, Input,
    InputKind, Recording, Risk, Route, RouteTarget, Source, Treatment, Uses,
};

pub(crate) const AUDIENCE: &str = "https://orders.example";

/// `orders.example` with an action of each body rule and a public route; `open.example` is passed
/// through.
pub(crate) fn bundle() -> Bundle {
    let guarded = Treatment::Guarded(vec![
        route("POST", "/orders/{customer}", RouteTarget::Action(0), inputs()),
        route("PUT", "/files", RouteTarget::Action(1), vec![]),
        route("GET", "/orders", RouteTarget::Action(2), vec![]),
        route("GET", "/health", RouteTarget::Public, vec![]),
    ]);
    let upload = Action { body: BodyRule::Unread, ..action("files:upload") };
    Bundle {
        actions: vec![action("orders:create"), upload, action("orders:list")],
        hosts: vec![
            host("orders.example", guarded),
            host("open.example", Treatment::PassedThrough),
        ],
        policy: vec![],
        budgets: vec![],
    }
}

/// One input of each kind and source.
fn inputs() -> Vec<Input> {
    let query = |key: &str| Source::Query(key.into());
    let money = InputKind::Money(Currency::From(query("currency")));
    let input = |name: &str, kind, source| Input {
        name: name.into(),
        record: Recording::of(&kind),
        kind,
        source,
    };
    vec![
        input("customer", InputKind::Text, Source::Path("customer".into())),
        input("amount", money, query("amount")),
        input("count", InputKind::Integer, query("count")),
        input("weight", InputKind::Decimal, query("weight")),
        input("express", InputKind::Boolean, query("express")),
        input("tag", InputKind::Text, Source::Header("x-tag".into())),
    ]
}

fn action(name: &str) -> Action {
    Action {
        name: name.into(),
        risk: Risk::Low,
        scopes_all: vec![],
        scopes_any: vec![],
        assurance: Assurance::Static,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness: 60,
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
        groups: vec![],
    }
}

fn route(method: &str, path: &str, target: RouteTarget, inputs: Vec<Input>) -> Route {
    Route {
        methods: vec![method.into()],
        path: path.into(),
        target,
        inputs,
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    }
}

fn host(name: &str, treatment: Treatment) -> Host {
    Host { names: vec![name.into()], audience: format!("https://{name}"), origin: None, treatment }
}
