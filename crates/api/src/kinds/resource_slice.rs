//! ResourceSlice: devices that a driver offers, on a node or for several.

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;
use std::sync::OnceLock;

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs, Writer};
use crate::validation::{Cursor, check, devices, names, node_selector, same, storage};

/// `resourceslices.resource.k8s.io`
pub static RESOURCE_SLICE: Kind = Kind {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.resource.v1.ResourceSlice",
    storage: "resourceslices",
    columns: &[cells::NAME, cells::text("Node"), cells::text("Driver"), cells::text("Pool"), cells::AGE],
    rules: &SliceRules,
};

const MAX_DEVICES: usize = 128;
/// The same when any device has taints or uses counters.
const MAX_RICH_DEVICES: usize = 64;
const MAX_COUNTER_SETS: usize = 8;
const MAX_COUNTERS: usize = 32;
const MAX_CONSUMPTIONS: usize = 2;
const MAX_ATTRIBUTES_AND_CAPACITIES: usize = 32;
const MAX_TAINTS: usize = 16;
const MAX_VALUE_BYTES: usize = 64;

struct SliceRules;

impl Rules for SliceRules {
    fn note_writer(&self, new: &mut Value, old: Option<&Value>, writer: &Writer<'_>) {
        // A taint without a time is there since it was first seen.
        let now = writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        fill::each(new, "/spec/devices", |device| {
            let before = old.and_then(|old| read::find(old, "/spec/devices", "name", read::text(device, "/name")));
            let before = before.map(|device| read::list(device, "/taints")).unwrap_or_default();
            fill::each(device, "/taints", |taint| {
                let same = |old: &&Value| ["key", "value", "effect"].iter().all(|field| old[*field] == taint[*field]);
                let since = before.iter().find(same).and_then(|old| old["timeAdded"].as_str()).unwrap_or(&now);
                fill::absent(taint, "timeAdded", since);
            });
        });
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |slice| {
            let spec = slice.get("spec");
            storage::driver_name(&spec.get("driver"));
            pool(&spec.get("pool"));
            where_it_is(&spec);
            if spec.get("sharedCounters").is_set() && spec.get("devices").is_set() {
                spec.invalid_as("", "only one of `sharedCounters` or `devices` is allowed");
            }
            all_devices(&spec);
            counter_sets(&spec.get("sharedCounters"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |slice| {
            let spec = slice.get("spec");
            spec.get("pool").get("name").immutable(&old["spec"]["pool"]["name"]);
            for field in ["driver", "nodeName"] {
                spec.get(field).immutable(&old["spec"][field]);
            }
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn generation_changes(&self, new: &Value, old: &Value) -> bool {
        !same(&new["spec"], &old["spec"])
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.nodeName", read::text(object, "/spec/nodeName").to_owned()),
            ("spec.driver", read::text(object, "/spec/driver").to_owned()),
            ("spec.pool.name", read::text(object, "/spec/pool/name").to_owned()),
        ]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.nodeName", "spec.driver", "spec.pool.name"]
    }

    fn unselectable(&self, field: &str) -> String {
        format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}")
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let driver = read::text(object, "/spec/driver");
        let warning =
            format!("spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters");
        if driver.chars().any(char::is_uppercase) { vec![warning] } else { Vec::new() }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |pointer: &str| read::text(object, pointer).into();
        vec![
            cells::name(object),
            text("/spec/nodeName"),
            text("/spec/driver"),
            text("/spec/pool/name"),
            cells::age(object, now),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

fn pool(pool: &Cursor<'_>) {
    devices::pool_name(&pool.get("name"));
    let (slices, generation) = (pool.get("resourceSliceCount"), pool.get("generation"));
    if slices.int().unwrap_or_default() <= 0 {
        slices.invalid_as(slices.int().unwrap_or_default(), "must be greater than zero");
    }
    if generation.int().is_some_and(i64::is_negative) {
        generation.invalid("must be greater than or equal to zero");
    }
}

fn where_it_is(spec: &Cursor<'_>) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut set = nodes(spec, "must be either unset or set to a non-empty string");
    let selector = spec.get("nodeSelector");
    let terms = selector.get("nodeSelectorTerms");
    if selector.is_set() && terms.len() != 1 {
        terms.invalid("must have exactly one node selector term");
    }
    set.extend(only_true(&spec.get("perDeviceNodeSelection"), "`perDeviceNodeSelection`"));
    match set.len() {
        0 => spec.required(ONE),
        1 => {}
        _ => spec.invalid_as(format!("{{{}}}", set.join(", ")), format!("{ONE}, but multiple fields are set")),
    }
}

/// Which of the fields that say where something is are set.
fn nodes(place: &Cursor<'_>, empty: &str) -> Vec<&'static str> {
    let (name, selector) = (place.get("nodeName"), place.get("nodeSelector"));
    let mut set = Vec::new();
    if name.is_set() && name.is_empty() {
        name.invalid(empty);
    } else if name.is_set() {
        set.push("`nodeName`");
        name.follows(names::subdomain);
    }
    if selector.is_set() {
        set.push("`nodeSelector`");
        node_selector(&selector, "");
    }
    set.extend(only_true(&place.get("allNodes"), "`allNodes`"));
    set
}

fn only_true(flag: &Cursor<'_>, name: &'static str) -> Option<&'static str> {
    if flag.is_set() && !flag.is_true() {
        flag.invalid("must be either unset or set to true");
    }
    flag.is_true().then_some(name)
}

fn all_devices(spec: &Cursor<'_>) {
    let list = spec.get("devices");
    let rich = |device: &Cursor<'_>| !device.get("taints").is_empty() || !device.get("consumesCounters").is_empty();
    let max = if list.items().any(|device| rich(&device)) { MAX_RICH_DEVICES } else { MAX_DEVICES };
    if devices::too_many(&list, max) {
        return;
    }
    let each_has_nodes = spec.get("perDeviceNodeSelection").is_true();
    for device in list.items() {
        self::device(&device);
        device_nodes(&device, each_has_nodes);
        devices::binding_conditions(&device);
    }
    devices::unique(&list, |device| device.get("name").text().to_owned());
}

fn device(device: &Cursor<'_>) {
    device.get("name").follows(names::label);
    let (attributes, capacity) = (device.get("attributes"), device.get("capacity"));
    let properties = attributes.len() + capacity.len();
    if properties > MAX_ATTRIBUTES_AND_CAPACITIES {
        device.invalid_as(
            properties,
            format!("the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES_AND_CAPACITIES}"),
        );
    }
    for (name, attribute) in attributes.entries() {
        devices::qualified_name(name, &attribute);
        self::attribute(&attribute);
    }
    let shared = device.get("allowMultipleAllocations").is_true();
    for (name, capacity) in capacity.entries() {
        devices::qualified_name(name, &capacity);
        if capacity.get("requestPolicy").is_set() && !shared {
            capacity.get("requestPolicy").forbidden("allowMultipleAllocations must be true");
        }
    }
    if !devices::too_many(&device.get("taints"), MAX_TAINTS) {
        device.get("taints").items().for_each(|taint| devices::taint(&taint, None));
    }
    let consumptions = device.get("consumesCounters");
    if !devices::too_many(&consumptions, MAX_CONSUMPTIONS) {
        for consumption in consumptions.items() {
            consumption.get("counterSet").must_follow(names::label);
            counters(&consumption.get("counters"));
        }
        devices::unique(&consumptions, |consumption| consumption.get("counterSet").text().to_owned());
    }
}

fn device_nodes(device: &Cursor<'_>, wanted: bool) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is \
                       set to true in the ResourceSlice spec";
    if !wanted {
        if ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| device.get(field).is_set()) {
            device.invalid_as(
                Value::Null,
                "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in \
                 the ResourceSlice spec",
            );
        }
        return;
    }
    let set = nodes(device, "must not be empty");
    match set.len() {
        0 => device.required(ONE),
        1 => {}
        _ => device.invalid_as(format!("{{{}}}", set.join(", ")), ONE),
    }
}

/// One value, of one of the types.
fn attribute(attribute: &Cursor<'_>) {
    let (text, version) = (attribute.get("string"), attribute.get("version"));
    let values = attribute.fields().filter(|(_, value)| value.is_set()).count();
    if version.is_set() && !is_semantic_version(version.text()) {
        version.invalid("must be a string compatible with semver.org spec 2.0.0");
    }
    for value in [text, version] {
        if value.text().len() > MAX_VALUE_BYTES {
            value.too_long(MAX_VALUE_BYTES);
        }
    }
    match values {
        0 => attribute.invalid_as("", "exactly one value must be specified"),
        1 => {}
        _ => attribute.invalid("exactly one value must be specified"),
    }
}

fn is_semantic_version(text: &str) -> bool {
    static FORMAT: OnceLock<Regex> = OnceLock::new();
    let build = || {
        let (number, build) = ("(0|[1-9][0-9]*)", "[0-9a-zA-Z-]+");
        let pre = "(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)";
        let format = format!(r"^{number}\.{number}\.{number}(-{pre}(\.{pre})*)?(\+{build}(\.{build})*)?$");
        Regex::new(&format).expect("invariant: the format is a regex")
    };
    FORMAT.get_or_init(build).is_match(text)
}

fn counter_sets(sets: &Cursor<'_>) {
    if devices::too_many(sets, MAX_COUNTER_SETS) {
        return;
    }
    for set in sets.items() {
        set.get("name").must_follow(names::label);
        counters(&set.get("counters"));
    }
    devices::unique(sets, |set| set.get("name").text().to_owned());
}

fn counters(counters: &Cursor<'_>) {
    if !counters.must() || devices::too_many(counters, MAX_COUNTERS) {
        return;
    }
    for (name, counter) in counters.entries() {
        for fault in names::label(name) {
            counter.invalid_as(name, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RESOURCE_SLICE;
    use crate::kinds::testing::{check, check_row, check_update};

    const HEAD: &str = "driver: a.b, pool: {name: p, resourceSliceCount: 1}";

    #[test]
    fn a_slice_is_somewhere() {
        check(&RESOURCE_SLICE, &format!("{{spec: {{{HEAD}, nodeName: n, devices: [{{name: d}}]}}}}"), &[]);
        check(
            &RESOURCE_SLICE,
            &format!("{{spec: {{{HEAD}}}}}"),
            &[
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is \
               required",
            ],
        );
        check(
            &RESOURCE_SLICE,
            &format!("{{spec: {{{HEAD}, nodeName: n, allNodes: true}}}}"),
            &[
                "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, \
               `perDeviceNodeSelection` is required, but multiple fields are set",
            ],
        );
        check_update(
            &RESOURCE_SLICE,
            &format!("{{spec: {{{HEAD}, nodeName: n}}}}"),
            &format!("{{spec: {{{HEAD}, nodeName: m}}}}"),
            &["spec.nodeName: Invalid value: \"m\": field is immutable"],
        );
    }

    #[test]
    fn devices_are_described() {
        let device = |device: &str| format!("{{spec: {{{HEAD}, allNodes: true, devices: [{device}]}}}}");
        check(
            &RESOURCE_SLICE,
            &device(
                "{name: d, attributes: {model: {string: x}, a.b/v: {version: 1.2.3}}, capacity: {memory: {value: 1Gi}}}",
            ),
            &[],
        );
        check(
            &RESOURCE_SLICE,
            &device("{name: d, attributes: {a: {}, b: {version: one}}, nodeName: n, taints: [{key: k}]}"),
            &[
                "spec.devices[0].attributes[a]: Invalid value: \"\": exactly one value must be specified",
                "spec.devices[0].attributes[b].version: Invalid value: \"one\": must be a string compatible with \
                 semver.org spec 2.0.0",
                "spec.devices[0].taints[0].effect: Required value",
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if \
                 `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &RESOURCE_SLICE,
            &format!("{{metadata: {{name: a}}, spec: {{{HEAD}, nodeName: n}}}}"),
            "a | n | a.b | p | <unknown>",
        );
    }
}
