//! Stands in for the compiler until it is there.
use gatepass_engine::bundle::*;

use super::world::Failed;

pub(crate) fn bundle(policy: &str) -> Result<Bundle, Failed> {
    let short = policy.contains("staleness: 3s");
    let action = |name: &str, risk: Risk, staleness: u32| Action {
        name: name.into(),
        risk,
        scopes_all: vec![],
        scopes_any: vec![],
        assurance: if risk == Risk::Low {
            Assurance::Static
        } else {
            Assurance::Federated
        },
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness,
        body: BodyRule::None,
        approval: false,
        mode: ActionMode::Enforce,
    };
    let mut actions = vec![
        action("orders:create", Risk::High, if short { 3 } else { 10 }),
        action("orders:read", Risk::Low, 30),
        action("orders:note", Risk::Low, 900),
        action("orders:audit", Risk::Low, 900),
        action("orders:wipe", Risk::High, 10),
    ];
    if let [create, _, note, audit, wipe] = actions.as_mut_slice() {
        create.scopes_all.push("orders.write".into());
        note.body = BodyRule::Unread;
        audit.mode = ActionMode::Shadow;
        wipe.approval = true;
    }
    let route = |method: &str, path: &str, target: RouteTarget, inputs: Vec<Input>| Route {
        methods: vec![method.into()],
        path: path.into(),
        target,
        inputs,
        mcp: None,
        max_duration: 60,
        upgrade: None,
    };
    let query = |key: &str| Source::Query(key.into());
    let input = |name: &str, kind, source| Input {
        name: name.into(),
        kind,
        source,
    };
    let routes = vec![
        route(
            "POST",
            "/orders",
            RouteTarget::Action(0),
            vec![
                input(
                    "amount",
                    InputKind::Money(Currency::From(query("currency"))),
                    query("amount"),
                ),
                input("item", InputKind::Text, query("item")),
            ],
        ),
        route("GET", "/orders", RouteTarget::Action(1), vec![]),
        route(
            "GET",
            "/orders/{id}",
            RouteTarget::Action(1),
            vec![input("id", InputKind::Text, Source::Path("id".into()))],
        ),
        route("POST", "/orders/{id}/notes", RouteTarget::Action(2), vec![]),
        route("GET", "/audit", RouteTarget::Action(3), vec![]),
        route("DELETE", "/orders", RouteTarget::Action(4), vec![]),
        route("GET", "/healthz", RouteTarget::Public, vec![]),
    ];
    let host = |name: &str, treatment| Host {
        names: vec![format!("{name}.example")],
        audience: format!("https://{name}.example"),
        origin: None,
        treatment,
    };
    Ok(Bundle {
        actions,
        hosts: vec![
            host("orders", Treatment::Guarded(routes)),
            host("static", Treatment::PassedThrough),
        ],
        policy: vec![],
    })
}
