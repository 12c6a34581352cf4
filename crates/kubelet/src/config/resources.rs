//! Requests and limits as the kernel's numbers, and where in the cgroup tree a Pod stands.

use k8s_openapi::api::core::v1::{Container, Pod};
use sampan_cri::v1::LinuxContainerResources;

use crate::{quantity, spec};

const CPU_PERIOD_US: i64 = 100_000;
const LEAST_QUOTA_US: i64 = 1000;
const SHARES_PER_CORE: i64 = 1024;
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

/// What the kernel is told for one container; `memory_bytes` is the node's memory.
pub(crate) fn of_container(pod: &Pod, container: &Container, memory_bytes: i64) -> LinuxContainerResources {
    let amounts = Amounts::of(container);
    LinuxContainerResources {
        oom_score_adj: oom_score_adj(pod, amounts.memory_request, memory_bytes),
        ..amounts.to_linux()
    }
}

/// What the kernel is told for the Pod as a whole: the sum, with limits only where every container has one.
pub(crate) fn of_pod(pod: &Pod) -> LinuxContainerResources {
    let all: Vec<Amounts> = spec::of(pod).containers.iter().map(Amounts::of).collect();
    let sum = |amount: fn(&Amounts) -> i64| all.iter().map(amount).sum::<i64>();
    let total = |limit: fn(&Amounts) -> Option<i64>| all.iter().map(limit).sum::<Option<i64>>();
    Amounts {
        cpu_request: sum(|amounts| amounts.cpu_request),
        cpu_limit: total(|amounts| amounts.cpu_limit),
        memory_request: sum(|amounts| amounts.memory_request),
        memory_limit: total(|amounts| amounts.memory_limit),
    }
    .to_linux()
}

/// CPU in millicores, memory in bytes.
struct Amounts {
    cpu_request: i64,
    cpu_limit: Option<i64>,
    memory_request: i64,
    memory_limit: Option<i64>,
}

impl Amounts {
    fn of(container: &Container) -> Self {
        let resources = container.resources.as_ref();
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
            cpu_shares: (self.cpu_request * SHARES_PER_CORE / 1000).clamp(LEAST_SHARES, MOST_SHARES),
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

    fn check(resources: Value, want: (i64, i64, i64, i64), parent: &str) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"uid": "u1"}, "spec": {"containers": [{"name": "c", "resources": resources}]},
        }))
        .unwrap();
        let linux = of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], 8 << 30);
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
