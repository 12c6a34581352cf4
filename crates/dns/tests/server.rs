//! The running server over real sockets: transports, sizes, bad messages, forwarding.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use sampan_dns::{Dns, Handle, Options, nameservers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

#[path = "../../proxy/tests/api/mod.rs"]
mod api;

use api::Api;

const PATIENCE: Duration = Duration::from_secs(10);

async fn start(upstreams: Vec<SocketAddr>) -> Handle {
    let api = Api::new();
    api.apply(
        "kind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.43.0.41, ports: [{port: 80}]}\n---\n\
         kind: Service\nmetadata: {name: far, namespace: shop}\nspec: {type: ExternalName, externalName: www.example.org}\n---\n\
         kind: Service\nmetadata: {name: near, namespace: shop}\n\
         spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}\n---\n\
         kind: Service\nmetadata: {name: round, namespace: shop}\n\
         spec: {type: ExternalName, externalName: round.shop.svc.cluster.local}\n---\n\
         kind: Service\nmetadata: {name: many, namespace: shop}\nspec: {clusterIP: None, ports: [{port: 80}]}",
    );
    let endpoints: Vec<String> = (0..200).map(|last| format!("{{addresses: [10.42.1.{last}]}}")).collect();
    api.apply(&format!(
        "kind: EndpointSlice\nmetadata: {{name: many-1, namespace: shop, labels: {{kubernetes.io/service-name: many}}}}\n\
         addressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{}]",
        endpoints.join(", ")
    ));
    let options = Options {
        client: api.client(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        upstreams,
        node_name: None,
    };
    let dns = Dns::start(options).await.unwrap();
    dns.complete().await;
    dns
}

fn query(name: &str, edns: Option<u16>) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

async fn send(server: SocketAddr, bytes: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let mut buffer = [0; 4096];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

async fn udp(server: SocketAddr, message: &Message) -> Message {
    send(server, &message.to_vec().unwrap()).await.expect("no answer")
}

async fn tcp(server: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let bytes = message.to_vec().unwrap();
    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    let addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0.to_string()),
        _ => None,
    });
    addresses.collect()
}

/// Another server: knows `www.example.org` and `long.example.org`, whose answer does not fit in a datagram.
async fn upstream() -> (SocketAddr, Arc<AtomicUsize>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::SeqCst);
            // A forger who guesses the number wrong comes first.
            let mut answer = know(&buffer[..length], false);
            answer.metadata.id ^= 1;
            udp.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            udp.send_to(&know(&buffer[..length], false).to_vec().unwrap(), client).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut bytes).await.unwrap();
            let answer = know(&bytes, true).to_vec().unwrap();
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    (address, asked)
}

fn know(bytes: &[u8], whole: bool) -> Message {
    let query = Message::from_vec(bytes).unwrap();
    let name = query.queries[0].name().clone();
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_query(query.queries[0].clone());
    let count = match name.to_ascii().as_str() {
        "www.example.org." => 1,
        "long.example.org." if whole => 100,
        "long.example.org." => {
            answer.metadata.truncation = true;
            0
        }
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            0
        }
    };
    answer.add_answers(
        (0..count).map(|last| Record::from_rdata(name.clone(), 60, RData::A(A([203, 0, 113, last].into())))),
    );
    answer
}

#[tokio::test]
async fn both_transports_answer() {
    let dns = start(Vec::new()).await;
    let server = dns.addresses()[0];
    let question = query("web.shop.svc.cluster.local.", None);
    for answer in [udp(server, &question).await, tcp(server, &question).await] {
        assert_eq!(addresses(&answer), ["10.43.0.41"]);
        assert_eq!((answer.metadata.id, answer.metadata.authoritative), (4711, true));
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
        assert_eq!(answer.queries, question.queries);
    }
    let missing = udp(server, &query("none.shop.svc.cluster.local.", None)).await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert!(matches!(missing.authorities[0].data, RData::SOA(_)));
    dns.shutdown().await;
}

#[tokio::test]
async fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let dns = start(Vec::new()).await;
    let server = dns.addresses()[0];
    for (edns, most) in [(None, 512), (Some(1232), 1232), (Some(65_000), 1232)] {
        let question = query("many.shop.svc.cluster.local.", edns);
        let answer = udp(server, &question).await;
        assert!(answer.metadata.truncation && answer.to_vec().unwrap().len() <= most);
        assert_eq!(answer.edns.is_some(), edns.is_some());
    }
    let whole = tcp(server, &query("many.shop.svc.cluster.local.", None)).await;
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (200, false));
    dns.shutdown().await;
}

#[tokio::test]
async fn bad_messages_are_refused_and_the_server_goes_on() {
    let dns = start(Vec::new()).await;
    let server = dns.addresses()[0];
    let good = query("web.shop.svc.cluster.local.", None).to_vec().unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    // A name that points to itself; one that points forward; a question that is not there; endless bytes.
    let rows = [
        (with(&|b| b.splice(12.., [0xc0, 12, 0, 1, 0, 1]).for_each(drop)), ResponseCode::FormErr),
        (with(&|b| b.splice(12.., [0xc0, 200, 0, 1, 0, 1]).for_each(drop)), ResponseCode::FormErr),
        (with(&|b| b.truncate(20)), ResponseCode::FormErr),
        (with(&|b| b[5] = 0), ResponseCode::FormErr),
        (with(&|b| b.resize(5000, 0)), ResponseCode::FormErr),
        (with(&|b| b[2] = 0x28), ResponseCode::NotImp),
        (with(&|b| *b.last_mut().unwrap() = 3), ResponseCode::Refused),
    ];
    for (bytes, code) in rows {
        let answer = send(server, &bytes).await.expect("an answer");
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (4711, code));
    }
    let mut edns = query("web.shop.svc.cluster.local.", Some(1232));
    edns.edns.as_mut().unwrap().set_version(1);
    let answer = udp(server, &edns).await;
    // BADVERS shares its number with BADSIG, which is what the library reads.
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
    // Answers, and what is too short for a header, get none.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&[1, 2, 3], server).await.unwrap();
    socket.send_to(&with(&|b| b[2] |= 0x80), server).await.unwrap();
    socket.send_to(&good, server).await.unwrap();
    let mut buffer = [0; 512];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(addresses(&Message::from_vec(&buffer[..length]).unwrap()), ["10.43.0.41"], "the first answer at all");
    dns.shutdown().await;
}

#[tokio::test]
async fn other_names_are_forwarded_and_remembered() {
    let (upstream, asked) = upstream().await;
    let dns = start(vec!["127.0.0.1:1".parse().unwrap(), upstream]).await;
    let server = dns.addresses()[0];
    for name in ["www.example.org.", "WWW.example.org.", "www.example.org."] {
        let answer = udp(server, &query(name, None)).await;
        assert_eq!((addresses(&answer), answer.metadata.authoritative), (vec!["203.0.113.0".into()], false));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let long = tcp(server, &query("long.example.org.", None)).await;
    assert_eq!(long.answers.len(), 100);
    let missing = udp(server, &query("none.example.org.", None)).await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    dns.shutdown().await;
}

#[tokio::test]
async fn external_names_are_followed_to_their_end() {
    let (upstream, _) = upstream().await;
    let dns = start(vec![upstream]).await;
    let server = dns.addresses()[0];
    for (name, address) in [("far", "203.0.113.0"), ("near", "10.43.0.41")] {
        let answer = udp(server, &query(&format!("{name}.shop.svc.cluster.local."), None)).await;
        assert!(matches!(answer.answers[0].data, RData::CNAME(_)));
        assert_eq!(addresses(&answer), [address]);
    }
    let round = udp(server, &query("round.shop.svc.cluster.local.", None)).await;
    assert_eq!(round.metadata.response_code, ResponseCode::ServFail);
    dns.shutdown().await;
}

#[tokio::test]
async fn without_an_upstream_other_names_fail() {
    let dns = start(Vec::new()).await;
    let answer = udp(dns.addresses()[0], &query("www.example.org.", None)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    dns.shutdown().await;
}

#[test]
fn a_resolv_conf_names_servers() {
    let text = "# comment\nnameserver 192.0.2.53\nnameserver fd00::53\nsearch example.org\nnameserver fe80::1%eth0\n";
    assert_eq!(nameservers(text), ["192.0.2.53:53".parse().unwrap(), "[fd00::53]:53".parse().unwrap()]);
}
