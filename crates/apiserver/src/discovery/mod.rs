//! Discovery: which groups, versions and resources there are; plain, one document each, or aggregated.
//!
//! Everything follows from the kinds that are served: it is made when someone asks, and kept until those are others.

mod aggregated;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sampan_api::kind::{Kind, KindRef, Scope, Verbs};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use self::aggregated::{Aggregated, tag, wanted as aggregated_wanted};
use crate::aggregator::priorities;
use crate::catalog::{Catalog, Derived};

/// The verbs of a stored kind, as discovery lists them.
const STORED: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const ONE_BY_ONE: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

/// The discovery documents of a server.
pub(crate) struct Discovery {
    address: String,
    documents: Derived<Documents>,
}

impl Discovery {
    /// Documents that name `address`, for clients that ask for it in `/api`.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address: address.to_string(), documents: Derived::default() }
    }

    /// The documents of what is served now.
    pub(crate) fn documents(&self, catalog: &Catalog) -> Arc<Documents> {
        self.documents.of(&catalog.served(), |served| Documents::new(&served.kinds, &self.address))
    }
}

/// The discovery documents, by path.
pub(crate) struct Documents {
    plain: BTreeMap<String, Value>,
    aggregated: Aggregated,
}

impl Documents {
    /// Makes all documents. `address` is the server's, for clients that ask for it in `/api`.
    fn new(kinds: &[KindRef], address: &str) -> Self {
        let mut plain = BTreeMap::new();
        plain.insert("/api".to_owned(), api_versions(address));
        let mut groups = Vec::new();
        for (group, versions) in group_versions(kinds) {
            for version in &versions {
                let path =
                    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
                plain.insert(path, resource_list(kinds, group, version));
            }
            if !group.is_empty() {
                let document = api_group(group, &versions);
                plain.insert(format!("/apis/{group}"), document.clone());
                groups.push(document);
            }
        }
        for document in plain.iter_mut().filter(|(path, _)| path.split('/').count() == 3 && path.starts_with("/apis/"))
        {
            document.1["kind"] = "APIGroup".into();
            document.1["apiVersion"] = "v1".into();
        }
        plain.insert("/apis".to_owned(), json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }));
        Self { plain, aggregated: Aggregated::new(kinds) }
    }

    /// The document of a path without a trailing slash.
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        self.plain.get(path)
    }

    /// The aggregated documents.
    pub(crate) fn aggregated(&self) -> &Aggregated {
        &self.aggregated
    }

    /// All paths that lead somewhere, for `GET /`.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.plain.keys().map(String::as_str)
    }
}

/// The groups in the order in which clients should prefer them, each with its versions.
fn group_versions(kinds: &[KindRef]) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let subresources = kinds.iter().map(|kind| (kind.group, kind.version));
    for (group, version) in subresources {
        match groups.iter_mut().find(|(g, _)| *g == group) {
            Some((_, versions)) if versions.contains(&version) => {}
            Some((_, versions)) => versions.push(version),
            None => groups.push((group, vec![version])),
        }
    }
    groups.sort_by_key(|(group, versions)| Reverse(priorities::of(group, versions[0]).0));
    for (group, versions) in &mut groups {
        versions.sort_by_key(|version| Reverse(priorities::of(group, version).1));
    }
    groups
}

fn api_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|v| json!({ "groupVersion": format!("{group}/{v}"), "version": v })).collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions.first() })
}

fn resource_list(kinds: &[KindRef], group: &str, version: &str) -> Value {
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut resources = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.group == group && kind.version == version) {
        resources.push(resource(kind, kinds));
        resources.extend(kind.subresources.iter().map(|sub| {
            let mut entry = json!({
                "name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
                "namespaced": kind.scope == Scope::Namespaced, "kind": sub.gvk.2, "verbs": sub.verbs,
            });
            if (sub.gvk.0, sub.gvk.1) != (kind.group, kind.version) {
                entry["group"] = sub.gvk.0.into();
                entry["version"] = sub.gvk.1.into();
            }
            entry
        }));
    }
    resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources })
}

fn resource(kind: &KindRef, kinds: &[KindRef]) -> Value {
    let mut entry = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.scope == Scope::Namespaced,
        "kind": kind.kind, "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    let is_stored_form =
        |other: &&KindRef| other.storage == kind.storage && other.custom().is_none_or(|custom| custom.is_stored);
    if let Some(stored) = kinds.iter().find(is_stored_form).filter(|_| kind.verbs.are_of_stored()) {
        entry["storageVersionHash"] = storage_version_hash(stored).into();
    }
    entry
}

/// By which clients see that the form in which objects are stored has changed: upstream's hash of its name.
fn storage_version_hash(stored: &Kind) -> String {
    let digest = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, stored.kind));
    BASE64_STANDARD.encode(&digest[..8])
}

fn verbs(kind: &Kind) -> &'static [&'static str] {
    match kind.verbs {
        Verbs::All => &STORED,
        Verbs::OneByOne => &ONE_BY_ONE,
        Verbs::CreateOnly => &["create"],
        Verbs::ReadOnly => &["get", "list"],
    }
}
