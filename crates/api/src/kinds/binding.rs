//! Binding: puts a Pod on a node.

use serde_json::Value;

use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `bindings`, create only. Also the kind of `pods/{name}/binding`.
pub static BINDING: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::CreateOnly,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.core.v1.Binding",
    storage: "bindings",
    columns: &[],
    rules: &BindingRules,
};

struct BindingRules;

impl Rules for BindingRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |binding| {
            let (kind, name) = (binding.get("target").get("kind"), binding.get("target").get("name"));
            if !matches!(kind.text(), "" | "Node") {
                kind.not_supported(&["Node", "<empty>"]);
            }
            name.must();
        })
    }
}
