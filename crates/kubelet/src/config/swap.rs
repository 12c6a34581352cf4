//! How much of a container the kernel may swap out.

use k8s_openapi::api::core::v1::Pod;
use sampan_cri::v1::LinuxContainerResources;

use super::resources::Machine;
use crate::options::SwapBehavior;
use crate::spec;

/// The file of version 2 that bounds it; version 1 bounds memory and swap space together.
const FILE: &str = "memory.swap.max";

/// Bounds the swap space of a container that asks for `request` bytes of memory.
pub(super) fn limit(linux: &mut LinuxContainerResources, pod: &Pod, request: i64, machine: &Machine) {
    if machine.bounds_swap {
        linux.unified.insert(FILE.to_owned(), allowed(linux, pod, request, machine).to_string());
    } else if linux.memory_limit_in_bytes > 0 {
        linux.memory_swap_limit_in_bytes = linux.memory_limit_in_bytes;
    }
}

/// Of a Burstable Pod's container, the share of the swap space that its request is of the memory. Others would be
/// slowed down unasked (Guaranteed), or take as much as they like (BestEffort).
fn allowed(linux: &LinuxContainerResources, pod: &Pod, request: i64, machine: &Machine) -> i64 {
    let limited = machine.swap == SwapBehavior::LimitedSwap;
    let bounded = spec::qos_class(pod) == "Burstable" && !spec::is_critical(pod);
    if !limited || !bounded || request == 0 || request == linux.memory_limit_in_bytes || machine.memory_bytes == 0 {
        return 0;
    }
    let share = i128::from(request) * i128::from(machine.swap_bytes) / i128::from(machine.memory_bytes);
    i64::try_from(share).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::resources::of_container;

    #[track_caller]
    fn check(resources: Value, swap: SwapBehavior, bounds_swap: bool, want: (Option<&str>, i64)) {
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})).unwrap();
        let machine = Machine { memory_bytes: 8 << 30, swap_bytes: 4 << 30, swap, bounds_swap };
        let linux = of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], &machine);
        let own = linux.unified.get(FILE).map(String::as_str);
        assert_eq!((own, linux.memory_swap_limit_in_bytes), want, "{resources}");
    }

    #[test]
    fn burstable_containers_may_swap_by_their_share() {
        let (no, limited) = (SwapBehavior::NoSwap, SwapBehavior::LimitedSwap);
        let burstable = || json!({"requests": {"memory": "1Gi"}});
        let same = json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}});
        check(burstable(), limited, true, (Some("536870912"), 0));
        check(burstable(), no, true, (Some("0"), 0));
        check(json!({}), limited, true, (Some("0"), 0));
        check(same.clone(), limited, true, (Some("0"), 0));
        check(same, limited, false, (None, 1 << 30));
        check(json!({"requests": {"cpu": "1"}}), limited, true, (Some("0"), 0));
        check(burstable(), limited, false, (None, 0));
    }
}
