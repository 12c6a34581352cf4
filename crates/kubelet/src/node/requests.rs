//! What a Pod asks for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{quantity, spec};

/// An amount of `resource` as a number: processor time in thousandths, everything else in whole units.
pub(super) fn amount(resource: &str, amount: &Quantity) -> Option<i64> {
    if resource == "cpu" { quantity::milli(amount) } else { quantity::value(amount) }
}

/// What `pod` asks for, of every resource that it names.
pub(super) fn of(pod: &Pod) -> BTreeMap<String, i64> {
    let named = |resources: &'_ Option<ResourceRequirements>| -> Vec<String> {
        let requests = resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let of_containers = spec::containers(pod).flat_map(|(_, container)| named(&container.resources));
    let overhead = spec::of(pod).overhead.iter().flatten().map(|(name, _)| name.clone());
    let names: BTreeSet<String> = of_containers.chain(named(&spec::of(pod).resources)).chain(overhead).collect();
    names.into_iter().map(|name| (name.clone(), request(pod, &name))).collect()
}

/// What `pod` asks for of `resource`: what it says for itself as a whole, else its app containers together, or its
/// hungriest init container if that is more; and its overhead.
pub(crate) fn request(pod: &Pod, resource: &str) -> i64 {
    let read =
        |requests: Option<&BTreeMap<String, Quantity>>| requests?.get(resource).and_then(|of| amount(resource, of));
    let asked = |resources: &Option<ResourceRequirements>| read(resources.as_ref()?.requests.as_ref());
    let of = |container: &Container| asked(&container.resources).unwrap_or(0);
    let (mut apps, mut init) = (0_i64, 0);
    for (role, container) in spec::containers(pod) {
        match role {
            spec::Role::Init => init = init.max(apps.saturating_add(of(container))),
            _ => apps = apps.saturating_add(of(container)),
        }
    }
    let overhead = read(spec::of(pod).overhead.as_ref()).unwrap_or(0);
    asked(&spec::of(pod).resources).unwrap_or_else(|| apps.max(init)).saturating_add(overhead)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_says_for_itself_counts_and_its_overhead() {
        let containers =
            json!([{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Ki", "x.test/y": "2"}}}]);
        let check = |spec: serde_json::Value, want: &[(&str, i64)]| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let want: BTreeMap<String, i64> = want.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
            assert_eq!(of(&pod), want);
        };
        check(json!({"containers": containers}), &[("cpu", 1000), ("memory", 1024), ("x.test/y", 2)]);
        let own = json!({"requests": {"cpu": "2"}});
        let spec = json!({"containers": containers, "resources": own, "overhead": {"cpu": "50m", "memory": "1"}});
        check(spec, &[("cpu", 2050), ("memory", 1025), ("x.test/y", 2)]);
        // No sum is more than can be counted.
        let huge = |name: &str| json!({"name": name, "resources": {"requests": {"memory": "16Ei"}}});
        let spec =
            json!({"initContainers": [huge("i")], "containers": [huge("a"), huge("b")], "overhead": {"memory": "1"}});
        check(spec, &[("memory", i64::MAX)]);
    }
}
