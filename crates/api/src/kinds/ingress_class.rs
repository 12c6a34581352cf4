//! IngressClass: which controller answers for an Ingress.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, domain_prefixed_path, names};

/// `ingressclasses.networking.k8s.io`
pub static INGRESS_CLASS: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.networking.v1.IngressClass",
    storage: "ingressclasses",
    columns: &[cells::NAME, cells::text("Controller"), cells::text("Parameters"), cells::AGE],
    rules: &IngressClassRules,
};

const MAX_CONTROLLER_BYTES: usize = 250;

struct IngressClassRules;

impl Rules for IngressClassRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec/parameters", |parameters| fill::absent(parameters, "scope", "Cluster"));
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |class| {
            let controller = class.get("spec").get("controller");
            if controller.must() {
                if controller.text().len() > MAX_CONTROLLER_BYTES {
                    controller.too_long(MAX_CONTROLLER_BYTES);
                }
                domain_prefixed_path(&controller);
            }
            let parameters = class.get("spec").get("parameters");
            if parameters.is_set() {
                self::parameters(&parameters);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |class| class.get("spec").get("controller").immutable(&old["spec"]["controller"]))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let parameters = object.pointer("/spec/parameters").map(|parameters| {
            let (kind, name) = (read::text(parameters, "/kind"), read::text(parameters, "/name"));
            match read::text(parameters, "/apiGroup") {
                "" => format!("{kind}/{name}"),
                group => format!("{kind}.{group}/{name}"),
            }
        });
        vec![
            cells::name(object),
            read::text(object, "/spec/controller").into(),
            cells::or_none(&parameters.unwrap_or_default()),
            cells::age(object, now),
        ]
    }
}

fn parameters(parameters: &Cursor<'_>) {
    let group = parameters.get("apiGroup");
    if group.is_set() {
        group.follows(names::subdomain);
    }
    parameters.get("kind").must_follow(names::path_segment);
    parameters.get("name").must_follow(names::path_segment);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    if !scope.is_set() {
        scope.required("");
        return;
    }
    scope.may_be_one_of(&["Cluster", "Namespace"]);
    match (scope.text(), namespace.is_set()) {
        ("Namespace", true) => namespace.follows(names::label),
        ("Namespace", false) => namespace.required("`parameters.scope` is set to 'Namespace'"),
        ("Cluster", true) => namespace.forbidden("`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::INGRESS_CLASS;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn parameters_have_a_scope() {
        check_defaults(
            &INGRESS_CLASS,
            "{spec: {parameters: {kind: A, name: a}}}",
            "{spec: {parameters: {kind: A, name: a, scope: Cluster}}}",
        );
        check(
            &INGRESS_CLASS,
            "{spec: {controller: example.com/a, parameters: {kind: A, name: a, scope: Namespace}}}",
            &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        );
        check(
            &INGRESS_CLASS,
            "{spec: {controller: example.com/a, parameters: {kind: A, namespace: b}}}",
            &[
                "spec.parameters.name: Required value",
                "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
            ],
        );
    }

    #[test]
    fn the_controller_is_a_path_of_a_domain_and_stays() {
        check(&INGRESS_CLASS, "{spec: {}}", &["spec.controller: Required value"]);
        check(
            &INGRESS_CLASS,
            "{spec: {controller: nginx}}",
            &["spec.controller: Invalid value: \"nginx\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
        );
        check_update(
            &INGRESS_CLASS,
            "{spec: {controller: example.com/a}}",
            "{spec: {controller: example.com/b}}",
            &["spec.controller: Invalid value: \"example.com/b\": field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &INGRESS_CLASS,
            "{metadata: {name: a}, spec: {controller: example.com/a, parameters: {apiGroup: b.c, kind: P, name: p}}}",
            "a | example.com/a | P.b.c/p | <unknown>",
        );
        check_row(
            &INGRESS_CLASS,
            "{metadata: {name: a}, spec: {controller: example.com/a}}",
            "a | example.com/a | <none> | <unknown>",
        );
    }
}
