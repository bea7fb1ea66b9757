//! The token endpoint: each thing that is wrong with a request has its own OAuth error, and
//! nothing is issued.

use serde_json::{Value, json};

use crate::kit::{Ask, FILES, Follower, ORDERS, Plane, claims, post, send};

#[test]
fn each_mistake_has_its_oauth_error() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let create =
        |entry: Value| Ask::entry(entry).with("resource", ORDERS).with("scope", "orders.write");
    let bounded = |constraint: Value| {
        create(json!({ "actions": ["orders:create"], "constraints": { "amount": constraint } }))
    };
    agent.gatepass(&plane, &Ask::read());
    agent.gatepass(&plane, &bounded(json!({ "max": "500 EUR" })));
    let details = |text: &str| Ask::read().but("authorization_details", text);
    let many = |n: usize| {
        Ask::read()
            .but("resource", "")
            .0
            .into_iter()
            .chain((0..n).map(|n| ("resource".to_owned(), format!("https://{n}.example"))))
            .collect::<Vec<_>>()
    };
    let cases: Vec<(&str, Ask, &str)> = vec![
        ("no grant", Ask::read().without("grant_type"), "invalid_request"),
        ("a grant twice", Ask::read().with("grant_type", "client_credentials"), "invalid_request"),
        ("another grant", Ask::read().but("grant_type", "password"), "unsupported_grant_type"),
        ("no details", Ask::read().without("authorization_details"), "invalid_request"),
        ("details twice", Ask::read().with("authorization_details", "[]"), "invalid_request"),
        ("a lifetime of none", Ask::read().with("lifetime", "0"), "invalid_request"),
        ("a lifetime of words", Ask::read().with("lifetime", "long"), "invalid_request"),
        ("a foreign task", Ask::read().with("task", "t"), "invalid_request"),
        ("empty details", details("[]"), "invalid_authorization_details"),
        ("details that are no list", details("{}"), "invalid_authorization_details"),
        ("details that are no JSON", details("["), "invalid_authorization_details"),
        ("details that close early", details(r#"[],"x":[]"#), "invalid_authorization_details"),
        (
            "another type",
            details(r#"[{"type":"x","actions":["orders:read"]}]"#),
            "invalid_authorization_details",
        ),
        ("no type", details(r#"[{"actions":["orders:read"]}]"#), "invalid_authorization_details"),
        (
            "an unknown member",
            details(r#"[{"type":"agent_action","actions":["orders:read"],"x":1}]"#),
            "invalid_authorization_details",
        ),
        (
            "a member twice",
            details(
                r#"[{"type":"agent_action","actions":["orders:read"],"actions":["orders:create"]}]"#,
            ),
            "invalid_authorization_details",
        ),
        (
            "seventeen entries",
            Ask::read().but(
                "authorization_details",
                &Value::from(vec![json!({"type":"agent_action","actions":["orders:read"]}); 17])
                    .to_string(),
            ),
            "invalid_authorization_details",
        ),
        (
            "an identifier",
            Ask::entry(json!({"actions":["orders:read"],"identifier":"1"})),
            "invalid_authorization_details",
        ),
        (
            "two uses",
            Ask::entry(json!({"actions":["orders:read"],"uses":2})).with("resource", ORDERS),
            "invalid_authorization_details",
        ),
        ("an unknown action", Ask::actions(&["orders:burn"]), "invalid_authorization_details"),
        ("no action's name", Ask::actions(&["Orders Read"]), "invalid_authorization_details"),
        (
            "one action too wide",
            Ask::actions(&["orders:read", "orders:create"]),
            "invalid_authorization_details",
        ),
        ("no bound", create(json!({"actions":["orders:create"]})), "invalid_authorization_details"),
        (
            "a higher bound",
            bounded(json!({"max": "500.0001 EUR"})),
            "invalid_authorization_details",
        ),
        ("another currency", bounded(json!({"max": "5.00 USD"})), "invalid_authorization_details"),
        ("a floor instead", bounded(json!({"min": "1.00 EUR"})), "invalid_authorization_details"),
        (
            "a list beyond",
            bounded(json!({"in": ["1.00 EUR", "501.00 EUR"]})),
            "invalid_authorization_details",
        ),
        ("an empty list", bounded(json!({"in": []})), "invalid_authorization_details"),
        ("no bound in effect", bounded(json!({"max": null})), "invalid_authorization_details"),
        ("a bound of another kind", bounded(json!({"max": {}})), "invalid_authorization_details"),
        (
            "a value no gate reads",
            Ask::entry(json!({"actions":["orders:read"],"constraints":{"id":{"equals":{}}}}))
                .with("resource", ORDERS),
            "invalid_authorization_details",
        ),
        (
            "a number no gate reads",
            Ask::entry(json!({"actions":["orders:read"],"constraints":{"id":{"max":1.5}}}))
                .with("resource", ORDERS),
            "invalid_authorization_details",
        ),
        (
            "a prefix beside",
            Ask::entry(json!({"actions":["files:read"],"constraints":{"path":{"prefix":"/pub"}}}))
                .with("resource", FILES),
            "invalid_authorization_details",
        ),
        (
            "a prefix that climbs",
            Ask::entry(
                json!({"actions":["files:read"],"constraints":{"path":{"prefix":"/public/../"}}}),
            )
            .with("resource", FILES),
            "invalid_authorization_details",
        ),
        (
            "beyond the locations",
            Ask::entry(json!({"actions":["orders:read"],"locations":[FILES]})),
            "invalid_authorization_details",
        ),
        (
            "at two systems of which one is beyond",
            Ask::read().with("resource", FILES),
            "invalid_authorization_details",
        ),
        ("no system", Ask::read().without("resource"), "invalid_target"),
        ("a system that is no URI", Ask::read().with("resource", "orders"), "invalid_target"),
        ("nine systems", Ask(many(9)), "invalid_target"),
        ("a scope beyond", Ask::read().with("scope", "admin"), "invalid_scope"),
        (
            "a scope twice",
            Ask::read().with("scope", "orders.read").with("scope", "orders.write"),
            "invalid_request",
        ),
        (
            "a scope that the action needs",
            bounded(json!({"max": "1 EUR"})).without("scope"),
            "invalid_scope",
        ),
        (
            "exchange without a token",
            Ask::exchange("x", json!({"actions":["orders:read"]})).without("subject_token"),
            "invalid_request",
        ),
        (
            "exchange without its type",
            Ask::exchange("x", json!({"actions":["orders:read"]})).without("subject_token_type"),
            "invalid_request",
        ),
        (
            "exchange of another type",
            Ask::exchange("x", json!({"actions":["orders:read"]}))
                .but("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
            "invalid_request",
        ),
        (
            "an actor token",
            Ask::exchange("x", json!({"actions":["orders:read"]})).with("actor_token", "x"),
            "invalid_request",
        ),
        (
            "another token wanted",
            Ask::exchange("x", json!({"actions":["orders:read"]}))
                .with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            "invalid_request",
        ),
        (
            "exchange of nothing",
            Ask::exchange("x", json!({"actions":["orders:read"]})),
            "invalid_grant",
        ),
    ];
    let before = plane.standing();
    for (what, ask, error) in cases {
        let answer = agent.ask(&plane, &ask);
        assert_eq!(answer.json()["error"], error, "{what}: {}", answer.text());
        assert_eq!(answer.status, 400, "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    }
    assert_eq!(plane.standing(), before);
}

#[test]
fn each_wrong_assertion_is_invalid_client() {
    let plane = Plane::furnished();
    let (agent, other) = (plane.agent(1), plane.agent(2));
    let good = agent.claims(&plane);
    let with = |name: &str, value: Value| {
        let mut claims = agent.claims(&plane);
        claims[name] = value;
        agent.sign(&claims)
    };
    let endpoint = format!("{}/oauth2/token", plane.issuer);
    let mut no_jti = good.clone();
    no_jti.as_object_mut().unwrap().remove("jti");
    let mut parts: Vec<String> = agent.sign(&good).split('.').map(str::to_owned).collect();
    parts[2] = parts[2].chars().rev().collect();
    let none = agent.sign_as(&json!({ "alg": "none" }), &agent.claims(&plane));
    let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
    let unknown = crate::kit::Agent::new("agent:11111111-1111-1111-1111-111111111111", 1);
    let cases = [
        ("of another issuer", with("aud", "https://other.example".into())),
        ("for the endpoint", with("aud", endpoint.into())),
        ("for two", with("aud", json!([plane.issuer, "https://other.example"]))),
        ("for none", with("aud", json!([]))),
        ("expired", with("exp", plane.now().into())),
        ("for too long", with("exp", (plane.now() + 331).into())),
        ("issued tomorrow", with("iat", (plane.now() + 86_400).into())),
        ("not yet good", with("nbf", (plane.now() + 60).into())),
        ("by another", with("iss", other.id.clone().into())),
        ("of another", with("sub", other.id.clone().into())),
        ("of a person", with("sub", "user:corp/alice".into())),
        ("without an id", agent.sign(&no_jti)),
        ("with an id of two words", with("jti", "a b".into())),
        ("with a broken signature", parts.join(".")),
        ("unsigned", unsigned),
        ("with `alg` none", none),
        ("of another algorithm", agent.sign_as(&json!({ "alg": "HS256" }), &agent.claims(&plane))),
        ("by a key of nobody", crate::kit::Agent::new(&agent.id, 77).sign(&agent.claims(&plane))),
        ("of an unknown agent", unknown.sign(&unknown.claims(&plane))),
        (
            "by another agent's key",
            crate::kit::Agent::new(&agent.id, 2).sign(&agent.claims(&plane)),
        ),
        ("no JWT", "x".to_owned()),
        ("endless", format!("{}.{}", "x".repeat(5000), "x")),
    ];
    let before = plane.standing();
    for (what, assertion) in cases {
        for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/v1/tasks"] {
            let ask = Ask::read().with("token", "x");
            let answer = agent.post_with(&plane, path, &ask, &assertion);
            assert_eq!(answer.status, 401, "{what} {path}: {}", answer.text());
            assert_eq!(answer.json()["error"], "invalid_client", "{what} {path}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let named = Ask::read().with("client_id", &other.id);
    assert_eq!(agent.refused(&plane, &named), "invalid_client");
    let bare = post(&plane, "/oauth2/token", &Ask::read());
    assert_eq!((bare.status, &bare.json()["error"]), (401, &json!("invalid_client")));
    let kind = Ask::read().with("client_assertion_type", "x");
    assert_eq!(post(&plane, "/oauth2/token", &kind).json()["error"], "invalid_client");
    assert_eq!(plane.standing(), before);
    agent.gatepass(&plane, &Ask::read().with("client_id", &agent.id));
}

#[test]
fn an_assertion_is_good_once_whatever_came_of_it() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let tried = |ask: &Ask, assertion: &str| {
        let answer = agent.post_with(&plane, "/oauth2/token", ask, assertion);
        (answer.status, answer.json()["error"].clone())
    };
    let used = agent.sign(&agent.claims(&plane));
    assert_eq!(tried(&Ask::read(), &used).0, 200);
    assert_eq!(tried(&Ask::read(), &used), (401, "invalid_client".into()));
    let given = agent.post_with(&plane, "/v1/tasks", &Ask::default(), &used);
    assert_eq!(given.status, 401, "nor at another endpoint");
    let failed = agent.sign(&agent.claims(&plane));
    let beyond = tried(&Ask::actions(&["orders:burn"]), &failed);
    assert_eq!(beyond, (400, "invalid_authorization_details".into()));
    assert_eq!(tried(&Ask::read(), &failed), (401, "invalid_client".into()));
    let foreign = agent.sign(&agent.claims(&plane));
    let named = Ask::default().with("task", "nothing");
    let complete = |assertion: &str| {
        agent.post_with(&plane, "/v1/tasks/complete", &named, assertion).json()["error"].clone()
    };
    assert_eq!(complete(&foreign), "invalid_request");
    assert_eq!(complete(&foreign), "invalid_client");
    assert_eq!(tried(&Ask::read(), &foreign), (401, "invalid_client".into()));
    // It is forgotten only when it has expired.
    plane.pass(59);
    assert_eq!(tried(&Ask::read(), &used), (401, "invalid_client".into()));
    plane.pass(1);
    assert_eq!(tried(&Ask::read(), &used), (401, "invalid_client".into()));
}

#[test]
fn what_is_refused_leaves_no_task_behind() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    for _ in 0..3 {
        agent.refused(&plane, &Ask::actions(&["orders:create"]));
        agent.refused(
            &plane,
            &Ask::entry(json!({
                "actions": ["orders:create"], "constraints": { "amount": { "max": "1 EUR" } },
            }))
            .with("resource", ORDERS),
        );
    }
    let dossier = plane.get(&format!("/v1/agents/{}", agent.id));
    assert_eq!(dossier["open_tasks"], json!([]));
    agent.gatepass(&plane, &Ask::read());
    let dossier = plane.get(&format!("/v1/agents/{}", agent.id));
    assert_eq!(dossier["open_tasks"].as_array().unwrap().len(), 1);
}

#[test]
fn a_gatepass_lives_as_long_as_risk_ceiling_and_registration_allow() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let life = |ask: Ask| {
        let token = claims(&agent.gatepass(&plane, &ask.with("lifetime", "999999")));
        token["exp"].as_u64().unwrap() - token["iat"].as_u64().unwrap()
    };
    assert_eq!(life(Ask::read()), 1800, "the ceiling's, for low");
    assert_eq!(life(Ask::actions(&["orders:list"])), 900, "medium");
    assert_eq!(life(Ask::actions(&["orders:read", "orders:list"])), 900, "the shorter");
    let create = json!({
        "actions": ["orders:create"], "constraints": { "amount": { "max": "1 EUR" } },
    });
    assert_eq!(
        life(Ask::entry(create).with("resource", ORDERS).with("scope", "orders.write")),
        300
    );
    let short = claims(&agent.gatepass(&plane, &Ask::read().with("lifetime", "7")));
    assert_eq!(short["exp"].as_u64().unwrap(), plane.now() + 7);
    // Registration lasts thirty days.
    plane.pass(30 * 86_400 - 100);
    plane.change("/v1/policies", json!({ "content": crate::kit::POLICY }));
    let last = claims(&agent.gatepass(&plane, &Ask::read()));
    assert_eq!(last["exp"].as_u64().unwrap(), plane.now() + 100);
    plane.pass(100);
    assert_eq!(agent.refused(&plane, &Ask::read()), "unauthorized_client");
}

#[test]
fn what_is_issued_is_what_the_gate_allows_and_no_more() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let ask = Ask::entry(json!({
        "actions": ["orders:create"], "constraints": { "amount": { "max": "20.00 EUR" } },
    }));
    let token = agent.gatepass(&plane, &ask.with("resource", ORDERS).with("scope", "orders.write"));
    let gate = Follower::of(&plane);
    assert_eq!(gate.orders("amount=20.00&currency=EUR", &token), Ok(()));
    use gatepass_engine::Code;
    assert_eq!(gate.orders("amount=20.01&currency=EUR", &token), Err(Code::ConstraintViolated));
    assert_eq!(gate.orders("amount=1&currency=USD", &token), Err(Code::ConstraintViolated));
    assert_eq!(gate.reads(&token), Err(Code::ActionNotGranted));
    let at_files = gate.says("GET", "files.example", "/file?path=/public/a", &token);
    assert_eq!(at_files, Err(Code::WrongAudience));
}

#[test]
fn one_agent_does_not_use_up_what_others_ask_for() {
    let plane = Plane::furnished();
    let (agent, other) = (plane.agent(1), plane.agent(2));
    for _ in 0..600 {
        agent.ask(&plane, &Ask::default().with("grant_type", "client_credentials"));
    }
    let answer = agent.ask(&plane, &Ask::read());
    assert_eq!((answer.status, &answer.json()["error"]), (429, &json!("too_many_requests")));
    assert_eq!(agent.post(&plane, "/v1/tasks", &Ask::default()).status, 429);
    other.gatepass(&plane, &Ask::read());
    plane.pass(60);
    agent.gatepass(&plane, &Ask::read());
}

#[test]
fn what_is_no_form_is_an_oauth_error_too() {
    let plane = Plane::new();
    let to = plane.addresses().agents;
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/v1/tasks"] {
        for (kind, body) in [
            ("application/json", b"{}".to_vec()),
            ("text/plain", b"grant_type=client_credentials".to_vec()),
            ("application/x-www-form-urlencoded", b"grant_type=%ff".to_vec()),
            ("application/x-www-form-urlencoded", b"a=1&".repeat(65)),
        ] {
            let answer = send(to, "POST", path, &[("content-type", kind)], &body);
            assert!((400..=415).contains(&answer.status), "{path} {kind}: {}", answer.text());
            assert!(answer.json()["error"].is_string(), "{path} {kind}");
        }
    }
}

#[test]
fn what_nobody_has_vouched_for_is_small() {
    let plane = Plane::new();
    let addresses = plane.addresses();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let posted = |bytes: usize| {
        let body = b"a=&".iter().copied().cycle().take(bytes).collect::<Vec<u8>>();
        send(addresses.agents, "POST", "/oauth2/token", &form, &body)
    };
    let read = posted(64 << 10);
    assert_eq!((read.status, &read.json()["error"]), (400, &json!("invalid_request")));
    assert!(read.text().contains("too many parameters"), "{}", read.text());
    assert_eq!(posted((64 << 10) + 1).status, 413);
    // Where nothing is posted, nothing is read; gates post what they have decided, and no more than that.
    let more_than_a_batch = vec![b'x'; (1 << 20) + 1];
    for (to, too_much) in [(addresses.metrics, &b"x"[..]), (addresses.feed, &more_than_a_batch)] {
        assert_eq!(send(to, "GET", "/healthz", &[], b"").status, 200);
        assert_eq!(send(to, "GET", "/healthz", &[], too_much).status, 413);
    }
}

#[test]
fn a_gatepass_that_no_gate_would_read_is_not_issued() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let long = "x".repeat(1000);
    let entry = json!({
        "actions": ["orders:read"], "constraints": { "id": { "in": vec![long.as_str(); 10] } },
    });
    assert_eq!(
        agent.refused(&plane, &Ask::entry(entry).with("resource", ORDERS)),
        "invalid_request"
    );
    let scopes = ["orders.read"; 700].join(" ");
    assert_eq!(agent.refused(&plane, &Ask::read().with("scope", &scopes)), "invalid_request");
}

#[test]
fn a_resource_says_whom_to_ask_and_for_which_scopes() {
    let plane = Plane::furnished();
    let path = |resource: &str| format!("/oauth2/protected-resource?resource={resource}");
    let asked = |path: &str| send(plane.addresses().agents, "GET", path, &[], b"");
    let metadata = asked(&path(ORDERS)).json();
    assert_eq!(metadata["resource"], ORDERS);
    assert_eq!(metadata["authorization_servers"], json!([plane.issuer]));
    let scopes = metadata["scopes_supported"].as_array().unwrap();
    assert!(scopes.contains(&json!("orders.write")), "{metadata}");
    for (query, expected) in [
        (path("https://nobody.example"), 404),
        ("/oauth2/protected-resource".to_owned(), 400),
        (format!("{}&resource={FILES}", path(ORDERS)), 400),
    ] {
        assert_eq!(asked(&query).status, expected, "{query}");
    }
}
