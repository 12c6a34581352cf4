//! Whether the node takes a Pod that was bound to it past the scheduler: a Pod that does not fit, or that wants another
//! node, fails here, as upstream's kubelet lets it fail. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sampan_api::node_features::needed_to_run;
use sampan_api::placement::{HostPort, Place, host_ports, tolerates, wants};

use super::requests::{self, amount};
use super::status::DECLARED_FEATURES;
use crate::devices::is_extended_resource;
use crate::{spec, static_pods};

/// The operating system of every Pod here.
const OS: &str = "linux";
const OS_LABEL: &str = "kubernetes.io/os";

/// What the node runs already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Active {
    pods: i64,
    requests: BTreeMap<String, i64>,
    ports: Vec<HostPort>,
}

impl Active {
    /// The sum over `pods`, those that are over left out.
    pub(crate) fn of<'a>(pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut sum = Self::default();
        for pod in pods.filter(|pod| !spec::is_over(pod)) {
            sum.pods += 1;
            sum.ports.extend(host_ports(spec::of(pod)));
            for (resource, amount) in requests::of(pod) {
                let sum = sum.requests.entry(resource).or_default();
                *sum = sum.saturating_add(amount);
            }
        }
        sum
    }

    /// Whether a port of the node that `pod` takes is taken.
    fn has_port_of(&self, pod: &Pod) -> bool {
        host_ports(spec::of(pod)).iter().any(|port| self.ports.iter().any(|other| port.conflicts(other)))
    }
}

/// What the node is to Pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    /// What Pods may have of it, but for devices: those are given by themselves.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
}

impl Offer {
    /// Whether the node is one that `pod` wants.
    fn is_wanted_by(&self, pod: &Pod) -> bool {
        wants(spec::of(pod), Place { name: &self.name, labels: &self.labels })
    }

    /// Whether the node drives `pod` out. It is the node's own Pods' home whatever its taints.
    fn drives_out(&self, pod: &Pod) -> bool {
        let untolerated = |taint: &Taint| taint.effect == "NoExecute" && !tolerates(spec::of(pod), taint);
        !static_pods::is_static(pod) && self.taints.iter().any(untolerated)
    }
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
pub(crate) fn fit(pod: &Pod, active: &Active, allocatable: &BTreeMap<String, Quantity>) -> Fit {
    if let Some(Shortage { resource, requested, capacity, .. }) = shortages(pod, &Active::default(), allocatable).next()
    {
        let text =
            format!("Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}");
        return Fit::Infeasible(text);
    }
    shortages(pod, active, allocatable).next().map_or(Fit::Now, |shortage| Fit::Deferred(shortage.describe()))
}

/// Why the node does not take a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Whether it is for the node's labels alone: those may be newer than the ones that were looked at.
    pub(crate) by_labels: bool,
}

impl From<(String, String)> for Refusal {
    fn from((reason, message): (String, String)) -> Self {
        Self { reason, message, by_labels: false }
    }
}

/// Why the node does not take `pod` beside what is `active`. A Pod that has been taken before is not judged again.
pub(crate) fn refusal(pod: &Pod, active: &Active, offer: &Offer) -> Option<Refusal> {
    if spec::status(pod).start_time.is_some() {
        return None;
    }
    let refuse =
        |reason: &str, message: &str| Refusal::from((reason.to_owned(), format!("Pod was rejected: {message}")));
    if let Some((reason, message)) = of_another_system(pod) {
        return Some(refuse(reason, message));
    }
    let mut misfits = misfits(pod, active, offer).into_iter();
    if let Some(Misfit { reason, message, by_labels }) = misfits.next() {
        let by_labels = by_labels && misfits.next().is_none();
        return Some(Refusal { by_labels, ..refuse(&reason, &message) });
    }
    let lacking = lacking(pod)?;
    Some(refuse("PodFeatureUnsupported", &format!("Pod requires node features that are not available: {lacking}")))
}

/// Whether the Pod is made for another operating system; upstream's words.
fn of_another_system(pod: &Pod) -> Option<(&'static str, &'static str)> {
    if pod.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL)).is_some_and(|os| os != OS) {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(("PodOSSelectorNodeLabelDoesNotMatch", message));
    }
    let os = spec::of(pod).os.as_ref().filter(|os| os.name != OS);
    os.map(|_| ("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"))
}

/// One thing about a Pod that does not fit.
struct Misfit {
    reason: String,
    message: String,
    by_labels: bool,
}

/// What more Pods can share than there is enough of for all.
const SHARED: [&str; 4] = ["pods", "cpu", "memory", "ephemeral-storage"];

/// Everything about `pod` that does not fit, in upstream's order and words. What the node cannot do without shares what
/// there is; upstream ends other Pods for it.
fn misfits(pod: &Pod, active: &Active, offer: &Offer) -> Vec<Misfit> {
    let shares = |resource: &str| spec::is_critical(pod) && SHARED.contains(&resource);
    let scarce = shortages(pod, active, &offer.allocatable).find(|shortage| !shares(&shortage.resource));
    let scarce = scarce.map(|shortage| {
        let (reason, message) = (format!("OutOf{}", shortage.resource), shortage.describe());
        Misfit { reason, message, by_labels: false }
    });
    let failed = [
        (!offer.is_wanted_by(pod), "NodeAffinity", "node(s) didn't match Pod's node affinity/selector"),
        (active.has_port_of(pod), "NodePorts", "node(s) didn't have free ports for the requested pod ports"),
        (offer.drives_out(pod), "TaintToleration", "node(s) had taints that the pod didn't tolerate"),
    ];
    let failed = failed.into_iter().filter(|(fails, ..)| *fails).map(|(_, predicate, why)| Misfit {
        reason: predicate.to_owned(),
        message: format!("Predicate {predicate} failed: {why}"),
        by_labels: predicate == "NodeAffinity",
    });
    scarce.into_iter().chain(failed).collect()
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
    resource: String,
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

/// What `pod` asks for and what is not left beside what is `active`. An extended resource that the node does not know is
/// somebody else's to give.
fn shortages(pod: &Pod, active: &Active, allocatable: &BTreeMap<String, Quantity>) -> impl Iterator<Item = Shortage> {
    let limit = |resource: &str| allocatable.get(resource).and_then(|limit| amount(resource, limit));
    let places = limit("pods").map(|capacity| ("pods".to_owned(), 1, active.pods, capacity));
    let mut wishes: Vec<(String, i64)> = requests::of(pod).into_iter().filter(|(_, wish)| *wish > 0).collect();
    // The order of upstream's answers, and then by name.
    wishes.sort_by_key(|(resource, _)| {
        ["cpu", "memory", "ephemeral-storage"].iter().position(|of| of == resource).unwrap_or(3)
    });
    let resources = wishes.into_iter().filter_map(|(resource, requested)| {
        let capacity = limit(&resource);
        let capacity = if is_extended_resource(&resource) { capacity? } else { capacity.unwrap_or(0) };
        let used = active.requests.get(&resource).copied().unwrap_or(0);
        Some((resource, requested, used, capacity))
    });
    let all = places.into_iter().chain(resources);
    let scarce = all.filter(|(_, requested, used, capacity)| *requested > capacity.saturating_sub(*used));
    let scarce = scarce.map(|(resource, requested, used, capacity)| Shortage { resource, requested, used, capacity });
    scarce.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::quantity;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    /// What a node of two processors says to `asking`, beside a Pod of 1.5 that has the port 8080.
    fn asked(asking: Value) -> Option<Refusal> {
        let allocatable = [
            ("cpu", "2"),
            ("memory", "1Gi"),
            ("ephemeral-storage", "1Gi"),
            ("hugepages-2Mi", "4Mi"),
            ("sampan.test/dongle", "1"),
            ("pods", "2"),
        ];
        let taint = json!([{"key": "k", "effect": "NoExecute"}, {"key": "soft", "effect": "NoSchedule"}]);
        let offer = Offer {
            name: "n1".to_owned(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            taints: serde_json::from_value(taint).unwrap(),
            allocatable: allocatable.map(|(name, amount)| (name.to_owned(), quantity::of(amount))).into(),
        };
        let running =
            pod(json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 8080}],
            "resources": {"requests": {"cpu": "1500m", "memory": "1Mi", "sampan.test/dongle": "1"}}}]}}));
        refusal(&pod(asking), &Active::of([&running].into_iter()), &offer)
    }

    /// The same of a Pod that tolerates everything.
    #[track_caller]
    fn check(mut asking: Value, want: Option<&str>) {
        asking["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        assert_eq!(asked(asking).map(|refusal| refusal.reason).as_deref(), want);
    }

    fn asks_for(resource: &str, amount: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {resource: amount}}}]}})
    }

    #[test]
    fn a_pod_must_fit() {
        check(json!({"spec": {"containers": [{"name": "c"}]}}), None);
        check(asks_for("cpu", "500m"), None);
        check(asks_for("cpu", "501m"), Some("OutOfcpu"));
        check(asks_for("memory", "2Gi"), Some("OutOfmemory"));
        check(asks_for("memory", "16Ei"), Some("OutOfmemory"));
        check(asks_for("ephemeral-storage", "1Gi"), None);
        check(asks_for("ephemeral-storage", "2Gi"), Some("OutOfephemeral-storage"));
        check(asks_for("hugepages-2Mi", "4Mi"), None);
        check(asks_for("hugepages-2Mi", "6Mi"), Some("OutOfhugepages-2Mi"));
        check(asks_for("hugepages-1Gi", "1Gi"), Some("OutOfhugepages-1Gi"));
        check(asks_for("sampan.test/dongle", "1"), Some("OutOfsampan.test/dongle"));
        // What the node has never heard of is not its to give.
        check(asks_for("sampan.test/other", "1"), None);
        let mut taken = asks_for("cpu", "8");
        taken["status"]["startTime"] = json!("2026-01-01T00:00:00Z");
        check(taken, None);
    }

    #[test]
    fn what_the_node_cannot_do_without_shares_what_there_is() {
        let check = |mut asking: Value, plain: &str, critical: Option<&str>| {
            asking["spec"]["priority"] = json!(1_999_999_999);
            check(asking.clone(), Some(plain));
            asking["spec"]["priority"] = json!(2_000_000_000);
            check(asking.clone(), critical);
            asking["spec"]["priority"] = Value::Null;
            asking["metadata"] = json!({"annotations": {"kubernetes.io/config.source": "file"}});
            check(asking, critical);
        };
        check(asks_for("cpu", "501m"), "OutOfcpu", None);
        check(asks_for("memory", "2Gi"), "OutOfmemory", None);
        check(asks_for("ephemeral-storage", "2Gi"), "OutOfephemeral-storage", None);
        // Of these nobody can have what another one has.
        check(asks_for("hugepages-2Mi", "6Mi"), "OutOfhugepages-2Mi", Some("OutOfhugepages-2Mi"));
        check(asks_for("sampan.test/dongle", "1"), "OutOfsampan.test/dongle", Some("OutOfsampan.test/dongle"));
        let mut both = asks_for("cpu", "501m");
        both["spec"]["nodeSelector"] = json!({"zone": "b"});
        check(both, "OutOfcpu", Some("NodeAffinity"));
    }

    #[test]
    fn a_pod_must_want_the_node() {
        check(json!({"spec": {"containers": [], "nodeSelector": {"zone": "a"}}}), None);
        let elsewhere = json!({"spec": {"containers": [], "nodeSelector": {"zone": "b"}}});
        check(elsewhere.clone(), Some("NodeAffinity"));
        check(json!({"spec": {"containers": [], "os": {"name": "windows"}}}), Some("PodOSNotSupported"));
        let label = json!({"metadata": {"labels": {OS_LABEL: "windows"}}, "spec": {"containers": []}});
        check(label, Some("PodOSSelectorNodeLabelDoesNotMatch"));
    }

    #[test]
    fn a_port_of_the_node_is_taken_once() {
        let port = |port: i32| json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": port}]}]}});
        check(port(8080), Some("NodePorts"));
        check(port(8081), None);
    }

    #[test]
    fn a_taint_drives_out_all_but_static_pods() {
        let reason = |pod: Value| asked(pod).map(|refusal| refusal.reason);
        let plain = json!({"spec": {"containers": []}});
        assert_eq!(reason(plain).as_deref(), Some("TaintToleration"));
        let tolerates = json!([{"key": "k", "operator": "Exists"}]);
        assert_eq!(reason(json!({"spec": {"containers": [], "tolerations": tolerates}})), None);
        let of_file = json!({"kubernetes.io/config.source": "file"});
        assert_eq!(reason(json!({"metadata": {"annotations": of_file}, "spec": {"containers": []}})), None);
    }

    #[test]
    fn only_labels_are_looked_at_again() {
        let refused = |spec: Value| asked(json!({"spec": spec})).unwrap();
        let tolerates = json!([{"operator": "Exists"}]);
        let elsewhere = json!({"containers": [], "nodeSelector": {"zone": "b"}, "tolerations": tolerates});
        let message =
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        let want = Refusal { reason: "NodeAffinity".to_owned(), message: message.to_owned(), by_labels: true };
        assert_eq!(refused(elsewhere), want);
        let driven_out = refused(json!({"containers": [], "nodeSelector": {"zone": "b"}}));
        assert_eq!(driven_out, Refusal { by_labels: false, ..want });
    }

    #[test]
    fn a_pod_needs_no_more_than_the_kubelet_declares() {
        let rules = json!([{"action": "RestartAllContainers"}]);
        check(json!({"spec": {"containers": [{"name": "c", "restartPolicyRules": rules}]}}), None);
        let with_users = |status: Value| json!({"spec": {"hostNetwork": true, "hostUsers": false, "containers": []}, "status": status});
        check(with_users(json!({})), Some("PodFeatureUnsupported"));
        check(with_users(json!({"startTime": "2026-01-01T00:00:00Z"})), None);
    }

    #[test]
    fn what_pods_ask_for_together_has_no_end() {
        let huge = pod(asks_for("memory", "16Ei"));
        let active = Active::of([&huge, &huge].into_iter());
        assert_eq!(active.requests["memory"], i64::MAX);
    }

    #[test]
    fn a_resize_waits_for_others_or_for_ever() {
        let check = |cpu: &str, want: Fit| {
            let allocatable = [("cpu".to_owned(), Quantity("2".to_owned()))].into();
            let running = pod(asks_for("cpu", "1500m"));
            let active = Active::of([&running].into_iter());
            assert_eq!(fit(&pod(asks_for("cpu", cpu)), &active, &allocatable), want, "{cpu}");
        };
        check("500m", Fit::Now);
        let text = "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000";
        check("501m", Fit::Deferred(text.to_owned()));
        let text = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        check("3", Fit::Infeasible(text.to_owned()));
    }
}
