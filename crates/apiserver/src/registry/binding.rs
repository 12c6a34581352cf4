//! `pods/{name}/binding`: puts a Pod on a node, once.

use sampan_api::field::{Error, Path};
use sampan_api::status::{Resource, Status};
use serde_json::{Value, json};

use super::managed::How;
use super::{Attempt, Done, Draft, Plan, Registry, conditions, managed, metadata};
use crate::admission::{self, Request};

impl Registry {
    /// Binds the Pod to the node that `binding.target` names.
    pub(crate) async fn bind(&self, attempt: &Attempt, mut binding: Value) -> Result<Done, Status> {
        metadata::place(attempt, &mut binding)?;
        self.cache.fresh().await?;
        let binding = &admission::pass(self, &Request::create(attempt), binding).await?;
        let node = target(attempt, binding)?;
        self.transact(attempt, |current| {
            let old = current.ok_or_else(|| attempt.not_found())?;
            let uid = metadata::text(binding, "uid");
            if !uid.is_empty() && uid != metadata::text(old, "uid") {
                let there = metadata::text(old, "uid");
                let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {there}");
                return Err(Status::conflict(binding_resource(attempt), &attempt.name, &why));
            }
            let refuse = |why: String| Err(Status::conflict(binding_resource(attempt), &attempt.name, &why));
            if metadata::is_deleting(old) {
                return refuse(format!("pod {} is being deleted, cannot be assigned to a host", attempt.name));
            }
            if let Some(there) = old["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) {
                return refuse(format!("pod {} is already assigned to node {there:?}", attempt.name));
            }
            if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
                return refuse(format!("pod {} has non-empty .spec.schedulingGates", attempt.name));
            }
            let mut new = old.clone();
            new["spec"]["nodeName"] = node.into();
            copy_metadata(&mut new, binding);
            set_scheduled(&mut new, &metadata::time(attempt.now));
            managed::updated(attempt, &mut new, old, How::Update)?;
            Ok(Draft::Admitted(Plan::Put(new, None)))
        })
        .await
    }
}

fn binding_resource(attempt: &Attempt) -> Resource<'static> {
    Resource { group: attempt.kind.group, name: "pods/binding" }
}

fn target<'b>(attempt: &Attempt, binding: &'b Value) -> Result<&'b str, Status> {
    let path = Path::new("target");
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    let name = binding["target"]["name"].as_str().unwrap_or_default();
    let mut faults = Vec::new();
    if !matches!(kind, "" | "Node") {
        faults.push(Error::not_supported(&path.child("kind"), kind, &["Node", "<empty>"]));
    }
    if name.is_empty() {
        faults.push(Error::required(&path.child("name"), ""));
    }
    if faults.is_empty() {
        return Ok(name);
    }
    Err(Status::invalid(Resource { group: "", name: "Binding" }, &attempt.name, &faults))
}

fn copy_metadata(pod: &mut Value, binding: &Value) {
    for field in ["annotations", "labels"] {
        for (name, value) in binding["metadata"][field].as_object().into_iter().flatten() {
            pod["metadata"][field][name] = value.clone();
        }
    }
}

fn set_scheduled(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        "observedGeneration": pod["metadata"]["generation"],
    });
    conditions::set(pod, condition);
}
