//! The grammar of label selectors.
//!
//! ```text
//! selector    = [ requirement { "," requirement } ]
//! requirement = key | "!" key | key ("=" | "==" | "!=" | ">" | "<") [value] | key ("in" | "notin") "(" values ")"
//! ```

use super::lexer::{Token, tokens};
use super::{Error, Operator, Requirement, check_key};

/// Reads the requirements of a selector.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, Error> {
    let tokens = tokens(text);
    let mut parser = Parser { tokens: &tokens };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Not => {
                let requirement = parser.requirement().map_err(|error| Error::Requirement(Box::new(error)))?;
                requirements.push(requirement);
            }
            other => return Err(unexpected(other, "!, identifier, or 'end of string'")),
        }
        match (parser.take(), parser.peek()) {
            (Token::End, _) => return Ok(requirements),
            (Token::Comma, Token::Word(_) | Token::Not) => {}
            (Token::Comma, other) => return Err(unexpected(other, "identifier after ','")),
            (other, _) => return Err(unexpected(other, "',' or 'end of string'")),
        }
    }
}

struct Parser<'a> {
    /// What is left; [`Token::End`] stays.
    tokens: &'a [Token<'a>],
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.first().copied().unwrap_or(Token::End)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        if token != Token::End {
            self.tokens = &self.tokens[1..];
        }
        token
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        let negated = self.peek() == Token::Not;
        if negated {
            self.take();
        }
        let key = match self.take() {
            Token::Word(key) => key.to_owned(),
            other => return Err(unexpected(other, "identifier")),
        };
        check_key("<nil>", &key)?;
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = self.take();
        let (operator, values) = match operator {
            Token::Equal => (Operator::In, vec![self.value()?]),
            Token::NotEqual => (Operator::NotIn, vec![self.value()?]),
            Token::Greater => (Operator::GreaterThan, vec![self.value()?]),
            Token::Less => (Operator::LessThan, vec![self.value()?]),
            Token::Word("in") => (Operator::In, self.values()?),
            Token::Word("notin") => (Operator::NotIn, self.values()?),
            other => return Err(unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        Requirement::new(key, operator, values)
    }

    /// One value, which may be missing: `a=`.
    fn value(&mut self) -> Result<String, Error> {
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take() {
            Token::Word(value) => Ok(value.to_owned()),
            other => Err(unexpected(other, "identifier")),
        }
    }

    /// Values in parentheses; nothing between two commas is the empty value.
    fn values(&mut self) -> Result<Vec<String>, Error> {
        match self.take() {
            Token::Open => {}
            other => return Err(Error::NoValues(other.text().to_owned())),
        }
        let mut values = Vec::new();
        let mut value = None;
        loop {
            match self.take() {
                Token::Word(word) if value.is_none() => value = Some(word.to_owned()),
                Token::Comma => values.push(value.take().unwrap_or_default()),
                Token::Close => {
                    values.push(value.unwrap_or_default());
                    return Ok(values);
                }
                other => return Err(unexpected(other, "',' or ')'")),
            }
        }
    }
}

fn unexpected(found: Token<'_>, expected: &'static str) -> Error {
    Error::Unexpected { found: found.text().to_owned(), expected }
}
