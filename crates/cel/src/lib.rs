//! CEL, the Common Expression Language, as Kubernetes speaks it: validation rules, admission policies, match conditions.
//!
//! Text is compiled once, against declared variables and types, to a [`Program`]; a program is evaluated any number of
//! times over borrowed JSON. Both are pure and bounded: a text's length and nesting when it is compiled, and what an
//! evaluation may cost, counted as upstream counts it, in a [`Budget`] that expressions share. Error texts are
//! upstream's.
//!
//! This crate knows nothing of HTTP, of the API's kinds or of policies. Start at [`Env::compile`].
//!
//! ```
//! use sampan_cel::{Bindings, Budget, Env, Type};
//!
//! let env = Env::new().variable("object", Type::Dyn);
//! let program = env.compile("object.spec.replicas <= 5")?;
//! let object = serde_json::json!({"spec": {"replicas": 7}});
//! let budget = Budget::new(Budget::OBJECT);
//! let value = program.evaluate(&Bindings::new().json("object", &object), &budget)?;
//! assert_eq!(value.as_bool(), Some(false));
//!
//! let error = env.compile("objekt.spec == 1").unwrap_err();
//! assert!(error.to_string().starts_with("ERROR: <input>:1:1: undeclared reference to 'objekt' (in container '')"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod env;
mod escaping;
mod estimate;
mod eval;
mod issue;
mod library;
mod program;
mod syntax;
mod types;
mod value;

pub use env::{Env, Types};
pub use escaping::{escape, unescape};
pub use estimate::{Sizes, Step};
pub use eval::bindings::Bindings;
pub use eval::cost::Budget;
pub use issue::CompileError;
pub use library::authorizer::{Authorizer, Decision, Query};
pub use program::{Error, Program};
pub use types::{Field, ListSemantics, ListType, Object, Record, Schema, Type};
pub use value::{Key, List, Map, Opaque, Text, Value};

#[cfg(test)]
mod tests;
