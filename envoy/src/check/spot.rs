//! A value of the configuration together with its place.

use serde_json::Value;

/// A value that knows its path. A missing one is null, and has a path all the same.
#[derive(Clone, Debug)]
pub(crate) struct Spot<'v> {
    pub(crate) value: &'v Value,
    pub(crate) place: String,
}

impl<'v> Spot<'v> {
    pub(crate) fn root(value: &'v Value) -> Self {
        Self { value, place: String::new() }
    }

    pub(crate) fn field(&self, name: &str) -> Self {
        let dot = if self.place.is_empty() { "" } else { "." };
        let value = self.value.get(name).unwrap_or(&NULL);
        Self { value, place: format!("{}{dot}{name}", self.place) }
    }

    /// Field within field: `down("typed_config.config")`.
    pub(crate) fn down(&self, path: &str) -> Self {
        path.split('.').fold(self.clone(), |spot, name| spot.field(name))
    }

    /// The entries of a list; of anything else none.
    pub(crate) fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items
            .map(|(index, value)| Self { value, place: format!("{}[{index}]", self.place) })
            .collect()
    }

    /// The fields of a map, by name; of anything else none.
    pub(crate) fn fields(&self) -> Vec<(&'v str, Self)> {
        let fields = self.value.as_object().into_iter().flatten();
        fields.map(|(name, _)| (name.as_str(), self.field(name))).collect()
    }

    pub(crate) fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.value.as_bool() == Some(true)
    }

    pub(crate) fn is_there(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether `@type` names this message, given without its version's package.
    pub(crate) fn is_a(&self, message: &str) -> bool {
        self.field("@type").text().rsplit('/').next().is_some_and(|name| name.ends_with(message))
    }

    /// Everything in here, itself first, for which `wanted` holds.
    pub(crate) fn find(&self, wanted: &dyn Fn(&Self) -> bool) -> Vec<Self> {
        let mut found = Vec::new();
        if wanted(self) {
            found.push(self.clone());
        }
        for (_, inner) in self.fields() {
            found.extend(inner.find(wanted));
        }
        for inner in self.items() {
            found.extend(inner.find(wanted));
        }
        found
    }
}

static NULL: Value = Value::Null;
