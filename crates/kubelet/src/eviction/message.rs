//! What an evicted Pod is told: upstream's sentences. Pure.

use sampan_api::quantity::Quantity;

use super::decide::Observation;
use super::rank::Candidate;
use super::threshold::Threshold;
use crate::{quantity, spec};

/// Why `candidate` goes: the threshold that was crossed, and those of its containers that use more than they asked for.
pub(super) fn message(threshold: &Threshold, seen: Observation, candidate: &Candidate) -> String {
    let signal = threshold.signal;
    let resource = signal.resource();
    let (least, available) = (signal.amount(threshold.least.of(seen.capacity)), signal.amount(seen.available));
    let mut text =
        format!("The node was low on resource: {resource}. Threshold quantity: {least}, available: {available}. ");
    for container in candidate.usage.iter().flat_map(|usage| &usage.containers) {
        let used = match resource {
            "memory" => container.usage.working_set_bytes,
            "ephemeral-storage" => {
                let logs = candidate.disk.as_ref().and_then(|disk| disk.logs.get(&container.name)).copied();
                container.writable.map(|layer| layer.and(logs.unwrap_or_default()).bytes)
            }
            _ => None,
        };
        let Some((_, of_spec)) = spec::container(&candidate.pod, &container.name) else { continue };
        let requests = of_spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let asked = requests.and_then(|requests| requests.get(resource));
        let asked_bytes = asked.and_then(quantity::value).unwrap_or(0);
        let Some(used) = used.and_then(|used| i64::try_from(used).ok()).filter(|used| *used > asked_bytes) else {
            continue;
        };
        let asked = asked.map_or("0", |asked| asked.0.as_str());
        let used = Quantity::from_bytes(used);
        let name = &container.name;
        text.push_str(&format!(
            "Container {name} was using {used}, request is {asked}, has larger consumption of {resource}. "
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::eviction::Thresholds;
    use crate::usage::{ContainerUsage, PodUsage, Usage};

    #[test]
    fn a_pod_is_told_why() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [
                {"name": "a"}, {"name": "b", "resources": {"requests": {"memory": "64Mi"}}}, {"name": "c"}]},
        });
        let container = |name: &str, bytes| ContainerUsage {
            name: name.into(),
            usage: Usage { working_set_bytes: bytes, ..Usage::default() },
            ..ContainerUsage::default()
        };
        let containers = vec![container("a", Some(5 << 20)), container("b", Some(1 << 20)), container("c", None)];
        let candidate = Candidate {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            usage: Some(PodUsage { containers, ..PodUsage::default() }),
            disk: None,
        };
        let thresholds = Thresholds::parse(Some("memory.available<100Mi"), "", "", "").unwrap();
        let seen = Observation { available: 50 << 20, capacity: 1 << 30 };
        assert_eq!(
            message(&thresholds.all[0], seen, &candidate),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
             Container a was using 5Mi, request is 0, has larger consumption of memory. "
        );
    }
}
