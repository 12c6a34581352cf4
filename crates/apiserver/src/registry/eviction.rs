//! `pods/{name}/eviction`: a deletion that asks politely. Budgets join here once that kind exists.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Attempt, DeleteOptions, Done, Registry};

impl Registry {
    /// Evicts the Pod, with the deletion options the eviction carries.
    pub(crate) async fn evict(&self, attempt: &Attempt, eviction: &Value) -> Result<Done, Status> {
        let named = eviction["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != attempt.name {
            return Err(Status::bad_request(format!(
                "name in URL does not match name in Eviction object: \"{}\" != \"{named}\"",
                attempt.name
            )));
        }
        let options: DeleteOptions = match &eviction["deleteOptions"] {
            Value::Null => DeleteOptions::default(),
            options => serde_json::from_value(options.clone())
                .map_err(|e| Status::bad_request(format!("deleteOptions cannot be read: {e}")))?,
        };
        let dry_run = attempt.dry_run || !options.dry_run.is_empty();
        self.delete(&Attempt { dry_run, subresource: "", ..attempt.clone() }, &options).await
    }
}
