//! Whether an identity may do what a request wants.

use sampan_api::status::Status;
use sampan_auth::{Decision, Identity};

use super::Server;
use crate::authorization;
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
            let refused = authorization::refusal(who, &attributes, info.is_resource, &reason);
            note(notes, "forbid", reason);
            Err(refused)
        }
    }
}

fn note(notes: &Notes, decision: &str, reason: String) {
    notes.annotate("authorization.k8s.io/decision", decision);
    notes.annotate("authorization.k8s.io/reason", reason);
}
