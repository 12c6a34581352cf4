//! What a node's Pod network is told, and the names and addresses that follow from it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};

use crate::Error;

/// The kernel's limit on a link's name, without its final NUL.
const LINK_NAME_MAX: usize = 15;
/// The widest range of a node: each of its addresses is one element of the anti-spoofing set.
const WIDEST_PREFIX: u8 = 20;
/// The narrowest range of a node: network, gateway, broadcast and a few Pods.
const NARROWEST_PREFIX: u8 = 29;

/// The settings of a [`BridgeNetwork`](crate::BridgeNetwork).
#[derive(Debug, Clone)]
pub struct Options {
    /// Every kernel object's name begins with it; at most 14 characters of `[a-z0-9-]`.
    pub instance: String,
    /// This node's part of the Pod network, for example 10.42.0.0/24; its first address is the gateway.
    pub pod_cidr: IpNet,
    /// The whole Pod network, for example 10.42.0.0/16: traffic inside it keeps its source address.
    pub cluster_cidr: IpNet,
    /// Where Services' addresses come from. It is routed to the bridge, so that an address that no Service has never
    /// leaves the machine.
    pub service_cidr: IpNet,
    /// Addresses that the node itself answers on, put on the bridge: the cluster DNS, for example.
    pub local_addresses: Vec<IpAddr>,
    /// The largest packet of the Pod network in bytes; by default what the node's default route carries.
    pub mtu: Option<u32>,
    /// Where what must outlive this process is kept. A directory that a reboot empties (`/run`) serves well.
    pub state_dir: PathBuf,
}

/// [`Options`] found consistent, as the rest of the crate uses them. IPv4 only, for now.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) instance: String,
    pub(crate) range: Ipv4Net,
    pub(crate) cluster: Ipv4Net,
    pub(crate) services: Ipv4Net,
    pub(crate) local: Vec<Ipv4Addr>,
    pub(crate) mtu: Option<u32>,
    pub(crate) state_dir: PathBuf,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let plan = Self {
            instance: instance(&options.instance)?,
            range: v4_net(options.pod_cidr)?,
            cluster: v4_net(options.cluster_cidr)?,
            services: v4_net(options.service_cidr)?,
            local: options.local_addresses.iter().copied().map(v4).collect::<Result<_, _>>()?,
            mtu: options.mtu,
            state_dir: options.state_dir.clone(),
        };
        if !(WIDEST_PREFIX..=NARROWEST_PREFIX).contains(&plan.range.prefix_len()) {
            let reason = format!("{} is not between /{WIDEST_PREFIX} and /{NARROWEST_PREFIX}", plan.range);
            return Err(Error::Option { option: "pod_cidr", reason });
        }
        if !plan.cluster.contains(&plan.range) {
            let reason = format!("{} is not part of the cluster's {}", plan.range, plan.cluster);
            return Err(Error::Option { option: "pod_cidr", reason });
        }
        if plan.services.contains(&plan.cluster.network()) || plan.cluster.contains(&plan.services.network()) {
            let reason = format!("{} overlaps the Pod network {}", plan.services, plan.cluster);
            return Err(Error::Option { option: "service_cidr", reason });
        }
        Ok(plan)
    }

    /// The bridge's name.
    pub(crate) fn bridge(&self) -> String {
        format!("{}0", self.instance)
    }

    /// The name of both nftables tables (families inet and bridge).
    pub(crate) fn table(&self) -> String {
        format!("{}-net", self.instance)
    }

    /// The link group of every host end: how rules know this instance's ports from all others.
    pub(crate) fn link_group(&self) -> u32 {
        (fnv1a(self.instance.as_bytes()) as u32) | 1
    }

    /// The bridge's own address, which Pods use as their gateway.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.range.network().to_bits() + 1)
    }

    /// The name of the host's end of a sandbox's veth pair. An instance's name may fill it all, so only its beginning
    /// goes in; the hash keeps instances and sandboxes apart.
    pub(crate) fn host_link(&self, sandbox: &str) -> String {
        let owner: String = self.instance.chars().take(6).collect();
        let hash = fnv1a(format!("{}/{sandbox}", self.instance).as_bytes());
        let digits = format!("{hash:016x}");
        format!("{owner}{}", &digits[..LINK_NAME_MAX - owner.len()])
    }
}

/// The hardware address that goes with an address: known without asking, and the same after every restart.
pub(crate) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

fn instance(name: &str) -> Result<String, Error> {
    let fits = (1..LINK_NAME_MAX).contains(&name.len());
    let clean = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits && clean && name.as_bytes()[0].is_ascii_lowercase() {
        return Ok(name.to_owned());
    }
    let reason = format!("{name:?} must be 1 to {} of a-z, 0-9 and -, a letter first", LINK_NAME_MAX - 1);
    Err(Error::Option { option: "instance", reason })
}

fn v4(address: IpAddr) -> Result<Ipv4Addr, Error> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Error::Family(address)),
    }
}

fn v4_net(net: IpNet) -> Result<Ipv4Net, Error> {
    match net {
        IpNet::V4(net) => Ok(net.trunc()),
        IpNet::V6(net) => Err(Error::Family(net.addr().into())),
    }
}

/// FNV-1a with 64 bits: stable across releases, as names in the kernel must be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            instance: "sampan".into(),
            pod_cidr: "10.42.3.0/24".parse().unwrap(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            local_addresses: vec!["10.43.0.10".parse().unwrap()],
            mtu: None,
            state_dir: "/run/sampan".into(),
        }
    }

    fn refused(change: impl FnOnce(&mut Options)) -> String {
        let mut options = options();
        change(&mut options);
        Plan::new(&options).unwrap_err().to_string()
    }

    #[test]
    fn names_follow_from_the_instance() {
        let plan = Plan::new(&options()).unwrap();
        assert_eq!((plan.bridge(), plan.table()), ("sampan0".into(), "sampan-net".into()));
        assert_eq!(plan.gateway(), Ipv4Addr::new(10, 42, 3, 1));
        assert_eq!(plan.host_link("a").len(), LINK_NAME_MAX);
        assert!(plan.host_link("a").starts_with("sampan"));
        assert_ne!(plan.host_link("a"), plan.host_link("b"));
        assert_eq!(hardware_address(plan.gateway()), [0x0a, 0x58, 10, 42, 3, 1]);
    }

    #[test]
    fn contradictions_are_refused_in_words() {
        assert!(refused(|o| o.instance = "a-name-too-long".into()).contains("network option instance"));
        assert!(refused(|o| o.instance = "a b".into()).contains("letter first"));
        assert!(refused(|o| o.pod_cidr = "10.9.0.0/24".parse().unwrap()).contains("not part of the cluster's"));
        assert!(refused(|o| o.pod_cidr = "10.42.0.0/16".parse().unwrap()).contains("between /20 and /29"));
        assert!(refused(|o| o.service_cidr = "10.42.128.0/17".parse().unwrap()).contains("overlaps"));
        assert!(refused(|o| o.service_cidr = "fd00::/112".parse().unwrap()).contains("not IPv4"));
    }
}
