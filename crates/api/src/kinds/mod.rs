//! The list of kinds: one file each, with the kind's descriptor and its rules.
//!
//! A file reads: names, columns, [`Rules`](crate::kind::Rules); what several kinds share is in `cells` (tables),
//! `fill` (defaults), `read` (fields) and [`crate::validation`] (everything that can be wrong).

pub(crate) mod cells;
pub(crate) mod fill;
pub(crate) mod read;
mod subresources;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

mod api_service;
mod binding;
mod certificate_signing_request;
mod cluster_role;
mod cluster_role_binding;
mod cluster_trust_bundle;
mod component_status;
mod config_map;
mod controller_revision;
mod cron_job;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod device_class;
mod device_taint_rule;
mod endpoint_slice;
mod endpoints;
mod event;
mod events_event;
mod flow_schema;
mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod ip_address;
mod job;
mod lease;
mod limit_range;
mod local_subject_access_review;
mod mutating_admission_policy;
mod mutating_admission_policy_binding;
mod mutating_webhook_configuration;
mod namespace;
mod network_policy;
mod node;
mod node_metrics;
mod old_labels;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_certificate_request;
mod pod_disruption_budget;
mod pod_metrics;
mod pod_template;
mod priority_class;
mod priority_level_configuration;
mod replica_set;
mod replication_controller;
mod resource_claim;
mod resource_claim_template;
mod resource_quota;
mod resource_slice;
mod role;
mod role_binding;
mod runtime_class;
mod secret;
mod self_subject_access_review;
mod self_subject_review;
mod self_subject_rules_review;
mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_class;
mod storage_version_migration;
mod subject_access_review;
mod token_review;
mod validating_admission_policy;
mod validating_admission_policy_binding;
mod validating_webhook_configuration;
mod volume_attachment;
mod volume_attributes_class;

pub use api_service::API_SERVICE;
pub use binding::BINDING;
pub use certificate_signing_request::CERTIFICATE_SIGNING_REQUEST;
pub use cluster_role::CLUSTER_ROLE;
pub use cluster_role_binding::CLUSTER_ROLE_BINDING;
pub use cluster_trust_bundle::CLUSTER_TRUST_BUNDLE;
pub use component_status::COMPONENT_STATUS;
pub use config_map::CONFIG_MAP;
pub use controller_revision::CONTROLLER_REVISION;
pub use cron_job::CRON_JOB;
pub use csi_driver::CSI_DRIVER;
pub use csi_node::CSI_NODE;
pub use csi_storage_capacity::CSI_STORAGE_CAPACITY;
pub use custom_resource_definition::CUSTOM_RESOURCE_DEFINITION;
pub use daemon_set::DAEMON_SET;
pub use deployment::DEPLOYMENT;
pub use device_class::DEVICE_CLASS;
pub use device_taint_rule::DEVICE_TAINT_RULE;
pub use endpoint_slice::ENDPOINT_SLICE;
pub use endpoints::ENDPOINTS;
pub use event::EVENT;
pub use events_event::EVENTS_EVENT;
pub use flow_schema::FLOW_SCHEMA;
pub use horizontal_pod_autoscaler::{HORIZONTAL_POD_AUTOSCALER, HORIZONTAL_POD_AUTOSCALER_V1};
pub use ingress::INGRESS;
pub use ingress_class::INGRESS_CLASS;
pub use ip_address::IP_ADDRESS;
pub use job::JOB;
pub use lease::LEASE;
pub use limit_range::LIMIT_RANGE;
pub use local_subject_access_review::LOCAL_SUBJECT_ACCESS_REVIEW;
pub use mutating_admission_policy::MUTATING_ADMISSION_POLICY;
pub use mutating_admission_policy_binding::MUTATING_ADMISSION_POLICY_BINDING;
pub use mutating_webhook_configuration::MUTATING_WEBHOOK_CONFIGURATION;
pub use namespace::NAMESPACE;
pub use network_policy::NETWORK_POLICY;
pub use node::NODE;
pub use node_metrics::NODE_METRICS;
pub use persistent_volume::PERSISTENT_VOLUME;
pub use persistent_volume_claim::PERSISTENT_VOLUME_CLAIM;
pub(crate) use pod::qos_class;
pub use pod::{POD, default_whole};
pub use pod_certificate_request::POD_CERTIFICATE_REQUEST;
pub use pod_disruption_budget::POD_DISRUPTION_BUDGET;
pub use pod_metrics::POD_METRICS;
pub use pod_template::POD_TEMPLATE;
pub use priority_class::{PRIORITY_CLASS, SYSTEM_PRIORITY_CLASSES};
pub use priority_level_configuration::PRIORITY_LEVEL_CONFIGURATION;
pub use replica_set::REPLICA_SET;
pub use replication_controller::REPLICATION_CONTROLLER;
pub use resource_claim::RESOURCE_CLAIM;
pub use resource_claim_template::RESOURCE_CLAIM_TEMPLATE;
pub use resource_quota::RESOURCE_QUOTA;
pub use resource_slice::RESOURCE_SLICE;
pub use role::ROLE;
pub use role_binding::ROLE_BINDING;
pub use runtime_class::RUNTIME_CLASS;
pub use secret::SECRET;
pub use self_subject_access_review::SELF_SUBJECT_ACCESS_REVIEW;
pub use self_subject_review::SELF_SUBJECT_REVIEW;
pub use self_subject_rules_review::SELF_SUBJECT_RULES_REVIEW;
pub use service::SERVICE;
pub use service_account::SERVICE_ACCOUNT;
pub use service_cidr::SERVICE_CIDR;
pub use stateful_set::STATEFUL_SET;
pub use storage_class::STORAGE_CLASS;
pub use storage_version_migration::STORAGE_VERSION_MIGRATION;
pub use subject_access_review::SUBJECT_ACCESS_REVIEW;
pub use token_review::TOKEN_REVIEW;
pub use validating_admission_policy::VALIDATING_ADMISSION_POLICY;
pub use validating_admission_policy_binding::VALIDATING_ADMISSION_POLICY_BINDING;
pub use validating_webhook_configuration::VALIDATING_WEBHOOK_CONFIGURATION;
pub use volume_attachment::VOLUME_ATTACHMENT;
pub use volume_attributes_class::VOLUME_ATTRIBUTES_CLASS;

use crate::kind::Kind;

/// Every built-in kind. Discovery, OpenAPI, routes and storage follow from it.
pub static ALL: &[&Kind] = &[
    &BINDING,
    &COMPONENT_STATUS,
    &CONFIG_MAP,
    &ENDPOINTS,
    &EVENT,
    &LIMIT_RANGE,
    &NAMESPACE,
    &NODE,
    &PERSISTENT_VOLUME_CLAIM,
    &PERSISTENT_VOLUME,
    &POD,
    &POD_TEMPLATE,
    &REPLICATION_CONTROLLER,
    &RESOURCE_QUOTA,
    &SECRET,
    &SERVICE_ACCOUNT,
    &SERVICE,
    &CONTROLLER_REVISION,
    &DAEMON_SET,
    &DEPLOYMENT,
    &REPLICA_SET,
    &STATEFUL_SET,
    &CUSTOM_RESOURCE_DEFINITION,
    &TOKEN_REVIEW,
    &SELF_SUBJECT_REVIEW,
    &LOCAL_SUBJECT_ACCESS_REVIEW,
    &SELF_SUBJECT_ACCESS_REVIEW,
    &SELF_SUBJECT_RULES_REVIEW,
    &SUBJECT_ACCESS_REVIEW,
    &HORIZONTAL_POD_AUTOSCALER,
    &HORIZONTAL_POD_AUTOSCALER_V1,
    &CRON_JOB,
    &JOB,
    &CERTIFICATE_SIGNING_REQUEST,
    &CLUSTER_TRUST_BUNDLE,
    &POD_CERTIFICATE_REQUEST,
    &LEASE,
    &ENDPOINT_SLICE,
    &EVENTS_EVENT,
    &FLOW_SCHEMA,
    &PRIORITY_LEVEL_CONFIGURATION,
    &INGRESS_CLASS,
    &INGRESS,
    &IP_ADDRESS,
    &NETWORK_POLICY,
    &SERVICE_CIDR,
    &RUNTIME_CLASS,
    &POD_DISRUPTION_BUDGET,
    &CLUSTER_ROLE_BINDING,
    &CLUSTER_ROLE,
    &ROLE_BINDING,
    &ROLE,
    &PRIORITY_CLASS,
    &DEVICE_CLASS,
    &DEVICE_TAINT_RULE,
    &RESOURCE_CLAIM,
    &RESOURCE_CLAIM_TEMPLATE,
    &RESOURCE_SLICE,
    &CSI_DRIVER,
    &CSI_NODE,
    &CSI_STORAGE_CAPACITY,
    &STORAGE_CLASS,
    &VOLUME_ATTACHMENT,
    &VOLUME_ATTRIBUTES_CLASS,
    &STORAGE_VERSION_MIGRATION,
    &MUTATING_ADMISSION_POLICY,
    &MUTATING_ADMISSION_POLICY_BINDING,
    &VALIDATING_ADMISSION_POLICY,
    &VALIDATING_ADMISSION_POLICY_BINDING,
    &MUTATING_WEBHOOK_CONFIGURATION,
    &VALIDATING_WEBHOOK_CONFIGURATION,
    &API_SERVICE,
    &NODE_METRICS,
    &POD_METRICS,
];

/// The built-in kind of that group, version and kind.
pub fn find(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.group == group && k.version == version && k.kind == kind)
}
