//! APIService: who serves a version of a group: this server itself, or another one behind a Service.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names};

const GVK: Gvk = ("apiregistration.k8s.io", "v1", "APIService");

/// `apiservices.apiregistration.k8s.io`
pub static API_SERVICE: Kind = Kind {
    group: "apiregistration.k8s.io",
    version: "v1",
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[status(GVK)],
    schema: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    storage: "apiservices",
    columns: &[cells::NAME, cells::text("Service"), cells::text("Available"), cells::AGE],
    rules: &ApiServiceRules,
};

struct ApiServiceRules;

impl Rules for ApiServiceRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec/service", |service| fill::absent(service, "port", 443));
    }

    /// What this server serves itself is there at once.
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
        if object["spec"]["service"].is_null() {
            object["status"]["conditions"] = json!([{
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
                "lastTransitionTime": object["metadata"]["creationTimestamp"],
            }]);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |service| {
            name(service);
            spec(&service.get("spec"));
        })
    }

    fn validate_status(&self, new: &Value, _: &Value) -> Vec<field::Error> {
        check(new, |service| {
            for condition in service.get("status").get("conditions").items() {
                condition.get("status").must_be_one_of(&["False", "True", "Unknown"]);
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let service = &object["spec"]["service"];
        let place = match service {
            Value::Null => "Local".to_owned(),
            _ => format!("{}/{}", read::text(service, "/namespace"), read::text(service, "/name")),
        };
        vec![cells::name(object), place.into(), availability(object).into(), cells::age(object, now)]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

fn availability(object: &Value) -> String {
    let Some(condition) = read::find(object, "/status/conditions", "type", "Available") else {
        return "Unknown".to_owned();
    };
    match (read::text(condition, "/status"), read::text(condition, "/reason")) {
        (status @ "True", _) | (status, "") => status.to_owned(),
        (status, reason) => format!("{status} ({reason})"),
    }
}

fn name(service: &Cursor<'_>) {
    let (spec, name) = (service.get("spec"), service.get("metadata").get("name"));
    let wanted = format!("{}.{}", spec.get("version").text(), spec.get("group").text());
    if name.text() != wanted {
        name.invalid(format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"));
    }
}

fn spec(spec: &Cursor<'_>) {
    let (group, version) = (spec.get("group"), spec.get("version"));
    if group.is_empty() && version.text() != "v1" {
        group.required("only v1 may have an empty group and it better be legacy kube");
    }
    group.may_follow(names::subdomain);
    version.follows(names::label_1035);
    priority(&spec.get("groupPriorityMinimum"), 20_000);
    priority(&spec.get("versionPriority"), 1000);
    let (service, bundle, insecure) = (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if !service.is_set() {
        if !bundle.is_empty() {
            let bytes = bundle.text().trim_end_matches('=').len() * 3 / 4;
            bundle.invalid_as(format!("{bytes} bytes"), "local APIServices may not have a caBundle");
        }
        if insecure.is_true() {
            insecure.invalid("local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    service.get("namespace").must();
    service.get("name").must();
    if insecure.is_true() && !bundle.is_empty() {
        insecure.invalid("may not be true if caBundle is present");
    }
}

fn priority(priority: &Cursor<'_>, most: i64) {
    let number = priority.int().unwrap_or_default();
    if !(1..=most).contains(&number) {
        priority.invalid_as(number, format!("must be positive and less than {most}"));
    }
}

#[cfg(test)]
mod tests {
    use super::API_SERVICE as KIND;
    use crate::kinds::testing::{check, check_defaults, check_row};

    #[test]
    fn names_and_priorities() {
        let good = "group: g.example, version: v1, groupPriorityMinimum: 1, versionPriority: 1";
        check(&KIND, &format!("{{metadata: {{name: v1.g.example}}, spec: {{{good}}}}}"), &[]);
        check(
            &KIND,
            &format!("{{metadata: {{name: v2.g.example}}, spec: {{{good}, insecureSkipTLSVerify: true}}}}"),
            &[
                "metadata.name: Invalid value: \"v2.g.example\": must be `spec.version+\".\"+spec.group`: \"v1.g.example\"",
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ],
        );
        check(
            &KIND,
            "{metadata: {name: v2.}, spec: {version: v2, groupPriorityMinimum: 20001}}",
            &[
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            ],
        );
    }

    #[test]
    fn defaults_and_rows() {
        check_defaults(&KIND, "{spec: {service: {name: s}}}", "{spec: {service: {name: s, port: 443}}}");
        check_row(&KIND, "{metadata: {name: v1.}, spec: {}}", "v1. | Local | Unknown | <unknown>");
        check_row(
            &KIND,
            "{metadata: {name: v1.g}, spec: {service: {namespace: n, name: s}}, \
              status: {conditions: [{type: Available, status: 'False', reason: ServiceNotFound}]}}",
            "v1.g | n/s | False (ServiceNotFound) | <unknown>",
        );
    }
}
