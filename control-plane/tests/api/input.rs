//! Whatever is wrong with what is sent, the answer names it and nothing has changed.

use serde_json::{Map, Value, json};

use crate::kit::{Answer, Plane, send};

/// A change endpoint as the document has it: path, members by name with their schema, and those
/// that must be there.
struct Endpoint {
    path: String,
    members: Map<String, Value>,
    required: Vec<String>,
    in_path: Vec<String>,
}

fn endpoints() -> Vec<Endpoint> {
    let document = gatepass::api::openapi();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("post") else { continue };
        // What is no change may say anything that a request can.
        if path == "/v1/explain" {
            continue;
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        all.push(Endpoint {
            path: path.clone(),
            members: schema["properties"].as_object().unwrap().clone(),
            required: serde_json::from_value(schema["required"].clone()).unwrap(),
            in_path: in_path.map(str::to_owned).collect(),
        });
    }
    assert!(all.len() > 30);
    all
}

impl Endpoint {
    fn filled(&self) -> String {
        self.path.replace("{version}", "999").replace(['{', '}'], "")
    }

    /// A body that parses, naming nothing that exists.
    fn body(&self) -> Value {
        let mut body = json!({});
        for name in &self.required {
            body[name.as_str()] = match (name.as_str(), self.members[name]["type"].as_str()) {
                ("ceiling", _) => json!({ "entries": [{ "actions": ["a:b"] }] }),
                ("role", _) => "viewer".into(),
                ("digest", _) => "a".repeat(64).into(),
                ("key", _) => crate::kit::key_of(1),
                (_, Some("integer")) => 1.into(),
                _ => "x".into(),
            };
        }
        body
    }
}

fn post(plane: &Plane, path: &str, kind: &str, body: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", plane.admin);
    let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
    send(plane.addresses().admin, "POST", path, &headers, body)
}

fn check(plane: &Plane, what: &str, answer: &Answer, field: Option<&str>) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    assert!(answer.is_problem(), "{what}: {}", answer.text());
    if let Some(field) = field {
        assert_eq!(answer.json()["field"], field, "{what}: {}", answer.text());
    }
    let _ = plane;
}

#[test]
fn what_is_wrong_with_a_body_is_named_and_nothing_changes() {
    let plane = Plane::furnished();
    let before = plane.standing();
    for endpoint in endpoints() {
        let path = endpoint.filled();
        let tried = |what: &str, body: &Value, field: Option<&str>| {
            let what = format!("{path}: {what}");
            check(
                &plane,
                &what,
                &post(&plane, &path, "application/json", body.to_string().as_bytes()),
                field,
            );
        };
        let good = endpoint.body();
        for name in &endpoint.required {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(name);
            tried(&format!("without {name}"), &body, Some(name));
        }
        for (name, schema) in &endpoint.members {
            // Of a key, see below.
            for wrong in [
                json!(null),
                json!([]),
                json!({ "x": 1 }),
                json!(true),
                json!(-1),
                json!(1.5),
                json!("x"),
            ] {
                let fits = match schema["type"].as_str() {
                    Some("string") => wrong.is_string(),
                    Some("integer") => wrong.is_u64(),
                    Some("boolean") => wrong.is_boolean(),
                    // Optional, or a schema of its own.
                    _ if name == "key" => true,
                    _ => wrong.is_null() || wrong.is_string() || wrong.is_object(),
                };
                if fits {
                    continue;
                }
                let mut body = good.clone();
                body[name.as_str()] = wrong.clone();
                let answer = post(&plane, &path, "application/json", body.to_string().as_bytes());
                check(&plane, &format!("{path}: {name} = {wrong}"), &answer, None);
                let field = answer.json()["field"].as_str().unwrap_or_default().to_owned();
                assert!(
                    field.starts_with(name.as_str()),
                    "{path}: {name} = {wrong}: {}",
                    answer.text()
                );
            }
            if schema["type"] == "string" {
                for text in ["", " ", "a\nb", "a\u{0}b", "\u{1b}[31m", &"x".repeat(70_000)] {
                    if name == "content" || name == "envelope" {
                        continue;
                    }
                    let mut body = good.clone();
                    body[name.as_str()] = text.into();
                    tried(
                        &format!("{name} = {:.20}", text.escape_debug().to_string()),
                        &body,
                        None,
                    );
                }
            }
        }
        // Proposals take nothing but a reason; what else stands there is not for them.
        let mut body = good.clone();
        body["nonsense"] = 1.into();
        tried("an unknown member", &body, Some("nonsense"));
        for name in &endpoint.in_path {
            let mut body = good.clone();
            body[name.as_str()] = "other".into();
            tried("what the path says", &body, Some(name));
        }
        let text = good.to_string();
        let twice = format!("{},\"reason\":\"again\"}}", text.strip_suffix('}').unwrap());
        for (what, kind, body) in [
            ("a member twice", "application/json", twice.into_bytes()),
            ("no JSON", "application/json", b"{".to_vec()),
            ("a list", "application/json", b"[]".to_vec()),
            ("nothing", "application/json", b"".to_vec()),
            ("not UTF-8", "application/json", b"{\"reason\":\"\xff\"}".to_vec()),
            ("deep", "application/json", [b"{\"reason\":".to_vec(), b"[".repeat(100_000)].concat()),
            ("more after it", "application/json", format!("{text}{text}").into_bytes()),
            ("another type", "text/plain", text.clone().into_bytes()),
            ("no type", "", text.clone().into_bytes()),
            ("huge", "application/json", vec![b' '; (1 << 20) + 1]),
        ] {
            check(&plane, &format!("{path}: {what}"), &post(&plane, &path, kind, &body), None);
        }
    }
    assert_eq!(plane.standing(), before, "nothing changed and nothing is on record");
}

#[test]
fn a_reason_is_one_line_of_bounded_length() {
    let plane = Plane::furnished();
    let said = |reason: &str| {
        let body = json!({ "id": format!("user:corp/{}", reason.len()), "name": "n", "contact": "c", "reason": reason });
        plane.admin_as(&plane.admin, "POST", "/v1/people", &body).status
    };
    let longest = "é".repeat(500);
    assert_eq!(said(&longest), 200);
    assert_eq!(said(&"x".repeat(501)), 400);
    assert_eq!(said("two\nlines"), 400);
    assert_eq!(said("  "), 400);
}

#[test]
fn a_key_is_public_and_strong_enough() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let path = format!("/v1/agents/{}/keys", agent.id);
    let base = crate::kit::key_of(9);
    let mut secret = base.clone();
    secret["d"] = "x".into();
    let rsa = |n: String, alg: &str| json!({ "kty": "RSA", "e": "AQAB", "n": n, "alg": alg });
    // `A` is six bits of zero: long in characters only.
    let short = format!("{}Q", "v".repeat(85));
    let padded = format!("{}{}", "A".repeat(256), short);
    let before = plane.standing();
    for (what, key) in [
        ("private", secret),
        ("symmetric", json!({ "kty": "oct", "k": "AAAA" })),
        ("512 bits", rsa(short.clone(), "RS256")),
        ("512 bits for PS256", rsa(short, "PS256")),
        ("padded", rsa(padded, "RS256")),
        ("endless", rsa("v".repeat(20_000), "RS256")),
        ("of another curve", json!({ "kty": "OKP", "crv": "X25519", "x": base["x"] })),
        ("no key", json!("x")),
    ] {
        let answer = plane.change_as(&plane.admin, &path, json!({ "key": key }));
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_eq!(answer.json()["field"], "key", "{what}");
        assert!(!answer.text().contains("AAAA"), "{what}: what was sent is not repeated");
    }
    assert_eq!(plane.standing(), before);
    let good = rsa(format!("{}Q", "v".repeat(341)), "PS256");
    assert_eq!(plane.change_as(&plane.admin, &path, json!({ "key": good })).status, 200);
}
