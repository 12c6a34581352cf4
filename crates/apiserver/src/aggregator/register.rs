//! The APIServices of what this server serves itself: made at start for built-in groups, and kept in step with the
//! custom ones, which come and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{GROUP, KIND, STORAGE, priorities};
use crate::cache::Filter;
use crate::registry::{Attempt, DeleteOptions, Registry, built_in};

/// Says who keeps an APIService: `onstart` for built-in groups, `true` for custom ones.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// An APIService as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Local {
    group: String,
    version: String,
    custom: bool,
}

impl Local {
    fn name(&self) -> String {
        format!("{}.{}", self.version, self.group)
    }

    fn object(&self) -> Value {
        let (group, version) = priorities::of(&self.group, &self.version);
        let mut object = json!({
            "kind": KIND, "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": { "name": self.name(), "labels": { MANAGED: if self.custom { "true" } else { "onstart" } } },
            "spec": { "version": self.version, "groupPriorityMinimum": group, "versionPriority": version },
        });
        if !self.group.is_empty() {
            object["spec"]["group"] = self.group.as_str().into();
        }
        object
    }
}

/// The APIServices that `kinds` need. The group of APIServices itself has none.
fn wanted(kinds: &[KindRef]) -> BTreeSet<Local> {
    let others = kinds.iter().filter(|kind| kind.group != GROUP);
    let local = |kind: &KindRef| Local {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        custom: kind.custom().is_some(),
    };
    others.map(local).collect()
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    put: Vec<Value>,
    remove: Vec<String>,
}

/// Makes what is missing and removes what was made for custom kinds that are gone. An APIService that points elsewhere,
/// or that nobody manages, is its owner's.
fn plan(kinds: &[KindRef], there: &[Value]) -> Plan {
    let wanted = wanted(kinds);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = there.iter().map(name).collect();
    let put = wanted.iter().filter(|local| !names.contains(&local.name())).map(Local::object).collect();
    let wanted: BTreeSet<String> = wanted.iter().map(Local::name).collect();
    let gone = there.iter().filter(|object| object["metadata"]["labels"][MANAGED] == "true");
    let remove = gone.map(name).filter(|name| !wanted.contains(name)).collect();
    Plan { put, remove }
}

/// Brings the stored APIServices in step with what is served now.
pub(crate) async fn reconcile(registry: &Registry) -> Result<(), Status> {
    let kind = built_in(GROUP, KIND)?;
    let (objects, _) = registry.cache.room(kind)?.snapshot(&Filter::default());
    let there: Vec<Value> = objects.iter().map(|object| object.value()).collect();
    let plan = plan(&registry.catalog.served().kinds, &there);
    for object in plan.put {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match registry.create(&Attempt::internal(kind, "", &name), object).await {
            Err(status) if status.reason != "AlreadyExists" => return Err(status),
            _ => {}
        }
    }
    for name in plan.remove {
        match registry.delete(&Attempt::internal(kind, "", &name), &DeleteOptions::default()).await {
            Err(status) if status.reason != "NotFound" => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

/// Does so whenever a CustomResourceDefinition or an APIService changes, until `stop`.
pub(crate) async fn follow(registry: Arc<Registry>, stop: CancellationToken) {
    let Some(room) = registry.cache.stored(STORAGE) else { return };
    let mut services = room.subscribe();
    let mut served = registry.catalog.subscribe();
    while !stop.is_cancelled() {
        if let Err(error) = reconcile(&registry).await {
            tracing::warn!(%error, "the APIServices of this server's own groups could not be brought up to date");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = services.changed() => if changed.is_err() { return },
            changed = served.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_ones_are_made_and_others_left_alone() {
        let kinds: Vec<KindRef> = sampan_api::kinds::ALL.iter().map(|kind| (*kind).into()).collect();
        let all = plan(&kinds, &[]);
        assert!(all.put.iter().any(|object| object["metadata"]["name"] == "v1."));
        assert!(all.put.iter().all(|object| object["spec"]["group"] != GROUP));
        let apps = all.put.iter().find(|object| object["metadata"]["name"] == "v1.apps").unwrap();
        assert_eq!(
            (&apps["spec"]["groupPriorityMinimum"], &apps["spec"]["versionPriority"]),
            (&json!(17_800), &json!(15))
        );
        assert_eq!(apps["metadata"]["labels"][MANAGED], "onstart");
        let mut there = all.put;
        let made = |name: &str, managed: &str| json!({ "metadata": { "name": name, "labels": { MANAGED: managed } } });
        there.extend([made("v1.gone.example", "true"), made("v1.theirs.example", "")]);
        assert_eq!(plan(&kinds, &there), Plan { put: vec![], remove: vec!["v1.gone.example".to_owned()] });
    }
}
