//! `MatchResources`: what a policy, or one of its bindings, is about.

use sampan_api::kind::KindRef;
use sampan_api::selector::Selector;
use sampan_api::status::Status;
use serde_json::Value;

use crate::admission::Request;
use crate::admission::matching::{Rule, Target, seen_as, selects_namespace, selects_object};
use crate::registry::Registry;

/// A rule, perhaps only about objects of these names.
struct NamedRule {
    rule: Rule,
    names: Vec<String>,
}

/// What somebody is about.
pub(super) struct MatchResources {
    rules: Vec<NamedRule>,
    excluded: Vec<NamedRule>,
    /// Whether rules about another version or group of the same resource count as well.
    equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

impl MatchResources {
    /// What an object says; a selector that cannot be read selects nothing, and validation does not let one in.
    pub(super) fn of(resources: &Value) -> Self {
        let rules = |field: &str| resources[field].as_array().into_iter().flatten().map(NamedRule::of).collect();
        let selector = |field: &str| match &resources[field] {
            Value::Null => Selector::default(),
            selector => Selector::from_object(selector).unwrap_or_else(|_| Selector::nothing()),
        };
        Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: resources["matchPolicy"] != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// The form in which this wants to see the request; `None` if it is not about it.
    pub(super) fn concerns(
        &self,
        registry: &Registry,
        request: &Request<'_>,
        new: &Value,
    ) -> Result<Option<KindRef>, Status> {
        if !selects_object(&self.objects, request, new) || self.sees(&self.excluded, registry, request).is_some() {
            return Ok(None);
        }
        let Some(seen) = self.sees(&self.rules, registry, request) else { return Ok(None) };
        Ok(selects_namespace(&self.namespaces, registry, request, new)?.then_some(seen))
    }

    /// The same for a binding, which without rules is about all that its policy is about.
    pub(super) fn concerns_binding(
        &self,
        registry: &Registry,
        request: &Request<'_>,
        new: &Value,
    ) -> Result<bool, Status> {
        if !self.rules.is_empty() {
            return self.concerns(registry, request, new).map(|seen| seen.is_some());
        }
        let named =
            selects_object(&self.objects, request, new) && self.sees(&self.excluded, registry, request).is_none();
        Ok(named && selects_namespace(&self.namespaces, registry, request, new)?)
    }

    fn sees(&self, rules: &[NamedRule], registry: &Registry, request: &Request<'_>) -> Option<KindRef> {
        let name = &request.attempt.name;
        let named = |rule: &&NamedRule| rule.names.is_empty() || rule.names.contains(name);
        let matches =
            |target: &Target<'_>| rules.iter().filter(named).any(|rule| rule.rule.matches(request.operation, target));
        seen_as(registry, request, self.equivalent, matches)
    }
}

impl NamedRule {
    fn of(rule: &Value) -> Self {
        let names = rule["resourceNames"].as_array().into_iter().flatten();
        Self { rule: Rule::of(rule), names: names.filter_map(Value::as_str).map(str::to_owned).collect() }
    }
}
