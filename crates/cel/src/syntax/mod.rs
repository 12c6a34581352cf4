//! From text to tree: [`lexer`], then [`parser`], which expands the [`macros`] as it meets them.

pub(crate) mod ast;
pub(crate) mod lexer;
pub(crate) mod macros;
pub(crate) mod parser;
mod strings;

/// Words that no identifier may be, though they are none of the language's own.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a word is kept for later versions of the language.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether a word is one of the language's own, or kept for later.
pub(crate) fn is_keyword(word: &str) -> bool {
    matches!(word, "true" | "false" | "null" | "in") || is_reserved(word)
}
