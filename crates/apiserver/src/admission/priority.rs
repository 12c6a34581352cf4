//! A Pod's priority class becomes a number. The two system classes are known; further ones come with their kind.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Plugin, Request};
use crate::registry::Registry;

/// The classes that every cluster has.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(super) struct Priority;

impl Plugin for Priority {
    fn mutate(&self, _: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        if !request.creates_pod() {
            return Ok(());
        }
        let class = new["spec"]["priorityClassName"].as_str().unwrap_or_default();
        let number = match SYSTEM_CLASSES.iter().find(|(name, _)| *name == class) {
            Some((_, number)) => *number,
            None if class.is_empty() => 0,
            None => return Err(request.attempt.forbidden(&format!("no PriorityClass with name {class} was found"))),
        };
        if new["spec"]["priority"].as_i64().is_some_and(|given| given != number) {
            let given = &new["spec"]["priority"];
            return Err(request.attempt.forbidden(&format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission \
                 controller computed {number} from the given PriorityClass name"
            )));
        }
        new["spec"]["priority"] = number.into();
        if new["spec"]["preemptionPolicy"].is_null() {
            new["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
        }
        Ok(())
    }
}
