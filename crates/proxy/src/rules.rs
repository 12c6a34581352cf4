//! The nftables text: the table once, then elements for changes. Pure; [`sampan_nft`] carries it out.
//!
//! ```text
//!   prerouting, output ─▶ dispatch: address . protocol . port ──vmap services──▶ chain services-tcp-3
//!                                                                                  │ index = random mod 3
//!                           endpoint ◀──map service-endpoints-tcp── address . port . index
//! ```
//!
//! The same pair of maps stands a second time for node ports (no address in the key), and both a second time for
//! packets from outside where a traffic policy treats them apart. Packets for a Service address that no Service has, or
//! that has no endpoint, are refused right there.
//!
//! What is still for a Service address after that came while the rules changed under it, or belongs to no connection. It
//! is dropped before connection tracking takes it for a connection of its own: sent again, it finds its way.
//!
//! Session affinity: a new connection's choice is read back after the translation and remembered in the map `affinity`
//! with the Service's timeout; sticky chains look there first.
//!
//! Masquerading happens only where the answer would not come back otherwise: see the chain `return-path`.

use std::collections::BTreeSet;

use crate::elements::{Chain, Elements, MapName, write_line};
use crate::frontend::{Backends, Frontend, Protocol};
use crate::model::{Change, Model};
use crate::plan::Node;

/// How many clients affinity remembers; further ones are served without.
const AFFINITY_SIZE: u32 = 65_536;
/// The first of the packet-mark bits of which an instance uses one.
const FIRST_MARK_BIT: u32 = 16;
/// How many such bits there are.
const MARK_BITS: u32 = 8;

/// What of an existing table a load keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Its remembered clients: the table is one that this program made.
    KeepAffinity,
    /// Nothing: the table is missing, strange or broken.
    Anew,
}

/// Writes the text for one table, and knows which of its chains exist.
#[derive(Debug)]
pub struct Rules {
    table: String,
    mark: u32,
    node: Node,
    /// Where node ports on 127.0.0.1 lead out.
    loopback_guard: bool,
    chains: BTreeSet<Chain>,
}

impl Rules {
    /// Rules for the table named `instance`. With `loopback_guard`, packets from elsewhere for 127.0.0.0/8 are dropped,
    /// as must be where a link routes such addresses.
    pub fn new(instance: &str, node: Node, loopback_guard: bool) -> Self {
        Self { table: instance.to_owned(), mark: mark(instance), node, loopback_guard, chains: BTreeSet::new() }
    }

    /// The whole table with all frontends, in one transaction: connections never meet a gap.
    pub fn load(&mut self, model: &Model, load: Load) -> String {
        self.chains.clear();
        let table = &self.table;
        let mut text = format!("add table inet {table}\n");
        if load == Load::Anew {
            write_line(&mut text, format_args!("delete table inet {table}"));
        } else {
            write_line(&mut text, format_args!("flush table inet {table}"));
        }
        text.push_str(&self.skeleton());
        text.push_str(&self.aftermath());
        for map in MapName::all() {
            write_line(&mut text, format_args!("flush map inet {table} {}", map.name()));
        }
        let all = model.frontends().map(|(frontend, backends)| (frontend, None, Some(backends)));
        let (chains, elements) = self.elements(all);
        text + &chains + &elements
    }

    /// What `changes` do to the table that [`load`](Self::load) made, as transactions to carry out in this order.
    ///
    /// New chains come first, by themselves: a packet on its way while a transaction takes effect runs through rules as
    /// they were before, but finds elements as they are after; to it, a chain of the same transaction is still empty.
    pub fn apply(&mut self, changes: &[Change]) -> Vec<String> {
        let all = changes.iter().map(|change| (&change.frontend, change.old.as_ref(), change.new.as_ref()));
        let (chains, elements) = self.elements(all);
        [chains, elements].into_iter().filter(|text| !text.is_empty()).collect()
    }

    /// Forgets clients of which `keys` tell (as the map's own keys).
    pub fn forget(&self, keys: &[String]) -> String {
        if keys.is_empty() {
            return String::new();
        }
        format!("delete element inet {} affinity {{ {} }}\n", self.table, keys.join(", "))
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    fn elements<'a>(
        &mut self,
        changes: impl Iterator<Item = (&'a Frontend, Option<&'a Backends>, Option<&'a Backends>)>,
    ) -> (String, String) {
        let mut elements = Elements::default();
        for (frontend, old, new) in changes {
            elements.verdict(frontend, old, new);
            elements.endpoints(frontend, old, new);
            elements.sticky(frontend, old, new);
        }
        let mut chains = String::new();
        for chain in std::mem::take(&mut elements.chains) {
            if self.chains.insert(chain) {
                chains.push_str(&chain.define(&self.table, self.mark));
            }
        }
        (chains, elements.text(&self.table))
    }

    /// The maps, and the chains that translate.
    fn skeleton(&self) -> String {
        let Node { pod_cidr, service_cidr, .. } = &self.node;
        let table = &self.table;
        let hairpin: Vec<String> = pod_cidr.hosts().map(|address| format!("{address} . {address}")).collect();
        let maps: String = MapName::all().into_iter().map(MapName::define).collect();
        let guard = if self.loopback_guard { "iifname != \"lo\" ip daddr 127.0.0.0/8 drop" } else { "" };
        format!(
            r#"table inet {table} {{
{maps}	map affinity {{
		type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		flags dynamic,timeout
		size {AFFINITY_SIZE}
	}}
	set hairpin {{
		type ipv4_addr . ipv4_addr
		elements = {{ {hairpin} }}
	}}
	chain guard {{
		type filter hook prerouting priority raw; policy accept;
		{guard}
	}}
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		ip saddr != {pod_cidr} jump dispatch-outside
		jump dispatch
	}}
	chain output {{
		type nat hook output priority -100; policy accept;
		jump dispatch
	}}
	chain dispatch-outside {{
		ip daddr . meta l4proto . th dport vmap @outside-services
		ip daddr != {service_cidr} fib daddr type local meta l4proto . th dport vmap @outside-node-ports
	}}
	chain dispatch {{
		ip daddr . meta l4proto . th dport vmap @services
		ip daddr {service_cidr} fib daddr type != local goto refuse
		ip daddr {service_cidr} return
		fib daddr type local meta l4proto . th dport vmap @node-ports
	}}
	chain refuse {{
		meta l4proto tcp reject with tcp reset
		reject with icmp port-unreachable
	}}
}}
"#,
            hairpin = hairpin.join(", ")
        )
    }

    /// The chains that see packets after their translation, or in want of one.
    fn aftermath(&self) -> String {
        let Node { pod_cidr, service_cidr, .. } = &self.node;
        let (table, mark) = (&self.table, self.mark);
        let remember: String = Protocol::ALL.iter().map(|protocol| remember(*protocol)).collect();
        format!(
            r#"table inet {table} {{
	chain unserved-forwarded {{
		type filter hook forward priority filter; policy accept;
		ip daddr {service_cidr} drop
	}}
	chain unserved-output {{
		type filter hook output priority filter; policy accept;
		ip daddr {service_cidr} fib daddr type != local drop
	}}
	chain return-path {{
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & {mark:#x} == 0 accept
		ip saddr . ip daddr @hairpin masquerade
		ip saddr 127.0.0.0/8 masquerade
		ip daddr {pod_cidr} accept
		ip saddr {pod_cidr} accept
		masquerade
	}}
	chain remember-forwarded {{
		type filter hook postrouting priority srcnat - 1; policy accept;
		meta mark & {mark:#x} != 0 ct state new jump remember
	}}
	chain remember-local {{
		type filter hook input priority filter; policy accept;
		meta mark & {mark:#x} != 0 ct state new jump remember
	}}
	chain remember {{
{remember}	}}
}}
"#
        )
    }
}

/// Removes the table, whether it exists or not.
pub fn remove(instance: &str) -> String {
    format!("add table inet {instance}\ndelete table inet {instance}\n")
}

/// The packet mark of connections that an instance has translated. Instances side by side hardly ever share one; where
/// they do, some of the other's clients are masqueraded that need not be.
pub fn mark(instance: &str) -> u32 {
    let sum = instance.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    1 << (FIRST_MARK_BIT + sum % MARK_BITS)
}

/// Looks up how long this connection's client is remembered. nft can name the ports of the original direction only
/// where the protocol is certain.
fn remember(protocol: Protocol) -> String {
    let protocol = protocol.name();
    format!(
        "\t\tmeta l4proto {protocol} ct original ip daddr . meta l4proto . ct original proto-dst vmap @sticky-services\n\
         \t\tmeta l4proto {protocol} meta l4proto . ct original proto-dst vmap @sticky-node-ports\n"
    )
}
