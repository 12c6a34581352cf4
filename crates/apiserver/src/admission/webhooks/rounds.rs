//! Who is asked again when something changed after it was asked.
//!
//! A change by any webhook brings a second round: all built-in plugins, and of the webhooks those that want it and
//! whose answer is older than the last change. There is no third round, and nobody is asked for the first time in the
//! second.

use std::collections::BTreeSet;

use serde_json::Value;

type Id = (String, String);

/// The state of a request between its rounds.
#[derive(Default)]
pub(crate) struct Rounds {
    second: bool,
    changed: bool,
    /// The object as the webhooks left it.
    left: Option<Value>,
    /// Reinvocable webhooks that were asked since the last change.
    asked: BTreeSet<Id>,
    /// Those that have to be asked again.
    due: BTreeSet<Id>,
}

impl Rounds {
    /// The number of the round, from 0.
    pub(crate) fn number(&self) -> usize {
        usize::from(self.second)
    }

    /// The webhooks' part of a round begins with this object.
    pub(crate) fn begin(&mut self, object: &Value) {
        if self.second && self.left.as_ref() != Some(object) {
            self.require();
        }
    }

    /// Whether this webhook has its turn in this round.
    pub(crate) fn calls(&self, (configuration, name): (&str, &str)) -> bool {
        !self.second || self.due.contains(&(configuration.to_owned(), name.to_owned()))
    }

    /// A webhook was asked.
    pub(crate) fn asked(&mut self, (configuration, name): (&str, &str), changed: bool, reinvocable: bool) {
        if changed {
            self.changed = true;
            self.require();
        }
        if reinvocable {
            self.asked.insert((configuration.to_owned(), name.to_owned()));
        }
    }

    /// The webhooks' part of a round ends with this object.
    pub(crate) fn end(&mut self, object: &Value) {
        self.left = Some(object.clone());
    }

    /// Whether there is another round; if so, it has begun.
    pub(crate) fn next(&mut self) -> bool {
        let again = self.changed && !self.second;
        self.second = true;
        again
    }

    fn require(&mut self) {
        self.due.append(&mut self.asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whoever_was_asked_before_a_change_is_asked_again() {
        let (first, second) = (("c", "first"), ("c", "second"));
        let mut rounds = Rounds::default();
        rounds.begin(&json!(1));
        rounds.asked(first, false, true);
        rounds.asked(second, true, true);
        rounds.end(&json!(2));
        assert!(rounds.next());
        rounds.begin(&json!(2));
        assert!(rounds.calls(first) && !rounds.calls(second));
        assert!(!rounds.next());
    }

    #[test]
    fn a_change_by_a_plugin_counts_as_well() {
        let mut rounds = Rounds::default();
        rounds.begin(&json!(1));
        rounds.asked(("c", "only"), true, true);
        rounds.end(&json!(2));
        assert!(rounds.next());
        assert!(!rounds.calls(("c", "only")));
        rounds.begin(&json!(3));
        assert!(rounds.calls(("c", "only")));
    }

    #[test]
    fn without_a_change_there_is_one_round() {
        let mut rounds = Rounds::default();
        rounds.begin(&json!(1));
        rounds.asked(("c", "only"), false, true);
        rounds.end(&json!(1));
        assert!(!rounds.next());
    }
}
