//! Commands in running containers.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;

use futures::{SinkExt, StreamExt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sampan_cri::v1::*;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::fixture::Fixture;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A client of one stream, as kubectl is.
struct Client(WebSocketStream<tokio::net::TcpStream>);

impl Client {
    async fn connect(url: &str, protocol: &str) -> Self {
        let mut request = url.replace("http://", "ws://").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        let stream = tokio::net::TcpStream::connect(request.uri().authority().unwrap().as_str()).await.unwrap();
        Self(client_async(request, stream).await.unwrap().0)
    }

    async fn send(&mut self, channel: u8, bytes: &[u8]) {
        let message = [&[channel], bytes].concat();
        self.0.send(Message::Binary(message.into())).await.unwrap();
    }

    /// What comes on `channel` until it holds `words`.
    async fn until(&mut self, channel: u8, words: &str) -> String {
        let mut text = String::new();
        while !text.contains(words) {
            let message = self.0.next().await.expect("the stream goes on").expect("no error").into_data();
            if message.first() == Some(&channel) {
                text.push_str(&String::from_utf8_lossy(&message[1..]));
            }
        }
        text
    }
}

async fn running(fixture: &mut Fixture) -> (String, String) {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "host", "sleep 1000").await;
    fixture.start(&id).await.unwrap();
    (sandbox, id)
}

async fn exec_url(fixture: &mut Fixture, id: &str, script: &str, tty: bool) -> String {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = ExecRequest { container_id: id.to_owned(), cmd, tty, stdin: true, stdout: true, stderr: !tty };
    fixture.cri.exec(request).await.unwrap().into_inner().url
}

pub(crate) async fn streams_a_command(mut fixture: Fixture) -> Fixture {
    let (_, id) = running(&mut fixture).await;
    let url = exec_url(&mut fixture, &id, "cat; exit 3", false).await;
    let mut client = Client::connect(&url, "v5.channel.k8s.io").await;
    client.send(STDIN, b"typed\n").await;
    assert_eq!(client.until(STDOUT, "typed").await, "typed\n");
    client.send(CLOSE, &[STDIN]).await;
    assert!(client.until(STATUS, "ExitCode").await.contains(r#""message":"3""#));
    let again = plain_request(&url).await;
    assert!(again.starts_with("HTTP/1.1 404"), "a URL works once: {again}");
    fixture
}

async fn plain_request(url: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

pub(crate) async fn streams_a_terminal(mut fixture: Fixture) -> Fixture {
    let (_, id) = running(&mut fixture).await;
    let script = "stty -echo; tty 2>/dev/null; until stty size | grep -q '30 100'; do sleep 0.02; done; echo sized; read x; echo got $x";
    let url = exec_url(&mut fixture, &id, script, true).await;
    let mut client = Client::connect(&url, "v5.channel.k8s.io").await;
    client.send(RESIZE, br#"{"Width":100,"Height":30}"#).await;
    client.until(STDOUT, "sized").await;
    client.send(STDIN, b"word\n").await;
    client.until(STDOUT, "got word").await;
    assert!(client.until(STATUS, "status").await.contains("Success"));
    fixture
}

pub(crate) async fn attaches(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let change = |config: &mut ContainerConfig| (config.stdin, config.stdin_once) = (true, true);
    let id = fixture.create_with(&sandbox, "host", "cat; echo over", change).await.unwrap();
    fixture.start(&id).await.unwrap();
    let request = AttachRequest { container_id: id.clone(), stdin: true, tty: false, stdout: true, stderr: true };
    let url = fixture.cri.attach(request).await.unwrap().into_inner().url;
    let mut client = Client::connect(&url, "v5.channel.k8s.io").await;
    client.send(STDIN, b"hello\n").await;
    client.until(STDOUT, "hello").await;
    client.send(CLOSE, &[STDIN]).await;
    client.until(STDOUT, "over").await;
    assert!(client.until(STATUS, "status").await.contains("Success"));
    assert_eq!(fixture.ended(&id).await.exit_code, 0);
    assert_eq!(fixture.lines("host.log"), ["hello", "over"]);
    fixture
}

pub(crate) async fn forwards_ports(mut fixture: Fixture) -> Fixture {
    let (sandbox, _) = running(&mut fixture).await;
    let privileged = |config: &mut ContainerConfig| {
        config.linux.get_or_insert_default().security_context.get_or_insert_default().privileged = true;
    };
    // The test's network leaves loopback down.
    let script = "ip link set lo up; echo up; while :; do echo answer | nc -l -p 8080; done";
    let id = fixture.create_with(&sandbox, "serve", script, privileged).await.unwrap();
    fixture.start(&id).await.unwrap();
    while fixture.exec(&id, "grep -q ':1F90 ' /proc/net/tcp /proc/net/tcp6", 0).await.unwrap().1 != 0 {
        tokio::task::yield_now().await;
    }
    let request = PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![8080] };
    let url = fixture.cri.port_forward(request).await.unwrap().into_inner().url;
    let mut client = Client::connect(&url, "v4.channel.k8s.io").await;
    client.until(0, "answer").await;
    // Some listen on the other loopback only.
    let namespace = fixture.directory.join("state/netns").join(&sandbox);
    let listening = std::thread::spawn(move || {
        let namespace = std::fs::File::open(namespace).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        TcpListener::bind("[::1]:8081").unwrap()
    });
    let listener = listening.join().unwrap();
    std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"six").unwrap());
    let request = PortForwardRequest { pod_sandbox_id: sandbox, port: vec![8081] };
    let url = fixture.cri.port_forward(request).await.unwrap().into_inner().url;
    Client::connect(&url, "v4.channel.k8s.io").await.until(0, "six").await;
    fixture
}

pub(crate) async fn ends_with_its_client(mut fixture: Fixture) -> Fixture {
    let (_, id) = running(&mut fixture).await;
    let url = exec_url(&mut fixture, &id, "echo up; exec sleep 888", false).await;
    let mut client = Client::connect(&url, "v5.channel.k8s.io").await;
    client.until(STDOUT, "up").await;
    drop(client);
    while fixture.exec(&id, "ps | grep -q '[s]leep 888'", 0).await.unwrap().1 == 0 {
        tokio::task::yield_now().await;
    }
    fixture
}

pub(crate) async fn runs_commands(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "host", "sleep 1000").await;
    fixture.start(&id).await.unwrap();
    assert_eq!(
        fixture.exec(&id, "echo $HOSTNAME; ps | grep -c '[s]leep 1000'", 0).await.unwrap(),
        ("pod-name\n1\n".to_owned(), 0)
    );
    assert_eq!(fixture.exec(&id, "echo e >&2; exit 4", 0).await.unwrap(), ("e\n".to_owned(), 4));
    // Something left behind holds the pipes; the answer does not wait for it.
    assert_eq!(fixture.exec(&id, "sleep 1000 & echo done", 0).await.unwrap(), ("done\n".to_owned(), 0));
    // More environment than a message has room for.
    let large = |config: &mut ContainerConfig| {
        let variable = |number| KeyValue { key: format!("LARGE{number}"), value: "x".repeat(100_000).into() };
        config.envs = (0..4).map(variable).collect();
    };
    let rich = fixture.create_with(&sandbox, "rich", "sleep 1000", large).await.unwrap();
    fixture.start(&rich).await.unwrap();
    assert_eq!(fixture.exec(&rich, "echo ${#LARGE0} ${#LARGE3}", 0).await.unwrap().0, "100000 100000\n");
    let request = ExecSyncRequest { container_id: id, cmd: vec!["nothing".to_owned()], timeout: 0 };
    let error = fixture.cri.exec_sync(request).await.unwrap_err();
    assert!(error.message().contains(r#"exec: "nothing": executable file not found in $PATH"#), "{error}");
    fixture
}

pub(crate) async fn gives_up_on_slow_commands(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "host", "sleep 1000").await;
    fixture.start(&id).await.unwrap();
    let error = fixture.exec(&id, "exec sleep 777", 1).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    loop {
        let (text, _) = fixture.exec(&id, "ps | grep -v grep | grep -c 'sleep 777'; true", 0).await.unwrap();
        if text.trim() == "0" {
            return fixture;
        }
    }
}
