//! A tree and its schema, walked together.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::scalar::{self, Fault};
use super::tree::Tree;
use crate::schema::{Definition, Field, Scalar, Shape, Type};

/// Unknown and duplicate fields that are told at most.
const MAX_FAULTS: usize = 100;

/// How deep objects may be. Stored objects grow by the path of their deepest field under `managedFields`, and must then
/// still be within the 128 levels that the parser reads.
const MAX_DEPTH: usize = 60;

/// A value that fits its schema.
pub(super) struct Decoded {
    pub(super) value: Value,
    /// `unknown field "spec.foo"`, `duplicate field "spec.bar"`, each once, in the order of the document.
    pub(super) faults: Vec<String>,
}

/// Fits a tree to a definition. An `Err` is Go's text for the first value of a wrong type.
pub(super) fn decode(tree: Tree, definition: &'static Definition) -> Result<Decoded, String> {
    let mut walk = Walk::default();
    let value = walk.definition(tree, definition);
    walk.finish(value.unwrap_or_default())
}

/// A tree without a schema as a value, with its duplicate fields.
pub(super) fn untyped(tree: Tree) -> Result<Decoded, String> {
    let mut walk = Walk::default();
    let value = walk.json(tree);
    walk.finish(value)
}

#[derive(Default)]
struct Faults {
    list: Vec<String>,
    seen: HashSet<String>,
}

impl Faults {
    fn add(&mut self, fault: String) {
        if self.list.len() < MAX_FAULTS && self.seen.insert(fault.clone()) {
            self.list.push(fault);
        }
    }
}

#[derive(Default)]
struct Walk {
    faults: Faults,
    /// Where the walk is, as faults name it: `spec.containers[0].image`.
    path: String,
    /// Where the walk is, as Go's type errors name it: struct fields only.
    fields: Vec<&'static str>,
    /// The struct that the innermost field belongs to.
    owner: &'static str,
    depth: usize,
    error: Option<String>,
}

impl Walk {
    fn finish(self, value: Value) -> Result<Decoded, String> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Decoded { value, faults: self.faults.list }),
        }
    }

    /// The value of a tree, or `None` where there is none: null, or a fault that is noted.
    fn value(&mut self, tree: Tree, ty: &Type) -> Option<Value> {
        self.deeper(|walk| walk.value_here(tree, ty))?
    }

    /// One level further down, unless that is too deep.
    fn deeper<T>(&mut self, visit: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth == MAX_DEPTH {
            self.error.get_or_insert_with(|| "exceeded max depth".to_owned());
            return None;
        }
        self.depth += 1;
        let visited = visit(self);
        self.depth -= 1;
        Some(visited)
    }

    fn value_here(&mut self, tree: Tree, ty: &Type) -> Option<Value> {
        match (ty, tree) {
            (_, Tree::Null) => None,
            (Type::Ref(definition), tree) => self.definition(tree, definition),
            (Type::Scalar(scalar), tree) => {
                let value = scalar::plain(tree, *scalar);
                self.note(value, ty)
            }
            (Type::List(item), Tree::List(trees)) => Some(self.list(trees, item)),
            (Type::Map(item), Tree::Map(trees)) => Some(self.map(trees, item)),
            (_, other) => {
                self.wrong_type(other.go_kind(), ty);
                None
            }
        }
    }

    fn definition(&mut self, tree: Tree, definition: &'static Definition) -> Option<Value> {
        let ty = Type::Ref(definition);
        let value = match (definition.shape, tree) {
            (_, Tree::Null) => return None,
            (Shape::Json, tree) => return Some(self.json(tree)),
            (Shape::Struct, Tree::Map(trees)) => return Some(self.fields(trees, definition)),
            (Shape::Struct, other) => Err(Fault::Type(other.go_kind().to_owned())),
            (Shape::Quantity, tree) => scalar::quantity(&tree),
            (Shape::IntOrString, tree) => scalar::int_or_string(tree),
            (Shape::Time, tree) => scalar::time(&tree, 0),
            (Shape::MicroTime, tree) => scalar::time(&tree, 6),
        };
        self.note(value, &ty)
    }

    fn fields(&mut self, trees: Vec<(String, Tree)>, definition: &'static Definition) -> Value {
        let mut object = Map::new();
        let mut seen = HashSet::new();
        for (name, tree) in trees {
            let Some(field) = definition.field(&name) else {
                let path = self.within(&name);
                self.faults.add(format!("unknown field \"{path}\""));
                continue;
            };
            if !seen.insert(field.name) {
                let path = self.within(&name);
                self.faults.add(format!("duplicate field \"{path}\""));
            }
            match self.field(tree, field, definition).filter(|value| field.required || !is_empty(value, &field.ty)) {
                Some(value) => object.insert(name, value),
                None => object.remove(&name),
            };
        }
        Value::Object(object)
    }

    fn field(&mut self, tree: Tree, field: &'static Field, definition: &'static Definition) -> Option<Value> {
        let (length, owner) = (self.path.len(), self.owner);
        self.path = self.within(field.name);
        self.fields.push(field.name);
        self.owner = definition.short_name();
        let value = self.value(tree, &field.ty);
        self.owner = owner;
        self.fields.pop();
        self.path.truncate(length);
        value
    }

    /// In a Go slice a null is its type's zero value.
    fn list(&mut self, trees: Vec<Tree>, item: &Type) -> Value {
        let mut list = Vec::with_capacity(trees.len());
        for (index, tree) in trees.into_iter().enumerate() {
            let length = self.path.len();
            self.path.push_str(&format!("[{index}]"));
            list.push(self.value(tree, item).unwrap_or_else(|| zero(item)));
            self.path.truncate(length);
        }
        Value::Array(list)
    }

    /// In a Go map, too, a null is its type's zero value.
    fn map(&mut self, trees: Vec<(String, Tree)>, item: &Type) -> Value {
        let mut map = Map::new();
        for (key, tree) in trees {
            let (length, inner) = (self.path.len(), self.within(&key));
            if map.contains_key(&key) {
                self.faults.add(format!("duplicate field \"{inner}\""));
            }
            self.path = inner;
            let value = self.value(tree, item).unwrap_or_else(|| zero(item));
            map.insert(key, value);
            self.path.truncate(length);
        }
        Value::Object(map)
    }

    /// A value without a schema: everything stays, but of duplicate keys the last.
    fn json(&mut self, tree: Tree) -> Value {
        self.deeper(|walk| walk.json_here(tree)).unwrap_or_default()
    }

    fn json_here(&mut self, tree: Tree) -> Value {
        match tree {
            Tree::Null => Value::Null,
            Tree::Bool(bool) => bool.into(),
            Tree::Number(number) => number.into(),
            Tree::String(text) => text.into(),
            Tree::List(trees) => trees.into_iter().map(|tree| self.json(tree)).collect(),
            Tree::Map(trees) => {
                let mut map = Map::new();
                for (key, tree) in trees {
                    let (length, inner) = (self.path.len(), self.within(&key));
                    if map.contains_key(&key) {
                        self.faults.add(format!("duplicate field \"{inner}\""));
                    }
                    self.path = inner;
                    let value = self.json(tree);
                    map.insert(key, value);
                    self.path.truncate(length);
                }
                Value::Object(map)
            }
        }
    }

    fn within(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn note(&mut self, value: Result<Value, Fault>, ty: &Type) -> Option<Value> {
        match value {
            Ok(value) => return Some(value),
            Err(Fault::Type(found)) => self.wrong_type(&found, ty),
            Err(Fault::Content(error)) => self.error = self.error.take().or(Some(error)),
        }
        None
    }

    fn wrong_type(&mut self, found: &str, ty: &Type) {
        if self.error.is_some() {
            return;
        }
        let ty = go_type(ty);
        self.error = Some(if self.fields.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {ty}")
        } else {
            let path = self.fields.join(".");
            format!("json: cannot unmarshal {found} into Go struct field {}.{path} of type {ty}", self.owner)
        });
    }
}

/// Whether Go's `omitempty` leaves it out. Scalars stay: the tables do not tell which of them are pointers.
fn is_empty(value: &Value, ty: &Type) -> bool {
    match (ty, value) {
        (Type::List(_), Value::Array(items)) => items.is_empty(),
        (Type::Map(_), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}

/// The zero value of a type, as it is written.
fn zero(ty: &Type) -> Value {
    match ty {
        Type::Scalar(scalar) => scalar.zero(),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Map(_) => Value::Object(Map::new()),
        Type::Ref(definition) => match definition.shape {
            Shape::Struct => Value::Object(Map::new()),
            Shape::Quantity => "0".into(),
            Shape::IntOrString => 0.into(),
            Shape::Json | Shape::Time | Shape::MicroTime => Value::Null,
        },
    }
}

/// What Go calls the type: `int32`, `v1.PodSpec`, `[]v1.Container`.
fn go_type(ty: &Type) -> String {
    match ty {
        Type::Scalar(scalar) => match scalar {
            Scalar::String => "string",
            Scalar::Bytes => "[]uint8",
            Scalar::Boolean => "bool",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Double => "float64",
        }
        .to_owned(),
        Type::List(item) => format!("[]{}", go_type(item)),
        Type::Map(item) => format!("map[string]{}", go_type(item)),
        Type::Ref(definition) => {
            let mut parts = definition.name.rsplit('.');
            let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{package}.{name}")
        }
    }
}
