//! The node's heartbeat: a Lease in `kube-node-lease`, renewed every ten seconds.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node as NodeObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::Node;

const NAMESPACE: &str = "kube-node-lease";
/// Without a renewal for this long the node counts as gone.
const DURATION_S: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
/// A failed renewal is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease of `node`, whose object is `object`, for as long as it is let.
pub(crate) async fn keep(node: Arc<Node>, object: NodeObject) {
    let api = Api::<Lease>::namespaced(node.client.clone(), NAMESPACE);
    let name = node.options.node_name.clone();
    loop {
        let wait = match renew(&api, &name, &object).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::debug!(node = %name, %error, "lease not renewed");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn renew(api: &Api<Lease>, name: &str, object: &NodeObject) -> Result<(), kube::Error> {
    let now = MicroTime(sampan_clock::now());
    let patch = json!({"spec": {"renewTime": now, "holderIdentity": name, "leaseDurationSeconds": DURATION_S}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            api.create(&PostParams::default(), &lease(name, object, now)).await.map(drop)
        }
        answer => answer.map(drop),
    }
}

fn lease(name: &str, object: &NodeObject, now: MicroTime) -> Lease {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(DURATION_S),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    }
}
