//! The answer to those who may not, in upstream's words.

use sampan_api::status::{Resource, Status};
use sampan_auth::{Attributes, Identity};

/// The 403 for `who` and `what`.
pub(crate) fn refusal(who: &Identity, what: &Attributes, is_resource: bool, reason: &str) -> Status {
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
