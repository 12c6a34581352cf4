//! Collects the schemas of types.

use std::collections::BTreeMap;

use k8s_openapi::Resource;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

/// The types added so far, with all they refer to.
#[derive(Default)]
pub(crate) struct Types {
    generator: SchemaGenerator,
    kinds: BTreeMap<String, [&'static str; 3]>,
}

impl Types {
    /// Adds a type without a group, version and kind of its own.
    pub(crate) fn add<T: JsonSchema>(&mut self) {
        self.generator.subschema_for::<T>();
    }

    /// Adds a type under the given group, version and kind.
    pub(crate) fn add_as<T: JsonSchema>(&mut self, group: &'static str, version: &'static str, kind: &'static str) {
        self.add::<T>();
        self.kinds.insert(T::schema_name().into_owned(), [group, version, kind]);
    }

    /// Adds a type that knows its group, version and kind.
    pub(crate) fn add_kind<T: JsonSchema + Resource>(&mut self) {
        self.add_as::<T>(T::GROUP, T::VERSION, T::KIND);
    }

    /// Group, version and kind by definition.
    pub(crate) fn kinds(&self) -> &BTreeMap<String, [&'static str; 3]> {
        &self.kinds
    }

    /// The schemas by definition.
    pub(crate) fn definitions(&self) -> BTreeMap<String, Value> {
        self.generator.definitions().iter().map(|(name, schema)| (name.clone(), schema.clone())).collect()
    }
}
