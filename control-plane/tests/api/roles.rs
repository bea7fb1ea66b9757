//! Every endpoint of the admin API for every role, held against what the OpenAPI document says.

use serde_json::{Value, json};

use crate::kit::Plane;

const ROLES: [&str; 5] = ["viewer", "operator", "approver", "auditor", "admin"];

/// Method, path with something in place of its names, and the roles that the document states.
pub(crate) fn documented() -> Vec<(String, String, Vec<String>)> {
    let document = gatepass::api::openapi();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let stated = operation["description"].as_str().unwrap();
            let roles = stated.strip_prefix("Roles: ").unwrap().strip_suffix('.').unwrap();
            let roles = roles.split(", ").map(str::to_owned).collect();
            all.push((method.to_uppercase(), filled(path), roles));
        }
    }
    all
}

/// A path with the id of nothing in place of its names.
fn filled(path: &str) -> String {
    let part = |part: &str| match part {
        "{version}" => "999".to_owned(),
        part if part.starts_with('{') => "nothing".to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn each_role_may_do_what_the_document_says_and_no_more() {
    let plane = Plane::new();
    let tokens: Vec<(&str, String)> = ROLES
        .iter()
        .map(|role| (*role, plane.operator(&format!("the-{role}"), role, None)))
        .collect();
    let before = plane.standing();
    let all = documented();
    assert!(all.len() > 40, "{}", all.len());
    let stated: Vec<&String> = all.iter().flat_map(|(.., roles)| roles).collect();
    assert!(ROLES.iter().all(|role| stated.iter().any(|known| known == role)));
    for (method, path, allowed) in &all {
        for (role, token) in &tokens {
            // Without a reason nothing is done, so whoever may ask is told of the body.
            let answer = plane.admin_as(token, method, path, &json!({}));
            let expected = if allowed.iter().any(|known| known == role) {
                assert_ne!(answer.status, 401, "{role} {method} {path}");
                assert_ne!(answer.status, 403, "{role} {method} {path}");
                continue;
            } else {
                403
            };
            assert_eq!(answer.status, expected, "{role} {method} {path}: {}", answer.text());
            assert_eq!(answer.json()["code"], "forbidden");
            assert!(answer.is_problem());
        }
    }
    assert_eq!(plane.standing(), before, "nobody changed anything");
}

#[test]
fn who_shows_no_living_token_is_told_nothing() {
    let plane = Plane::new();
    let ended = plane.operator("ended-token", "admin", None);
    let operators = plane.get("/v1/operators");
    let known = operators.as_array().unwrap().iter().find(|o| o["id"] == "ended-token").unwrap();
    let id = known["tokens"][0]["id"].as_str().unwrap();
    plane.change(&format!("/v1/tokens/{id}/end"), json!({}));
    let gone = plane.operator("gone", "admin", None);
    plane.change("/v1/operators/gone/end", json!({}));
    let short = plane.operator("short", "admin", None);
    plane.pass(86_400);
    let unknown = format!("gpo_{}", "A".repeat(43));
    for (method, path, _) in documented() {
        for (what, token) in [
            ("none", ""),
            ("ended", &ended),
            ("of an ended operator", &gone),
            ("expired", &short),
            ("unknown", &unknown),
            ("a join token", "gpj_x"),
        ] {
            let answer = plane.admin_as(token, &method, &path, &json!({ "reason": "x" }));
            assert_eq!(answer.status, 401, "{what} {method} {path}: {}", answer.text());
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(answer.json()["code"], "unauthenticated");
        }
    }
}

#[test]
fn two_tokens_in_one_request_are_none() {
    let plane = Plane::new();
    let bearer = format!("Bearer {}", plane.admin);
    let basic = format!("Basic {}", plane.admin);
    let to = plane.addresses().admin;
    let asked = |headers: &[(&str, &str)]| {
        crate::kit::send(to, "GET", "/v1/environment", headers, b"").status
    };
    assert_eq!(asked(&[("authorization", &bearer)]), 200);
    assert_eq!(asked(&[("authorization", &bearer), ("authorization", &bearer)]), 401);
    assert_eq!(asked(&[("authorization", &basic)]), 401);
    assert_eq!(asked(&[("authorization", &plane.admin)]), 401);
}

#[test]
fn what_is_no_endpoint_is_a_problem_like_any_other() {
    let plane = Plane::new();
    for (method, path, status) in [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/agents", 405),
        ("GET", "/v1/stop", 405),
        ("GET", "/v1/agents/%ff", 400),
        ("GET", "/v1/agents?staet=active", 400),
        ("GET", "/v1/policies/x", 400),
        ("GET", "/v1/policies/18446744073709551616", 400),
        ("GET", "/v1/audit/verify?anchor=x", 400),
    ] {
        let answer = plane.admin_as(&plane.admin, method, path, &Value::Null);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(answer.is_problem(), "{method} {path}: {}", answer.text());
    }
}
