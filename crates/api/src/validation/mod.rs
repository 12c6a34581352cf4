//! What can be wrong with objects: the rules that kinds share. What only one kind knows is in its file under
//! [`crate::kinds`].
//!
//! Rules are functions of a `Cursor`, a place in an object that collects its faults; start there, then read
//! [`metadata()`] for every object and `pod` for everything that runs containers. Field paths and texts are upstream's.

pub(crate) mod addresses;
pub(crate) mod certificates;
mod claims;
mod conditions;
mod cursor;
pub(crate) mod devices;
pub(crate) mod flowcontrol;
mod labels;
mod metadata;
pub(crate) mod names;
mod pod;
pub(crate) mod policy;
mod references;
pub(crate) mod resource_names;
mod same;
pub(crate) mod schedule;
pub(crate) mod storage;
mod subresources;
pub(crate) mod volume_sources;
mod webhook;
mod workload;

pub(crate) use claims::{access_modes, claim_spec, volume_mode};
pub(crate) use conditions::conditions;
pub(crate) use cursor::{Cursor, check};
pub use flowcontrol::flow_control_objects;
pub(crate) use labels::{annotations, labels, selector as label_selector};
pub use metadata::{metadata, metadata_update, namespace_finalizers};
pub(crate) use pod::{
    APP_ARMOR_ANNOTATION, PROTOCOLS, TAINT_EFFECTS, create as pod_create, node_selector, number_or_name,
    overhead as pod_overhead, pod, quantity, status_update, template as pod_template, tolerations as pod_tolerations,
    update as pod_update,
};
pub use pod::{ephemeral_containers_update, resize_update};
pub(crate) use references::{domain_prefixed_path, signer_name};
pub(crate) use same::{differences, same};
pub use subresources::{scale, token_request};
pub(crate) use webhook::admission_webhooks;
pub(crate) use workload::{
    bare_number, collisions, count_or_percent, matches_template, not_empty, replicas, runs_forever,
    selector as workload_selector, selector_and_template, selects, status as workload_status,
};
