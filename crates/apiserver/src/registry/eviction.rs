//! `pods/{name}/eviction`: a deletion that asks the Pod's disruption budget first.

use sampan_api::status::Status;
use serde_json::{Value, json};

use super::budget::{self, Toll};
use super::delete::check_options;
use super::{Attempt, DeleteOptions, Done, Draft, MAX_TRIES, Plan, Registry, built_in, conditions, metadata};
use crate::admission::{self, Request};
use crate::cache::Filter;

/// The condition of a Pod that somebody puts an end to.
const DISRUPTED: &str = "DisruptionTarget";

impl Registry {
    /// Evicts the Pod, with the deletion options the eviction carries.
    pub(crate) async fn evict(&self, attempt: &Attempt, mut eviction: Value) -> Result<Done, Status> {
        self.cache.fresh().await?;
        let named = eviction["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != attempt.name {
            return Err(Status::bad_request(format!(
                "name in URL does not match name in Eviction object: \"{}\" != \"{named}\"",
                attempt.name
            )));
        }
        metadata::place(attempt, &mut eviction)?;
        let eviction = admission::pass(self, &Request::create(attempt), eviction).await?;
        let options: DeleteOptions = match &eviction["deleteOptions"] {
            Value::Null => DeleteOptions::default(),
            options => serde_json::from_value(options.clone())
                .map_err(|e| Status::bad_request(format!("deleteOptions cannot be read: {e}")))?,
        };
        check_options(&options)?;
        let dry_run = attempt.dry_run || !options.dry_run.is_empty();
        let deletion = Attempt { dry_run, subresource: "", ..attempt.clone() };
        for _ in 0..MAX_TRIES {
            if let Some(evicted) = self.evict_once(&deletion, &options).await? {
                return Ok(evicted);
            }
            self.cache.fresh().await?;
        }
        Err(Status::modified(attempt.resource(), &attempt.name))
    }

    /// Evicts the Pod as it is now; `None` if it has changed meanwhile, and may cost its budget something by now.
    async fn evict_once(&self, attempt: &Attempt, options: &DeleteOptions) -> Result<Option<Done>, Status> {
        let pod = self.peek("", "Pod", &attempt.namespace, &attempt.name).ok_or_else(|| attempt.not_found())?;
        let budgets = self.cache.room(built_in("policy", "PodDisruptionBudget")?)?;
        let budgets = budgets.snapshot(&Filter::of_namespace(&attempt.namespace)).0;
        let budgets: Vec<Value> = budgets.iter().map(|budget| budget.value()).collect();
        let toll = budget::toll(&pod, &budgets)?;
        if let Toll::Charged(budget) = toll {
            self.charge(attempt, metadata::text(budget, "name")).await?;
        }
        let asked = options.preconditions.as_ref().is_some_and(|conditions| conditions.resource_version.is_some());
        let bound = !asked && matches!(toll, Toll::FreeAsItIs | Toll::FreeUnready(_));
        let mut options = options.clone();
        if bound {
            let version = metadata::text(&pod, "resourceVersion").to_owned();
            options.preconditions.get_or_insert_default().resource_version = Some(version);
        }
        let now = metadata::time(attempt.now);
        match (self.delete_marked(attempt, &options, |pod| note_disruption(pod, &now)).await, toll) {
            (Err(status), Toll::FreeUnready(budget)) if bound && status.reason == "Conflict" => {
                Err(budget::unsettled(budget))
            }
            (Err(status), _) if bound && status.reason == "Conflict" => Ok(None),
            (done, _) => done.map(Some),
        }
    }

    /// Charges the eviction of the attempt's Pod to the budget `name`.
    async fn charge(&self, attempt: &Attempt, name: &str) -> Result<(), Status> {
        let internal = Attempt::internal(built_in("policy", "PodDisruptionBudget")?, &attempt.namespace, name);
        let charged = Attempt { dry_run: attempt.dry_run, ..internal };
        let now = metadata::time(attempt.now);
        self.transact(&charged, |current| {
            let budget = current.ok_or_else(|| charged.not_found())?;
            Ok(Draft::Admitted(Plan::Put(budget::spend(budget, &attempt.name, &now)?, None)))
        })
        .await
        .map(drop)
    }
}

/// Notes in a Pod's conditions why it goes: whoever counts failures may leave this one out.
fn note_disruption(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": DISRUPTED, "status": "True", "lastTransitionTime": now, "lastProbeTime": null,
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    });
    conditions::set(pod, condition);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::note_disruption;

    #[test]
    fn a_pod_is_noted_to_be_disrupted_once() {
        let mut pod = json!({ "status": { "conditions": [{ "type": "Ready" }] } });
        note_disruption(&mut pod, "1");
        let noted = pod.clone();
        note_disruption(&mut pod, "2");
        assert_eq!(pod, noted);
        let condition = &pod["status"]["conditions"][1];
        assert_eq!((&condition["type"], &condition["lastTransitionTime"]), (&"DisruptionTarget".into(), &"1".into()));
    }
}
