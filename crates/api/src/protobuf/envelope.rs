//! What stands around messages: the envelope that tells an object's kind, lists, the events of a watch.
//!
//! ```text
//! body   "k8s\0" Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: the object, 3: "", 4: "" }
//! list   a body whose object is { 1: ListMeta, 2: item, 2: item, ... }
//! event  4 bytes of size, WatchEvent { 1: type, 2: RawExtension { 1: a body } }
//! ```

use bytes::Bytes;
use serde_json::Value;

use super::Error;
use super::encode::message;
use super::read::{Field, Fields};
use super::write::{Writer, field_bytes};
use crate::schema;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// What the envelope adds to an object at most, names of group and kind aside.
const ENVELOPE_BYTES: usize = 64;
/// The size in front of an event.
const EVENT_SIZE_BYTES: usize = 4;

/// A body taken apart.
pub(super) struct Unknown<'b> {
    pub(super) api_version: &'b str,
    pub(super) kind: &'b str,
    pub(super) raw: &'b [u8],
}

/// Takes a body apart.
pub(super) fn unwrap(body: &[u8]) -> Result<Unknown<'_>, Error> {
    let inner = body.strip_prefix(MAGIC).ok_or(Error::NoPrefix)?;
    let mut unknown = Unknown { api_version: "", kind: "", raw: b"" };
    for field in Fields::of(inner) {
        match field? {
            Field { number: 1, raw } => {
                for field in Fields::of(raw.bytes()?) {
                    match field? {
                        Field { number: 1, raw } => unknown.api_version = raw.text()?,
                        Field { number: 2, raw } => unknown.kind = raw.text()?,
                        _ => {}
                    }
                }
            }
            Field { number: 2, raw } => unknown.raw = raw.bytes()?,
            _ => {}
        }
    }
    Ok(unknown)
}

/// The body that holds a finished message.
pub fn wrap(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut body = open(api_version, kind, message.len());
    body.raw(message);
    close(body)
}

/// A list. The items are finished messages.
pub fn list(api_version: &str, kind: &str, meta: &Value, items: &[Bytes]) -> Result<Vec<u8>, Error> {
    const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
    let meta = message(meta, schema::definition(META).ok_or(Error::NoForm(META))?)?;
    let size = field_bytes(meta.len()) + items.iter().map(|item| field_bytes(item.len())).sum::<usize>();
    let mut body = open(api_version, kind, size);
    body.bytes(1, &meta);
    items.iter().for_each(|item| body.bytes(2, item));
    Ok(close(body))
}

/// A body up to where its object begins, which will have `size` bytes.
fn open(api_version: &str, kind: &str, size: usize) -> Writer {
    let mut body = Writer::with_capacity(size + ENVELOPE_BYTES + api_version.len() + kind.len());
    body.raw(MAGIC);
    let meta = body.begin(1);
    body.bytes(1, api_version.as_bytes());
    body.bytes(2, kind.as_bytes());
    body.end(meta);
    body.head(2, size);
    body
}

fn close(mut body: Writer) -> Vec<u8> {
    body.bytes(3, b""); // The encoding of the object's content, and
    body.bytes(4, b""); // its media type: both are this one.
    body.finish()
}

/// An event of a watch, with its size in front. The object is a finished body.
pub fn event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut event = Writer::with_capacity(object.len() + ENVELOPE_BYTES);
    event.bytes(1, kind.as_bytes());
    event.head(2, field_bytes(object.len()));
    event.bytes(1, object);
    let event = event.finish();
    let mut out = Vec::with_capacity(EVENT_SIZE_BYTES + event.len());
    out.extend_from_slice(&u32::try_from(event.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&event);
    out
}
