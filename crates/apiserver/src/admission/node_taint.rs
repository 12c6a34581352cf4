//! TaintNodesByCondition: a new Node takes no Pods until it is seen to be ready; the node controller lifts the taint.

use sampan_api::status::Status;
use serde_json::{Value, json};

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) struct NodeTaint;

impl Plugin for NodeTaint {
    fn mutate(&self, _: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_about("", "nodes") {
            return Ok(());
        }
        if !new["spec"]["taints"].is_array() {
            new["spec"]["taints"] = json!([]);
        }
        let is_there = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
        if let Some(taints) = new["spec"]["taints"].as_array_mut().filter(|taints| !taints.iter().any(is_there)) {
            taints.push(json!({ "key": NOT_READY, "effect": "NoSchedule" }));
        }
        Ok(())
    }
}
