//! What `fieldRef` and `resourceFieldRef` give: for environment variables and for downward API volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quote::quoted;
use crate::quantity;
use crate::{Error, spec};

/// Facts that a running Pod has beside its specification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The Pod's addresses, the primary one first.
    pub(crate) pod_ips: Vec<String>,
    /// The node's addresses, the primary one first.
    pub(crate) host_ips: Vec<String>,
    /// What the node can give: the limit of a container that has none, in a Pod that has none.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
}

/// The value of the field that `selector` names.
pub(crate) fn field(pod: &Pod, facts: &Facts, selector: &ObjectFieldSelector) -> Result<String, Error> {
    let path = selector.field_path.as_str();
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(entries.as_ref().and_then(|entries| entries.get(key)).cloned().unwrap_or_default());
    }
    let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
    let spec = spec::of(pod);
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.labels" => lines(pod.metadata.labels.as_ref()),
        "metadata.annotations" => lines(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => facts.pod_ips.join(","),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => facts.host_ips.join(","),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> Error {
    Error::Config(format!("unsupported fieldPath: {path}"))
}

/// `metadata.labels['x']` as (`metadata.labels`, `x`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// `key="value"` lines, sorted, as downward API files show maps.
fn lines(entries: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        entries.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// The request or limit that `selector` names. `own` is the container that asks; the selector may name another.
pub(crate) fn resource(
    pod: &Pod,
    facts: &Facts,
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
) -> Result<String, Error> {
    let container = match (&selector.container_name, own) {
        (Some(name), _) => {
            let found = spec::container(pod, name).map(|(_, container)| container);
            found.ok_or_else(|| Error::Config(format!("container {name} not found")))?
        }
        (None, Some(own)) => std::borrow::Cow::Borrowed(own),
        (None, None) => return Err(Error::Config("resourceFieldRef: containerName is required".to_owned())),
    };
    let wrong = || Error::Config(format!("unsupported container resource : {}", selector.resource));
    let (list, resource) = selector.resource.split_once('.').ok_or_else(wrong)?;
    let resources = container.resources.as_ref();
    let own_limit = resources.and_then(|r| r.limits.as_ref()).and_then(|limits| limits.get(resource));
    let amount = match list {
        "limits" => own_limit.filter(is_bound).or_else(|| general_limit(pod, facts, resource)),
        "requests" => resources.and_then(|r| r.requests.as_ref()).and_then(|r| r.get(resource)).or(own_limit),
        _ => return Err(wrong()),
    };
    let Some(amount) = amount else { return Ok("0".to_owned()) };
    let units = quantity::in_units_of(amount, selector.divisor.as_ref());
    Ok(units.ok_or_else(wrong)?.to_string())
}

/// What bounds a container that has no limit of its own: the Pod's as a whole, else what the node has.
fn general_limit<'a>(pod: &'a Pod, facts: &'a Facts, resource: &str) -> Option<&'a Quantity> {
    let of_pod = || spec::of(pod).resources.as_ref()?.limits.as_ref()?.get(resource).filter(is_bound);
    match resource {
        "cpu" | "memory" => of_pod().or_else(|| facts.allocatable.get(resource)),
        "ephemeral-storage" => facts.allocatable.get(resource),
        // Of huge pages nobody has what was not asked for.
        _ => None,
    }
}

/// A limit of 0 is none.
fn is_bound(limit: &&Quantity) -> bool {
    quantity::value(limit) != Some(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u1", "labels": {"app": "x", "b": "q\"t"},
                "annotations": {"bell": "\u{7}\u{1}"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}},
                {"name": "d"}]},
        }))
        .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            pod_ips: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
            host_ips: vec!["192.0.2.1".to_owned()],
            allocatable: [("cpu", "4"), ("memory", "8Gi"), ("ephemeral-storage", "9Gi"), ("hugepages-2Mi", "10Mi")]
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .into(),
        }
    }

    #[test]
    fn fields_have_their_values() {
        for (path, want) in [
            ("metadata.name", "web"),
            ("metadata.namespace", "ns"),
            ("metadata.uid", "u1"),
            ("metadata.labels", "app=\"x\"\nb=\"q\\\"t\""),
            ("metadata.annotations", "bell=\"\\a\\x01\""),
            ("metadata.labels['app']", "x"),
            ("metadata.labels['nope']", ""),
            ("metadata.annotations['nope']", ""),
            ("spec.nodeName", "n1"),
            ("spec.serviceAccountName", "sa"),
            ("status.podIP", "10.0.0.1"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
            ("status.hostIP", "192.0.2.1"),
        ] {
            let selector = ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() };
            assert_eq!(field(&pod(), &facts(), &selector).unwrap(), want, "{path}");
        }
    }

    #[test]
    fn resources_are_in_units_of_the_divisor() {
        for (container, name, divisor, want) in [
            ("c", "limits.cpu", None, "2"),
            ("c", "limits.cpu", Some("1m"), "1500"),
            ("c", "requests.cpu", Some("1m"), "250"),
            ("c", "limits.memory", None, "67108864"),
            ("c", "limits.memory", Some("1Mi"), "64"),
            ("c", "requests.memory", Some("1Mi"), "64"),
            ("d", "limits.cpu", None, "4"),
            ("d", "limits.ephemeral-storage", Some("1Gi"), "9"),
            ("d", "limits.hugepages-2Mi", None, "0"),
            ("d", "requests.cpu", None, "0"),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some(container.to_owned()),
                resource: name.to_owned(),
                divisor: divisor.map(|divisor| Quantity(divisor.to_owned())),
            };
            assert_eq!(resource(&pod(), &facts(), &selector, None).unwrap(), want, "{container} {name} {divisor:?}");
        }
    }

    #[test]
    fn what_bounds_a_pod_bounds_its_containers() {
        let mut pod = pod();
        let spec = pod.spec.as_mut().unwrap();
        spec.resources = serde_json::from_value(json!({"limits": {"memory": "100Mi"}})).unwrap();
        spec.containers[1].resources = serde_json::from_value(json!({"limits": {"memory": "0"}})).unwrap();
        for (container, name, want) in [
            ("c", "limits.memory", "67108864"),
            ("d", "limits.memory", "104857600"),
            ("d", "limits.cpu", "4"),
            ("d", "limits.ephemeral-storage", "9663676416"),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some(container.to_owned()),
                resource: name.to_owned(),
                divisor: None,
            };
            assert_eq!(resource(&pod, &facts(), &selector, None).unwrap(), want, "{container} {name}");
        }
    }
}
