//! Subresources that several kinds have.

use crate::kind::Subresource;

/// Group, version and kind.
pub(crate) type Gvk = (&'static str, &'static str, &'static str);

/// Verbs of a view of the object itself.
pub(crate) const VIEW: &[&str] = &["get", "patch", "update"];
/// Verbs of a connection that is upgraded to a stream.
pub(crate) const CONNECT: &[&str] = &["create", "get"];
/// Verbs of a path that passes requests on.
pub(crate) const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// `status`, of the parent's own kind.
pub(crate) const fn status(parent: Gvk) -> Subresource {
    Subresource { name: "status", gvk: parent, verbs: VIEW }
}

/// `scale`: the number of replicas and nothing else.
pub(crate) const SCALE: Subresource = Subresource { name: "scale", gvk: ("autoscaling", "v1", "Scale"), verbs: VIEW };
