//! Each decision that stays has a twin, one thing changed, that does not.

use gatepass_policy::{SourceFile, Sources, compile_sources};
use serde_json::json;

use super::*;

const YAML: &str = "\
actions:
  read: {risk: low}
  write: {risk: low, body: json, scopes: {all: [w]}}
hosts:
  - names: [h.example]
    audience: https://h.example
    routes:
      - match: GET /o/{id}
        action: read
        inputs:
          id: {type: text, path: id}
      - match: POST /o
        action: write
        inputs:
          amount: {type: money, body: /amount, currency: EUR}
          who: {type: text, body: /who, record: hash}
          n: {type: integer, body: /n}
";
const ALL: &str = "@id(\"all\")\npermit (principal, action, resource);\n";
const AGENT: &str = "agent:11111111-1111-1111-1111-111111111111";

fn bundle(yaml: &str, cedar: &str) -> Bundle {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let mut files = vec![file("gatepass.yaml", yaml)];
    files.extend((!cedar.is_empty()).then(|| file("a.cedar", cedar)));
    let compiled = compile_sources(&Sources::folder(files).unwrap());
    compiled.unwrap_or_else(|found| panic!("{}", gatepass_policy::report(&found))).bundle
}

/// An order that was allowed.
fn order() -> DecisionView {
    let record = json!({
        "n": 1, "id": "x", "at": "2026-01-05T12:00:00.500Z", "outcome": "allow", "code": "decided",
        "agent": AGENT, "owner": "user:corp/alice", "subject": null, "through": [], "task": "t1",
        "gatepass": "jti-1", "action": "write", "audience": "https://h.example", "method": "POST",
        "host": "h.example", "route": "/o", "mcp_method": null, "mcp_tool": null,
        "rpc_method": null, "inputs": {"amount": "500.0000 EUR", "who": {"hash": "00"}},
        "policy": "1.2", "position": "1.3", "age_ms": 900, "shadow": false, "workload": null,
        "certificate": null, "request_id": null, "traceparent": null, "vm": "v", "sequence": 1,
        "envoy": "e", "node": "n", "verified": true, "received_at": 0,
    });
    serde_json::from_value(record).unwrap()
}

fn known() -> Known {
    Known {
        environment: "prod".to_owned(),
        policy: "1.2".to_owned(),
        blueprints: BTreeMap::from([(AGENT.to_owned(), "buyer".to_owned())]),
    }
}

fn again(yaml: &str, cedar: &str, record: &DecisionView) -> Again {
    let replay = Replay::new(bundle(YAML, ""), bundle(yaml, cedar), known()).unwrap();
    replay.again(record).unwrap()
}

/// What becomes of the order under one more rule.
fn forbidden(when: &str) -> Again {
    let rule = format!(
        "@id(\"no\")\nforbid (principal, action == Action::\"write\", resource) when {{ {when} }};"
    );
    again(YAML, &format!("{ALL}{rule}"), &order())
}

fn by(rule: &str) -> Again {
    Again::Denied { code: Code::PolicyDenied, rules: vec![rule.to_owned()] }
}

fn lacking(what: &str) -> Again {
    Again::Undecided(BTreeSet::from([what.to_owned()]))
}

#[test]
fn what_a_record_shows_is_held_against_the_rules() {
    for (holds, does_not) in [
        (
            "context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal(\"499.99\"))",
            "context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal(\"500.0\"))",
        ),
        ("context.task.id == \"t1\"", "context.task.id == \"t2\""),
        (
            "principal == Gatepass::Agent::\"agent:11111111-1111-1111-1111-111111111111\"",
            "principal == Gatepass::Agent::\"agent:21111111-1111-1111-1111-111111111111\"",
        ),
        (
            "principal in Gatepass::Blueprint::\"buyer\"",
            "principal in Gatepass::Blueprint::\"seller\"",
        ),
        (
            "principal.owner == Gatepass::Person::\"user:corp/alice\"",
            "principal.owner == Gatepass::Person::\"user:corp/bob\"",
        ),
        ("context.environment == \"prod\"", "context.environment == \"dev\""),
        (
            "context.request.time.toTime() == duration(\"12h\")",
            "context.request.time.toTime() == duration(\"13h\")",
        ),
        ("context.request.path == \"/o\"", "context.request.path == \"/p\""),
        ("context.gatepass.id == \"jti-1\"", "context.gatepass.id == \"jti-2\""),
        ("!(context.inputs has n)", "context.inputs has n"),
        (
            "resource == Gatepass::System::\"https://h.example\"",
            "resource == Gatepass::System::\"https://i.example\"",
        ),
    ] {
        assert_eq!(forbidden(holds), by("no"), "{holds}");
        assert_eq!(forbidden(does_not), Again::Same, "{does_not}");
    }
}

#[test]
fn what_a_record_lacks_is_told_and_not_guessed() {
    for (when, what) in [
        ("context.gatepass.scopes.contains(\"w\")", "the scopes, for `no`"),
        ("context.gatepass.assurance == \"static\"", "the assurance, for `no`"),
        ("context has approval", "the approval, for `no`"),
        ("context.inputs has who && context.inputs.who == \"a\"", "input `who`, for `no`"),
    ] {
        assert_eq!(forbidden(when), lacking(what), "{when}");
        // What comes first is enough where it does not hold.
        assert_eq!(forbidden(&format!("context.task.id == \"t2\" && {when}")), Again::Same);
        assert_eq!(forbidden(&format!("context.task.id == \"t1\" && {when}")), lacking(what));
        // What another rule forbids is forbidden whatever this one says.
        let both =
            format!("{when} }};\n@id(\"sure\")\nforbid (principal, action, resource) when {{ true");
        assert_eq!(forbidden(&both), by("sure"), "{both}");
    }
    let permit = |when: &str| {
        let text = format!("@id(\"p\")\npermit (principal, action, resource) when {{ {when} }};");
        again(YAML, &text, &order())
    };
    assert_eq!(permit("context.gatepass.scopes.contains(\"w\")"), lacking("the scopes, for `p`"));
    assert_eq!(permit("context.task.id == \"t1\""), Again::Same);
    let none = Again::Denied { code: Code::PolicyDenied, rules: vec![] };
    assert_eq!(permit("context.task.id == \"t2\""), none);
    let mut unknown = order();
    unknown.agent = Some("agent:31111111-1111-1111-1111-111111111111".to_owned());
    let buyers =
        "@id(\"p\")\npermit (principal in Gatepass::Blueprint::\"buyer\", action, resource);";
    assert_eq!(again(YAML, buyers, &order()), Again::Same);
    assert_eq!(again(YAML, buyers, &unknown), lacking("the blueprint, for `p`"));
}

#[test]
fn a_route_that_is_gone_is_denied_and_one_beside_it_is_unclear() {
    let gone = Again::Denied { code: Code::NoRoute, rules: vec![] };
    let with = |from: &str, to: &str, record: &DecisionView| {
        assert!(YAML.contains(from));
        again(&YAML.replace(from, to), "", record)
    };
    assert_eq!(again(YAML, "", &order()), Again::Same);
    assert_eq!(with("POST /o", "PUT /o", &order()), gone);
    assert_eq!(with("names: [h.example]", "names: [i.example]", &order()), gone);
    let mut read = order();
    (read.action, read.method) = (Some("read".to_owned()), Some("GET".to_owned()));
    read.route = Some("/o/{id}".to_owned());
    assert_eq!(again(YAML, "", &read), Again::Same);
    let beside = "      - match: GET /o/special\n        public: true\n      - match: POST /o\n";
    assert_eq!(with("      - match: POST /o\n", beside, &read), lacking("path"));
    assert_eq!(with("      - match: POST /o\n", beside, &order()), Again::Same);
    let action = "whether the gatepass grants another action";
    assert_eq!(with("read", "see", &read), lacking(action));
}

#[test]
fn what_is_asked_for_anew_is_unclear_and_what_is_asked_for_no_more_is_not() {
    let with = |from: &str, to: &str| again(&YAML.replace(from, to), "", &order());
    let scopes = "scopes: {all: [w]}";
    assert_eq!(with(scopes, "scopes: {all: [w, x]}"), lacking("scopes added: x"));
    assert_eq!(with(scopes, "scopes: {all: []}"), Again::Same);
    assert_eq!(with(scopes, "approval: true"), lacking("approval false -> true"));
    assert_eq!(with(scopes, "staleness: 5s"), Again::Same);
    let stale = Again::Denied { code: Code::Stale, rules: vec![] };
    let mut old = order();
    old.age_ms = Some(5_001);
    assert_eq!(again(&YAML.replace(scopes, "staleness: 5s"), "", &old), stale);
    // Another policy may have asked for less.
    let mut earlier = order();
    earlier.policy = Some("1.1".to_owned());
    assert_eq!(again(YAML, "", &earlier), lacking(ANOTHER_POLICY));
    assert_eq!(again(YAML, &ALL.replace("permit", "forbid"), &earlier), by("all"));
}

#[test]
fn a_denial_is_lifted_only_where_it_is_certain() {
    let denied =
        |code: &str| DecisionView { outcome: "deny".to_owned(), code: code.to_owned(), ..order() };
    let of = |yaml: &str, cedar: &str, code: &str| again(yaml, cedar, &denied(code));
    assert_eq!(of(YAML, ALL, "policy_denied"), Again::Allowed);
    assert_eq!(of(YAML, &ALL.replace("permit", "forbid"), "policy_denied"), Again::Same);
    assert_eq!(of(YAML, ALL, "insufficient_scope"), Again::Same);
    let without = YAML.replace(", scopes: {all: [w]}", "");
    let scope = lacking("what `insufficient_scope` rests on");
    assert_eq!(of(&without, ALL, "insufficient_scope"), scope);
    assert_eq!(of(&without, ALL, "expired"), Again::Same);
    let public = YAML.replace("POST /o\n        action: write", "POST /o\n        public: true");
    let public = public.split("        inputs:\n          amount").next().unwrap().to_owned();
    assert_eq!(of(&public, "", "expired"), Again::Allowed);
    let shadow = YAML.replace("risk: low, body", "risk: low, mode: shadow, body");
    assert_eq!(of(&shadow, "", "expired"), Again::Allowed);
    // What went on in shadow mode is denied once it is enforced.
    let went_on = DecisionView { outcome: "shadow".to_owned(), ..denied("expired") };
    let expired = Again::Denied { code: Code::Expired, rules: vec![] };
    assert_eq!(again(YAML, "", &went_on), expired);
    assert_eq!(again(&shadow, "", &went_on), Again::Same);
    assert_eq!(again(YAML, "", &DecisionView { shadow: true, ..went_on }), Again::Same);
}

#[test]
fn what_became_of_each_is_counted_with_why() {
    let mut tally = Tally::default();
    for again in [Again::Same, by("no"), by("no"), Again::Allowed, lacking("path")] {
        tally.add(&order(), &again);
    }
    assert_eq!(
        tally.to_string(),
        "5 decisions
       1  the same
       2  would be denied
                 2  policy_denied by `no`
       1  would be allowed
                 1  no longer decided
       1  undecided
                 1  for want of path
"
    );
}
