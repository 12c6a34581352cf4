//! The links of a node's Pod network in the kernel: the bridge, and a veth pair for each sandbox.
//!
//! What a restart needs to know is written on the links themselves: the alias of a pair's host end is
//! `<address> <sandbox>`, so whatever lost its namespace has lost its lease too, without anyone keeping books.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoData, InfoVeth, LinkAttribute, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::packet_route::route::{RouteAttribute, RouteScope};
use rtnetlink::{
    AddressMessageBuilder, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use crate::netlink::{Doing, Netlink, first, is_present};
use crate::options::{Plan, hardware_address};
use crate::{Error, INTERFACE};

/// What Ethernet carries where nothing else is known.
const DEFAULT_MTU: u32 = 1500;

/// The bridge as the kernel knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) mtu: u32,
}

/// A sandbox's host end, found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostEnd {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Sandbox and address; none where sampan was interrupted before it could write them down.
    pub(crate) holder: Option<(String, Ipv4Addr)>,
}

/// Makes the bridge with its addresses and routes, or completes the one that is there.
pub(crate) async fn ensure_bridge(netlink: &Netlink, plan: &Plan) -> Result<Bridge, Error> {
    let mtu = match plan.mtu {
        Some(mtu) => mtu,
        None => uplink_mtu(netlink).await?.unwrap_or(DEFAULT_MTU),
    };
    let name = plan.bridge();
    let message = LinkBridge::new(&name)
        .stp_state(BridgeStpState::Disabled)
        .mcast_snooping(false)
        .address(hardware_address(plan.gateway()).to_vec())
        .mtu(mtu)
        .build();
    match netlink.handle().link().add(message).execute().await {
        Err(error) if is_present(&error) => {}
        result => result.doing(|| format!("create bridge {name}"))?,
    }
    let index = find(netlink, &name).await?.map(|link| link.header.index);
    let index = index.ok_or_else(|| Error::Option { option: "instance", reason: format!("{name} vanished") })?;
    let up = LinkUnspec::new_with_index(index).mtu(mtu).up().build();
    netlink.handle().link().set(up).execute().await.doing(|| format!("set bridge {name} up"))?;
    Ok(Bridge { index, mtu })
}

/// Puts the gateway's and the local addresses on the bridge, and the route of the Services.
pub(crate) async fn address_bridge(netlink: &Netlink, plan: &Plan, bridge: Bridge) -> Result<(), Error> {
    let gateway = (plan.gateway(), plan.range.prefix_len());
    for (address, length) in [gateway].into_iter().chain(plan.local.iter().map(|address| (*address, 32))) {
        let request = netlink.handle().address().add(bridge.index, IpAddr::V4(address), length).replace();
        request.execute().await.doing(|| format!("put address {address} on bridge {}", plan.bridge()))?;
    }
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(plan.services.network(), plan.services.prefix_len())
        .output_interface(bridge.index)
        .pref_source(plan.gateway())
        .scope(RouteScope::Link)
        .build();
    let request = netlink.handle().route().add(route).replace();
    request.execute().await.doing(|| format!("route {} to bridge {}", plan.services, plan.bridge()))
}

/// Makes a veth pair whose other end is born as `eth0` inside `netns`.
pub(crate) async fn create_pair(netlink: &Netlink, pair: &Pair<'_>) -> Result<u32, Error> {
    let peer = LinkMessageBuilder::<LinkUnspec>::default()
        .name(INTERFACE.to_owned())
        .address(hardware_address(pair.address).to_vec())
        .mtu(pair.bridge.mtu)
        .setns_by_fd(pair.netns)
        .build();
    let message = LinkMessageBuilder::<LinkVeth>::new(pair.host_link, INTERFACE)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .mtu(pair.bridge.mtu)
        .controller(pair.bridge.index)
        .link_group(pair.group)
        .build();
    let doing = || format!("create veth pair {} for sandbox {}", pair.host_link, pair.sandbox);
    netlink.handle().link().add(message).execute().await.doing(doing)?;
    let link = find(netlink, pair.host_link).await?;
    link.map(|link| link.header.index).ok_or_else(|| Error::SandboxEnded(pair.sandbox.to_owned()))
}

/// The two ends of a pair to be, and what they belong to.
pub(crate) struct Pair<'a> {
    pub(crate) sandbox: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) host_link: &'a str,
    pub(crate) bridge: Bridge,
    pub(crate) group: u32,
    pub(crate) netns: RawFd,
}

/// Makes the host end a port that carries its own sandbox's frames only, notes the lease on it, and tells bridge and
/// node where the address is, so that nobody ever has to ask.
pub(crate) async fn prepare_host_end(netlink: &Netlink, index: u32, pair: &Pair<'_>) -> Result<(), Error> {
    // Locked: frames from an unknown sender, or from one that belongs to another port, are dropped. Hairpin: with
    // br_netfilter in the kernel, a Pod's connection to itself through a Service turns around at its own port.
    let port = LinkBridgePort::new(index)
        .learning(false)
        .locked(true)
        .hairpin(true)
        .flood(false)
        .mcast_flood(false)
        .bcast_flood(false)
        .alias(format!("{} {}", pair.address, pair.sandbox))
        .append_extra_attribute(without_ipv6())
        .up()
        .build();
    let doing = || format!("make {} a port of the bridge", pair.host_link);
    netlink.handle().link().set_port(port).execute().await.doing(doing)?;
    let hardware = hardware_address(pair.address);
    let port = netlink.handle().neighbours().add_bridge(index, &hardware);
    let port = port.state(NeighbourState::Noarp).flags(NeighbourFlags::Controller).replace().execute();
    let node = netlink.handle().neighbours().add(pair.bridge.index, pair.address.into());
    let node = node.link_layer_address(&hardware).replace().execute();
    let (port, node) = futures::join!(port, node);
    port.doing(|| format!("bind {} to {}", pair.address, pair.host_link))?;
    node.doing(|| format!("note the neighbour {}", pair.address))
}

/// Configures the sandbox's own end: loopback, address, the way out.
pub(crate) async fn prepare_inside(netlink: &Netlink, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Error> {
    let links = netlink.handle().link();
    let loopback = links.set(LinkUnspec::new_with_index(LOOPBACK_INDEX).up().build());
    loopback.execute().await.doing(|| "set loopback up".into())?;
    let link = find(netlink, INTERFACE).await?.ok_or_else(|| Error::SandboxEnded(address.to_string()))?;
    let index = link.header.index;
    let up = LinkUnspec::new_with_index(index).up().build();
    let wanted = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, 32).build();
    let mut request = netlink.handle().address().add(index, address.into(), 32).replace();
    *request.message_mut() = wanted;
    request.execute().await.doing(|| format!("put {address} on {INTERFACE}"))?;
    links.set(up).execute().await.doing(|| format!("set {INTERFACE} up"))?;
    let neighbour = netlink.handle().neighbours().add(index, gateway.into());
    let neighbour = neighbour.link_layer_address(&hardware_address(gateway)).replace();
    neighbour.execute().await.doing(|| format!("note the gateway {gateway}"))?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).onlink().build();
    netlink.handle().route().add(route).replace().execute().await.doing(|| format!("route by {gateway}"))
}

/// The index of a namespace's loopback, the first link that it has.
const LOOPBACK_INDEX: u32 = 1;

/// Cuts an address off from its port: what still sends from it is dropped from now on.
pub(crate) async fn forget_address(netlink: &Netlink, bridge: u32, port: u32, address: Ipv4Addr) -> Result<(), Error> {
    let hardware = hardware_address(address);
    let mut from_port = netlink.handle().neighbours().add_bridge(port, &hardware);
    from_port = from_port.flags(NeighbourFlags::Controller);
    let from_port = netlink.handle().neighbours().del(from_port.message_mut().clone()).execute();
    let mut from_node = netlink.handle().neighbours().add(bridge, address.into());
    let from_node = netlink.handle().neighbours().del(from_node.message_mut().clone()).execute();
    let (from_port, from_node) = futures::join!(from_port, from_node);
    from_port.gone(|| format!("unbind {address}"))?;
    from_node.gone(|| format!("forget the neighbour {address}"))
}

/// The host ends on the bridge.
pub(crate) async fn host_ends(netlink: &Netlink, bridge: u32) -> Result<Vec<HostEnd>, Error> {
    let links: Vec<LinkMessage> =
        netlink.handle().link().get().execute().try_collect().await.doing(|| "list links".into())?;
    Ok(links.iter().filter(|link| controller(link) == Some(bridge)).map(host_end).collect())
}

/// The link of that name.
pub(crate) async fn find(netlink: &Netlink, name: &str) -> Result<Option<LinkMessage>, Error> {
    let answers = netlink.handle().link().get().match_name(name).execute();
    first(answers).await.doing(|| format!("look up link {name}"))
}

/// Deletes a link; for a veth this waits for the kernel (some 20 ms), so only where nothing else waits.
pub(crate) async fn delete(netlink: &Netlink, index: u32) -> Result<(), Error> {
    netlink.handle().link().del(index).execute().await.gone(|| format!("delete link {index}"))
}

/// What the link of the default route carries.
async fn uplink_mtu(netlink: &Netlink) -> Result<Option<u32>, Error> {
    let everything = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes = netlink.handle().route().get(everything).execute().try_filter_map(|route| async move {
        let default = route.header.destination_prefix_length == 0;
        Ok(if default { uplink(&route.attributes) } else { None })
    });
    let Some(index) = first(routes).await.doing(|| "list routes".into())? else { return Ok(None) };
    let answers = netlink.handle().link().get().match_index(index).execute();
    let link = first(answers).await.doing(|| format!("look up link {index}"))?;
    Ok(link.and_then(|link| {
        link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
    }))
}

fn uplink(attributes: &[RouteAttribute]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn without_ipv6() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

fn controller(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

fn host_end(link: &LinkMessage) -> HostEnd {
    let mut end = HostEnd { index: link.header.index, name: String::new(), holder: None };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => end.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => end.holder = holder(alias),
            _ => {}
        }
    }
    end
}

/// Reads an alias back.
fn holder(alias: &str) -> Option<(String, Ipv4Addr)> {
    let (address, sandbox) = alias.split_once(' ')?;
    Some((sandbox.to_owned(), address.parse().ok()?))
}
