//! What is wrong with a policy's specification, compile errors of its expressions included.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Compiler, Scope, Wanted, items, of_definition, texts};
use crate::kinds;
use crate::schema;
use crate::validation::{Cursor, names};

/// Most match conditions of one policy or webhook.
const MAX_CONDITIONS: usize = 64;
/// Most kinds that a policy's expressions are held against for warnings.
const MAX_CHECKED_KINDS: usize = 10;
/// Longest message.
const MAX_MESSAGE_CHARS: usize = 5 * 1024;

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

/// The faults of expressions in the specification of a policy of either sort.
pub(crate) fn faults(spec: &Cursor<'_>) {
    let scope =
        Scope { params: spec.get("paramKind").is_set(), authorizer: true, mutates: spec.get("mutations").is_set() };
    conditions(&spec.get("matchConditions"), scope);
    let mut compiler = Compiler::new(scope);
    variables(&spec.get("variables"), &mut compiler);
    for validation in spec.get("validations").items() {
        self::validation(&validation, &compiler);
    }
    audit_annotations(&spec.get("auditAnnotations"), &compiler);
    for mutation in spec.get("mutations").items() {
        self::mutation(&mutation, &compiler);
    }
}

/// The faults of a webhook's match conditions.
pub(crate) fn match_condition_faults(list: &Cursor<'_>) {
    conditions(list, Scope { params: false, authorizer: true, mutates: false });
}

fn conditions(list: &Cursor<'_>, scope: Scope) {
    if list.len() > MAX_CONDITIONS {
        list.too_many(MAX_CONDITIONS);
    }
    let compiler = Compiler::new(scope);
    let mut known = BTreeSet::new();
    for condition in list.items() {
        expression(&condition.get("expression"), &compiler, &Wanted::Bool);
        let name = condition.get("name");
        name.must_follow(names::qualified);
        if !name.is_empty() && !known.insert(name.text()) {
            name.duplicate();
        }
    }
}

/// The expression must be there and compile to what is wanted.
fn expression(place: &Cursor<'_>, compiler: &Compiler, wanted: &Wanted) {
    let source = place.text();
    if source.trim().is_empty() {
        place.required("");
    } else if let Err(why) = compiler.compile(source, wanted) {
        place.invalid(why);
    }
}

fn variables(list: &Cursor<'_>, compiler: &mut Compiler) {
    for variable in list.items() {
        let (name, source) = (variable.get("name"), variable.get("expression"));
        if name.is_empty() {
            name.required("name is not specified");
        } else if !is_identifier(name.text()) {
            name.invalid("name is not a valid CEL identifier");
        }
        if compiler.variables.iter().any(|(known, _)| known == name.text()) {
            name.duplicate();
        }
        if source.text().trim().is_empty() {
            source.required("expression is not specified");
        } else if let Err(why) = compiler.variable(name.text(), source.text()) {
            source.invalid(why);
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && sampan_cel::escape(name).is_some_and(|escaped| escaped == name || name.contains("__"))
}

fn validation(validation: &Cursor<'_>, compiler: &Compiler) {
    let (source, message) = (validation.get("expression"), validation.get("message"));
    let (text, said) = (source.text().trim(), message.text().trim());
    if text.is_empty() {
        source.required("expression is not specified");
    } else if let Err(why) = compiler.compile(source.text(), &Wanted::Bool) {
        source.invalid(why);
    }
    messages(validation, compiler);
    if !message.is_empty() && said.is_empty() {
        message.invalid("message must be non-empty if specified");
    } else if said.contains(['\n', '\r']) {
        message.invalid("message must not contain line breaks");
    } else if text.contains(['\n', '\r']) && said.is_empty() {
        message.required("message must be specified if expression contains line breaks");
    }
    if message.text().len() > MAX_MESSAGE_CHARS {
        message.too_long(MAX_MESSAGE_CHARS);
    }
    validation.get("reason").may_be_one_of(REASONS);
}

fn messages(validation: &Cursor<'_>, compiler: &Compiler) {
    let source = validation.get("messageExpression");
    if source.is_empty() {
        return;
    }
    if source.text().trim().is_empty() {
        source.invalid("must be non-empty if specified");
        return;
    }
    let scope = Scope { authorizer: false, ..compiler.scope };
    if let Err(why) = compiler.compile_in(scope, source.text(), &Wanted::String) {
        source.invalid(why);
    }
}

fn audit_annotations(list: &Cursor<'_>, compiler: &Compiler) {
    let mut known = BTreeSet::new();
    for annotation in list.items() {
        let (key, source) = (annotation.get("key"), annotation.get("valueExpression"));
        key.must_follow(names::qualified);
        if !key.is_empty() && !known.insert(key.text()) {
            key.duplicate();
        }
        if source.text().trim().is_empty() {
            source.required("valueExpression is not specified");
        } else if let Err(why) = compiler.compile(source.text(), &Wanted::StringOrNull) {
            source.invalid(why);
        }
    }
}

fn mutation(mutation: &Cursor<'_>, compiler: &Compiler) {
    let patch_type = mutation.get("patchType");
    let (apply, patch) = (mutation.get("applyConfiguration"), mutation.get("jsonPatch"));
    match patch_type.text() {
        "ApplyConfiguration" => {
            demand(&apply, "must be specified when patchType is ApplyConfiguration", compiler, &Wanted::Object);
            forbid(&patch, "must not be specified when patchType is ApplyConfiguration");
        }
        "JSONPatch" => {
            demand(&patch, "must be specified when patchType is JSONPatch", compiler, &Wanted::JsonPatch);
            forbid(&apply, "must not be specified when patchType is JSONPatch");
        }
        "" => patch_type.required(""),
        _ => patch_type.not_supported(&["ApplyConfiguration", "JSONPatch"]),
    }
}

fn demand(place: &Cursor<'_>, why: &str, compiler: &Compiler, wanted: &Wanted) {
    if !place.is_set() {
        place.required(why);
        return;
    }
    expression(&place.get("expression"), compiler, wanted);
}

fn forbid(place: &Cursor<'_>, why: &str) {
    if place.is_set() {
        place.invalid(why);
    }
}

/// What the expressions of a validating policy would get wrong about the built-in kinds that it names: the
/// `expressionWarnings` of its status.
pub fn expression_warnings(policy: &Value) -> Vec<Value> {
    let spec = &policy["spec"];
    let kinds = kinds_of(&spec["matchConstraints"]);
    let scope = Scope { params: spec["paramKind"].is_object(), authorizer: true, mutates: false };
    let compilers: Vec<(String, Compiler)> =
        kinds.iter().map(|kind| (kind_name(kind), typed(kind, scope, spec))).collect();
    let mut warnings = Vec::new();
    for (index, validation) in items(spec, "validations").enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = texts(validation, field);
            let faults: String = compilers
                .iter()
                .filter(|_| !source.is_empty())
                .filter_map(|(kind, compiler)| Some(format!("{kind}: {}\n", fault(compiler, source)?)))
                .collect();
            if !faults.is_empty() {
                warnings.push(json!({"fieldRef": format!("spec.validations[{index}].{field}"), "warning": faults}));
            }
        }
    }
    warnings
}

fn fault(compiler: &Compiler, source: &str) -> Option<String> {
    compiler.env(compiler.scope).compile(source).err().map(|error| error.to_string())
}

fn typed(kind: &crate::kind::Kind, scope: Scope, spec: &Value) -> Compiler {
    let mut compiler = Compiler::new(scope);
    if let Some(definition) = schema::definition(kind.schema) {
        compiler.object = of_definition(definition);
    }
    for variable in items(spec, "variables") {
        // Faults of variables show where they are used.
        let _ = compiler.variable(texts(variable, "name"), texts(variable, "expression"));
    }
    compiler
}

/// `apps/v1, Kind=Deployment`
fn kind_name(kind: &crate::kind::Kind) -> String {
    format!("{}, Kind={}", kind.api_version(), kind.kind)
}

/// The built-in kinds that rules name without wildcards.
fn kinds_of(constraints: &Value) -> Vec<&'static crate::kind::Kind> {
    let mut found: Vec<&'static crate::kind::Kind> = Vec::new();
    for rule in items(constraints, "resourceRules") {
        let names = |field: &str, name: &str| items(rule, field).any(|item| item == name);
        let named = kinds::ALL.iter().filter(|kind| {
            names("apiGroups", kind.group) && names("apiVersions", kind.version) && names("resources", kind.plural)
        });
        for kind in named {
            if found.len() < MAX_CHECKED_KINDS && !found.iter().any(|known| std::ptr::eq(*known, *kind)) {
                found.push(kind);
            }
        }
    }
    found
}
