//! What expressions see of a request, and asking them.

use sampan_api::policy::{Expression, Named};
use sampan_auth::{Attributes, Authorizer as _, Decision, Identity};
use sampan_cel::{Authorizer, Bindings, Budget, Error, Query, Value as Cel};
use serde_json::Value;

use crate::admission::Request;
use crate::rights::Rights;

static NULL: Value = Value::Null;

/// A request as expressions see it.
pub(crate) struct Subject<'s> {
    /// The object as it is wanted; null for a deletion.
    pub(crate) object: &'s Value,
    /// The object as it is; null if it is new.
    pub(crate) old: &'s Value,
    /// The AdmissionRequest.
    pub(crate) request: Value,
    /// The namespace, or null.
    pub(crate) namespace: &'s Value,
    /// The parameters, or null.
    pub(crate) params: &'s Value,
    /// Who asks about rights.
    pub(crate) rights: Requester<'s>,
}

/// Answers questions about the rights of whoever makes the request.
pub(crate) struct Requester<'s> {
    pub(crate) rights: &'s Rights,
    pub(crate) identity: &'s Identity,
}

impl Authorizer for Requester<'_> {
    fn check(&self, query: &Query) -> sampan_cel::Decision {
        let account = query.service_account.as_ref().map(|(namespace, name)| Identity {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            ..Identity::default()
        });
        let selected = query.field_selector.split(',').filter_map(|term| term.split_once('='));
        let what = Attributes {
            verb: query.verb.clone(),
            group: query.group.clone(),
            version: if query.path.is_some() { String::new() } else { "*".to_owned() },
            resource: query.resource.clone(),
            subresource: query.subresource.clone(),
            namespace: query.namespace.clone(),
            name: query.name.clone(),
            path: query.path.clone().unwrap_or_default(),
            fields: selected.map(|(name, value)| (name.to_owned(), value.trim_start_matches('=').to_owned())).collect(),
        };
        match self.rights.authorize(account.as_ref().unwrap_or(self.identity), &what) {
            Decision::Allow(reason) => sampan_cel::Decision { allowed: true, reason, error: None },
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                sampan_cel::Decision { allowed: false, reason, error: None }
            }
        }
    }
}

impl<'s> Subject<'s> {
    /// The variables of expressions; `variables` are evaluated when they are used.
    pub(crate) fn bindings<'b>(&'b self, variables: &'b [Named]) -> Bindings<'b> {
        let about = |field: &str| self.request["resource"][field].as_str().unwrap_or_default().to_owned();
        let text = |field: &str| self.request[field].as_str().unwrap_or_default().to_owned();
        let query = Query {
            group: about("group"),
            resource: about("resource"),
            subresource: text("subResource"),
            namespace: text("namespace"),
            name: text("name"),
            ..Query::default()
        };
        let bindings = Bindings::new()
            .json("object", self.object)
            .json("oldObject", self.old)
            .json("request", &self.request)
            .json("namespaceObject", self.namespace)
            .json("params", self.params)
            .authorizer("authorizer", &self.rights)
            .resource_check("authorizer.requestResource", &self.rights, query);
        variables.iter().fold(bindings, |bindings, variable| {
            let program = variable.expression.program.as_ref().map_err(Clone::clone);
            bindings.lazily(&variable.name, program)
        })
    }

    /// The old object of a request, or null.
    pub(crate) fn old_of(request: &Request<'s>) -> &'s Value {
        request.old.unwrap_or(&NULL)
    }
}

/// Why an expression has no value.
pub(crate) enum Failed {
    /// It alone.
    Alone(String),
    /// The budget of all expressions is used up.
    OutOfBudget(String),
}

impl Failed {
    /// The words for it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Alone(text) | Self::OutOfBudget(text) => text,
        }
    }
}

/// Evaluates an expression.
pub(crate) fn evaluate<'b>(
    expression: &Expression,
    bindings: &Bindings<'b>,
    budget: &Budget,
) -> Result<Cel<'b>, Failed> {
    let program = expression.program.as_ref().map_err(|why| Failed::Alone(why.clone()))?;
    program.evaluate(bindings, budget).map_err(|error| match error {
        Error::OutOfBudget => Failed::OutOfBudget(error.to_string()),
        error => Failed::Alone(format!("expression '{}' resulted in error: {error}", expression.source)),
    })
}

/// Whether all match conditions are true. One that is false decides, whatever goes wrong with others.
pub(crate) fn conditions_hold(conditions: &[Named], bindings: &Bindings<'_>) -> Result<bool, String> {
    let budget = Budget::new(Budget::MATCH_CONDITIONS);
    let mut faults = Vec::new();
    for condition in conditions {
        match evaluate(&condition.expression, bindings, &budget) {
            Ok(value) if value.as_bool() == Some(true) => {}
            Ok(_) => return Ok(false),
            Err(Failed::OutOfBudget(text)) => return Err(text),
            Err(Failed::Alone(text)) => faults.push(text),
        }
    }
    match faults.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}
