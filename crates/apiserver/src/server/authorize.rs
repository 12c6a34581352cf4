//! Whether an identity may do what a request wants, in upstream's words if not.

use sampan_api::status::{Resource, Status};
use sampan_auth::{Attributes, Decision, Identity};

use super::Server;
use crate::notes::Notes;
use crate::request::{Query, RequestInfo};

/// 403 unless the request is allowed.
pub(super) async fn check(
    server: &Server,
    who: &Identity,
    info: &RequestInfo,
    query: &Query,
    notes: &Notes,
) -> Result<(), Status> {
    let attributes = info.attributes(query);
    match server.registry.rights.decide(who, &attributes).await {
        Decision::Allow(reason) => {
            note(notes, "allow", reason);
            Ok(())
        }
        Decision::Deny(reason) | Decision::NoOpinion(reason) => {
            let refused = refusal(who, &attributes, info.is_resource, &reason);
            note(notes, "forbid", reason);
            Err(refused)
        }
    }
}

fn note(notes: &Notes, decision: &str, reason: String) {
    notes.annotate("authorization.k8s.io/decision", decision);
    notes.annotate("authorization.k8s.io/reason", reason);
}

/// The 403 for `who` and `what`.
pub(super) fn refusal(who: &Identity, what: &Attributes, is_resource: bool, reason: &str) -> Status {
    let Attributes { verb, group, .. } = what;
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    if !is_resource {
        let why = format!("User {:?} cannot {verb} path {:?}{reason}", who.name, what.path);
        return Status::forbidden_path(&why);
    }
    let resource = match what.subresource.as_str() {
        "" => what.resource.clone(),
        subresource => format!("{}/{subresource}", what.resource),
    };
    let scope = match what.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}{reason}", who.name);
    Status::forbidden(Resource { group, name: &what.resource }, &what.name, &why)
}
