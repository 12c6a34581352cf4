//! The tokens of a label selector.

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    End,
    Comma,
    Open,
    Close,
    Not,
    Equal,
    NotEqual,
    Greater,
    Less,
    /// Anything else up to a space or a symbol; `in` and `notin` are words, too.
    Word(&'a str),
}

impl Token<'_> {
    /// The token as it was written.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::End => "",
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Not => "!",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::Word(text) => text,
        }
    }
}

/// Cuts a selector into tokens, with [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let (token, length) = next(rest);
        tokens.push(token);
        rest = rest[length..].trim_start_matches(is_space);
    }
    tokens.push(Token::End);
    tokens
}

/// The token at the beginning of a text that is neither empty nor begins with a space, and its length in bytes.
fn next(text: &str) -> (Token<'_>, usize) {
    let mut rest = text.bytes();
    match (rest.next(), rest.next()) {
        (Some(b'='), Some(b'=')) => (Token::Equal, 2),
        (Some(b'!'), Some(b'=')) => (Token::NotEqual, 2),
        (Some(b'='), _) => (Token::Equal, 1),
        (Some(b'!'), _) => (Token::Not, 1),
        (Some(b'('), _) => (Token::Open, 1),
        (Some(b')'), _) => (Token::Close, 1),
        (Some(b','), _) => (Token::Comma, 1),
        (Some(b'>'), _) => (Token::Greater, 1),
        (Some(b'<'), _) => (Token::Less, 1),
        _ => {
            let length = text.find(|c| is_space(c) || is_symbol(c)).unwrap_or(text.len());
            (Token::Word(&text[..length]), length)
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
