//! What is known of the form of a kind's objects: tables for built-in types, a schema for custom kinds.
//!
//! Bodies, patches and field ownership ask the same questions of both; here they are answered.

use serde_json::Value;

use crate::custom::Custom;
use crate::decode::{self, FieldValidation, Format};
use crate::schema::Definition;
use crate::status::Status;

/// The form of a kind's objects.
#[derive(Clone, Copy)]
pub enum Model<'a> {
    /// A type of the program.
    BuiltIn(&'static Definition),
    /// A custom kind.
    Custom(&'a Custom),
}

impl Model<'_> {
    /// Reads an object; the texts are warnings for the client.
    pub fn decode(
        &self,
        body: &[u8],
        format: Format,
        validation: FieldValidation,
    ) -> Result<(Value, Vec<String>), Status> {
        match self {
            Self::BuiltIn(definition) => decode::object(body, format, definition, validation),
            Self::Custom(custom) => custom.decode(body, format, validation),
        }
    }

    /// Reads a configuration to apply: only what it says.
    pub fn decode_applied(&self, body: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), Status> {
        match self {
            Self::BuiltIn(_) => decode::applied(body, self.kind(), validation),
            Self::Custom(custom) => custom.decode_applied(body, validation),
        }
    }

    /// Fits a patched object to its form again.
    pub fn patched(&self, object: Value, validation: FieldValidation) -> Result<(Value, Vec<String>), Status> {
        match self {
            Self::BuiltIn(definition) => decode::patched(object, definition, validation),
            Self::Custom(custom) => custom.patched(object, validation),
        }
    }

    /// A configuration in canonical form, or why it has none.
    pub(crate) fn canonical(&self, config: Value) -> Result<Value, String> {
        match self {
            Self::BuiltIn(definition) => decode::canonical(config, definition),
            Self::Custom(custom) => custom.canonical(config),
        }
    }

    /// `apps/v1`
    pub(crate) fn api_version(&self) -> String {
        match self {
            Self::BuiltIn(definition) => match definition.gvk {
                Some(gvk) if gvk.group.is_empty() => gvk.version.to_owned(),
                Some(gvk) => format!("{}/{}", gvk.group, gvk.version),
                None => String::new(),
            },
            Self::Custom(custom) => custom.names().api_version(),
        }
    }

    /// `Deployment`
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::BuiltIn(definition) => definition.short_name(),
            Self::Custom(custom) => custom.names().kind,
        }
    }

    /// Whether fields of another version are the same fields: so it is with custom kinds, which have one form mostly.
    pub(crate) fn shares_fields_with(&self, api_version: &str) -> bool {
        let group = |text: &str| text.split_once('/').map_or(String::new(), |(group, _)| group.to_owned());
        let own = self.api_version();
        own == api_version || (matches!(self, Self::Custom(_)) && group(&own) == group(api_version))
    }
}

impl From<&'static Definition> for Model<'_> {
    fn from(definition: &'static Definition) -> Self {
        Self::BuiltIn(definition)
    }
}
