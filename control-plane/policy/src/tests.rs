use gatepass_engine::bundle::{
    ActionMode, Assurance, BodyRule, Currency, InputKind, Risk, RouteTarget, Source, Treatment,
};
use gatepass_engine::routes::Index;

use super::*;

mod bodies;
mod budgets;
mod cases;
mod folder;
mod guide;
mod sources;

const WHOLE: &str = "\
actions:
  orders:create:
    risk: high
    scopes: {all: [orders.write], any: [a, b]}
    assurance: attested
    max_age: 120s
    staleness: 5s
    body: none
    approval: true
    mode: shadow
  orders:read:
    risk: low
  notes:write:
    risk: medium
    body: unread
hosts:
  - names: [orders.example, orders.internal]
    audience: https://orders.example
    origin: https://orders.example
    routes:
      - match: POST,PUT /orders/{id}
        action: orders:create
        max_duration: 5m
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
          fee: {type: money, query: fee, currency: EUR}
          id: {type: text, path: id}
          team: {type: text, header: x-team}
          count: {type: integer, query: count}
          rate: {type: decimal, query: rate}
          rush: {type: boolean, query: rush}
      - match: GET /orders
        action: orders:read
      - match: POST /notes
        action: notes:write
      - match: GET /healthz
        public: true
  - names: [static.example]
    audience: https://static.example
    pass_through: true
";

/// A policy around one changed line, so that line numbers stay the same.
const SMALL: &str = "\
actions:
  read:
    risk: low
    body: none
hosts:
  - names: [h.example]
    audience: https://h.example
    routes:
      - match: GET /a/{id}
        action: read
        inputs:
          id: {type: text, path: id}
";

fn problems(yaml: &str) -> Vec<String> {
    match compile(yaml) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// `SMALL` with one text exchanged has exactly this problem; `SMALL` itself has none.
fn check(from: &str, to: &str, expected: &str) {
    assert_eq!(problems(SMALL), [] as [&str; 0]);
    assert!(SMALL.contains(from), "{from}");
    let found = problems(&SMALL.replace(from, to));
    assert_eq!(found.len(), 1, "{to}: {found:#?}");
    assert!(found[0].starts_with(expected), "{to}:\n {}\n {expected}", found[0]);
}

#[test]
fn every_field_is_lowered() {
    let bundle = compile(WHOLE).unwrap().bundle;
    assert!(Index::build(bundle.clone()).is_ok());
    let [create, read, notes] = bundle.actions.as_slice() else { panic!("three actions") };
    assert_eq!((create.name.as_str(), create.risk), ("orders:create", Risk::High));
    assert_eq!(create.scopes_all, ["orders.write"]);
    assert_eq!(create.scopes_any, ["a", "b"]);
    assert_eq!(create.assurance, Assurance::Attested);
    assert_eq!((create.max_age, create.staleness), (Some(120), 5));
    assert!(create.approval);
    assert_eq!(create.mode, ActionMode::Shadow);
    assert_eq!((read.assurance, read.staleness), (Assurance::Static, 900));
    assert_eq!((read.max_age, read.approval, read.mode), (None, false, ActionMode::Enforce));
    assert_eq!((notes.assurance, notes.staleness), (Assurance::Federated, 60));
    assert_eq!(notes.body, BodyRule::Unread);
    let [orders, passed] = bundle.hosts.as_slice() else { panic!("two hosts") };
    assert_eq!(orders.names, ["orders.example", "orders.internal"]);
    assert_eq!(orders.origin.as_deref(), Some("https://orders.example"));
    assert_eq!(passed.treatment, Treatment::PassedThrough);
    let Treatment::Guarded(routes) = &orders.treatment else { panic!("guarded") };
    assert_eq!(routes[0].methods, ["POST", "PUT"]);
    assert_eq!(routes[0].path, "/orders/{id}");
    assert_eq!((routes[0].max_duration, routes[1].max_duration), (300, 60));
    assert_eq!(routes[3].target, RouteTarget::Public);
    assert_eq!(routes[2].target, RouteTarget::Action(2));
    let kinds: Vec<&InputKind> = routes[0].inputs.iter().map(|input| &input.kind).collect();
    let from = Currency::From(Source::Query("currency".into()));
    assert_eq!(
        kinds,
        [
            &InputKind::Money(from),
            &InputKind::Money(Currency::Fixed("EUR".into())),
            &InputKind::Text,
            &InputKind::Text,
            &InputKind::Integer,
            &InputKind::Decimal,
            &InputKind::Boolean,
        ]
    );
    assert_eq!(routes[0].inputs[2].source, Source::Path("id".into()));
    assert_eq!(routes[0].inputs[3].source, Source::Header("x-team".into()));
}

#[test]
fn the_example_compiles() {
    let bundle = compile(include_str!("../example.yaml")).unwrap().bundle;
    assert_eq!((bundle.actions.len(), bundle.hosts.len()), (2, 2));
}

#[test]
fn an_action_is_told_of_at_its_field() {
    check("risk: low", "risk: none", "3:11: expected `low`, `medium` or `high`, found `none`");
    check("risk: low", "mode: shadow", "3:5: action `read` needs `risk`");
    check(
        "risk: low",
        "risk: low\n    risks: low",
        "4:5: unknown field `risks`; an action takes `risk`, `scopes`,",
    );
    check("risk: low", "risk: low\n    risk: low", "4:5: `risk` is there twice");
    check("body: none", "scopes: [a]", "4:13: expected the fields of `scopes`, found a list");
    check(
        "body: none",
        "scopes: {some: [a]}",
        "4:14: unknown field `some`; `scopes` takes `all` or `any`",
    );
    check("body: none", "scopes: {all: [a b]}", "4:13: scope `a b` must be 1 to 128");
    check(
        "body: none",
        "scopes: {all: [1]}",
        "4:20: expected scopes, found the number `1`; put it in quotes",
    );
    check("body: none", "assurance: strong", "4:16: expected `static`, `federated` or `attested`");
    check(
        "body: none",
        "max_age: 30",
        "4:14: expected a duration such as `30s`, `5m` or `1h`, found the number `30`",
    );
    check("body: none", "max_age: 1.5h", "4:14: expected a duration");
    check("body: none", "max_age: 9999999999h", "4:14: expected a duration");
    check("body: none", "max_age: s", "4:14: expected a duration");
    check("body: none", "max_age: é", "4:14: expected a duration");
    check("body: none", "staleness: 2s", "4:16: a staleness bound of 2 s must be 3 to 3600 s");
    check(
        "body: none",
        "body: read",
        "4:11: expected `none`, `unread`, `digest`, `json` or `form`",
    );
    check("body: none", "approval: yes", "4:15: expected `true` or `false`, found `yes`");
    check("body: none", "mode: off", "4:11: expected `enforce` or `shadow`");
    check("body: none", "bindings: key", "4:5: unknown field `bindings`");
    check("body: none", "uses: twice", "4:11: expected `unlimited` or `once`, found `twice`");
    let found =
        problems(&SMALL.replace("  read:", "  Read:").replace("action: read", "action: Read"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("2:3: action name `Read` must match"));
}

#[test]
fn what_is_not_read_is_neither_held_to_inputs_nor_approved() {
    check("body: none", "body: unread", "12:11: action `read` passes its body unread");
    let approval = "body: unread\n    approval: true";
    let without_inputs =
        SMALL.replace("        inputs:\n          id: {type: text, path: id}\n", "");
    assert_eq!(problems(&without_inputs.replace("body: none", "body: unread")), [] as [&str; 0]);
    let found = problems(&without_inputs.replace("body: none", approval));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("4:11: action `read` asks for approval of what it does not read"));
    let with_none = without_inputs.replace("body: none", "body: none\n    approval: true");
    assert_eq!(problems(&with_none), [] as [&str; 0]);
}

#[test]
fn a_static_secret_is_for_low_risk_only() {
    let low = SMALL.replace("body: none", "assurance: static");
    assert_eq!(problems(&low), [] as [&str; 0]);
    let medium = low.replace("risk: low", "risk: medium");
    assert_eq!(problems(&medium).len(), 1);
    assert!(problems(&medium)[0].starts_with("4:16: `assurance: static` is for low-risk"));
}

#[test]
fn a_host_is_told_of_at_its_field() {
    check("[h.example]", "[H.example]", "6:12: host name `H.example` must be a lower-case name");
    check("[h.example]", "[]", "6:12: a host needs a name; write `names: [orders.example]`");
    check("[h.example]", "[h.example:80]", "6:12: host name `h.example:80`");
    check("[h.example]", "[h.example, h.example]", "6:12: host `h.example` occurs twice");
    check("[h.example]", "h.example", "6:12: expected a list of host names, found `h.example`");
    check("https://h.example", "h.example", "7:15: audience `h.example` must be an absolute URI");
    check(
        "https://h.example",
        "https://h.example\n    origin: h",
        "8:13: the public origin must be an absolute URI",
    );
    check(
        "https://h.example",
        "https://h.example\n    pass_through: true",
        "10:7: a host that is passed through has no routes",
    );
    check("names: [h.example]", "origin: https://h.example", "6:5: a host needs `names`");
    check(
        "audience: https://h.example",
        "origin: https://h.example",
        "6:5: a host needs `audience`",
    );
    let second = "  - names: [b.example]\n    audience: https://b.example\n";
    let found = problems(&format!("{SMALL}{second}"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .starts_with("13:5: a host needs `routes`; list them, or write `pass_through: true`")
    );
    assert_eq!(problems(&format!("{SMALL}{second}    pass_through: true\n")), [] as [&str; 0]);
    assert_eq!(problems(&format!("{SMALL}{second}    routes: []\n")), [] as [&str; 0]);
}

#[test]
fn a_route_is_told_of_at_its_field() {
    check("GET /a/{id}", "GET", "9:16: expected a method and a path, found `GET`");
    check("GET /a/{id}", "GET, HEAD /a/{id}", "9:16: expected a method and a path");
    check("GET /a/{id}", "get /a/{id}", "9:16: method `get` must be upper-case letters");
    check("GET /a/{id}", "CONNECT /a/{id}", "9:16: method `CONNECT` must be");
    check("GET /a/{id}", "GET,GET /a/{id}", "9:16: method `GET` occurs twice");
    check("GET /a/{id}", "GET a/{id}", "9:16: path `a/{id}` must start with `/`");
    check("GET /a/{id}", "GET /a//{id}", "9:16: path `/a//{id}` could never match");
    check("GET /a/{id}", "GET /x{id}/{id}", "9:16: segment `x{id}` of path");
    check("GET /a/{id}", "GET /{id}/{id}", "9:16: parameter `{id}` of path");
    check("action: read", "action: write", "10:17: no action `write`; `actions` defines `read`");
    check(
        "action: read",
        "public: true\n        action: read",
        "11:17: a public route has no action",
    );
    check("action: read", "public: true", "12:11: a route with inputs needs an action");
    check("action: read", "public: false", "9:9: a route needs `action`");
    check(
        "action: read",
        "action: read\n        max_duration: 2h",
        "11:23: a maximum duration must be 1 to 3600 s",
    );
    check(
        "action: read",
        "action: read\n        mpc: x",
        "11:9: unknown field `mpc`; a route takes `match`,",
    );
}

#[test]
fn an_upgrade_needs_a_name_that_is_known_and_a_body_that_is_not_read() {
    check(
        "action: read",
        "action: read\n        upgrade: h2c",
        "11:18: upgrade `h2c` must be one of",
    );
    check(
        "action: read",
        "action: read\n        upgrade: websocket",
        "11:18: a route with `upgrade` needs an action with `body: unread`",
    );
    let unread = "actions:\n  chat: {risk: low, body: unread}\nhosts:\n  - names: [a.example]\n    \
                  audience: https://a.example\n    routes:\n      - match: GET /chat\n        \
                  action: chat\n        upgrade: websocket\n";
    let bundle = compile(unread).unwrap().bundle;
    let Treatment::Guarded(routes) = &bundle.hosts[0].treatment else { panic!("guarded") };
    assert_eq!(routes[0].upgrade.as_deref(), Some("websocket"));
}

#[test]
fn two_routes_of_the_same_shape_are_refused_at_the_second() {
    let route = "      - match: GET /a/{other}\n        action: read\n";
    let found = problems(&format!("{SMALL}{route}"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("13:16: `GET /a/{other}` is as specific as another route"),
        "{found:?}"
    );
    let literal = route.replace("{other}", "other");
    assert_eq!(problems(&format!("{SMALL}{literal}")), [] as [&str; 0]);
}

#[test]
fn an_input_is_told_of_at_its_field() {
    let input = "id: {type: text, path: id}";
    check(
        input,
        "id: {type: number, path: id}",
        "12:22: expected `text`, `integer`, `decimal`, `money`, `boolean` or `set`",
    );
    check(input, "id: {path: id}", "12:15: input `id` needs `type`");
    check(
        input,
        "id: {type: text}",
        "12:15: input `id` needs exactly one source; write one of `path`, `query`, `header`, `body` or `argument`",
    );
    check(
        input,
        "id: {type: text, path: id, query: id}",
        "12:38: input `id` needs exactly one source",
    );
    check(input, "id: {type: text, path: other}", "12:34: the path has no parameter `{other}`");
    check(input, "id: {type: text, query: 'a[]'}", "12:35: query key `a[]` must match");
    check(input, "id: {type: text, header: X-Team}", "12:36: header `X-Team` must match");
    check(
        input,
        "id: {type: text, header: authorization}",
        "12:36: header `authorization` must match",
    );
    check(
        input,
        "id: {type: text, path: id, body: id}",
        "12:38: input `id` needs exactly one source",
    );
    check(
        input,
        "id: {type: text, path: id, cookie: id}",
        "12:38: unknown field `cookie`; an input takes `type`, `path`, `query`, `header`, `body`,",
    );
    check(input, "Id: {type: text, path: id}", "12:11: input `Id` needs a name of its own");
    check(input, "id: {type: money, path: id}", "12:15: input `id` is money without a currency");
    check(
        input,
        "id: {type: money, path: id, currency: eur}",
        "12:49: currency `eur` must be three upper-case letters",
    );
    check(
        input,
        "id: {type: money, path: id, currency: {query: c, header: c}}",
        "12:60: `currency` needs exactly one source",
    );
    check(
        input,
        "id: {type: money, path: id, currency: {path: c}}",
        "12:56: the path has no parameter `{c}`",
    );
    check(input, "id: {type: text, path: id, currency: EUR}", "12:48: only money has a currency");
    check(input, "id: text", "12:15: expected the fields of an input, found `text`");
}

#[test]
fn what_is_no_policy_is_told_of() {
    for (yaml, expected) in [
        ("", "1:1: the policy is empty"),
        ("# nothing\n", "2:1: the policy is empty"),
        ("[]", "1:1: expected the fields of a policy, found a list"),
        (
            "host: []\nhosts: []",
            "1:1: unknown field `host`; a policy takes `environment`, `defaults`, `actions`, `hosts` or `budgets`",
        ),
        ("actions: {}\n", "1:1: a policy needs `hosts`"),
        ("hosts:\n", "1:6: expected a list of hosts, found nothing"),
        ("hosts: [}", "1:8: not YAML: mismatched bracket"),
        ("hosts: []\n---\nhosts: []\n", "3:1: a second YAML document"),
        ("hosts: []\n1: x\n", "2:1: expected a name, found the number `1`"),
        ("hosts: *x\n", "1:8: not YAML: alias references unknown anchor"),
    ] {
        let found = problems(yaml);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{yaml:?}: {found:#?}");
    }
    assert_eq!(problems("hosts: []"), [] as [&str; 0]);
    assert!(problems(&" ".repeat(MAX_BYTES + 1))[0].contains("over"));
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_text() {
    let yaml = SMALL
        .replace("risk: low", "risk: low\n    staleness: 1s\n    tier: 1")
        .replace("h.example]", "H.example]")
        .replace("{type: text, path: id}", "{type: text, path: other}");
    let places: Vec<(u64, u64)> =
        compile(&yaml).unwrap_err().iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(4, 16), (5, 5), (8, 12)]);
    // With a host that is sound, what is inside it is told of too.
    let places: Vec<(u64, u64)> = compile(&yaml.replace("H.example", "h.example"))
        .unwrap_err()
        .iter()
        .map(|problem| (problem.line, problem.column))
        .collect();
    assert_eq!(places, [(4, 16), (5, 5), (14, 34)]);
}

#[test]
fn the_report_points_at_the_place() {
    let yaml = SMALL.replace("risk: low", "risk: none");
    let text = report(&compile(&yaml).unwrap_err());
    assert_eq!(
        text,
        "policy.yaml:3:11: error: expected `low`, `medium` or `high`, found `none`\n    3 |     risk: none\n      |           ^\n"
    );
}

#[test]
fn limits_hold() {
    let many: String = (0..80).map(|n| format!("f{n}: 1\n")).collect();
    assert_eq!(compile(&many).unwrap_err().len(), MAX_PROBLEMS);
    let deep = format!("hosts: {}", "[".repeat(100_000));
    assert_eq!(compile(&deep).unwrap_err().len(), 1);
    let nested = |depth: usize| {
        problems(&format!("hosts: {}{}", "[".repeat(depth), "]".repeat(depth))).concat()
    };
    assert!(!nested(15).contains("not YAML"), "{}", nested(15));
    assert!(nested(16).contains("not YAML"));
    assert!(nested(60).contains("not YAML"), "and not a stack that overflows");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    assert!(compile(bomb).is_err());
}
