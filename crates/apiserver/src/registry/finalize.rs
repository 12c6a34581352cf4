//! `namespaces/{name}/finalize`: the namespace controller says that a namespace is empty.

use sampan_api::status::Status;
use serde_json::Value;

use super::managed::How;
use super::update::{check_version, ready_to_go};
use super::{Attempt, Done, Plan, Registry, managed, metadata};

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
            if new["spec"] == old["spec"] {
                return Ok(Plan::Keep);
            }
            Ok(if ready_to_go(&new) { Plan::Remove(new) } else { Plan::Put(new, None) })
        })
        .await
    }
}
