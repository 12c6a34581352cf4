//! What the kinds of `resource.k8s.io` have in common: requests for devices, their configuration, taints, names.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::cursor::Cursor;
use super::{names, storage};

/// The bounds of lists and texts.
const MAX_REQUESTS: usize = 32;
const MAX_CONSTRAINTS: usize = 32;
const MAX_CONFIGS: usize = 32;
const MAX_SELECTORS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_RESULTS: usize = 32;
const MAX_BINDING_CONDITIONS: usize = 4;
const MAX_EXPRESSION_BYTES: usize = 10 * 1024;
const MAX_PARAMETERS_BYTES: usize = 10 * 1024;
const MAX_POOL_BYTES: usize = 253;
const MAX_IDENTIFIER_BYTES: usize = 32;

const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const REQUEST_REFERENCE: &str = "must be the name of a request in the claim or the name of a request and a subrequest \
                                 separated by '/'";

/// Whether a list has more than `max` items, and says so: then nothing else about it matters.
pub(crate) fn too_many(list: &Cursor<'_>, max: usize) -> bool {
    if list.len() > max {
        list.too_many(max);
    }
    list.len() > max
}

/// Items whose key is there already are faults.
pub(crate) fn unique(list: &Cursor<'_>, key: impl Fn(&Cursor<'_>) -> String) {
    let mut taken = HashSet::new();
    for item in list.items() {
        let key = key(&item);
        if !taken.insert(key.clone()) {
            item.duplicate_as(key);
        }
    }
}

fn name_of(item: &Cursor<'_>) -> String {
    item.get("name").text().to_owned()
}

fn itself(item: &Cursor<'_>) -> String {
    item.text().to_owned()
}

/// The name of a pool: subdomains with slashes between.
pub(crate) fn pool_name(name: &Cursor<'_>) {
    if !name.must() {
        return;
    }
    if name.text().len() > MAX_POOL_BYTES {
        name.too_long(MAX_POOL_BYTES);
    }
    for part in name.text().split('/') {
        for fault in names::subdomain(part) {
            name.invalid_as(part, fault);
        }
    }
}

/// The name of an attribute or capacity: an identifier, perhaps below a driver's domain.
pub(crate) fn qualified_name(name: &str, at: &Cursor<'_>) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, at),
        [domain, id] => {
            match domain {
                "" => at.invalid_as("", "the domain must not be empty"),
                _ => storage::driver_name_text(domain, at),
            }
            match id {
                "" => at.invalid_as("", "the name must not be empty"),
                _ => identifier(id, at),
            }
        }
        _ => {}
    }
}

fn fully_qualified_name(name: &Cursor<'_>) {
    qualified_name(name.text(), name);
    if !name.text().contains('/') {
        name.invalid("a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn identifier(id: &str, at: &Cursor<'_>) {
    if id.len() > MAX_IDENTIFIER_BYTES {
        at.too_long(MAX_IDENTIFIER_BYTES);
    }
    for fault in names::c_identifier(id) {
        at.invalid_as(id, fault);
    }
}

/// The spec of a claim, or of the claims of a template.
pub(crate) fn claim_spec(spec: &Cursor<'_>) {
    let devices = spec.get("devices");
    let (requests, constraints, configs) = (devices.get("requests"), devices.get("constraints"), devices.get("config"));
    let known = RequestNames::of(&devices);
    if !too_many(&requests, MAX_REQUESTS) {
        requests.items().for_each(|request| self::request(&request));
        unique(&requests, name_of);
    }
    if !too_many(&constraints, MAX_CONSTRAINTS) {
        constraints.items().for_each(|constraint| self::constraint(&constraint, &known));
    }
    if !too_many(&configs, MAX_CONFIGS) {
        for config in configs.items() {
            request_references(&config.get("requests"), &known);
            configuration(&config);
        }
    }
}

/// The names of a claim's requests, each with those of its alternatives.
pub(crate) struct RequestNames<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> RequestNames<'a> {
    /// Those of `spec.devices`.
    pub(crate) fn of(devices: &Cursor<'a>) -> Self {
        let alternatives = |request: &Cursor<'a>| -> HashSet<&'a str> {
            request.get("firstAvailable").items().map(|alternative| alternative.get("name").text()).collect()
        };
        Self(devices.get("requests").items().map(|r| (r.get("name").text(), alternatives(&r))).collect())
    }

    fn has(&self, reference: &str) -> bool {
        match reference.split_once('/') {
            None => self.0.contains_key(reference),
            Some((request, alternative)) => self.0.get(request).is_some_and(|known| known.contains(alternative)),
        }
    }
}

fn request(request: &Cursor<'_>) {
    request.get("name").follows(names::label);
    let (exactly, alternatives) = (request.get("exactly"), request.get("firstAvailable"));
    match (exactly.is_set(), !alternatives.is_empty()) {
        (false, false) => request.required("exactly one of `exactly` or `firstAvailable` is required"),
        (true, true) => request.invalid_as(
            Value::Null,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        ),
        (true, false) => wanted(&exactly),
        (false, true) if too_many(&alternatives, MAX_ALTERNATIVES) => {}
        (false, true) => {
            for alternative in alternatives.items() {
                alternative.get("name").follows(names::label);
                wanted(&alternative);
            }
            unique(&alternatives, name_of);
        }
    }
}

/// What is wanted: devices of a class, so many of them.
fn wanted(request: &Cursor<'_>) {
    request.get("deviceClassName").must_follow(names::subdomain);
    selectors(&request.get("selectors"));
    let (mode, count) = (request.get("allocationMode"), request.get("count"));
    match mode.text() {
        "All" if !count.is_empty() => count.invalid("must not be specified when allocationMode is 'All'"),
        "ExactCount" if count.int().unwrap_or_default() <= 0 => {
            count.invalid_as(count.int().unwrap_or_default(), "must be greater than zero");
        }
        "All" | "ExactCount" => {}
        _ => mode.not_supported(&["All", "ExactCount"]),
    }
    request.get("tolerations").items().for_each(|toleration| self::toleration(&toleration));
}

/// `selectors` of a request or a class.
pub(crate) fn selectors(selectors: &Cursor<'_>) {
    if too_many(selectors, MAX_SELECTORS) {
        return;
    }
    for cel in selectors.items().map(|selector| selector.get("cel")) {
        if !cel.is_set() {
            cel.required("");
        } else if cel.get("expression").text().len() > MAX_EXPRESSION_BYTES {
            cel.get("expression").too_long(MAX_EXPRESSION_BYTES);
        }
    }
}

fn constraint(constraint: &Cursor<'_>, known: &RequestNames<'_>) {
    request_references(&constraint.get("requests"), known);
    let (same, distinct) = (constraint.get("matchAttribute"), constraint.get("distinctAttribute"));
    if same.is_set() {
        fully_qualified_name(&same);
    } else if distinct.is_set() {
        fully_qualified_name(&distinct);
    } else {
        constraint.required(
            "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
        );
    }
}

fn request_references(references: &Cursor<'_>, known: &RequestNames<'_>) {
    if !too_many(references, MAX_REQUESTS) {
        references.items().for_each(|reference| request_reference(&reference, known));
        unique(references, itself);
    }
}

fn request_reference(reference: &Cursor<'_>, known: &RequestNames<'_>) {
    let parts: Vec<&str> = reference.text().split('/').collect();
    if parts.len() > 2 {
        return reference.invalid(REQUEST_REFERENCE);
    }
    for fault in parts.into_iter().flat_map(names::label) {
        reference.invalid_as(reference.text(), fault);
    }
    if !known.has(reference.text()) {
        reference.invalid_as(reference.text(), REQUEST_REFERENCE);
    }
}

/// `config` of a class.
pub(crate) fn class_configs(configs: &Cursor<'_>) {
    if !too_many(configs, MAX_CONFIGS) {
        configs.items().for_each(|config| configuration(&config));
    }
}

fn configuration(config: &Cursor<'_>) {
    let opaque = config.get("opaque");
    if !opaque.is_set() {
        return opaque.required("");
    }
    storage::driver_name(&opaque.get("driver"));
    any_object(&opaque.get("parameters"), MAX_PARAMETERS_BYTES);
}

/// A JSON object of any form, of so many bytes at most.
pub(crate) fn any_object(object: &Cursor<'_>, max_bytes: usize) {
    match object.value() {
        Value::Null => object.required(""),
        value if value.to_string().len() > max_bytes => object.too_long(max_bytes),
        Value::Object(_) => {}
        _ => object.invalid_as("<value omitted>", "must be a valid JSON object"),
    }
}

/// A device's taint; its effect may stay what it was.
pub(crate) fn taint(taint: &Cursor<'_>, effect_before: Option<&str>) {
    let (value, effect) = (taint.get("value"), taint.get("effect"));
    taint.get("key").follows(names::qualified);
    value.may_follow(names::label_value);
    if effect_before != Some(effect.text()) {
        effect.must_be_one_of(EFFECTS);
    }
}

fn toleration(toleration: &Cursor<'_>) {
    let (operator, value, effect) = (toleration.get("operator"), toleration.get("value"), toleration.get("effect"));
    toleration.get("key").may_follow(names::qualified);
    match operator.text() {
        "Exists" if !value.is_empty() => value.invalid("must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => value.follows(names::label_value),
        "" => operator.required(""),
        _ => operator.not_supported(&["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        effect.must_be_one_of(EFFECTS);
    }
}

/// `bindingConditions` and `bindingFailureConditions`: both or neither, and apart from each other.
pub(crate) fn binding_conditions(device: &Cursor<'_>) {
    let (conditions, failures) = (device.get("bindingConditions"), device.get("bindingFailureConditions"));
    for list in [&conditions, &failures] {
        if !too_many(list, MAX_BINDING_CONDITIONS) {
            list.items().for_each(|condition| condition.follows(names::qualified));
        }
    }
    unique(&conditions, itself);
    unique(&failures, itself);
    for failure in failures.items().filter(|failure| conditions.texts().any(|text| text == failure.text())) {
        failure.invalid("bindingFailureConditions must not overlap with bindingConditions");
    }
    if conditions.is_empty() && !failures.is_empty() {
        conditions.invalid("bindingConditions are required to use bindingFailureConditions");
    }
    if failures.is_empty() && !conditions.is_empty() {
        failures.invalid("bindingFailureConditions are required to use bindingConditions");
    }
}

/// What a claim has been given.
pub(crate) fn allocation(allocation: &Cursor<'_>, known: &RequestNames<'_>) {
    let (results, configs) = (allocation.get("devices").get("results"), allocation.get("devices").get("config"));
    if !too_many(&results, MAX_RESULTS) {
        for result in results.items() {
            request_reference(&result.get("request"), known);
            device_id(&result);
            binding_conditions(&result);
        }
    }
    // Of the class and of the claim.
    if !too_many(&configs, 2 * MAX_CONFIGS) {
        for config in configs.items() {
            config.get("source").must_be_one_of(&["FromClaim", "FromClass"]);
            request_references(&config.get("requests"), known);
            configuration(&config);
        }
    }
    if allocation.get("nodeSelector").is_set() {
        super::node_selector(&allocation.get("nodeSelector"), "");
    }
}

/// Driver, pool, name and share of a device.
pub(crate) fn device_id(device: &Cursor<'_>) {
    storage::driver_name(&device.get("driver"));
    pool_name(&device.get("pool"));
    device.get("device").follows(names::label);
    let share = device.get("shareID");
    if share.is_set() {
        share.follows(names::uuid);
    }
}
