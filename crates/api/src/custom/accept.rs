//! What becomes of a definition: its names are accepted unless another one has them, then it is established.
//!
//! ```text
//! created --names free--> NamesAccepted, Established: served --deleted--> Terminating --instances gone--> removed
//!    +----- names taken --> NamesAccepted=False, tried again when others change
//! ```

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Value, json};

/// The finalizer that holds a definition back until its instances are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The annotation that says who has approved an API in a group of the project's own.
pub(crate) const APPROVAL: &str = "api-approved.kubernetes.io";
const PROPOSAL: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// The status of a definition beside the others; `now` as objects carry times. The one it has if nothing changes.
pub fn status(definition: &Value, others: &[Value], now: &str) -> Value {
    let mut status = definition["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let (names, accepted) = names(definition, &taken(definition, others));
    status["acceptedNames"] = names;
    let is_accepted = accepted["status"] == "True";
    set_condition(&mut status, accepted, now);
    if !condition_is_true(&status, "Established") {
        let established = if is_accepted {
            condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
        } else {
            condition("Established", "False", "NotAccepted", "not all names are accepted")
        };
        set_condition(&mut status, established, now);
    }
    if let Some(approval) = approval(definition) {
        set_condition(&mut status, approval, now);
    }
    status
}

/// Marks a definition that is about to be deleted, and holds it back.
pub fn begin_delete(definition: &mut Value, now: &str) {
    let finalizers = &mut definition["metadata"]["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    if let Some(list) = finalizers.as_array_mut().filter(|list| !list.iter().any(|name| name == FINALIZER)) {
        list.push(FINALIZER.into());
    }
    let text = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(&mut definition["status"], condition("Terminating", "True", "InstanceDeletionPending", text), now);
}

/// Says that the instances of a definition are being deleted.
pub fn deleting_instances(definition: &mut Value, now: &str) {
    let text = "CustomResource deletion is in progress";
    set_condition(&mut definition["status"], condition("Terminating", "True", "InstanceDeletionInProgress", text), now);
}

/// Says that a definition has no instances any more, and lets it go.
pub fn release(definition: &mut Value, now: &str) {
    if let Some(list) = definition["metadata"]["finalizers"].as_array_mut() {
        list.retain(|name| name != FINALIZER);
    }
    let done = condition("Terminating", "False", "InstanceDeletionCompleted", "removed all instances");
    set_condition(&mut definition["status"], done, now);
}

/// Whether a definition's condition is `True`.
pub fn is_true(definition: &Value, kind: &str) -> bool {
    condition_is_true(&definition["status"], kind)
}

/// The order in which clients should prefer versions: v2, v1, v1beta2, v1alpha1, then all others by name.
pub fn by_preference(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major and minor number of a version of the usual form.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let numbers = version.strip_prefix('v')?;
    let split = |word: &str| {
        let (major, minor) = numbers.split_once(word)?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    if let Ok(major) = numbers.parse() {
        return Some((2, major, 0));
    }
    let beta = split("beta").map(|(major, minor)| (1, major, minor));
    beta.or_else(|| split("alpha").map(|(major, minor)| (0, major, minor)))
}

/// Resources and kinds that other definitions of the group have.
struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

fn taken(definition: &Value, others: &[Value]) -> Taken {
    let mut taken = Taken { resources: HashSet::new(), kinds: HashSet::new() };
    let of_group = |other: &&Value| other["spec"]["group"] == definition["spec"]["group"];
    for other in others.iter().filter(of_group) {
        let names = &other["status"]["acceptedNames"];
        let short = names["shortNames"].as_array().into_iter().flatten();
        let resources = [&names["plural"], &names["singular"]].into_iter().chain(short);
        taken.resources.extend(resources.filter_map(Value::as_str).map(str::to_owned));
        let kinds = [&names["kind"], &names["listKind"]].into_iter();
        taken.kinds.extend(kinds.filter_map(Value::as_str).map(str::to_owned));
    }
    taken
}

/// The names that the definition has now, and the condition that says whether these are the ones it wants.
fn names(definition: &Value, taken: &Taken) -> (Value, Value) {
    let wanted = &definition["spec"]["names"];
    let mut names = definition["status"]["acceptedNames"].clone();
    if !names.is_object() {
        names = json!({});
    }
    let mut refusal: Option<(&str, String)> = None;
    let plain = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ];
    for (field, reason, used) in plain {
        let name = wanted[field].as_str().unwrap_or_default();
        if names[field] != wanted[field] && used.contains(name) {
            refusal = Some((reason, format!("{name:?} is already in use")));
        } else {
            names[field] = wanted[field].clone();
        }
        if field == "singular" {
            match short_names(wanted, &names, taken) {
                Ok(()) => copy(wanted, &mut names, "shortNames"),
                Err(text) => refusal = Some(("ShortNamesConflict", text)),
            }
        }
    }
    copy(wanted, &mut names, "categories");
    let condition = match refusal {
        None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        Some((reason, text)) => condition("NamesAccepted", "False", reason, &text),
    };
    (names, condition)
}

fn short_names(wanted: &Value, names: &Value, taken: &Taken) -> Result<(), String> {
    let own = names["shortNames"].as_array();
    let listed = wanted["shortNames"].as_array().into_iter().flatten();
    let fresh = listed.filter(|name| !own.is_some_and(|own| own.contains(name))).filter_map(Value::as_str);
    let faults: Vec<String> = fresh
        .filter(|name| taken.resources.contains(*name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    match faults.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}

/// Whether a group belongs to the project, so that its APIs need approval.
pub(crate) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// What a protected group's definition without the annotation is told.
pub(crate) fn missing_approval() -> String {
    format!("protected groups must have approval annotation {APPROVAL:?}, see {PROPOSAL}")
}

fn approval(definition: &Value) -> Option<Value> {
    const TYPE: &str = "KubernetesAPIApprovalPolicyConformant";
    if !is_protected(definition["spec"]["group"].as_str().unwrap_or_default()) {
        return None;
    }
    let text = definition["metadata"]["annotations"][APPROVAL].as_str().unwrap_or_default();
    Some(match text {
        "" => condition(TYPE, "False", "MissingAnnotation", &missing_approval()),
        text if text.starts_with("unapproved") => {
            condition(TYPE, "False", "UnapprovedAnnotation", &format!("not approved: {text:?}"))
        }
        text if text.starts_with("https://") || text.starts_with("http://") => {
            condition(TYPE, "True", "ApprovedAnnotation", &format!("approved in {text}"))
        }
        _ => condition(
            TYPE,
            "False",
            "InvalidAnnotation",
            &format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \"unapproved\", see {PROPOSAL}"
            ),
        ),
    })
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message })
}

fn condition_is_true(status: &Value, kind: &str) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Sets a condition. Its time is that of its last change of status.
fn set_condition(status: &mut Value, mut condition: Value, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let there = conditions.iter_mut().find(|there| there["type"] == condition["type"]);
    condition["lastTransitionTime"] = now.into();
    match there {
        Some(there) => {
            if there["status"] == condition["status"] {
                condition["lastTransitionTime"] = there["lastTransitionTime"].clone();
            }
            *there = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({ "spec": { "group": "example.com", "names": {
            "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            "shortNames": short,
        } } })
    }

    #[test]
    fn free_names_are_accepted_and_the_definition_is_established() {
        let foo = definition("foos", "Foo", &["f"]);
        let status = status(&foo, &[], NOW);
        assert_eq!(status["acceptedNames"], foo["spec"]["names"]);
        assert!(condition_is_true(&status, "NamesAccepted") && condition_is_true(&status, "Established"));
        let established = json!({ "spec": foo["spec"], "status": status });
        assert_eq!(super::status(&established, &[], "2027-01-01T12:00:00Z"), established["status"]);
    }

    #[test]
    fn taken_names_are_not() {
        let mut foo = definition("foos", "Foo", &["f"]);
        foo["status"] = status(&foo, &[], NOW);
        let bar = definition("bars", "Foo", &["f"]);
        let status = status(&bar, &[foo], NOW);
        let condition = &status["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&"False".into(), &"ListKindConflict".into()));
        assert_eq!(condition["message"], "\"FooList\" is already in use");
        assert!(!condition_is_true(&status, "Established"));
        assert_eq!(status["acceptedNames"]["plural"], "bars");
        assert_eq!(status["acceptedNames"].get("shortNames"), None);
    }

    #[test]
    fn versions_are_preferred_by_stability_then_number() {
        let mut versions = ["foo1", "v1alpha1", "v10", "v1beta2", "v2", "v1beta10", "foo10", "v1"];
        versions.sort_by(|a, b| by_preference(a, b));
        assert_eq!(versions, ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo1", "foo10"]);
    }
}
