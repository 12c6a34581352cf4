//! What differs between two objects, as sets of fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::place::{Grain, Place, entries, is_empty, items};
use super::set::{Path, Set, field};

/// The differences; no field is in two of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Only in the old object.
    pub(super) removed: Set,
    /// In both and different.
    pub(super) modified: Set,
    /// Only in the new object.
    pub(super) added: Set,
}

impl Comparison {
    /// The same without these fields and all below them.
    pub(super) fn without(self, fields: &Set) -> Self {
        Self {
            removed: self.removed.without_trees(fields),
            modified: self.modified.without_trees(fields),
            added: self.added.without_trees(fields),
        }
    }
}

/// Compares two objects.
pub(super) fn compare(old: &Value, new: &Value, place: Place<'_>) -> Comparison {
    let mut walk = Walk::default();
    walk.visit([Some(old), Some(new)], [true; 2], place);
    walk.result
}

/// What is at a place in the old object and in the new one.
type Sides<'v> = [Option<&'v Value>; 2];

#[derive(Default)]
struct Walk {
    path: Path,
    result: Comparison,
}

impl Walk {
    /// `is_there` says of each side whether it has the place, though its text may leave it out: upstream's structs always
    /// have the fields that are no pointers.
    fn visit(&mut self, [old, new]: Sides<'_>, is_there: [bool; 2], place: Place<'_>) {
        let grain = place.grain([old, new]);
        if is_there == [true; 2] && is_empty(old) && is_empty(new) && (old.is_none() || new.is_none()) {
            return;
        }
        if matches!(grain, Grain::Whole) || (is_empty(old) && is_empty(new)) {
            return self.note(old, new);
        }
        match grain {
            Grain::KeyedList | Grain::Set => self.visit_items(old, new, place, grain),
            _ => self.visit_fields([old, new], is_there, place),
        }
        if is_there != [true; 2] {
            self.note(old, new);
        }
    }

    /// Notes the present path in the set where it belongs.
    fn note(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.result.added.insert(&self.path),
            (_, None) => self.result.removed.insert(&self.path),
            (old, new) if old != new => self.result.modified.insert(&self.path),
            _ => {}
        }
    }

    fn visit_fields(&mut self, [old, new]: Sides<'_>, is_there: [bool; 2], place: Place<'_>) {
        let names: BTreeSet<&String> = entries(old).chain(entries(new)).map(|(name, _)| name).collect();
        for name in names {
            let below = [old, new].map(|side| side.and_then(|side| side.get(name)));
            let field_place = place.field(name);
            let is_implied = field_place.is_implied(field_place.grain(below));
            let is_there = [0, 1].map(|side| below[side].is_some() || (is_there[side] && is_implied));
            self.path.push(field(name));
            self.visit(below, is_there, field_place);
            self.path.pop();
        }
    }

    fn visit_items(&mut self, old: Option<&Value>, new: Option<&Value>, place: Place<'_>, grain: Grain) {
        let mut pairs: BTreeMap<String, [Vec<&Value>; 2]> = BTreeMap::new();
        for (side, list) in [old, new].into_iter().enumerate() {
            for item in items(list) {
                if let Ok(element) = place.element(grain, item) {
                    pairs.entry(element).or_default()[side].push(item);
                }
            }
        }
        for (element, [old, new]) in pairs {
            self.path.push(element);
            self.visit_item(&old, &new, place.item());
            self.path.pop();
        }
    }

    fn visit_one(&mut self, sides: Sides<'_>, place: Place<'_>) {
        self.visit(sides, sides.map(|side| side.is_some()), place);
    }

    /// Compares the items of one element; several are duplicates and count as a whole.
    fn visit_item(&mut self, old: &[&Value], new: &[&Value], place: Place<'_>) {
        match (old, new) {
            ([] | [_], [] | [_]) => self.visit_one([old.first().copied(), new.first().copied()], place),
            ([_, _, ..], [_, _, ..]) if old == new => {}
            ([_, _, ..], [_, _, ..]) => self.result.modified.insert(&self.path),
            ([_, _, ..], _) => {
                new.iter().for_each(|new| self.visit_one([None, Some(new)], place));
                self.result.removed.insert(&self.path);
            }
            _ => {
                old.iter().for_each(|old| self.visit_one([Some(old), None], place));
                self.result.added.insert(&self.path);
            }
        }
    }
}
