//! What tests of a policy say, held against what the gate does: each that allows with a twin that denies.

use gatepass_policy::{SourceFile, cases, compile};

use super::*;

const POLICY: &str = "\
environment: prod
actions:
  read: {risk: low}
  write:
    risk: medium
    scopes: {all: [orders.write]}
    body: json
    approval: true
    inputs:
      amount: {type: money, body: /amount, currency: EUR}
  once: {risk: low, uses: once}
  try: {risk: low, mode: shadow}
  unused: {risk: low}
hosts:
  - names: [h.example]
    audience: https://h.example
    routes:
      - match: GET /read
        action: read
      - match: POST /write
        action: write
      - match: GET /once
        action: once
      - match: GET /try
        action: try
      - match: GET,HEAD /unused/{id}
        action: unused
      - match: GET /open
        public: true
  - names: [p.example]
    audience: https://p.example
    pass_through: true
";

/// The fields of one test, which is otherwise a good reading.
fn run(fields: &str) -> Ran {
    let mut text = String::from("tests:\n  - name: one\n");
    for (name, usual) in [
        ("request", "{path: /read}"),
        ("gatepass", "{actions: [read]}"),
        ("state", "{}"),
        ("expect", "allow"),
    ] {
        let stated = fields.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        text.push_str(&format!("    {name}: {}\n", stated.unwrap_or(usual)));
    }
    let mut results = report(&text).results;
    assert_eq!(results.len(), 1);
    results.pop().unwrap()
}

fn report(text: &str) -> Report {
    let file = SourceFile { name: "tests/a.yaml".to_owned(), text: text.to_owned() };
    let cases = cases::read(&[file])
        .unwrap_or_else(|found| panic!("{text}\n{}", gatepass_policy::report(&found)));
    rehearse(&compile(POLICY).unwrap(), &cases).unwrap()
}

/// It is allowed; with the line changed it is denied with this code.
#[track_caller]
fn twins(good: &str, bad: &str, code: &str) {
    assert_eq!(run(good).failure, None, "{good}");
    assert_eq!(run(&format!("{bad}\nexpect: {{decision: deny, code: {code}}}")).failure, None);
    // What is expected is really compared.
    assert_ne!(run(bad).failure, None, "{bad}");
    assert_ne!(run(&format!("{good}\nexpect: deny")).failure, None, "{good}");
    assert_ne!(run(&format!("{bad}\nexpect: {{decision: deny, code: gate_busy}}")).failure, None);
}

#[test]
fn a_gatepass_is_what_the_test_says() {
    twins("", "gatepass: none", "no_credential");
    twins("", "gatepass: {actions: [other]}", "action_not_granted");
    twins(
        "gatepass: {actions: [read], issued: 4m}",
        "gatepass: {actions: [read], issued: 6m}",
        "expired",
    );
    twins(
        "gatepass: {actions: [read], issued: 50m, lifetime: 1h}",
        "gatepass: {actions: [unused], issued: 50m, lifetime: 1h}",
        "action_not_granted",
    );
    let other = "gatepass: {actions: [read], audiences: ['https://other.example']}";
    twins("gatepass: {actions: [read], audiences: ['https://h.example']}", other, "wrong_audience");
}

#[test]
fn the_state_is_what_the_test_says() {
    twins("state: {age: 899s}", "state: {age: 901s}", "stale");
    twins("state: {now: '2030-01-01T00:00:00Z'}", "state: {age: 1h}", "stale");
    for (kind, code) in [
        ("credential", "revoked_credential"),
        ("task", "revoked_task"),
        ("agent", "revoked_agent"),
        ("owner", "revoked_owner"),
        ("blueprint", "revoked_blueprint"),
    ] {
        twins("", &format!("state: {{revoked: [{kind}]}}"), code);
    }
    let pass = "gatepass: {actions: [read], owner: user:corp/alice}";
    twins(
        &format!("{pass}\nstate: {{revoked: [owner user:corp/bob]}}"),
        &format!("{pass}\nstate: {{revoked: [owner user:corp/alice]}}"),
        "revoked_owner",
    );
}

#[test]
fn an_approval_is_of_the_very_request_or_of_another() {
    let write = |amount: &str, pass: &str| {
        format!(
            "request: {{method: POST, path: /write, json: {{amount: '{amount}'}}}}
gatepass: {{actions: [write], scopes: [orders.write], {pass}}}"
        )
    };
    let same = write("5.00", "approval: same");
    twins(&same, &write("5.00", "approval: other"), "approval_mismatch");
    twins(&same, &write("5.00", "approval: none"), "approval_required");
    twins(&same, &same.replace("scopes: [orders.write], ", ""), "insufficient_scope");
    let bound = "approval: same, constraints: {amount: {max: 5.00 EUR}}";
    twins(&write("5.00", bound), &write("5.01", bound), "constraint_violated");
}

#[test]
fn what_is_open_is_allowed_to_all() {
    twins("request: {path: /open}\ngatepass: none", "gatepass: none", "no_credential");
    twins(
        "request: {host: p.example, path: /any}\ngatepass: none",
        "request: {host: q.example, path: /any}",
        "no_route",
    );
}

#[test]
fn what_asks_the_control_plane_is_allowed_once_it_confirms() {
    let once = "request: {path: /once}\ngatepass: {actions: [once]}";
    twins(once, "request: {path: /once}", "action_not_granted");
    let failure = run(&format!("{once}\nexpect: deny")).failure.unwrap();
    assert_eq!(failure.came, "allow, as `once`, once it is confirmed");
}

#[test]
fn what_shadow_mode_lets_through_is_neither_allowed_nor_denied() {
    let bad = "request: {path: /try}\ngatepass: none";
    let with = |expected: &str| run(&format!("{bad}\nexpect: {expected}")).failure;
    assert_eq!(with("{decision: shadow, code: no_credential}"), None);
    assert_eq!(with("shadow"), None);
    for other in ["allow", "deny", "{decision: shadow, code: stale}"] {
        let came = with(other).unwrap().came;
        assert!(came.starts_with("shadow, it would be denied: `no_credential` (401): "), "{came}");
    }
    let good = "request: {path: /try}\ngatepass: {actions: [try]}";
    assert_eq!(run(good).failure, None);
    assert!(run(&format!("{good}\nexpect: shadow")).failure.is_some());
}

#[test]
fn a_failure_says_what_was_expected_what_came_and_which_check_denied() {
    let ran = run("gatepass: {actions: [other]}");
    assert_eq!((ran.name.as_str(), ran.file.as_str(), ran.line), ("one", "tests/a.yaml", 2));
    let failure = ran.failure.unwrap();
    assert_eq!(failure.expected, "allow");
    assert!(failure.came.starts_with("deny, `action_not_granted` (403): "), "{}", failure.came);
    assert_eq!(failure.check, Some("one entry grants the action"));
    let failure = run("expect: {decision: deny, code: stale}").failure.unwrap();
    assert_eq!(failure.expected, "deny, `stale`");
    assert_eq!((failure.came.as_str(), failure.check), ("allow, as `read`", None));
}

#[test]
fn a_gatepass_that_no_gate_reads_fails_the_test_whatever_it_expects() {
    for pass in [
        "{actions: [read], lifetime: 2h}",
        "{actions: [read], lifetime: 0s}",
        "{actions: [read], audiences: [nowhere]}",
    ] {
        for expected in ["allow", "deny"] {
            let ran = run(&format!("gatepass: {pass}\nexpect: {expected}"));
            let failure = ran.failure.unwrap();
            assert!(failure.came.starts_with("not run: "), "{pass}: {}", failure.came);
        }
    }
}

#[test]
fn what_no_test_reaches_is_named() {
    let text = "\
tests:
  - {name: a, request: {path: /read}, gatepass: none, expect: deny}
  - {name: b, request: {path: /open}, gatepass: none, expect: allow}
  - {name: c, request: {path: /none}, gatepass: none, expect: deny}
";
    let found = report(text);
    assert_eq!((found.failures(), found.actions, found.routes), (0, 5, 6));
    assert_eq!(found.missed_actions, ["write", "once", "try", "unused"]);
    assert_eq!(
        found.missed_routes,
        [
            "POST /write on h.example",
            "GET /once on h.example",
            "GET /try on h.example",
            "GET,HEAD /unused/{id} on h.example",
        ]
    );
}

#[test]
fn where_two_hosts_are_guarded_a_request_names_one() {
    let two =
        format!("{POLICY}  - {{names: [i.example], audience: 'https://i.example', routes: []}}\n");
    let run = |request: &str| {
        let text = format!(
            "tests:\n  - {{name: a, request: {request}, gatepass: {{actions: [read]}}, expect: allow}}\n"
        );
        let file = SourceFile { name: "tests/a.yaml".to_owned(), text };
        let cases = cases::read(&[file]).unwrap();
        let mut report = rehearse(&compile(&two).unwrap(), &cases).unwrap();
        report.results.pop().unwrap().failure
    };
    assert_eq!(run("{path: /read, host: h.example}"), None);
    assert!(run("{path: /read}").unwrap().came.contains("write `host` in the request"));
}

#[test]
fn the_examples_of_the_guide_are_a_folder_whose_tests_pass() {
    let blocks = GUIDE.split("```yaml\n# ").skip(1).map(|part| part.split_once("\n```").unwrap().0);
    let files: Vec<SourceFile> = blocks
        .map(|block| {
            let (name, text) = block.split_once('\n').unwrap();
            SourceFile { name: name.to_owned(), text: format!("{text}\n") }
        })
        .collect();
    assert_eq!((files.len(), GUIDE.matches("```yaml").count()), (3, 3));
    let (tests, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.name.starts_with("tests/"));
    let sources = gatepass_policy::Sources::folder(files).unwrap();
    let compiled = gatepass_policy::compile_sources(&sources).unwrap();
    assert_eq!(gatepass_policy::report(&compiled.warnings), "");
    let report = rehearse(&compiled, &cases::read(&tests).unwrap()).unwrap();
    let failed: Vec<&Ran> = report.results.iter().filter(|ran| ran.failure.is_some()).collect();
    assert_eq!((failed.len(), report.results.len()), (0, 3), "{failed:#?}");
}

const RULES: &str = r#"
@id("readers")
permit (principal, action == Action::"read", resource);
@id("writers")
permit (principal, action == Action::"write", resource);
@id("task")
forbid (principal, action, resource) when { context.task.id == "t1" };
@id("morning")
forbid (principal, action, resource)
when { context.request.time.toTime() < duration("8h") };
@id("few")
@mode("shadow")
forbid (principal, action == Action::"read", resource) when { context.task.id like "t*" };
"#;

/// One test of a policy with rules, a reading with this task, which expects this.
fn ruled(task: &str, expect: &str) -> Report {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let files = vec![file("gatepass.yaml", POLICY), file("a.cedar", RULES)];
    let sources = gatepass_policy::Sources::folder(files).unwrap();
    let compiled = gatepass_policy::compile_sources(&sources).unwrap();
    let text = format!(
        "tests:
  - name: one
    request: {{path: /read}}
    gatepass: {{actions: [read], task: {task}}}
    expect: {expect}
"
    );
    let files = [file("tests/a.yaml", &text)];
    let cases = cases::read(&files).unwrap();
    cases::check_rules(&cases, &files, &compiled).unwrap();
    rehearse(&compiled, &cases).unwrap()
}

#[test]
fn the_rules_of_a_decision_are_those_that_the_test_names() {
    for (task, good, bad) in [
        ("x", "{decision: allow, rules: [readers]}", "{decision: allow, rules: [writers]}"),
        ("x", "{decision: allow, shadow_rules: []}", "{decision: allow, shadow_rules: [few]}"),
        ("t2", "{decision: allow, shadow_rules: [few]}", "{decision: allow, shadow_rules: []}"),
        (
            "t1",
            "{decision: deny, code: policy_denied, rules: [task], shadow_rules: [few]}",
            "{decision: deny, code: policy_denied, rules: [task, morning]}",
        ),
        ("t1", "{decision: deny, rules: [task, task]}", "{decision: deny, rules: []}"),
    ] {
        assert_eq!(ruled(task, good).failures(), 0, "{good}");
        assert_eq!(ruled(task, bad).failures(), 1, "{bad}");
    }
}

#[test]
fn a_failure_names_the_rules_that_decided() {
    let failure = |task, expect| ruled(task, expect).results.pop().unwrap().failure.unwrap();
    let found = failure("t1", "{decision: deny, rules: [morning], shadow_rules: []}");
    assert_eq!(found.expected, "deny, rules: morning, shadow rules: none");
    assert_eq!((found.decided.rules, found.decided.shadow_rules), (ids("task"), ids("few")));
    let found = failure("x", "deny");
    assert_eq!((found.expected.as_str(), found.came.as_str()), ("deny", "allow, as `read`"));
    assert_eq!((found.decided.rules, found.decided.shadow_rules), (ids("readers"), vec![]));
}

fn ids(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn rules_without_a_part_in_any_test_are_named() {
    let found = ruled("t1", "deny");
    assert_eq!((found.rules, found.missed_rules), (5, ids("readers writers morning")));
    let found = ruled("x", "allow");
    assert_eq!((found.rules, found.missed_rules), (5, ids("writers task morning few")));
    assert_eq!((report("tests: []").rules, report("tests: []").missed_rules.len()), (0, 0));
}

const GUIDE: &str = include_str!("../../../docs/policy-folder.md");

#[test]
fn what_is_taken_of_a_budget_is_this_gatepass_alone_unless_stated() {
    const BUDGETS: &str = "\
budgets:
  day:
    actions: [write]
    per: agent
    window: 1d
    sum: amount
    currency: EUR
";
    let yaml = POLICY.replace("    approval: true\n", "") + BUDGETS;
    let rules = "permit (principal, action, resource);\n\
        @id(\"day\") forbid (principal, action == Action::\"write\", resource)\n\
        unless { context.budget.day.lessThanOrEqual(decimal(\"50.0\")) };\n";
    let text = format!("-- a.cedar --\n{rules}-- gatepass.yaml --\n{yaml}");
    let compiled =
        compile(&text).unwrap_or_else(|found| panic!("{}", gatepass_policy::report(&found)));
    let run = |constraint: &str, budget: &str, expect: &str| {
        let text = format!(
            "tests:\n  - name: one\n    request: {{method: POST, path: /write, json: {{amount: '1'}}}}\n    \
             gatepass: {{actions: [write], scopes: [orders.write]{constraint}{budget}}}\n    expect: {expect}\n"
        );
        let file = SourceFile { name: "tests/a.yaml".to_owned(), text };
        let cases = cases::read(&[file])
            .unwrap_or_else(|found| panic!("{}", gatepass_policy::report(&found)));
        let failure = rehearse(&compiled, &cases).unwrap().results.remove(0).failure;
        failure.map(|failure| failure.came)
    };
    let max = |most: &str| format!(", constraints: {{amount: {{max: {most} EUR}}}}");
    let denied = "{decision: deny, code: policy_denied, rules: [day]}";
    assert_eq!(run(&max("50"), "", "allow"), None);
    assert_eq!(run(&max("50.01"), "", denied), None);
    assert_eq!(run(&max("5"), ", budget: {day: 50.00 EUR}", "allow"), None);
    assert_eq!(run(&max("5"), ", budget: {day: 50.01 EUR}", denied), None);
    assert_eq!(run("", "", "{decision: deny, code: budget_missing}"), None);
    for budget in [", budget: {week: 5.00 EUR}", ", budget: {day: 5.00 USD}", ", budget: {day: 5}"]
    {
        let came = run(&max("5"), budget, "allow").unwrap();
        assert!(came.starts_with("not run: the policy has no budget"), "{came}");
    }
}
