//! Labels of nodes that clients still ask for and that have newer names.

use serde_json::Value;

use super::read;
use crate::field::Path;

const OLD: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// What is to be said of a label, if it is an old one.
pub(super) fn message(label: &str) -> Option<&'static str> {
    OLD.iter().find(|(old, _)| *old == label).map(|(_, message)| *message)
}

/// The warnings about the keys of a map of labels; `name` says how one of them is named in a warning.
pub(super) fn of_map(map: Option<&serde_json::Map<String, Value>>, name: impl Fn(&str) -> String) -> Vec<String> {
    let keys = map.into_iter().flatten().map(|(key, _)| key);
    keys.filter_map(|key| Some(format!("{}: {}", name(key), message(key)?))).collect()
}

/// The warnings about the `matchExpressions` of a selector at `path`.
pub(super) fn of_expressions(selector: &Value, path: &Path) -> Vec<String> {
    let expressions = read::list(selector, "/matchExpressions").iter().enumerate();
    let warning = |(index, expression): (usize, &Value)| {
        let key = read::text(expression, "/key");
        Some(format!("{}: {key} is {}", path.child("matchExpressions").index(index).child("key"), message(key)?))
    };
    expressions.filter_map(warning).collect()
}
