//! Asking rules about an object.
//!
//! All rules of an object share one budget; when it is used up, the rest is not asked. A rule about something that an
//! update leaves as it was may fail without harm (ratcheting), unless it is about the change itself.

use std::ops::ControlFlow;

use sampan_cel::{Bindings, Budget, Error as Failure, Program};
use serde_json::Value;

use super::{OLD_SELF, Rule, Rules, SELF};
use crate::field::{Error, Path, Reason};
use crate::structural::{Schema, Type, before};

/// Longest message that an expression may make, in bytes.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Rules {
    /// The faults that the rules find in an object; `old` is what it replaces.
    pub(crate) fn faults(&self, object: &Value, old: Option<&Value>, schema: &Schema) -> Vec<Error> {
        let mut walk = Walk { faults: Vec::new(), budget: Budget::new(Budget::OBJECT) };
        let place = Place { value: object, old, counterpart: old.map(|old| (object, old)), path: Path::root() };
        // Whether it went to the end or not, what it found is in `faults`.
        let _ = walk.visit(&place, self, schema);
        walk.faults
    }
}

/// A value within an object.
struct Place<'v> {
    value: &'v Value,
    /// What was there before.
    old: Option<&'v Value>,
    /// The nearest value around this one that can be told to be the same as before, or another: now and before.
    counterpart: Option<(&'v Value, &'v Value)>,
    path: Path,
}

impl<'v> Place<'v> {
    /// A part of this value.
    fn part(&self, value: &'v Value, old: Option<&'v Value>, path: Path) -> Self {
        let old = old.filter(|_| self.old.is_some());
        let counterpart = old.map(|old| (value, old)).or(self.counterpart);
        Self { value, old: old.filter(|old| !old.is_null()), counterpart, path }
    }

    fn field(&self, name: &str, value: &'v Value, path: Path) -> Self {
        let mut part = self.part(value, self.old.and_then(|old| old.get(name)), path);
        // Both objects have been made to be of one version: that these are the same says nothing.
        if self.path == Path::root() && matches!(name, "apiVersion" | "kind") {
            part.counterpart = None;
        }
        part
    }

    fn is_unchanged(&self) -> bool {
        self.counterpart.is_some_and(|(now, before)| now == before)
    }
}

struct Walk {
    faults: Vec<Error>,
    budget: Budget,
}

impl Walk {
    /// Asks about a value and all its parts; breaks when nothing more may be asked.
    fn visit(&mut self, place: &Place<'_>, rules: &Rules, schema: &Schema) -> ControlFlow<()> {
        if place.value.is_null() {
            return ControlFlow::Continue(());
        }
        self.ask(place, rules, schema)?;
        match place.value {
            Value::Array(items) => {
                let (Some(rules), Some(item_schema)) = (&rules.items, &schema.items) else {
                    return ControlFlow::Continue(());
                };
                items.iter().enumerate().try_for_each(|(index, item)| {
                    let part = place.part(item, before(item, place.old, schema), place.path.index(index));
                    self.visit(&part, rules, item_schema)
                })
            }
            Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
                if let (Some(rules), Some(schema)) = (&rules.additional, &schema.additional) {
                    self.visit(&place.field(name, value, place.path.key(name)), rules, schema)?;
                }
                match (rules.properties.get(name), schema.properties.get(name)) {
                    (Some(rules), Some(schema)) => {
                        self.visit(&place.field(name, value, place.path.child(name)), rules, schema)
                    }
                    _ => ControlFlow::Continue(()),
                }
            }),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Asks the rules about a value as a whole.
    fn ask(&mut self, place: &Place<'_>, rules: &Rules, schema: &Schema) -> ControlFlow<()> {
        if rules.own.is_empty() {
            return ControlFlow::Continue(());
        }
        let ty = schema.ty.map_or("", Type::name);
        if self.budget.left() == 0 {
            self.faults.push(Error::invalid(&place.path, ty, OUT_OF_BUDGET));
            return ControlFlow::Break(());
        }
        let subject = Subject::new(place, rules, ty);
        let asked = |rule: &&Rule| !rule.is_transition || rule.has_optional_old || place.old.is_some();
        rules.own.iter().filter(asked).try_for_each(|rule| self.ask_one(rule, &subject))
    }

    fn ask_one(&mut self, rule: &Rule, subject: &Subject<'_, '_>) -> ControlFlow<()> {
        let Subject { place, ty, .. } = subject;
        let program = match &rule.program {
            Ok(program) => program,
            Err(text) => {
                self.faults.push(Error::invalid(&place.path, *ty, format!("rule compile error: {text}")));
                return ControlFlow::Continue(());
            }
        };
        let bindings = if rule.has_optional_old { &subject.optional } else { &subject.plain };
        let failure = match program.evaluate(bindings, &self.budget) {
            Ok(value) if value.as_bool() == Some(true) => return ControlFlow::Continue(()),
            Ok(_) => return self.refuse(rule, subject),
            Err(failure) => failure,
        };
        let goes_on = matches!(failure, Failure::Failed(_));
        self.faults.push(Error::invalid(&place.path, *ty, failure_text(&failure, rule.shown())));
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Says that a rule does not hold, unless that is as it was.
    fn refuse(&mut self, rule: &Rule, subject: &Subject<'_, '_>) -> ControlFlow<()> {
        let Subject { place, ty, .. } = subject;
        let path = rule.place.as_ref().map_or_else(|| place.path.clone(), |below| place.path.child(&below.to_string()));
        let message = match &rule.message_program {
            Some(Ok(program)) => self.message(program, &rule.message_source, subject),
            _ => Ok(None),
        };
        let (error, flow) = match message {
            Ok(made) => {
                let detail = made.unwrap_or_else(|| rule.default_message());
                (fault(rule.reason, &path, subject.shown(), detail), ControlFlow::Continue(()))
            }
            Err(text) => (Error::invalid(&path, *ty, text), ControlFlow::Break(())),
        };
        if rule.is_transition || !place.is_unchanged() {
            self.faults.push(error);
        }
        flow
    }

    /// The message that an expression makes, if it is one; an error says why nothing more is asked.
    fn message(&self, program: &Program, source: &str, subject: &Subject<'_, '_>) -> Result<Option<String>, String> {
        match program.evaluate(&subject.plain, &self.budget) {
            Ok(value) => {
                let text = value.as_str().unwrap_or_default().trim();
                let fits = !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
                Ok(fits.then(|| text.to_owned()))
            }
            Err(Failure::Failed(_)) => Ok(None),
            Err(Failure::CallLimit) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source:?}"
            )),
            Err(Failure::OutOfBudget) => Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned()),
        }
    }
}

/// A value as its rules see it.
struct Subject<'s, 'v> {
    place: &'s Place<'v>,
    ty: &'static str,
    /// `self`, and `oldSelf` if there is one.
    plain: Bindings<'v>,
    /// The same with an `oldSelf` that is an optional.
    optional: Bindings<'v>,
}

impl<'s, 'v> Subject<'s, 'v> {
    fn new(place: &'s Place<'v>, rules: &Rules, ty: &'static str) -> Self {
        let old = place.old.filter(|_| rules.own.iter().any(|rule| rule.is_transition));
        let bindings = || Bindings::new().typed(SELF, place.value, &rules.ty);
        let plain = match old {
            Some(old) => bindings().typed(OLD_SELF, old, &rules.ty),
            None => bindings(),
        };
        Self { place, ty, plain, optional: bindings().optional(OLD_SELF, old, &rules.ty) }
    }

    /// The value in faults; objects and lists are too long for that.
    fn shown(&self) -> Option<Value> {
        (!matches!(self.ty, "object" | "array")).then(|| self.place.value.clone())
    }
}

fn failure_text(failure: &Failure, rule: &str) -> String {
    match failure {
        Failure::Failed(text) if text.starts_with("no such overload") => format!(
            "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {rule}"
        ),
        Failure::Failed(text) => format!("{text} evaluating rule: {rule}"),
        Failure::CallLimit => {
            format!(
                "'{failure}': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"
            )
        }
        Failure::OutOfBudget => OUT_OF_BUDGET.to_owned(),
    }
}

fn fault(reason: Reason, path: &Path, value: Option<Value>, detail: String) -> Error {
    match reason {
        Reason::Forbidden => Error::forbidden(path, detail),
        Reason::Required => Error::required(path, detail),
        Reason::Duplicate => Error { reason, path: path.clone(), value, detail: String::new() },
        _ => Error { reason, path: path.clone(), value, detail },
    }
}
