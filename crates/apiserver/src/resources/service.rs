//! Addresses and node ports of a Service: kept from before, as requested, or chosen.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sampan_api::field::{Error, Path};
use serde_json::{Value, json};

use super::Pools;
use super::table::{Claim, Slot};

/// Everything a stored Service holds.
pub(super) fn slots(service: &Value) -> Vec<Slot> {
    let spec = &service["spec"];
    let address = spec["clusterIP"].as_str().and_then(|text| text.parse().ok()).map(Slot::Address);
    let ports = spec["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]);
    let ports = ports.chain([&spec["healthCheckNodePort"]]).filter_map(port_number).map(Slot::Port);
    let unique: HashSet<Slot> = address.into_iter().chain(ports).collect();
    unique.into_iter().collect()
}

fn port_number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0)
}

/// Fills in and claims what the Service needs, from `pools`.
pub(super) fn claim(pools: &Pools, claim: Claim, new: &mut Value, old: Option<&Value>) -> Result<Claim, Vec<Error>> {
    let before = old.map(slots).unwrap_or_default();
    let mut work = Work { pools, claim, mine: before.iter().copied().collect(), faults: Vec::new() };
    if let Some(old) = old {
        carry_over(new, old);
    }
    work.address(&mut new["spec"]);
    work.ports(&mut new["spec"]);
    if !work.faults.is_empty() {
        return Err(work.faults);
    }
    let after: HashSet<Slot> = slots(new).into_iter().collect();
    work.claim.free_later(before.into_iter().filter(|slot| !after.contains(slot)));
    Ok(work.claim)
}

/// What a client leaves out of an update stays as it was, where the type still wants it.
fn carry_over(new: &mut Value, old: &Value) {
    let spec = &mut new["spec"];
    if wants_address(spec) && wants_address(&old["spec"]) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let missing =
                spec[field].as_str().is_none_or(str::is_empty) && spec[field].as_array().is_none_or(Vec::is_empty);
            if missing && !old["spec"][field].is_null() {
                spec[field] = old["spec"][field].clone();
            }
        }
    }
    if !wants_node_ports(spec) {
        return;
    }
    for port in ports_of(spec) {
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let before = old["spec"]["ports"].as_array().into_iter().flatten().find(same);
        if let (None, Some(number)) = (port_number(&port["nodePort"]), before.and_then(|b| port_number(&b["nodePort"])))
        {
            port["nodePort"] = number.into();
        }
    }
}

fn ports_of(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten()
}

fn wants_address(spec: &Value) -> bool {
    spec["type"] != "ExternalName"
}

fn wants_node_ports(spec: &Value) -> bool {
    spec["type"] == "NodePort" || (spec["type"] == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false)
}

struct Work<'r> {
    pools: &'r Pools,
    claim: Claim,
    /// What the Service holds from before, or has claimed now.
    mine: HashSet<Slot>,
    faults: Vec<Error>,
}

impl Work<'_> {
    fn address(&mut self, spec: &mut Value) {
        let Some(fields) = spec.as_object_mut() else { return };
        if fields.get("type").is_some_and(|t| t == "ExternalName") {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                fields.remove(field);
            }
            return;
        }
        let asked = spec["clusterIPs"][0].as_str().or(spec["clusterIP"].as_str()).unwrap_or_default().to_owned();
        self.families(spec);
        let address = match asked.as_str() {
            "None" => Some("None".to_owned()),
            "" => self.choose_address(),
            text => self.request_address(text),
        };
        if let Some(address) = address {
            spec["clusterIPs"] = json!([address]);
            spec["clusterIP"] = address.into();
        }
    }

    /// This cluster is IPv4.
    fn families(&mut self, spec: &mut Value) {
        let path = Path::new("spec");
        if spec["ipFamilyPolicy"] == "RequireDualStack" {
            let path = path.child("ipFamilyPolicy");
            let why = "this cluster is not configured for dual-stack services";
            self.faults.push(Error::invalid(&path, "RequireDualStack", why));
        }
        let families = spec["ipFamilies"].as_array().cloned().unwrap_or_default();
        for (index, family) in families.iter().enumerate().filter(|(_, family)| **family != "IPv4") {
            let path = path.child("ipFamilies").index(index);
            self.faults.push(Error::invalid(&path, family.clone(), "not configured on this cluster"));
        }
        spec["ipFamilies"] = json!(["IPv4"]);
        if spec["ipFamilyPolicy"].as_str().is_none_or(str::is_empty) {
            spec["ipFamilyPolicy"] = "SingleStack".into();
        }
    }

    fn choose_address(&mut self) -> Option<String> {
        let pools = self.pools;
        let candidates = pools.addresses.iter().flat_map(candidates);
        if let Some(Slot::Address(address)) = self.claim.take_first(candidates.map(Slot::Address)) {
            return Some(address.to_string());
        }
        let path = Path::new("spec").child("clusterIPs");
        self.faults.push(Error::invalid(&path, json!([]), "failed to allocate a serviceIP: range is full"));
        None
    }

    fn request_address(&mut self, text: &str) -> Option<String> {
        // What is no IPv4 address at all is for validation to complain about.
        let Ok(address) = text.parse::<Ipv4Addr>() else { return Some(text.to_owned()) };
        let slot = Slot::Address(address);
        if self.mine.contains(&slot) {
            return Some(text.to_owned());
        }
        let usable = |net: &Ipv4Net| net.contains(&address) && address != net.network() && address != net.broadcast();
        let why = if !self.pools.addresses.iter().any(usable) {
            let nets = self.pools.addresses.iter().map(Ipv4Net::to_string).collect::<Vec<_>>().join(",");
            format!("the provided IP ({text}) is not in the valid range. The range of valid IPs is {nets}")
        } else if !self.claim.take(slot) {
            "provided IP is already allocated".to_owned()
        } else {
            return Some(text.to_owned());
        };
        let path = Path::new("spec").child("clusterIPs");
        self.faults.push(Error::invalid(&path, json!([text]), format!("failed to allocate IP {text}: {why}")));
        None
    }

    fn ports(&mut self, spec: &mut Value) {
        let wanted = wants_node_ports(spec);
        let health = spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
        let path = Path::new("spec").child("ports");
        for (index, port) in ports_of(spec).enumerate() {
            let path = path.index(index).child("nodePort");
            let chosen = match port_number(&port["nodePort"]) {
                Some(number) if wanted => self.request_port(&path, number),
                Some(_) => None,
                None if wanted => self.choose_port(&path),
                None => continue,
            };
            match chosen {
                Some(number) => port["nodePort"] = number.into(),
                None if wanted => {}
                None => drop(port.as_object_mut().and_then(|port| port.remove("nodePort"))),
            }
        }
        if health {
            let path = Path::new("spec").child("healthCheckNodePort");
            let chosen = match port_number(&spec["healthCheckNodePort"]) {
                Some(number) => self.request_port(&path, number),
                None => self.choose_port(&path),
            };
            if let Some(number) = chosen {
                spec["healthCheckNodePort"] = number.into();
            }
        } else if let Some(fields) = spec.as_object_mut() {
            fields.remove("healthCheckNodePort");
        }
    }

    /// One port may serve several protocols of the same Service, so what is its own already is no conflict.
    fn request_port(&mut self, path: &Path, number: u16) -> Option<u16> {
        let slot = Slot::Port(number);
        let range = &self.pools.node_ports;
        if self.mine.contains(&slot) {
            return Some(number);
        }
        let why = if !range.contains(&number) {
            let (first, last) = (range.start(), range.end());
            format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
        } else if !self.claim.take(slot) {
            "provided port is already allocated".to_owned()
        } else {
            self.mine.insert(slot);
            return Some(number);
        };
        self.faults.push(Error::invalid(path, number, why));
        None
    }

    fn choose_port(&mut self, path: &Path) -> Option<u16> {
        let (first, last) = (u32::from(*self.pools.node_ports.start()), u32::from(*self.pools.node_ports.end()));
        let reserved = ((last - first) / 32).clamp(16, 128).min((last - first) / 2);
        let candidates = scattered(first + reserved, last + 1).chain(scattered(first, first + reserved));
        let ports = candidates.filter_map(|port| u16::try_from(port).ok()).map(Slot::Port);
        if let Some(Slot::Port(number)) = self.claim.take_first(ports) {
            self.mine.insert(Slot::Port(number));
            return Some(number);
        }
        self.faults.push(Error::invalid(path, 0, "failed to allocate a nodePort: range is full"));
        None
    }
}

/// The addresses of a network that Services may have. The lower part is for those who ask for an address by name, as
/// upstream has it, and comes last.
fn candidates(net: &Ipv4Net) -> impl Iterator<Item = Ipv4Addr> + use<> {
    let network = u32::from(net.network());
    let size = u32::from(net.broadcast()) - network + 1;
    let reserved = (size / 16).clamp(16, 256).min(size / 2).max(1);
    let offsets = scattered(reserved, size.saturating_sub(1)).chain(scattered(1, reserved));
    offsets.map(move |at| Ipv4Addr::from(network + at))
}

/// All numbers from `first` up to `end`, beginning somewhere in the middle.
fn scattered(first: u32, end: u32) -> impl Iterator<Item = u32> {
    let size = end.saturating_sub(first);
    let random = u32::from_le_bytes([0, 1, 2, 3].map(|at| uuid::Uuid::new_v4().as_bytes()[at]));
    let start = if size == 0 { 0 } else { random % size };
    (0..size).map(move |step| first + (start + step) % size)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::resources::table::{Owner, Table};

    fn pools() -> Pools {
        Pools { addresses: vec!["10.43.0.0/29".parse().unwrap()], node_ports: 30000..=30003 }
    }

    fn claimed(table: &Arc<Table>, new: &mut Value, old: Option<&Value>) -> Result<Claim, Vec<Error>> {
        let (returns, _) = mpsc::channel(1);
        claim(&pools(), Claim::new(table, Owner::default(), &returns), new, old)
    }

    fn keep(table: &Table, claim: Claim) {
        table.release(&claim.written().freed);
    }

    fn service(spec: Value) -> Value {
        json!({ "metadata": {}, "spec": spec })
    }

    #[track_caller]
    fn refused(table: &Arc<Table>, spec: Value, want: &str) {
        let faults = claimed(table, &mut service(spec), None).map(drop).unwrap_err();
        assert_eq!(faults[0].to_string(), want);
    }

    #[test]
    fn all_addresses_are_given_once_and_come_back() {
        let table = Arc::new(Table::default());
        let mut claims = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..6 {
            let mut new = service(json!({"type": "ClusterIP"}));
            claims.push(claimed(&table, &mut new, None).unwrap());
            assert!(seen.insert(new["spec"]["clusterIP"].clone()));
        }
        refused(
            &table,
            json!({"type": "ClusterIP"}),
            "spec.clusterIPs: Invalid value: []: failed to allocate a serviceIP: range is full",
        );
        claims.pop();
        assert!(claimed(&table, &mut service(json!({"type": "ClusterIP"})), None).is_ok());
    }

    #[test]
    fn requests_are_honoured_or_refused() {
        let table = Arc::new(Table::default());
        let mut new = service(json!({"type": "ClusterIP", "clusterIP": "10.43.0.3"}));
        keep(&table, claimed(&table, &mut new, None).unwrap());
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.3"]));
        refused(
            &table,
            json!({"clusterIP": "10.43.0.3"}),
            "spec.clusterIPs: Invalid value: [\"10.43.0.3\"]: failed to allocate IP 10.43.0.3: provided IP is already allocated",
        );
        refused(
            &table,
            json!({"clusterIP": "10.9.0.3"}),
            "spec.clusterIPs: Invalid value: [\"10.9.0.3\"]: failed to allocate IP 10.9.0.3: the provided IP (10.9.0.3) is \
             not in the valid range. The range of valid IPs is 10.43.0.0/29",
        );
        refused(
            &table,
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30003",
        );
    }

    #[test]
    fn updates_keep_what_they_do_not_mention_and_free_what_they_drop() {
        let table = Arc::new(Table::default());
        let mut old = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        keep(&table, claimed(&table, &mut old, None).unwrap());
        let mut new = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        keep(&table, claimed(&table, &mut new, Some(&old)).unwrap());
        assert_eq!(new["spec"], old["spec"]);
        let mut plain = service(json!({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}));
        keep(&table, claimed(&table, &mut plain, Some(&old)).unwrap());
        assert_eq!(plain["spec"]["clusterIP"], old["spec"]["clusterIP"]);
        let port = port_number(&old["spec"]["ports"][0]["nodePort"]).unwrap();
        assert!(table.take(Slot::Port(port)));
    }

    #[test]
    fn headless_services_hold_nothing() {
        let table = Arc::new(Table::default());
        let mut new = service(json!({"type": "ClusterIP", "clusterIP": "None"}));
        keep(&table, claimed(&table, &mut new, None).unwrap());
        assert_eq!(new["spec"]["clusterIPs"], json!(["None"]));
        assert!(slots(&new).is_empty());
    }
}
