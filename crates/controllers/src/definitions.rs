//! Custom kinds come and go while the cluster runs: the feed of all objects follows them as their definitions say.
//!
//! A definition that is established tells all that a watch needs, so nothing is discovered again; a watch that is
//! quicker than the server's own knowledge of the kind is refused and tries again.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use sampan_api::custom::accept::by_preference;
use sampan_client::Tasks;

use crate::resources::{Feed, Resource};

/// Has `feed` follow the kinds of all definitions while they are there.
pub(crate) async fn follow(client: Client, feed: Arc<Feed>, tasks: Tasks) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
    let (mut known, mut fresh) = (HashSet::new(), HashSet::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => fresh.clear(),
            Ok(watcher::Event::InitApply(definition)) => {
                fresh.insert(definition.name_any());
                apply(&client, &feed, &definition, &tasks);
            }
            Ok(watcher::Event::InitDone) => {
                let before = std::mem::replace(&mut known, std::mem::take(&mut fresh));
                before.difference(&known).for_each(|name| feed.remove(name));
            }
            Ok(watcher::Event::Apply(definition)) => {
                known.insert(definition.name_any());
                apply(&client, &feed, &definition, &tasks);
            }
            Ok(watcher::Event::Delete(definition)) => {
                known.remove(&definition.name_any());
                feed.remove(&definition.name_any());
            }
            Err(error) => tracing::debug!(%error, "watch of definitions interrupted"),
        }
    }
}

fn apply(client: &Client, feed: &Arc<Feed>, definition: &CustomResourceDefinition, tasks: &Tasks) {
    let followed = feed.kinds().get(&definition.name_any());
    let version = followed.as_ref().map(|resource| resource.api.version.as_str());
    if let Some(resource) = resource(definition, version).filter(|resource| followed.as_ref() != Some(resource)) {
        feed.add(client, resource, tasks);
    }
}

/// The kind of an established definition, in the version that is followed already if it is still served.
fn resource(definition: &CustomResourceDefinition, followed: Option<&str>) -> Option<Resource> {
    let (spec, status) = (&definition.spec, definition.status.as_ref()?);
    let mut conditions = status.conditions.iter().flatten();
    if !conditions.any(|condition| condition.type_ == "Established" && condition.status == "True") {
        return None;
    }
    let served = spec.versions.iter().filter(|version| version.served).map(|version| version.name.as_str());
    let version =
        served.min_by(|a, b| (Some(*b) == followed).cmp(&(Some(*a) == followed)).then(by_preference(a, b)))?;
    let names = status.accepted_names.as_ref()?;
    Some(Resource {
        api: ApiResource {
            group: spec.group.clone(),
            version: version.to_owned(),
            api_version: format!("{}/{version}", spec.group),
            kind: names.kind.clone(),
            plural: names.plural.clone(),
        },
        namespaced: spec.scope == "Namespaced",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(established: &str) -> CustomResourceDefinition {
        let version =
            |name: &str, served: bool| serde_json::json!({ "name": name, "served": served, "storage": name == "v1" });
        let names = serde_json::json!({ "plural": "crontabs", "kind": "CronTab" });
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "crontabs.stable.example.com" },
            "spec": {
                "group": "stable.example.com", "scope": "Namespaced", "names": names,
                "versions": [version("v1beta1", true), version("v1", true), version("v2", false)],
            },
            "status": {
                "acceptedNames": names,
                "conditions": [{ "type": "Established", "status": established }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_preferred_version_is_followed_until_it_is_not_served() {
        let version = |followed| resource(&definition("True"), followed).unwrap().api.version;
        assert_eq!(version(None), "v1");
        assert_eq!(version(Some("v1beta1")), "v1beta1");
        assert_eq!(version(Some("v2")), "v1");
        let found = resource(&definition("True"), None).unwrap();
        assert_eq!(found.name(), "crontabs.stable.example.com");
        assert!(found.namespaced && found.api.api_version == "stable.example.com/v1");
    }

    #[test]
    fn what_is_not_established_is_not_followed() {
        assert_eq!(resource(&definition("False"), None), None);
    }
}
