//! Values while an expression runs.
//!
//! Callers' JSON is borrowed, not copied: a [`List`] or [`Map`] may be a view of it, and its parts become values only
//! when they are looked at. What expressions make themselves is shared by reference count.

mod collections;
mod json;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub(crate) use self::collections::Owned;
pub use self::collections::{Key, List, Map};
pub(crate) use self::json::from_json;
use crate::library::authorizer::Authorization;
use crate::library::named_formats::NamedFormat;
use crate::library::net::Cidr;
use crate::library::semver::Semver;
use crate::library::urls::Url;

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Signed integer.
    Int(i64),
    /// Unsigned integer.
    Uint(u64),
    /// Floating point.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    /// A moment.
    Timestamp(jiff::Timestamp),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A value or nothing.
    Optional(Option<Arc<Value<'a>>>),
    /// A type, by name.
    Type(Arc<str>),
    /// A value of a library.
    Opaque(Opaque<'a>),
    /// The `variables` of [`crate::Bindings::lazily`].
    #[doc(hidden)]
    Variables,
}

/// Text, borrowed or shared.
#[derive(Clone)]
pub enum Text<'a> {
    /// Part of the caller's JSON or of the expression.
    Borrowed(&'a str),
    /// Made by the expression.
    Shared(Arc<str>),
}

/// Values of the libraries.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    /// `url()`
    Url(Arc<Url>),
    /// `ip()`
    Ip(std::net::IpAddr),
    /// `cidr()`
    Cidr(Cidr),
    /// `quantity()`
    Quantity(sampan_quantity::Quantity),
    /// `semver()`
    Semver(Arc<Semver>),
    /// `format.dns1123Label()`
    Format(NamedFormat),
    /// `authorizer`, its queries and their answers.
    Authorization(Authorization<'a>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<'a> Value<'a> {
    /// Text made by the expression.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    /// A list of these items.
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::own(items))
    }

    /// An optional.
    pub fn optional(value: Option<Value<'a>>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    /// The truth, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The name of its type, as `type(x)` shows it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(map) => map.type_name(),
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Variables => "kubernetes.variables",
            Self::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// Its size in the sense of costs: characters, bytes, items; 1 for what has no size.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Optional(Some(inner)) => return inner.size(),
            Self::Opaque(Opaque::Ip(ip)) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Opaque(Opaque::Cidr(cidr)) => cidr.prefix_bytes(),
            _ => 1,
        };
        size as u64
    }

    /// Whether it is what a field of its type holds when nothing was put in.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null | Self::Optional(None) => true,
            Self::Bool(truth) => !truth,
            Self::Int(number) => *number == 0,
            Self::Uint(number) => *number == 0,
            Self::Double(number) => *number == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Duration(nanos) => *nanos == 0,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            _ => false,
        }
    }
}

impl Opaque<'_> {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorization(authorization) => authorization.type_name(),
        }
    }
}
