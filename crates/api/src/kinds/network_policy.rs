//! NetworkPolicy: who may talk to Pods, and whom they may talk to.

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, fill, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, PROTOCOLS, addresses, check, label_selector, names};

/// `networkpolicies.networking.k8s.io`
pub static NETWORK_POLICY: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.networking.v1.NetworkPolicy",
    storage: "networkpolicies",
    columns: &[cells::NAME, cells::text("Pod-Selector"), cells::AGE],
    rules: &NetworkPolicyRules,
};

/// The directions of traffic, each with the field of its rules and that of their peers.
const DIRECTIONS: [(&str, &str, &str); 2] = [("Ingress", "ingress", "from"), ("Egress", "egress", "to")];

struct NetworkPolicyRules;

impl Rules for NetworkPolicyRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            let types =
                if read::list(spec, "/egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
            fill::zero(spec, "policyTypes", types);
            for (_, rules, _) in DIRECTIONS {
                fill::each(spec, &format!("/{rules}"), |rule| {
                    fill::each(rule, "/ports", |port| fill::absent(port, "protocol", "TCP"));
                });
            }
        });
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |policy| {
            let spec = policy.get("spec");
            label_selector(&spec.get("podSelector"));
            for (_, rules, peers) in DIRECTIONS {
                for rule in spec.get(rules).items() {
                    rule.get("ports").items().for_each(|port| self::port(&port));
                    rule.get(peers).items().for_each(|peer| self::peer(&peer));
                }
            }
            let types = spec.get("policyTypes");
            if types.len() > DIRECTIONS.len() {
                types.invalid("may not specify more than two policyTypes");
                return;
            }
            types.items().for_each(|kind| kind.may_be_one_of(&DIRECTIONS.map(|(name, _, _)| name)));
        })
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |policy| written_networks(policy, &Value::Null))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |policy| written_networks(policy, old))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        networks(object).iter().flat_map(|(path, cidr)| addresses::cidr_warnings(path, cidr)).collect()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), cells::selector(object, "/spec/podSelector"), cells::age(object, now)]
    }
}

/// The faults of the networks of a policy that was `old` before.
fn written_networks(policy: &Cursor<'_>, old: &Value) {
    let known: Vec<&str> = networks(old).into_iter().map(|(_, cidr)| cidr).collect();
    let rule = addresses::unless_known(addresses::cidr, &known);
    for (path, cidr) in networks(policy.value()) {
        rule(cidr).into_iter().for_each(|fault| policy.at(&path).invalid_as(cidr, fault));
    }
}

/// The networks that a policy names, each with its place.
fn networks(policy: &Value) -> Vec<(Path, &str)> {
    let mut networks = Vec::new();
    for (_, rules, peers) in DIRECTIONS {
        for (at, rule) in read::list(policy, &format!("/spec/{rules}")).iter().enumerate() {
            for (index, peer) in read::list(rule, &format!("/{peers}")).iter().enumerate() {
                let path = Path::new("spec").child(rules).index(at).child(peers).index(index).child("ipBlock");
                let whole = read::text(peer, "/ipBlock/cidr");
                if whole.is_empty() {
                    continue;
                }
                networks.push((path.child("cidr"), whole));
                let except = read::texts(peer, "/ipBlock/except").into_iter().enumerate();
                networks.extend(except.map(|(index, cidr)| (path.child("except").index(index), cidr)));
            }
        }
    }
    networks
}

fn port(port: &Cursor<'_>) {
    port.get("protocol").may_be_one_of(PROTOCOLS);
    let (first, last) = (port.get("port"), port.get("endPort"));
    match first.value() {
        Value::Null if last.is_set() => last.invalid("may not be specified when `port` is not specified"),
        Value::Null => {}
        Value::Number(_) => {
            first.in_range(1..=65535);
            if last.int().is_some_and(|last| last < first.int().unwrap_or_default()) {
                last.invalid("must be greater than or equal to `port`");
            }
            last.in_range(1..=65535);
        }
        _ => {
            if last.is_set() {
                last.invalid("may not be specified when `port` is non-numeric");
            }
            first.follows(names::port_name);
        }
    }
}

fn peer(peer: &Cursor<'_>) {
    let selectors = ["podSelector", "namespaceSelector"].map(|name| peer.get(name));
    selectors.iter().filter(|selector| selector.is_set()).for_each(label_selector);
    let block = peer.get("ipBlock");
    let selected = selectors.iter().any(Cursor::is_set);
    if block.is_set() {
        ip_block(&block);
    }
    match (selected, block.is_set()) {
        (false, false) => peer.required("must specify a peer"),
        (true, true) => peer.forbidden("may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn ip_block(block: &Cursor<'_>) {
    let whole = block.get("cidr");
    if !whole.must() {
        return;
    }
    let Ok(net) = whole.text().parse::<IpNet>() else { return };
    for except in block.get("except").items() {
        let Ok(part) = except.text().parse::<IpNet>() else { continue };
        if !net.contains(&part) || net.prefix_len() >= part.prefix_len() {
            except.invalid("must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NETWORK_POLICY;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn defaults() {
        check_defaults(
            &NETWORK_POLICY,
            "{spec: {egress: [{ports: [{port: 53}]}]}}",
            "{spec: {policyTypes: [Ingress, Egress], egress: [{ports: [{port: 53, protocol: TCP}]}]}}",
        );
        check_defaults(&NETWORK_POLICY, "{spec: {}}", "{spec: {policyTypes: [Ingress]}}");
    }

    #[test]
    fn ports_and_peers() {
        check(
            &NETWORK_POLICY,
            "{spec: {ingress: [{ports: [{port: 80, endPort: 90}, {port: http}], from: [{podSelector: {}}, {ipBlock: \
             {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}}",
            &[],
        );
        check(
            &NETWORK_POLICY,
            "{spec: {ingress: [{ports: [{port: 80, endPort: 79}, {endPort: 1}], from: [{}, {podSelector: {}, ipBlock: \
             {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}], policyTypes: [Sideways]}}",
            &[
                "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
                "spec.ingress[0].ports[1].endPort: Invalid value: 1: may not be specified when `port` is not specified",
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of \
                 `cidr`",
                "spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer",
                "spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Ingress\", \"Egress\"",
            ],
        );
    }

    #[test]
    fn networks_have_no_bits_beyond_their_prefix_unless_they_had_them_before() {
        let policy = |cidr: &str| {
            format!("{{spec: {{egress: [{{to: [{{ipBlock: {{cidr: {cidr}, except: [10.1.0.0/16]}}}}]}}]}}}}")
        };
        let fault = "spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the \
                     prefix length";
        check(&NETWORK_POLICY, &policy("10.0.0.1/8"), &[fault]);
        check_update(&NETWORK_POLICY, &policy("10.0.0.0/8"), &policy("10.0.0.1/8"), &[fault]);
        check_update(&NETWORK_POLICY, &policy("10.0.0.1/8"), &policy("10.0.0.1/8"), &[]);
    }

    #[test]
    fn rows() {
        check_row(
            &NETWORK_POLICY,
            "{metadata: {name: a}, spec: {podSelector: {matchLabels: {a: b}}}}",
            "a | a=b | <unknown>",
        );
        check_row(&NETWORK_POLICY, "{metadata: {name: a}, spec: {podSelector: {}}}", "a | <none> | <unknown>");
    }
}
