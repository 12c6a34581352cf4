//! Every Pod runs as a ServiceAccount, which must exist; its token is mounted unless someone said not to.

use sampan_api::status::Status;
use serde_json::{Value, json};

use super::{Plugin, Request, is_mirror};
use crate::registry::{Registry, metadata};

/// Where containers look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long the token lives; the seconds over the hour tell such tokens apart.
const TOKEN_SECONDS: i64 = 3607;

pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        let attempt = request.attempt;
        if !request.creates_pod() || is_mirror(new) {
            return Ok(());
        }
        let spec = &mut new["spec"];
        let asked = [&spec["serviceAccountName"], &spec["serviceAccount"]].into_iter().filter_map(Value::as_str);
        let name = asked.into_iter().find(|name| !name.is_empty()).unwrap_or("default").to_owned();
        spec["serviceAccountName"] = name.as_str().into();
        spec["serviceAccount"] = name.as_str().into();
        let Some(account) = registry.peek("", "ServiceAccount", &attempt.namespace, &name) else {
            return Err(attempt.forbidden(&format!(
                "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
                attempt.namespace
            )));
        };
        if spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
            && let Some(secrets) = account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty())
        {
            spec["imagePullSecrets"] = json!(secrets);
        }
        if wants_token(spec, &account) {
            mount_token(spec);
        }
        Ok(())
    }
}

fn wants_token(spec: &Value, account: &Value) -> bool {
    let said = spec["automountServiceAccountToken"].as_bool().or(account["automountServiceAccountToken"].as_bool());
    said.unwrap_or(true)
}

fn mount_token(spec: &mut Value) {
    let volume = format!("kube-api-access-{}", metadata::random_suffix());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = &mut container["volumeMounts"];
            if !mounts.is_array() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if !mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                mounts.push(json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH }));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let volumes = &mut spec["volumes"];
    if !volumes.is_array() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [
                    { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
                ] } },
            ],
        },
    })
}
