//! Requests and limits as the kernel's numbers, and where in the cgroup tree a Pod stands.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use sampan_cri::v1::{HugepageLimit, LinuxContainerResources};

use super::swap;
use crate::options::SwapBehavior;
use crate::seen::Limits;
use crate::{quantity, spec};

/// How long a quota of processor time is for.
pub(crate) const CPU_PERIOD_US: i64 = 100_000;
const LEAST_QUOTA_US: i64 = 1000;
/// For a container with processors of its own: nobody else is there from whom time would have to be kept.
pub(crate) const NO_QUOTA: i64 = -1;
/// The weight that stands for one processor.
pub(crate) const SHARES_PER_CORE: i64 = 1024;
const LEAST_SHARES: i64 = 2;
const MOST_SHARES: i64 = 262_144;
/// Guaranteed and critical Pods: killed last.
const OOM_GUARANTEED: i64 = -997;
/// Best-effort Pods: killed first.
const OOM_BEST_EFFORT: i64 = 1000;

/// The Pod's place in the cgroup tree: `/<root>/kubepods[/burstable|/besteffort]/pod<uid>`.
pub(crate) fn cgroup_parent(root: &str, pod: &Pod) -> String {
    let class = match spec::qos_class(pod) {
        "Guaranteed" => "",
        "Burstable" => "/burstable",
        _ => "/besteffort",
    };
    format!("/{}/kubepods{class}/pod{}", root.trim_matches('/'), spec::uid(pod))
}

/// Every place where the Pod `uid` may stand, for one whose class is no longer known.
pub(crate) fn cgroup_parents(root: &str, uid: &str) -> [String; 3] {
    ["", "/burstable", "/besteffort"].map(|class| format!("/{}/kubepods{class}/pod{uid}", root.trim_matches('/')))
}

/// What the numbers of a container depend on beside its Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// All of the node's memory, and all of its swap space.
    pub(crate) memory_bytes: i64,
    pub(crate) swap_bytes: i64,
    /// Who may be swapped out.
    pub(crate) swap: SwapBehavior,
    /// Control groups bound swap space apart from memory.
    pub(crate) bounds_swap: bool,
}

/// What the kernel is told for one container. A container without a limit of its own is bounded by the Pod's.
pub(crate) fn of_container(pod: &Pod, container: &Container, machine: &Machine) -> LinuxContainerResources {
    let of_pod = Amounts::of(spec::of(pod).resources.as_ref());
    let own = Amounts::of(container.resources.as_ref());
    let amounts = Amounts {
        cpu_limit: own.cpu_limit.or(of_pod.cpu_limit),
        memory_limit: own.memory_limit.or(of_pod.memory_limit),
        ..own
    };
    let mut linux = LinuxContainerResources {
        oom_score_adj: oom_score_adj(pod, amounts.memory_request, machine.memory_bytes),
        hugepage_limits: huge_pages(container),
        ..amounts.to_linux()
    };
    swap::limit(&mut linux, pod, amounts.memory_request, machine);
    linux
}

/// What the kernel is told for the Pod as a whole: what it says itself, else what its containers say together.
pub(crate) fn of_pod(pod: &Pod) -> LinuxContainerResources {
    let sum = sum(pod);
    let Some(own) = &spec::of(pod).resources else { return sum.to_linux() };
    let own = Amounts::of(Some(own));
    let or = |own: i64, sum: i64| if own > 0 { own } else { sum };
    Amounts {
        cpu_request: or(own.cpu_request, sum.cpu_request),
        cpu_limit: own.cpu_limit.or(sum.cpu_limit),
        memory_request: or(own.memory_request, sum.memory_request),
        memory_limit: own.memory_limit.or(sum.memory_limit),
    }
    .to_linux()
}

/// What the Pod's own group is bounded by: the Pod's own limits, and the weight of everything in it. That its
/// containers have limits bounds their sum already; a second guard would only slow their start.
pub(crate) fn group(pod: &Pod) -> Limits {
    let own = Amounts::of(spec::of(pod).resources.as_ref()).to_linux();
    Limits { cpu_shares: of_pod(pod).cpu_shares, ..Limits::of(&own) }
}

/// The group of all Burstable Pods.
pub(crate) fn burstable_group(root: &str) -> String {
    format!("/{}/kubepods/burstable", root.trim_matches('/'))
}

/// What a Burstable Pod adds to the weight of its class's group; of another Pod nothing.
pub(crate) fn burstable_shares(pod: &Pod) -> i64 {
    if spec::qos_class(pod) == "Burstable" { of_pod(pod).cpu_shares } else { 0 }
}

/// A sum of shares as the kernel takes it.
pub(crate) fn as_shares(sum: i64) -> i64 {
    sum.clamp(LEAST_SHARES, MOST_SHARES)
}

/// The group of the Pod's class and its weight: all best-effort Pods together are worth the least.
pub(crate) fn class_group(root: &str, pod: &Pod) -> Option<(String, Limits)> {
    let best_effort = spec::qos_class(pod) == "BestEffort";
    let limits = Limits { cpu_shares: LEAST_SHARES, ..Limits::default() };
    best_effort.then(|| (format!("/{}/kubepods/besteffort", root.trim_matches('/')), limits))
}

/// What a Pod's sandbox costs beside its containers.
pub(crate) fn overhead(pod: &Pod) -> Option<LinuxContainerResources> {
    let overhead = spec::of(pod).overhead.clone().filter(|overhead| !overhead.is_empty())?;
    let limits = ResourceRequirements { limits: Some(overhead), ..ResourceRequirements::default() };
    Some(Amounts::of(Some(&limits)).to_linux())
}

/// App containers and sidecars together, or an init container with the sidecars before it if that is more, and the
/// overhead. A limit is there only if everyone has one.
fn sum(pod: &Pod) -> Amounts {
    let (mut together, mut hungriest) = (Amounts::nothing(), Amounts::nothing());
    for (role, container) in spec::containers(pod) {
        let own = Amounts::of(container.resources.as_ref());
        match role {
            spec::Role::Init => hungriest = hungriest.max(&together.and(&own)),
            _ => together = together.and(&own),
        }
    }
    let all = together.max(&hungriest);
    let Some(overhead) = spec::of(pod).overhead.clone() else { return all };
    let fixed = Amounts::of(Some(&ResourceRequirements { limits: Some(overhead), ..ResourceRequirements::default() }));
    Amounts {
        cpu_request: all.cpu_request + fixed.cpu_request,
        cpu_limit: all.cpu_limit.map(|limit| limit + fixed.cpu_request),
        memory_request: all.memory_request + fixed.memory_request,
        memory_limit: all.memory_limit.map(|limit| limit + fixed.memory_request),
    }
}

/// Limits on huge pages, by page size as the kernel writes it (`2MB`).
fn huge_pages(container: &Container) -> Vec<HugepageLimit> {
    let limits = container.resources.iter().filter_map(|resources| resources.limits.as_ref()).flatten();
    let pages = limits.filter_map(|(name, amount)| Some((name.strip_prefix("hugepages-")?, amount)));
    pages
        .filter_map(|(size, amount)| {
            let limit = u64::try_from(quantity::value(amount)?).ok()?;
            Some(HugepageLimit { page_size: size.replace('i', "") + "B", limit })
        })
        .collect()
}

/// CPU in millicores, memory in bytes.
struct Amounts {
    cpu_request: i64,
    cpu_limit: Option<i64>,
    memory_request: i64,
    memory_limit: Option<i64>,
}

impl Amounts {
    /// What is there before the first container: no wish, and nothing that is unbounded.
    fn nothing() -> Self {
        Self { cpu_request: 0, cpu_limit: Some(0), memory_request: 0, memory_limit: Some(0) }
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            cpu_request: self.cpu_request + other.cpu_request,
            cpu_limit: self.cpu_limit.zip(other.cpu_limit).map(|(one, two)| one + two),
            memory_request: self.memory_request + other.memory_request,
            memory_limit: self.memory_limit.zip(other.memory_limit).map(|(one, two)| one + two),
        }
    }

    fn max(&self, other: &Self) -> Self {
        Self {
            cpu_request: self.cpu_request.max(other.cpu_request),
            cpu_limit: self.cpu_limit.zip(other.cpu_limit).map(|(one, two)| one.max(two)),
            memory_request: self.memory_request.max(other.memory_request),
            memory_limit: self.memory_limit.zip(other.memory_limit).map(|(one, two)| one.max(two)),
        }
    }

    fn of(resources: Option<&ResourceRequirements>) -> Self {
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        let cpu_limit = limits.and_then(|l| l.get("cpu")).and_then(quantity::milli).filter(|limit| *limit > 0);
        let memory_limit = limits.and_then(|l| l.get("memory")).and_then(quantity::value).filter(|limit| *limit > 0);
        let cpu_request = requests.and_then(|r| r.get("cpu")).and_then(quantity::milli);
        let memory_request = requests.and_then(|r| r.get("memory")).and_then(quantity::value);
        Self {
            cpu_request: cpu_request.or(cpu_limit).unwrap_or(0),
            cpu_limit,
            memory_request: memory_request.or(memory_limit).unwrap_or(0),
            memory_limit,
        }
    }

    fn to_linux(&self) -> LinuxContainerResources {
        let quota = self.cpu_limit.map(|milli| (milli * CPU_PERIOD_US / 1000).max(LEAST_QUOTA_US));
        LinuxContainerResources {
            cpu_shares: as_shares(self.cpu_request * SHARES_PER_CORE / 1000),
            cpu_period: quota.map_or(0, |_| CPU_PERIOD_US),
            cpu_quota: quota.unwrap_or(0),
            memory_limit_in_bytes: self.memory_limit.unwrap_or(0),
            ..LinuxContainerResources::default()
        }
    }
}

fn oom_score_adj(pod: &Pod, memory_request: i64, memory_bytes: i64) -> i64 {
    match spec::qos_class(pod) {
        "Guaranteed" => OOM_GUARANTEED,
        _ if spec::is_critical(pod) => OOM_GUARANTEED,
        "BestEffort" => OOM_BEST_EFFORT,
        _ => {
            let share = 1000 * i128::from(memory_request) / i128::from(memory_bytes.max(1));
            let score = OOM_BEST_EFFORT - i64::try_from(share).unwrap_or(OOM_BEST_EFFORT);
            score.clamp(OOM_BEST_EFFORT + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine() -> Machine {
        Machine { memory_bytes: 8 << 30, ..Machine::default() }
    }

    fn check_pod(spec: Value, want: (i64, i64, i64), group: (i64, i64, i64)) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u1"}, "spec": spec})).unwrap();
        let numbers = |limits: Limits| (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes);
        assert_eq!(numbers(Limits::of(&of_pod(&pod))), want, "{spec}");
        assert_eq!(numbers(super::group(&pod)), group, "{spec}");
    }

    #[test]
    fn a_pod_is_the_sum_of_its_containers_or_what_it_says() {
        let with = |cpu: &str| json!({"name": "c", "resources": {"limits": {"cpu": cpu, "memory": "1Mi"}}});
        check_pod(json!({"containers": [with("1"), with("500m")]}), (1536, 150_000, 2 << 20), (1536, 0, 0));
        check_pod(json!({"containers": [with("1"), {"name": "d"}]}), (1024, 0, 0), (1024, 0, 0));
        check_pod(
            json!({"initContainers": [with("3")], "containers": [with("1")]}),
            (3072, 300_000, 1 << 20),
            (3072, 0, 0),
        );
        let mut sidecar = with("1");
        sidecar["restartPolicy"] = json!("Always");
        check_pod(
            json!({"initContainers": [sidecar, with("3")], "containers": [with("1")], "overhead": {"cpu": "1"}}),
            (5120, 500_000, 2 << 20),
            (5120, 0, 0),
        );
        check_pod(
            json!({"resources": {"limits": {"cpu": "1", "memory": "8Mi"}}, "containers": [{"name": "c"}]}),
            (1024, 100_000, 8 << 20),
            (1024, 100_000, 8 << 20),
        );
    }

    #[test]
    fn the_pods_limit_bounds_a_container_without_one() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u1"}, "spec": {
            "resources": {"limits": {"memory": "8Mi"}}, "containers": [
                {"name": "c", "resources": {"limits": {"hugepages-2Mi": "4Mi"}}}]}}))
        .unwrap();
        let linux = of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], &machine());
        assert_eq!(linux.memory_limit_in_bytes, 8 << 20);
        assert_eq!((linux.hugepage_limits[0].page_size.as_str(), linux.hugepage_limits[0].limit), ("2MB", 4 << 20));
    }

    fn check(resources: Value, want: (i64, i64, i64, i64), parent: &str) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"uid": "u1"}, "spec": {"containers": [{"name": "c", "resources": resources}]},
        }))
        .unwrap();
        let linux = of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], &machine());
        let got = (linux.cpu_shares, linux.cpu_quota, linux.memory_limit_in_bytes, linux.oom_score_adj);
        assert_eq!(got, want, "{resources}");
        assert_eq!(cgroup_parent("sampan", &pod), parent);
    }

    #[test]
    fn amounts_become_the_kernels_numbers() {
        check(json!({}), (2, 0, 0, 1000), "/sampan/kubepods/besteffort/podu1");
        check(
            json!({"requests": {"cpu": "250m", "memory": "1Gi"}}),
            (256, 0, 0, 875),
            "/sampan/kubepods/burstable/podu1",
        );
        check(
            json!({"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": "2", "memory": "64Mi"}}),
            (2048, 200_000, 64 << 20, -997),
            "/sampan/kubepods/podu1",
        );
        check(json!({"limits": {"cpu": "1m"}}), (2, 1000, 0, 999), "/sampan/kubepods/burstable/podu1");
        check(json!({"requests": {"memory": "8Gi"}}), (2, 0, 0, 3), "/sampan/kubepods/burstable/podu1");
    }
}
