//! Whether the node takes a Pod that was bound to it past the scheduler: a Pod that does not fit fails here, as
//! upstream's kubelet lets it fail.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sampan_api::node_features::needed_to_run;

use super::Capacity;
use super::status::DECLARED_FEATURES;
use crate::{quantity, spec};

/// What the node runs already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Active {
    pods: i64,
    cpu_milli: i64,
    memory_bytes: i64,
}

impl Active {
    /// The sum over `pods`, those that are over left out.
    pub(crate) fn of<'a>(pods: impl Iterator<Item = &'a Pod>) -> Self {
        pods.filter(|pod| !matches!(spec::status(pod).phase.as_deref(), Some("Succeeded" | "Failed")))
            .fold(Self::default(), |sum, pod| sum.and(&Self::requests(pod)))
    }

    /// What one Pod asks for.
    fn requests(pod: &Pod) -> Self {
        Self {
            pods: 1,
            cpu_milli: request(pod, "cpu", quantity::milli),
            memory_bytes: request(pod, "memory", quantity::value),
        }
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            pods: self.pods + other.pods,
            cpu_milli: self.cpu_milli + other.cpu_milli,
            memory_bytes: self.memory_bytes + other.memory_bytes,
        }
    }
}

/// What `pod` asks for of `resource`, as `read` counts it: what it says for itself as a whole, else its app containers
/// together, or its hungriest init container if that is more; and its overhead.
pub(crate) fn request(pod: &Pod, resource: &str, read: fn(&Quantity) -> Option<i64>) -> i64 {
    let asked =
        |resources: &Option<ResourceRequirements>| resources.as_ref()?.requests.as_ref()?.get(resource).and_then(read);
    let of = |container: &Container| asked(&container.resources).unwrap_or(0);
    let (mut apps, mut init) = (0, 0);
    for (role, container) in spec::containers(pod) {
        match role {
            spec::Role::Init => init = init.max(apps + of(container)),
            _ => apps += of(container),
        }
    }
    let overhead = spec::of(pod).overhead.as_ref().and_then(|overhead| overhead.get(resource)).and_then(read);
    asked(&spec::of(pod).resources).unwrap_or_else(|| apps.max(init)) + overhead.unwrap_or(0)
}

/// Whether the node can give a Pod that it runs other resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Now,
    /// Not beside the Pods that run now.
    Deferred(String),
    /// Not even alone.
    Infeasible(String),
}

/// Whether the node can give `pod` what it wishes, beside what is `active` without it.
pub(crate) fn fit(pod: &Pod, active: &Active, capacity: &Capacity) -> Fit {
    let alone = Active { pods: 0, ..Active::default() };
    if let Some(Shortage { resource, requested, capacity, .. }) = shortage(pod, &alone, capacity) {
        let text =
            format!("Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}");
        return Fit::Infeasible(text);
    }
    shortage(pod, active, capacity).map_or(Fit::Now, |shortage| Fit::Deferred(shortage.describe()))
}

/// Why the node does not take `pod` beside what is `active`: reason and message. A Pod that has been taken before is
/// not judged again.
pub(crate) fn refusal(pod: &Pod, active: &Active, capacity: &Capacity) -> Option<(String, String)> {
    if spec::status(pod).start_time.is_some() {
        return None;
    }
    if let Some(shortage) = shortage(pod, active, capacity) {
        return Some((format!("OutOf{}", shortage.resource), format!("Pod was rejected: {}", shortage.describe())));
    }
    let lacking = lacking(pod)?;
    let message = format!("Pod was rejected: Pod requires node features that are not available: {lacking}");
    Some(("PodFeatureUnsupported".to_owned(), message))
}

/// The features that the Pod needs and this kubelet does not declare. The scheduler heeds them; who names the node past
/// it may not.
fn lacking(pod: &Pod) -> Option<String> {
    let mut lacking = needed_to_run(spec::of(pod));
    lacking.retain(|feature| !DECLARED_FEATURES.contains(feature));
    Some(lacking.join(", ")).filter(|lacking| !lacking.is_empty())
}

/// What there is too little of.
struct Shortage {
    resource: &'static str,
    requested: i64,
    used: i64,
    capacity: i64,
}

impl Shortage {
    fn describe(&self) -> String {
        let Self { resource, requested, used, capacity } = self;
        format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        )
    }
}

fn shortage(pod: &Pod, active: &Active, capacity: &Capacity) -> Option<Shortage> {
    let allocatable = |name: &str| capacity.allocatable.get(name);
    let wish = Active::requests(pod);
    let limits = [
        ("pods", wish.pods, active.pods, allocatable("pods").and_then(quantity::value)),
        ("cpu", wish.cpu_milli, active.cpu_milli, allocatable("cpu").and_then(quantity::milli)),
        ("memory", wish.memory_bytes, active.memory_bytes, allocatable("memory").and_then(quantity::value)),
    ];
    limits.into_iter().find_map(|(resource, requested, used, limit)| {
        let capacity = limit.filter(|limit| requested > 0 && used + requested > *limit)?;
        Some(Shortage { resource, requested, used, capacity })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: serde_json::Value, want: Option<&str>) {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let running: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]},
        }))
        .unwrap();
        let allocatable = [("cpu", "2"), ("memory", "1Gi"), ("pods", "2")];
        let allocatable = allocatable.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into();
        let capacity = Capacity { allocatable, ..Capacity::default() };
        let refusal = refusal(&pod, &Active::of([&running].into_iter()), &capacity);
        assert_eq!(refusal.map(|(reason, _)| reason).as_deref(), want);
    }

    #[test]
    fn a_pod_needs_no_more_than_the_kubelet_declares() {
        let rules = json!([{"action": "RestartAllContainers"}]);
        check(json!({"spec": {"containers": [{"name": "c", "restartPolicyRules": rules}]}}), None);
        let with_users = |status: serde_json::Value| json!({"spec": {"hostNetwork": true, "hostUsers": false, "containers": []}, "status": status});
        check(with_users(json!({})), Some("PodFeatureUnsupported"));
        check(with_users(json!({"startTime": "2026-01-01T00:00:00Z"})), None);
    }

    #[test]
    fn a_resize_waits_for_others_or_for_ever() {
        let check = |cpu: &str, want: Fit| {
            let pod = |cpu: &str| {
                let resources = json!({"requests": {"cpu": cpu}});
                serde_json::from_value::<Pod>(json!({"spec": {"containers": [{"name": "c", "resources": resources}]}}))
            };
            let allocatable = [("cpu".to_owned(), Quantity("2".to_owned()))].into();
            let capacity = Capacity { allocatable, ..Capacity::default() };
            let active = Active::of([&pod("1500m").unwrap()].into_iter());
            assert_eq!(fit(&pod(cpu).unwrap(), &active, &capacity), want, "{cpu}");
        };
        check("500m", Fit::Now);
        let text = "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000";
        check("501m", Fit::Deferred(text.to_owned()));
        let text = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        check("3", Fit::Infeasible(text.to_owned()));
    }

    #[test]
    fn what_a_pod_says_for_itself_counts_and_its_overhead() {
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": "1"}}}]);
        let check = |spec: serde_json::Value, want: i64| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(request(&pod, "cpu", quantity::milli), want);
        };
        check(json!({"containers": containers}), 1000);
        let own = json!({"requests": {"cpu": "2"}});
        check(json!({"containers": containers, "resources": own, "overhead": {"cpu": "50m"}}), 2050);
    }

    #[test]
    fn a_pod_must_fit() {
        let cpu = |cpu: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        check(cpu("500m"), None);
        check(cpu("501m"), Some("OutOfcpu"));
        check(json!({"spec": {"containers": [{"name": "c"}]}}), None);
        check(
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "2Gi"}}}]}}),
            Some("OutOfmemory"),
        );
        check(
            json!({"status": {"startTime": "2026-01-01T00:00:00Z"},
                "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "8"}}}]}}),
            None,
        );
    }
}
