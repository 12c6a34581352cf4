//! Errors about one field of an object, worded as upstream words them.
//!
//! `spec.replicas: Invalid value: -1: must be greater than or equal to 0`

use std::fmt;

use serde_json::Value;

/// Where in an object a field is: `spec.containers[0].image`, `metadata.labels[app]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The path of a top-level field.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The empty path: the object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The field `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The item at `index` of this list.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of this map.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("<nil>") } else { f.write_str(&self.0) }
    }
}

/// What is wrong with the field; the names are the `reason`s of a `StatusCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A required field is missing or empty.
    Required,
    /// The value is malformed or out of range.
    Invalid,
    /// The value must be unique and is not.
    Duplicate,
    /// The value is none of an enumeration's.
    NotSupported,
    /// The value is well formed and not allowed here.
    Forbidden,
    /// What the value refers to does not exist.
    NotFound,
    /// The value has too many bytes.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value has the wrong type.
    TypeInvalid,
    /// Validation itself failed.
    Internal,
}

impl Reason {
    /// The reason as a `StatusCause` carries it.
    pub fn as_cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Duplicate => "Duplicate value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One field's fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// The class of fault.
    pub reason: Reason,
    /// The field at fault.
    pub path: Path,
    /// The value found there, where upstream shows it.
    pub value: Option<Value>,
    /// What would be right; may be empty.
    pub detail: String,
}

impl Error {
    /// `path: Required value: detail`
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::build(Reason::Required, path, None, detail)
    }

    /// `path: Invalid value: value: detail`
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::build(Reason::Invalid, path, Some(value.into()), detail)
    }

    /// `path: Duplicate value: value`
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::build(Reason::Duplicate, path, Some(value.into()), "")
    }

    /// `path: Not found: value`
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::build(Reason::NotFound, path, Some(value.into()), "")
    }

    /// `path: Unsupported value: value: supported values: "a", "b"`
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ");
        Self::build(Reason::NotSupported, path, Some(value.into()), format!("supported values: {list}"))
    }

    /// `path: Forbidden: detail`
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::build(Reason::Forbidden, path, None, detail)
    }

    /// `path: Too long: may not be more than max_bytes bytes`
    pub fn too_long(path: &Path, max_bytes: usize) -> Self {
        Self::build(Reason::TooLong, path, None, format!("may not be more than {max_bytes} bytes"))
    }

    /// `path: Too many: actual: must have at most max items`
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        Self::build(Reason::TooMany, path, Some(actual.into()), format!("must have at most {max} items"))
    }

    fn build(reason: Reason, path: &Path, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { reason, path: path.clone(), value, detail: detail.into() }
    }

    /// The sentence without the path, as `StatusCause.message` carries it.
    pub fn body(&self) -> String {
        let mut text = self.reason.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(&value.to_string());
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// The list of errors in upstream's aggregate form: one alone as it is, several as `[a, b]`.
pub fn aggregate(errors: &[Error]) -> String {
    match errors {
        [one] => one.to_string(),
        many => format!("[{}]", many.iter().map(Error::to_string).collect::<Vec<_>>().join(", ")),
    }
}
