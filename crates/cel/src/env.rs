//! What an expression may refer to: variables with their types, and object types that it may make.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::Checked;
use crate::estimate::Sizes;
use crate::program::Program;
use crate::syntax::ast::Expr;
use crate::types::{Object, Schema, Type};
use crate::{CompileError, check, estimate, syntax};

/// Finds the object types that expressions may make, by name: `Object.spec`.
pub trait Types: Send + Sync {
    /// The type of this name.
    fn object(&self, name: &str) -> Option<Arc<dyn Schema>>;
}

/// The surroundings of an expression. Cheap to clone.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, Type>,
    types: Option<Arc<dyn Types>>,
}

impl Env {
    /// Surroundings without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, ty: Type) -> Self {
        self.variables.insert(name.to_owned(), ty);
        self
    }

    /// Declares the object types that may be made.
    #[must_use]
    pub fn types(mut self, types: Arc<dyn Types>) -> Self {
        self.types = Some(types);
        self
    }

    /// Compiles an expression. The error's text is laid out as upstream's, several lines per fault.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let (mut root, checked) = self.checked(source)?;
        check::constants::fold(&mut root)
            .map_err(|issue| CompileError::new(&source.chars().collect::<Vec<_>>(), vec![issue]))?;
        Ok(Program::new(root, checked.ty))
    }

    /// The most that evaluating an expression can cost, in units of [`crate::Budget`], when its variables are no larger.
    pub fn estimate(&self, source: &str, sizes: &dyn Sizes) -> Result<u64, CompileError> {
        let (root, checked) = self.checked(source)?;
        Ok(estimate::estimate(&root, &checked, sizes))
    }

    fn checked(&self, source: &str) -> Result<(Expr, Checked), CompileError> {
        let mut root = syntax::parser::parse(source)?;
        let chars = || source.chars().collect::<Vec<_>>();
        let checked = check::check(self, &mut root).map_err(|issues| CompileError::new(&chars(), issues))?;
        Ok((root, checked))
    }

    pub(crate) fn variable_type(&self, name: &str) -> Option<Type> {
        self.variables.get(name).cloned()
    }

    /// The type of a dotted name, if it stands for one thing as a whole.
    pub(crate) fn dotted(&self, name: &str) -> Option<Type> {
        self.variable_type(name).or_else(|| type_named(name))
    }

    pub(crate) fn object_type(&self, name: &str) -> Option<Object> {
        self.types.as_ref().and_then(|types| types.object(name)).map(Object)
    }
}

/// The type of a name that stands for a type: `int`, `string`.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    let named = match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        name => Type::Opaque(OPAQUE.iter().copied().find(|known| *known == name)?),
    };
    Some(Type::Type(Arc::new(named)))
}

/// The types of the libraries that have a name.
const OPAQUE: [&str; 5] = ["kubernetes.URL", "kubernetes.Quantity", "kubernetes.Semver", "net.IP", "net.CIDR"];
