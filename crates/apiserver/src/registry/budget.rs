//! What a PodDisruptionBudget says of an eviction.

use sampan_api::selector::Selector;
use sampan_api::status::{Cause, Resource, Status};
use serde_json::Value;

/// How many evictions may be under way at once, of all that one budget speaks of.
const MAX_DISRUPTED: usize = 2000;
/// When to try again while the budget has not been looked at since it changed.
const RETRY_SECONDS: u32 = 10;

/// The budget that an eviction of `pod` is charged to; none if it may just go.
pub(super) fn charged<'b>(pod: &Value, budgets: &'b [Value]) -> Result<Option<&'b Value>, Status> {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed" | "Pending") || pod["metadata"]["deletionTimestamp"].is_string() {
        return Ok(None); // It is not counted as running anyway.
    }
    let mut theirs = budgets.iter().filter(|budget| selects(budget, pod));
    let Some(budget) = theirs.next() else { return Ok(None) };
    if theirs.next().is_some() {
        return Err(Status::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let spared = !is_ready(pod) && spares_unready(budget);
    Ok((!spared).then_some(budget))
}

/// The budget with one disruption less, by this Pod.
pub(super) fn spend(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let (name, status) = (budget["metadata"]["name"].as_str().unwrap_or_default(), &budget["status"]);
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or_default() {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why, RETRY_SECONDS));
    }
    let forbidden = |why: &str| Status::forbidden(Resource { group: "policy", name: "poddisruptionbudget" }, name, why);
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
        return Err(forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        let (wanted, there) = (number("desiredHealthy"), number("currentHealthy"));
        let why = format!("The disruption budget {name} needs {wanted} healthy pods and has {there} currently");
        return Err(refused(why, 0));
    }
    let mut budget = budget.clone();
    budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    budget["status"]["disruptedPods"][pod] = now.into();
    Ok(budget)
}

fn refused(why: String, retry_after_seconds: u32) -> Status {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let cause = Cause { reason: "DisruptionBudget".to_owned(), message: why, field: String::new() };
    Status::too_many_requests(text, retry_after_seconds).with_causes(vec![cause])
}

/// A budget without a selector selects nothing, one with an empty selector everything.
fn selects(budget: &Value, pod: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    selector.is_object()
        && Selector::from_object(selector).is_ok_and(|selector| selector.matches(&pod["metadata"]["labels"]))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whether Pods that are not ready may go: always, or while the others are enough.
fn spares_unready(budget: &Value) -> bool {
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (count("desiredHealthy") > 0 && count("currentHealthy") >= count("desiredHealthy"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{charged, spend};

    fn budget(allowed: i64) -> Value {
        json!({
            "metadata": { "name": "b", "generation": 2 }, "spec": { "selector": { "matchLabels": { "a": "b" } } },
            "status": { "observedGeneration": 2, "disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 1 },
        })
    }

    fn pod(phase: &str, ready: &str) -> Value {
        json!({
            "metadata": { "labels": { "a": "b" } },
            "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    #[test]
    fn only_running_pods_are_charged_to_their_budget() {
        let budgets = [budget(1)];
        assert_eq!(charged(&pod("Running", "True"), &budgets), Ok(Some(&budgets[0])));
        assert_eq!(charged(&pod("Pending", "False"), &budgets), Ok(None));
        assert_eq!(charged(&json!({ "status": { "phase": "Running" } }), &budgets), Ok(None));
        assert_eq!(charged(&pod("Running", "True"), &[budget(1), budget(1)]).unwrap_err().code, 500);
        let mut lenient = budget(0);
        lenient["spec"]["unhealthyPodEvictionPolicy"] = "AlwaysAllow".into();
        assert_eq!(charged(&pod("Running", "False"), &[lenient]), Ok(None));
    }

    #[test]
    fn a_budget_can_be_spent() {
        let spent = spend(&budget(1), "p", "now").unwrap();
        assert_eq!(spent["status"]["disruptionsAllowed"], 0);
        assert_eq!(spent["status"]["disruptedPods"]["p"], "now");
        let refused = spend(&spent, "p", "now").unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
        let mut changed = budget(1);
        changed["metadata"]["generation"] = 3.into();
        assert_eq!(spend(&changed, "p", "now").unwrap_err().details.unwrap().retry_after_seconds, 10);
    }
}
