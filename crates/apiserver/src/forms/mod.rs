//! The forms in which objects leave: as they are, as a table, as metadata alone; in JSON, YAML, CBOR or protobuf.
//!
//! The plain JSON form is the stored bytes; every other form is made here when a client asks for it, and only then.
//! Start at [`Wanted`], which reads what a client accepts.

mod encode;
mod negotiate;
mod partial;
mod table;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use serde_json::Value;

pub(crate) use self::negotiate::{Encoding, Shape, Wanted};
pub(crate) use self::negotiate::{MediaType, accepted};
use crate::cache::{List, Object};
use crate::registry::{serve, view_of};
use crate::server::{Compressible, reply_status};

/// The metadata of a list.
pub(crate) fn list_meta(list: &List) -> Value {
    let mut meta = serde_json::json!({ "resourceVersion": list.revision.to_string() });
    if let Some(token) = &list.continues {
        meta["continue"] = token.encode().into();
    }
    if let Some(remaining) = list.remaining {
        meta["remainingItemCount"] = remaining.into();
    }
    meta
}

/// A list in the wanted form.
pub(crate) fn list(kind: &KindRef, list: &List, wanted: &Wanted) -> Result<Bytes, Status> {
    let objects = || list.objects.iter().map(|object| serve(kind, object.value()));
    match (&wanted.shape, wanted.encoding) {
        (Shape::Plain, Encoding::Json | Encoding::Yaml) => wanted.bytes(plain_list(kind, list)),
        (Shape::Plain, _) => {
            wanted.list((&kind.api_version(), &format!("{}List", kind.kind)), &list_meta(list), objects())
        }
        (Shape::Table(include), _) => wanted.value(&table::table(kind, objects(), list_meta(list), *include)),
        (Shape::Partial, _) => {
            let items = objects().map(|object| partial::object(&object));
            wanted.list(("meta.k8s.io/v1", "PartialObjectMetadataList"), &list_meta(list), items)
        }
    }
}

/// A list of objects that are kept nowhere, in the wanted form.
pub(crate) fn values(kind: &KindRef, objects: Vec<Value>, wanted: &Wanted) -> Result<Bytes, Status> {
    let (meta, objects) = (serde_json::json!({}), objects.into_iter());
    match &wanted.shape {
        Shape::Plain => wanted.list((&kind.api_version(), &format!("{}List", kind.kind)), &meta, objects),
        Shape::Table(include) => wanted.value(&table::table(kind, objects, meta, *include)),
        Shape::Partial => {
            let items = objects.map(|object| partial::object(&object));
            wanted.list(("meta.k8s.io/v1", "PartialObjectMetadataList"), &meta, items)
        }
    }
}

/// Joins the objects' own bytes.
fn plain_list(kind: &KindRef, list: &List) -> Bytes {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        kind.kind,
        kind.api_version(),
        list_meta(list)
    );
    let members: Vec<Bytes> = list.objects.iter().map(members(kind)).collect();
    let size_bytes = head.len() + members.iter().map(|members| members.len() + 2).sum::<usize>() + 2;
    let mut out = Vec::with_capacity(size_bytes);
    out.extend_from_slice(head.as_bytes());
    for (index, members) in members.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",{" } else { b"{" });
        out.extend_from_slice(members);
    }
    out.extend_from_slice(b"]}");
    out.into()
}

/// What is behind an item's opening brace. Items of built-in types do not repeat what they are, custom ones do.
fn members(kind: &KindRef) -> impl Fn(&Arc<Object>) -> Bytes {
    let (is_view, is_custom) = (view_of(kind).is_some(), kind.custom().is_some());
    move |object| {
        if is_custom {
            object.json().slice(1..)
        } else if is_view {
            Bytes::from(untyped(serve(kind, object.value())).to_string()).slice(1..)
        } else {
            object.untyped_members()
        }
    }
}

/// An object as an item of a typed list.
fn untyped(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}

/// One object in the wanted form.
pub(crate) fn object(kind: &KindRef, object: &Value, wanted: &Wanted) -> Result<Bytes, Status> {
    match &wanted.shape {
        Shape::Plain => wanted.value(object),
        shape => wanted.value(&shaped(kind, object, shape, true)),
    }
}

/// One object as a table or as metadata; `columns` says whether the table carries its headings.
pub(crate) fn shaped(kind: &KindRef, object: &Value, shape: &Shape, columns: bool) -> Value {
    match shape {
        Shape::Plain => object.clone(),
        Shape::Partial => partial::object(object),
        Shape::Table(include) => {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let meta = serde_json::json!({ "resourceVersion": version });
            let mut table = table::table(kind, std::iter::once(object.clone()), meta, *include);
            if !columns {
                table["columnDefinitions"] = Value::Null;
            }
            table
        }
    }
}

impl Wanted {
    /// A response of this encoding, or the refusal if there is no body.
    pub(crate) fn response(&self, code: StatusCode, body: Result<Bytes, Status>) -> Response<Body> {
        let body = match body {
            Ok(body) => body,
            Err(status) => return reply_status(&status, self),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = code;
        let media_type = HeaderValue::from_static(self.encoding.media_type());
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response.extensions_mut().insert(Compressible);
        response
    }
}
