//! What may change in a Job: how many Pods at once, whether it goes on at all; and where they may run, before it has
//! begun.

use serde_json::Value;

use crate::field::Error;
use crate::kinds::{fill, read};
use crate::validation::{Cursor, check, same};

const IMMUTABLE: &[&str] =
    &["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];

/// The faults of a change.
pub(super) fn faults(new: &Value, old: &Value) -> Vec<Error> {
    check(new, |job| {
        let (spec, old_spec) = (job.get("spec"), &old["spec"]);
        completions(&spec, old_spec);
        spec.get("selector").immutable(&old_spec["selector"]);
        let never_began = read::flag(old, "/spec/suspend") && old["status"]["startTime"].is_null();
        let template = spec.get("template");
        if never_began {
            template.immutable(&with_directives(&old_spec["template"], template.value()));
        } else {
            template.immutable(&old_spec["template"]);
        }
        IMMUTABLE.iter().for_each(|field| spec.get(field).immutable(&old_spec[*field]));
    })
}

/// An Indexed Job can grow and shrink, with as many Pods at once as completions.
fn completions(spec: &Cursor<'_>, old: &Value) {
    let completions = spec.get("completions");
    if spec.get("completionMode").text() != "Indexed" {
        completions.immutable(&old["completions"]);
    } else if completions.is_set()
        && !same(completions.value(), &old["completions"])
        && completions.value() != spec.get("parallelism").value()
    {
        completions.invalid("can only be modified in tandem with spec.parallelism");
    }
}

/// The template with the scheduling directives of `new`.
fn with_directives(template: &Value, new: &Value) -> Value {
    let mut template = template.clone();
    for (pointer, fields) in [
        ("/spec", &["nodeSelector", "tolerations", "schedulingGates"][..]),
        ("/metadata", &["annotations", "labels"][..]),
    ] {
        let from = new.pointer(pointer).unwrap_or(&Value::Null);
        fill::at(&mut template, pointer, |place| fields.iter().for_each(|field| fill::keep(place, from, field)));
    }
    let affinity = &new["spec"]["affinity"];
    if template["spec"].is_object() && (affinity.is_object() || template["spec"]["affinity"].is_object()) {
        template["spec"]["affinity"]["nodeAffinity"] = affinity["nodeAffinity"].clone();
    }
    template
}
