//! What the Pod and its containers have been given of the node, while its specification may wish for something else.
//!
//! Nothing of it is kept on disk: the published status says what was given, and a wish that differs from that is judged
//! anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use crate::{quantity, spec};

/// The resources of a Pod, as granted.
pub(super) struct Allocation {
    /// Of each container.
    containers: BTreeMap<String, ResourceRequirements>,
    /// Of the Pod as a whole, if it says anything of them.
    whole: Option<ResourceRequirements>,
}

impl Allocation {
    /// What the published status says, or for a new Pod what it wishes.
    pub(super) fn of(pod: &Pod) -> Self {
        let mut given = Self::wish(pod);
        let status = spec::status(pod);
        for known in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            if let (Some(entry), Some(resources)) = (given.containers.get_mut(&known.name), &known.resources) {
                *entry = asked(entry, resources);
            }
        }
        if let (Some(whole), Some(resources)) = (&mut given.whole, &status.resources) {
            *whole = asked(whole, resources);
        }
        given
    }

    fn wish(pod: &Pod) -> Self {
        let containers = spec::containers(pod).map(|(_, container)| container);
        let wish = |container: &Container| (container.name.clone(), container.resources.clone().unwrap_or_default());
        Self { containers: containers.map(wish).collect(), whole: spec::of(pod).resources.clone() }
    }

    /// Whether the Pod wishes something else than it was given.
    pub(super) fn differs(&self, pod: &Pod) -> bool {
        let wish = Self::wish(pod);
        let given = |name: &String| self.containers.get(name);
        wish.whole.as_ref().map(amounts) != self.whole.as_ref().map(amounts)
            || wish
                .containers
                .iter()
                .any(|(name, wish)| given(name).is_none_or(|given| amounts(given) != amounts(wish)))
    }

    /// The wish is granted.
    pub(super) fn grant(&mut self, pod: &Pod) {
        *self = Self::wish(pod);
    }

    /// The Pod with what it was given in place of what it wishes.
    pub(super) fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if !self.differs(pod) {
            return Arc::clone(pod);
        }
        let mut pod = Pod::clone(pod);
        if let Some(spec) = pod.spec.as_mut() {
            spec.resources.clone_from(&self.whole);
            let init = spec.init_containers.iter_mut().flatten();
            for container in init.chain(&mut spec.containers) {
                if let Some(given) = self.containers.get(&container.name) {
                    container.resources = Some(given.clone());
                }
            }
        }
        Arc::new(pod)
    }
}

/// What of `given` stands in `wish` too. A status says more: what a container has through its Pod, and a Pod through its
/// containers.
fn asked(wish: &ResourceRequirements, given: &ResourceRequirements) -> ResourceRequirements {
    let both = |wish: &Option<Amounts>, given: &Option<Amounts>| -> Option<Amounts> {
        let names = wish.as_ref()?;
        let given = given.iter().flatten().filter(|(name, _)| names.contains_key(*name));
        Some(given.map(|(name, amount)| (name.clone(), amount.clone())).collect())
    };
    ResourceRequirements {
        requests: both(&wish.requests, &given.requests),
        limits: both(&wish.limits, &given.limits),
        claims: wish.claims.clone(),
    }
}

type Amounts = BTreeMap<String, Quantity>;

/// Requests and limits by what they come to, however they are written.
fn amounts(resources: &ResourceRequirements) -> [BTreeMap<&str, Option<i64>>; 2] {
    [&resources.requests, &resources.limits].map(|list| {
        let amounts = list.iter().flatten();
        amounts.map(|(name, amount)| (name.as_str(), quantity::milli(amount))).collect()
    })
}

/// What the events of a resize say: resources of all containers, in JSON behind `what`.
pub(super) fn describe(what: &str, pod: &Pod, error: Option<&str>) -> String {
    let entry = |c: &Container| json!({"name": c.name, "resources": c.resources.clone().unwrap_or_default()});
    let list = |containers: &[Container]| containers.iter().map(entry).collect::<Vec<Value>>();
    let spec = spec::of(pod);
    let mut summary = json!({"containers": list(&spec.containers), "generation": pod.metadata.generation});
    if let Some(whole) = &spec.resources {
        summary["podResources"] = json!(whole);
    }
    if let Some(init) = spec.init_containers.as_deref().filter(|init| !init.is_empty()) {
        summary["initContainers"] = list(init).into();
    }
    if let Some(error) = error {
        summary["error"] = error.into();
    }
    format!("{what}: {summary}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(wish: &str, status: Value) -> Arc<Pod> {
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": wish}}}]);
        Arc::new(serde_json::from_value(json!({"spec": {"containers": containers}, "status": status})).unwrap())
    }

    fn cpu(pod: &Pod) -> String {
        let resources = spec::of(pod).containers[0].resources.as_ref().unwrap();
        resources.requests.as_ref().unwrap()["cpu"].0.clone()
    }

    #[test]
    fn a_wish_is_not_a_grant() {
        let mut allocation = Allocation::of(&pod("1", json!({})));
        let wish = pod("2", json!({}));
        assert!(allocation.differs(&wish));
        assert_eq!(cpu(&allocation.apply(&wish)), "1");
        allocation.grant(&wish);
        assert_eq!(cpu(&allocation.apply(&wish)), "2");
    }

    #[test]
    fn what_a_status_says_beside_the_wish_was_not_wished_for() {
        let more = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        let resources = json!({"requests": {"cpu": "1"}});
        let pod: Arc<Pod> = Arc::new(
            serde_json::from_value(json!({
                "spec": {"resources": resources, "containers": [{"name": "c", "resources": resources}]},
                "status": {"resources": more, "containerStatuses": [{"name": "c", "image": "", "imageID": "",
                    "ready": true, "restartCount": 0, "resources": more}]},
            }))
            .unwrap(),
        );
        assert!(!Allocation::of(&pod).differs(&pod));
    }

    #[test]
    fn a_pod_has_been_given_something_as_a_whole_too() {
        let pod = |wish: &str, status: Value| -> Arc<Pod> {
            let spec = json!({"resources": {"requests": {"cpu": wish}}, "containers": [{"name": "c"}]});
            Arc::new(serde_json::from_value(json!({"spec": spec, "status": status})).unwrap())
        };
        let cpu = |pod: &Pod| spec::of(pod).resources.as_ref().unwrap().requests.as_ref().unwrap()["cpu"].0.clone();
        let mut allocation = Allocation::of(&pod("2", json!({"resources": {"requests": {"cpu": "1000m"}}})));
        assert!(!allocation.differs(&pod("1", json!({}))));
        let wish = pod("2", json!({}));
        assert_eq!(cpu(&allocation.apply(&wish)), "1000m");
        allocation.grant(&wish);
        assert_eq!(cpu(&allocation.apply(&wish)), "2");
    }

    #[test]
    fn a_restarted_kubelet_knows_from_the_status_what_was_given() {
        let status = json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
            "restartCount": 0, "resources": {"requests": {"cpu": "1"}}}]});
        let pod = pod("2", status);
        let allocation = Allocation::of(&pod);
        assert_eq!(cpu(&allocation.apply(&pod)), "1");
    }
}
