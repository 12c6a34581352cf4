//! The FlowSchemas and PriorityLevelConfigurations that every cluster has: made when they are missing, mandatory ones kept
//! as they must be, suggested ones as their annotation says.

use std::sync::Arc;
use std::time::Duration;

use sampan_api::status::Status;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::GROUP;
use super::config::MANDATORY;
use crate::registry::{Attempt, Registry, built_in};

/// Whether an object's spec follows what is suggested.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// How long to wait before the objects are looked at again after that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Makes what is missing, and brings up to date what is to be kept so.
pub(crate) async fn ensure(registry: &Registry) -> Result<(), Status> {
    for wanted in sampan_api::validation::flow_control_objects() {
        let kind = built_in(GROUP, wanted["kind"].as_str().unwrap_or_default())?;
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let attempt = Attempt::internal(kind, "", name);
        let written = match registry.peek(GROUP, kind.kind, "", name) {
            None => registry.create(&attempt, fresh(wanted)).await.map(drop),
            Some(existing) => match updated(&existing, wanted) {
                None => Ok(()),
                Some(updated) => registry.update(&attempt, updated).await.map(drop),
            },
        };
        match written {
            // Another server, or an administrator, was quicker.
            Err(status) if !matches!(status.reason.as_str(), "AlreadyExists" | "Conflict" | "NotFound") => {
                return Err(status);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The same after every change of them, until `stop`.
pub(crate) async fn keep(registry: Arc<Registry>, stop: CancellationToken) {
    let room = |kind| built_in(GROUP, kind).and_then(|kind| registry.cache.room(kind));
    let (Ok(levels), Ok(schemas)) = (room("PriorityLevelConfiguration"), room("FlowSchema")) else { return };
    let (mut levels, mut schemas) = (levels.subscribe(), schemas.subscribe());
    let kept = async {
        loop {
            levels.mark_unchanged();
            schemas.mark_unchanged();
            if let Err(error) = ensure(&registry).await {
                tracing::warn!(%error, "flow control objects that every cluster has could not be kept yet");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            tokio::select! {
                _ = levels.changed() => {}
                _ = schemas.changed() => {}
            }
        }
    };
    stop.run_until_cancelled(kept).await;
}

fn fresh(wanted: &Value) -> Value {
    let mut object = wanted.clone();
    object["apiVersion"] = format!("{GROUP}/v1").into();
    object["metadata"]["annotations"] = json!({ AUTO_UPDATE: "true" });
    object
}

/// The object as it should be; `None` if it is. Mandatory ones always follow; others when their annotation says so or,
/// without one, as long as nobody has changed them.
fn updated(existing: &Value, wanted: &Value) -> Option<Value> {
    let mandatory = MANDATORY.iter().any(|name| wanted["metadata"]["name"] == *name);
    let annotation = existing["metadata"]["annotations"][AUTO_UPDATE].as_str();
    let follows = mandatory
        || match annotation {
            Some("true") => true,
            Some("false") => false,
            _ => existing["metadata"]["generation"] == 1,
        };
    let mut updated = existing.clone();
    if annotation != Some(if follows { "true" } else { "false" }) {
        updated["metadata"]["annotations"][AUTO_UPDATE] = follows.to_string().into();
    }
    if follows {
        let mut spec = wanted["spec"].clone();
        // What the level `exempt` says about its share is its administrator's.
        if !existing["spec"]["exempt"].is_null() {
            spec["exempt"] = existing["spec"]["exempt"].clone();
        }
        updated["spec"] = spec;
    }
    (updated != *existing).then_some(updated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, annotation: Option<&str>, generation: u64, shares: u64) -> Value {
        let mut object = json!({
            "metadata": { "name": name, "generation": generation },
            "spec": { "type": "Limited", "limited": { "nominalConcurrencyShares": shares } },
        });
        if let Some(annotation) = annotation {
            object["metadata"]["annotations"] = json!({ AUTO_UPDATE: annotation });
        }
        object
    }

    /// What becomes of shares that should be 5: the shares and the annotation.
    #[track_caller]
    fn check(existing: &Value, want: Option<(u64, &str)>) {
        let name = existing["metadata"]["name"].as_str().unwrap();
        let updated = updated(existing, &object(name, None, 0, 5));
        let got = updated.as_ref().map(|updated| {
            let shares = updated["spec"]["limited"]["nominalConcurrencyShares"].as_u64().unwrap();
            (shares, updated["metadata"]["annotations"][AUTO_UPDATE].as_str().unwrap())
        });
        assert_eq!(got, want);
    }

    #[test]
    fn who_has_the_last_word() {
        check(&object("system", Some("true"), 3, 5), None);
        check(&object("system", Some("true"), 3, 9), Some((5, "true")));
        check(&object("system", Some("false"), 1, 9), None);
        check(&object("system", None, 1, 9), Some((5, "true")));
        check(&object("system", None, 2, 9), Some((9, "false")));
        check(&object("system", Some("maybe"), 2, 5), Some((5, "false")));
        check(&object("catch-all", Some("false"), 2, 9), Some((5, "true")));
    }
}
