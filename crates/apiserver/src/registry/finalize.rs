//! `namespaces/{name}/finalize`: the namespace controller says that a namespace is empty.

use sampan_api::status::Status;
use serde_json::Value;

use super::managed::How;
use super::update::{check_version, ready_to_go};
use super::{Attempt, Done, Draft, Plan, Registry, managed, metadata};
use crate::admission::{self, Request};

impl Registry {
    /// Replaces `spec.finalizers` alone; without any left the namespace goes, if it was to.
    pub(crate) async fn finalize(&self, attempt: &Attempt, mut body: Value) -> Result<Done, Status> {
        metadata::place(attempt, &mut body)?;
        self.transact(attempt, |current| {
            let old = current.ok_or_else(|| attempt.not_found())?;
            check_version(attempt, &body, old)?;
            let mut new = old.clone();
            new["spec"] = body["spec"].clone();
            if !new["spec"].is_object() {
                new["spec"] = serde_json::json!({});
            }
            managed::updated(attempt, &mut new, old, How::Update)?;
            Ok(if new["spec"] == old["spec"] { Draft::Keep } else { Draft::Finalize(new) })
        })
        .await
    }

    /// The steps behind the draft.
    pub(super) async fn plan_finalize(&self, attempt: &Attempt, mut new: Value, old: &Value) -> Result<Plan, Status> {
        let request = Request::update(attempt, old);
        admission::mutate(self, &request, &mut new).await?;
        let mut kept = old.clone();
        kept["spec"] = new["spec"].take();
        kept["metadata"]["managedFields"] = new["metadata"]["managedFields"].take();
        admission::validate(self, &request, &kept).await?;
        Ok(if ready_to_go(attempt, &kept) { Plan::Remove(kept) } else { Plan::Put(kept, None) })
    }
}
