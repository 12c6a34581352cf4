//! `pods/{name}/eviction`: a deletion that asks the Pod's disruption budget first.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Attempt, DeleteOptions, Done, Draft, Plan, Registry, budget, built_in, metadata};
use crate::admission::{self, Request};
use crate::cache::Filter;

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
        let dry_run = attempt.dry_run || !options.dry_run.is_empty();
        self.charge(attempt, dry_run).await?;
        self.delete_admitted(&Attempt { dry_run, subresource: "", ..attempt.clone() }, &options).await
    }

    /// Charges the eviction of the attempt's Pod to its budget.
    async fn charge(&self, attempt: &Attempt, dry_run: bool) -> Result<(), Status> {
        let pod = self.peek("", "Pod", &attempt.namespace, &attempt.name).ok_or_else(|| attempt.not_found())?;
        let kind = built_in("policy", "PodDisruptionBudget")?;
        let budgets = self.cache.room(kind)?.snapshot(&Filter::of_namespace(&attempt.namespace)).0;
        let budgets: Vec<Value> = budgets.iter().map(|budget| budget.value()).collect();
        let Some(budget) = budget::charged(&pod, &budgets)? else { return Ok(()) };
        let internal = Attempt::internal(kind, &attempt.namespace, metadata::text(budget, "name"));
        let charged = Attempt { dry_run, ..internal };
        let now = metadata::time(attempt.now);
        self.transact(&charged, |current| {
            let budget = current.ok_or_else(|| charged.not_found())?;
            Ok(Draft::Admitted(Plan::Put(budget::spend(budget, &attempt.name, &now)?, None)))
        })
        .await
        .map(drop)
    }
}
