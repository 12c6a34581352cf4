//! IPAddress: an address of the cluster that is taken, and by whom.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{check, names};

/// `ipaddresses.networking.k8s.io`
pub static IP_ADDRESS: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Ip,
    subresources: &[],
    schema: "io.k8s.api.networking.v1.IPAddress",
    storage: "ipaddresses",
    columns: &[cells::NAME, cells::text("ParentRef")],
    rules: &IpAddressRules,
};

struct IpAddressRules;

impl Rules for IpAddressRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |address| {
            let parent = address.get("spec").get("parentRef");
            if !parent.is_set() {
                parent.required("");
                return;
            }
            parent.get("group").may_follow(names::subdomain);
            parent.get("resource").must_follow(names::path_segment);
            parent.get("name").must_follow(names::path_segment);
            parent.get("namespace").may_follow(names::path_segment);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |address| address.get("spec").get("parentRef").immutable(&old["spec"]["parentRef"]))
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let part = |name: &str| read::text(object, &format!("/spec/parentRef/{name}"));
        let parent = match (part("resource"), part("group")) {
            ("", _) => String::new(),
            (resource, "") => resource.to_lowercase(),
            (resource, group) => format!("{resource}.{group}").to_lowercase(),
        };
        let names = [parent.as_str(), part("namespace"), part("name")];
        let text = names.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        vec![cells::name(object), cells::or_none(&text)]
    }
}

#[cfg(test)]
mod tests {
    use super::IP_ADDRESS;
    use crate::kinds::testing::{check, check_metadata, check_row, check_update};

    const PARENT: &str = "{group: '', resource: services, namespace: default, name: kubernetes}";

    #[test]
    fn the_name_is_the_address() {
        check_metadata(&IP_ADDRESS, "{metadata: {name: 10.0.0.1}}", &[]);
        check_metadata(&IP_ADDRESS, "{metadata: {name: '2001:db8::1'}}", &[]);
        check_metadata(
            &IP_ADDRESS,
            "{metadata: {name: '2001:DB8::1'}}",
            &["metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")"],
        );
        check_metadata(
            &IP_ADDRESS,
            "{metadata: {name: a}}",
            &["metadata.name: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
        );
    }

    #[test]
    fn someone_has_it_and_keeps_it() {
        check(&IP_ADDRESS, "{spec: {}}", &["spec.parentRef: Required value"]);
        check(
            &IP_ADDRESS,
            "{spec: {parentRef: {name: a/b}}}",
            &[
                "spec.parentRef.resource: Required value",
                "spec.parentRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        );
        check_update(
            &IP_ADDRESS,
            &format!("{{spec: {{parentRef: {PARENT}}}}}"),
            "{spec: {parentRef: {resource: services, name: b}}}",
            &["spec.parentRef: Invalid value: {\"name\":\"b\",\"resource\":\"services\"}: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &IP_ADDRESS,
            &format!("{{metadata: {{name: 10.0.0.1}}, spec: {{parentRef: {PARENT}}}}}"),
            "10.0.0.1 | services/default/kubernetes",
        );
    }
}
