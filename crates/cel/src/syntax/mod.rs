//! From text to tree: [`lexer`], then [`parser`], which expands the [`macros`] as it meets them.

pub(crate) mod ast;
pub(crate) mod lexer;
pub(crate) mod macros;
pub(crate) mod parser;
mod strings;
