//! A Pod as the rules look at it, and the words in which they speak of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Violation;

/// A Pod or a Pod template.
pub(super) struct Subject<'a> {
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
    containers: Vec<&'a Value>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(metadata: &'a Value, spec: &'a Value) -> Self {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let containers = lists.iter().flat_map(|list| items(&spec[*list])).collect();
        Self { metadata, spec, containers }
    }

    /// Init containers, containers, ephemeral containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> {
        self.containers.iter().copied()
    }

    /// The names of the containers that `bad` holds of.
    pub(super) fn containers_where(&self, bad: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| bad(container)).map(name).collect()
    }

    /// Who of the Pod (`pod`) and its containers has a security context that `bad` holds of:
    /// `pod and containers "a", "b"`; empty if nobody.
    pub(super) fn setters(&self, bad: impl Fn(&Value) -> bool) -> String {
        let own = bad(&self.spec["securityContext"]).then(|| "pod".to_owned());
        let named = self.containers_where(|container| bad(&container["securityContext"]));
        let others = (!named.is_empty()).then(|| containers(&named));
        own.into_iter().chain(others).collect::<Vec<_>>().join(" and ")
    }

    /// All security contexts, the Pod's own first.
    pub(super) fn contexts(&self) -> impl Iterator<Item = &'a Value> {
        let own = &self.spec["securityContext"];
        std::iter::once(own).chain(self.containers().map(|container| &container["securityContext"]))
    }

    /// Whether it runs on Windows, where much of this means nothing.
    pub(super) fn is_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Whether it has users of its own, so that its root is nobody outside.
    pub(super) fn has_own_users(&self) -> bool {
        self.spec["hostUsers"] == false
    }
}

/// The items of a list; none if it is missing.
pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The `name` of an object.
pub(super) fn name(object: &Value) -> &str {
    object["name"].as_str().unwrap_or_default()
}

/// The texts that `pick` finds, sorted, each once.
pub(super) fn distinct<'a>(texts: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    texts.filter_map(Value::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `"a", "b"`
pub(super) fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    texts.iter().map(|text| format!("\"{}\"", text.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `singular` or `plural`, by how many there are.
pub(super) fn plural<T>(many: &[T], singular: &'static str, plural: &'static str) -> &'static str {
    if many.len() == 1 { singular } else { plural }
}

/// `container "a"`, `containers "a", "b"`
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names, "container", "containers"), quoted(names))
}

/// A violation for `reason`, if there is anything to say.
pub(super) fn violation(reason: &str, detail: Option<String>) -> Option<Violation> {
    detail.map(|detail| Violation { reason: reason.to_owned(), detail })
}

/// `make`'s words about these names, if there are any.
pub(super) fn if_any<T>(names: Vec<T>, make: impl FnOnce(&[T]) -> String) -> Option<String> {
    (!names.is_empty()).then(|| make(&names))
}
