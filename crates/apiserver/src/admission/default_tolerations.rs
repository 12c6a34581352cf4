//! Pods tolerate a node that does not answer for five minutes, unless they say otherwise.

use sampan_api::status::Status;
use serde_json::{Value, json};

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) struct DefaultTolerations;

impl Plugin for DefaultTolerations {
    fn mutate(&self, _: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        // Whoever replaces a Pod's tolerations need not know of these.
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_about("", "pods") {
            return Ok(());
        }
        let tolerations = &mut new["spec"]["tolerations"];
        if !tolerations.is_array() {
            *tolerations = json!([]);
        }
        let Some(tolerations) = tolerations.as_array_mut() else { return Ok(()) };
        for taint in TAINTS {
            if !tolerations.iter().any(|toleration| tolerates(toleration, taint)) {
                tolerations.push(json!({
                    "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
                }));
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let key = toleration["key"].as_str().unwrap_or_default();
    let effect = toleration["effect"].as_str().unwrap_or_default();
    (key.is_empty() || key == taint) && matches!(effect, "" | "NoExecute")
}
