//! The tests of a folder: what each may say, what it may leave out, and each mistake at its place.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::denial::Code;
use gatepass_engine::revocation::Kind;
use serde_json::json;

use super::*;
use crate::cases::{Case, Consent, Expected, ExpectedRules, RuleName, check_rules, read};

const WHOLE: &str = "\
tests:
  - name: whole
    request:
      method: POST
      url: https://orders.example/orders?x=1
      headers: {X-Team: a, x-tag: [b, c]}
      json: {amount: 499.99, items: [1, true, null, {name: chair}]}
    gatepass:
      actions: [orders:create]
      scopes: [orders.write]
      agent: agent:11111111-1111-1111-1111-111111111111
      owner: user:corp/alice
      blueprint: buyer
      subject: user:corp/bob
      task: t1
      audiences: [https://orders.example]
      constraints: {amount: {max: 500.00 EUR}, item: {in: [a, b], prefix: a}, n: {equals: 1}}
      uses: 1
      assurance: attested
      approval: same
      issued: 30s
      lifetime: 1h
    state:
      now: '2026-03-01T08:00:00Z'
      age: 5s
      revoked: [task, owner user:corp/carol]
    expect: {decision: deny, code: stale, rules: [spend, a.cedar:1], shadow_rules: []}
";

const SMALL: &str = "\
tests:
  - name: small
    request: {path: /orders}
    gatepass: {actions: [a]}
    expect: allow
";

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn one(text: &str) -> Case {
    let mut cases = read(&[file("tests/a.yaml", text)]).unwrap_or_else(|found| {
        panic!("{}", report(&found));
    });
    assert_eq!(cases.len(), 1);
    cases.pop().unwrap()
}

#[track_caller]
fn check(of: &str, from: &str, to: &str, expected: &str) {
    assert!(of.contains(from), "{from}");
    let found = read(&[file("tests/a.yaml", &of.replacen(from, to, 1))]).unwrap_err();
    assert_eq!(found.len(), 1, "{to}: {found:#?}");
    assert_eq!(found[0].file, "tests/a.yaml");
    let text = found[0].to_string();
    assert!(text.starts_with(expected), "{to}:\n {text}\n {expected}");
}

#[test]
fn every_field_of_a_test_is_read() {
    let Case { name, file, line, request, gatepass, scene, expected, expected_rules } = one(WHOLE);
    assert_eq!((name.as_str(), file.as_str(), line), ("whole", "tests/a.yaml", 2));
    assert_eq!(
        (request.method.as_str(), request.host.as_deref()),
        ("POST", Some("orders.example"))
    );
    assert_eq!(request.path, "/orders?x=1");
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [("x-team", "a"), ("x-tag", "b"), ("x-tag", "c"), ("content-type", "application/json")]
    );
    let body: serde_json::Value = serde_json::from_str(&request.body.unwrap()).unwrap();
    assert_eq!(body, json!({"amount": 499.99, "items": [1, true, null, {"name": "chair"}]}));
    let pass = gatepass.unwrap();
    assert_eq!(pass.agent, "agent:11111111-1111-1111-1111-111111111111");
    assert_eq!((pass.owner.as_str(), pass.blueprint.as_str()), ("user:corp/alice", "buyer"));
    assert_eq!((pass.subject.as_deref(), pass.task.as_str()), (Some("user:corp/bob"), "t1"));
    assert_eq!(
        (pass.actions[0].as_str(), pass.scopes[0].as_str()),
        ("orders:create", "orders.write")
    );
    assert_eq!(pass.audiences.unwrap(), ["https://orders.example"]);
    assert_eq!(
        serde_json::to_value(&pass.constraints).unwrap(),
        json!({
            "amount": {"max": "500.00 EUR"}, "item": {"in": ["a", "b"], "prefix": "a"},
            "n": {"equals": 1},
        })
    );
    assert_eq!((pass.uses, pass.assurance), (Some(1), Assurance::Attested));
    assert_eq!((pass.approval, pass.issued, pass.lifetime), (Consent::Same, 30, 3_600));
    assert_eq!((scene.now, scene.age), (UnixSeconds(1_772_352_000), 5));
    assert_eq!(
        scene.revoked,
        [(Kind::Task, None), (Kind::Owner, Some("user:corp/carol".to_owned()))]
    );
    assert_eq!(expected, Expected::Deny(Some(Code::Stale)));
    let ids: Vec<String> =
        expected_rules.rules.unwrap().into_iter().map(|RuleName { id, .. }| id).collect();
    assert_eq!(
        (ids.join(" "), expected_rules.shadow_rules),
        ("spend a.cedar:1".into(), Some(vec![]))
    );
}

#[test]
fn what_a_test_leaves_out_has_a_default() {
    let Case { request, gatepass, scene, expected, expected_rules, .. } = one(SMALL);
    assert_eq!(expected_rules, ExpectedRules::default());
    assert_eq!((request.method.as_str(), request.host), ("GET", None));
    assert_eq!((request.headers.len(), request.body), (0, None));
    let pass = gatepass.unwrap();
    assert_eq!((pass.issued, pass.lifetime, pass.uses), (0, 300, None));
    assert_eq!((pass.assurance, pass.approval), (Assurance::Federated, Consent::None));
    assert!(pass.scopes.is_empty() && pass.audiences.is_none() && pass.constraints.is_empty());
    assert_eq!((scene.now, scene.age), (UnixSeconds(1_767_614_400), 0));
    assert!(scene.revoked.is_empty());
    assert_eq!(expected, Expected::Allow);
    assert_eq!(one(&SMALL.replace("{actions: [a]}", "none")).gatepass, None);
    for (text, expected) in [
        ("deny", Expected::Deny(None)),
        ("{decision: deny}", Expected::Deny(None)),
        ("{decision: shadow, code: no_route}", Expected::Shadow(Some(Code::NoRoute))),
        ("{decision: allow}", Expected::Allow),
    ] {
        assert_eq!(one(&SMALL.replace("allow", text)).expected, expected, "{text}");
    }
    for (url, host, path) in [
        ("http://h.example", "h.example", "/"),
        ("https://h.example:8443/a/b", "h.example:8443", "/a/b"),
        ("https://h.example?x=/y", "h.example", "/?x=/y"),
    ] {
        let request = one(&SMALL.replace("path: /orders", &format!("url: '{url}'"))).request;
        assert_eq!((request.host.as_deref(), request.path.as_str()), (Some(host), path));
    }
}

#[test]
fn a_test_is_told_of_at_its_field() {
    check(
        SMALL,
        "tests:",
        "test: 1\ntests:",
        "1:1: unknown field `test`; a file of tests takes `tests`",
    );
    check(SMALL, "name: small", "name: 1", "2:11: expected a name, found the number `1`");
    check(
        SMALL,
        "name: small",
        "name: small\n    title: x",
        "3:5: unknown field `title`; a test takes `name`,",
    );
    check(SMALL, "    expect: allow\n", "", "2:5: a test needs `expect`; write `expect: allow`");
    check(SMALL, "allow", "maybe", "5:13: expected `allow`, `deny` or `shadow`, found `maybe`");
    check(SMALL, "allow", "{code: no_route}", "5:13: `expect` needs `decision`");
    check(SMALL, "allow", "{decision: deny, code: bad}", "5:36: expected the code of a denial,");
    check(SMALL, "allow", "{decision: allow, code: stale}", "5:37: what is allowed has no code");
    check(SMALL, "allow", "{decision: allow, rules: a}", "5:38: expected a list of ids of rules");
    check(SMALL, "allow", "{decision: allow, rules: [1]}", "5:39: expected the id of a rule,");
    check(SMALL, "{path: /orders}", "/orders", "3:14: expected the fields of `request`, found");
    check(SMALL, "{path: /orders}", "{host: a}", "3:14: `request` needs `path`; write");
    check(SMALL, "/orders}", "/orders, query: x}", "3:30: unknown field `query`; `request` takes");
    check(SMALL, "/orders}", "/, body: x, json: y}", "3:39: a request has `body` or `json`");
    check(SMALL, "/orders}", "/, url: 'https://a/b'}", "3:21: a request has `url`, or `host`");
    check(SMALL, "path: /orders", "url: orders", "3:20: expected a URL, found `orders`");
    check(SMALL, "/orders}", "/, json: .nan}", "3:30: not YAML: non-finite float");
    check(SMALL, "/orders}", "/, headers: {Authorization: x}}", "3:34: header `authorization` is");
    check(SMALL, "/orders}", "/, headers: {a: 1}}", "3:37: expected the value of a header, found");
    check(SMALL, "{actions: [a]}", "{}", "4:15: `gatepass` needs `actions`");
    check(
        SMALL,
        "    gatepass: {actions: [a]}\n",
        "",
        "2:5: a test needs `gatepass`; write `gatepass: none`",
    );
    check(
        SMALL,
        "[a]}",
        "[a], scope: x}",
        "4:30: unknown field `scope`; `gatepass` takes `actions`,",
    );
    check(
        SMALL,
        "[a]}",
        "[a], agent: bob}",
        "4:37: expected `agent:<uuid>` in lower case, found `bob`",
    );
    check(SMALL, "[a]}", "[a], owner: bob}", "4:37: expected `user:<directory>/<id>`, found `bob`");
    check(SMALL, "[a]}", "[a], subject: bob}", "4:39: expected `agent:<uuid>` or `user:");
    check(SMALL, "[a]}", "[a], issued: 30}", "4:38: expected a duration such as `30s`");
    check(SMALL, "[a]}", "[a], uses: one}", "4:36: expected a whole number, found `one`");
    check(SMALL, "[a]}", "[a], uses: -1}", "4:36: expected a whole number, found the number");
    check(SMALL, "[a]}", "[a], approval: yes}", "4:40: expected `none`, `same` or `other`");
    check(SMALL, "[a]}", "[a], constraints: {x: 5}}", "4:47: expected the fields of a constraint");
    check(
        SMALL,
        "[a]}",
        "[a], constraints: {x: {most: 5}}}",
        "4:48: unknown field `most`; a constraint takes",
    );
    check(
        SMALL,
        "[a]}",
        "[a], constraints: {x: {in: 5}}}",
        "4:52: expected a list of values, found",
    );
    check(
        SMALL,
        "[a]}",
        "[a], constraints: {x: {max: [5]}}}",
        "4:53: expected a value, found a list",
    );
    let state = |text: &str| format!("    state: {text}\n    expect: allow");
    let small = "    expect: allow";
    check(
        SMALL,
        small,
        &state("{now: today}"),
        "5:18: expected a time such as `2026-01-05T12:00:00Z`",
    );
    check(SMALL, small, &state("{age: 1w}"), "5:18: expected a duration such as");
    check(SMALL, small, &state("{revoked: [all]}"), "5:23: expected `credential`, `task`,");
    check(
        SMALL,
        small,
        &state("{revoked: [owner bob]}"),
        "5:23: expected an id that a gatepass can carry",
    );
    check(SMALL, small, &state("{clock: 1}"), "5:13: unknown field `clock`; `state` takes");
}

#[test]
fn each_test_of_all_files_has_a_name_of_its_own() {
    let found = read(&[file("tests/a.yaml", SMALL), file("tests/b.yaml", SMALL)]).unwrap_err();
    assert_eq!(
        report(&found),
        "tests/b.yaml:2:11: error: a test in `tests/a.yaml` has this name
    2 |   - name: small
      |           ^
      = give each a name of its own\n"
    );
    let other = SMALL.replace("name: small", "name: other");
    let cases = read(&[file("tests/a.yaml", SMALL), file("tests/b.yaml", &other)]).unwrap();
    let places: Vec<&str> = cases.iter().map(|case| case.file.as_str()).collect();
    assert_eq!(places, ["tests/a.yaml", "tests/b.yaml"]);
    let found = read(&[file("tests/a.yaml", "tests: [}"), file("tests/b.yaml", "")]).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn a_rule_that_a_test_names_is_one_of_the_policy_and_of_its_mode() {
    let policy = Sources::folder(vec![
        file("gatepass.yaml", "environment: prod\nactions: {a: {risk: low}}\nhosts: []\n"),
        file(
            "a.cedar",
            "@id(\"all\")\npermit (principal, action, resource);
@id(\"few\")\n@mode(\"shadow\")\nforbid (principal, action, resource);\n",
        ),
    ]);
    let compiled = compile_sources(&policy.unwrap()).unwrap();
    let told = |expect: &str| {
        let files = [file("tests/a.yaml", &SMALL.replace("allow", expect))];
        check_rules(&read(&files).unwrap(), &files, &compiled)
    };
    assert_eq!(told("{decision: allow, rules: [all], shadow_rules: [few]}"), Ok(()));
    assert_eq!(told("allow"), Ok(()));
    for (expect, expected) in [
        ("{decision: allow, rules: [al]}", "5:39: the policy has no rule `al`; write its `@id`"),
        ("{decision: allow, rules: [few]}", "5:39: rule `few` is in shadow mode; name it in `sh"),
        ("{decision: allow, shadow_rules: [all]}", "5:46: rule `all` is enforced; name it in `ru"),
    ] {
        let found = told(expect).unwrap_err();
        assert_eq!((found.len(), found[0].file.as_str()), (1, "tests/a.yaml"));
        assert!(found[0].to_string().starts_with(expected), "{}", found[0]);
    }
}
