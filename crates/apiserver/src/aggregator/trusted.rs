//! `kube-system/extension-apiserver-authentication`: by what an aggregated server knows that requests come from here,
//! and who sent them.

use sampan_api::status::Status;
use serde_json::{Value, json};

use super::FrontProxy;
use crate::authentication::RequestHeaders;
use crate::registry::{Attempt, Registry, built_in};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// How often the ConfigMap is written anew because another API server of the cluster wrote it meanwhile.
const TRIES: usize = 8;
/// A list of authorities that has become larger is begun anew.
const MAX_BUNDLE_BYTES: usize = 64 << 10;

/// Writes the ConfigMap, or brings it up to date. What other API servers of the cluster are known by stays.
/// `clients_pem` is the authority by which aggregated servers know clients that come to them directly.
pub(crate) async fn publish(registry: &Registry, clients_pem: &str, front: &FrontProxy) -> Result<(), Status> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        registry.cache.fresh().await?;
        last = publish_once(registry, data(clients_pem, front)).await;
        if last.as_ref().err().is_none_or(|status| status.code != 409) {
            return last;
        }
    }
    last
}

async fn publish_once(registry: &Registry, mut wanted: Value) -> Result<(), Status> {
    let attempt = Attempt::internal(built_in("", "ConfigMap")?, NAMESPACE, NAME);
    let Some(mut object) = registry.peek("", "ConfigMap", NAMESPACE, NAME) else {
        let object = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": NAME, "namespace": NAMESPACE }, "data": wanted,
        });
        return registry.create(&attempt, object).await.map(drop);
    };
    for bundle in ["client-ca-file", "requestheader-client-ca-file"] {
        wanted[bundle] = joined(&object["data"][bundle], &wanted[bundle]).into();
    }
    if object["data"] == wanted {
        return Ok(());
    }
    object["data"] = wanted;
    registry.update(&attempt, object).await.map(drop)
}

/// The authorities that are there, and ours.
fn joined(there: &Value, ours: &Value) -> String {
    let (there, ours) = (there.as_str().unwrap_or_default(), ours.as_str().unwrap_or_default());
    if there.contains(ours.trim()) {
        return there.to_owned();
    }
    if there.len() > MAX_BUNDLE_BYTES { ours.to_owned() } else { format!("{there}{ours}") }
}

fn data(clients_pem: &str, front: &FrontProxy) -> Value {
    let RequestHeaders { allowed_names, username, uid, group, extra_prefix } = &front.headers;
    json!({
        "client-ca-file": clients_pem,
        "requestheader-client-ca-file": front.authority_pem,
        "requestheader-allowed-names": json!(allowed_names).to_string(),
        "requestheader-username-headers": json!(username).to_string(),
        "requestheader-uid-headers": json!(uid).to_string(),
        "requestheader-group-headers": json!(group).to_string(),
        "requestheader-extra-headers-prefix": json!(extra_prefix).to_string(),
    })
}
