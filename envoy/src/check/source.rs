//! From text to listeners, clusters, routes and extensions, whichever of Envoy's documents it is.
//!
//! Field names are read in both spellings of protobuf's JSON (`normalize_path`, `normalizePath`),
//! and `TypedStruct`, which control planes write, as the message that it stands for.

use serde_json::{Map, Value};

use super::spot::Spot;

/// Why a text could not be checked. The fault is the writer's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// Over 64 MiB.
    #[error("the configuration has more than {MAX_TEXT} bytes")]
    TooLong,
    /// Neither JSON nor YAML.
    #[error("the configuration is neither JSON nor YAML: {0}")]
    Unreadable(String),
    /// Nothing in it is of Envoy.
    #[error(
        "no listener is in there: give a bootstrap, a discovery response or the answer of \
         Envoy's /config_dump"
    )]
    NotEnvoy,
}

/// The parts that matter, wherever the document had them.
#[derive(Debug, Default)]
pub(crate) struct Config<'v> {
    pub(crate) listeners: Vec<Spot<'v>>,
    pub(crate) clusters: Vec<Spot<'v>>,
    /// Whether `clusters` are all that Envoy has.
    pub(crate) all_clusters: bool,
    pub(crate) routes: Vec<Spot<'v>>,
    /// `TypedExtensionConfig`, by name.
    pub(crate) extensions: Vec<Spot<'v>>,
    pub(crate) admin: Option<Spot<'v>>,
}

pub(crate) fn read(text: &str) -> Result<Value, CheckError> {
    if text.len() > MAX_TEXT {
        return Err(CheckError::TooLong);
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => serde_saphyr::from_str(text)
            .map_err(|error| CheckError::Unreadable(error.without_snippet().to_string()))?,
    };
    Ok(tidy(value, false))
}

impl<'v> Config<'v> {
    pub(crate) fn of(document: &'v Value) -> Result<Self, CheckError> {
        let root = Spot::root(document);
        let mut config = Self::default();
        for dump in root.field("configs").items() {
            config.take_dump(&dump);
        }
        config.take_resources(&root.field("resources"));
        config.admin = config.admin.or(Some(root.field("admin")));
        let fixed = root.field("static_resources");
        config.listeners.extend(fixed.field("listeners").items());
        config.clusters.extend(fixed.field("clusters").items());
        if fixed.is_there() {
            let dynamic = root.field("dynamic_resources");
            config.all_clusters =
                !dynamic.field("cds_config").is_there() && !dynamic.field("ads_config").is_there();
        }
        if config.listeners.is_empty() { Err(CheckError::NotEnvoy) } else { Ok(config) }
    }

    /// One section of a `/config_dump`. The bootstrap in it is left out: its listeners and clusters
    /// come again in sections of their own.
    fn take_dump(&mut self, dump: &Spot<'v>) {
        if dump.is_a("BootstrapConfigDump") {
            self.admin = Some(dump.down("bootstrap.admin"));
        } else if dump.is_a("ListenersConfigDump") {
            let fixed = dump.field("static_listeners").items();
            self.listeners.extend(fixed.iter().map(|entry| entry.field("listener")));
            for entry in dump.field("dynamic_listeners").items() {
                for state in ["active_state", "warming_state"] {
                    let listener = entry.field(state).field("listener");
                    self.listeners.extend(listener.is_there().then_some(listener));
                }
            }
        } else if dump.is_a("ClustersConfigDump") {
            self.all_clusters = true;
            for list in ["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"] {
                let entries = dump.field(list).items();
                self.clusters.extend(entries.iter().map(|entry| entry.field("cluster")));
            }
        } else if dump.is_a("RoutesConfigDump") {
            let entries = dump.field("dynamic_route_configs").items();
            self.routes.extend(entries.iter().map(|entry| entry.field("route_config")));
        } else if dump.is_a("EcdsConfigDump") {
            let entries = dump.field("ecds_filters").items();
            self.extensions.extend(entries.iter().map(|entry| entry.field("ecds_filter")));
        }
    }

    fn take_resources(&mut self, resources: &Spot<'v>) {
        for resource in resources.items() {
            if resource.is_a("listener.v3.Listener") {
                self.listeners.push(resource);
            } else if resource.is_a("cluster.v3.Cluster") {
                self.clusters.push(resource);
            } else if resource.is_a("RouteConfiguration") {
                self.routes.push(resource);
            } else if resource.is_a("TypedExtensionConfig") {
                self.extensions.push(resource);
            }
        }
    }

    pub(crate) fn extension(&self, name: &str) -> Option<&Spot<'v>> {
        self.extensions.iter().find(|extension| extension.field("name").text() == name)
    }
}

/// Names in snake case, and `TypedStruct` unpacked. `verbatim`: the keys are the operator's names.
fn tidy(value: Value, verbatim: bool) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| tidy(item, false)).collect(),
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, field) in fields {
                let name = if verbatim { name } else { snake(&name) };
                let names_follow = NAMED_BY_OPERATOR.contains(&name.as_str());
                let field = tidy(field, names_follow);
                out.insert(name, field);
            }
            unpacked(out)
        }
        plain => plain,
    }
}

fn unpacked(mut fields: Map<String, Value>) -> Value {
    let packed = fields.get("@type").and_then(Value::as_str).is_some_and(|name| {
        name.ends_with("type.v1.TypedStruct") || name.ends_with("v3.TypedStruct")
    });
    match (fields.remove("type_url"), fields.remove("value")) {
        (Some(Value::String(name)), Some(Value::Object(mut inner))) if packed => {
            inner.insert("@type".to_owned(), Value::String(name));
            Value::Object(inner)
        }
        (name, value) => {
            fields.extend(name.map(|name| ("type_url".to_owned(), name)));
            fields.extend(value.map(|value| ("value".to_owned(), value)));
            Value::Object(fields)
        }
    }
}

/// `lowerCamelCase` of protobuf's JSON. A name with anything else in it is no field's.
fn snake(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric());
    if !plain || name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return name.to_owned();
    }
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

const NAMED_BY_OPERATOR: [&str; 4] = [
    "typed_per_filter_config",
    "filter_metadata",
    "typed_extension_protocol_options",
    "json_format",
];
const MAX_TEXT: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CheckError, read};

    #[test]
    fn both_spellings_and_typed_structs_read_alike() {
        let camel = r#"{"typedConfig": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "typeUrl": "type.googleapis.com/a.B", "value": {"normalizePath": true}}}"#;
        let expected =
            json!({"typed_config": {"@type": "type.googleapis.com/a.B", "normalize_path": true}});
        assert_eq!(read(camel), Ok(expected.clone()));
        let yaml = "typed_config: {\"@type\": type.googleapis.com/a.B, normalize_path: true}";
        assert_eq!(read(yaml), Ok(expected));
    }

    #[test]
    fn the_operators_own_names_stay() {
        let text = r#"{"typedPerFilterConfig": {"myGate": {"disabled": true}}}"#;
        let expected = json!({"typed_per_filter_config": {"myGate": {"disabled": true}}});
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn what_is_no_yaml_says_so() {
        assert!(matches!(read("a: [1"), Err(CheckError::Unreadable(_))));
    }
}
