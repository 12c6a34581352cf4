//! `pods/{name}/eviction`: a deletion that asks politely. Budgets join here once that kind exists.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Attempt, DeleteOptions, Done, Registry, metadata};
use crate::admission::{self, Request};

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
        self.delete_admitted(&Attempt { dry_run, subresource: "", ..attempt.clone() }, &options).await
    }
}
