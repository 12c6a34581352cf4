//! Node: a machine that runs Pods.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::subresources::{Gvk, PROXY, status};
use super::{cells, fill, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};
use crate::validation::{Cursor, TAINT_EFFECTS, addresses, check, names, quantity};

const GVK: Gvk = ("", "v1", "Node");

/// The longest name of a feature that a node declares.
const FEATURE_NAME_BYTES: usize = 253;

/// `nodes`
pub static NODE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[Subresource { name: "proxy", gvk: ("", "v1", "NodeProxyOptions"), verbs: PROXY }, status(GVK)],
    schema: "io.k8s.api.core.v1.Node",
    storage: "nodes",
    columns: &[
        cells::NAME,
        cells::text("Status"),
        cells::text("Roles"),
        cells::AGE,
        cells::text("Version"),
        cells::wide("Internal-IP"),
        cells::wide("External-IP"),
        cells::wide("OS-Image"),
        cells::wide("Kernel-Version"),
        cells::wide("Container-Runtime"),
    ],
    rules: &NodeRules,
};

struct NodeRules;

impl Rules for NodeRules {
    fn default(&self, object: &mut Value) {
        if let Some(capacity) = read::map(object, "/status/capacity").filter(|capacity| !capacity.is_empty()).cloned() {
            fill::at(object, "/status", |status| fill::absent(status, "allocatable", capacity));
        }
    }

    // A kubelet registers its node with its status: a create keeps it.

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |node| {
            taints(node);
            for amounts in ["capacity", "allocatable"].map(|field| node.get("status").get(field)) {
                for (_, amount) in amounts.fields() {
                    not_negative(&amount);
                }
            }
            declared_features(&node.get("status").get("declaredFeatures"));
            pod_networks(&node.get("spec").get("podCIDRs"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |node| {
            for (field, value) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
                let (new, old) = (node.get("spec").get(field), &old["spec"][field]);
                if !fill::is_zero(old) && new.value() != old {
                    new.forbidden(format!("node updates may not change {value} except from \"\" to valid"));
                }
            }
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        let mut faults = self.validate(new);
        faults.extend(check(new, |node| {
            let mut taken = Vec::new();
            for address in node.get("status").get("addresses").items() {
                if taken.contains(&address.value()) {
                    address.duplicate();
                }
                taken.push(address.value());
            }
        }));
        faults
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", read::flag(object, "/spec/unschedulable").to_string())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        if object["spec"]["configSource"].is_object() {
            warnings.push("spec.configSource: the feature is removed".to_owned());
        }
        if !read::text(object, "/spec/externalID").is_empty() {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        let path = Path::new("spec").child("podCIDRs");
        let cidrs = read::texts(object, "/spec/podCIDRs").into_iter().enumerate();
        warnings.extend(cidrs.flat_map(|(index, cidr)| addresses::cidr_warnings(&path.index(index), cidr)));
        warnings
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field: &str| read::text(object, &format!("/status/nodeInfo/{field}"));
        let info_or_unknown = |field: &str| Value::from(read::or(info(field), "<unknown>"));
        vec![
            cells::name(object),
            status_words(object).into(),
            cells::or_none(&roles(object)),
            cells::age(object, now),
            info("kubeletVersion").into(),
            address(object, "InternalIP"),
            address(object, "ExternalIP"),
            info_or_unknown("osImage"),
            info_or_unknown("kernelVersion"),
            info_or_unknown("containerRuntimeVersion"),
        ]
    }
}

fn status_words(node: &Value) -> String {
    let ready = match read::find(node, "/status/conditions", "type", "Ready") {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if read::flag(node, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn roles(node: &Value) -> String {
    let labels = read::map(node, "/metadata/labels").into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn address(node: &Value, kind: &str) -> Value {
    let found = read::find(node, "/status/addresses", "type", kind);
    cells::or_none(found.map(|address| read::text(address, "/address")).unwrap_or_default())
}

fn taints(node: &Cursor<'_>) {
    let mut taken = Vec::new();
    for taint in node.get("spec").get("taints").items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        key.follows(names::qualified);
        let faults = names::label_value(value.text());
        if !faults.is_empty() {
            value.invalid(faults.join(";"));
        }
        effect.must_be_one_of(TAINT_EFFECTS);
        if taken.contains(&(key.text(), effect.text())) {
            taint.duplicate_because("taints must be unique by key and effect pair");
        }
        taken.push((key.text(), effect.text()));
    }
}

fn not_negative(amount: &Cursor<'_>) {
    match quantity(amount) {
        None => amount.invalid("must be a valid resource quantity"),
        Some(quantity) if quantity.is_negative() => {
            amount.invalid_as(quantity.to_string(), "must be greater than or equal to 0");
        }
        Some(_) => {}
    }
}

/// Sorted, so that a look at it is cheap, and each once.
fn declared_features(features: &Cursor<'_>) {
    let mut before = None;
    for feature in features.items() {
        feature.follows(feature_name);
        match before.replace(feature.text()).map(|before| before.cmp(feature.text())) {
            Some(Ordering::Equal) => feature.duplicate(),
            Some(Ordering::Greater) => feature.invalid("list must be sorted alphabetically"),
            Some(Ordering::Less) | None => {}
        }
    }
}

/// `MyFeature` or `MyFeature/mySubFeature`.
fn feature_name(name: &str) -> Vec<String> {
    let is_segment = |segment: &str| {
        segment.starts_with(|first: char| first.is_ascii_alphabetic())
            && segment.chars().all(|character| character.is_ascii_alphanumeric())
    };
    let fault = if name.len() > FEATURE_NAME_BYTES {
        format!("must be no more than {FEATURE_NAME_BYTES} characters")
    } else if name.starts_with(|first: char| first.is_ascii_uppercase()) && name.split('/').all(is_segment) {
        return Vec::new();
    } else {
        "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or \
         MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            .to_owned()
    };
    vec![format!("invalid feature name {name:?}: {fault}")]
}

fn pod_networks(networks: &Cursor<'_>) {
    let mut families = Vec::new();
    for network in networks.items() {
        network.follows(addresses::cidr);
        families.push(network.text().contains(':'));
    }
    if families.len() > 2 || families.len() == 2 && families[0] == families[1] {
        networks.invalid("may specify no more than one CIDR for each IP family");
    }
}

#[cfg(test)]
mod tests {
    use super::NODE;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn taints_and_networks() {
        check(&NODE, "{spec: {taints: [{key: a, effect: NoSchedule}], podCIDRs: [10.42.0.0/24]}}", &[]);
        check(
            &NODE,
            "{spec: {taints: [{key: a, effect: Explode}], podCIDRs: [10.42.0.0/24, 10.43.0.0/24]}}",
            &[
                "spec.taints[0].effect: Unsupported value: \"Explode\": supported values: \"NoSchedule\", \
                 \"PreferNoSchedule\", \"NoExecute\"",
                "spec.podCIDRs: Invalid value: [\"10.42.0.0/24\",\"10.43.0.0/24\"]: may specify no more than one CIDR \
                 for each IP family",
            ],
        );
        check_update(
            &NODE,
            "{spec: {podCIDRs: [10.42.0.0/24]}}",
            "{spec: {podCIDRs: [10.42.1.0/24]}}",
            &["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"],
        );
    }

    #[test]
    fn declared_features() {
        let says = |features: &str, want: &[&str]| {
            let node = format!("{{status: {{declaredFeatures: [{features}]}}}}");
            check(&NODE, &node, want);
        };
        says("", &[]);
        says("Another, My, My/Sub, My/sub2/X", &[]);
        says("My, My", &["status.declaredFeatures[1]: Duplicate value: \"My\""]);
        says(
            "My, Another",
            &["status.declaredFeatures[1]: Invalid value: \"Another\": list must be sorted alphabetically"],
        );
        for name in ["my", "My-name", "My/", "My//x", "/My", "My/1", "My name", "Mÿ"] {
            says(
                name,
                &[&format!(
                    "status.declaredFeatures[0]: Invalid value: \"{name}\": invalid feature name \"{name}\": must start with \
                 an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or \
                 MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
                )],
            );
        }
        says(&format!("F{}", "e".repeat(252)), &[]);
        let long = format!("F{}", "e".repeat(253));
        says(
            &long,
            &[&format!(
                "status.declaredFeatures[0]: Invalid value: \"{long}\": invalid feature name \"{long}\": must be no more \
             than 253 characters"
            )],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &NODE,
            "{metadata: {name: a, labels: {node-role.kubernetes.io/control-plane: ''}}, spec: {unschedulable: true}, \
             status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, address: 10.0.0.1}], \
             nodeInfo: {kubeletVersion: v1.37.0, osImage: Debian, kernelVersion: '6.18'}}}",
            "a | Ready,SchedulingDisabled | control-plane | <unknown> | v1.37.0 | 10.0.0.1 | <none> | Debian | 6.18 | \
             <unknown>",
        );
        check_row(
            &NODE,
            "{metadata: {name: a}, status: {conditions: [{type: Ready, status: Unknown}]}}",
            "a | NotReady | <none> | <unknown> |  | <none> | <none> | <unknown> | <unknown> | <unknown>",
        );
    }
}
