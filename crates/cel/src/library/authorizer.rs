//! Questions about rights: `authorizer.group('apps').resource('deployments').namespace('a').check('create').allowed()`.
//!
//! Who answers them is the caller's: see [`Authorizer`].

use std::fmt;
use std::sync::Arc;

use super::{Library, Ran};
use crate::value::{Opaque, Value};

/// The authorizer's functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    path authorizer_path kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.PathCheck
    group authorizer_group kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.GroupCheck
    serviceAccount authorizer_serviceaccount kubernetes.authorization.Authorizer.(string, string) -> kubernetes.authorization.Authorizer
    resource groupcheck_resource kubernetes.authorization.GroupCheck.(string) -> kubernetes.authorization.ResourceCheck
    subresource resourcecheck_subresource kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck
    namespace resourcecheck_namespace kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck
    name resourcecheck_name kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck
    fieldSelector resourcecheck_fieldselector kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck
    labelSelector resourcecheck_labelselector kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck
    check pathcheck_check kubernetes.authorization.PathCheck.(string) -> kubernetes.authorization.Decision
    check resourcecheck_check kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.Decision
    allowed decision_allowed kubernetes.authorization.Decision.() -> bool
    reason decision_reason kubernetes.authorization.Decision.() -> string
    errored decision_errored kubernetes.authorization.Decision.() -> bool
    error decision_error kubernetes.authorization.Decision.() -> string
",
    run,
};

/// Who answers questions about the rights of the one who makes the request.
pub trait Authorizer: Send + Sync {
    /// The answer to a question.
    fn check(&self, query: &Query) -> Decision;
}

/// A question about rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Namespace and name of the ServiceAccount that is asked about instead of the request's own user.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource; if set, only the verb counts besides.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// `pods`
    pub resource: String,
    /// `status`
    pub subresource: String,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Name; empty for all.
    pub name: String,
    /// `spec.nodeName=n1`
    pub field_selector: String,
    /// `app=a`
    pub label_selector: String,
    /// `create`
    pub verb: String,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong with answering.
    pub error: Option<String>,
}

/// The authorizer, a question in the making, or an answer.
#[derive(Clone)]
pub struct Authorization<'a> {
    authorizer: &'a dyn Authorizer,
    stage: Stage,
    query: Arc<Query>,
    decision: Arc<Decision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision,
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.stage, self.query)
    }
}

impl<'a> Authorization<'a> {
    pub(crate) fn new(authorizer: &'a dyn Authorizer) -> Self {
        Self { authorizer, stage: Stage::Authorizer, query: Arc::default(), decision: Arc::default() }
    }

    /// The question about one resource, ready for its verb.
    pub(crate) fn about(authorizer: &'a dyn Authorizer, query: Query) -> Self {
        Self { stage: Stage::Resource, query: Arc::new(query), ..Self::new(authorizer) }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decision => "kubernetes.authorization.Decision",
        }
    }

    fn next(&self, stage: Stage, change: impl FnOnce(&mut Query)) -> Value<'a> {
        let mut query = (*self.query).clone();
        change(&mut query);
        Value::Opaque(Opaque::Authorization(Self { stage, query: Arc::new(query), ..self.clone() }))
    }

    fn check(&self, verb: &str) -> Value<'a> {
        let query = Query { verb: verb.to_owned(), ..(*self.query).clone() };
        let decision = Arc::new(self.authorizer.check(&query));
        Value::Opaque(Opaque::Authorization(Self { stage: Stage::Decision, decision, ..self.clone() }))
    }

    fn answer(&self, function: &str) -> Option<Value<'a>> {
        Some(match function {
            "allowed" => Value::Bool(self.decision.allowed),
            "reason" => Value::text(self.decision.reason.as_str()),
            "errored" => Value::Bool(self.decision.error.is_some()),
            "error" => Value::text(self.decision.error.as_deref().unwrap_or_default()),
            _ => return None,
        })
    }
}

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let [Value::Opaque(Opaque::Authorization(this)), rest @ ..] = args else { return None };
    let texts: Option<Vec<String>> = rest.iter().map(|arg| arg.as_str().map(str::to_owned)).collect();
    let mut texts = texts?.into_iter();
    let (first, second) = (texts.next(), texts.next());
    let value = match (this.stage, function, first, second) {
        (Stage::Authorizer, "path", Some(path), None) => this.next(Stage::Path, |query| query.path = Some(path)),
        (Stage::Authorizer, "group", Some(group), None) => this.next(Stage::Group, |query| query.group = group),
        (Stage::Authorizer, "serviceAccount", Some(namespace), Some(name)) => {
            this.next(Stage::Authorizer, |query| query.service_account = Some((namespace, name)))
        }
        (Stage::Group, "resource", Some(text), None) => this.next(Stage::Resource, |query| query.resource = text),
        (Stage::Resource, "subresource", Some(text), None) => {
            this.next(Stage::Resource, |query| query.subresource = text)
        }
        (Stage::Resource, "namespace", Some(text), None) => this.next(Stage::Resource, |query| query.namespace = text),
        (Stage::Resource, "name", Some(text), None) => this.next(Stage::Resource, |query| query.name = text),
        (Stage::Resource, "fieldSelector", Some(text), None) => {
            this.next(Stage::Resource, |query| query.field_selector = text)
        }
        (Stage::Resource, "labelSelector", Some(text), None) => {
            this.next(Stage::Resource, |query| query.label_selector = text)
        }
        (Stage::Path | Stage::Resource, "check", Some(verb), None) => this.check(&verb),
        (Stage::Decision, function, None, None) => this.answer(function)?,
        _ => return None,
    };
    Some(Ok(value))
}
