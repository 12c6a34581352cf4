//! The types of `metrics.k8s.io`, which `k8s-openapi` does not have: only their schemas are wanted.

#![allow(dead_code, reason = "nobody makes a value of these types")]

use std::collections::BTreeMap;

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;

/// NodeMetrics sets resource usage metrics of a node.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", rename_all = "camelCase")]
pub(crate) struct NodeMetrics {
    /// Group and version of this representation of an object.
    #[schemars(default)]
    api_version: String,
    /// The kind of object this is.
    #[schemars(default)]
    kind: String,
    /// Standard object's metadata.
    #[schemars(default)]
    metadata: ObjectMeta,
    /// The time at which the usage was measured; it is that of the interval [timestamp-window, timestamp].
    timestamp: Time,
    /// The length of that interval, as a Go duration.
    window: String,
    /// What the node uses, by resource.
    usage: BTreeMap<String, Quantity>,
}

/// PodMetrics sets resource usage metrics of a pod.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", rename_all = "camelCase")]
pub(crate) struct PodMetrics {
    /// Group and version of this representation of an object.
    #[schemars(default)]
    api_version: String,
    /// The kind of object this is.
    #[schemars(default)]
    kind: String,
    /// Standard object's metadata.
    #[schemars(default)]
    metadata: ObjectMeta,
    /// The time at which the usage was measured; it is that of the interval [timestamp-window, timestamp].
    timestamp: Time,
    /// The length of that interval, as a Go duration.
    window: String,
    /// The usage of all containers, of the same interval.
    containers: Vec<ContainerMetrics>,
}

/// ContainerMetrics sets resource usage metrics of a container.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics")]
pub(crate) struct ContainerMetrics {
    /// The container's name, as in the Pod's specification.
    name: String,
    /// What it uses, by resource.
    usage: BTreeMap<String, Quantity>,
}

macro_rules! kind {
    ($kind:ident) => {
        impl Resource for $kind {
            const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
            const GROUP: &'static str = "metrics.k8s.io";
            const KIND: &'static str = stringify!($kind);
            const VERSION: &'static str = "v1beta1";
            const URL_PATH_SEGMENT: &'static str = "";
            type Scope = k8s_openapi::ClusterResourceScope;
        }
    };
}

kind!(NodeMetrics);
kind!(PodMetrics);
