//! ResourceClaim: devices are wanted; which ones were given, and who uses them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::devices::{self, RequestNames};
use crate::validation::{Cursor, addresses, check, conditions, same};

const GVK: Gvk = ("resource.k8s.io", "v1", "ResourceClaim");

/// `resourceclaims.resource.k8s.io`
pub static RESOURCE_CLAIM: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "resourceclaims",
    singular: "resourceclaim",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.resource.v1.ResourceClaim",
    storage: "resourceclaims",
    columns: &[cells::NAME, cells::text("State"), cells::AGE],
    rules: &ClaimRules,
};

const MAX_CONSUMERS: usize = 256;
const MAX_CONDITIONS: usize = 8;
const MAX_DATA_BYTES: usize = 10 * 1024;
const MAX_INTERFACE_BYTES: usize = 256;
const MAX_HARDWARE_ADDRESS_BYTES: usize = 128;
const MAX_ADDRESSES: usize = 16;

struct ClaimRules;

impl Rules for ClaimRules {
    fn default(&self, object: &mut Value) {
        default_requests(object, "/spec");
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |claim| devices::claim_spec(&claim.get("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |claim| claim.get("spec").immutable(&old["spec"]))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |claim| {
            let status = claim.get("status");
            consumers(&status, old, claim.get("metadata").get("deletionTimestamp").is_set());
            device_states(&status);
            let (allocation, before) = (status.get("allocation"), &old["status"]["allocation"]);
            if allocation.is_set() && !before.is_null() {
                allocation.immutable(before);
            } else if allocation.is_set() {
                devices::allocation(&allocation, &RequestNames::of(&claim.get("spec").get("devices")));
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), state(object).into(), cells::age(object, now)]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}

/// One device for each request that does not say how many; the same in claims and templates.
pub(super) fn default_requests(object: &mut Value, spec: &str) {
    let one = |request: &mut Value| {
        fill::zero(request, "allocationMode", "ExactCount");
        if request["allocationMode"] == "ExactCount" {
            fill::zero(request, "count", 1);
        }
        fill::each(request, "/tolerations", |toleration| fill::zero(toleration, "operator", "Equal"));
    };
    fill::each(object, &format!("{spec}/devices/requests"), |request| {
        fill::at(request, "/exactly", one);
        fill::each(request, "/firstAvailable", one);
    });
}

fn state(claim: &Value) -> String {
    let deleted = !read::text(claim, "/metadata/deletionTimestamp").is_empty();
    let allocated = claim.pointer("/status/allocation").is_some();
    let reserved = allocated && !read::list(claim, "/status/reservedFor").is_empty();
    let states =
        [(deleted, "deleted"), (!allocated && !deleted, "pending"), (allocated, "allocated"), (reserved, "reserved")];
    states.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect::<Vec<_>>().join(",")
}

fn consumers(status: &Cursor<'_>, old: &Value, deleted: bool) {
    let reserved = status.get("reservedFor");
    if !devices::too_many(&reserved, MAX_CONSUMERS) {
        for consumer in reserved.items() {
            for field in ["resource", "name", "uid"] {
                consumer.get(field).must();
            }
        }
        devices::unique(&reserved, |consumer| consumer.get("uid").text().to_owned());
    }
    if reserved.is_empty() {
        return;
    }
    if !status.get("allocation").is_set() {
        reserved.forbidden("may not be specified when `allocated` is not set");
    } else if deleted {
        let known = read::list(old, "/status/reservedFor");
        if reserved.items().any(|consumer| !known.iter().any(|old| same(consumer.value(), old))) {
            reserved
                .forbidden("new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
        }
    }
}

/// A device as the list of results names it.
fn id(device: &Value) -> String {
    let part = |name: &str| read::text(device, &format!("/{name}")).to_owned();
    let share = part("shareID");
    let slash = if share.is_empty() { "" } else { "/" };
    format!("{}/{}/{}{slash}{share}", part("driver"), part("pool"), part("device"))
}

fn device_states(status: &Cursor<'_>) {
    let given: Vec<String> =
        status.get("allocation").get("devices").get("results").items().map(|r| id(r.value())).collect();
    let states = status.get("devices");
    for state in states.items() {
        devices::device_id(&state);
        if !given.contains(&id(state.value())) {
            state.invalid_as(id(state.value()), "must be an allocated device in the claim");
        }
        let list = state.get("conditions");
        devices::too_many(&list, MAX_CONDITIONS);
        conditions(&list);
        if state.get("data").is_set() {
            devices::any_object(&state.get("data"), MAX_DATA_BYTES);
        }
        network(&state.get("networkData"));
    }
    devices::unique(&states, |state| id(state.value()));
}

fn network(data: &Cursor<'_>) {
    for (field, max) in [("interfaceName", MAX_INTERFACE_BYTES), ("hardwareAddress", MAX_HARDWARE_ADDRESS_BYTES)] {
        if data.get(field).text().len() > max {
            data.get(field).too_long(max);
        }
    }
    let addresses = data.get("ips");
    if !devices::too_many(&addresses, MAX_ADDRESSES) {
        addresses.items().for_each(|address| address.follows(addresses::interface_address));
        devices::unique(&addresses, |address| address.text().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::RESOURCE_CLAIM;
    use crate::field::Error;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update, object};

    const REQUEST: &str = "{name: r, exactly: {deviceClassName: c}}";

    fn through_status(old: &str, new: &str) -> Vec<String> {
        let faults = RESOURCE_CLAIM.rules.validate_status(&object(new), &object(old));
        faults.iter().map(Error::to_string).collect()
    }

    #[test]
    fn defaults() {
        check_defaults(
            &RESOURCE_CLAIM,
            &format!("{{spec: {{devices: {{requests: [{REQUEST}]}}}}}}"),
            "{spec: {devices: {requests: [{name: r, exactly: {deviceClassName: c, allocationMode: ExactCount, count: \
             1}}]}}}",
        );
    }

    #[test]
    fn requests_are_whole_and_known() {
        check(
            &RESOURCE_CLAIM,
            &format!(
                "{{spec: {{devices: {{requests: [{REQUEST}], constraints: [{{requests: [r], matchAttribute: a.b/c}}]}}}}}}"
            ),
            &[],
        );
        check(
            &RESOURCE_CLAIM,
            &format!(
                "{{spec: {{devices: {{requests: [{{name: q}}, {REQUEST}, {REQUEST}], constraints: [{{requests: [x], \
                 matchAttribute: c}}]}}}}}}"
            ),
            &[
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                "spec.devices.requests[2]: Duplicate value: \"r\"",
                "spec.devices.constraints[0].requests[0]: Invalid value: \"x\": must be the name of a request in the \
                 claim or the name of a request and a subrequest separated by '/'",
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"c\": a fully qualified name must be a \
                 domain and a name separated by a slash",
            ],
        );
        check_update(
            &RESOURCE_CLAIM,
            "{spec: {}}",
            "{spec: {devices: {config: [{}]}}}",
            &["spec: Invalid value: {\"devices\":{\"config\":[{}]}}: field is immutable"],
        );
    }

    #[test]
    fn who_uses_a_claim_uses_what_was_given() {
        let spec = format!("spec: {{devices: {{requests: [{REQUEST}]}}}}");
        let given = "allocation: {devices: {results: [{request: r, driver: a.b, pool: p, device: d}]}}";
        let user = "reservedFor: [{resource: pods, name: a, uid: '1'}]";
        assert_eq!(through_status("{}", &format!("{{{spec}, status: {{{given}, {user}}}}}")), Vec::<String>::new());
        assert_eq!(
            through_status("{}", &format!("{{{spec}, status: {{{user}}}}}")),
            ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
        );
        assert_eq!(
            through_status(
                "{}",
                &format!("{{{spec}, status: {{{given}, devices: [{{driver: a.b, pool: p, device: e}}]}}}}")
            ),
            ["status.devices[0]: Invalid value: \"a.b/p/e\": must be an allocated device in the claim"]
        );
    }

    #[test]
    fn rows() {
        check_row(&RESOURCE_CLAIM, "{metadata: {name: a}}", "a | pending | <unknown>");
        check_row(
            &RESOURCE_CLAIM,
            "{metadata: {name: a, deletionTimestamp: x}, status: {allocation: {}, reservedFor: [{}]}}",
            "a | deleted,allocated,reserved | <unknown>",
        );
    }
}
