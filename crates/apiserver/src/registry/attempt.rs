//! One request to write, with everything the steps on its way ask about it.

use std::sync::Arc;

use jiff::Timestamp;
use sampan_api::kind::{Kind, KindRef, Scope, Writer};
use sampan_api::status::{Resource, Status};
use sampan_auth::Identity;
use serde_json::{Map, Value};

use crate::notes::Notes;

/// How unknown and duplicate fields are answered.
pub(crate) use sampan_api::decode::FieldValidation;

/// A write that someone attempts.
#[derive(Clone)]
pub(crate) struct Attempt {
    /// The kind of the object.
    pub(crate) kind: KindRef,
    /// Namespace; empty for cluster scope.
    pub(crate) namespace: String,
    /// Name; empty until one is generated.
    pub(crate) name: String,
    /// Subresource written through; empty for the object itself.
    pub(crate) subresource: &'static str,
    /// Who attempts it.
    pub(crate) identity: Identity,
    /// Who is noted as the manager of the fields written.
    pub(crate) manager: String,
    /// Whether nothing is to be stored.
    pub(crate) dry_run: bool,
    /// How unknown fields are answered.
    pub(crate) validation: FieldValidation,
    /// When.
    pub(crate) now: Timestamp,
    /// The write options that the client gave: `dryRun`, `fieldManager`, `fieldValidation`.
    pub(crate) said: Map<String, Value>,
    /// From which `generateName` the name was made; empty if the client gave it.
    pub(crate) generated_from: String,
    /// Whether the API server does this by itself. Nobody's webhook or policy may stand in the way of that.
    pub(crate) own: bool,
    /// Warnings and annotations of the request.
    pub(crate) notes: Arc<Notes>,
}

impl Attempt {
    /// A write by the API server itself.
    pub(crate) fn internal(kind: impl Into<KindRef>, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: "",
            identity: Identity {
                name: "system:apiserver".to_owned(),
                groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
                ..Identity::default()
            },
            manager: "kube-apiserver".to_owned(),
            dry_run: false,
            validation: FieldValidation::Ignore,
            now: sampan_clock::now(),
            said: Map::new(),
            generated_from: String::new(),
            own: true,
            notes: Arc::default(),
        }
    }

    /// The same about the object `name`.
    #[must_use]
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Who writes, and when, as rules see it.
    pub(crate) fn writer(&self) -> Writer<'_> {
        let Identity { name, uid, groups, extra } = &self.identity;
        Writer { name, uid, groups, extra, now: self.now }
    }

    /// The resource as texts name it.
    pub(crate) fn resource(&self) -> Resource<'static> {
        Resource { group: self.kind.group, name: self.kind.plural }
    }

    /// The kind as texts name it.
    pub(crate) fn group_kind(&self) -> Resource<'static> {
        Resource { group: self.kind.group, name: self.kind.kind }
    }

    /// The object's key in its room.
    pub(crate) fn key(&self) -> String {
        room_key(&self.kind, &self.namespace, &self.name)
    }

    /// The options of the write as an object of `kind`.
    pub(crate) fn options(&self, kind: &str) -> Value {
        let mut options = self.said.clone();
        options.insert("kind".to_owned(), kind.into());
        options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
        options.into()
    }

    /// The object's name as refusals give it: a generated one is not known to anybody yet.
    pub(crate) fn shown_name(&self) -> &str {
        if self.generated_from.is_empty() { &self.name } else { &self.generated_from }
    }

    /// 403 about this object.
    pub(crate) fn forbidden(&self, why: &str) -> Status {
        Status::forbidden(self.resource(), self.shown_name(), why)
    }

    /// 404 about this object.
    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(self.resource(), &self.name)
    }

    /// 404 unless the kind is one that is stored.
    pub(crate) fn check_stored(&self) -> Result<(), Status> {
        if self.kind.verbs.are_of_stored() { Ok(()) } else { Err(Status::method_not_allowed()) }
    }
}

/// The key of an object in its kind's room.
pub(super) fn room_key(kind: &Kind, namespace: &str, name: &str) -> String {
    match kind.scope {
        Scope::Namespaced => [namespace, "/", name].concat(),
        Scope::Cluster => name.to_owned(),
    }
}

/// The outcome of a write.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// The object as it is now, `resourceVersion` included; for a deletion as it was last.
    pub(crate) object: Value,
    /// What happened to it.
    pub(crate) effect: Effect,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It made the object.
    Created,
    /// It changed the object.
    Updated,
    /// Everything was as wanted already.
    Nothing,
    /// It removed the object.
    Removed,
}
