//! What objects use of a ResourceQuota: counts, compute resources, storage, ports; and whether there is room for more.
//!
//! Pure: [`usage`] measures one object, [`covers`] says whether a quota concerns it, [`charge`] whether it still fits.
//! Admission charges before it stores; the controller adds up again what is there.

mod claims;
mod pods;
mod services;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

use crate::amounts::{self, Amounts};
use crate::quantity::Quantity;

/// A resource by its group (empty for core) and plural name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// `pods`
    pub plural: &'a str,
}

/// Resources that are counted under their plain name too.
const ALSO_PLAIN: [&str; 6] =
    ["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];

impl Resource<'_> {
    fn is_core(&self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }

    /// `count/deployments.apps`
    fn count_name(&self) -> String {
        if self.group.is_empty() {
            format!("count/{}", self.plural)
        } else {
            format!("count/{}.{}", self.plural, self.group)
        }
    }

    /// Whether an amount called `name` in a quota is about objects of this resource.
    pub fn is_counted_as(&self, name: &str) -> bool {
        let plain = self.group.is_empty() && ALSO_PLAIN.contains(&self.plural) && name == self.plural;
        let own = match self.plural {
            "pods" if self.group.is_empty() => pods::is_counted_as(name),
            "services" if self.group.is_empty() => services::is_counted_as(name),
            "persistentvolumeclaims" if self.group.is_empty() => claims::is_counted_as(name),
            _ => false,
        };
        plain || own || name == self.count_name()
    }
}

fn one() -> Quantity {
    Quantity::from_units(1)
}

/// What an object uses, by all the names it may be counted under.
pub fn usage(resource: Resource, object: &Value, now: Timestamp) -> Amounts {
    let mut used = Amounts::from([(resource.count_name(), one())]);
    if resource.group.is_empty() && ALSO_PLAIN.contains(&resource.plural) {
        used.insert(resource.plural.to_owned(), one());
    }
    let own = match resource.plural {
        "pods" if resource.group.is_empty() => pods::usage(object, now),
        "services" if resource.group.is_empty() => services::usage(object),
        "persistentvolumeclaims" if resource.group.is_empty() => claims::usage(object),
        _ => Amounts::new(),
    };
    used.extend(own);
    used
}

/// One condition on the objects that a quota is about.
struct Scope<'a> {
    name: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

impl Scope<'_> {
    /// Whether a value (none if the object has none) is as the condition wants it.
    fn takes(&self, values: &[&str]) -> bool {
        let listed = values.iter().any(|value| self.values.contains(value));
        match self.operator {
            "In" => listed,
            "NotIn" => !listed,
            "DoesNotExist" => values.is_empty(),
            _ => !values.is_empty(),
        }
    }
}

fn scopes(quota: &Value) -> impl Iterator<Item = Scope<'_>> {
    let plain = quota["spec"]["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let plain = plain.map(|name| Scope { name, operator: "Exists", values: Vec::new() });
    let chosen = quota["spec"]["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let chosen = chosen.map(|chosen| Scope {
        name: chosen["scopeName"].as_str().unwrap_or_default(),
        operator: chosen["operator"].as_str().unwrap_or_default(),
        values: chosen["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    });
    plain.chain(chosen)
}

/// Whether a quota is about this object: it counts something of its resource, and the object is in all of its scopes.
/// `hard` are the amounts that the quota bounds.
pub fn covers(quota: &Value, hard: &Amounts, resource: Resource, object: &Value) -> bool {
    let in_scope = |scope: Scope| match resource.plural {
        "pods" if resource.group.is_empty() => pods::is_in(object, &scope),
        "persistentvolumeclaims" if resource.group.is_empty() => claims::is_in(object, &scope),
        _ => false,
    };
    hard.keys().any(|name| resource.is_counted_as(name)) && scopes(quota).all(in_scope)
}

/// What `objects` use of a quota together: every amount that it bounds and that their resource is counted under.
pub fn used<'a>(
    quota: &Value,
    resource: Resource,
    objects: impl Iterator<Item = &'a Value>,
    now: Timestamp,
) -> Amounts {
    let hard = amounts::read(&quota["spec"]["hard"]);
    let mut sum = amounts::only(&hard, |name| resource.is_counted_as(name));
    sum.values_mut().for_each(|amount| *amount = Quantity::ZERO);
    for object in objects.filter(|object| covers(quota, &hard, resource, object)) {
        amounts::add(&mut sum, &amounts::only(&usage(resource, object, now), |name| hard.contains_key(name)));
    }
    sum
}

/// An object on its way into the store.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// What it is.
    pub resource: Resource<'a>,
    /// Through which subresource it is written; empty for the object itself.
    pub subresource: &'a str,
    /// As it will be.
    pub new: &'a Value,
    /// As it is, if it is there.
    pub old: Option<&'a Value>,
    /// When.
    pub now: Timestamp,
}

impl Change<'_> {
    /// Whether the change could use more than before.
    pub fn matters(&self) -> bool {
        match (self.subresource, self.old) {
            ("", None) => true,
            ("", Some(old)) if self.resource.is_core("pods") => {
                pods::is_terminating(old) != pods::is_terminating(self.new)
            }
            ("", Some(_)) => self.resource.is_core("services") || self.resource.is_core("persistentvolumeclaims"),
            ("resize", Some(_)) => self.resource.is_core("pods"),
            _ => false,
        }
    }

    /// How much more is used by the amounts of `quota`.
    fn delta(&self, quota: &Value, hard: &Amounts) -> Amounts {
        let mut delta = usage(self.resource, self.new, self.now);
        if let Some(old) = self.old.filter(|old| covers(quota, hard, self.resource, old)) {
            for (name, before) in usage(self.resource, old, self.now) {
                let amount = delta.entry(name).or_insert(Quantity::ZERO);
                *amount = (*amount - before).max(Quantity::ZERO);
            }
        }
        amounts::only(&delta, |name| hard.contains_key(name) && delta.get(name).is_some_and(|amount| !amount.is_zero()))
    }
}

/// What `quota` has used after the change; `None` if the change is none of its business, `Err` why it is not allowed.
pub fn charge(quota: &Value, change: Change) -> Result<Option<Amounts>, String> {
    let name = quota["metadata"]["name"].as_str().unwrap_or_default();
    let hard = amounts::read(&quota["status"]["hard"]);
    if !covers(quota, &hard, change.resource, change.new) {
        return Ok(None);
    }
    let counted: Vec<&str> =
        hard.keys().map(String::as_str).filter(|name| change.resource.is_counted_as(name)).collect();
    if change.resource.is_core("pods") {
        pods::check_stated(change.new, &counted).map_err(|why| format!("failed quota: {name}: {why}"))?;
    }
    let mut used = amounts::read(&quota["status"]["used"]);
    if counted.iter().any(|amount| !used.contains_key(*amount)) {
        return Err(format!("status unknown for quota: {name}, resources: {}", counted.join(",")));
    }
    let delta = change.delta(quota, &hard);
    if delta.is_empty() {
        return Ok(None);
    }
    let before = used.clone();
    amounts::add(&mut used, &delta);
    let exceeded = |name: &str| delta.contains_key(name) && used.get(name) > hard.get(name);
    if !hard.keys().any(|name| exceeded(name)) {
        return Ok(Some(used));
    }
    let [requested, used, limited] =
        [&delta, &before, &hard].map(|amounts| amounts::sentence(&amounts::only(amounts, exceeded)));
    Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"))
}
