//! What a policy says of bodies and of the calls in them: each field, and each mistake at its place.

use gatepass_engine::bundle::{ANSWERS, Protocol, Route};

use super::*;

const BODIES: &str = "\
actions:
  pay:
    risk: low
    body: json
    content_types: [application/json, application/vnd.pay+json]
  upload:
    risk: low
    body: digest
    encodings: [gzip]
  subscribe:
    risk: low
    body: form
  session:
    risk: low
    body: json
  note:
    risk: low
    body: unread
hosts:
  - names: [h.example]
    audience: https://h.example
    routes:
      - match: POST /pay/{id}
        action: pay
        max_body: 1MiB
        inputs:
          amount: {type: money, body: /order/amount, currency: {body: /order/currency}}
          to: {type: set, body: /order/to}
          item: {type: text, body: /order/items/0/a~1b}
      - match: PUT /files/{name}
        action: upload
        max_body: 512B
        inputs:
          name: {type: text, path: name}
      - match: POST /subscribe
        action: subscribe
        inputs:
          mail: {type: text, body: mail}
      - match: POST /mcp
        action: session
        mcp: [initialize, tools/list, answers]
      - match: POST /mcp
        action: session
        mcp: tools/call search
        max_body: 1KiB
        inputs:
          query: {type: text, argument: query}
          odd: {type: text, argument: a/b~c}
      - match: POST /mcp
        action: session
        mcp: tools/call *
      - match: POST /rpc
        action: session
        rpc: message/send
      - match: POST /notes
        action: note
";

fn routes(yaml: &str) -> Vec<Route> {
    let bundle = compile(yaml).unwrap().bundle;
    assert!(Index::build(bundle.clone()).is_ok());
    let Treatment::Guarded(routes) = &bundle.hosts[0].treatment else { panic!("guarded") };
    routes.clone()
}

#[test]
fn every_field_of_bodies_is_lowered() {
    let bundle = compile(BODIES).unwrap().bundle;
    let rules: Vec<BodyRule> = bundle.actions.iter().map(|action| action.body).collect();
    assert_eq!(
        rules,
        [BodyRule::Json, BodyRule::Digest, BodyRule::Form, BodyRule::Json, BodyRule::Unread]
    );
    assert_eq!(bundle.actions[0].content_types, ["application/json", "application/vnd.pay+json"]);
    assert_eq!(bundle.actions[1].encodings, ["gzip"]);
    let routes = routes(BODIES);
    let sizes: Vec<u32> = routes.iter().map(|route| route.max_body).collect();
    let usual = 64 << 10;
    assert_eq!(sizes, [1 << 20, 512, usual, usual, usual, usual, 1 << 10, usual, usual, usual]);
    let [amount, to, item] = routes[0].inputs.as_slice() else { panic!("three inputs") };
    assert_eq!(amount.source, Source::Body("/order/amount".into()));
    let from = Currency::From(Source::Body("/order/currency".into()));
    assert_eq!(amount.kind, InputKind::Money(from));
    assert_eq!((&to.kind, &to.source), (&InputKind::TextSet, &Source::Body("/order/to".into())));
    assert_eq!(item.source, Source::Body("/order/items/0/a~1b".into()));
    assert_eq!(routes[2].inputs[0].source, Source::Body("mail".into()));
    let calls: Vec<_> = routes.iter().filter_map(|route| route.call.as_ref()).collect();
    let named: Vec<(&str, Option<&str>)> =
        calls.iter().map(|call| (call.method.as_str(), call.name.as_deref())).collect();
    assert_eq!(
        named,
        [
            ("initialize", None),
            ("tools/list", None),
            (ANSWERS, None),
            ("tools/call", Some("search")),
            ("tools/call", None),
            ("message/send", None),
        ]
    );
    assert!(calls[..5].iter().all(|call| call.protocol == Protocol::Mcp));
    assert_eq!(calls[5].protocol, Protocol::JsonRpc);
    assert_eq!(routes[6].inputs[0].source, Source::Body("/params/arguments/query".into()));
    assert_eq!(routes[6].inputs[1].source, Source::Body("/params/arguments/a~1b~0c".into()));
}

/// `BODIES` with one text exchanged has exactly this problem, where the `^` is; `BODIES` itself has none.
fn check(from: &str, to: &str, expected: &str) {
    assert_eq!(problems(BODIES), [] as [&str; 0]);
    assert_eq!(BODIES.matches(from).count(), 1, "{from}");
    let marked = BODIES.replace(from, to);
    let (before, after) = marked.split_once('^').unwrap();
    let column = before.lines().last().unwrap_or_default().chars().count() + 1;
    let place = format!("{}:{column}: ", before.lines().count());
    let found = problems(&format!("{before}{after}"));
    assert_eq!(found.len(), 1, "{to}: {found:#?}");
    let told = found[0].strip_prefix(&place);
    assert!(
        told.is_some_and(|text| text.starts_with(expected)),
        "{to}:\n {}\n {place}{expected}",
        found[0]
    );
}

#[test]
fn a_size_is_told_of_at_its_field() {
    let expected = "expected a size such as `64KiB` or `1MiB`, found";
    for wrong in ["1 MiB", "1mib", "1MB", "64K", "1.5MiB", "-1KiB", "KiB", "''", "9999999999KiB"] {
        check("1MiB", &format!("^{wrong}"), expected);
    }
    check("1MiB", "^65536", &format!("{expected} the number `65536`"));
    for wrong in ["^0B", "^2MiB", "^1048577B", "^4095MiB"] {
        check("1MiB", wrong, "a body that is read must be 1 to 1048576 bytes");
    }
    assert_eq!(routes(&BODIES.replace("1MiB", "1048576B"))[0].max_body, 1 << 20);
    assert_eq!(routes(&BODIES.replace("1MiB", "1B"))[0].max_body, 1);
    // It would look like a bound and be none.
    check(
        "action: note",
        "action: note\n        max_body: ^1KiB",
        "`max_body` of a body that is not read; leave it out",
    );
}

#[test]
fn media_types_and_codings_are_told_of_at_their_field() {
    let types = "[application/json, application/vnd.pay+json]";
    for wrong in [
        "Application/json",
        "application/json; charset=utf-8",
        "json",
        "application/",
        "/json",
        "application/json/x",
        "application/*",
        "",
    ] {
        check(
            types,
            &format!("^['{wrong}']"),
            &format!("media type `{wrong}` must be `type/subtype` in lower case"),
        );
    }
    check(types, "^application/json", "expected a list of media types");
    check(types, "[^1]", "expected media types, found the number `1`; put it in quotes");
    check(types, &format!("^[{}]", ["a/b"; 17].join(", ")), "more than 16 media types");
    // The upstream would not read it as JSON.
    for other in ["multipart/form-data", "multipart/mixed", "application/x-www-form-urlencoded"] {
        check(
            types,
            &format!("^[{other}]"),
            &format!("an upstream does not read media type `{other}` as this action does"),
        );
    }
    check(
        "body: form",
        "body: form\n    content_types: ^[application/json]",
        "an upstream does not read media type `application/json` as this action does",
    );
    check(
        "body: unread",
        "body: unread\n    content_types: ^[text/plain]",
        "`content_types` are for a body that is read",
    );
    check("[gzip]", "^[GZIP]", "content coding `GZIP` must be one word in lower case");
    check("[gzip]", "^['gzip, br']", "content coding `gzip, br` must be one word");
    check("[gzip]", "^['']", "content coding `` must be one word");
    check(
        "body: form",
        "body: form\n    encodings: ^[gzip]",
        "`encodings` are for `body: digest`: the gate does not decode",
    );
}

#[test]
fn an_input_in_a_body_is_told_of_at_its_source() {
    let item = "{type: text, body: /order/items/0/a~1b}";
    for wrong in ["order", "order/item", "/", "//a", "/a/", "/a/-", "/a~2", "/a~", "/a b", "/é"] {
        check(
            item,
            &format!("{{type: text, body: ^'{wrong}'}}"),
            &format!("`{wrong}` must be a JSON pointer such as /order/amount"),
        );
    }
    let deep = "/a".repeat(17);
    check(
        item,
        &format!("{{type: text, body: ^{deep}}}"),
        &format!("`{deep}` must be a JSON pointer"),
    );
    check(
        "currency: {body: /order/currency}",
        "currency: {body: ^order.currency}",
        "`order.currency` must be a JSON pointer",
    );
    let mail = "{type: text, body: mail}";
    for wrong in ["/mail", "mail[]", "ma il", ""] {
        check(
            mail,
            &format!("{{type: text, body: ^'{wrong}'}}"),
            &format!("form key `{wrong}` must match [A-Za-z0-9_.-]+"),
        );
    }
    check(mail, "{type: text, body: ^1}", "expected a name, found the number `1`");
    let set = "a set of texts stands in a body of JSON";
    check(mail, "{type: ^set, body: mail}", set);
    check("{type: text, path: name}", "{type: ^set, path: name}", set);
    check(
        "{type: text, path: name}",
        "{type: text, body: ^/name}",
        "an input in the body needs an action with `body: json` or `body: form`",
    );
    check(
        "action: note",
        "action: note\n        inputs: ^{a: {type: text, body: /a}}",
        "action `note` passes its body unread",
    );
    // An argument is of a call of MCP alone.
    check(
        mail,
        "{type: text, argument: ^mail}",
        "an `argument` is of a call of `mcp`; write where it stands",
    );
    check(
        "rpc: message/send",
        "rpc: message/send\n        inputs: {a: {type: text, argument: ^a}}",
        "an `argument` is of a call of `mcp`",
    );
    check(
        "{type: text, argument: query}",
        "{type: text, argument: ^'a b'}",
        "`/params/arguments/a b` must be a JSON pointer",
    );
}

#[test]
fn a_call_is_told_of_at_its_field() {
    for (wrong, expected) in [
        ("^[]", "no method is named"),
        ("^1", "expected a method such as `tools/call search`, found the number `1`"),
        ("^{a: b}", "expected a method such as `tools/call search`, found"),
        ("^initialize now", "calls of `initialize` have no name"),
        ("^'tools/call '", "`` is no name of a tool, a prompt or a resource"),
        ("^\"tools/call a\\tb\"", "`a\tb` is no name of a tool, a prompt or a resource"),
        ("^' search'", "`` is no name of a JSON-RPC method"),
        ("^$answers", "`$answers` is no name of a JSON-RPC method"),
        ("^é", "`é` is no name of a JSON-RPC method"),
    ] {
        check("mcp: tools/call search", &format!("mcp: {wrong}"), expected);
    }
    let rpc = "match: POST /rpc\n        action: session\n        rpc: message/send";
    let route = |line: &str, target: &str, call: &str| {
        format!("match: {line}\n        {target}\n        {call}")
    };
    let session = "action: session";
    let call = "rpc: message/send";
    for (line, target, said, expected) in [
        ("POST /rpc", session, "rpc: ^message/send x", "calls of `message/send` have no name"),
        ("POST /rpc", session, "rpc: ^''", "`` is no name of a JSON-RPC method"),
        (
            "POST /rpc",
            session,
            "rpc: ^message/send\n        mcp: ping",
            "a route has `mcp` or `rpc`, not both; keep one of them",
        ),
        ("^POST,GET /rpc", session, call, "a route for a call needs the method `POST`"),
        ("^GET /rpc", session, call, "a route for a call needs the method `POST`"),
        (
            "POST /rpc",
            "action: note",
            "rpc: ^message/send",
            "a route for a call needs an action with `body: json`",
        ),
        (
            "POST /rpc",
            "public: true",
            "rpc: ^message/send",
            "a route for a call needs an action with `body: json`",
        ),
        (
            "POST /rpc",
            "action: pay",
            "rpc: ^message/send",
            "a call is `application/json`: its action needs no `content_types`",
        ),
        // One path speaks one protocol, and is not also a plain route; a call has one route.
        ("^POST /mcp", session, call, "`POST /mcp` is as specific as another route"),
        ("^POST /mcp", session, "mcp: initialize", "`POST /mcp` is as specific as another route"),
        ("^POST /mcp", session, "mcp: tools/call *", "`POST /mcp` is as specific as another"),
        ("^POST /mcp", session, "max_body: 1KiB", "`POST /mcp` is as specific as another route"),
    ] {
        check(rpc, &route(line, target, said), expected);
    }
    // Several calls of one route are told of once.
    check(
        "action: session\n        mcp: [initialize, tools/list, answers]",
        "action: note\n        mcp: ^[initialize, tools/list, answers]",
        "a route for a call needs an action with `body: json`",
    );
}

#[test]
fn nothing_is_approved_that_is_not_read() {
    let approval = |body: &str| format!("{body}\n    approval: true");
    check(
        "body: unread",
        &approval("body: ^unread"),
        "action `note` asks for approval of what it does not read",
    );
    for body in ["digest", "json", "form", "none"] {
        let read = BODIES.replace("body: unread", &approval(&format!("body: {body}")));
        assert_eq!(problems(&read), [] as [&str; 0], "{body}");
    }
}

#[test]
fn an_upgrade_takes_no_body_that_is_read() {
    check(
        "match: POST /subscribe",
        "match: POST /subscribe\n        upgrade: ^websocket",
        "a route with `upgrade` needs an action with `body: unread`",
    );
}
