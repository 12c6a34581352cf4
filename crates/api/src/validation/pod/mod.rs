//! Pods and Pod templates, in breadth: one file for each part of a spec, [`spec`] walks through them.

mod app_armor;
mod containers;
mod dns;
mod env;
mod mounts;
mod ports;
mod probes;
mod resize;
mod resources;
mod restart;
mod scheduling;
mod security;
mod status;
mod update;
mod volumes;
mod whole;

pub(crate) use app_armor::ANNOTATION as APP_ARMOR_ANNOTATION;
pub(crate) use ports::{PROTOCOLS, number_or_name};
pub use resize::resize_update;
pub(crate) use resources::{overhead, quantity};
pub(crate) use scheduling::{TAINT_EFFECTS, node_selector, tolerations};
pub(crate) use status::status_update;
pub use update::ephemeral_containers_update;
pub(crate) use update::update;

use serde_json::Value;

use super::cursor::{Cursor, check};
use super::{labels, names};
use crate::field::Error;

/// Where a spec is: some rules hold only for Pods, since templates were never checked for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Pod,
    Template,
}

/// The faults that only a new Pod can have.
pub(crate) fn create(pod: &Value) -> Vec<Error> {
    check(pod, |pod| {
        app_armor::agreement(pod);
        let spec = pod.get("spec");
        if !spec.get("ephemeralContainers").is_empty() {
            spec.get("ephemeralContainers").forbidden("cannot be set on create");
        }
        if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
            spec.get("nodeName").forbidden("cannot be set until all schedulingGates have been cleared");
        }
    })
}

/// The faults of a Pod.
pub(crate) fn pod(pod: &Value) -> Vec<Error> {
    check(pod, |pod| {
        let pod_spec = pod.get("spec");
        app_armor::annotations(pod);
        spec(&pod_spec, Place::Pod);
        if pod_spec.get("serviceAccountName").is_empty() {
            no_tokens(&pod_spec);
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for image in pod_spec.get(list).items().map(|container| container.get("image")) {
                trimmed(&image);
            }
        }
    })
}

/// A `PodTemplateSpec`.
pub(crate) fn template(template: &Cursor<'_>) {
    let (metadata, pod_spec) = (template.get("metadata"), template.get("spec"));
    labels::labels(&metadata.get("labels"));
    labels::annotations(&metadata.get("annotations"));
    app_armor::annotations(template);
    spec(&pod_spec, Place::Template);
    app_armor::agreement(template);
    let ephemeral = pod_spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("ephemeral containers not allowed in pod template");
    }
}

fn spec(spec: &Cursor<'_>, place: Place) {
    let volumes = volumes::volumes(&spec.get("volumes"));
    containers::containers(spec, &volumes);
    ports::host_network(spec, place);
    spec.get("restartPolicy").must_be_one_of(&["Always", "OnFailure", "Never"]);
    spec.get("dnsPolicy").must_be_one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    labels::labels(&spec.get("nodeSelector"));
    security::pod(spec);
    scheduling::affinity(&spec.get("affinity"));
    dns::config(spec);
    scheduling::gates(spec);
    scheduling::topology_spread(&spec.get("topologySpreadConstraints"));
    named_things(spec);
    spec.get("activeDeadlineSeconds").in_range(1..=i64::from(i32::MAX));
    scheduling::tolerations(&spec.get("tolerations"));
    dns::host_aliases(&spec.get("hostAliases"));
    spec.get("preemptionPolicy").may_be_one_of(&["PreemptLowerPriority", "Never"]);
    whole::requirements(spec);
    resources::overhead(&spec.get("overhead"));
    operating_system(&spec.get("os"));
}

/// Fields that name another object, or the Pod itself on the network.
fn named_things(spec: &Cursor<'_>) {
    for field in ["serviceAccountName", "nodeName", "priorityClassName"] {
        spec.get(field).may_follow(names::subdomain);
    }
    for field in ["hostname", "subdomain"] {
        spec.get(field).may_follow(names::label);
    }
    let runtime_class = spec.get("runtimeClassName");
    if runtime_class.is_set() {
        runtime_class.follows(names::subdomain);
    }
}

fn operating_system(os: &Cursor<'_>) {
    if !os.is_set() {
        return;
    }
    let name = os.get("name");
    match name.text() {
        "" => name.required("cannot be empty"),
        "linux" | "windows" => {}
        _ => name.not_supported(&["linux", "windows"]),
    }
}

fn no_tokens(spec: &Cursor<'_>) {
    for volume in spec.get("volumes").items() {
        for source in volume.get("projected").get("sources").items() {
            let token = source.get("serviceAccountToken");
            if token.is_set() {
                token.forbidden("must not be specified when serviceAccountName is not set");
            }
        }
    }
}

fn trimmed(image: &Cursor<'_>) {
    if image.text() != image.text().trim() {
        image.invalid("must not have leading or trailing whitespace");
    }
}
