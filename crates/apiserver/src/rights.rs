//! Keeps the RBAC evaluator in step with the stored roles and bindings.

use std::sync::Arc;

use futures::StreamExt as _;
use sampan_auth::rbac::Rbac;
use sampan_store::Revision;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, EventType, Filter, Object, Start, Told, Watch, WatchOptions};
use crate::registry::built_in;

/// The kinds that grant rights.
const KINDS: [&str; 4] = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
const GROUP: &str = "rbac.authorization.k8s.io";

/// Takes over what is stored now; the revision up to which that is complete.
pub(crate) fn load(cache: &Cache, rbac: &Rbac) -> Revision {
    let reached = cache.reached();
    for kind in KINDS {
        let Ok(room) = built_in(GROUP, kind).and_then(|kind| cache.room(kind)) else { continue };
        let (objects, _) = room.snapshot(&Filter::default());
        objects.iter().for_each(|object| apply(rbac, kind, object));
    }
    reached
}

/// Follows one kind until `stop`.
async fn follow(cache: Arc<Cache>, rbac: Arc<Rbac>, kind: &'static str, stop: CancellationToken) {
    let Ok(room) = built_in(GROUP, kind).and_then(|kind| cache.room(kind)).cloned() else { return };
    let mut start = Start::Now { bookmark: false };
    while !stop.is_cancelled() {
        let options = WatchOptions {
            start,
            filter: Filter::default(),
            bookmarks: false,
            until: tokio::time::Instant::now() + FOREVER,
        };
        let watch = Watch::begin(Arc::clone(&cache), Arc::clone(&room), options, stop.clone());
        let mut told = std::pin::pin!(watch.stream());
        while let Some(told) = told.next().await {
            match told {
                Told::Event { event: EventType::Deleted, object, revision, .. } => {
                    delete(&rbac, kind, &object);
                    start = Start::After(revision);
                }
                Told::Event { object, revision, .. } => {
                    apply(&rbac, kind, &object);
                    start = Start::After(revision);
                }
                Told::Bookmark { .. } => {}
                Told::Failed(_) => start = Start::Now { bookmark: false },
            }
        }
    }
}

/// A watch of the server's own does not end by time.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(86_400 * 365);

/// Follows all kinds until `stop`.
pub(crate) async fn follow_all(cache: Arc<Cache>, rbac: Arc<Rbac>, stop: CancellationToken) {
    let each = KINDS.map(|kind| follow(Arc::clone(&cache), Arc::clone(&rbac), kind, stop.clone()));
    futures::future::join_all(each).await;
}

fn apply(rbac: &Rbac, kind: &str, object: &Object) {
    match kind {
        "ClusterRole" => read(object).inspect(|role| rbac.apply_cluster_role(role)).is_some(),
        "ClusterRoleBinding" => read(object).inspect(|binding| rbac.apply_cluster_binding(binding)).is_some(),
        "Role" => read(object).inspect(|role| rbac.apply_role(role)).is_some(),
        _ => read(object).inspect(|binding| rbac.apply_binding(binding)).is_some(),
    };
}

fn delete(rbac: &Rbac, kind: &str, object: &Object) {
    match kind {
        "ClusterRole" | "Role" => rbac.delete_role(&object.namespace, &object.name),
        _ => rbac.delete_binding(&object.namespace, &object.name),
    }
}

/// A role or binding that cannot be read grants nothing.
fn read<T: DeserializeOwned>(object: &Object) -> Option<T> {
    serde_json::from_slice(&object.json())
        .inspect_err(|error| tracing::error!(%error, name = %object.name, "a role or binding cannot be read"))
        .ok()
}
