//! The types of what policies' expressions refer to: the request, its namespace, the schemas of built-in kinds.

use std::sync::{Arc, LazyLock};

use sampan_cel::{Field, ListSemantics, Record, Schema, Type, Types};

use crate::schema::{self, Definition, List, Scalar, Shape};

/// `request`: an AdmissionRequest without its objects.
pub(super) static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let texts = |name: &str, fields: [&'static str; 3]| Record::new(name, fields.map(|field| (field, Type::String)));
    let kind = texts("kubernetes.GroupVersionKind", ["group", "version", "kind"]);
    let resource = texts("kubernetes.GroupVersionResource", ["group", "version", "resource"]);
    let user = Record::new(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    Record::new(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
});

/// `namespaceObject`
pub(super) static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let labels = || Type::map(Type::String, Type::String);
    let metadata = Record::new(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", labels()),
            ("annotations", labels()),
            ("uid", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = Record::new("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::String))]);
    let status = Record::new("kubernetes.NamespaceStatus", [("phase", Type::String)]);
    Record::new("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
});

/// The type of a built-in kind's objects.
pub fn of_definition(definition: &'static Definition) -> Type {
    match definition.shape {
        Shape::Struct => Type::object(Arc::new(OfDefinition(definition))),
        Shape::Json | Shape::IntOrString => Type::Dyn,
        Shape::Quantity => Type::Dyn,
        Shape::Time | Shape::MicroTime => Type::Timestamp,
    }
}

struct OfDefinition(&'static Definition);

impl Schema for OfDefinition {
    fn name(&self) -> &str {
        self.0.name
    }

    fn field(&self, name: &str) -> Option<Field> {
        let json_name = sampan_cel::unescape(name)?;
        let field = self.0.field(&json_name)?;
        let mut ty = of_type(&field.ty);
        if let (Type::List(list), Some(semantics)) = (&ty, field.merge.list) {
            ty = Type::list_with(list.element.clone(), of_list(semantics));
        }
        Some(Field { ty, json_name })
    }
}

fn of_type(ty: &schema::Type) -> Type {
    match ty {
        schema::Type::Scalar(Scalar::String) => Type::String,
        schema::Type::Scalar(Scalar::Bytes) => Type::Bytes,
        schema::Type::Scalar(Scalar::Boolean) => Type::Bool,
        schema::Type::Scalar(Scalar::Int32 | Scalar::Int64) => Type::Int,
        schema::Type::Scalar(Scalar::Double) => Type::Double,
        schema::Type::Ref(definition) => of_definition(definition),
        schema::Type::List(item) => Type::list(of_type(item)),
        schema::Type::Map(value) => Type::map(Type::String, of_type(value)),
    }
}

fn of_list(list: List) -> ListSemantics {
    match list {
        List::Atomic => ListSemantics::Atomic,
        List::Set => ListSemantics::Set,
        List::Map(keys) => ListSemantics::Map(keys.iter().map(|key| (*key).to_owned()).collect()),
    }
}

/// What mutations may make: `Object{spec: Object.spec{replicas: 1}}` and `JSONPatch{op: "add", ...}`.
pub(super) struct Mutations;

/// The type of a whole apply configuration.
pub(super) const OBJECT: &str = "Object";

impl Types for Mutations {
    fn object(&self, name: &str) -> Option<Arc<dyn Schema>> {
        match name {
            "JSONPatch" => Some(Arc::new(JsonPatch)),
            name if name == OBJECT || name.starts_with("Object.") => Some(Arc::new(Any(name.to_owned()))),
            _ => None,
        }
    }
}

/// The type of one operation of a JSON patch.
pub(super) struct JsonPatch;

impl Schema for JsonPatch {
    fn name(&self) -> &'static str {
        "JSONPatch"
    }

    fn field(&self, name: &str) -> Option<Field> {
        let ty = match name {
            "op" | "path" | "from" => Type::String,
            "value" => Type::Dyn,
            _ => return None,
        };
        Some(Field { ty, json_name: name.to_owned() })
    }
}

/// An object of any fields: whether they fit is for the merge to say.
struct Any(String);

impl Schema for Any {
    fn name(&self) -> &str {
        &self.0
    }

    fn field(&self, name: &str) -> Option<Field> {
        Some(Field { ty: Type::Dyn, json_name: sampan_cel::unescape(name)? })
    }
}
