//! PodTemplate: a Pod as it would be, for controllers outside of Kubernetes.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, pod};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, check};

/// `podtemplates`
pub static POD_TEMPLATE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.core.v1.PodTemplate",
    storage: "podtemplates",
    columns: &[cells::NAME, cells::text("Containers"), cells::text("Images"), cells::text("Pod Labels")],
    rules: &PodTemplateRules,
};

struct PodTemplateRules;

impl Rules for PodTemplateRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/template", pod::default_template);
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| validation::pod_template(&object.get("template")))
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::template_warnings(&object["template"], &Path::new("template"))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let [containers, images] = cells::containers_and_images(&object["template"]);
        vec![cells::name(object), containers, images, cells::labels(object, "/template/metadata/labels")]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::POD_TEMPLATE;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn the_template_is_a_pods() {
        check(&POD_TEMPLATE, "{template: {spec: {containers: [{name: c, image: i}], restartPolicy: Never}}}", &[]);
        check(&POD_TEMPLATE, "{template: {spec: {}}}", &["template.spec.containers: Required value"]);
    }

    #[test]
    fn rows() {
        check_row(
            &POD_TEMPLATE,
            "{metadata: {name: a}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}",
            "a | c | i | a=b",
        );
    }
}
