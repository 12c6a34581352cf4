//! Admission policies, compiled: what their expressions mean, but not when they are asked.
//!
//! [`Policy::compile`] turns a stored ValidatingAdmissionPolicy or MutatingAdmissionPolicy into programs; the kinds'
//! validation uses the same compiler, so that what is stored can be run. Match conditions of webhooks are the same
//! language in [`match_conditions`]. The API server binds the variables and carries the outcome out.

mod check;
mod types;

use std::sync::Arc;

pub use check::expression_warnings;
pub(crate) use check::{faults, match_condition_faults};
use sampan_cel::{Env, Program, Record, Type};
use serde_json::Value;
pub use types::of_definition;

/// An expression and what it compiled to; a stored one compiles unless it is older than the compiler.
#[derive(Debug)]
pub struct Expression {
    /// Its text.
    pub source: String,
    /// The program, or why there is none: `compilation error: ...`
    pub program: Result<Program, String>,
}

/// An expression with a name.
#[derive(Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The expression.
    pub expression: Expression,
}

/// An entry of `validations`.
#[derive(Debug)]
pub struct Validation {
    /// What must be true.
    pub expression: Expression,
    /// What to say if it is not.
    pub message: String,
    /// What to say instead, if that gives a text.
    pub message_expression: Option<Expression>,
    /// The reason of the refusal; empty for `Invalid`.
    pub reason: String,
}

/// An entry of `mutations`.
#[derive(Debug)]
pub enum Mutation {
    /// The expression makes a partial object that is merged as apply merges.
    Apply(Expression),
    /// The expression makes the operations of a JSON patch.
    JsonPatch(Expression),
}

/// A compiled policy of either sort.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Whether what cannot be evaluated is passed over.
    pub ignores_failures: bool,
    /// `matchConstraints`, as it is written.
    pub constraints: Value,
    /// `apiVersion` and `kind` of its parameters.
    pub param_kind: Option<(String, String)>,
    /// All of them must be true for the policy to be asked.
    pub conditions: Vec<Named>,
    /// The fields of `variables`, in order.
    pub variables: Vec<Named>,
    /// What a validating policy demands.
    pub validations: Vec<Validation>,
    /// What a validating policy notes for the audit log.
    pub audit_annotations: Vec<Named>,
    /// What a mutating policy changes.
    pub mutations: Vec<Mutation>,
    /// Whether a mutating policy wants to see later changes.
    pub reinvocable: bool,
}

/// What an expression may refer to besides the objects and the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scope {
    params: bool,
    authorizer: bool,
    /// Whether it may make objects.
    mutates: bool,
}

/// The types that expressions may have, as upstream names them.
pub(crate) enum Wanted {
    Bool,
    String,
    StringOrNull,
    Any,
    Object,
    JsonPatch,
}

impl Wanted {
    /// `None` if `ty` is fine, else what it must be.
    fn refuses(&self, ty: &Type) -> Option<&'static str> {
        let open = *ty == Type::Dyn;
        let named = |ty: &Type, name: &str| matches!(ty, Type::Object(object) if object.0.name() == name);
        match self {
            Self::Any => None,
            Self::Bool => (*ty != Type::Bool && !open).then_some("must evaluate to bool"),
            Self::String => (*ty != Type::String && !open).then_some("must evaluate to string"),
            Self::StringOrNull => (!matches!(ty, Type::String | Type::Null) && !open)
                .then_some("must evaluate to one of [string null_type]"),
            Self::Object => (!named(ty, types::OBJECT)).then_some("must evaluate to Object"),
            Self::JsonPatch => {
                let fits =
                    matches!(ty, Type::List(list) if named(&list.element, "JSONPatch") || list.element == Type::Dyn);
                (!fits).then_some("must evaluate to list(JSONPatch)")
            }
        }
    }
}

/// Compiles expressions one after the other; each variable is there for those that follow.
struct Compiler {
    scope: Scope,
    object: Type,
    variables: Vec<(String, Type)>,
}

impl Compiler {
    fn new(scope: Scope) -> Self {
        Self { scope, object: Type::Dyn, variables: Vec::new() }
    }

    fn env(&self, scope: Scope) -> Env {
        let mut env = Env::new()
            .variable("object", self.object.clone())
            .variable("oldObject", self.object.clone())
            .variable("request", types::REQUEST.clone())
            .variable("namespaceObject", types::NAMESPACE.clone());
        if scope.params {
            env = env.variable("params", Type::Dyn);
        }
        if scope.authorizer {
            env = env
                .variable("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"))
                .variable("authorizer.requestResource", Type::Opaque("kubernetes.authorization.ResourceCheck"));
        }
        if scope.mutates {
            env = env.types(Arc::new(types::Mutations));
        }
        let fields = self.variables.iter().map(|(name, ty)| (name.as_str(), ty.clone()));
        env.variable("variables", Record::new("kubernetes.variables", fields))
    }

    /// The program, or upstream's words for why there is none.
    fn compile(&self, source: &str, wanted: &Wanted) -> Result<Program, String> {
        self.compile_in(self.scope, source, wanted)
    }

    fn compile_in(&self, scope: Scope, source: &str, wanted: &Wanted) -> Result<Program, String> {
        let program = self.env(scope).compile(source).map_err(|error| format!("compilation failed: {error}"))?;
        match wanted.refuses(program.ty()) {
            Some(text) => Err(text.to_owned()),
            None => Ok(program),
        }
    }

    /// Compiles the expression of a variable, and lets the following ones see it.
    fn variable(&mut self, name: &str, source: &str) -> Result<Program, String> {
        let program = self.compile(source, &Wanted::Any);
        let ty = program.as_ref().map_or(Type::Dyn, |program| program.ty().clone());
        self.variables.push((name.to_owned(), ty));
        program
    }
}

fn texts<'v>(object: &'v Value, field: &str) -> &'v str {
    object[field].as_str().unwrap_or_default()
}

fn items<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    object[field].as_array().into_iter().flatten()
}

fn expression(source: &str, program: Result<Program, String>) -> Expression {
    let program = program.map_err(|error| format!("compilation error: {error}"));
    Expression { source: source.to_owned(), program }
}

impl Policy {
    /// Compiles a policy.
    pub fn compile(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let mutates = spec["mutations"].is_array();
        let scope = Scope { params: spec["paramKind"].is_object(), authorizer: true, mutates };
        let conditions = compile_conditions(&spec["matchConditions"], scope);
        let mut compiler = Compiler::new(scope);
        let variables = items(spec, "variables").map(|variable| {
            let (name, source) = (texts(variable, "name"), texts(variable, "expression"));
            let program = compiler.variable(name, source);
            Named { name: name.to_owned(), expression: expression(source, program) }
        });
        let variables = variables.collect();
        let compiled = |source: &str, wanted: &Wanted| expression(source, compiler.compile(source, wanted));
        let param_kind = &spec["paramKind"];
        Self {
            name: texts(&policy["metadata"], "name").to_owned(),
            ignores_failures: texts(spec, "failurePolicy") == "Ignore",
            constraints: spec["matchConstraints"].clone(),
            param_kind: param_kind
                .is_object()
                .then(|| (texts(param_kind, "apiVersion").to_owned(), texts(param_kind, "kind").to_owned())),
            conditions,
            variables,
            validations: items(spec, "validations").map(|one| validation(&compiler, one)).collect(),
            audit_annotations: items(spec, "auditAnnotations")
                .map(|one| Named {
                    name: texts(one, "key").to_owned(),
                    expression: compiled(texts(one, "valueExpression"), &Wanted::StringOrNull),
                })
                .collect(),
            mutations: items(spec, "mutations")
                .map(|one| match texts(one, "patchType") {
                    "JSONPatch" => {
                        Mutation::JsonPatch(compiled(texts(&one["jsonPatch"], "expression"), &Wanted::JsonPatch))
                    }
                    _ => Mutation::Apply(compiled(texts(&one["applyConfiguration"], "expression"), &Wanted::Object)),
                })
                .collect(),
            reinvocable: texts(spec, "reinvocationPolicy") == "IfNeeded",
        }
    }
}

fn validation(compiler: &Compiler, validation: &Value) -> Validation {
    let message_scope = Scope { authorizer: false, ..compiler.scope };
    let source = texts(validation, "expression");
    Validation {
        expression: expression(source, compiler.compile(source, &Wanted::Bool)),
        message: texts(validation, "message").to_owned(),
        message_expression: Some(texts(validation, "messageExpression"))
            .filter(|source| !source.is_empty())
            .map(|source| expression(source, compiler.compile_in(message_scope, source, &Wanted::String))),
        reason: texts(validation, "reason").to_owned(),
    }
}

fn compile_conditions(conditions: &Value, scope: Scope) -> Vec<Named> {
    let compiler = Compiler::new(scope);
    let compiled = conditions.as_array().into_iter().flatten().map(|condition| {
        let source = texts(condition, "expression");
        Named {
            name: texts(condition, "name").to_owned(),
            expression: expression(source, compiler.compile(source, &Wanted::Bool)),
        }
    });
    compiled.collect()
}

/// Compiles the match conditions of a webhook: like a policy's, without parameters.
pub fn match_conditions(conditions: &Value) -> Vec<Named> {
    compile_conditions(conditions, Scope { params: false, authorizer: true, mutates: false })
}

/// The faults of a JSON patch or apply configuration are the merge's to tell; what is checked here is that each object
/// made by an apply configuration is of the type that its place demands: `Object.spec` in the field `spec`.
pub fn check_type_names(value: &sampan_cel::Value<'_>) -> Result<(), String> {
    check_place(value, types::OBJECT)
}

fn check_place(value: &sampan_cel::Value<'_>, place: &str) -> Result<(), String> {
    match value {
        sampan_cel::Value::Map(map) if map.is_object() => {
            let found = value.type_name();
            if found != place {
                return Err(format!(
                    "unexpected type name \"{found}\", expected \"{place}\", which matches field name path from root \
                     Object type"
                ));
            }
            let keys = map.keys();
            keys.iter().try_for_each(|key| {
                let sampan_cel::Key::String(name) = key else { return Ok(()) };
                let child = map.get(key).and_then(Result::ok);
                child.map_or(Ok(()), |child| check_place(&child, &format!("{place}.{name}")))
            })
        }
        sampan_cel::Value::List(list) => {
            list.iter().filter_map(Result::ok).try_for_each(|item| check_place(&item, place))
        }
        _ => Ok(()),
    }
}
