//! The smallest strategic merge patch that makes a published Pod status what it should be.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value, json};

use crate::spec;

/// The fields of a status that the kubelet owns.
const OWNED: [&str; 17] = [
    "phase",
    "conditions",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "observedGeneration",
    "resize",
    "resources",
    "allocatedResources",
];

/// The patch that turns the status of `pod` into `wanted`; nothing if it is that already. It carries the Pod's uid, so
/// that it can never land on a namesake.
pub(crate) fn status_patch(pod: &Pod, wanted: &PodStatus) -> Option<Value> {
    let published = spec::status(pod);
    // Mostly it is, and this is the cheap way to know.
    if published == wanted {
        return None;
    }
    let (old, new) = (fields(published), fields(wanted));
    let mut changes = Map::new();
    for field in OWNED {
        let (old, new) = (old.get(field), new.get(field));
        if old == new {
            continue;
        }
        let change = match field {
            "conditions" => merged(old, new, "type"),
            "podIPs" | "hostIPs" => merged(old, new, "ip"),
            "resources" | "allocatedResources" => Some(match (old, new) {
                (Some(old), Some(new)) => with_nulls(old, new),
                (_, new) => new.cloned().unwrap_or(Value::Null),
            }),
            _ => Some(new.cloned().unwrap_or(Value::Null)),
        };
        changes.extend(change.map(|change| (field.to_owned(), change)));
    }
    (!changes.is_empty()).then(|| json!({"metadata": {"uid": spec::uid(pod)}, "status": changes}))
}

fn fields(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Changed and new items of a list that is merged by `key`, with nulls for fields that vanish and deletions for items
/// that do. Order means nothing in such a list: nothing if only that differs.
fn merged(old: Option<&Value>, new: Option<&Value>, key: &str) -> Option<Value> {
    let items = |list: Option<&Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (items(old), items(new));
    let mut patch = Vec::new();
    for item in &new {
        match old.iter().find(|before| before[key] == item[key]) {
            Some(before) if before == item => {}
            Some(before) => patch.push(with_nulls(before, item)),
            None => patch.push(item.clone()),
        }
    }
    for gone in old.iter().filter(|before| !new.iter().any(|item| item[key] == before[key])) {
        patch.push(json!({"$patch": "delete", key: gone[key]}));
    }
    (!patch.is_empty()).then_some(Value::Array(patch))
}

/// `item` with a null for whatever `before` has and it has not: objects are merged, however deep.
fn with_nulls(before: &Value, item: &Value) -> Value {
    let mut item = item.clone();
    if let (Some(fields), Some(before)) = (item.as_object_mut(), before.as_object()) {
        for (name, before) in before {
            let field = fields.entry(name.clone()).or_insert(Value::Null);
            *field = with_nulls(before, field);
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodCondition, PodIP};

    use super::*;

    fn status(phase: &str, conditions: &[(&str, &str, Option<&str>)], ips: &[&str]) -> PodStatus {
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(
                conditions
                    .iter()
                    .map(|(kind, status, message)| PodCondition {
                        type_: (*kind).to_owned(),
                        status: (*status).to_owned(),
                        message: message.map(str::to_owned),
                        ..PodCondition::default()
                    })
                    .collect(),
            ),
            pod_ips: Some(ips.iter().map(|ip| PodIP { ip: (*ip).to_owned() }).collect()),
            ..PodStatus::default()
        }
    }

    #[test]
    fn resources_that_vanish_are_taken_away() {
        let status = |requests: Value, limits: Value| -> PodStatus {
            let resources = json!({"requests": requests, "limits": limits});
            serde_json::from_value(json!({"resources": resources, "allocatedResources": requests})).unwrap()
        };
        let pod = Pod { status: Some(status(json!({"cpu": "1"}), json!({"memory": "1Mi"}))), ..Pod::default() };
        let patch = |wanted: &PodStatus| status_patch(&pod, wanted).unwrap()["status"].take();
        assert_eq!(
            patch(&status(json!({"cpu": "2"}), Value::Null)),
            json!({"resources": {"requests": {"cpu": "2"}, "limits": null}, "allocatedResources": {"cpu": "2"}})
        );
        assert_eq!(
            patch(&status(json!({}), json!({"cpu": "1", "memory": "1Mi"}))),
            json!({"resources": {"requests": {"cpu": null}, "limits": {"cpu": "1", "memory": "1Mi"}},
                "allocatedResources": {"cpu": null}})
        );
        assert_eq!(patch(&PodStatus::default()), json!({"resources": null, "allocatedResources": null}));
    }

    #[test]
    fn only_differences_are_sent() {
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u1".to_owned());
        pod.status = Some(status("Pending", &[("Ready", "False", Some("no")), ("Other", "True", None)], &["10.0.0.1"]));
        assert_eq!(status_patch(&pod, &pod.status.clone().unwrap()), None);
        let reordered = status("Pending", &[("Other", "True", None), ("Ready", "False", Some("no"))], &["10.0.0.1"]);
        assert_eq!(status_patch(&pod, &reordered), None);

        let wanted = status("Running", &[("Ready", "True", None), ("Other", "True", None)], &["10.0.0.2"]);
        assert_eq!(
            status_patch(&pod, &wanted),
            Some(json!({"metadata": {"uid": "u1"}, "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "message": null}],
                "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
            }}))
        );
    }
}
