//! What aggregated servers serve, merged into this server's discovery and OpenAPI.
//!
//! A version stays listed while its server is away, as last known and marked as stale, so that clients do not mistake
//! an outage for a removal.

use std::cmp::Reverse;

use axum::body::Body;
use futures::StreamExt as _;
use http::{Request, Response};
use sampan_auth::Identity;
use serde_json::{Map, Value, json};

use super::available::{AT_ONCE, TIMEOUT, document};
use super::forward::sign;
use super::{Aggregator, Remote, priorities};
use crate::server::Call;

/// OpenAPI documents are asked for by this user.
const READER: &str = "system:aggregator";

impl Aggregator {
    /// A plain discovery document with what other servers serve; `None` if neither knows the path.
    pub(crate) fn merged(&self, path: &str, local: Option<&Value>) -> Option<Value> {
        let remotes = self.remotes();
        let mut parts = path.trim_start_matches('/').split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("apis"), None, _) => local.map(|list| groups(list.clone(), &remotes)),
            (Some("apis"), Some(group), None) if remotes.iter().any(|remote| remote.group == group) => {
                let mut document = group_document(group, local, &remotes);
                document["kind"] = "APIGroup".into();
                document["apiVersion"] = "v1".into();
                Some(document)
            }
            _ => local.cloned(),
        }
    }

    /// The aggregated discovery document of `/apis` with what other servers serve.
    pub(crate) fn merged_aggregated(&self, mut local: Value) -> Value {
        let remotes = self.remotes();
        let mut items = local["items"].as_array().cloned().unwrap_or_default();
        for remote in by_priority(&remotes) {
            let known = self.known(remote).unwrap_or_default();
            let freshness = if remote.available && !known.resources.is_null() { "Current" } else { "Stale" };
            let version = json!({
                "version": remote.version, "resources": aggregated(&known.resources, remote), "freshness": freshness,
            });
            match items.iter_mut().find(|item| item["metadata"]["name"] == remote.group.as_str()) {
                None => items.push(json!({ "metadata": { "name": remote.group }, "versions": [version] })),
                Some(item) => put_version(&mut item["versions"], version, remote, &remotes),
            }
        }
        items.sort_by_key(|item| Reverse(priority(item["metadata"]["name"].as_str().unwrap_or_default(), &remotes)));
        local["items"] = items.into();
        local
    }

    /// The entries of other servers for the index of OpenAPI documents.
    pub(crate) fn openapi_index(&self) -> Map<String, Value> {
        let remotes = self.remotes();
        let entry = |remote: &Remote| {
            let entry = self.known(remote)?.openapi;
            entry.is_object().then(|| (format!("apis/{}/{}", remote.group, remote.version), entry))
        };
        remotes.iter().filter_map(entry).collect()
    }

    /// The OpenAPI document (version 3) of a version that another server serves; `None` if it is this server's.
    pub(crate) async fn openapi(&self, path: &str, call: &Call) -> Option<Response<Body>> {
        let remote = self.remote_of(path.strip_prefix("/openapi/v3")?)?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = call.head.uri.clone();
        *request.headers_mut() = call.head.headers.clone();
        sign(request.headers_mut(), &Identity { name: READER.to_owned(), ..Identity::default() });
        Some(self.forward(&remote, request).await)
    }

    /// Adds paths and definitions of other servers to the OpenAPI document (version 2).
    pub(crate) async fn merge_openapi_v2(&self, document: &mut Value) {
        let remotes = self.remotes();
        let available = remotes.iter().filter(|remote| remote.available);
        let asked: Vec<_> = available.map(|remote| async move { (remote, self.openapi_v2(remote).await) }).collect();
        let told: Vec<_> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
        for (remote, theirs) in told {
            let Some(theirs) = theirs else { continue };
            let prefix = format!("/apis/{}/{}", remote.group, remote.version);
            add(document, &theirs, "paths", |path| path.starts_with(&prefix));
            add(document, &theirs, "definitions", |_| true);
        }
    }

    /// The document of one server, if it has one and tells it in time.
    async fn openapi_v2(&self, remote: &Remote) -> Option<Value> {
        let asked = async {
            let response = self.get(remote, "/openapi/v2").await;
            if response.status().is_success() { document(response).await.ok() } else { None }
        };
        tokio::time::timeout(TIMEOUT, asked).await.ok().flatten()
    }
}

/// Adds the entries of a map of `theirs` that `document` does not have.
fn add(document: &mut Value, theirs: &Value, field: &str, wanted: impl Fn(&str) -> bool) {
    let Some(ours) = document[field].as_object_mut() else { return };
    for (key, value) in theirs[field].as_object().into_iter().flatten().filter(|(key, _)| wanted(key)) {
        ours.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn by_priority(remotes: &[Remote]) -> Vec<&Remote> {
    let mut sorted: Vec<&Remote> = remotes.iter().collect();
    sorted.sort_by_key(|remote| (Reverse(remote.group_priority), Reverse(remote.version_priority), &remote.name));
    sorted
}

/// The priority of a group: the highest that anyone claims for it.
fn priority(group: &str, remotes: &[Remote]) -> i64 {
    let theirs = remotes.iter().filter(|remote| remote.group == group).map(|remote| remote.group_priority).max();
    // A group that only others serve has no priority of ours.
    theirs.unwrap_or_else(|| priorities::of(group, "v1").0)
}

fn groups(mut list: Value, remotes: &[Remote]) -> Value {
    let mut found = list["groups"].as_array().cloned().unwrap_or_default();
    for remote in by_priority(remotes) {
        let at = found.iter().position(|group| group["name"] == remote.group.as_str());
        let document = group_document(&remote.group, at.map(|at| &found[at]), remotes);
        match at {
            Some(at) => found[at] = document,
            None => found.push(document),
        }
    }
    found.sort_by_key(|group| Reverse(priority(group["name"].as_str().unwrap_or_default(), remotes)));
    list["groups"] = found.into();
    list
}

/// A group's document, with the versions that other servers serve.
fn group_document(group: &str, local: Option<&Value>, remotes: &[Remote]) -> Value {
    let mut document = local.cloned().unwrap_or_else(|| json!({ "name": group, "versions": [] }));
    for remote in by_priority(remotes).into_iter().filter(|remote| remote.group == group) {
        let version = json!({ "groupVersion": format!("{group}/{}", remote.version), "version": remote.version });
        put_version(&mut document["versions"], version, remote, remotes);
    }
    document["preferredVersion"] = document["versions"][0].clone();
    document
}

/// Puts a version among those of its group, by its priority, in place of one of that name.
fn put_version(versions: &mut Value, version: Value, remote: &Remote, remotes: &[Remote]) {
    let Some(versions) = versions.as_array_mut() else { return };
    versions.retain(|other| other["version"] != version["version"]);
    let of = |other: &Value| {
        let name = other["version"].as_str().unwrap_or_default();
        let theirs = remotes.iter().find(|other| other.group == remote.group && other.version == name);
        theirs.map_or_else(|| priorities::of(&remote.group, name).1, |other| other.version_priority)
    };
    let at = versions.iter().position(|other| of(other) < remote.version_priority).unwrap_or(versions.len());
    versions.insert(at, version);
}

/// An `APIResourceList` in the aggregated form: subresources go to their resource.
fn aggregated(list: &Value, remote: &Remote) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    let kind = |entry: &Value| {
        let or = |field: &str, otherwise: &str| match entry[field].as_str() {
            None | Some("") => Value::from(otherwise),
            Some(text) => text.into(),
        };
        json!({ "group": or("group", &remote.group), "version": or("version", &remote.version), "kind": entry["kind"] })
    };
    for entry in list["resources"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        let Some((parent, subresource)) = name.split_once('/') else {
            let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
            let mut resource = json!({
                "resource": name, "responseKind": kind(entry), "scope": scope,
                "singularResource": entry["singularName"], "verbs": entry["verbs"],
            });
            for field in ["shortNames", "categories"] {
                if entry[field].is_array() {
                    resource[field] = entry[field].clone();
                }
            }
            resources.push(resource);
            continue;
        };
        let below = json!({ "subresource": subresource, "responseKind": kind(entry), "verbs": entry["verbs"] });
        if let Some(resource) = resources.iter_mut().find(|resource| resource["resource"] == parent) {
            match resource["subresources"].as_array_mut() {
                Some(list) => list.push(below),
                None => resource["subresources"] = json!([below]),
            }
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(group: &str, version: &str, priorities: (i64, i64)) -> Remote {
        Remote {
            name: format!("{version}.{group}"),
            group: group.to_owned(),
            version: version.to_owned(),
            place: Err(String::new()),
            available: true,
            group_priority: priorities.0,
            version_priority: priorities.1,
        }
    }

    #[test]
    fn groups_are_merged_by_priority() {
        let local = json!({ "groups": [
            { "name": "apps", "versions": [{ "groupVersion": "apps/v1", "version": "v1" }] },
            { "name": "custom.example", "versions": [{ "groupVersion": "custom.example/v1", "version": "v1" }] },
        ] });
        let remotes = [
            remote("wardle.example", "v1alpha1", (2000, 200)),
            remote("wardle.example", "v1beta1", (2000, 300)),
            remote("custom.example", "v2", (100, 1)),
        ];
        let merged = groups(local, &remotes);
        let told: Vec<String> = merged["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| {
                let versions = group["versions"].as_array().unwrap().iter().map(|v| v["version"].as_str().unwrap());
                format!("{} {}", group["name"].as_str().unwrap(), versions.collect::<Vec<_>>().join(","))
            })
            .collect();
        assert_eq!(told, ["apps v1", "wardle.example v1beta1,v1alpha1", "custom.example v1,v2"]);
        assert_eq!(merged["groups"][1]["preferredVersion"]["version"], "v1beta1");
    }

    #[test]
    fn resources_take_their_subresources() {
        let list = json!({ "resources": [
            { "name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"] },
            { "name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["update"] },
        ] });
        let of = json!({ "group": "g", "version": "v1", "kind": "Flunder" });
        assert_eq!(
            aggregated(&list, &remote("g", "v1", (1, 1))),
            [json!({
                "resource": "flunders", "singularResource": "flunder", "scope": "Namespaced", "verbs": ["get"],
                "responseKind": of,
                "subresources": [{ "subresource": "status", "responseKind": of, "verbs": ["update"] }],
            })]
        );
    }
}
