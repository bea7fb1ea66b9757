//! Policies of several files: what each may say, and each mistake at its place in its file.

use gatepass_engine::bundle::{Bundle, Route};

use super::*;

const WHOLE: &str = "\
environment: prod
defaults:
  assurance: attested
  max_age: 2m
  staleness: {medium: 30s}
  max_duration: 90s
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /healthz
        public: true
  - names: [static.example]
    audience: https://static.example
    pass_through: true
";

const ORDERS: &str = "\
actions:
  orders:create:
    risk: medium
    body: json
    inputs:
      amount: {type: money, body: /amount, currency: EUR}
      item: {type: text, body: /item}
    routes:
      - match: POST /orders
      - match: PUT /orders/{id}
        host: orders.example
        max_duration: 30s
        inputs:
          item: {type: text, path: id}
  orders:read:
    risk: low
    assurance: static
    max_age: 1h
    routes:
      - match: GET /orders
";

fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(name, text): &(&str, &str)| SourceFile {
        name: (*name).to_owned(),
        text: (*text).to_owned(),
    };
    files.iter().map(file).collect()
}

fn found(result: Result<Compiled, Vec<Problem>>) -> Vec<String> {
    let problems = result.err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}:{problem}", problem.file)).collect()
}

fn compiled(whole: &str, orders: &str) -> Result<Compiled, Vec<Problem>> {
    let sources = files(&[("gatepass.yaml", whole), ("actions/orders.yaml", orders)]);
    compile_sources(&Sources::folder(sources)?)
}

/// The folder with one text of it exchanged has exactly this problem; without, none.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    let changed = |text: &str| text.replacen(from, to, 1);
    assert!(WHOLE.contains(from) || ORDERS.contains(from), "{from}");
    let found = found(compiled(&changed(WHOLE), &changed(ORDERS)));
    assert_eq!(found.len(), 1, "{to}: {found:#?}");
    assert!(found[0].starts_with(expected), "{to}:\n {}\n {expected}", found[0]);
}

fn routes(bundle: &Bundle) -> &[Route] {
    match &bundle.hosts[0].treatment {
        Treatment::Guarded(routes) => routes,
        Treatment::PassedThrough => panic!("guarded"),
    }
}

#[test]
fn the_files_of_a_folder_are_one_policy() {
    let Compiled { bundle, environment, warnings } = compiled(WHOLE, ORDERS).unwrap();
    assert!(Index::build(bundle.clone()).is_ok());
    assert_eq!((environment.as_deref(), warnings.len()), (Some("prod"), 0));
    let lines: Vec<(&str, &str, RouteTarget)> = routes(&bundle)
        .iter()
        .map(|route| (route.methods[0].as_str(), route.path.as_str(), route.target))
        .collect();
    assert_eq!(
        lines,
        [
            ("GET", "/healthz", RouteTarget::Public),
            ("POST", "/orders", RouteTarget::Action(0)),
            ("PUT", "/orders/{id}", RouteTarget::Action(0)),
            ("GET", "/orders", RouteTarget::Action(1)),
        ]
    );
}

#[test]
fn actions_and_routes_take_the_defaults_that_they_do_not_state() {
    let bundle = compiled(WHOLE, ORDERS).unwrap().bundle;
    let of = |action: &gatepass_engine::bundle::Action| {
        (action.assurance, action.max_age, action.staleness)
    };
    assert_eq!(of(&bundle.actions[0]), (Assurance::Attested, Some(120), 30));
    assert_eq!(of(&bundle.actions[1]), (Assurance::Static, Some(3600), 900));
    let durations: Vec<u32> = routes(&bundle).iter().map(|route| route.max_duration).collect();
    assert_eq!(durations, [90, 90, 30, 90]);
    // A default is never weaker than what the risk asks for.
    let bundle = compiled(&WHOLE.replace("attested", "static"), ORDERS).unwrap().bundle;
    assert_eq!(bundle.actions[0].assurance, Assurance::Federated);
    let low = ORDERS.replace("medium", "low");
    let bundle = compiled(&WHOLE.replace("attested", "static"), &low).unwrap().bundle;
    assert_eq!(bundle.actions[0].assurance, Assurance::Static);
}

#[test]
fn the_inputs_of_an_action_are_those_of_its_routes_but_for_their_own() {
    let bundle = compiled(WHOLE, ORDERS).unwrap().bundle;
    let sources = |at: usize| -> Vec<(&str, &Source)> {
        let inputs = routes(&bundle)[at].inputs.iter();
        inputs.map(|input| (input.name.as_str(), &input.source)).collect()
    };
    let (amount, item) = (Source::Body("/amount".into()), Source::Body("/item".into()));
    let id = Source::Path("id".into());
    assert_eq!(sources(1), [("amount", &amount), ("item", &item)]);
    assert_eq!(sources(2), [("item", &id), ("amount", &amount)]);
    assert_eq!((sources(0).len(), sources(3).len()), (0, 0));
    // Also of a route that the host lists.
    let listed = WHOLE.replace(
        "public: true",
        "public: true\n      - match: POST /v2/orders\n        action: orders:create",
    );
    let bundle = compiled(&listed, ORDERS).unwrap().bundle;
    assert_eq!(routes(&bundle)[1].inputs.len(), 2);
}

#[test]
fn one_document_says_the_same() {
    let one = format!("{WHOLE}{ORDERS}");
    assert_eq!(compile(&one).unwrap(), compiled(WHOLE, ORDERS).unwrap());
}

#[test]
fn the_whole_document_is_told_of_at_its_field() {
    check("environment: prod", "environment: a b", "gatepass.yaml:1:14: environment `a b` must be");
    check("environment: prod", "environment: 1", "gatepass.yaml:1:14: expected the name");
    check(
        "environment: prod",
        "env: prod",
        "gatepass.yaml:1:1: unknown field `env`; a policy takes",
    );
    check(
        "environment: prod",
        "environment: p\nenvironment: p",
        "gatepass.yaml:2:1: `environment` is there twice",
    );
    check("assurance: attested", "assurance: some", "gatepass.yaml:3:14: expected `static`,");
    check("max_age: 2m", "max_age: 2", "gatepass.yaml:4:12: expected a duration");
    check(
        "max_age: 2m",
        "audit: confirmed",
        "gatepass.yaml:4:3: unknown field `audit`; `defaults` takes",
    );
    check(
        "{medium: 30s}",
        "30s",
        "gatepass.yaml:5:14: expected the fields of `staleness` of `defaults`",
    );
    check("{medium: 30s}", "{some: 30s}", "gatepass.yaml:5:15: unknown field `some`");
    // What the engine refuses of a default is told of where the default is.
    check("{medium: 30s}", "{medium: 1s}", "gatepass.yaml:5:23: a staleness bound of 1 s");
    check(
        "max_duration: 90s",
        "max_duration: 2h",
        "gatepass.yaml:6:17: a maximum duration must be",
    );
    check("hosts:", "actions: []\nhosts:", "gatepass.yaml:7:10: expected the fields of `actions`");
}

#[test]
fn an_action_of_a_file_is_told_of_at_its_place() {
    let orders = "actions/orders.yaml";
    check("risk: medium", "risk: none", &format!("{orders}:3:11: expected `low`, `medium`"));
    check("risk: medium", "risk: medium\n    risk: low", &format!("{orders}:4:5: `risk` is there"));
    check(
        "risk: medium",
        "risk: medium\n    rout: []",
        &format!("{orders}:4:5: unknown field `rout`"),
    );
    check(
        "actions:\n",
        "hosts: []\nactions:\n",
        &format!("{orders}:1:1: unknown field `hosts`; a file"),
    );
    check(
        "orders:read:",
        "orders:create:",
        &format!("{orders}:15:3: `orders:create` is there twice"),
    );
    check("- match: POST /orders", "- match: POST", &format!("{orders}:9:16: expected a method"));
    check(
        "- match: GET /orders",
        "- match: GET /orders\n        action: x",
        &format!("{orders}:21:9: unknown field `action`; a route of an action takes"),
    );
    check(
        "- match: GET /orders",
        "- match: GET /orders\n        public: true",
        &format!("{orders}:21:9: unknown field `public`"),
    );
    check(
        "host: orders.example",
        "host: bills.example",
        &format!(
            "{orders}:11:15: no host `bills.example`; the guarded `hosts` are `orders.example`"
        ),
    );
    check(
        "host: orders.example",
        "host: static.example",
        &format!("{orders}:11:15: host `static.example` is passed through"),
    );
    check("/amount,", "amount,", &format!("{orders}:6:35: `amount` must be a JSON pointer"));
    check("body: /item", "path: id", &format!("{orders}:7:32: the path has no parameter `{{id}}`"));
    check("body: /item", "argument: id", &format!("{orders}:7:36: an `argument` is of a call"));
}

#[test]
fn what_passes_unread_is_held_to_no_inputs_of_action_or_route() {
    let told = found(compiled(WHOLE, &ORDERS.replace("body: json", "body: unread")));
    let starts = told.iter().map(|text| text.split(" which").next().unwrap());
    assert_eq!(
        starts.collect::<Vec<_>>(),
        [
            "actions/orders.yaml:6:7: action `orders:create` passes its body unread,",
            "actions/orders.yaml:14:11: action `orders:create` passes its body unread,",
        ]
    );
}

#[test]
fn two_routes_of_one_request_are_told_of_in_the_file_of_the_second() {
    check(
        "GET /healthz\n        public: true",
        "GET /orders\n        public: true",
        "actions/orders.yaml:20:16: `GET /orders` is as specific as another route",
    );
    check(
        "- match: GET /orders\n",
        "- match: GET /orders\n      - match: PUT /orders/{order}\n",
        "actions/orders.yaml:21:16: `PUT /orders/{order}` is as specific as another route",
    );
}

#[test]
fn where_there_are_two_hosts_a_route_names_one() {
    let second = "  - names: [b.example]\n    audience: https://b.example\n    routes: []\n";
    let two = format!("{WHOLE}{second}");
    let told = found(compiled(&two, ORDERS));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0]
            .starts_with("actions/orders.yaml:9:9: a route of an action needs `host`; the guarded")
    );
    assert!(told[1].starts_with("actions/orders.yaml:20:9: a route of an action needs `host`"));
    let named = ORDERS
        .replace("POST /orders", "POST /orders\n        host: b.example")
        .replace("GET /orders", "GET /orders\n        host: orders.example");
    let bundle = compiled(&two, &named).unwrap().bundle;
    let Treatment::Guarded(routes) = &bundle.hosts[2].treatment else { panic!("guarded") };
    assert_eq!(routes.len(), 1);
}

#[test]
fn a_host_needs_routes_of_its_own_or_of_an_action() {
    let own = "    routes:\n      - match: GET /healthz\n        public: true\n";
    let bare = WHOLE.replace(own, "");
    assert_eq!(found(compiled(&bare, ORDERS)), [] as [&str; 0]);
    let second = "  - names: [b.example]\n    audience: https://b.example\n";
    let named = ORDERS.replace(" /orders\n", " /orders\n        host: orders.example\n");
    let told = found(compiled(&format!("{bare}{second}"), &named));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("gatepass.yaml:13:5: a host needs `routes`"), "{told:#?}");
}

#[test]
fn an_action_is_defined_once_in_all_files() {
    let more = "actions:\n  orders:read: {risk: low, routes: [{match: GET /v2}]}\n";
    let of = |more: &str| {
        let all = files(&[
            ("gatepass.yaml", WHOLE),
            ("actions/orders.yaml", ORDERS),
            ("actions/z.yaml", more),
        ]);
        found(compile_sources(&Sources::folder(all).unwrap()))
    };
    assert_eq!(
        of(more),
        [
            "actions/z.yaml:2:3: action `orders:read` is defined in `actions/orders.yaml` too; keep one of them"
        ]
    );
    assert_eq!(of(&more.replace("orders:read", "orders:list")), [] as [&str; 0]);
}

#[test]
fn the_problems_of_all_files_are_told_at_once() {
    let whole = WHOLE.replace("prod", "'p r'").replace("https://static", "static");
    let orders = ORDERS.replace("risk: medium", "risk: none").replace("GET /orders", "GET");
    let told = found(compiled(&whole, &orders));
    let places: Vec<&str> = told.iter().map(|text| text.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "actions/orders.yaml:3:11",
            "actions/orders.yaml:20:16",
            "gatepass.yaml:1:14",
            "gatepass.yaml:14:15",
        ]
    );
    // What is no YAML hides its own actions, and nothing is told for that.
    let listed = WHOLE.replace("public: true", "action: orders:read");
    let told = found(compiled(&listed, "actions: [}\n"));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("actions/orders.yaml:1:10: not YAML: "), "{told:#?}");
    assert!(found(compiled("hosts: [}", ORDERS))[0].starts_with("gatepass.yaml:1:8: not YAML: "));
    assert_eq!(
        found(compiled("", "")),
        [
            "actions/orders.yaml:1:1: the file is empty; write `actions:`, or remove it",
            "gatepass.yaml:1:1: the policy is empty; write `actions:` and `hosts:`",
        ]
    );
}

#[test]
fn what_is_perhaps_not_meant_is_a_warning() {
    let warnings = |orders: &str| -> Vec<String> {
        let told = compiled(WHOLE, orders).unwrap().warnings;
        assert!(told.iter().all(|problem| problem.level == Level::Warning));
        told.iter().map(|problem| format!("{}:{problem}", problem.file)).collect()
    };
    let without = ORDERS.replace("    routes:\n      - match: GET /orders\n", "");
    let told = warnings(&without);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("actions/orders.yaml:15:3: action `orders:read` has no route"));
    let high = ORDERS.replace("risk: medium", "risk: high");
    let told = warnings(&high);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("actions/orders.yaml:3:11: action `orders:create` has risk `high`")
    );
    let approved = high.replace("body: json", "body: json\n    approval: true");
    assert_eq!(warnings(&approved), [] as [&str; 0]);
    assert_eq!(
        report(&compiled(WHOLE, &high).unwrap().warnings),
        "actions/orders.yaml:3:11: warning: action `orders:create` has risk `high` and needs no approval
    3 |     risk: high
      |           ^
      = write `approval: true` where a human is to agree to each request\n"
    );
}

fn with_rules(orders: &str, rules: &str) -> Result<Compiled, Vec<Problem>> {
    let all = files(&[
        ("gatepass.yaml", WHOLE),
        ("actions/orders.yaml", orders),
        ("limits/spend.cedar", rules),
    ]);
    compile_sources(&Sources::folder(all).unwrap())
}

#[test]
fn rules_are_compiled_with_the_actions_that_they_speak_of() {
    let compiled = with_rules(ORDERS, "permit (principal, action, resource);\n").unwrap();
    assert_eq!(compiled.warnings, []);
    assert!(!compiled.bundle.policy.is_empty());
    assert!(gatepass_engine::routes::Index::build(compiled.bundle).is_ok());
    // Rules of which all are gone permit nothing, and say so.
    let empty = with_rules(ORDERS, "// permit (principal, action, resource);\n").unwrap();
    assert!(!empty.bundle.policy.is_empty());
    let said: Vec<&str> = empty.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert!(
        said.iter().any(|said| said.starts_with("no rule permits `orders:create`")),
        "{said:?}"
    );
}

#[test]
fn what_is_wrong_with_a_rule_is_told_in_its_file() {
    let nothing = "permit (principal, action, resource)\nwhen { context.inputs.price == 1 };\n";
    let told = found(with_rules(ORDERS, nothing));
    assert!(told[0].starts_with("limits/spend.cedar:2:8: "), "{told:?}");
    let twin = nothing.replace("inputs.price == 1", "environment == \"prod\"");
    assert!(with_rules(ORDERS, &twin).is_ok());
    // What is wrong with the actions is told first: rules would be told of for it.
    let wrong = ORDERS.replace("risk: medium", "risk: none");
    let told = found(with_rules(&wrong, nothing));
    assert!(told.iter().all(|told| told.starts_with("actions/orders.yaml")), "{told:?}");
}

#[test]
fn rules_that_are_perhaps_not_meant_are_warned_of() {
    let warned = |orders: &str, rules: &str| -> Vec<String> {
        let compiled = with_rules(orders, rules).unwrap();
        compiled.warnings.into_iter().map(|warning| warning.message).collect()
    };
    let all = "permit (principal, action, resource);\n";
    assert_eq!(warned(ORDERS, all), [] as [&str; 0]);
    let high = ORDERS.replace("risk: medium", "risk: high");
    let broad = warned(&high, all);
    assert!(broad.iter().any(|said| said.contains("to every agent")), "{broad:?}");
    let named = all.replace("principal,", "principal in Gatepass::Blueprint::\"buyer\",");
    assert!(!warned(&high, &named).iter().any(|said| said.contains("to every agent")));
    let masked = warned(ORDERS, &format!("{all}forbid (principal, action, resource);\n"));
    assert!(masked.iter().any(|said| said.contains("never has an effect")), "{masked:?}");
    let some = format!("{all}forbid (principal, action == Action::\"orders:read\", resource);\n");
    assert_eq!(warned(ORDERS, &some), [] as [&str; 0]);
}

#[test]
fn groups_and_bindings_of_an_action_are_told_of_at_their_place() {
    let risk = "    risk: medium\n";
    let with = |field: &str| format!("{risk}    {field}\n");
    check(risk, &with("groups: [Spending]"), "actions/orders.yaml:4:13: group `Spending` must be");
    check(risk, &with("groups: [a, a]"), "actions/orders.yaml:4:13: group `a` is there twice");
    check(risk, &with("groups: a"), "actions/orders.yaml:4:13: expected a list of groups");
    check(risk, &with("binding: key"), "actions/orders.yaml:4:14: no gate checks a binding");
    check(risk, &with("binding: rope"), "actions/orders.yaml:4:14: expected `none`, `key`");
    let good = with("groups: [a, b:c]\n    binding: none");
    let bundle = compiled(WHOLE, &ORDERS.replacen(risk, &good, 1)).unwrap().bundle;
    assert_eq!(bundle.actions[0].groups, ["a", "b:c"]);
}
