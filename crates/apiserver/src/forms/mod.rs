//! The forms in which objects leave: as they are, as a table, as metadata alone; in JSON or YAML.
//!
//! The plain JSON form is the stored bytes; every other form is made here when a client asks for it, and only then.
//! Start at [`Wanted`], which reads what a client accepts.

mod negotiate;
mod partial;
mod table;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use sampan_api::kind::KindRef;
use serde_json::Value;

pub(crate) use self::negotiate::{Encoding, Shape, Wanted};
pub(crate) use self::negotiate::{MediaType, accepted};
use crate::cache::List;
use crate::registry::{serve, view_of};

/// The metadata of a list.
pub(crate) fn list_meta(list: &List) -> Value {
    let mut meta = serde_json::json!({ "resourceVersion": list.revision.to_string() });
    if let Some(token) = &list.continues {
        meta["continue"] = token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        meta["remainingItemCount"] = remaining.into();
    }
    meta
}

/// A list in the wanted form.
pub(crate) fn list(kind: &KindRef, list: &List, wanted: &Wanted) -> Bytes {
    let objects = || list.objects.iter().map(|object| serve(kind, object.value()));
    match &wanted.shape {
        Shape::Plain => wanted.bytes(plain_list(kind, list)),
        Shape::Table(include) => wanted.value(&table::table(kind, objects(), list_meta(list), *include)),
        Shape::Partial => wanted.value(&partial::list(objects(), list_meta(list))),
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
    let items: Vec<Bytes> = match view_of(kind) {
        None => list.objects.iter().map(|object| object.json()).collect(),
        Some(_) => list.objects.iter().map(|object| serve(kind, object.value()).to_string().into()).collect(),
    };
    let size_bytes = head.len() + items.iter().map(|item| item.len() + 1).sum::<usize>() + 2;
    let mut out = Vec::with_capacity(size_bytes);
    out.extend_from_slice(head.as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(b"]}");
    out.into()
}

/// One object in the wanted form.
pub(crate) fn object(kind: &KindRef, object: &Value, wanted: &Wanted) -> Bytes {
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
    /// Encodes a value.
    pub(crate) fn value(&self, value: &Value) -> Bytes {
        match self.encoding {
            Encoding::Yaml => serde_yaml_ng::to_string(value).unwrap_or_default().into(),
            Encoding::Json if self.pretty => {
                let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
                text.push(b'\n');
                text.into()
            }
            Encoding::Json => value.to_string().into(),
        }
    }

    /// Passes on JSON, or encodes it differently if that is wanted.
    pub(crate) fn bytes(&self, json: Bytes) -> Bytes {
        if self.encoding == Encoding::Json && !self.pretty {
            return json;
        }
        serde_json::from_slice(&json).map(|value| self.value(&value)).unwrap_or(json)
    }

    /// A response of this encoding.
    pub(crate) fn response(&self, code: StatusCode, body: Bytes) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = code;
        let media_type = match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}
