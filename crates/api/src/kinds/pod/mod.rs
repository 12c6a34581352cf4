//! Pod: containers that share a network, volumes and a fate, on one node.
//!
//! [`defaults`] fills a spec (templates of other kinds too), [`whole`] the resources of the Pod itself, [`table`] is its
//! row; its many rules are in `validation::pod`.

mod app_armor;
mod defaults;
mod qos;
mod table;
#[cfg(test)]
mod tests;
mod warnings;
mod whole;

pub(super) use defaults::default_template;
pub(crate) use qos::qos_class;
pub(super) use warnings::{of_template, template_warnings};
pub use whole::default_whole;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{CONNECT, Gvk, PROXY, VIEW, status};
use super::{fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};
use crate::validation;

const GVK: Gvk = ("", "v1", "Pod");

/// `pods`
pub static POD: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[
        Subresource { name: "attach", gvk: ("", "v1", "PodAttachOptions"), verbs: CONNECT },
        Subresource { name: "binding", gvk: ("", "v1", "Binding"), verbs: &["create"] },
        Subresource { name: "ephemeralcontainers", gvk: GVK, verbs: VIEW },
        Subresource { name: "eviction", gvk: ("policy", "v1", "Eviction"), verbs: &["create"] },
        Subresource { name: "exec", gvk: ("", "v1", "PodExecOptions"), verbs: CONNECT },
        Subresource { name: "log", gvk: GVK, verbs: &["get"] },
        Subresource { name: "portforward", gvk: ("", "v1", "PodPortForwardOptions"), verbs: CONNECT },
        Subresource { name: "proxy", gvk: ("", "v1", "PodProxyOptions"), verbs: PROXY },
        Subresource { name: "resize", gvk: GVK, verbs: VIEW },
        status(GVK),
    ],
    schema: "io.k8s.api.core.v1.Pod",
    storage: "pods",
    columns: table::COLUMNS,
    rules: &PodRules,
};

struct PodRules;

impl Rules for PodRules {
    fn default(&self, object: &mut Value) {
        defaults::default_pod(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        default_whole(object);
        app_armor::make_fields(object);
        object["status"] = json!({ "phase": "Pending", "qosClass": qos_class(object) });
        // Admission may have chosen the account since the defaults were filled.
        fill::at(object, "/spec", defaults::default_service_account);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "spec");
        fill::at(new, "/metadata", |metadata| fill::keep(metadata, &old["metadata"], "ownerReferences"));
        fill::at(new, "/status", |status| fill::keep(status, &old["status"], "qosClass"));
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        validation::pod(object)
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        validation::pod_create(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        validation::pod_update(new, old)
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        validation::status_update(new, old)
    }

    fn warnings_as_sent(&self, object: &Value) -> Vec<String> {
        app_armor::warnings(object, &field::Path::new("metadata").child("annotations"))
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings::of_pod(object)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let text = |name: &'static str, pointer: &str| (name, read::text(object, pointer).to_owned());
        vec![
            text("spec.nodeName", "/spec/nodeName"),
            text("spec.restartPolicy", "/spec/restartPolicy"),
            text("spec.schedulerName", "/spec/schedulerName"),
            text("spec.serviceAccountName", "/spec/serviceAccountName"),
            ("spec.hostNetwork", read::flag(object, "/spec/hostNetwork").to_string()),
            text("status.phase", "/status/phase"),
            ("status.podIP", pod_ip(object).to_owned()),
            text("status.nominatedNodeName", "/status/nominatedNodeName"),
        ]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        table::row(object, now)
    }

    /// A Pod that no node runs, or that is over, goes at once; a negative period means the shortest one.
    fn grace_period_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let unscheduled = read::text(object, "/spec/nodeName").is_empty();
        let over = matches!(read::text(object, "/status/phase"), "Failed" | "Succeeded");
        let period = requested.unwrap_or_else(|| read::int(object, "/spec/terminationGracePeriodSeconds"));
        Some(match period {
            _ if unscheduled || over => 0,
            ..0 => 1,
            period => period,
        })
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

fn pod_ip(pod: &Value) -> &str {
    read::or(read::text(pod, "/status/podIPs/0/ip"), read::text(pod, "/status/podIP"))
}
