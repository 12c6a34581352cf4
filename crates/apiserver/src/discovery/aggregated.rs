//! Aggregated discovery: everything in one document per root (`apidiscovery.k8s.io` v2 and v2beta1), with an ETag.

use http::HeaderMap;
use sampan_api::kind::{Kind, KindRef, Scope};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{group_versions, verbs};
use crate::forms::{MediaType, accepted};

/// The aggregated documents of `/api` and `/apis`.
pub(crate) struct Aggregated {
    core: Value,
    groups: Value,
}

impl Aggregated {
    pub(super) fn new(kinds: &[KindRef]) -> Self {
        let (core, groups) = group_versions(kinds).into_iter().partition(|(group, _)| group.is_empty());
        Self { core: document(kinds, core), groups: document(kinds, groups) }
    }

    /// The document for `/api` or `/apis` in `version`.
    pub(crate) fn get(&self, path: &str, version: &str) -> Option<Value> {
        let mut document = match path {
            "/api" => self.core.clone(),
            "/apis" => self.groups.clone(),
            _ => return None,
        };
        document["apiVersion"] = format!("apidiscovery.k8s.io/{version}").into();
        Some(document)
    }
}

/// The ETag of a document.
pub(crate) fn tag(document: &Value) -> String {
    format!("\"{}\"", hex::encode_upper(Sha256::digest(document.to_string())))
}

/// The version of the aggregated form that the client wants, if it is what it wants most.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<&'static str> {
    let first = accepted(headers).into_iter().find_map(|t| match (t.name, t.parameter("as")) {
        ("application/json", "") | ("*/*", _) => Some(None),
        ("application/json", "APIGroupDiscoveryList") => version(&t).map(Some),
        _ => None,
    });
    first.flatten()
}

fn version(media_type: &MediaType<'_>) -> Option<&'static str> {
    match (media_type.parameter("g"), media_type.parameter("v")) {
        ("apidiscovery.k8s.io", "v2") => Some("v2"),
        ("apidiscovery.k8s.io", "v2beta1") => Some("v2beta1"),
        _ => None,
    }
}

fn document(kinds: &[KindRef], groups: Vec<(&str, Vec<&str>)>) -> Value {
    let items: Vec<Value> = groups
        .into_iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|version| {
                    let mut of_version: Vec<_> =
                        kinds.iter().filter(|k| k.group == group && k.version == version).collect();
                    of_version.sort_by_key(|kind| kind.plural);
                    let resources: Vec<Value> = of_version.into_iter().map(|kind| resource(kind)).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "metadata": {}, "items": items })
}

fn resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "resource": kind.plural, "singularResource": kind.singular, "scope": scope(kind), "verbs": verbs(kind),
        "responseKind": response_kind((kind.group, kind.version, kind.kind)),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    let subresources = kind
        .subresources
        .iter()
        .map(|sub| json!({ "subresource": sub.name, "responseKind": response_kind(sub.gvk), "verbs": sub.verbs }));
    let subresources: Vec<Value> = subresources.collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

fn scope(kind: &Kind) -> &'static str {
    match kind.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    }
}

fn response_kind((group, version, kind): (&str, &str, &str)) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}
