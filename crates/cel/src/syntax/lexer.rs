//! Text to tokens.
//!
//! What is no token is reported and skipped, so one stray character costs one message.

use super::strings::{self, Quoted};
use crate::issue::Issue;

/// A token and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// Characters before it.
    pub(crate) at: usize,
    /// Its text.
    pub(crate) text: String,
    /// What it is.
    pub(crate) kind: TokenKind,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// An operator or bracket, or one of `true`, `false`, `null`, `in`: told apart by their text.
    Symbol,
    Ident,
    /// `` `a-b` ``, without the ticks.
    EscapedIdent(String),
    Int,
    Uint,
    Double,
    String(String),
    Bytes(Vec<u8>),
    End,
}

/// Longest first, so that a prefix does not hide a symbol.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%",
    "<", ">", "true", "false", "null",
];

/// All tokens, the last of them [`TokenKind::End`], and what could not be read.
pub(crate) fn tokens(source: &[char]) -> (Vec<Token>, Vec<Issue>) {
    let mut lexer = Lexer { source, at: 0 };
    let (mut tokens, mut issues) = (Vec::new(), Vec::new());
    loop {
        lexer.skip_blanks();
        let at = lexer.at;
        if at >= source.len() {
            tokens.push(Token { at, text: "<EOF>".to_owned(), kind: TokenKind::End });
            return (tokens, issues);
        }
        match lexer.token() {
            Some(kind) => tokens.push(Token { at, text: source[at..lexer.at].iter().collect(), kind }),
            None => {
                lexer.at = lexer.at.max(at + 1);
                let text: String = source[at..lexer.at].iter().collect();
                issues.push(Issue::new(at, format!("Syntax error: token recognition error at: '{text}'")));
            }
        }
    }
}

struct Lexer<'a> {
    source: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.source.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip_blanks(&mut self) {
        while self.at < self.source.len() {
            match self.peek(0) {
                ' ' | '\t' | '\r' | '\n' | '\u{c}' => self.at += 1,
                '/' if self.peek(1) == '/' => {
                    while self.at < self.source.len() && self.peek(0) != '\n' {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn token(&mut self) -> Option<TokenKind> {
        let first = self.peek(0);
        if let Some(quoted) = strings::start(&self.source[self.at..]) {
            return self.quoted(&quoted);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Some(self.word());
        }
        if first.is_ascii_digit() || (first == '.' && self.peek(1).is_ascii_digit()) {
            return Some(self.number());
        }
        if first == '`' {
            return self.escaped();
        }
        let symbol = SYMBOLS.iter().find(|symbol| symbol.chars().enumerate().all(|(i, c)| self.peek(i) == c))?;
        self.at += symbol.chars().count();
        Some(TokenKind::Symbol)
    }

    fn quoted(&mut self, quoted: &Quoted) -> Option<TokenKind> {
        match strings::read(&self.source[self.at..], quoted) {
            Ok((kind, length)) => {
                self.at += length;
                Some(kind)
            }
            Err(length) => {
                self.at += length;
                None
            }
        }
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        let text: String = self.source[start..self.at].iter().collect();
        if matches!(text.as_str(), "true" | "false" | "null" | "in") { TokenKind::Symbol } else { TokenKind::Ident }
    }

    fn number(&mut self) -> TokenKind {
        if self.peek(0) == '0' && self.peek(1) == 'x' && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            self.digits(|c| c.is_ascii_hexdigit());
            return self.unsigned_suffix();
        }
        self.digits(|c| c.is_ascii_digit());
        let mut double = false;
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            double = true;
            self.at += 1;
            self.digits(|c| c.is_ascii_digit());
        }
        let sign = usize::from(matches!(self.peek(1), '+' | '-'));
        if matches!(self.peek(0), 'e' | 'E') && self.peek(1 + sign).is_ascii_digit() {
            double = true;
            self.at += 1 + sign;
            self.digits(|c| c.is_ascii_digit());
        }
        if double { TokenKind::Double } else { self.unsigned_suffix() }
    }

    fn digits(&mut self, is_digit: fn(char) -> bool) {
        while is_digit(self.peek(0)) {
            self.at += 1;
        }
    }

    fn unsigned_suffix(&mut self) -> TokenKind {
        if matches!(self.peek(0), 'u' | 'U') {
            self.at += 1;
            return TokenKind::Uint;
        }
        TokenKind::Int
    }

    fn escaped(&mut self) -> Option<TokenKind> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
        let inside: String = self.source[self.at + 1..].iter().copied().take_while(|c| allowed(*c)).collect();
        let end = self.at + 1 + inside.len();
        if inside.is_empty() || self.source.get(end) != Some(&'`') {
            return None;
        }
        self.at = end + 1;
        Some(TokenKind::EscapedIdent(inside))
    }
}
