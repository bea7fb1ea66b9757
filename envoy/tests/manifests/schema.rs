//! Holds an object against the schema of its kind, as an API server does: OpenAPI v3 in the shape
//! that Kubernetes calls structural. What a server would silently drop is an error here, because a
//! misspelt field would otherwise be a gate without it. CEL rules and formats are not evaluated.

use std::collections::BTreeMap;

use serde_json::Value;

/// The schemas by (apiVersion, kind).
pub(crate) struct Schemas(BTreeMap<(String, String), Value>);

impl Schemas {
    pub(crate) fn published() -> Self {
        let mut schemas = BTreeMap::new();
        for text in [
            include_str!("../crds/istio-wasmplugin.yaml"),
            include_str!("../crds/istio-envoyfilter.yaml"),
            include_str!("../crds/istio-trafficextension.yaml"),
            include_str!("../crds/envoygateway-envoyextensionpolicy.yaml"),
            include_str!("../crds/envoygateway-envoypatchpolicy.yaml"),
            include_str!("../crds/envoygateway-clienttrafficpolicy.yaml"),
        ] {
            let crd: Value = serde_saphyr::from_str(text).unwrap();
            let spec = &crd["spec"];
            for version in spec["versions"].as_array().unwrap() {
                let group = format!(
                    "{}/{}",
                    spec["group"].as_str().unwrap(),
                    version["name"].as_str().unwrap()
                );
                let kind = spec["names"]["kind"].as_str().unwrap().to_owned();
                schemas.insert((group, kind), version["schema"]["openAPIV3Schema"].clone());
            }
        }
        Self(schemas)
    }

    /// Everything wrong with the object, each with its path.
    pub(crate) fn faults(&self, object: &Value) -> Vec<String> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let Some(schema) = self.0.get(&(text("apiVersion"), text("kind"))) else {
            return vec![format!("no schema of {} {}", text("apiVersion"), text("kind"))];
        };
        let mut faults = Vec::new();
        // An API server adds these to every kind; some schemas leave them out.
        let mut body = object.clone();
        for field in ["apiVersion", "kind", "metadata"] {
            body.as_object_mut().unwrap().remove(field);
        }
        for field in ["name", "namespace"] {
            if !object["metadata"][field].is_string() {
                faults.push(format!("metadata.{field}: missing"));
            }
        }
        faults_of(&body, schema, "", &mut faults);
        faults
    }
}

fn faults_of(value: &Value, schema: &Value, at: &str, faults: &mut Vec<String>) {
    let mut fault = |text: String| faults.push(format!("{at}: {text}"));
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    if let Some(expected) = schema["type"].as_str()
        && !int_or_string
        && !is_a(value, expected)
    {
        fault(format!("expected {expected}, found {value}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        fault(format!("{value} is none of {allowed:?}"));
    }
    let bounds = [
        ("minLength", value.as_str().map(|text| text.len() as f64), false),
        ("maxLength", value.as_str().map(|text| text.len() as f64), true),
        ("minimum", value.as_f64(), false),
        ("maximum", value.as_f64(), true),
        ("minItems", value.as_array().map(|items| items.len() as f64), false),
        ("maxItems", value.as_array().map(|items| items.len() as f64), true),
        ("maxProperties", value.as_object().map(|fields| fields.len() as f64), true),
    ];
    for (name, found, upper) in bounds {
        if let (Some(bound), Some(found)) = (schema[name].as_f64(), found)
            && if upper { found > bound } else { found < bound }
        {
            fault(format!("{name} is {bound}, found {found}"));
        }
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        match digest_pattern(pattern, text) {
            Some(true) | None => {}
            Some(false) => fault(format!("`{text}` does not match {pattern}")),
        }
    }
    combined(value, schema, at, faults);
    if let Some(items) = value.as_array() {
        for (index, item) in items.iter().enumerate() {
            faults_of(item, &schema["items"], &format!("{at}[{index}]"), faults);
        }
    }
    if let Some(fields) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !fields.contains_key(name) {
                faults.push(format!("{at}.{name}: missing"));
            }
        }
        for (name, field) in fields {
            let at = format!("{at}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Object(_), _) => {
                    faults_of(field, &schema["properties"][name], &at, faults);
                }
                (_, Value::Object(_)) => {
                    faults_of(field, &schema["additionalProperties"], &at, faults);
                }
                _ if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
                _ if schema.get("properties").is_none() && schema.get("type").is_none() => {}
                _ => faults.push(format!("{at}: no such field")),
            }
        }
    }
}

/// `oneOf`, `anyOf`, `allOf` and `not`. In structural schemas they only narrow, and name no fields
/// of their own.
fn combined(value: &Value, schema: &Value, at: &str, faults: &mut Vec<String>) {
    let holds = |part: &Value| {
        let mut inner = Vec::new();
        faults_of(value, part, at, &mut inner);
        inner.retain(|fault| !fault.ends_with("no such field"));
        inner.is_empty()
    };
    let count = |name: &str| {
        let parts = schema[name].as_array()?;
        Some((parts.iter().filter(|part| holds(part)).count(), parts.len()))
    };
    if count("oneOf").is_some_and(|(held, _)| held != 1) {
        faults.push(format!("{at}: not exactly one of the alternatives"));
    }
    if count("anyOf").is_some_and(|(held, _)| held == 0) {
        faults.push(format!("{at}: none of the alternatives"));
    }
    if count("allOf").is_some_and(|(held, all)| held != all) {
        faults.push(format!("{at}: not all of the conditions"));
    }
    if schema.get("not").is_some_and(holds) {
        faults.push(format!("{at}: what may not be"));
    }
}

fn is_a(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}

/// The one pattern that guards something: a digest. The others are for names, which
/// `FieldError` has refused before.
fn digest_pattern(pattern: &str, text: &str) -> Option<bool> {
    pattern
        .contains("[a-f0-9]{64}")
        .then(|| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}
