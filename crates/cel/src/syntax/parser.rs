//! Tokens to a tree, by recursive descent with one loop for all binary operators.
//!
//! Bounded on all sides: the text's length, the nesting of brackets, the depth of the tree. So what walks the tree
//! later may recurse. The first syntax error ends the parse; its text is the one that cel-go's grammar gives.

use super::ast::{Access, Call, Element, Entry, Expr, Kind, Literal, Select, Struct, operator};
use super::lexer::{self, Token, TokenKind};
use super::macros;
use crate::issue::{CompileError, Issue};

/// Longest expression, in characters.
const MAX_CHARS: usize = 100_000;
/// Deepest tree.
const MAX_DEPTH: u16 = 250;
/// Deepest nesting of brackets; each level takes several steps of recursion here.
const MAX_NESTING: u16 = 100;

/// Most nodes of a tree; macros may double their target.
const MAX_NODES: u32 = 200_000;

/// What may begin an expression, as errors list it.
const EXPRESSION: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// The parse has an issue and goes no further.
#[derive(Debug)]
pub(crate) struct Stop;

pub(crate) type Parsed<T = Expr> = Result<T, Stop>;

/// The tree of a text.
pub(crate) fn parse(source: &str) -> Result<Expr, CompileError> {
    let chars: Vec<char> = source.chars().take(MAX_CHARS + 1).collect();
    if chars.len() > MAX_CHARS {
        let text =
            format!("expression code point size exceeds limit: size: {}, limit {MAX_CHARS}", source.chars().count());
        return Err(CompileError::new(&[], vec![Issue::whole(text)]));
    }
    let (tokens, issues) = lexer::tokens(&chars);
    let mut parser = Parser { tokens, next: 0, ids: 0, nesting: 0, issues };
    let parsed = parser.start();
    match parsed {
        Ok(expr) if parser.issues.is_empty() => Ok(expr),
        _ => Err(CompileError::new(&chars, parser.issues)),
    }
}

pub(crate) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    ids: u32,
    nesting: u16,
    issues: Vec<Issue>,
}

impl Parser {
    fn start(&mut self) -> Parsed {
        let expr = self.expr()?;
        let rest = self.peek().clone();
        if rest.kind == TokenKind::End {
            return Ok(expr);
        }
        let alone = self.tokens.get(self.next + 1).is_none_or(|token| token.kind == TokenKind::End);
        let how = if alone { "extraneous" } else { "mismatched" };
        self.fail(&rest, format!("Syntax error: {how} input '{}' expecting <EOF>", rest.text))
    }

    /// A new node; refused when the tree gets too deep.
    pub(crate) fn node(&mut self, at: usize, kind: Kind) -> Parsed {
        self.ids += 1;
        let mut expr = Expr { id: self.ids, at, depth: 0, kind };
        expr.depth = 1 + expr.children().into_iter().map(|child| child.depth).max().unwrap_or(0);
        if expr.depth > MAX_DEPTH {
            return self.too_deep();
        }
        if self.ids > MAX_NODES {
            self.issues.push(Issue::whole(format!("expression node count exceeds limit: {MAX_NODES}")));
            return Err(Stop);
        }
        Ok(expr)
    }

    /// A call of a function that is no member of its first argument.
    pub(crate) fn call(&mut self, at: usize, function: &str, args: Vec<Expr>) -> Parsed {
        let call = Call { function: function.to_owned(), target: None, args, overload: None, pattern: None };
        self.node(at, Kind::Call(Box::new(call)))
    }

    /// Notes an issue and stops.
    pub(crate) fn refuse<T>(&mut self, at: usize, message: impl Into<String>) -> Parsed<T> {
        self.issues.push(Issue::new(at, message));
        Err(Stop)
    }

    /// Gives every node of a copied tree a new id.
    pub(crate) fn renumber(&mut self, expr: &mut Expr) {
        self.ids += 1;
        expr.id = self.ids;
        for child in expr.children_mut() {
            self.renumber(child);
        }
    }

    fn too_deep<T>(&mut self) -> Parsed<T> {
        self.issues.push(Issue::whole("max recursion depth exceeded"));
        Err(Stop)
    }

    fn fail<T>(&mut self, token: &Token, message: String) -> Parsed<T> {
        self.issues.push(Issue::new(token.at, message));
        Err(Stop)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    fn is(&self, symbol: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Symbol && token.text == symbol
    }

    fn take(&mut self, symbol: &str) -> Option<Token> {
        if self.is(symbol) { Some(self.advance()) } else { None }
    }

    fn must(&mut self, symbol: &str) -> Parsed<Token> {
        if let Some(token) = self.take(symbol) {
            return Ok(token);
        }
        let found = self.peek().clone();
        let text = if found.kind == TokenKind::End && matches!(symbol, ")" | "]" | "}") {
            format!("Syntax error: missing '{symbol}' at '<EOF>'")
        } else {
            format!("Syntax error: mismatched input '{}' expecting '{symbol}'", found.text)
        };
        self.fail(&found, text)
    }

    pub(crate) fn expr(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.too_deep();
        }
        let expr = self.conditional();
        self.nesting -= 1;
        expr
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.chain("||")?;
        let Some(question) = self.take("?") else { return Ok(condition) };
        let then = self.chain("||")?;
        self.must(":")?;
        let otherwise = self.expr()?;
        self.node(question.at, Kind::Ternary(Box::new([condition, then, otherwise])))
    }

    /// `a || b || ...` of `a && b && ...` of relations.
    fn chain(&mut self, symbol: &'static str) -> Parsed {
        let term = |parser: &mut Self| if symbol == "||" { parser.chain("&&") } else { parser.binary(0) };
        let first = term(self)?;
        let Some(operator) = self.take(symbol) else { return Ok(first) };
        let mut terms = vec![first, term(self)?];
        while self.take(symbol).is_some() {
            terms.push(term(self)?);
        }
        self.node(operator.at, if symbol == "||" { Kind::Or(terms) } else { Kind::And(terms) })
    }

    /// Operators of the same or a higher level, left to right.
    fn binary(&mut self, level: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((function, found)) = self.binary_operator().filter(|(_, found)| *found >= level) {
            let operator = self.advance();
            let right = self.binary(found + 1)?;
            left = self.call(operator.at, function, vec![left, right])?;
        }
        Ok(left)
    }

    /// The function of the operator ahead, and how closely it binds.
    fn binary_operator(&self) -> Option<(&'static str, u8)> {
        let token = self.peek();
        if token.kind != TokenKind::Symbol {
            return None;
        }
        Some(match token.text.as_str() {
            "<" => ("_<_", 0),
            "<=" => ("_<=_", 0),
            ">=" => ("_>=_", 0),
            ">" => ("_>_", 0),
            "==" => (operator::EQUALS, 0),
            "!=" => (operator::NOT_EQUALS, 0),
            "in" => (operator::IN, 0),
            "+" => (operator::ADD, 1),
            "-" => ("_-_", 1),
            "*" => ("_*_", 2),
            "/" => ("_/_", 2),
            "%" => ("_%_", 2),
            _ => return None,
        })
    }

    fn unary(&mut self) -> Parsed {
        let (symbol, function) = if self.is("!") { ("!", operator::NOT) } else { ("-", operator::NEGATE) };
        let mut operators = Vec::new();
        while self.is(symbol) && !self.is_negative_literal() {
            operators.push(self.advance());
        }
        let operand = self.member()?;
        match operators.first() {
            Some(first) if operators.len() % 2 == 1 => self.call(first.at, function, vec![operand]),
            _ => Ok(operand),
        }
    }

    fn is_negative_literal(&self) -> bool {
        let number = |token: &Token| matches!(token.kind, TokenKind::Int | TokenKind::Double);
        self.is("-") && self.tokens.get(self.next + 1).is_some_and(number)
    }

    fn member(&mut self) -> Parsed {
        let bracketed = self.is("(");
        let mut expr = self.primary()?;
        loop {
            if let Some(dot) = self.take(".") {
                expr = self.select(expr, &dot)?;
            } else if let Some(bracket) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expr()?;
                self.must("]")?;
                let function = if optional { operator::OPTIONAL_INDEX } else { operator::INDEX };
                expr = self.call(bracket.at, function, vec![expr, index])?;
            } else if self.is("{") && !bracketed {
                let Some(name) = expr.dotted() else { return Ok(expr) };
                return self.object(name);
            } else {
                return Ok(expr);
            }
        }
    }

    fn select(&mut self, operand: Expr, dot: &Token) -> Parsed {
        let mode = if self.take("?").is_some() { Access::Optional } else { Access::Value };
        let name = self.advance();
        let (field, plain) = match name.kind {
            TokenKind::Ident => (name.text, true),
            TokenKind::EscapedIdent(field) => (field, false),
            TokenKind::End => return self.fail(&name, "Syntax error: no viable alternative at input '.'".to_owned()),
            _ => {
                return self.fail(&name, format!("Syntax error: no viable alternative at input '.{}'", name.text));
            }
        };
        if plain && mode == Access::Value && self.is("(") {
            let open = self.advance();
            let args = self.arguments()?;
            return macros::member_call(self, open.at, operand, &field, args);
        }
        self.node(dot.at, Kind::Select(Box::new(Select { operand, field, mode })))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.must(")")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let token = self.advance();
        let at = token.at;
        match (&token.kind, token.text.as_str()) {
            (TokenKind::Symbol, "(") => {
                let inner = self.expr()?;
                self.must(")")?;
                Ok(inner)
            }
            (TokenKind::Symbol, "[") => self.list(at),
            (TokenKind::Symbol, "{") => self.map(at),
            (TokenKind::Symbol, ".") if self.peek().kind == TokenKind::Ident => {
                let name = self.advance();
                self.ident(&name)
            }
            (TokenKind::Ident, _) => self.ident(&token),
            _ => match self.literal(&token) {
                Some(literal) => {
                    let literal = literal?;
                    self.node(at, Kind::Literal(literal))
                }
                None => self.no_expression(&token),
            },
        }
    }

    /// A token that begins no expression: skipped when what follows it does.
    fn no_expression(&mut self, token: &Token) -> Parsed {
        let follows = matches!(
            self.peek().kind,
            TokenKind::Ident | TokenKind::Int | TokenKind::Uint | TokenKind::Double | TokenKind::String(_)
        );
        let how = if follows { "extraneous" } else { "mismatched" };
        self.fail(token, format!("Syntax error: {how} input '{}' expecting {EXPRESSION}", token.text))
    }

    fn ident(&mut self, name: &Token) -> Parsed {
        if super::is_reserved(&name.text) {
            self.issues.push(Issue::new(name.at, format!("reserved identifier: {}", name.text)));
        }
        if self.is("(") {
            let open = self.advance();
            let args = self.arguments()?;
            return macros::global_call(self, open.at, &name.text, args);
        }
        self.node(name.at, Kind::Ident(name.text.clone()))
    }

    fn literal(&mut self, token: &Token) -> Option<Parsed<Literal>> {
        let literal = match (&token.kind, token.text.as_str()) {
            (TokenKind::Symbol, "true") => Literal::Bool(true),
            (TokenKind::Symbol, "false") => Literal::Bool(false),
            (TokenKind::Symbol, "null") => Literal::Null,
            (TokenKind::Symbol, "-") => {
                let number = self.advance();
                return Some(self.number(token.at, "-", &number));
            }
            (TokenKind::Int | TokenKind::Uint | TokenKind::Double, _) => return Some(self.number(token.at, "", token)),
            (TokenKind::String(text), _) => Literal::String(text.as_str().into()),
            (TokenKind::Bytes(bytes), _) => Literal::Bytes(bytes.as_slice().into()),
            _ => return None,
        };
        Some(Ok(literal))
    }

    fn number(&mut self, at: usize, sign: &str, token: &Token) -> Parsed<Literal> {
        let text = token.text.trim_end_matches(['u', 'U']);
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
        let (literal, what) = match token.kind {
            TokenKind::Int => (i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().map(Literal::Int), "int"),
            TokenKind::Uint => (u64::from_str_radix(digits, radix).ok().map(Literal::Uint), "uint"),
            TokenKind::Double => {
                let double = format!("{sign}{text}").parse().ok().filter(|double: &f64| double.is_finite());
                (double.map(Literal::Double), "double")
            }
            _ => (None, "int"),
        };
        let Some(literal) = literal else { return self.refuse(at, format!("invalid {what} literal")) };
        Ok(literal)
    }

    fn list(&mut self, at: usize) -> Parsed {
        let mut elements = Vec::new();
        while !self.is("]") {
            let optional = self.take("?").is_some();
            elements.push(Element { value: self.expr()?, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.must("]")?;
        self.node(at, Kind::List(elements))
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.is("}") {
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            let colon = self.must(":")?;
            entries.push(Entry { at: colon.at, key, value: self.expr()?, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.must("}")?;
        self.node(at, Kind::Map(entries))
    }

    fn object(&mut self, name: String) -> Parsed {
        let open = self.advance();
        let mut fields = Vec::new();
        while !self.is("}") {
            let optional = self.take("?").is_some();
            let token = self.advance();
            let key = match token.kind {
                TokenKind::Ident => token.text,
                TokenKind::EscapedIdent(field) => field,
                _ => {
                    let wanted = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}";
                    return self.refuse(
                        token.at,
                        format!("Syntax error: mismatched input '{}' expecting {wanted}", token.text),
                    );
                }
            };
            let colon = self.must(":")?;
            fields.push(Entry { at: colon.at, key, value: self.expr()?, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.must("}")?;
        self.node(open.at, Kind::Struct(Box::new(Struct { name, fields })))
    }
}
