//! What a PodDisruptionBudget says of an eviction.

use sampan_api::selector::Selector;
use sampan_api::status::{Cause, Resource, Status};
use serde_json::Value;

/// How many evictions may be under way at once, of all that one budget speaks of.
const MAX_DISRUPTED: usize = 2000;
/// When to try again while the budget has not been looked at since it changed.
const RETRY_SECONDS: u32 = 10;

/// What an eviction costs.
#[derive(Debug, PartialEq)]
pub(super) enum Toll<'b> {
    /// Nothing.
    Free,
    /// Nothing, as long as the Pod stays as it is.
    FreeAsItIs,
    /// Nothing by this budget, which spares Pods that are not ready, as long as the Pod stays as it is.
    FreeUnready(&'b Value),
    /// One disruption of this budget.
    Charged(&'b Value),
}

/// What the eviction of `pod` costs.
pub(super) fn toll<'b>(pod: &Value, budgets: &'b [Value]) -> Result<Toll<'b>, Status> {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") || pod["metadata"]["deletionTimestamp"].is_string() {
        return Ok(Toll::Free); // It will not run again.
    }
    if phase == "Pending" {
        return Ok(Toll::FreeAsItIs);
    }
    let mut theirs = budgets.iter().filter(|budget| selects(budget, pod));
    let Some(budget) = theirs.next() else { return Ok(Toll::Free) };
    if theirs.next().is_some() {
        return Err(Status::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let spared = !is_ready(pod) && spares_unready(budget);
    Ok(if spared { Toll::FreeUnready(budget) } else { Toll::Charged(budget) })
}

/// The budget with one disruption less, by this Pod.
pub(super) fn spend(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let (name, status) = (budget["metadata"]["name"].as_str().unwrap_or_default(), &budget["status"]);
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or_default() {
        return Err(unsettled(budget));
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

/// What the budget says of the Pod has changed, or will: the client should try again.
pub(super) fn unsettled(budget: &Value) -> Status {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    refused(format!("The disruption budget {name} is still being processed by the server."), RETRY_SECONDS)
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

    use super::{Toll, spend, toll};

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
        assert_eq!(toll(&pod("Running", "True"), &budgets), Ok(Toll::Charged(&budgets[0])));
        assert_eq!(toll(&pod("Pending", "False"), &budgets), Ok(Toll::FreeAsItIs));
        assert_eq!(toll(&pod("Failed", "False"), &budgets), Ok(Toll::Free));
        assert_eq!(toll(&json!({ "status": { "phase": "Running" } }), &budgets), Ok(Toll::Free));
        assert_eq!(toll(&pod("Running", "True"), &[budget(1), budget(1)]).unwrap_err().code, 500);
        let mut lenient = budget(0);
        lenient["spec"]["unhealthyPodEvictionPolicy"] = "AlwaysAllow".into();
        let lenient = [lenient];
        assert_eq!(toll(&pod("Running", "False"), &lenient), Ok(Toll::FreeUnready(&lenient[0])));
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
