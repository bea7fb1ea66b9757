//! What becomes of a request once the gate is ready: who is let through, as what, and how the
//! others are told.

use gatepass::issue::{Approval, Constraint, sign as sign_with};
use gatepass::keys::SecretKey;
use gatepass_engine::keyring::Algorithm;
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{Headers, LocalReply, Outcome, Request};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::signed::{AGENT, BLUEPRINT, ISSUER, JTI, OWNER, STRANGER, TASK, grant};
use gatepass_tests::kit::site::{Site, order, verdict};
use serde_json::{Value, json};

/// A good gatepass for reading, with one change to its claims.
fn token(site: &Site, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = site.control.claims(&grant("orders:read"), site.now()).unwrap();
    change(&mut claims);
    site.control.sign(&claims, ISSUER).unwrap()
}

fn reading(site: &Site) -> Request {
    order("GET", "/orders", Some(&token(site, |_| {})))
}

fn forwarded(site: &mut Site, request: Request) -> Headers {
    match site.workers[0].decide(request).unwrap() {
        Outcome::Continued(headers) => headers,
        other => panic!("{other:?}"),
    }
}

fn refused(site: &mut Site, request: Request) -> LocalReply {
    match site.workers[0].decide(request).unwrap() {
        Outcome::Replied(reply) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_upstream_of_a_granted_request_sees_who_acts_and_no_gatepass() {
    let mut site = Site::start(1).unwrap();
    let request = reading(&site).header("x-other", "kept");
    let stream = site.workers[0].send(request).unwrap();
    let worker = &site.workers[0];
    let upstream = worker.forwarded(stream).unwrap();
    let record = filter::record(worker, stream);
    let decision = record["id"].as_bytes();
    let expected: [(&str, Option<&[u8]>); 7] = [
        ("x-gatepass-agent", Some(AGENT.as_bytes())),
        ("x-gatepass-owner", Some(OWNER.as_bytes())),
        ("x-gatepass-task", Some(TASK.as_bytes())),
        ("x-gatepass-action", Some(b"orders:read")),
        ("x-gatepass-decision-id", Some(decision)),
        ("authorization", None),
        ("x-other", Some(b"kept")),
    ];
    for (name, value) in expected {
        assert_eq!(upstream.first(name), value, "{name}");
    }
    let id = &record["id"];
    let said = format!("decision=allow code=decided agent={AGENT} action=orders:read id={id}");
    assert_eq!(worker.filter_state(stream, "gatepass"), Some(said.as_bytes()));
    assert_eq!(worker.filter_state(stream, "gatepass_code"), None, "the refused alone have it");
    assert_eq!(site.metric("gatepass_decisions_by_code.allow.decided"), 1);
    assert_eq!(site.metric("gatepass_decisions_by_action.allow.orders:read"), 1);
}

#[test]
fn what_only_the_gate_may_say_is_taken_off_every_request() {
    let mut site = Site::start(1).unwrap();
    let spoofed = [
        "x-gatepass-agent",
        "X-Gatepass-Owner",
        "x_gatepass_agent",
        "x-gatepass_task",
        "x_GATEPASS-anything",
        "x-gatepass-",
        "txn-token",
        "Txn_Token",
        "x-http-method-override",
        "x_http_method_override",
        "x-http-method",
        "x-method-override",
    ];
    let pass = token(&site, |_| {});
    let cases = [
        (order("GET", "/orders", Some(&pass)), true),
        (order("GET", "/healthz", None), false),
        (order("GET", "/audit", None), false),
        (Request::to("GET", "static.example", "/"), false),
    ];
    for (mut request, granted) in cases {
        for name in spoofed {
            request = request.header(name, "spoofed").header(name, "twice");
        }
        let upstream = forwarded(&mut site, request);
        let values: Vec<&[u8]> = upstream.iter().map(|(_, value)| value).collect();
        for bad in ["spoofed", "twice", "spoofed,twice"] {
            assert!(!values.contains(&bad.as_bytes()), "{upstream:?}");
        }
        let ours = upstream.iter().filter(|(name, _)| name.starts_with(b"x-gatepass-")).count();
        assert_eq!(ours, if granted { 5 } else { 0 }, "{upstream:?}");
    }
}

#[test]
fn a_public_route_and_a_passed_through_host_need_no_gatepass_and_get_none() {
    let mut site = Site::start(1).unwrap();
    let pass = format!("Bearer {}", token(&site, |_| {}));
    for (host, path) in [("orders.example", "/healthz"), ("static.example", "/x")] {
        let request = || Request::to("GET", host, path);
        let upstream = forwarded(&mut site, request());
        assert_eq!(upstream.text("x-gatepass-decision-id"), None);
        let ours = forwarded(&mut site, request().header("authorization", &pass));
        assert_eq!(ours.text("authorization"), None, "a gatepass goes no further");
        let foreign = forwarded(&mut site, request().header("authorization", "Basic eA=="));
        assert_eq!(foreign.text("authorization"), Some("Basic eA=="));
    }
    let denied = [
        ("POST", "orders.example", "/healthz"),
        ("GET", "orders.example", "/healthz/x"),
        ("GET", "unknown.example", "/healthz"),
    ];
    for (method, host, path) in denied {
        let request = Request::to(method, host, path);
        assert_eq!(site.ask(0, request).unwrap(), "401 no_credential");
        let request = Request::to(method, host, path).header("authorization", &pass);
        assert_eq!(site.ask(0, request).unwrap(), "403 no_route");
    }
    assert_eq!(site.metric("gatepass_decisions_by_code.allow.public"), 3);
    assert_eq!(site.metric("gatepass_decisions_by_code.allow.passed_through"), 3);
}

#[test]
fn a_denial_says_why_in_every_place_that_can_tell() {
    let mut site = Site::start(1).unwrap();
    let pass = token(&site, |c| c["env"] = json!("dev"));
    let stream = site.workers[0].send(order("GET", "/orders", Some(&pass))).unwrap();
    let worker = &site.workers[0];
    let Outcome::Replied(reply) = worker.outcome(stream).unwrap() else {
        panic!("not answered");
    };
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let id = body["decision_id"].as_str().unwrap().to_owned();
    let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["code", "decision_id", "detail", "status", "title", "type"]);
    assert_eq!(body["type"], "urn:gatepass:denied:wrong_environment");
    assert_eq!(body["status"], 401);
    assert_eq!(body["code"], "wrong_environment");
    // RFC 9562: version 7, the time of the fake clock in front.
    let milliseconds = u64::from_str_radix(&id[..13].replace('-', ""), 16).unwrap();
    assert_eq!(milliseconds, site.now().0 * 1000);
    assert_eq!(&id[14..15], "7");
    assert!("89ab".contains(&id[19..20]), "{id}");
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("www-authenticate", "Bearer error=\"invalid_token\""),
    ] {
        assert_eq!(reply.headers.text(name), Some(value), "{name}");
    }
    assert_eq!(reply.details, "gatepass_denied_wrong_environment");
    assert_eq!(reply.grpc_status, None);
    // An agent is named only when its gatepass was verified.
    let said = format!("decision=deny code=wrong_environment action=orders:read id={id}");
    assert_eq!(worker.filter_state(stream, "gatepass"), Some(said.as_bytes()));
    let code = worker.filter_state(stream, "gatepass_code");
    assert_eq!(code, Some(&b"wrong_environment"[..]));
    assert_eq!(site.metric("gatepass_decisions_by_code.deny.wrong_environment"), 1);
    assert_eq!(site.metric("gatepass_decisions_by_action.deny.orders:read"), 1);
    let other = refused(&mut site, order("GET", "/orders", None));
    let other: Value = serde_json::from_slice(&other.body).unwrap();
    assert_ne!(other["decision_id"], id.as_str(), "each decision has its id");
}

#[test]
fn each_denial_has_its_status_and_code_and_the_same_request_without_the_flaw_is_allowed() {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    let mut check = |name: &str, request: Request, expected: &str| {
        let reply = match site.workers[0].decide(request).unwrap() {
            Outcome::Continued(_) => {
                assert_eq!(expected, "allow", "{name}");
                return;
            }
            other => {
                assert_eq!(verdict(&other), expected, "{name}");
                match other {
                    Outcome::Replied(reply) => reply,
                    _ => return,
                }
            }
        };
        let code = expected.split(' ').nth(1).unwrap();
        assert_eq!(reply.details, format!("gatepass_denied_{code}"));
        let challenge = reply.headers.text("www-authenticate");
        let expected_challenge = match (reply.status, code) {
            (_, "no_credential") => Some("Bearer"),
            (_, "insufficient_scope") => {
                Some("Bearer error=\"insufficient_scope\", scope=\"orders.write\"")
            }
            (401, _) => Some("Bearer error=\"invalid_token\""),
            _ => None,
        };
        assert_eq!(challenge, expected_challenge, "{name}");
        let retry = reply.headers.text("retry-after");
        assert_eq!(retry, (reply.status == 503).then_some("1"), "{name}");
    };
    let signed = Site::cold(0, |_| {}).unwrap();
    let mut read = |name, expected, change: &dyn Fn(&mut Value)| {
        let pass = token(&signed, |claims| change(claims));
        check(name, order("GET", "/orders", Some(&pass)), expected);
    };
    let t = now.0;
    read("as it is", "allow", &|_| {});
    let until = |exp: u64| {
        move |c: &mut Value| {
            c["iat"] = json!(t - 60);
            c["exp"] = json!(exp);
        }
    };
    read("expired", "401 expired", &until(t));
    read("not expired", "allow", &until(t + 1));
    read("future", "401 not_yet_valid", &|c| c["iat"] = json!(t + 31));
    read("nearly", "allow", &|c| c["iat"] = json!(t + 30));
    read("iss", "401 wrong_issuer", &|c| c["iss"] = json!("https://x.example"));
    read("env", "401 wrong_environment", &|c| c["env"] = json!("dev"));
    read("aud", "401 wrong_audience", &|c| c["aud"] = json!(["https://x.example"]));
    read("epoch", "401 wrong_epoch", &|c| c["seq"][0] = json!(6));
    read("older", "allow", &|c| c["seq"][1] = json!(1));
    read("ahead", "held", &|c| c["seq"][1] = json!(99));
    read("lifetime", "401 malformed", &|c| c["exp"] = json!(t + 3601));
    read("no jti", "401 malformed", &|c| {
        c.as_object_mut().unwrap().remove("jti");
    });
    read("client", "401 malformed", &|c| {
        c["client_id"] = json!("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e50");
    });
    read("workload", "403 unsupported_restriction", &|c| {
        c["req_wl"] = json!("spiffe://x/y");
    });
    read("cnf", "403 unsupported_restriction", &|c| {
        c["cnf"] = json!({"jkt": "x"});
    });
    read("unknown claim", "allow", &|c| c["extra"] = json!(1));
    read("unknown restriction", "403 unsupported_restriction", &|c| {
        c["authorization_details"][0]["weekdays"] = json!([1]);
    });
    read("not granted", "403 action_not_granted", &|c| {
        c["authorization_details"][0]["actions"] = json!(["orders:create"]);
    });
    read("location", "403 action_not_granted", &|c| {
        c["authorization_details"][0]["locations"] = json!(["https://x.example"]);
    });
    read("uses", "403 unsupported_restriction", &|c| {
        c["authorization_details"][0]["uses"] = json!(2);
    });

    let good = token(&signed, |_| {});
    let mut ask = |name, method, path, pass: Option<&str>, expected| {
        check(name, order(method, path, pass), expected);
    };
    ask("none", "GET", "/orders", None, "401 no_credential");
    ask("garbage", "GET", "/orders", Some("a.b.c"), "401 malformed");
    ask("two parts", "GET", "/orders", Some("a.b"), "401 malformed");
    let long = format!("{good}{}", "A".repeat(8 * 1024));
    ask("long", "GET", "/orders", Some(&long), "401 malformed");
    let tampered = swap_signature(&good, &token(&signed, |c| c["exp"] = json!(t + 200)));
    ask("signature", "GET", "/orders", Some(&tampered), "401 bad_signature");
    let claims = signed.control.claims(&grant("orders:read"), now).unwrap();
    let stranger = signed.control.sign(&claims, STRANGER).unwrap();
    ask("stranger", "GET", "/orders", Some(&stranger), "401 unknown_key");
    let key = SecretKey::from_seed(&[ISSUER; 32]).unwrap();
    let other = sign_with(&claims, Algorithm::Ed25519, &key).unwrap();
    ask("alg", "GET", "/orders", Some(&other), "401 unsupported_algorithm");
    ask("no route", "GET", "/nothing", Some(&good), "403 no_route");
    ask("method", "PATCH", "/orders", Some(&good), "403 no_route");
    for path in ["//orders", "/orders/../orders", "/orders%2f1", "/orders;a", "/orders\\1"] {
        ask(path, "GET", path, Some(&good), "400 ambiguous_request");
    }

    let create = |change: &dyn Fn(&mut gatepass::issue::Grant)| {
        let mut grant = grant("orders:create");
        change(&mut grant);
        signed.control.issue(&grant, now).unwrap()
    };
    let path = "/orders?amount=10.00&currency=EUR&item=pen";
    let mut buy = |name, expected, change: &dyn Fn(&mut gatepass::issue::Grant)| {
        check(name, order("POST", path, Some(&create(change))), expected);
    };
    buy("as it is", "allow", &|_| {});
    buy("scope", "403 insufficient_scope", &|g| g.scopes.clear());
    buy("life", "401 too_old", &|g| g.lifetime = 301);
    buy("static", "403 insufficient_assurance", &|g| {
        g.assurance = gatepass_engine::bundle::Assurance::Static;
    });
    let most = |amount: &'static str| {
        move |g: &mut gatepass::issue::Grant| {
            let bound = Constraint { max: Some(amount.into()), ..Constraint::default() };
            g.entries[0].constraints.insert("amount".into(), bound);
        }
    };
    buy("at the bound", "allow", &most("10.00 EUR"));
    buy("above", "403 constraint_violated", &most("9.99 EUR"));
    buy("currency", "403 constraint_violated", &most("10.00 USD"));

    let mut wipe = grant("orders:wipe");
    let pass = signed.control.issue(&wipe, now).unwrap();
    check("unapproved", order("DELETE", "/orders", Some(&pass)), "403 approval_required");
    wipe.approval = Some(Approval {
        id: "a1".into(),
        by: OWNER.into(),
        at: now,
        amr: vec!["hwk".into()],
        digest: [1; 32],
    });
    let pass = signed.control.issue(&wipe, now).unwrap();
    check("other", order("DELETE", "/orders", Some(&pass)), "403 approval_mismatch");
    let dpop = order("GET", "/orders", None).header("authorization", format!("DPoP {good}"));
    check("dpop", dpop, "401 binding_mismatch");
    let twice =
        order("GET", "/orders", Some(&good)).header("authorization", format!("Bearer {good}"));
    check("twice", twice, "400 ambiguous_request");
}

/// The header and claims of one gatepass with the signature of another.
fn swap_signature(of: &str, with: &str) -> String {
    let (signed, _) = of.rsplit_once('.').unwrap();
    let (_, signature) = with.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}

#[test]
fn each_revocation_hits_what_it_names_and_nothing_else() {
    let kid = SecretKey::from_seed(&[ISSUER; 32]).unwrap().id().to_string();
    let cases = [
        (Kind::Credential, JTI, "401 revoked_credential"),
        (Kind::Task, TASK, "401 revoked_task"),
        (Kind::Subject, AGENT, "401 revoked_subject"),
        (Kind::Agent, AGENT, "401 revoked_agent"),
        (Kind::Owner, OWNER, "401 revoked_owner"),
        (Kind::Blueprint, BLUEPRINT, "401 revoked_blueprint"),
        (Kind::Key, kid.as_str(), "401 revoked_key"),
    ];
    for (kind, id, expected) in cases {
        let mut site = Site::start(1).unwrap();
        let request = reading(&site);
        site.revoke(kind, "another").unwrap();
        assert_eq!(site.ask(0, request.clone()).unwrap(), "allow", "{kind:?}");
        site.revoke(kind, id).unwrap();
        assert_eq!(site.ask(0, request).unwrap(), expected);
        let again = reading(&site);
        let comes_back =
            matches!(kind, Kind::Subject | Kind::Agent | Kind::Owner | Kind::Blueprint);
        let expected = if comes_back { "allow" } else { expected };
        assert_eq!(site.ask(0, again).unwrap(), expected, "issued since");
    }
    let mut site = Site::start(1).unwrap();
    let mut child = grant("orders:read");
    child.ancestors = vec!["parent".into()];
    let pass = site.control.issue(&child, site.now()).unwrap();
    let request = order("GET", "/orders", Some(&pass));
    assert_eq!(site.ask(0, request.clone()).unwrap(), "allow");
    site.revoke(Kind::Credential, "parent").unwrap();
    assert_eq!(site.ask(0, request).unwrap(), "401 revoked_ancestor");
}

#[test]
fn upgrades_tunnels_and_bodies_are_denied_where_the_action_has_none() {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    let read = token(&site, |_| {});
    let note = site.control.issue(&grant("orders:note"), now).unwrap();
    let mut check = |request: Request, expected: &str| {
        let stream = site.workers[0].send(request).unwrap();
        let outcome = site.workers[0].outcome(stream).unwrap();
        assert_eq!(verdict(&outcome), expected);
    };
    check(order("GET", "/orders", Some(&read)), "allow");
    check(
        order("GET", "/orders", Some(&read)).header("upgrade", "websocket"),
        "403 stream_not_allowed",
    );
    check(order("GET", "/orders", None).header("upgrade", "websocket"), "401 no_credential");
    check(order("GET", "/healthz", None).header("upgrade", "h2c"), "401 no_credential");
    let connect = |extra: &[(&str, &str)]| {
        let mut all = vec![(":method", "CONNECT"), (":authority", "orders.example:443")];
        all.extend(extra);
        let request = Request::new(Headers::merged(&all));
        request.header("authorization", format!("Bearer {read}"))
    };
    check(connect(&[]), "403 stream_not_allowed");
    check(connect(&[(":path", "/orders"), (":protocol", "websocket")]), "403 stream_not_allowed");
    let open = Request::to("GET", "static.example", "/");
    check(open.clone(), "allow");
    check(open.header("upgrade", "websocket"), "401 no_credential");
    check(order("GET", "/orders", Some(&read)).with_body(), "403 body_not_allowed");
    check(order("POST", "/orders/1/notes", Some(&note)).with_body(), "allow");
    check(order("POST", "/orders/1/notes", Some(&note)), "allow");
}

#[test]
fn a_body_that_is_meant_goes_on_in_full() {
    let mut site = Site::start(1).unwrap();
    let note = site.control.issue(&grant("orders:note"), site.now()).unwrap();
    let worker = &mut site.workers[0];
    let stream = worker.send(order("POST", "/orders/1/notes", Some(&note)).with_body()).unwrap();
    worker.request_body(stream, &[1; 70_000], false).unwrap();
    worker.request_body(stream, &[2; 70_000], true).unwrap();
    assert_eq!(worker.forwarded_body(stream).len(), 140_000);
}

#[test]
fn an_upstream_cannot_speak_in_the_gates_name() {
    let mut site = Site::start(1).unwrap();
    let spoofed = [
        (":status", "200"),
        ("x-gatepass-agent", "spoofed"),
        ("x_gatepass_decision_id", "spoofed"),
        ("x-gatepass-vm", "spoofed"),
        ("x-gatepass-position", "spoofed"),
        ("x-other", "kept"),
    ];
    for request in
        [reading(&site), order("GET", "/healthz", None), Request::to("GET", "static.example", "/")]
    {
        let worker = &mut site.workers[0];
        let stream = worker.send(request).unwrap();
        worker.response(stream, &spoofed, true).unwrap();
        let client = worker.response_headers(stream).unwrap();
        assert_eq!(client, &Headers::merged(&[(":status", "200"), ("x-other", "kept")]));
    }
}

#[test]
fn the_position_is_exposed_where_a_test_asks_for_it_and_nowhere_else() {
    for exposed in [false, true] {
        let mut site = Site::with(1, |c| c["expose_position"] = exposed.into()).unwrap();
        let good = reading(&site);
        let position = site.control.position().to_string();
        let expected = exposed.then_some(position.as_str());
        let worker = &mut site.workers[0];
        let stream = worker.send(good).unwrap();
        let spoofed = [(":status", "200"), ("x-gatepass-position", "9.9")];
        worker.response(stream, &spoofed, true).unwrap();
        let client = worker.response_headers(stream).unwrap();
        assert_eq!(client.text("x-gatepass-position"), expected);
        let vm = client.text("x-gatepass-vm").map(str::len);
        assert_eq!(vm, exposed.then_some(16));
        let reply = refused(&mut site, order("GET", "/orders", None));
        assert_eq!(reply.headers.text("x-gatepass-position"), expected);
    }
}
