//! The nftables text of a node's Pod network. Pure; [`sampan_nft`] carries it out.
//!
//! Two tables of the same name. The inet one lets Pods out under the node's address and keeps loopback addresses where
//! they belong. The bridge one lets a Pod send only as itself: hardware addresses follow from addresses
//! ([`hardware_address`]), so every pair of the range is known beforehand and no Pod's start has to touch the rules.
//! The node's ports are known by their link group. That a hardware address is used on its own port alone is the bridge's part (locked ports, see [`crate::links`]).
//!
//! Every frame of a Pod must be for the gateway. Pods hence meet each other in the node's routing, where Services and
//! policies are applied, and never beside it.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::options::{Plan, hardware_address};
use crate::ports::Elements;

/// Replaces both tables, atomically: there is no moment without rules.
pub(crate) fn install(plan: &Plan, ports: &Elements) -> String {
    format!("{}{}{}{}", remove(&plan.table()), inet(plan), bridge(plan), change(plan, "add", ports))
}

/// Adds (`add`) or removes (`delete`) host ports.
pub(crate) fn change(plan: &Plan, verb: &str, ports: &Elements) -> String {
    let table = plan.table();
    let places =
        [("host-ports", &ports.anywhere), ("host-ports-at", &ports.at_address), ("host-port-pods", &ports.hairpin)];
    let filled = places.into_iter().filter(|(_, elements)| !elements.is_empty());
    filled
        .map(|(place, elements)| format!("{verb} element inet {table} {place} {{ {} }}\n", elements.join(", ")))
        .collect()
}

/// Removes both tables, whether they exist or not.
pub(crate) fn remove(table: &str) -> String {
    ["inet", "bridge"].map(|family| format!("table {family} {table}\ndelete table {family} {table}\n")).concat()
}

fn inet(plan: &Plan) -> String {
    let (table, bridge, range, cluster) = (plan.table(), plan.bridge(), plan.range, plan.cluster);
    format!(
        r#"table inet {table} {{
	map host-ports {{
		type inet_proto . inet_service : ipv4_addr . inet_service
	}}
	map host-ports-at {{
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
	}}
	set host-port-pods {{
		type ipv4_addr . ipv4_addr
	}}
	chain host-ports-incoming {{
		type nat hook prerouting priority dstnat - 5; policy accept;
		fib daddr type local jump host-ports-dispatch
	}}
	chain host-ports-own {{
		type nat hook output priority -105; policy accept;
		fib daddr type local jump host-ports-dispatch
	}}
	chain host-ports-dispatch {{
		dnat ip to ip daddr . meta l4proto . th dport map @host-ports-at
		dnat ip to meta l4proto . th dport map @host-ports
	}}
	chain host-ports-return {{
		type nat hook postrouting priority srcnat - 5; policy accept;
		ct status dnat ip saddr . ip daddr @host-port-pods masquerade
		ct status dnat ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
	}}
	chain guard {{
		type filter hook prerouting priority raw; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 drop
		iifname != "lo" ip saddr 127.0.0.0/8 drop
		iifname != {{ "lo", "{bridge}" }} ip saddr {range} drop
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname "{bridge}" accept
		oifname "{bridge}" accept
	}}
	chain redirects {{
		type filter hook output priority filter; policy accept;
		oifname "{bridge}" icmp type redirect drop
	}}
	chain leave {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {range} ip daddr != {cluster} oifname != "{bridge}" masquerade
	}}
}}
"#
    )
}

fn bridge(plan: &Plan) -> String {
    let (table, group) = (plan.table(), plan.link_group());
    let gateway = hardware(plan.gateway());
    format!(
        r#"table bridge {table} {{
	set pods {{
		type ether_addr . ipv4_addr
		elements = {{ {pairs} }}
	}}
	chain guard {{
		type filter hook prerouting priority filter; policy accept;
		meta iifgroup != {group} accept
		ether type ip ether daddr {gateway} ether saddr . ip saddr @pods accept
		ether type arp ether daddr {{ {gateway}, ff:ff:ff:ff:ff:ff }} arp saddr ether . arp saddr ip @pods accept
		drop
	}}
}}
"#,
        pairs = pairs(plan)
    )
}

fn pairs(plan: &Plan) -> String {
    let mut text = String::new();
    for address in plan.range.hosts().filter(|address| *address != plan.gateway()) {
        let separator = if text.is_empty() { "" } else { ", " };
        write!(text, "{separator}{} . {address}", hardware(address)).expect("invariant: a String takes all text");
    }
    text
}

fn hardware(address: Ipv4Addr) -> String {
    hardware_address(address).map(|byte| format!("{byte:02x}")).join(":")
}
