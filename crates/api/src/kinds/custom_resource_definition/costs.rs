//! What the rules of a definition may cost by estimate, each by itself and all of a schema together.

use crate::validation::Cursor;

/// The most that one expression may cost.
const EXPRESSION: u64 = 10_000_000;
/// The most that all expressions of a schema may cost.
const SCHEMA: u64 = 100_000_000;
/// So many expressions are told to be the dearest.
const DEAREST: usize = 4;
/// What costs less is none of them.
const DEAR: u64 = SCHEMA / 100;

/// The expressions of a schema so far.
#[derive(Default)]
pub(super) struct Costs<'a> {
    total: u64,
    dearest: Vec<(u64, Cursor<'a>)>,
}

impl<'a> Costs<'a> {
    /// Counts an expression in, and refuses it if it costs too much by itself. `what` is the kind of cost.
    pub(super) fn add(&mut self, expression: Cursor<'a>, what: &str, cost: u64) {
        if cost > EXPRESSION {
            expression.forbidden(exceeds(what, cost, EXPRESSION));
        }
        self.total = self.total.saturating_add(cost);
        if cost < DEAR {
            return;
        }
        self.dearest.push((cost, expression));
        self.dearest.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.dearest.truncate(DEAREST);
    }

    /// Refuses the schema if all its expressions together cost too much.
    pub(super) fn judge(self, schema: &Cursor<'_>) {
        if self.total <= SCHEMA {
            return;
        }
        for (_, expression) in &self.dearest {
            expression
                .forbidden("contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        schema.forbidden(exceeds(what, self.total, SCHEMA));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        // Not 1.0, which would say that it is just right.
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// How many times a schema's parts can be there for each time that it is; `None` if nothing says so.
pub(super) fn multiplied(schema: &Cursor<'_>) -> Option<u64> {
    let said = |limit: &str| schema.get(limit).int().map(|limit| u64::try_from(limit).unwrap_or(0));
    match schema.get("type").text() {
        "object" if schema.get("additionalProperties").is_set() => said("maxProperties"),
        "array" => said("maxItems"),
        _ => Some(1),
    }
}
