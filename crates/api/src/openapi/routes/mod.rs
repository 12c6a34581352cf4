//! What can be done on which path: of the kinds ([`kind`], [`watches`]) and beside them ([`discovery`]).

mod discovery;
mod kind;
mod subresources;
mod watches;

use super::parameters::Parameter;
use crate::kind::KindRef;

pub(super) use discovery::{groups, of_group, served_beside_kinds};

/// A path with its operations.
pub(super) struct Route {
    /// `/apis/apps/v1/namespaces/{namespace}/deployments`
    pub(super) path: String,
    /// Parameters of every operation.
    pub(super) parameters: Vec<Parameter>,
    pub(super) operations: Vec<Operation>,
}

/// One operation.
pub(super) struct Operation {
    /// HTTP method in lower case.
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) description: String,
    /// What the request carries.
    pub(super) body: Body,
    /// The media types of the body.
    pub(super) consumes: &'static [&'static str],
    pub(super) parameters: &'static [Parameter],
    /// Statuses of success.
    pub(super) statuses: &'static [u16],
    /// What comes back.
    pub(super) answer: Answer,
    /// The media types of the answer.
    pub(super) produces: &'static [&'static str],
    /// What is acted on, and how; nothing for what is not about a kind.
    pub(super) action: Option<Action>,
    /// `apps_v1`
    pub(super) tag: String,
}

/// What an operation does to a kind.
#[derive(Clone, Copy)]
pub(super) struct Action {
    /// `x-kubernetes-action`
    pub(super) verb: &'static str,
    /// Group, version and kind of what is acted on.
    pub(super) gvk: (&'static str, &'static str, &'static str),
}

/// What a request carries. Types are told by the names of their schemas.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Nothing,
    /// An object that must be there.
    Object(&'static str),
    /// Options that may be there.
    Options(&'static str),
    Patch,
}

/// What comes back.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Object(&'static str),
    /// The list of a kind.
    List(&'static str),
    /// A text or a stream.
    Text,
}

/// Any media type.
const ANY: &[&str] = &["*/*"];

/// What paths and operations call a group: `apps`, `rbac.authorization`, and `core` for the one without a name.
fn short_group(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) }
}

/// `/apis/apps/v1`
fn prefix(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// `apps_v1`, `flowcontrolApiserver_v1`
fn tag(group: &str, version: &str) -> String {
    let name = pascal(short_group(group));
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    format!("{}{}_{version}", first.map(String::from).unwrap_or_default(), letters.as_str())
}

/// `rbac.authorization` as `RbacAuthorization`.
fn pascal(text: &str) -> String {
    text.split('.')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect()
}

/// All routes of one group and version, given its kinds.
pub(super) fn of_group_version(group: &'static str, version: &'static str, kinds: &[KindRef]) -> Vec<Route> {
    let own = kinds.iter().filter(|kind| kind.group == group && kind.version == version);
    [discovery::of_version(group, version)].into_iter().chain(own.flat_map(kind::of_kind)).collect()
}
