//! The kind `Website`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a website is to be.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "example.com",
    version = "v1",
    kind = "Website",
    namespaced,
    status = "WebsiteStatus",
    shortname = "web",
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Serves","type":"string","jsonPath":".status.serves"}"#,
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    validation = "!self.spec.page.contains('<script')"
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebsiteSpec {
    /// What it says.
    pub(crate) page: String,
    /// How many Pods say it; the webhook says 1 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub(crate) replicas: Option<i32>,
}

/// What has become of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WebsiteStatus {
    /// Pods that are ready.
    pub(crate) replicas: i32,
    /// What a Pod was seen to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serves: Option<String>,
    /// What the page's file in that Pod holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
}
