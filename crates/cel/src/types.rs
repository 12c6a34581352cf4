//! The types of values and expressions, and how callers declare the types of their objects.
//!
//! Start at [`Type`]; a caller whose objects have a schema implements [`Schema`] over it.

use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Known only when evaluated.
    Dyn,
    /// Of an expression that has a fault already; fits everywhere, so that one fault is not reported twice.
    Error,
    /// `null`
    Null,
    /// `true`, `false`
    Bool,
    /// 64-bit signed integer.
    Int,
    /// 64-bit unsigned integer.
    Uint,
    /// 64-bit floating point.
    Double,
    /// Text.
    String,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A length of time.
    Duration,
    /// A moment.
    Timestamp,
    /// A list.
    List(Arc<ListType>),
    /// A map: keys, values.
    Map(Arc<(Type, Type)>),
    /// A value or nothing.
    Optional(Arc<Type>),
    /// A type as a value.
    Type(Arc<Type>),
    /// An object with declared fields.
    Object(Object),
    /// A type of a library: `kubernetes.Quantity`.
    Opaque(&'static str),
    /// A type variable of the checker.
    Param(usize),
}

/// A list's type.
#[derive(Clone, Debug)]
pub struct ListType {
    /// The type of its items.
    pub element: Type,
    /// How it compares and adds.
    pub semantics: ListSemantics,
}

/// `x-kubernetes-list-type`: sets and maps compare without order, and `+` merges into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListSemantics {
    /// By position.
    #[default]
    Atomic,
    /// Scalars, each once.
    Set,
    /// Objects that these fields (as they are in JSON) tell apart.
    Map(Arc<[String]>),
}

impl PartialEq for ListType {
    fn eq(&self, other: &Self) -> bool {
        self.element == other.element
    }
}

/// The fields of an object type, looked up when they are needed: schemas may refer to themselves.
pub trait Schema: Send + Sync {
    /// The type's name, as errors show it. Two types of one name are the same type.
    fn name(&self) -> &str;

    /// The field that expressions call `name` (escaped, see [`crate::escape`]).
    fn field(&self, name: &str) -> Option<Field>;
}

/// A declared field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its type.
    pub ty: Type,
    /// Its name in JSON.
    pub json_name: String,
}

/// A fixed list of fields whose names need no escaping.
#[derive(Clone, Debug)]
pub struct Record {
    name: String,
    fields: Vec<(String, Type)>,
}

impl Record {
    /// An object type of these fields.
    #[expect(clippy::new_ret_no_self, reason = "only ever used as a type")]
    pub fn new<'n>(name: &str, fields: impl IntoIterator<Item = (&'n str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect();
        Type::object(Arc::new(Self { name: name.to_owned(), fields }))
    }
}

impl Schema for Record {
    fn name(&self) -> &str {
        &self.name
    }

    fn field(&self, name: &str) -> Option<Field> {
        let (_, ty) = self.fields.iter().find(|(known, _)| known == name)?;
        Some(Field { ty: ty.clone(), json_name: name.to_owned() })
    }
}

/// A handle on a [`Schema`].
#[derive(Clone)]
pub struct Object(pub Arc<dyn Schema>);

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Type {
    /// A list that compares by position.
    pub fn list(element: Self) -> Self {
        Self::list_with(element, ListSemantics::Atomic)
    }

    /// A list.
    pub fn list_with(element: Self, semantics: ListSemantics) -> Self {
        Self::List(Arc::new(ListType { element, semantics }))
    }

    /// A map.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// A value or nothing.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// An object.
    pub fn object(schema: Arc<dyn Schema>) -> Self {
        Self::Object(Object(schema))
    }

    /// Whether this type is told only at evaluation.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The inner type of an optional, and whether it is one.
    pub(crate) fn unwrap_optional(&self) -> (&Self, bool) {
        match self {
            Self::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(list) => write!(f, "list({})", list.element),
            Self::Map(map) => write!(f, "map({}, {})", map.0, map.1),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Type(inner) => write!(f, "type({inner})"),
            Self::Object(object) => f.write_str(object.0.name()),
            Self::Opaque(name) => f.write_str(name),
            Self::Param(index) => write!(f, "_var{index}"),
        }
    }
}
