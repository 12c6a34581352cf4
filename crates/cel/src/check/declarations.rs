//! The functions there are: their overloads, read once from the libraries' own declarations.
//!
//! A declaration is a line: the function's name, the overload's, and its signature; a member has its target before a
//! dot. `A` and `B` are type variables.
//!
//! ```text
//! startsWith starts_with_string string.(string) -> bool
//! ```

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::library;
use crate::types::Type;

/// A function with all that is known of it before it runs.
pub(crate) struct Function {
    pub(crate) overloads: Vec<Overload>,
    /// The libraries that have overloads of it.
    pub(crate) libraries: Vec<&'static library::Library>,
}

/// One signature of a function.
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    /// Whether the first parameter is the target.
    pub(crate) member: bool,
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// How many type variables it has.
    pub(crate) variables: usize,
}

/// The function of this name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for library in library::ALL {
        for line in library.declarations.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, overload) = declaration(line);
            let function =
                functions.entry(name).or_insert_with(|| Function { overloads: Vec::new(), libraries: Vec::new() });
            function.overloads.push(overload);
            if !function.libraries.iter().any(|known| std::ptr::eq(*known, *library)) {
                function.libraries.push(library);
            }
        }
    }
    functions
});

fn declaration(line: &'static str) -> (&'static str, Overload) {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().map(str::trim).expect("invariant: a declaration has a name, an id and a signature");
    let (name, id, signature) = (word(), word(), word());
    let (params, result) = signature.split_once("->").expect("invariant: a signature has a result");
    let (target, rest) = params.trim().split_once('(').expect("invariant: a signature has parameters");
    // A target may have parentheses of its own: it ends at the dot before the last opening one that is not its own.
    let (target, rest) = match params.trim().find(".(") {
        Some(dot) => (&params.trim()[..dot], &params.trim()[dot + 2..]),
        None => (target, rest),
    };
    let rest = rest.trim().strip_suffix(')').expect("invariant: parameters are closed");
    let mut parser = TypeParser { rest: target };
    let mut types = Vec::new();
    if !target.is_empty() {
        types.push(parser.ty());
    }
    parser.rest = rest;
    while !parser.rest.trim().is_empty() {
        types.push(parser.ty());
        parser.rest = parser.rest.trim_start_matches([',', ' ']);
    }
    let result = TypeParser { rest: result }.ty();
    let variables = types.iter().chain([&result]).map(variables).max().unwrap_or(0);
    (name, Overload { id, member: !target.is_empty(), params: types, result, variables })
}

fn variables(ty: &Type) -> usize {
    match ty {
        Type::Param(index) => index + 1,
        Type::List(list) => variables(&list.element),
        Type::Map(map) => variables(&map.0).max(variables(&map.1)),
        Type::Optional(inner) | Type::Type(inner) => variables(inner),
        _ => 0,
    }
}

struct TypeParser {
    rest: &'static str,
}

impl TypeParser {
    fn ty(&mut self) -> Type {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(['(', ')', ',', ' ']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let inner = self.inner();
        let mut inner = inner.into_iter();
        let mut next = || inner.next().unwrap_or(Type::Dyn);
        match name {
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            "optional_type" => Type::optional(next()),
            "type" => Type::Type(Arc::new(next())),
            "A" => Type::Param(0),
            "B" => Type::Param(1),
            opaque => Type::Opaque(opaque),
        }
    }

    fn inner(&mut self) -> Vec<Type> {
        let mut types = Vec::new();
        let Some(rest) = self.rest.strip_prefix('(') else { return types };
        self.rest = rest;
        while !self.rest.starts_with(')') && !self.rest.is_empty() {
            types.push(self.ty());
            self.rest = self.rest.trim_start_matches([',', ' ']);
        }
        self.rest = self.rest.strip_prefix(')').unwrap_or("");
        types
    }
}

/// The signature's types with the type variables at `offset` in place of its own.
pub(crate) fn instantiate(ty: &Type, fresh: &[Type]) -> Type {
    match ty {
        Type::Param(index) => fresh.get(*index).cloned().unwrap_or(Type::Dyn),
        Type::List(list) => Type::list(instantiate(&list.element, fresh)),
        Type::Map(map) => Type::map(instantiate(&map.0, fresh), instantiate(&map.1, fresh)),
        Type::Optional(inner) => Type::optional(instantiate(inner, fresh)),
        Type::Type(inner) => Type::Type(Arc::new(instantiate(inner, fresh))),
        other => other.clone(),
    }
}
