//! Services in a real kernel, with Pods on the real Pod network. Each test is a process in a network namespace of its
//! own, and runs the whole component against a small API.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use sampan_client::Key;
use sampan_network::{BridgeNetwork, PodNetwork};
use sampan_proxy::frontend::{At, Backends, Empty, Frontend, Protocol, Side};
use sampan_proxy::model::Model;
use sampan_proxy::plan::{self, Wanted};
use sampan_proxy::rules::{Load, Rules};
use sampan_proxy::{Handle, Options, Proxy};

mod api;
#[path = "../../network/tests/space/mod.rs"]
mod space;

use api::Api;
use space::{Space, alone, state_dir};

/// A link that came up just now may lose its first packets; TCP tries again after a second.
const PATIENCE: Duration = Duration::from_secs(4);
const WAIT: Duration = Duration::from_millis(300);
const INSTANCE: &str = "sampan-tp";

/// A node with its Pod network and proxy, and a machine outside that is its uplink's neighbour.
struct Node {
    network: BridgeNetwork,
    api: Api,
    _proxy: Handle,
    outside: Space,
    here: Space,
}

impl Node {
    async fn start(services: &str) -> Self {
        let outside = uplink();
        let network = BridgeNetwork::start(sampan_network::Options {
            instance: INSTANCE.into(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            local_addresses: vec!["10.43.0.10".parse().unwrap()],
            mtu: None,
            state_dir: state_dir(),
        });
        let network = network.await.unwrap();
        let api = Api::new();
        api.apply(services);
        let proxy = Proxy::start(options(&api)).unwrap();
        proxy.loaded().await;
        Self { network, api, _proxy: proxy, outside, here: Space::here() }
    }

    async fn pod(&self, name: &str) -> Pod {
        let space = Space::new();
        let attachment = self.network.attach(name, space.path()).await.unwrap();
        Pod { space, address: attachment.addresses[0] }
    }

    /// Applies and returns once the kernel's elements are others.
    async fn apply(&self, yaml: &str) {
        let before = elements();
        self.api.apply(yaml);
        while elements() == before {
            tokio::task::yield_now().await;
        }
    }
}

struct Pod {
    space: Space,
    address: IpAddr,
}

impl Pod {
    /// Answers every TCP connection with the client's address as seen here and the name.
    fn serve_tcp(&self, port: u16, name: &'static str) {
        let listener = self.space.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let client = stream.peer_addr().unwrap().ip();
                let _ = write!(stream, "{client} {name}");
            }
        });
    }

    fn serve_udp(&self, port: u16, name: &'static str) {
        let socket = self.space.run(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            while let Ok((_, client)) = socket.recv_from(&mut [0; 16]) {
                let _ = socket.send_to(name.as_bytes(), client);
            }
        });
    }
}

fn options(api: &Api) -> Options {
    Options {
        client: api.client(),
        instance: INSTANCE.into(),
        node_name: "here".into(),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        skip: vec!["10.43.0.10".parse().unwrap()],
        bridge: Some(format!("{INSTANCE}0")),
    }
}

fn uplink() -> Space {
    let outside = Space::new();
    ip("link set lo up");
    ip("link add uplink type veth peer name eth0");
    ip(&format!("link set eth0 netns {}", outside.id()));
    ip("address add 192.0.2.2/24 dev uplink");
    ip("link set uplink up");
    outside.run(|| {
        ip("address add 192.0.2.1/24 dev eth0");
        ip("link set eth0 up");
        ip("route add 10.43.0.0/16 via 192.0.2.2");
    });
    outside
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn ruleset() -> String {
    let list = || Command::new("nft").args(["list", "table", "inet", INSTANCE]).output().unwrap();
    let mut output = list();
    // A listing that a transaction crossed fails; that the table is not there does too, but says so.
    while !output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("No such file") {
        output = list();
    }
    let text = String::from_utf8(output.stdout).unwrap();
    // Remembered clients tick.
    text.lines().filter(|line| !line.contains("expires")).collect::<Vec<_>>().join("\n")
}

fn elements() -> String {
    let is_element = |line: &&str| line.contains(" : ") && !line.contains("type") && !line.contains("update");
    ruleset().lines().filter(is_element).collect::<Vec<_>>().join("\n")
}

/// What the server on the other side says.
fn ask(from: &Space, target: &str) -> Result<String, ErrorKind> {
    let target: SocketAddr = target.parse().unwrap();
    from.run(move || {
        let mut stream = TcpStream::connect_timeout(&target, PATIENCE).map_err(|error| error.kind())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.kind())?;
        Ok(answer)
    })
}

fn service(name: &str, address: &str, more: &str) -> String {
    format!(
        "kind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {{clusterIPs: [{address}], {more}}}\n"
    )
}

fn slice(name: &str, port: u16, addresses: &[IpAddr]) -> String {
    let endpoint = |address: &IpAddr| format!("{{addresses: [{address}], nodeName: here}}");
    let endpoints: Vec<String> = addresses.iter().map(endpoint).collect();
    format!(
        "kind: EndpointSlice\naddressType: IPv4\nports: [{{port: {port}}}]\nendpoints: [{}]\n\
         metadata: {{name: {name}-1, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}\n",
        endpoints.join(", ")
    )
}

/// The whole component would mend a refused difference by loading everything again, and hide it.
#[test]
fn every_difference_is_accepted() {
    alone("every_difference_is_accepted", async || {
        let node = plan::Node {
            name: "here".into(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            skip: Vec::new(),
        };
        let (mut model, mut rules) = (Model::default(), Rules::new(INSTANCE, node, true));
        nft(&rules.load(&model, Load::Anew));
        nft(&rules.load(&model, Load::KeepAffinity));
        let places = [At::Address([10, 43, 0, 41].into()), At::Node];
        for (count, sticky_seconds) in [(0, None), (1, None), (3, Some(60)), (2, Some(90)), (5, None), (0, Some(60))] {
            let endpoints = (0..count).map(|last| format!("10.42.0.{last}:80").parse().unwrap()).collect();
            let backends = Backends { endpoints, sticky_seconds, empty: Empty::Refuse };
            let frontends = places.into_iter().flat_map(|at| {
                [Side::Everyone, Side::Outside].map(|side| Frontend { side, at, protocol: Protocol::Udp, port: 53 })
            });
            let wanted = frontends.map(|frontend| (frontend, backends.clone())).collect();
            let update = model.update(&Key::new("default", "names"), wanted);
            rules.apply(&update.changes).iter().for_each(|transaction| nft(transaction));
        }
        let by_steps = ruleset();
        nft(&rules.load(&model, Load::KeepAffinity));
        let update = model.update(&Key::new("default", "names"), Wanted::new());
        rules.apply(&update.changes).iter().for_each(|transaction| nft(transaction));
        assert!(by_steps.contains("10.43.0.41 . udp . 53") && !ruleset().contains("10.43.0.41"));
    });
}

fn nft(text: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
}

#[test]
fn services_reach_their_endpoints() {
    alone("services_reach_their_endpoints", async || {
        // Bridged packets pass the IP rules or not, depending on what else runs on a machine.
        for bridge_netfilter in ["0", "1"] {
            let node = Node::start(&service("web", "10.43.0.41", "ports: [{port: 80}]")).await;
            let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", bridge_netfilter);
            let (a, b, c) = (node.pod("a").await, node.pod("b").await, node.pod("c").await);
            b.serve_tcp(8080, "b");
            c.serve_tcp(8080, "c");
            assert_eq!(ask(&a.space, "10.43.0.41:80"), Err(ErrorKind::ConnectionRefused), "no endpoint yet");
            node.apply(&slice("web", 8080, &[b.address, c.address])).await;
            let ask_often = |from: &Space| -> BTreeSet<String> {
                (0..24).map(|_| ask(from, "10.43.0.41:80").unwrap_or_else(|error| error.to_string())).collect()
            };
            let names = |client: &str| BTreeSet::from(["b", "c"].map(|name| format!("{client} {name}")));
            assert_eq!(ask_often(&a.space), names(&a.address.to_string()), "netfilter {bridge_netfilter}");
            assert_eq!(ask_often(&node.here), names("10.42.0.1"), "from the node");
            assert_eq!(ask_often(&node.outside), names("192.0.2.1"), "from outside");
            let itself = BTreeSet::from(["10.42.0.1 b".to_owned(), format!("{} c", b.address)]);
            assert_eq!(ask_often(&b.space), itself, "masqueraded only to itself");
            assert_eq!(ask(&a.space, "10.43.0.41:81"), Err(ErrorKind::ConnectionRefused), "another port");
            assert_eq!(ask(&a.space, "10.43.9.9:80"), Err(ErrorKind::ConnectionRefused), "an address no Service has");
            node.apply(&slice("web", 8080, &[c.address])).await;
            assert_eq!(ask(&a.space, "10.43.0.41:80"), Ok(format!("{} c", a.address)));
            Proxy::remove(INSTANCE).await.unwrap();
            drop((a, b, c, node));
            // It may have gone with its other end already.
            let _ = Command::new("ip").args(["link", "delete", "uplink"]).output();
            ip(&format!("link delete {INSTANCE}0"));
        }
    });
}

#[test]
fn node_ports_keep_the_clients_address() {
    alone("node_ports_keep_the_clients_address", async || {
        let node =
            Node::start(&service("web", "10.43.0.41", "type: NodePort, ports: [{port: 80, nodePort: 30080}]")).await;
        let a = node.pod("a").await;
        a.serve_tcp(8080, "a");
        assert_eq!(ask(&node.outside, "192.0.2.2:30080"), Err(ErrorKind::ConnectionRefused));
        node.apply(&slice("web", 8080, &[a.address])).await;
        assert_eq!(ask(&node.outside, "192.0.2.2:30080"), Ok("192.0.2.1 a".into()));
        assert_eq!(ask(&node.here, "192.0.2.2:30080"), Ok("192.0.2.2 a".into()));
        assert_eq!(ask(&node.here, "127.0.0.1:30080"), Ok("10.42.0.1 a".into()));
        assert_eq!(ask(&a.space, "192.0.2.2:30080"), Ok("10.42.0.1 a".into()), "to itself");
        node.outside.run(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            ip("route add 127.0.0.0/8 via 192.0.2.2 dev eth0 src 192.0.2.1 table 77");
            ip("rule add to 127.0.0.0/8 table 77 priority 0");
            ip("rule delete priority 0 table local");
            ip("rule add priority 5 table local");
        });
        assert!(ask(&node.outside, "127.0.0.1:30080").is_err(), "the node's loopback stays its own");
    });
}

#[test]
fn a_policy_for_local_endpoints_drops_what_comes_from_outside() {
    alone("a_policy_for_local_endpoints_drops_what_comes_from_outside", async || {
        let local = "type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]";
        let node = Node::start(&service("web", "10.43.0.41", local)).await;
        let a = node.pod("a").await;
        a.serve_tcp(8080, "a");
        node.apply(&slice("web", 8080, &[a.address]).replace("nodeName: here", "nodeName: there")).await;
        assert_eq!(ask(&node.outside, "192.0.2.2:30080"), Err(ErrorKind::TimedOut));
        assert_eq!(ask(&node.here, "192.0.2.2:30080"), Ok("192.0.2.2 a".into()));
        node.apply(&slice("web", 8080, &[a.address])).await;
        assert_eq!(ask(&node.outside, "192.0.2.2:30080"), Ok("192.0.2.1 a".into()));
    });
}

#[test]
fn a_client_keeps_its_endpoint() {
    alone("a_client_keeps_its_endpoint", async || {
        let node = Node::start(&service("web", "10.43.0.41", "sessionAffinity: ClientIP, ports: [{port: 80}]")).await;
        let (a, b, c) = (node.pod("a").await, node.pod("b").await, node.pod("c").await);
        b.serve_tcp(8080, "b");
        c.serve_tcp(8080, "c");
        node.apply(&slice("web", 8080, &[b.address, c.address])).await;
        let ask_often = || -> BTreeSet<String> { (0..16).map(|_| ask(&a.space, "10.43.0.41:80").unwrap()).collect() };
        let first = ask_often();
        assert_eq!(first.len(), 1, "{first:?}");
        let was_b = first.iter().any(|answer| answer.ends_with('b'));
        let (gone, kept, name) = if was_b { (&b, &c, "c") } else { (&c, &b, "b") };
        let moved = format!("{} {name}", a.address);
        node.apply(&slice("web", 8080, &[kept.address])).await;
        let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while ask(&a.space, "10.43.0.41:80").as_ref() != Ok(&moved) {
            assert!(tokio::time::Instant::now() < patience, "the client still goes to the endpoint that is gone");
            tokio::task::yield_now().await;
        }
        // A connection made in the very moment of forgetting may be forgotten with it; later ones are not.
        assert_eq!(ask_often(), [moved.clone()].into());
        node.apply(&slice("web", 8080, &[kept.address, gone.address])).await;
        assert_eq!(ask_often(), [moved].into(), "the choice after the first endpoint went away is kept as well");
    });
}

#[test]
fn a_udp_client_follows_its_service() {
    alone("a_udp_client_follows_its_service", async || {
        let node = Node::start(&service("names", "10.43.0.53", "ports: [{port: 53, protocol: UDP}]")).await;
        let (a, b, c) = (node.pod("a").await, node.pod("b").await, node.pod("c").await);
        b.serve_udp(5353, "b");
        c.serve_udp(5353, "c");
        node.apply(&slice("names", 5353, &[b.address])).await;
        let socket = a.space.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket.connect("10.43.0.53:53").unwrap();
        let ask = || {
            let mut answer = [0; 1];
            socket.send(b"x").and_then(|_| socket.recv(&mut answer)).map(|_| answer[0] as char)
        };
        while ask().ok() != Some('b') {
            tokio::task::yield_now().await;
        }
        node.apply(&slice("names", 5353, &[c.address])).await;
        while ask().ok() != Some('c') {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn traffic_survives_a_restart_and_a_flush() {
    alone("traffic_survives_a_restart_and_a_flush", async || {
        let node = Node::start(&service("web", "10.43.0.41", "ports: [{port: 80}]")).await;
        let (a, b) = (node.pod("a").await, node.pod("b").await);
        b.serve_tcp(8080, "b");
        node.apply(&slice("web", 8080, &[b.address])).await;
        let (before, answer) = (ruleset(), Ok(format!("{} b", a.address)));
        let second = Proxy::start(options(&node.api)).unwrap();
        assert_eq!(ask(&a.space, "10.43.0.41:80"), answer, "while a new one takes over");
        second.loaded().await;
        assert_eq!(ruleset(), before, "the same rules, none twice");
        second.shutdown().await;
        assert_eq!(ask(&a.space, "10.43.0.41:80"), answer, "after its end");
        Command::new("nft").args(["delete", "table", "inet", INSTANCE]).status().unwrap();
        node.api.apply(&service("other", "10.43.0.42", "ports: [{port: 80}]"));
        while ask(&a.space, "10.43.0.41:80") != answer {
            tokio::task::yield_now().await;
        }
        Proxy::remove(INSTANCE).await.unwrap();
        Proxy::remove(INSTANCE).await.unwrap();
        assert_eq!(ruleset(), "");
    });
}
