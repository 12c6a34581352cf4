//! Which Pods a node under pressure does not take. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Taint};
use sampan_api::placement::tolerates;

use super::threshold::Pressure;
use crate::spec;

/// Why a node under these pressures does not take `pod`: reason and message. Only what may need more of what is short is
/// turned away.
pub(crate) fn refusal(pod: &Pod, pressures: &BTreeSet<Pressure>) -> Option<(String, String)> {
    if pressures.is_empty() || spec::is_critical(pod) {
        return None;
    }
    let only_memory = pressures.iter().eq([&Pressure::Memory]);
    if only_memory && (spec::qos_class(pod) != "BestEffort" || tolerates_little_memory(pod)) {
        return None;
    }
    let names: Vec<&str> = pressures.iter().map(|pressure| pressure.condition()).collect();
    let message = format!("Pod was rejected: The node had condition: [{}]. ", names.join(" "));
    Some(("Evicted".to_owned(), message))
}

/// Whether the Pod says that it can do with little memory.
fn tolerates_little_memory(pod: &Pod) -> bool {
    let (key, effect) = ("node.kubernetes.io/memory-pressure".to_owned(), "NoSchedule".to_owned());
    tolerates(spec::of(pod), &Taint { key, effect, ..Taint::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(spec: Value, pressures: &[Pressure], want: Option<&str>) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let refusal = refusal(&pod, &pressures.iter().copied().collect());
        assert_eq!(refusal.map(|(_, message)| message).as_deref(), want);
    }

    #[test]
    fn who_is_turned_away() {
        let best_effort = || json!({"containers": [{"name": "c"}]});
        let burstable = json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]});
        let memory = "Pod was rejected: The node had condition: [MemoryPressure]. ";
        let disk = "Pod was rejected: The node had condition: [DiskPressure]. ";
        check(best_effort(), &[], None);
        check(best_effort(), &[Pressure::Memory], Some(memory));
        check(burstable.clone(), &[Pressure::Memory], None);
        check(burstable, &[Pressure::Disk], Some(disk));
        let mut tolerant = best_effort();
        tolerant["tolerations"] = json!([{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]);
        check(tolerant.clone(), &[Pressure::Memory], None);
        check(tolerant, &[Pressure::Disk], Some(disk));
        let mut critical = best_effort();
        critical["priority"] = 2_000_000_000.into();
        check(critical, &[Pressure::Disk], None);
    }
}
