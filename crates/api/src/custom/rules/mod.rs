//! `x-kubernetes-validations`: what a definition demands of its objects beyond their schema, in CEL.
//!
//! [`Rule::compile`] turns one rule into programs; the kind CustomResourceDefinition refuses what does not compile.
//! [`Rules::compile`] gathers the rules of a whole schema, once for each kind that is served, and [`Rules::faults`] asks
//! them about an object. What a rule costs is bounded when it runs; [`Rule::estimate`] says beforehand what it could cost.

#[cfg(test)]
mod cost_tests;
mod evaluate;
mod field_path;
mod sizes;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use sampan_cel::{Env, Program, Type};
use serde_json::Value;

pub(crate) use self::types::of as type_of;

use crate::field::{Path, Reason};
use crate::structural::{Extent, Schema};

/// The value that a rule is about.
const SELF: &str = "self";
/// The value that it replaces.
const OLD_SELF: &str = "oldSelf";

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    /// What must be true, or why that does not compile.
    pub(crate) program: Result<Program, String>,
    /// What makes the message, or why that does not compile.
    pub(crate) message_program: Option<Result<Program, String>>,
    /// Whether it compares with what was there before.
    pub(crate) is_transition: bool,
    /// Whether a transition rule is also asked where nothing was before.
    has_optional_old: bool,
    source: String,
    message: String,
    message_source: String,
    reason: Reason,
    /// Where below the value its failure is; `None` for the value itself.
    place: Option<Path>,
}

/// What the expressions of a rule can cost at most.
#[derive(Debug)]
pub(crate) struct Estimate {
    pub(crate) rule: u64,
    pub(crate) message: u64,
}

/// What the expressions of a rule about values of type `ty` may refer to.
fn surroundings(ty: &Type, has_optional_old: bool) -> Env {
    let old = if has_optional_old { Type::optional(ty.clone()) } else { ty.clone() };
    Env::new().variable(SELF, ty.clone()).variable(OLD_SELF, old)
}

impl Rule {
    /// Compiles a rule about the values of `schema`, which are of type `ty`.
    pub(crate) fn compile(rule: &Value, schema: &Schema, ty: &Type) -> Self {
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let has_optional_old = rule["optionalOldSelf"] == true;
        let env = surroundings(ty, has_optional_old);
        let program = compile(&env, text("rule"), "compilation failed", (&Type::Bool, "cel expression", "a bool"));
        let message = Some(text("messageExpression")).filter(|source| !source.is_empty() && program.is_ok());
        let wanted = (&Type::String, "messageExpression", "a string");
        Self {
            message_program: message
                .map(|source| compile(&env, source, "messageExpression compilation failed", wanted)),
            is_transition: program.as_ref().is_ok_and(|program| program.refers_to(OLD_SELF)),
            has_optional_old,
            program,
            source: text("rule").trim().to_owned(),
            message: text("message").trim().to_owned(),
            message_source: text("messageExpression").to_owned(),
            reason: reason(text("reason")),
            place: place(text("fieldPath"), schema),
        }
    }

    /// What a rule about values of type `ty` can cost when they are no larger than `extent`. What does not compile costs
    /// nothing.
    pub(crate) fn estimate(rule: &Value, ty: &Type, extent: &Extent) -> Estimate {
        let env = surroundings(ty, rule["optionalOldSelf"] == true);
        let cost = |name: &str| {
            let source = rule[name].as_str().filter(|source| !source.is_empty());
            source.and_then(|source| env.estimate(source, extent).ok()).unwrap_or(0)
        };
        Estimate { rule: cost("rule"), message: cost("messageExpression") }
    }

    /// The rule as faults name it.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }

    fn default_message(&self) -> String {
        if self.message.is_empty() { format!("failed rule: {}", self.source) } else { self.message.clone() }
    }
}

/// Compiles an expression that must have a value of one type; errors are upstream's.
fn compile(env: &Env, source: &str, failed: &str, wanted: (&Type, &str, &str)) -> Result<Program, String> {
    let program = env.compile(source).map_err(|error| format!("{failed}: {error}"))?;
    let (ty, what, name) = wanted;
    if program.ty() == ty { Ok(program) } else { Err(format!("{what} must evaluate to {name}")) }
}

fn reason(name: &str) -> Reason {
    match name {
        "FieldValueForbidden" => Reason::Forbidden,
        "FieldValueRequired" => Reason::Required,
        "FieldValueDuplicate" => Reason::Duplicate,
        _ => Reason::Invalid,
    }
}

/// Where below the values of `schema` the field of this path is; `None` if there is none.
pub(crate) fn place(path: &str, schema: &Schema) -> Option<Path> {
    field_path::read(path, schema).filter(|_| !path.is_empty())
}

/// The rules of a schema and of its parts.
#[derive(Debug)]
pub(crate) struct Rules {
    ty: Type,
    own: Vec<Rule>,
    properties: BTreeMap<String, Rules>,
    additional: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

impl Rules {
    /// Compiles the rules of a schema; `None` if it has none. `is_object` says that its values are whole objects.
    pub(crate) fn compile(schema: &Schema, is_object: bool) -> Option<Self> {
        if !schema.has_rules() {
            return None;
        }
        let part = |schema: &Schema| Self::compile(schema, schema.embedded);
        let boxed = |schema: &Option<Box<Schema>>| schema.as_deref().and_then(part).map(Box::new);
        let properties = schema.properties.iter().filter_map(|(name, schema)| Some((name.clone(), part(schema)?)));
        let (properties, additional, items) = (properties.collect(), boxed(&schema.additional), boxed(&schema.items));
        // Only what has rules of its own needs a type; what rules cannot see has none.
        let seen = Some(schema).filter(|schema| !schema.rules.is_empty()).and_then(|schema| type_of(schema, is_object));
        let own = match &seen {
            Some(ty) => schema.rules.iter().map(|rule| Rule::compile(rule, schema, ty)).collect(),
            None => Vec::new(),
        };
        Some(Self { ty: seen.unwrap_or(Type::Dyn), own, properties, additional, items })
    }
}
