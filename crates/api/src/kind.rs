//! What a kind is: its names, scope, subresources, columns, and its [`Rules`].
//!
//! The API server knows no kind by name: it runs every one of them through the same steps, and asks the kind's
//! rules at each. Adding a kind is adding a file under `kinds/` and a line to [`crate::kinds::ALL`].
//!
//! ```text
//! create:  decode -> default -> (mutating admission) -> prepare_create -> validate + validate_create -> (validating admission) -> store
//! update:  decode -> default -> (mutating admission) -> prepare_update -> validate + validate_update -> ... -> store
//! status:  decode -> default -> prepare_status     -> validate_status                             -> store
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::custom::Custom;
use crate::field;
use crate::model::Model;
use crate::schema;
use crate::status::Status;

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `/api/v1/namespaces/{namespace}/pods`
    Namespaced,
    /// `/api/v1/nodes`
    Cluster,
}

/// Which verbs a kind answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// Everything a stored kind has: create, get, list, watch, update, patch, delete, deletecollection.
    All,
    /// The same without deletecollection: Namespaces go one by one.
    OneByOne,
    /// Only create, and nothing is stored: the review kinds.
    CreateOnly,
    /// Only get and list, of what is measured when asked and never stored.
    ReadOnly,
}

impl Verbs {
    /// Whether there are objects that are stored.
    pub fn are_of_stored(self) -> bool {
        matches!(self, Self::All | Self::OneByOne)
    }
}

/// How names of a kind must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS-1123 subdomain, at most 253 characters.
    Subdomain,
    /// DNS-1123 label, at most 63 characters (Namespace, ...).
    Label,
    /// DNS-1035 label (Service).
    Label1035,
    /// Anything that is one path segment (RBAC kinds).
    PathSegment,
    /// An IP address in its usual form (IPAddress).
    Ip,
}

/// A path below an object: `pods/{name}/log`.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// Last path segment: `status`, `scale`, `log`, `binding`, ...
    pub name: &'static str,
    /// Group, version and kind of what is read or written there; the parent's own for `status`.
    pub gvk: (&'static str, &'static str, &'static str),
    /// Its verbs, as discovery lists them.
    pub verbs: &'static [&'static str],
}

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading: `Name`, `Ready`, ...
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`.
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    /// 0 is always shown; more only with `-o wide`.
    pub priority: i32,
}

/// A kind of object: the one description from which discovery, OpenAPI, routes, storage and tables follow.
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version: `v1`.
    pub version: &'static str,
    /// `Pod`
    pub kind: &'static str,
    /// `pods`
    pub plural: &'static str,
    /// `pod`
    pub singular: &'static str,
    /// `po`
    pub short_names: &'static [&'static str],
    /// `all`
    pub categories: &'static [&'static str],
    /// Where its objects live.
    pub scope: Scope,
    /// What may be done with it.
    pub verbs: Verbs,
    /// How its names look.
    pub names: NameRule,
    /// Paths below its objects.
    pub subresources: &'static [Subresource],
    /// Name of its definition in the OpenAPI schema: `io.k8s.api.core.v1.Pod`.
    pub schema: &'static str,
    /// Its storage prefix, shared by kinds that are views of the same objects (both groups' Events): `pods`.
    pub storage: &'static str,
    /// The columns of its table, the cells come from [`Rules::row`].
    pub columns: &'static [Column],
    /// Its rules, if it is built in: outside, [`KindRef::rules`] answers for both sorts of kinds.
    pub(crate) rules: &'static dyn Rules,
}

impl Kind {
    /// `v1`, `apps/v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// A kind that is served: built in, or custom. Cheap to clone.
///
/// It reads as a [`Kind`]; that of a custom kind has its names, and what else it is comes from the methods here.
#[derive(Clone)]
pub enum KindRef {
    /// Part of the program.
    BuiltIn(&'static Kind),
    /// Described by a CustomResourceDefinition.
    Custom(Arc<Custom>),
}

impl KindRef {
    /// The kind's rules.
    pub fn rules(&self) -> &dyn Rules {
        match self {
            Self::BuiltIn(kind) => kind.rules,
            Self::Custom(custom) => custom.as_ref(),
        }
    }

    /// The custom kind, if it is one.
    pub fn custom(&self) -> Option<&Arc<Custom>> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Custom(custom) => Some(custom),
        }
    }

    /// What is known of the form of its objects; an error if that is nothing, which cannot be.
    pub fn model(&self) -> Result<Model<'_>, Status> {
        match self {
            Self::BuiltIn(kind) => {
                let definition = schema::definition(kind.schema).map(Model::BuiltIn);
                definition.ok_or_else(|| Status::internal("the kind has no schema"))
            }
            Self::Custom(custom) => Ok(Model::Custom(custom)),
        }
    }

    /// Whether a field selector may name `metadata.namespace`. Upstream's kinds without selectable fields of their own
    /// take it even where objects have no namespace.
    pub fn selects_namespace(&self) -> bool {
        let is_plain = self.custom().is_none() && self.rules().selectable_names().is_empty();
        self.scope == Scope::Namespaced || is_plain
    }

    /// The kind's names, which live as long as the program.
    pub fn names(&self) -> &'static Kind {
        match self {
            Self::BuiltIn(kind) => kind,
            Self::Custom(custom) => custom.names(),
        }
    }
}

impl Deref for KindRef {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        self.names()
    }
}

impl From<&'static Kind> for KindRef {
    fn from(kind: &'static Kind) -> Self {
        Self::BuiltIn(kind)
    }
}

impl fmt::Debug for KindRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.plural, self.group, self.version)
    }
}

/// Who writes an object, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// User name.
    pub name: &'a str,
    /// UID; empty if the user has none.
    pub uid: &'a str,
    /// Groups.
    pub groups: &'a [String],
    /// Whatever else is known of the user.
    pub extra: &'a BTreeMap<String, Vec<String>>,
    /// The time of the write.
    pub now: Timestamp,
}

/// What is special about a kind. Every method has the common behaviour as its default; all are pure.
///
/// Objects come as JSON values with `apiVersion`, `kind` and `metadata` already checked and typed fields known to
/// have the right JSON types. Rules change only what is theirs: generic metadata (uid, timestamps, generation,
/// managedFields) is the registry's work, except that [`Rules::generation_changes`] says when generation grows.
pub trait Rules: Sync + Send {
    /// Fills in the defaults that upstream fills in.
    fn default(&self, _object: &mut Value) {}

    /// Before a create is validated: drops what a client may not set (`status` of kinds that have one).
    fn prepare_create(&self, _object: &mut Value) {}

    /// Before an update of the main resource: takes over from `old` what this path may not change (`status`).
    fn prepare_update(&self, _new: &mut Value, _old: &Value) {}

    /// Before an update through `status`: takes over from `old` all but the status (the default does just this,
    /// keeping `metadata` of `old` except labels, annotations, finalizers, ownerReferences and managedFields).
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        if let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) {
            for (name, value) in old {
                if name != "status" && name != "metadata" {
                    new.insert(name.clone(), value.clone());
                }
            }
            new.retain(|name, _| name == "status" || old.contains_key(name));
        }
    }

    /// Before an update through another view of the object, `view` (`approval`): takes over from `old` what is not to be
    /// changed there. The metadata is treated as for `status`.
    fn prepare_view(&self, _view: &str, _new: &mut Value, _old: &Value) {}

    /// Notes what only the server may say of who writes and when; the last thing before validation.
    fn note_writer(&self, _new: &mut Value, _old: Option<&Value>, _writer: &Writer<'_>) {}

    /// The faults of an object, apart from its metadata.
    fn validate(&self, _object: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// The faults that only a new object can have; [`Rules::validate`] has been asked about it as well.
    fn validate_create(&self, _object: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// The faults of a change (immutable fields); [`Rules::validate`] has been asked about `new` as well.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// The faults of a change through `status`.
    fn validate_status(&self, _new: &Value, _old: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// The faults of a change through another view of the object, `view`.
    fn validate_view(&self, _view: &str, _new: &Value, _old: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// What every client is told that uses this kind at all, if it is on its way out.
    fn deprecation(&self) -> Option<&str> {
        None
    }

    /// What the client should be warned of in a new object as it was sent, where [`Rules::prepare_create`] makes another
    /// of it.
    fn warnings_as_sent(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What the client should be warned of.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Whether `metadata.generation` grows with this change. The default: when anything but `metadata` and `status` differs.
    fn generation_changes(&self, new: &Value, old: &Value) -> bool {
        let rest = |value: &Value| -> Vec<(String, Value)> {
            let fields = value.as_object().into_iter().flatten();
            fields.filter(|(k, _)| *k != "metadata" && *k != "status").map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        rest(new) != rest(old)
    }

    /// Whether objects of this kind carry `metadata.generation` at all.
    fn has_generation(&self) -> bool {
        false
    }

    /// Fields for field selectors besides `metadata.name` and `metadata.namespace`: `("spec.nodeName", "n1")`.
    fn selectable_fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The names that [`Rules::selectable_fields`] always answers with, for rejecting unknown selectors.
    fn selectable_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// What a client is told that selects by another field.
    fn unselectable(&self, field: &str) -> String {
        if self.selectable_names().is_empty() {
            return format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
        }
        format!("field label not supported: {field}")
    }

    /// The cells of the object's row, one for each of [`Kind::columns`].
    fn row(&self, _object: &Value, _now: Timestamp) -> Vec<Value> {
        Vec::new()
    }

    /// The grace period of a deletion in seconds, or `None` for kinds that are deleted at once.
    /// `requested` is `DeleteOptions.gracePeriodSeconds`.
    fn grace_period_seconds(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether an update must say which version it replaces, so that two writers who know nothing of each other cannot lose
    /// what one of them wrote. Patches need not: they change what is there.
    fn updates_say_version(&self) -> bool {
        false
    }

    /// Whether an update of what is not there creates it.
    fn updates_create(&self) -> bool {
        false
    }

    /// Whether anything but its `metadata.finalizers` holds back an object whose deletion has begun.
    fn is_held_back(&self, _object: &Value) -> bool {
        false
    }

    /// Whether what an object owns outlives it, unless its deletion says otherwise.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// What a client is warned of that deletes an object without saying what becomes of what it owns.
    fn orphaning_warning(&self) -> Option<&'static str> {
        None
    }

    /// Whether a deletion answers with the object even when it is gone at once, and not with a `Status`.
    fn deletion_returns_object(&self) -> bool {
        false
    }

    /// When the deletion of an object begins: what is to be noted in it. `now` is the time as objects carry it.
    fn begin_delete(&self, _object: &mut Value, _now: &str) {}

    /// Turns the form clients send into the stored form (Events of `events.k8s.io` are stored as core Events).
    fn stored_form(&self, _object: &mut Value) {}

    /// The inverse of [`Rules::stored_form`]; `None` when the stored form is served as it is.
    fn served_form(&self, _stored: &Value) -> Option<Value> {
        None
    }
}
