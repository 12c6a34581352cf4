//! Values to bytes, in each encoding.

use bytes::Bytes;
use sampan_api::schema::{self, Definition};
use sampan_api::status::Status;
use sampan_api::{cbor, protobuf};
use serde_json::Value;

use super::{Encoding, Wanted};

impl Wanted {
    /// Encodes an object or a list, whatever its kind.
    pub(crate) fn value(&self, value: &Value) -> Result<Bytes, Status> {
        match self.encoding {
            Encoding::Yaml => Ok(serde_yaml_ng::to_string(value).unwrap_or_default().into()),
            Encoding::Json if self.pretty => {
                let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
                text.push(b'\n');
                Ok(text.into())
            }
            Encoding::Json => Ok(serde_json::to_vec(value).unwrap_or_default().into()),
            Encoding::Cbor => {
                Ok(definition_of(value).map_or_else(|| cbor::encode(value), |of| cbor::encode_as(value, of)).into())
            }
            Encoding::Protobuf => {
                let (api_version, kind) = names(value);
                Ok(protobuf::envelope::wrap(api_version, kind, &message(value)?).into())
            }
        }
    }

    /// Passes on JSON, or encodes it differently if that is wanted.
    pub(crate) fn bytes(&self, json: Bytes) -> Result<Bytes, Status> {
        if self.encoding == Encoding::Json && !self.pretty {
            return Ok(json);
        }
        serde_json::from_slice(&json)
            .map_err(|_| Status::internal("a stored object cannot be read"))
            .and_then(|value| self.value(&value))
    }

    /// A list of objects of one kind; each item's bytes go into it as they are.
    pub(super) fn list(
        &self,
        names: (&str, &str),
        meta: &Value,
        items: impl Iterator<Item = Value>,
    ) -> Result<Bytes, Status> {
        let (api_version, kind) = names;
        match self.encoding {
            Encoding::Protobuf => {
                let items = items.map(|item| message(&item)).collect::<Result<Vec<_>, _>>()?;
                protobuf::envelope::list(api_version, kind, meta, &items)
                    .map(Bytes::from)
                    .map_err(|why| unwritten(&why))
            }
            Encoding::Cbor => {
                let items: Vec<Bytes> = items.map(cbor_item).collect();
                Ok(cbor::list(api_version, kind, meta, &items).into())
            }
            Encoding::Json | Encoding::Yaml => self.value(&serde_json::json!({
                "kind": kind, "apiVersion": api_version, "metadata": meta, "items": items.collect::<Vec<_>>(),
            })),
        }
    }

    /// An event of a watch.
    pub(crate) fn event(&self, event: &str, object: &Value) -> Result<Bytes, Status> {
        let object = Self { pretty: false, ..self.clone() }.value(object)?;
        Ok(match self.encoding {
            Encoding::Protobuf => protobuf::envelope::event(event, &object).into(),
            Encoding::Cbor => cbor::event(event, &object).into(),
            Encoding::Json | Encoding::Yaml => crate::cache::frame_of(event, &object),
        })
    }
}

/// An item of a list in CBOR: those of built-in types do not repeat what they are.
fn cbor_item(item: Value) -> Bytes {
    match definition_of(&item) {
        Some(definition) => cbor::encode_as(&super::untyped(item), definition).into(),
        None => cbor::encode(&item).into(),
    }
}

/// The bare protobuf message of an object.
fn message(value: &Value) -> Result<Bytes, Status> {
    let (_, kind) = names(value);
    if kind == "PartialObjectMetadata" {
        return protobuf::partial(&value["metadata"]).map(Bytes::from).map_err(|why| unwritten(&why));
    }
    let definition = definition_of(value).ok_or_else(|| {
        tracing::error!(kind, "a kind without a protobuf form was to be sent in it");
        Status::internal("the object has no protobuf form")
    })?;
    protobuf::message(value, definition).map(Bytes::from).map_err(|why| unwritten(&why))
}

fn unwritten(why: &protobuf::Error) -> Status {
    tracing::error!(%why, "an object cannot be written in protobuf");
    Status::internal("the object cannot be written in protobuf")
}

/// The API version and kind that a value states.
fn names(value: &Value) -> (&str, &str) {
    (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default())
}

/// What the value is, if it is of a built-in type. The old discovery documents state no version.
fn definition_of(value: &Value) -> Option<&'static Definition> {
    let (api_version, kind) = names(value);
    let (group, version) =
        api_version.split_once('/').unwrap_or(("", if api_version.is_empty() { "v1" } else { api_version }));
    schema::of_kind(group, version, kind)
}
