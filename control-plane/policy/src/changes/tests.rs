//! What is wider one way is narrower the other.

use super::*;
use crate::{SourceFile, compile_sources};

const YAML: &str = "\
environment: prod
actions:
  read: {risk: low}
  write:
    risk: medium
    scopes: {all: [w], any: [a, b]}
    body: json
    max_age: 1m
    staleness: 30s
hosts:
  - names: [h.example]
    audience: https://h.example
    routes:
      - match: GET,HEAD /o
        action: read
      - match: GET /o/{id}
        action: read
      - match: POST /o
        action: write
        inputs:
          n: {type: integer, body: /n}
      - match: GET /healthz
        public: true
  - names: [p.example]
    audience: https://p.example
    pass_through: true
";
const CEDAR: &str = r#"@id("all")
permit (principal, action, resource);
@id("task")
forbid (principal, action == Action::"write", resource) when { context.task.id == "t" };
"#;

/// From a policy to the same with texts exchanged.
fn between(cedar: &str, exchanged: &[(&str, &str)]) -> (String, String) {
    let compiled = |exchange: bool| {
        let mut files = vec![("gatepass.yaml", YAML.to_owned()), ("a.cedar", cedar.to_owned())];
        for (from, to) in exchanged.iter().filter(|_| exchange) {
            assert!(files.iter().any(|(_, text)| text.contains(from)), "{from}");
            files = files.into_iter().map(|(name, text)| (name, text.replace(from, to))).collect();
        }
        let files = files.into_iter().filter(|(_, text)| !text.is_empty());
        let file = |(name, text): (&str, String)| SourceFile { name: name.to_owned(), text };
        let sources = Sources::folder(files.map(file).collect()).unwrap();
        let compiled =
            compile_sources(&sources).unwrap_or_else(|found| panic!("{}", crate::report(&found)));
        (sources, compiled)
    };
    let ((old, before), (new, after)) = (compiled(false), compiled(true));
    let before = Side { sources: &old, compiled: &before };
    let after = Side { sources: &new, compiled: &after };
    assert_eq!(changes(before, before), []);
    (lines(before, after), lines(after, before))
}

fn lines(before: Side<'_>, after: Side<'_>) -> String {
    let all = changes(before, after);
    all.iter().map(|change| format!("{change}\n")).collect()
}

/// What is told one way, and the other way round.
#[track_caller]
fn check(exchanged: &[(&str, &str)], forth: &str, back: &str) {
    let found = between("", exchanged);
    assert_eq!((found.0.as_str(), found.1.as_str()), (forth, back));
}

#[track_caller]
fn ruled(exchanged: &[(&str, &str)], forth: &str, back: &str) {
    let found = between(CEDAR, exchanged);
    assert_eq!((found.0.as_str(), found.1.as_str()), (forth, back));
}

#[test]
fn each_requirement_of_an_action_is_wider_one_way_and_narrower_the_other() {
    for (from, to, forth, back) in [
        (
            "risk: low}",
            "risk: low, approval: true}",
            "N approval false -> true",
            "W approval true -> false",
        ),
        (
            "risk: low}",
            "risk: low, scopes: {all: [x, y]}}",
            "N scopes added: x, y",
            "W scopes removed: x, y",
        ),
        (
            "risk: low}",
            "risk: low, scopes: {any: [x]}}",
            "N one of these scopes: x",
            "W no longer one of these scopes: x",
        ),
        (
            "risk: low}",
            "risk: low, assurance: attested}",
            "N assurance static -> attested",
            "W assurance attested -> static",
        ),
        ("risk: low}", "risk: low, max_age: 9s}", "N max_age any -> 9s", "W max_age 9s -> any"),
        (
            "risk: low}",
            "risk: low, staleness: 9s}",
            "N staleness 900s -> 9s",
            "W staleness 9s -> 900s",
        ),
        (
            "risk: low}",
            "risk: low, uses: once}",
            "N uses unlimited -> once",
            "W uses once -> unlimited",
        ),
        (
            "risk: low}",
            "risk: low, audit: confirmed}",
            "N audit batched -> confirmed",
            "W audit confirmed -> batched",
        ),
        (
            "risk: low}",
            "risk: low, mode: shadow}",
            "W mode enforce -> shadow",
            "N mode shadow -> enforce",
        ),
        (
            "risk: low}",
            "risk: low, body: digest}",
            "C body none -> digest",
            "C body digest -> none",
        ),
    ] {
        let line = |text: &str| {
            let (mark, what) = text.split_once(' ').unwrap();
            let mark = match mark {
                "N" => "narrower",
                "W" => "wider   ",
                _ => "changed ",
            };
            format!("{mark}  action `read`: {what}\n")
        };
        check(&[(from, to)], &line(forth), &line(back));
    }
    check(
        &[("any: [a, b]", "any: [a, c]")],
        "changed   action `write`: one of several scopes: added: c
changed   action `write`: one of several scopes: removed: b\n",
        "changed   action `write`: one of several scopes: added: b
changed   action `write`: one of several scopes: removed: c\n",
    );
    let high = ("medium\n", "high\n    assurance: federated\n");
    check(
        &[high],
        "narrower  action `write`: risk medium -> high\n",
        "wider     action `write`: risk high -> medium\n",
    );
    // A rule may be one for all of a risk.
    ruled(
        &[high],
        "changed   action `write`: risk medium -> high\n",
        "changed   action `write`: risk high -> medium\n",
    );
}

#[test]
fn a_route_is_wider_unless_another_has_its_requests() {
    check(
        &[("      - match: POST /o\n", "      - match: POST,PUT /o\n")],
        "wider     route PUT /o on h.example: added: `write`\n",
        "narrower  route PUT /o on h.example: removed: `write`\n",
    );
    check(
        &[("GET /healthz", "GET /o/special")],
        "changed   route GET /o/special on h.example: added: public
narrower  route GET /healthz on h.example: removed: public\n",
        "wider     route GET /healthz on h.example: added: public
changed   route GET /o/special on h.example: removed: public\n",
    );
    check(
        &[("GET /o/{id}\n        action: read", "GET /o/{id}\n        public: true")],
        "wider     route GET /o/{id} on h.example: `read` -> public\n",
        "narrower  route GET /o/{id} on h.example: public -> `read`\n",
    );
    check(
        &[(
            "GET,HEAD /o\n        action: read",
            "GET,HEAD /o\n        action: read\n        max_duration: 9s",
        )],
        "narrower  route GET,HEAD /o on h.example: max_duration 60s -> 9s\n",
        "wider     route GET,HEAD /o on h.example: max_duration 9s -> 60s\n",
    );
    check(
        &[("n: {type: integer, body: /n}", "m: {type: integer, body: /m}")],
        "changed   route POST /o on h.example: input `n` removed
changed   route POST /o on h.example: input `m` added\n",
        "changed   route POST /o on h.example: input `m` removed
changed   route POST /o on h.example: input `n` added\n",
    );
    check(
        &[("type: integer, body: /n", "type: decimal, body: /m, record: none")],
        "changed   route POST /o on h.example: input `n` has another type, place, record\n",
        "changed   route POST /o on h.example: input `n` has another type, place, record\n",
    );
}

#[test]
fn hosts_and_actions_come_and_go() {
    check(
        &[("    pass_through: true", "    routes: []")],
        "narrower  host p.example: guarded, no longer passed through\n",
        "wider     host p.example: passed through, no longer guarded\n",
    );
    check(
        &[("[p.example]", "[p.example, q.example]")],
        "wider     host q.example: added, passed through\n",
        "narrower  host q.example: removed\n",
    );
    check(
        &[("audience: https://p.example", "audience: https://r.example")],
        "changed   host p.example: audience https://p.example -> https://r.example\n",
        "changed   host p.example: audience https://r.example -> https://p.example\n",
    );
    check(
        &[("environment: prod\n", "")],
        "changed   environment: prod -> any\n",
        "changed   environment: any -> prod\n",
    );
    check(
        &[("read", "see")],
        "narrower  action `read`: removed
wider     action `see`: added, of low risk
changed   route GET,HEAD /o on h.example: `read` -> `see`
changed   route GET /o/{id} on h.example: `read` -> `see`\n",
        "narrower  action `see`: removed
wider     action `read`: added, of low risk
changed   route GET,HEAD /o on h.example: `see` -> `read`
changed   route GET /o/{id} on h.example: `see` -> `read`\n",
    );
}

#[test]
fn a_permit_is_wider_and_a_forbid_is_narrower() {
    let forbid = CEDAR.split_once("@id(\"task\")").unwrap().1;
    let forbid = format!("@id(\"task\")\n{}", forbid.trim_start());
    let one = |from: &str, to: &str, forth: &str, back: &str| ruled(&[(from, to)], forth, back);
    one(
        &forbid,
        "",
        "wider     rule `task`: removed: forbid\n",
        "narrower  rule `task`: added: forbid\n",
    );
    one(
        "@id(\"task\")\n",
        "@id(\"task\")\n@mode(\"shadow\")\n",
        "wider     rule `task`: forbid -> forbid in shadow mode\n",
        "narrower  rule `task`: forbid in shadow mode -> forbid\n",
    );
    one(
        "forbid (",
        "permit (",
        "wider     rule `task`: forbid -> permit\n",
        "narrower  rule `task`: permit -> forbid\n",
    );
    one(
        "== \"t\"",
        "== \"u\"",
        "changed   rule `task`: another scope or condition\n",
        "changed   rule `task`: another scope or condition\n",
    );
    one(
        "action, resource);",
        "action, resource) when { context.task.id == \"u\" };",
        "narrower  rule `all`: another scope or condition\n",
        "wider     rule `all`: another scope or condition\n",
    );
    one(
        "permit (principal, action,",
        "permit (principal, action == Action::\"read\",",
        "changed   rule `all`: applies no longer to write\nchanged   rule `all`: another scope or condition\n",
        "changed   rule `all`: applies to write too\nchanged   rule `all`: another scope or condition\n",
    );
    one(
        "@id(\"task\")\n",
        "@id(\"task\")\n@code(\"no\")\n",
        "changed   rule `task`: another code\n",
        "changed   rule `task`: another code\n",
    );
    // Nothing but its spelling.
    one("context.task.id == \"t\"", "// why\n  context . task.id==\"t\"", "", "");
}

#[test]
fn where_there_were_no_rules_none_had_to_permit() {
    let (forth, back) = between(CEDAR, &[(CEDAR, "")]);
    assert_eq!(
        forth,
        "wider     rules: there are none: what a gatepass grants is permitted
changed   rule `all`: removed: permit
changed   rule `task`: removed: forbid\n"
    );
    assert_eq!(
        back,
        "narrower  rules: there are some: what none permits is denied
changed   rule `all`: added: permit
narrower  rule `task`: added: forbid\n"
    );
}

#[test]
fn a_summary_counts() {
    let change = |bearing| Change { bearing, of: "action `a`".to_owned(), what: "x".to_owned() };
    assert_eq!(summary(&[]), "");
    assert_eq!(
        summary(&[change(Bearing::Wider), change(Bearing::Changed), change(Bearing::Wider)]),
        "wider     action `a`: x\nchanged   action `a`: x\nwider     action `a`: x\n2 wider, 0 narrower, 1 changed\n"
    );
}
