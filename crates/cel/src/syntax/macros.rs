//! The macros: calls that are another form of tree, `has` and the loops.
//!
//! Each loop has the shape that upstream gives it, since the cost of an expression is counted over that shape.

use super::ast::{Access, Call, Element, Expr, Fold, Kind, Literal, RESULT, SORTED, Select, operator};
use super::parser::{Parsed, Parser};

/// The accumulator's name in older versions: still not usable as a variable.
const OLD_RESULT: &str = "__result__";

/// `function(args)`
pub(super) fn global_call(parser: &mut Parser, at: usize, function: &str, mut args: Vec<Expr>) -> Parsed {
    if function == "has" && args.len() == 1 {
        let arg = args.remove(0);
        let Kind::Select(select) = arg.kind else {
            return parser.refuse(arg.at, "invalid argument to has() macro");
        };
        let select = Select { mode: Access::Presence, ..*select };
        return parser.node(at, Kind::Select(Box::new(select)));
    }
    parser.call(at, function, args)
}

/// `target.function(args)`
pub(super) fn member_call(parser: &mut Parser, at: usize, target: Expr, function: &str, args: Vec<Expr>) -> Parsed {
    let mut expansion = Expansion { parser, at };
    match (function, args.len()) {
        ("all" | "exists" | "exists_one" | "filter", 2)
        | ("all" | "exists" | "exists_one" | "existsOne" | "transformList" | "transformMap" | "transformMapEntry", 3)
        | ("map", 2 | 3)
        | ("transformList" | "transformMap" | "transformMapEntry", 4) => expansion.fold(target, function, args),
        ("sortBy", 2) => expansion.sort_by(target, args),
        ("optMap" | "optFlatMap", 2) => expansion.optional(target, function, args),
        _ => {
            let target = Some(target);
            let call = Call { function: function.to_owned(), target, args, overload: None, pattern: None };
            parser.node(at, Kind::Call(Box::new(call)))
        }
    }
}

struct Expansion<'a> {
    parser: &'a mut Parser,
    /// Where the call is; every node of the expansion is there.
    at: usize,
}

/// The variable parts of a fold.
struct Parts {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

impl Expansion<'_> {
    fn fold(&mut self, range: Expr, function: &str, args: Vec<Expr>) -> Parsed {
        let variables = match function {
            "map" | "filter" => 1,
            name if name.starts_with("transform") => 2,
            _ => args.len() - 1,
        };
        let mut args = args.into_iter();
        let mut names = Vec::new();
        for arg in args.by_ref().take(variables) {
            names.push(self.variable(&arg, function)?);
        }
        if variables == 2 && names[0] == names[1] {
            return self.parser.refuse(self.at, format!("duplicate variable name: {}", names[0]));
        }
        let item = names[0].clone();
        let rest: Vec<Expr> = args.collect();
        let parts = self.parts(function, &item, rest)?;
        let mut names = names.into_iter();
        let fold = Fold {
            range,
            var: names.next().unwrap_or_default(),
            second: names.next(),
            accumulator: RESULT.to_owned(),
            init: parts.init,
            condition: parts.condition,
            step: parts.step,
            result: parts.result,
        };
        self.node(Kind::Fold(Box::new(fold)))
    }

    fn variable(&mut self, arg: &Expr, function: &str) -> Parsed<String> {
        let Kind::Ident(name) = &arg.kind else {
            let text = match function {
                "map" | "filter" => "argument is not an identifier",
                _ => "argument must be a simple name",
            };
            return self.parser.refuse(arg.at, text);
        };
        if name == OLD_RESULT {
            return self.parser.refuse(arg.at, "iteration variable overwrites accumulator variable");
        }
        Ok(name.clone())
    }

    fn parts(&mut self, function: &str, item: &str, args: Vec<Expr>) -> Parsed<Parts> {
        let mut args = args.into_iter();
        let (filter, value) = match (args.next(), args.next()) {
            (Some(filter), Some(value)) => (Some(filter), value),
            (Some(value), None) => (None, value),
            (None, _) => return self.parser.refuse(self.at, "missing argument"),
        };
        match function {
            "all" => self.all(value),
            "exists" => self.exists(value),
            "exists_one" | "existsOne" => self.exists_one(value),
            "filter" => {
                let item = self.node(Kind::Ident(item.to_owned()))?;
                self.append(Some(value), item)
            }
            "map" | "transformList" => self.append(filter, value),
            _ => self.insert(function, item, filter, value),
        }
    }

    fn all(&mut self, predicate: Expr) -> Parsed<Parts> {
        let so_far = self.result()?;
        let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![so_far])?;
        let so_far = self.result()?;
        let step = self.node(Kind::And(vec![so_far, predicate]))?;
        Ok(Parts { init: self.literal(Literal::Bool(true))?, condition, step, result: self.result()? })
    }

    fn exists(&mut self, predicate: Expr) -> Parsed<Parts> {
        let so_far = self.result()?;
        let not = self.call(operator::NOT, vec![so_far])?;
        let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![not])?;
        let so_far = self.result()?;
        let step = self.node(Kind::Or(vec![so_far, predicate]))?;
        Ok(Parts { init: self.literal(Literal::Bool(false))?, condition, step, result: self.result()? })
    }

    fn exists_one(&mut self, predicate: Expr) -> Parsed<Parts> {
        let (so_far, one) = (self.result()?, self.literal(Literal::Int(1))?);
        let next = self.call(operator::ADD, vec![so_far, one])?;
        let step = self.only_if(Some(predicate), next)?;
        let (count, one) = (self.result()?, self.literal(Literal::Int(1))?);
        let result = self.call(operator::EQUALS, vec![count, one])?;
        Ok(Parts { init: self.literal(Literal::Int(0))?, condition: self.always()?, step, result })
    }

    fn append(&mut self, filter: Option<Expr>, value: Expr) -> Parsed<Parts> {
        let one = self.node(Kind::List(vec![Element { value, optional: false }]))?;
        let so_far = self.result()?;
        let next = self.call(operator::ADD, vec![so_far, one])?;
        let step = self.only_if(filter, next)?;
        Ok(Parts { init: self.node(Kind::List(Vec::new()))?, condition: self.always()?, step, result: self.result()? })
    }

    fn insert(&mut self, function: &str, key: &str, filter: Option<Expr>, value: Expr) -> Parsed<Parts> {
        let mut args = vec![self.result()?];
        if function == "transformMap" {
            args.push(self.node(Kind::Ident(key.to_owned()))?);
        }
        args.push(value);
        let next = self.call(operator::MAP_INSERT, args)?;
        let step = self.only_if(filter, next)?;
        Ok(Parts { init: self.node(Kind::Map(Vec::new()))?, condition: self.always()?, step, result: self.result()? })
    }

    /// `target.optMap(v, expr)`: `target.hasValue() ? optional.of(expr with v = target.value()) : optional.none()`
    fn optional(&mut self, target: Expr, function: &str, args: Vec<Expr>) -> Parsed {
        let mut args = args.into_iter();
        let (Some(variable), Some(value)) = (args.next(), args.next()) else {
            return self.parser.refuse(self.at, "missing argument");
        };
        let Kind::Ident(name) = variable.kind else {
            let text = format!("{function}() variable name must be a simple identifier");
            return self.parser.refuse(variable.at, text);
        };
        let copy = self.copy(&target);
        let has_value = self.member("hasValue", copy, Vec::new())?;
        let init = self.member("value", target, Vec::new())?;
        let mut then = self.bind(name, init, value)?;
        if function == "optMap" {
            then = self.call("optional.of", vec![then])?;
        }
        let otherwise = self.call("optional.none", Vec::new())?;
        self.node(Kind::Ternary(Box::new([has_value, then, otherwise])))
    }

    /// `list.sortBy(v, key)`: the list by the keys of its items, `v` being `list` once: `v.@sortByAssociatedKeys(v.map(v, key))`
    fn sort_by(&mut self, list: Expr, args: Vec<Expr>) -> Parsed {
        if matches!(list.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct(_)) {
            let text = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return self.parser.refuse(list.at, text);
        }
        let range = self.node(Kind::Ident(SORTED.to_owned()))?;
        let keys = self.fold(range, "map", args)?;
        let sorted = self.node(Kind::Ident(SORTED.to_owned()))?;
        let result = self.member("@sortByAssociatedKeys", sorted, vec![keys])?;
        self.bind(SORTED.to_owned(), list, result)
    }

    /// `value` under a name in `result`: a loop that does not turn.
    fn bind(&mut self, name: String, value: Expr, result: Expr) -> Parsed {
        let fold = Fold {
            range: self.node(Kind::List(Vec::new()))?,
            var: "#unused".to_owned(),
            second: None,
            accumulator: name.clone(),
            init: value,
            condition: self.literal(Literal::Bool(false))?,
            step: self.node(Kind::Ident(name))?,
            result,
        };
        self.node(Kind::Fold(Box::new(fold)))
    }

    /// The same tree, with ids of its own: each node has one type.
    fn copy(&mut self, expr: &Expr) -> Expr {
        let mut copy = expr.clone();
        self.parser.renumber(&mut copy);
        copy
    }

    fn only_if(&mut self, filter: Option<Expr>, next: Expr) -> Parsed {
        let Some(filter) = filter else { return Ok(next) };
        let unchanged = self.result()?;
        self.node(Kind::Ternary(Box::new([filter, next, unchanged])))
    }

    fn result(&mut self) -> Parsed {
        self.node(Kind::Ident(RESULT.to_owned()))
    }

    fn always(&mut self) -> Parsed {
        self.literal(Literal::Bool(true))
    }

    fn literal(&mut self, literal: Literal) -> Parsed {
        self.node(Kind::Literal(literal))
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Parsed {
        self.parser.call(self.at, function, args)
    }

    fn member(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Parsed {
        let target = Some(target);
        let call = Call { function: function.to_owned(), target, args, overload: None, pattern: None };
        self.node(Kind::Call(Box::new(call)))
    }

    fn node(&mut self, kind: Kind) -> Parsed {
        self.parser.node(self.at, kind)
    }
}
