//! What the kinds of `storage.k8s.io` have in common.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::cursor::Cursor;
use super::names;
use super::same::same;

/// How many parameters a class may have, and how many bytes together.
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETER_BYTES: usize = 256 * 1024;
const MAX_DRIVER_BYTES: usize = 63;

/// The name of a provisioner or driver: a qualified name whose case does not matter.
pub(crate) fn driver(driver: &Cursor<'_>) {
    let name = driver.text().to_lowercase();
    if driver.must() {
        for fault in names::qualified(&name) {
            driver.invalid_as(name.as_str(), fault);
        }
    }
}

/// The name of a CSI driver, or of a driver of devices.
pub(crate) fn driver_name(name: &Cursor<'_>) {
    name.must();
    driver_name_text(name.text(), name);
}

/// The same for a name that is part of the text at `at`.
pub(crate) fn driver_name_text(name: &str, at: &Cursor<'_>) {
    if name.len() > MAX_DRIVER_BYTES {
        at.too_long(MAX_DRIVER_BYTES);
    }
    for fault in names::subdomain(&name.to_lowercase()) {
        at.invalid_as(name, fault);
    }
}

/// The parameters of a class.
pub(crate) fn parameters(parameters: &Cursor<'_>) {
    if parameters.len() > MAX_PARAMETERS {
        parameters.too_long(MAX_PARAMETERS);
        return;
    }
    let mut bytes = 0;
    for (name, value) in parameters.entries() {
        if name.is_empty() {
            parameters.invalid_as("", "field can not be empty.");
        }
        bytes += name.len() + value.text().len();
    }
    if bytes > MAX_PARAMETER_BYTES {
        parameters.too_long(MAX_PARAMETER_BYTES);
    }
}

/// The field `name` must be what it was.
pub(crate) fn stays(new: &Cursor<'_>, old: &Value, name: &str) {
    if !same(new.value(), old) {
        new.forbidden(format!("updates to {name} are forbidden."));
    }
}

/// `allowedTopologies`: no two terms alike, in each term every key once.
pub(crate) fn topologies(terms: &Cursor<'_>) {
    let mut known: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for term in terms.items() {
        let expressions = term.get("matchLabelExpressions");
        let mut all = BTreeMap::new();
        for expression in expressions.items() {
            let key = expression.get("key");
            let values = topology_values(&expression.get("values"));
            key.follows(names::qualified);
            if all.insert(key.text(), values).is_some() {
                key.duplicate();
            }
        }
        // An empty term is like the ones before the first, in upstream too.
        if known.contains(&all) || all.is_empty() {
            expressions.duplicate_as("");
        }
        known.push(all);
    }
}

fn topology_values<'a>(values: &Cursor<'a>) -> BTreeSet<&'a str> {
    if values.is_empty() {
        values.required("");
    }
    let mut taken = BTreeSet::new();
    for value in values.items() {
        if !taken.insert(value.text()) {
            value.duplicate();
        }
    }
    taken
}

/// The tokens a driver wants: each audience once, none for less than ten minutes.
pub(crate) fn token_requests(requests: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for request in requests.items() {
        let audience = request.get("audience");
        if !taken.insert(audience.text()) {
            audience.duplicate_as(audience.text());
            continue;
        }
        super::subresources::token_seconds(&request.get("expirationSeconds"));
    }
}
