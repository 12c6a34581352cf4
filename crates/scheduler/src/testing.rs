//! A short text for nodes and Pods, so that a test is a table.
//!
//! ```text
//! node n1 cpu=4 memory=8Gi pods=10 label.zone=a taint=key:value:NoSchedule cordoned image=nginx:1@900000000 feature=F
//! pod web on=n1 cpu=500m memory=1Gi label.app=web priority=5 port=8080 select.zone=a tolerate=key
//! ```
//! `spec={...}` gives a Pod more, as JSON without spaces. What is not said of a node is plentiful.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

/// Reads what follows `node `.
pub(crate) fn node(text: &str) -> Arc<Node> {
    let (name, words) = name_and_words(text);
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": []},
        "status": {"allocatable": {"cpu": "100", "memory": "100Gi", "pods": "110"}, "images": []},
    });
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("cordoned", "") => node["spec"]["unschedulable"] = true.into(),
            ("taint", taint) => {
                let parts: Vec<&str> = taint.split(':').collect();
                push(&mut node["spec"]["taints"], json!({"key": parts[0], "value": parts[1], "effect": parts[2]}));
            }
            ("image", image) => {
                let (name, bytes) = image.split_once('@').unwrap();
                let image = json!({"names": [name], "sizeBytes": bytes.parse::<i64>().unwrap()});
                push(&mut node["status"]["images"], image);
            }
            ("feature", feature) => push(&mut node["status"]["declaredFeatures"], feature.into()),
            (key, value) => match key.strip_prefix("label.") {
                Some(label) => node["metadata"]["labels"][label] = value.into(),
                None => node["status"]["allocatable"][key] = value.into(),
            },
        }
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

/// Reads what follows `pod `.
pub(crate) fn pod(text: &str) -> Arc<Pod> {
    let (name, words) = name_and_words(text);
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {}}, "ports": []}]},
        "status": {"phase": "Pending"},
    });
    for word in words {
        set_of_pod(&mut pod, word.split_once('=').unwrap_or((word, "")));
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn set_of_pod(pod: &mut Value, (key, value): (&str, &str)) {
    match key {
        "on" => pod["spec"]["nodeName"] = value.into(),
        "namespace" => pod["metadata"]["namespace"] = value.into(),
        "image" => pod["spec"]["containers"][0]["image"] = value.into(),
        "scheduler" => pod["spec"]["schedulerName"] = value.into(),
        "priority" => pod["spec"]["priority"] = value.parse::<i32>().unwrap().into(),
        "uid" => pod["metadata"]["uid"] = value.into(),
        "phase" => pod["status"]["phase"] = value.into(),
        "nominated" => pod["status"]["nominatedNodeName"] = value.into(),
        "deleting" => pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
        "gate" => push(&mut pod["spec"]["schedulingGates"], json!({"name": value})),
        "owner" => {
            let owner = json!({"apiVersion": "v1", "kind": "X", "name": value, "uid": value, "controller": true});
            push(&mut pod["metadata"]["ownerReferences"], owner);
        }
        "port" => {
            let (address, port) = value.rsplit_once(':').unwrap_or(("", value));
            let (port, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
            let port: i32 = port.parse().unwrap();
            let port = json!({"containerPort": port, "hostPort": port, "hostIP": address, "protocol": protocol});
            push(&mut pod["spec"]["containers"][0]["ports"], port);
        }
        "tolerate" => {
            let toleration = match value.split(':').collect::<Vec<_>>()[..] {
                [""] => json!({"operator": "Exists"}),
                [key] => json!({"operator": "Exists", "key": key}),
                [key, value] => json!({"key": key, "value": value}),
                [key, value, effect] => json!({"key": key, "value": value, "effect": effect}),
                _ => panic!("tolerate={value}"),
            };
            push(&mut pod["spec"]["tolerations"], toleration);
        }
        "spec" => {
            let Value::Object(more) = serde_json::from_str(value).unwrap() else { panic!("{value}") };
            more.into_iter().for_each(|(key, value)| pod["spec"][key] = value);
        }
        _ => match (key.strip_prefix("label."), key.strip_prefix("select.")) {
            (Some(label), _) => pod["metadata"]["labels"][label] = value.into(),
            (_, Some(label)) => pod["spec"]["nodeSelector"][label] = value.into(),
            _ => pod["spec"]["containers"][0]["resources"]["requests"][key] = value.into(),
        },
    }
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

fn name_and_words(text: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut words = text.split_whitespace();
    (words.next().unwrap(), words)
}
