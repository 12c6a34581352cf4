//! The Pod network in a real kernel. Each test is a process in a network namespace of its own, so nothing can leak.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sampan_network::{Attachment, BridgeNetwork, Error, HostPort, Options, PodNetwork, Protocol};

mod space;

use space::{Space, alone, state_dir};

/// A link that came up just now may lose its first packets; TCP tries again after a second.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long to listen for what must not come.
const WAIT: Duration = Duration::from_millis(400);

fn options() -> Options {
    Options {
        instance: "sampan-tn".into(),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        local_addresses: vec!["10.43.0.10".parse().unwrap()],
        mtu: None,
        state_dir: state_dir(),
    }
}

struct Pod {
    space: Space,
    address: IpAddr,
}

async fn pod(network: &BridgeNetwork, name: &str) -> Pod {
    let space = Space::new();
    let attachment = network.attach(name, space.path()).await.unwrap();
    assert_eq!(attachment.interface, "eth0");
    Pod { space, address: attachment.addresses[0] }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn listing(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Connects from `from` to a listener in `to`; returns the source address that the listener saw.
fn connect(from: &Space, to: &Space, target: SocketAddr) -> Result<IpAddr, ErrorKind> {
    let listener = to.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, target.port())).unwrap());
    from.run(move || TcpStream::connect_timeout(&target, PATIENCE).map_err(|error| error.kind()))?;
    Ok(listener.accept().unwrap().1.ip())
}

#[test]
fn pods_reach_each_other_the_node_and_the_local_addresses() {
    alone("pods_reach_each_other_the_node_and_the_local_addresses", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        assert_eq!((a.address.to_string(), b.address.to_string()), ("10.42.0.2".into(), "10.42.0.3".into()));
        assert_eq!(connect(&a.space, &b.space, (b.address, 80).into()), Ok(a.address), "the source is kept");
        assert_eq!(connect(&a.space, &a.space, (a.address, 80).into()), Ok(a.address));
        let node = Space::here();
        assert_eq!(connect(&a.space, &node, "10.42.0.1:81".parse().unwrap()), Ok(a.address));
        assert_eq!(connect(&a.space, &node, "10.43.0.10:82".parse().unwrap()), Ok(a.address));
        assert_eq!(connect(&node, &a.space, (a.address, 83).into()), Ok(network.gateway()));
        assert!(connect(&a.space, &node, "127.0.0.1:84".parse().unwrap()).is_err(), "loopback is each one's own");
    });
}

fn host_port(host_address: Option<&str>, host_port: u16, port: u16) -> HostPort {
    let host_address = host_address.map(|text| text.parse().unwrap());
    HostPort { protocol: Protocol::Tcp, host_address, host_port, port }
}

#[test]
fn host_ports_lead_to_their_pod() {
    alone("host_ports_lead_to_their_pod", async || {
        ip("link set lo up");
        ip("link add outside type veth peer name peer");
        ip("address add 192.0.2.1/24 dev outside");
        ip("link set outside up");
        let network = BridgeNetwork::start(options()).await.unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        let client = Space::new();
        ip(&format!("link set peer netns {}", client.id()));
        client.run(|| ip("address add 192.0.2.2/24 dev peer"));
        client.run(|| ip("link set peer up"));
        network.publish("a", &[host_port(None, 8080, 80), host_port(Some("192.0.2.1"), 8081, 81)]).await.unwrap();
        let reach = |from: &Space, target: &str, port: u16| {
            let listener = a.space.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
            let target: SocketAddr = target.parse().unwrap();
            from.run(move || TcpStream::connect_timeout(&target, PATIENCE).map_err(|error| error.kind()))?;
            Ok(listener.accept().unwrap().1.ip())
        };
        let node = Space::here();
        let seen = |address: &str| Ok(address.parse().unwrap());
        assert_eq!(reach(&client, "192.0.2.1:8080", 80), seen("192.0.2.2"), "from outside, the source is kept");
        assert_eq!(reach(&client, "192.0.2.1:8081", 81), seen("192.0.2.2"));
        assert_eq!(reach(&node, "127.0.0.1:8080", 80), seen("10.42.0.1"));
        assert_eq!(reach(&node, "127.0.0.1:8081", 81), Err(ErrorKind::ConnectionRefused), "on another address");
        assert_eq!(reach(&b.space, "10.42.0.1:8080", 80), Ok(b.address));
        assert_eq!(reach(&a.space, "10.42.0.1:8080", 80), seen("10.42.0.1"), "a Pod reaches itself");
        let taken = network.publish("b", &[host_port(None, 8080, 80)]).await.unwrap_err();
        assert_eq!(taken.to_string(), "host port 8080/tcp is taken by sandbox a");
        // The next run has them too, and lets go of those whose sandbox has ended.
        drop(network);
        let network = BridgeNetwork::start(options()).await.unwrap();
        assert_eq!(reach(&node, "127.0.0.1:8080", 80), seen("10.42.0.1"));
        network.adopt(&["b".to_owned()]).await.unwrap();
        assert_eq!(reach(&node, "127.0.0.1:8080", 80), Err(ErrorKind::ConnectionRefused));
        network.publish("b", &[host_port(None, 8080, 80)]).await.unwrap();
    });
}

#[test]
fn without_a_policy_large_transfers_pass() {
    alone("without_a_policy_large_transfers_pass", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        let listener = b.space.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
        let target = SocketAddr::new(b.address, 80);
        let mut stream = a.space.run(move || TcpStream::connect_timeout(&target, PATIENCE).unwrap());
        let sender = std::thread::spawn(move || stream.write_all(&vec![7; 8 << 20]).unwrap());
        let mut received = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        sender.join().unwrap();
        assert_eq!(received.len(), 8 << 20);
    });
}

#[test]
fn a_pod_sends_only_as_itself() {
    alone("a_pod_sends_only_as_itself", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        assert_eq!(connect(&a.space, &b.space, (b.address, 80).into()), Ok(a.address));
        let receiver = b.space.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        receiver.set_read_timeout(Some(WAIT)).unwrap();
        let target = SocketAddr::new(b.address, 53);
        let send = |source: &'static str| {
            a.space.run(move || UdpSocket::bind((source, 0)).unwrap().send_to(b"x", target).unwrap());
            receiver.recv_from(&mut [0; 1]).map(|(_, source)| source.ip().to_string()).map_err(|error| error.kind())
        };
        assert_eq!(send("10.42.0.2"), Ok("10.42.0.2".into()));
        a.space.run(|| ip("address add 10.42.0.77/32 dev eth0"));
        assert_eq!(send("10.42.0.77"), Err(ErrorKind::WouldBlock), "another Pod's address");
        a.space.run(|| ip("address add 192.0.2.1/32 dev eth0"));
        assert_eq!(send("192.0.2.1"), Err(ErrorKind::WouldBlock), "an outside address");
        a.space.run(|| ip("link set eth0 address 0a:58:0a:2a:00:4d"));
        assert_eq!(send("10.42.0.77"), Err(ErrorKind::WouldBlock), "with the hardware address that belongs to it");
        a.space.run(|| ip("link set eth0 address 0a:58:0a:2a:00:02"));
        assert_eq!(send("10.42.0.2"), Ok("10.42.0.2".into()));
        let beside = "neighbour replace 10.42.0.3 lladdr 0a:58:0a:2a:00:03 dev eth0 nud permanent";
        a.space.run(move || ip(beside));
        a.space.run(|| ip("route replace 10.42.0.3/32 dev eth0 scope link"));
        assert_eq!(send("10.42.0.2"), Err(ErrorKind::WouldBlock), "straight to another Pod, past the node's routing");
    });
}

#[test]
fn the_nodes_loopback_is_out_of_reach() {
    alone("the_nodes_loopback_is_out_of_reach", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let a = pod(&network, "a").await;
        // What a Pod with the right to change its own network can do, on a node that serves node ports on 127.0.0.1.
        std::fs::write("/proc/sys/net/ipv4/conf/sampan-tn0/route_localnet", "1").unwrap();
        a.space.run(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            ip("route del local 127.0.0.0/8 dev lo table local");
            ip("route del local 127.0.0.1 dev lo table local");
            ip("route add 127.0.0.0/8 via 10.42.0.1 dev eth0 onlink src 10.42.0.2");
        });
        let refused = connect(&a.space, &Space::here(), "127.0.0.1:80".parse().unwrap());
        assert_eq!(refused, Err(ErrorKind::TimedOut));
    });
}

#[test]
fn outside_sees_the_nodes_address() {
    alone("outside_sees_the_nodes_address", async || {
        let outside = Space::new();
        ip("link add uplink mtu 1400 type veth peer name eth0");
        ip(&format!("link set eth0 netns {}", outside.id()));
        ip("address add 192.0.2.2/24 dev uplink");
        ip("link set uplink up");
        ip("route add default via 192.0.2.1");
        outside.run(|| {
            ip("address add 192.0.2.1/24 dev eth0");
            ip("link set eth0 up");
        });
        let network = BridgeNetwork::start(options()).await.unwrap();
        let a = pod(&network, "a").await;
        let seen = connect(&a.space, &outside, "192.0.2.1:80".parse().unwrap());
        assert_eq!(seen.map(|source| source.to_string()), Ok("192.0.2.2".into()));
        let inside = a.space.run(|| listing("ip", "link show eth0"));
        assert!(inside.contains("mtu 1400"), "the uplink's packet size: {inside}");
        let unserved = a.space.run(|| TcpStream::connect_timeout(&"10.43.1.1:80".parse().unwrap(), WAIT));
        assert!(unserved.is_err(), "an address that no Service has");
        assert!(!outside.run(|| listing("ip", "neighbour")).contains("10.43."), "never leaves the node");
    });
}

#[test]
fn a_restart_keeps_addresses_and_adopts_what_lives() {
    alone("a_restart_keeps_addresses_and_adopts_what_lives", async || {
        let first = BridgeNetwork::start(options()).await.unwrap();
        let (a, b, c) = (pod(&first, "a").await, pod(&first, "b").await, pod(&first, "c").await);
        drop(first);
        let second = BridgeNetwork::start(options()).await.unwrap();
        let mut adopted = second.adopt(&["a".into(), "b".into(), "unknown".into()]).await.unwrap();
        adopted.sort_by(|one, other| one.0.cmp(&other.0));
        let expected =
            |name: &str, address| (name.to_owned(), Attachment { addresses: vec![address], interface: "eth0".into() });
        assert_eq!(adopted, [expected("a", a.address), expected("b", b.address)]);
        assert_eq!(second.attach("a", a.space.path()).await.unwrap().addresses, [a.address], "attached already");
        assert_eq!(connect(&a.space, &b.space, (b.address, 80).into()), Ok(a.address));
        assert!(connect(&a.space, &c.space, (c.address, 80).into()).is_err(), "c was taken back");
        let d = pod(&second, "d").await;
        assert_eq!(d.address.to_string(), "10.42.0.5", "c's address is not used again at once");
    });
}

#[test]
fn a_detached_sandbox_is_cut_off_at_once() {
    alone("a_detached_sandbox_is_cut_off_at_once", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        network.detach("never was").await.unwrap();
        assert!(connect(&a.space, &b.space, (b.address, 80).into()).is_err());
    });
}

#[test]
fn a_namespace_that_came_anew_is_connected_again() {
    alone("a_namespace_that_came_anew_is_connected_again", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let first = pod(&network, "a").await;
        // The kernel may still hold the old link when the new namespace is there already.
        drop(first.space);
        let second = pod(&network, "a").await;
        assert_eq!(second.address, first.address);
        assert_eq!(connect(&second.space, &Space::here(), "10.42.0.1:80".parse().unwrap()), Ok(second.address));
    });
}

#[test]
fn what_cannot_be_attached_leaves_nothing() {
    alone("what_cannot_be_attached_leaves_nothing", async || {
        let network = BridgeNetwork::start(options()).await.unwrap();
        let missing = network.attach("a", &PathBuf::from("/proc/self/ns/absent")).await.unwrap_err();
        assert!(matches!(missing, Error::Netns { .. }), "{missing}");
        let no_namespace = network.attach("b", &PathBuf::from("/proc/self/status")).await.unwrap_err();
        assert!(matches!(no_namespace, Error::Netns { .. } | Error::Netlink { .. }), "{no_namespace}");
        assert!(matches!(network.attach("", &PathBuf::from("/x")).await, Err(Error::SandboxName(_))));
        assert!(!listing("ip", "-o link show type veth").contains("sampan"));
    });
}

#[test]
fn removal_leaves_nothing() {
    alone("removal_leaves_nothing", async || {
        let state = || {
            let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
            let routes = listing("ip", "route show table all");
            [forward, routes, listing("ip", "-br link"), listing("nft", "list ruleset"), listing("ip", "neighbour")]
        };
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        ip("link set lo up");
        let before = state();
        let network = BridgeNetwork::start(options()).await.unwrap();
        let _a = pod(&network, "a").await;
        assert_ne!(before, state());
        drop(network);
        BridgeNetwork::remove(options()).await.unwrap();
        assert_eq!(before, state());
        BridgeNetwork::remove(options()).await.unwrap();
        std::fs::remove_dir(options().state_dir).unwrap();
    });
}
