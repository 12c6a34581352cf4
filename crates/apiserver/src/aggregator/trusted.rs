//! `kube-system/extension-apiserver-authentication`: by what an aggregated server knows that requests come from here,
//! and who sent them.

use sampan_api::status::Status;
use serde_json::{Value, json};

use super::FrontProxy;
use crate::registry::{Attempt, Registry, built_in};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// Writes the ConfigMap, or brings it up to date.
pub(crate) async fn publish(registry: &Registry, front: &FrontProxy) -> Result<(), Status> {
    let attempt = Attempt::internal(built_in("", "ConfigMap")?, NAMESPACE, NAME);
    let wanted = data(front);
    let Some(mut object) = registry.peek("", "ConfigMap", NAMESPACE, NAME) else {
        let object = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": NAME, "namespace": NAMESPACE }, "data": wanted,
        });
        return registry.create(&attempt, object).await.map(drop);
    };
    if object["data"] == wanted {
        return Ok(());
    }
    object["data"] = wanted;
    registry.update(&attempt, object).await.map(drop)
}

fn data(front: &FrontProxy) -> Value {
    json!({
        "client-ca-file": front.client_authority_pem,
        "requestheader-client-ca-file": front.authority_pem,
        "requestheader-allowed-names": r#"["front-proxy-client"]"#,
        "requestheader-username-headers": r#"["X-Remote-User"]"#,
        "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
        "requestheader-group-headers": r#"["X-Remote-Group"]"#,
        "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
    })
}
