//! ServiceCIDR: a range of addresses for Services.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, addresses, check};

const GVK: Gvk = ("networking.k8s.io", "v1", "ServiceCIDR");

/// `servicecidrs.networking.k8s.io`
pub static SERVICE_CIDR: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "servicecidrs",
    singular: "servicecidr",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.networking.v1.ServiceCIDR",
    storage: "servicecidrs",
    columns: &[cells::NAME, cells::text("CIDRs"), cells::AGE],
    rules: &ServiceCidrRules,
};

/// One range of each family.
const MAX_CIDRS: usize = 2;

struct ServiceCidrRules;

impl Rules for ServiceCidrRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |range| cidrs(&range.get("spec").get("cidrs")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |range| {
            let new = range.get("spec").get("cidrs");
            let old = read::texts(old, "/spec/cidrs");
            let becomes_dual = old.len() == 1 && new.len() == MAX_CIDRS;
            if new.len() != old.len() && !becomes_dual {
                new.invalid("field is immutable");
                return;
            }
            for (cidr, _) in new.items().zip(&old).filter(|(cidr, old)| cidr.text() != **old) {
                cidr.invalid("field is immutable");
            }
            if becomes_dual {
                cidrs(&new);
            }
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), read::texts(object, "/spec/cidrs").join(",").into(), cells::age(object, now)]
    }
}

fn cidrs(cidrs: &Cursor<'_>) {
    match cidrs.len() {
        0 => return cidrs.required("at least one CIDR required"),
        1..=MAX_CIDRS => {}
        _ => return cidrs.invalid("may only hold up to 2 values"),
    }
    cidrs.items().for_each(|cidr| cidr.follows(addresses::canonical_cidr));
    let families: Vec<Option<bool>> =
        cidrs.texts().map(|text| text.parse::<ipnet::IpNet>().ok().map(|net| net.addr().is_ipv4())).collect();
    if let [Some(first), Some(second)] = families[..]
        && first == second
    {
        cidrs.invalid("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }
}

#[cfg(test)]
mod tests {
    use super::SERVICE_CIDR;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn one_range_of_each_family() {
        check(&SERVICE_CIDR, "{spec: {cidrs: [10.0.0.0/24, '2001:db8::/64']}}", &[]);
        check(&SERVICE_CIDR, "{spec: {}}", &["spec.cidrs: Required value: at least one CIDR required"]);
        check(
            &SERVICE_CIDR,
            "{spec: {cidrs: [10.0.0.1/24, 10.0.1.0/24]}}",
            &[
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/24\": must not have bits set beyond the prefix length",
                "spec.cidrs: Invalid value: [\"10.0.0.1/24\",\"10.0.1.0/24\"]: may specify no more than one IP for each \
                 IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ],
        );
    }

    #[test]
    fn a_range_may_get_a_second_family_and_nothing_else() {
        check_update(
            &SERVICE_CIDR,
            "{spec: {cidrs: [10.0.0.0/24]}}",
            "{spec: {cidrs: [10.0.0.0/24, '2001:db8::/64']}}",
            &[],
        );
        check_update(
            &SERVICE_CIDR,
            "{spec: {cidrs: [10.0.0.0/24]}}",
            "{spec: {cidrs: [10.0.0.0/25]}}",
            &["spec.cidrs[0]: Invalid value: \"10.0.0.0/25\": field is immutable"],
        );
        check_update(
            &SERVICE_CIDR,
            "{spec: {cidrs: [10.0.0.0/24, '2001:db8::/64']}}",
            "{spec: {cidrs: [10.0.0.0/24]}}",
            &["spec.cidrs: Invalid value: [\"10.0.0.0/24\"]: field is immutable"],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &SERVICE_CIDR,
            "{metadata: {name: a}, spec: {cidrs: [10.0.0.0/24, '2001:db8::/64']}}",
            "a | 10.0.0.0/24,2001:db8::/64 | <unknown>",
        );
    }
}
