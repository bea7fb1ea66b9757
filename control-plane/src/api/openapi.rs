//! The OpenAPI document of the admin API, made from the endpoints that are served.

use serde_json::{Map, Value, json};

use super::admin;
use super::endpoint::Endpoint;
use crate::desk::operators::Need;

/// OpenAPI 3.1.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert("Problem".to_owned(), problem());
    schemas.insert("Proposed".to_owned(), proposed());
    for endpoint in admin::endpoints() {
        for (name, schema) in &endpoint.referred {
            schemas.insert(name.clone(), serde_json::to_value(schema).unwrap_or_default());
        }
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(endpoint.method.to_owned(), operation(&endpoint));
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gatepass control plane",
            "version": "1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "For operators. Every change states its `reason`, which goes on record. Where an environment asks for a second person, a change that widens or reopens is answered 202 and waits for `POST /v1/proposals/{id}/accept` by another operator.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    });
    // One order, whatever the features of the JSON library are: its diff is reviewed.
    document.sort_all_objects();
    document
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = in_path(endpoint.path)
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    parameters.extend(endpoint.query.iter().map(|(name, what)| {
        json!({ "name": name, "in": "query", "description": what, "schema": { "type": "string" } })
    }));
    let mut responses = Map::new();
    let content = json!({ endpoint.kind: { "schema": endpoint.answer } });
    responses.insert("200".to_owned(), json!({ "description": "done", "content": content }));
    if endpoint.may_wait {
        let content = json!({
            "application/json": { "schema": { "$ref": "#/components/schemas/Proposed" } }
        });
        let described = json!({ "description": "waits for a second person", "content": content });
        responses.insert("202".to_owned(), described);
    }
    let content = json!({
        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } }
    });
    responses
        .insert("default".to_owned(), json!({ "description": "not done", "content": content }));
    let mut operation = json!({
        "summary": endpoint.summary,
        "description": format!("Roles: {}.", roles(endpoint.need)),
        "parameters": parameters,
        "responses": responses,
    });
    if let (Some(request), Some(operation)) = (&endpoint.request, operation.as_object_mut()) {
        let schema = match endpoint.has_reason {
            true => body(request, endpoint.path),
            false => request.clone(),
        };
        let content = json!({ "application/json": { "schema": schema } });
        operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    operation
}

/// A change's schema without what the path says, and with the reason.
fn body(request: &Value, path: &str) -> Value {
    let mut schema = request.clone();
    let named: Vec<&str> = in_path(path).collect();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !named.contains(&name.as_str()));
        let reason = json!({ "type": "string", "description": "Why; goes on record." });
        properties.insert("reason".to_owned(), reason);
    } else if let Some(schema) = schema.as_object_mut() {
        let reason = json!({ "type": "string", "description": "Why; goes on record." });
        schema.insert("properties".to_owned(), json!({ "reason": reason }));
    }
    let mut required: Vec<Value> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter(|n| !named.iter().any(|p| *n == p)).cloned().collect())
        .unwrap_or_default();
    required.push("reason".into());
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn roles(need: Need) -> String {
    use crate::desk::operators::Role;
    let all = [Role::Viewer, Role::Operator, Role::Approver, Role::Auditor, Role::Admin];
    let allowed: Vec<&str> =
        all.into_iter().filter(|role| role.allows(need)).map(Role::as_str).collect();
    allowed.join(", ")
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable, for programs." },
            "detail": { "type": "string", "description": "What is wrong and what to do." },
            "field": { "type": "string", "description": "The member that is wrong." },
        },
    })
}

fn proposed() -> Value {
    json!({
        "type": "object",
        "required": ["proposal", "expires_at"],
        "properties": {
            "proposal": { "type": "string" },
            "trial": { "type": "string" },
            "expires_at": { "type": "integer", "description": "Unix seconds." },
        },
    })
}
