//! What admission is asked: upstream's `admission.Attributes`.

use sampan_api::kind::{KindRef, Scope};
use serde_json::{Value, json};

use crate::registry::{Attempt, DeleteOptions};
use crate::reviews::user_info;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// An object, or what is posted to a subresource, is new.
    Create,
    /// An object changes, through whichever path and verb.
    Update,
    /// An object is to go.
    Delete,
    /// A stream or a proxied request begins.
    Connect,
}

impl Operation {
    /// The word in rules and reviews.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// One question to admission. The object as it is wanted goes beside it, since the mutating phase changes it;
/// it is null for a deletion.
pub(crate) struct Request<'r> {
    /// Who does it, where, to which kind and through which subresource.
    pub(crate) attempt: &'r Attempt,
    /// What is being done.
    pub(crate) operation: Operation,
    /// The object as it is; `None` where there is none yet.
    pub(crate) old: Option<&'r Value>,
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions`; null for a connection.
    pub(crate) options: Value,
}

impl<'r> Request<'r> {
    /// A new object, or what is posted to a subresource.
    pub(crate) fn create(attempt: &'r Attempt) -> Self {
        Self { attempt, operation: Operation::Create, old: None, options: attempt.options("CreateOptions") }
    }

    /// A change of `old`.
    pub(crate) fn update(attempt: &'r Attempt, old: &'r Value) -> Self {
        Self { attempt, operation: Operation::Update, old: Some(old), options: attempt.options("UpdateOptions") }
    }

    /// The deletion of `old`.
    pub(crate) fn delete(attempt: &'r Attempt, options: &DeleteOptions, old: &'r Value) -> Self {
        let mut options = serde_json::to_value(options).unwrap_or_else(|_| json!({}));
        options["kind"] = "DeleteOptions".into();
        options["apiVersion"] = "meta.k8s.io/v1".into();
        if attempt.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        Self { attempt, operation: Operation::Delete, old: Some(old), options }
    }

    /// A stream or proxied request; its options are the object.
    pub(crate) fn connect(attempt: &'r Attempt) -> Self {
        Self { attempt, operation: Operation::Connect, old: None, options: Value::Null }
    }

    /// Group, version and kind of the object under review: the subresource's own where it has one.
    pub(crate) fn gvk(&self) -> (&'static str, &'static str, &'static str) {
        let kind = &self.attempt.kind;
        let sub = kind.subresources.iter().find(|sub| sub.name == self.attempt.subresource);
        sub.map_or((kind.group, kind.version, kind.kind), |sub| sub.gvk)
    }

    /// Group, version and kind of the object in the form of `seen`, which serves the same objects.
    pub(crate) fn gvk_seen(&self, seen: &KindRef) -> (&'static str, &'static str, &'static str) {
        let sub = seen.subresources.iter().find(|sub| sub.name == self.attempt.subresource);
        sub.map_or((seen.group, seen.version, seen.kind), |sub| sub.gvk)
    }

    /// The `request` of an `AdmissionReview` without its objects, for somebody who sees them in the form of `seen`.
    pub(crate) fn described(&self, seen: &KindRef) -> Value {
        let attempt = self.attempt;
        // A name that was generated is not the client's.
        let name = if attempt.generated_from.is_empty() { attempt.name.as_str() } else { "" };
        let itself = attempt.kind.group.is_empty() && attempt.kind.plural == "namespaces";
        let namespace = if itself { name } else { attempt.namespace.as_str() };
        let gvk = |(group, version, kind)| json!({ "group": group, "version": version, "kind": kind });
        let resource =
            |kind: &KindRef| json!({ "group": kind.group, "version": kind.version, "resource": kind.plural });
        let mut asked = json!({
            "kind": gvk(self.gvk_seen(seen)),
            "resource": resource(seen),
            "requestKind": gvk(self.gvk()),
            "requestResource": resource(&attempt.kind),
            "operation": self.operation.as_str(),
            "userInfo": user_info(&attempt.identity),
            "dryRun": attempt.dry_run,
            "options": self.options,
        });
        for (field, text) in [
            ("name", name),
            ("namespace", namespace),
            ("subResource", attempt.subresource),
            ("requestSubResource", attempt.subresource),
        ] {
            if !text.is_empty() {
                asked[field] = text.into();
            }
        }
        asked
    }

    /// Whether it is about `resource` (`pods`, `pods/status`) of `group`.
    pub(crate) fn is_about(&self, group: &str, resource: &str) -> bool {
        let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let Attempt { kind, subresource: ours, .. } = self.attempt;
        kind.group == group && kind.plural == plural && *ours == subresource
    }

    /// Whether a Pod is created.
    pub(crate) fn creates_pod(&self) -> bool {
        self.operation == Operation::Create && self.is_about("", "pods")
    }

    /// Whether the object is in a namespace.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.attempt.kind.scope == Scope::Namespaced
    }
}
