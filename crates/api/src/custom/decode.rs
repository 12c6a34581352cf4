//! Bodies of custom kinds to objects: nothing but the schema says what is in them, and what it does not know goes.

use serde_json::Value;

use super::{Conversion, Custom};
use crate::decode::{self, FieldValidation, Format};
use crate::schema::{self, Definition};
use crate::status::Status;
use crate::structural;

/// The name of the type of `metadata`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The type of `metadata`, which is that of every kind.
pub(crate) fn object_meta() -> Option<&'static Definition> {
    schema::definition(OBJECT_META)
}

impl Custom {
    /// Reads an object. Returns it, without fields that its schema does not know, with the warnings for the client.
    pub fn decode(
        &self,
        body: &[u8],
        format: Format,
        validation: FieldValidation,
    ) -> Result<(Value, Vec<String>), Status> {
        let (object, mut faults) = decode::untyped_object(body, format, self.names.kind)?;
        let mut object = self.named(object)?;
        faults.extend(self.fit(&mut object).map_err(|error| self.unfit(&error))?);
        if format == Format::Yaml && validation == FieldValidation::Strict {
            decode::put_repeated_first(&mut faults, body);
        }
        self.judge(object, faults, validation)
    }

    /// The same for a configuration to apply, of which every field counts: the schema is held against it later.
    pub fn decode_applied(&self, body: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), Status> {
        let (object, warnings) = decode::applied(body, self.names.kind, validation)?;
        Ok((self.named(object)?, warnings))
    }

    /// Fits an object to the schema again after a patch.
    pub fn patched(&self, mut object: Value, validation: FieldValidation) -> Result<(Value, Vec<String>), Status> {
        let faults = self.fit(&mut object).map_err(|error| self.unfit(&error))?;
        self.judge(object, faults, validation)
    }

    /// Brings an object that comes from the store, or from a conversion, in line with the schema as it is now.
    pub fn refresh(&self, object: &mut Value) {
        structural::prune(object, &self.schema);
        structural::default(object, &self.schema);
    }

    /// The same for an object in the store's form, if conversion is no more than another `apiVersion` or it is of this
    /// version already; whether that changed anything.
    pub fn refresh_stored(&self, object: &mut Value) -> bool {
        let before = object.clone();
        if self.conversion == Conversion::None {
            object["apiVersion"] = self.names.api_version().into();
        }
        if self.is_form_of(object) {
            self.refresh(object);
        }
        *object != before
    }

    /// The object with its version and kind, if those that it states are the right ones.
    fn named(&self, mut object: Value) -> Result<Value, Status> {
        let own = self.names.api_version();
        let sent = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        if !sent.is_empty() && sent != own {
            return Err(Status::bad_request(format!(
                "the API version in the data ({sent}) does not match the expected API version ({own})"
            )));
        }
        object["apiVersion"] = own.into();
        if object["kind"].as_str().is_none_or(str::is_empty) {
            object["kind"] = self.names.kind.into();
        }
        Ok(object)
    }

    /// Canonical metadata, and no unknown fields; what they were.
    fn fit(&self, object: &mut Value) -> Result<Vec<String>, String> {
        let mut faults = Vec::new();
        let metadata = object.get_mut("metadata").filter(|metadata| !metadata.is_null());
        if let (Some(metadata), Some(definition)) = (metadata, object_meta()) {
            let (value, unknown) = decode::part(metadata.take(), definition, "metadata")?;
            *metadata = value;
            faults.extend(unknown);
        }
        let unknown = structural::prune(object, &self.schema);
        faults.extend(unknown.into_iter().map(|path| format!("unknown field \"{path}\"")));
        Ok(faults)
    }

    /// The same object with its metadata in canonical form.
    pub(crate) fn canonical(&self, mut object: Value) -> Result<Value, String> {
        if let (Some(metadata), Some(definition)) = (object.get_mut("metadata"), object_meta()) {
            *metadata = decode::part(metadata.take(), definition, "metadata")?.0;
        }
        Ok(object)
    }

    fn judge(
        &self,
        object: Value,
        faults: Vec<String>,
        validation: FieldValidation,
    ) -> Result<(Value, Vec<String>), Status> {
        match validation {
            FieldValidation::Strict if !faults.is_empty() => {
                Err(self.unfit(&format!("strict decoding error: {}", faults.join(", "))))
            }
            FieldValidation::Warn => Ok((object, faults)),
            _ => Ok((object, Vec::new())),
        }
    }

    fn unfit(&self, error: &str) -> Status {
        let (kind, version) = (self.names.kind, self.names.version);
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"))
    }
}
