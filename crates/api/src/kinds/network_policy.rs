//! NetworkPolicy: who may talk to Pods, and whom they may talk to.

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, fill, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, PROTOCOLS, canonical, check, label_selector, names};

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

    fn has_generation(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
            for (at, rule) in read::list(object, &format!("/spec/{rules}")).iter().enumerate() {
                for (index, peer) in read::list(rule, &format!("/{peers}")).iter().enumerate() {
                    let path = Path::new("spec").child(rules).index(at).child(peers).index(index).child("ipBlock");
                    warnings.extend(canonical::cidr(&path.child("cidr"), read::text(peer, "/ipBlock/cidr")));
                    let except = read::texts(peer, "/ipBlock/except").into_iter().enumerate();
                    let path = path.child("except");
                    warnings.extend(except.filter_map(|(index, cidr)| canonical::cidr(&path.index(index), cidr)));
                }
            }
        }
        warnings
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), cells::selector(object, "/spec/podSelector"), cells::age(object, now)]
    }
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
    whole.follows(names::cidr);
    let Ok(net) = whole.text().parse::<IpNet>() else { return };
    for except in block.get("except").items() {
        except.follows(names::cidr);
        let Ok(part) = except.text().parse::<IpNet>() else { continue };
        if !net.contains(&part) || net.prefix_len() >= part.prefix_len() {
            except.invalid("must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NETWORK_POLICY;
    use crate::kinds::testing::{check, check_defaults, check_row};

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
    fn rows() {
        check_row(
            &NETWORK_POLICY,
            "{metadata: {name: a}, spec: {podSelector: {matchLabels: {a: b}}}}",
            "a | a=b | <unknown>",
        );
        check_row(&NETWORK_POLICY, "{metadata: {name: a}, spec: {podSelector: {}}}", "a | <none> | <unknown>");
    }
}
