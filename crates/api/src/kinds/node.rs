//! Node: a machine that runs Pods.

use jiff::Timestamp;
use serde_json::Value;

use super::subresources::{Gvk, PROXY, status};
use super::{cells, fill, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};

const GVK: Gvk = ("", "v1", "Node");

/// `nodes`
pub static NODE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[Subresource { name: "proxy", gvk: ("", "v1", "NodeProxyOptions"), verbs: PROXY }, status(GVK)],
    schema: "io.k8s.api.core.v1.Node",
    storage: "nodes",
    columns: &[
        cells::NAME,
        cells::text("Status"),
        cells::text("Roles"),
        cells::AGE,
        cells::text("Version"),
        cells::wide("Internal-IP"),
        cells::wide("External-IP"),
        cells::wide("OS-Image"),
        cells::wide("Kernel-Version"),
        cells::wide("Container-Runtime"),
    ],
    rules: &NodeRules,
};

struct NodeRules;

impl Rules for NodeRules {
    fn default(&self, object: &mut Value) {
        if let Some(capacity) = read::map(object, "/status/capacity").filter(|capacity| !capacity.is_empty()).cloned() {
            fill::at(object, "/status", |status| fill::absent(status, "allocatable", capacity));
        }
    }

    // A kubelet registers its node with its status: a create keeps it.

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", read::flag(object, "/spec/unschedulable").to_string())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field: &str| read::text(object, &format!("/status/nodeInfo/{field}"));
        let info_or_unknown = |field: &str| Value::from(read::or(info(field), "<unknown>"));
        vec![
            cells::name(object),
            status_words(object).into(),
            cells::or_none(&roles(object)),
            cells::age(object, now),
            info("kubeletVersion").into(),
            address(object, "InternalIP"),
            address(object, "ExternalIP"),
            info_or_unknown("osImage"),
            info_or_unknown("kernelVersion"),
            info_or_unknown("containerRuntimeVersion"),
        ]
    }
}

fn status_words(node: &Value) -> String {
    let ready = match read::find(node, "/status/conditions", "type", "Ready") {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if read::flag(node, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn roles(node: &Value) -> String {
    let labels = read::map(node, "/metadata/labels").into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn address(node: &Value, kind: &str) -> Value {
    let found = read::find(node, "/status/addresses", "type", kind);
    cells::or_none(found.map(|address| read::text(address, "/address")).unwrap_or_default())
}
