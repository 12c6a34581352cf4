//! String and bytes literals: quotes, prefixes, escapes.

use super::lexer::TokenKind;

/// How a literal is quoted.
pub(crate) struct Quoted {
    /// Characters before the quote: `r`, `b`, `rb`.
    prefix: usize,
    raw: bool,
    bytes: bool,
    quote: char,
    /// Three quotes instead of one.
    triple: bool,
}

/// The quoting of the literal that starts here, if one does.
pub(crate) fn start(text: &[char]) -> Option<Quoted> {
    let (mut prefix, mut raw, mut bytes) = (0, false, false);
    if matches!(text.first(), Some('b' | 'B')) {
        (bytes, prefix) = (true, 1);
    }
    if matches!(text.get(prefix), Some('r' | 'R')) {
        (raw, prefix) = (true, prefix + 1);
    }
    let quote = *text.get(prefix).filter(|c| matches!(c, '"' | '\''))?;
    let triple = text.get(prefix + 1) == Some(&quote) && text.get(prefix + 2) == Some(&quote);
    Some(Quoted { prefix, raw, bytes, quote, triple })
}

/// The literal and how many characters it takes; or, if it is malformed, how many were looked at.
pub(crate) fn read(text: &[char], quoted: &Quoted) -> Result<(TokenKind, usize), usize> {
    let width = if quoted.triple { 3 } else { 1 };
    let mut at = quoted.prefix + width;
    let mut content = Content { bytes: quoted.bytes, out: Vec::new() };
    loop {
        let c = *text.get(at).ok_or(at)?;
        if c == quoted.quote && (0..width).all(|i| text.get(at + i) == Some(&quoted.quote)) {
            return Ok((content.finish(), at + width));
        }
        if matches!(c, '\n' | '\r') && !quoted.triple {
            return Err(at);
        }
        if c == '\\' && !quoted.raw {
            at += content.escape(&text[at + 1..]).ok_or(at + 1)? + 1;
        } else {
            content.char(c);
            at += 1;
        }
    }
}

struct Content {
    bytes: bool,
    out: Vec<u8>,
}

impl Content {
    fn char(&mut self, c: char) {
        self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Takes the escape after a backslash; answers how many characters it has.
    fn escape(&mut self, text: &[char]) -> Option<usize> {
        let simple = match text.first()? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            c @ ('"' | '\'' | '\\' | '?' | '`') => *c,
            'x' | 'X' => return self.code(text, 1, 2, 16),
            'u' if !self.bytes => return self.code(text, 1, 4, 16),
            'U' if !self.bytes => return self.code(text, 1, 8, 16),
            '0'..='3' => return self.code(text, 0, 3, 8),
            _ => return None,
        };
        self.char(simple);
        Some(1)
    }

    fn code(&mut self, text: &[char], from: usize, digits: usize, radix: u32) -> Option<usize> {
        let digits_text: String = text.get(from..from + digits)?.iter().collect();
        if !digits_text.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        let code = u32::from_str_radix(&digits_text, radix).ok()?;
        match (self.bytes, u8::try_from(code)) {
            (true, Ok(byte)) => self.out.push(byte),
            (true, Err(_)) => return None,
            (false, _) => self.char(char::from_u32(code)?),
        }
        Some(from + digits)
    }

    fn finish(self) -> TokenKind {
        if self.bytes {
            return TokenKind::Bytes(self.out);
        }
        TokenKind::String(String::from_utf8_lossy(&self.out).into_owned())
    }
}
