//! Sets of fields, as `managedFields[].fieldsV1` writes them.
//!
//! A set is a tree. Its edges are path elements in their written form: `f:image` a field or map key, `k:{"name":"a"}` an
//! item of a keyed list, `v:"x"` an item of a set; a node may itself belong to the set (`.`), its children may, or both.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

/// A path: elements in their written form, outermost first.
pub(super) type Path = Vec<String>;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// Whether the place of this node belongs to the set.
    member: bool,
    children: BTreeMap<String, Set>,
}

impl Set {
    /// Reads `fieldsV1`; `None` when it is not in the form.
    pub(super) fn decode(fields: &Value) -> Option<Self> {
        let fields = fields.as_object()?;
        let mut set = Self::default();
        for (element, below) in fields.iter().filter(|(element, _)| *element != ".") {
            let mut child = Self::decode(below)?;
            child.member = below.as_object().is_some_and(|below| below.is_empty() || below.contains_key("."));
            set.children.insert(canonical(element)?, child);
        }
        Some(set)
    }

    /// Writes `fieldsV1`.
    pub(super) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for (element, child) in &self.children {
            let Value::Object(mut below) = child.encode() else { continue };
            if child.member && !below.is_empty() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(element.clone(), Value::Object(below));
        }
        Value::Object(fields)
    }

    /// The set of these paths.
    pub(super) fn of(paths: impl IntoIterator<Item = Path>) -> Self {
        let mut set = Self::default();
        paths.into_iter().for_each(|path| set.insert(&path));
        set
    }

    /// Adds a path.
    pub(super) fn insert(&mut self, path: &[String]) {
        let mut node = self;
        for element in path {
            node = node.children.entry(element.clone()).or_default();
        }
        node.member = true;
    }

    /// Whether nothing belongs to it.
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// Whether the place of this node belongs to the set.
    pub(super) fn is_member(&self) -> bool {
        self.member
    }

    /// What belongs to it below an element.
    pub(super) fn below(&self, element: &str) -> Option<&Self> {
        self.children.get(element)
    }

    /// All that belongs to either.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.member |= other.member;
        for (element, child) in &other.children {
            let own = union.children.entry(element.clone()).or_default();
            *own = own.union(child);
        }
        union
    }

    /// All that belongs to both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let shared = |(element, child): (&String, &Self)| {
            let child = child.intersection(other.children.get(element)?);
            (!child.is_empty()).then(|| (element.clone(), child))
        };
        Self { member: self.member && other.member, children: self.children.iter().filter_map(shared).collect() }
    }

    /// All that belongs to this and not to the other.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.without(other, |own, other| own && !other)
    }

    /// All that belongs to this and neither belongs to the other nor is below something that does.
    pub(super) fn without_trees(&self, other: &Self) -> Self {
        if other.member {
            return Self::default();
        }
        let kept = |(element, child): (&String, &Self)| {
            let child = other.children.get(element).map_or_else(|| child.clone(), |other| child.without_trees(other));
            (!child.is_empty()).then(|| (element.clone(), child))
        };
        Self { member: self.member, children: self.children.iter().filter_map(kept).collect() }
    }

    fn without(&self, other: &Self, belongs: fn(bool, bool) -> bool) -> Self {
        let kept = |(element, child): (&String, &Self)| {
            let child =
                other.children.get(element).map_or_else(|| child.clone(), |other| child.without(other, belongs));
            (!child.is_empty()).then(|| (element.clone(), child))
        };
        Self { member: belongs(self.member, other.member), children: self.children.iter().filter_map(kept).collect() }
    }

    /// The same with every node a member for which `named` says so, given the way to it.
    pub(super) fn map(&self, named: &mut dyn FnMut(&[String]) -> bool) -> Self {
        self.map_at(&mut Vec::new(), named)
    }

    fn map_at(&self, path: &mut Path, named: &mut dyn FnMut(&[String]) -> bool) -> Self {
        let mut result = Self { member: self.member || (!path.is_empty() && named(path)), children: BTreeMap::new() };
        for (element, child) in &self.children {
            path.push(element.clone());
            result.children.insert(element.clone(), child.map_at(path, named));
            path.pop();
        }
        result
    }

    /// Every path that belongs to it.
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    /// The members right below come before what is further down, as upstream tells them.
    fn collect(&self, path: &mut Path, paths: &mut Vec<Path>) {
        for element in self.children.iter().filter(|(_, child)| child.member).map(|(element, _)| element) {
            paths.push(path.iter().chain([element]).cloned().collect());
        }
        for (element, child) in &self.children {
            path.push(element.clone());
            child.collect(path, paths);
            path.pop();
        }
    }
}

/// The element of a field or map key.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The element of a keyed list's item.
pub(super) fn key(keys: Map<String, Value>) -> String {
    format!("k:{}", Value::Object(keys))
}

/// The element of a set's item.
pub(super) fn value(item: &Value) -> String {
    format!("v:{item}")
}

/// An element as we write it, whatever the spacing it came with.
fn canonical(element: &str) -> Option<String> {
    match element.get(..2)? {
        "f:" | "i:" => Some(element.to_owned()),
        prefix @ ("k:" | "v:") => {
            let value: Value = serde_json::from_str(&element[2..]).ok()?;
            Some(format!("{prefix}{value}"))
        }
        _ => None,
    }
}

/// A path as upstream shows it: `.spec.containers[name="web"].image`.
pub(super) fn show(path: &[String]) -> String {
    let mut text = String::new();
    for element in path {
        let (kind, content) = element.split_at(2);
        // Writing to a String does not fail.
        let _ = match kind {
            "f:" => write!(text, ".{content}"),
            "v:" => write!(text, "[={content}]"),
            "k:" => {
                let keys: Map<String, Value> = serde_json::from_str(content).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(text, "[{}]", keys.join(","))
            }
            _ => write!(text, "[{content}]"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Set, show};

    fn set(fields: Value) -> Set {
        Set::decode(&fields).unwrap()
    }

    #[test]
    fn survives_writing_and_reading() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}, "f:set": {"v:\"x\"": {}}}});
        assert_eq!(set(fields.clone()).encode(), fields);
        assert_eq!(set(json!({"k:{ \"b\": 1, \"a\":\"x\" }": {}})).encode(), json!({"k:{\"a\":\"x\",\"b\":1}": {}}));
        for broken in [json!([]), json!({"x": {}}), json!({"k:{": {}}), json!({"f:a": 1}), json!({"é:": {}})] {
            assert_eq!(Set::decode(&broken), None, "{broken}");
        }
    }

    #[test]
    fn algebra() {
        let (a, b) =
            (set(json!({"f:a": {}, "f:b": {"f:c": {}}})), set(json!({"f:b": {".": {}, "f:c": {}}, "f:d": {}})));
        assert_eq!(a.union(&b).encode(), json!({"f:a": {}, "f:b": {".": {}, "f:c": {}}, "f:d": {}}));
        assert_eq!(a.intersection(&b).encode(), json!({"f:b": {"f:c": {}}}));
        assert_eq!(a.difference(&b).encode(), json!({"f:a": {}}));
        assert_eq!(b.difference(&a).encode(), json!({"f:b": {}, "f:d": {}}));
        assert_eq!(a.without_trees(&set(json!({"f:b": {}}))).encode(), json!({"f:a": {}}));
        assert!(a.difference(&a).is_empty());
    }

    #[test]
    fn paths_are_shown_as_upstream_shows_them() {
        let paths = set(json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:name": {}}}, "f:f": {"v:\"x\"": {}}}})).paths();
        let shown: Vec<String> = paths.iter().map(|path| show(path)).collect();
        assert_eq!(shown, [".spec.f[=\"x\"]", ".spec.ports[port=80,protocol=\"TCP\"].name"]);
    }
}
