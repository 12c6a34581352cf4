//! A place in an object: its value, its path, and the list that its faults go to.
//!
//! A rule is a function of a [`Cursor`]; it reads downwards (`container.get("image")`) and says what is wrong where
//! it stands (`image.required("")`). Missing fields read as Go's zero values, so rules need no `Option`s.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::field::{Error, Path, Reason};
use crate::kinds::fill;

static NULL: Value = Value::Null;

/// Runs `rules` over an object and collects the faults they find.
pub(crate) fn check(object: &Value, rules: impl FnOnce(&Cursor<'_>)) -> Vec<Error> {
    let faults = RefCell::default();
    rules(&Cursor { value: object, path: Path::root(), faults: &faults });
    faults.into_inner()
}

/// A value somewhere in an object.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    value: &'a Value,
    path: Path,
    faults: &'a RefCell<Vec<Error>>,
}

/// Reading.
impl<'a> Cursor<'a> {
    /// The field `name`.
    pub(crate) fn get(&self, name: &str) -> Self {
        self.step(self.value.get(name).unwrap_or(&NULL), self.path.child(name))
    }

    /// The items of this list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(index, value)| self.step(value, self.path.index(index)))
    }

    /// The entries of this map.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> {
        let entries = self.value.as_object().into_iter().flat_map(Map::iter);
        entries.map(|(key, value)| (key.as_str(), self.step(value, self.path.key(key))))
    }

    /// The entry `key` of this map.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.step(self.value.get(key).unwrap_or(&NULL), self.path.key(key))
    }

    /// The fields of this object.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, Self)> {
        let fields = self.value.as_object().into_iter().flat_map(Map::iter);
        fields.map(|(name, value)| (name.as_str(), self.step(value, self.path.child(name))))
    }

    /// The item at `index` of this list, there or not.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.step(self.value.get(index).unwrap_or(&NULL), self.path.index(index))
    }

    /// The same value, whose faults are said to be at the top-level field `name`.
    pub(crate) fn reported_at(&self, name: &str) -> Self {
        self.at(&Path::new(name))
    }

    /// The same value, whose faults are said to be at `path`.
    pub(crate) fn at(&self, path: &Path) -> Self {
        self.step(self.value, path.clone())
    }

    /// This place, holding `value` instead.
    pub(crate) fn showing<'b>(&'b self, value: &'b Value) -> Cursor<'b> {
        Cursor { value, path: self.path.clone(), faults: self.faults }
    }

    /// Where this is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn step(&self, value: &'a Value, path: Path) -> Self {
        Self { value, path, faults: self.faults }
    }

    /// The value itself.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// The string, or `""`.
    pub(crate) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The integer, if there is one.
    pub(crate) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The strings of this list.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.value.as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether this is `true`.
    pub(crate) fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    /// Whether the field is there (and not null).
    pub(crate) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether the field holds nothing but its zero value: missing, `""`, 0, `[]`, `{}`.
    pub(crate) fn is_empty(&self) -> bool {
        fill::is_zero(self.value) || self.value.as_object().is_some_and(Map::is_empty)
    }

    /// How many items or entries there are.
    pub(crate) fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }
}

/// Saying what is wrong here.
impl Cursor<'_> {
    /// Adds a fault of any kind.
    pub(crate) fn fault(&self, error: Error) {
        self.faults.borrow_mut().push(error);
    }

    /// Adds a fault of a value here that was judged by itself: its path is one below this place.
    pub(crate) fn fault_below(&self, fault: Error) {
        let (below, own) = (fault.path.to_string(), self.path.to_string());
        let place = if fault.path == Path::root() {
            self.path.clone()
        } else if below.starts_with('[') {
            Path::new(&format!("{own}{below}"))
        } else {
            self.path.child(&below)
        };
        let detail = fault.detail.replacen(&format!("{below} in body"), &format!("{place} in body"), 1);
        self.fault(Error { path: place, detail, ..fault });
    }

    /// Where this is, as faults name it.
    pub(crate) fn place(&self) -> String {
        self.path.to_string()
    }

    /// How many faults there are so far.
    pub(crate) fn fault_count(&self) -> usize {
        self.faults.borrow().len()
    }

    /// A value is missing.
    pub(crate) fn required(&self, detail: &str) {
        self.fault(Error::required(&self.path, detail));
    }

    /// The value is wrong.
    pub(crate) fn invalid(&self, detail: impl Into<String>) {
        self.invalid_as(self.value.clone(), detail);
    }

    /// The value is wrong, and is shown as `value`.
    pub(crate) fn invalid_as(&self, value: impl Into<Value>, detail: impl Into<String>) {
        self.fault(Error::invalid(&self.path, value, detail));
    }

    /// The value is wrong, and is not shown.
    pub(crate) fn wrong(&self, detail: &str) {
        self.fault(Error { value: None, ..Error::invalid(&self.path, Value::Null, detail) });
    }

    /// The value is there already.
    pub(crate) fn duplicate(&self) {
        self.duplicate_as(self.value.clone());
    }

    /// The value is there already, and is shown as `value`.
    pub(crate) fn duplicate_as(&self, value: impl Into<Value>) {
        self.fault(Error::duplicate(&self.path, value));
    }

    /// The value is there already, in the sense that `detail` explains.
    pub(crate) fn duplicate_because(&self, detail: &str) {
        self.fault(Error { detail: detail.to_owned(), ..Error::duplicate(&self.path, self.value.clone()) });
    }

    /// The value is none of these.
    pub(crate) fn not_supported(&self, supported: &[&str]) {
        // A missing string reads as "", as it does in Go.
        let value = if self.is_set() { self.value.clone() } else { Value::from("") };
        self.not_supported_as(value, supported);
    }

    /// The value is none of these, and is shown as `value`.
    pub(crate) fn not_supported_as(&self, value: impl Into<Value>, supported: &[&str]) {
        self.fault(Error::not_supported(&self.path, value, supported));
    }

    /// The field may not be set, or not like this.
    pub(crate) fn forbidden(&self, detail: impl Into<String>) {
        self.fault(Error::forbidden(&self.path, detail));
    }

    /// It could not be looked at.
    pub(crate) fn internal(&self, detail: &str) {
        let (path, detail) = (self.path.clone(), detail.to_owned());
        self.fault(Error { reason: Reason::Internal, path, value: None, detail });
    }

    /// Nothing of that name exists.
    pub(crate) fn not_found(&self) {
        self.fault(Error::not_found(&self.path, self.text()));
    }

    /// The value has too many bytes.
    pub(crate) fn too_long(&self, max_bytes: usize) {
        self.fault(Error::too_long(&self.path, max_bytes));
    }

    /// The list has too many items.
    pub(crate) fn too_many(&self, max: usize) {
        self.fault(Error::too_many(&self.path, self.len(), max));
    }
}

/// Small rules that recur.
impl Cursor<'_> {
    /// The string must follow `rule`, one of [`super::names`].
    pub(crate) fn follows(&self, rule: impl Fn(&str) -> Vec<String>) {
        for fault in rule(self.text()) {
            self.invalid_as(self.text(), fault);
        }
    }

    /// The string must be there and follow `rule`.
    pub(crate) fn must_follow(&self, rule: impl Fn(&str) -> Vec<String>) {
        if self.must() {
            self.follows(rule);
        }
    }

    /// The string, if it is there, must follow `rule`.
    pub(crate) fn may_follow(&self, rule: impl Fn(&str) -> Vec<String>) {
        if !self.is_empty() {
            self.follows(rule);
        }
    }

    /// The value must be there; answers whether it is.
    pub(crate) fn must(&self) -> bool {
        if self.is_empty() {
            self.required("");
        }
        !self.is_empty()
    }

    /// The string must be one of these.
    pub(crate) fn must_be_one_of(&self, supported: &[&str]) {
        if self.must() && !supported.contains(&self.text()) {
            self.not_supported(supported);
        }
    }

    /// The string, if the field is there, must be one of these.
    pub(crate) fn may_be_one_of(&self, supported: &[&str]) {
        if self.is_set() && !supported.contains(&self.text()) {
            self.not_supported(supported);
        }
    }

    /// The integer, if it is there, must be in this range.
    pub(crate) fn in_range(&self, range: RangeInclusive<i64>) {
        if self.int().is_some_and(|number| !range.contains(&number)) {
            self.invalid(super::names::inclusive_range(&range));
        }
    }

    /// The integer, if it is there, must not be negative.
    pub(crate) fn non_negative(&self) {
        if self.int().is_some_and(i64::is_negative) {
            self.invalid("must be greater than or equal to 0");
        }
    }

    /// The field must be what it was.
    pub(crate) fn immutable(&self, old: &Value) {
        if !super::same::same(self.value, old) {
            self.invalid("field is immutable");
        }
    }
}
