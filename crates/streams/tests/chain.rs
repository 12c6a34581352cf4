//! Real connections on loopback: each client dialect against the server, directly and through two proxies.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use sampan_streams::{
    Body, BoxError, Sessions, portforward, proxy,
    remotecommand::{self, ExitStatus, Options, Session},
    spdy::{Connection, Headers, Role, Stream},
    websocket::Tunnel,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

/// No test takes longer; a hang is a failure, not a stuck run.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port, for as long as the test's runtime lives.
async fn listen<F, R>(handle: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let handle = handle.clone();
            let service = service_fn(move |request| {
                let handle = handle.clone();
                async move { Ok::<_, std::convert::Infallible>(handle(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

/// Two proxies in front of `server`.
async fn behind_proxies(server: SocketAddr) -> SocketAddr {
    let mut next = server;
    for _ in 0..2 {
        let backend = next;
        next = listen(move |request| async move {
            let connection = TcpStream::connect(backend).await.expect("connect");
            match proxy::forward(request, connection).await {
                Ok(response) => response,
                Err(error) => text(StatusCode::BAD_GATEWAY, error.to_string()),
            }
        })
        .await;
    }
    next
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).expect("response")
}

/// Echoes stdin to stdout in capitals, tells each terminal size on stdout, and exits with the code in the path.
async fn shout(code: i32, session: Session) -> Result<ExitStatus, BoxError> {
    let Session { stdin, stdout, stderr, mut resize } = session;
    let mut stdout = stdout.expect("stdout");
    if let Some(size) = resize.recv().await {
        stdout.write_all(format!("[{}x{}]", size.width, size.height).as_bytes()).await?;
    }
    if let Some(mut stdin) = stdin {
        let mut buffer = vec![0; 4096];
        loop {
            let length = stdin.read(&mut buffer).await?;
            // `!` is how clients end that cannot say end of file.
            if length == 0 || buffer[..length].ends_with(b"!") {
                break;
            }
            stdout.write_all(&buffer[..length].to_ascii_uppercase()).await?;
        }
    }
    if let Some(mut stderr) = stderr {
        stderr.write_all(b"bye").await?;
    }
    if code < 0 { Err("no such command".into()) } else { Ok(ExitStatus(code)) }
}

/// A server that runs [`shout`] on `/<exit code>`, with a terminal on `/<exit code>/tty`.
async fn exec_server() -> SocketAddr {
    listen(|request| async move {
        let path = request.uri().path().to_owned();
        let tty = path.ends_with("/tty");
        let code = path.split('/').nth(1).and_then(|code| code.parse().ok()).expect("exit code");
        let options = Options { stdin: true, stdout: true, stderr: true, tty };
        remotecommand::serve(request, options, move |session| shout(code, session))
    })
    .await
}

/// What a client saw of a session.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    stdout: String,
    stderr: String,
    error: String,
}

fn upgrade_request(
    address: SocketAddr,
    path: &str,
    protocol: &'static str,
    streams: &[&'static str],
) -> Request<Empty<Bytes>> {
    let mut request = Request::post(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, protocol)
        .body(Empty::new())
        .expect("request");
    for name in streams {
        request.headers_mut().append("X-Stream-Protocol-Version", HeaderValue::from_static(name));
    }
    request
}

/// Sends one request on a fresh connection.
async fn send(address: SocketAddr, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.expect("connect");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.expect("response")
}

async fn spdy(address: SocketAddr, path: &str, streams: &[&'static str]) -> Connection {
    let response = send(address, upgrade_request(address, path, "SPDY/3.1", streams)).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["x-stream-protocol-version"], streams[0]);
    let upgraded = hyper::upgrade::on(response).await.expect("upgrade");
    let (connection, driver) = Connection::new(TokioIo::new(upgraded), Role::Client);
    tokio::spawn(driver.run());
    connection
}

async fn open(connection: &mut Connection, headers: &[(&str, &str)]) -> Stream {
    let headers: Headers = headers.iter().copied().collect();
    timeout(PATIENCE, connection.open(headers)).await.expect("reply in time").expect("stream")
}

async fn read_all(stream: &mut Stream) -> String {
    let mut all = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut all)).await.expect("end in time").expect("read");
    all
}

async fn exec_spdy(address: SocketAddr, path: &str, version: &'static str) -> Seen {
    let mut connection = spdy(address, path, &[version]).await;
    let mut error = open(&mut connection, &[("streamtype", "error")]).await;
    let mut stdin = open(&mut connection, &[("streamtype", "stdin")]).await;
    let mut stdout = open(&mut connection, &[("streamtype", "stdout")]).await;
    let mut seen = Seen::default();
    if path.ends_with("/tty") {
        let mut resize = open(&mut connection, &[("streamtype", "resize")]).await;
        resize.write_all(b"{\"Width\":80,\"Height\":24}\n").await.expect("resize");
    } else {
        let mut stderr = open(&mut connection, &[("streamtype", "stderr")]).await;
        stdin.write_all(b"hello").await.expect("stdin");
        stdin.shutdown().await.expect("stdin");
        seen.stderr = read_all(&mut stderr).await;
    }
    stdin.shutdown().await.expect("stdin");
    seen.stdout = read_all(&mut stdout).await;
    seen.error = read_all(&mut error).await;
    seen
}

async fn websocket(address: SocketAddr, path: &str, protocol: &'static str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{address}{path}").into_client_request().expect("request");
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    let stream = TcpStream::connect(address).await.expect("connect");
    let (socket, response) = timeout(PATIENCE, client_async(request, stream)).await.expect("in time").expect("101");
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], protocol);
    socket
}

async fn exec_websocket(address: SocketAddr, path: &str, protocol: &'static str) -> Seen {
    let mut socket = websocket(address, path, protocol).await;
    if path.ends_with("/tty") {
        socket.send(Message::binary(&b"\x04{\"Width\":80,\"Height\":24}"[..])).await.expect("resize");
    }
    socket.send(Message::Ping("are you there".into())).await.expect("ping");
    if protocol.contains("base64") {
        socket.send(Message::text("0aGVsbG8=")).await.expect("stdin");
        socket.send(Message::text("0IQ==")).await.expect("end");
    } else {
        socket.send(Message::binary(&b"\x00hello"[..])).await.expect("stdin");
        let end = if protocol.starts_with("v5") { &b"\xff\x00"[..] } else { &b"\x00!"[..] };
        socket.send(Message::binary(end)).await.expect("end");
    }
    let (mut seen, mut pong) = (Seen::default(), false);
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("message in time").expect("close first").expect("message") {
            Message::Binary(bytes) => seen.add(bytes[0], &bytes[1..]),
            Message::Text(text) => {
                use base64::Engine;
                let data = base64::engine::general_purpose::STANDARD.decode(&text[1..]).expect("base64");
                seen.add(text.as_bytes()[0] - b'0', &data);
            }
            Message::Pong(_) => pong = true,
            Message::Close(frame) => {
                assert_eq!(frame.expect("close frame").code, CloseCode::Normal);
                assert!(pong, "the ping was answered");
                return seen;
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Seen {
    fn add(&mut self, channel: u8, data: &[u8]) {
        let text = std::str::from_utf8(data).expect("text");
        match channel {
            1 => self.stdout.push_str(text),
            2 => self.stderr.push_str(text),
            3 => self.error.push_str(text),
            other => panic!("channel {other}"),
        }
    }
}

const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;
const EXIT_3: &str = "command terminated with non-zero exit code: exit status 3";

/// Runs `client` directly and through the proxies and expects the same of both.
async fn check_exec<F: Future<Output = Seen>>(
    client: impl Fn(SocketAddr) -> F,
    stdout: &str,
    stderr: &str,
    error: &str,
) {
    let server = exec_server().await;
    for address in [server, behind_proxies(server).await] {
        let seen = client(address).await;
        assert_eq!((seen.stdout.as_str(), seen.stderr.as_str()), (stdout, stderr));
        assert!(seen.error.contains(error), "{seen:?}");
        assert_eq!(seen.error.is_empty(), error.is_empty(), "{seen:?}");
    }
}

#[tokio::test]
async fn websocket_v5() {
    check_exec(|a| exec_websocket(a, "/0", "v5.channel.k8s.io"), "HELLO", "bye", SUCCESS).await;
    check_exec(|a| exec_websocket(a, "/3", "v5.channel.k8s.io"), "HELLO", "bye", EXIT_3).await;
    check_exec(|a| exec_websocket(a, "/-1", "v5.channel.k8s.io"), "HELLO", "bye", "no such command").await;
    check_exec(|a| exec_websocket(a, "/0/tty", "v5.channel.k8s.io"), "[80x24]HELLO", "", SUCCESS).await;
}

#[tokio::test]
async fn websocket_before_v5() {
    check_exec(|a| exec_websocket(a, "/3", "v4.channel.k8s.io"), "HELLO", "bye", r#""reason":"ExitCode""#).await;
    check_exec(|a| exec_websocket(a, "/3", "v4.base64.channel.k8s.io"), "HELLO", "bye", EXIT_3).await;
    check_exec(|a| exec_websocket(a, "/0", "channel.k8s.io"), "HELLO", "bye", "").await;
    check_exec(|a| exec_websocket(a, "/3", "base64.channel.k8s.io"), "HELLO", "bye", EXIT_3).await;
}

#[tokio::test]
async fn spdy_all_versions() {
    check_exec(|a| exec_spdy(a, "/0", "v4.channel.k8s.io"), "HELLO", "bye", SUCCESS).await;
    check_exec(|a| exec_spdy(a, "/3", "v4.channel.k8s.io"), "HELLO", "bye", EXIT_3).await;
    check_exec(|a| exec_spdy(a, "/0/tty", "v4.channel.k8s.io"), "[80x24]", "", SUCCESS).await;
    check_exec(|a| exec_spdy(a, "/3", "v3.channel.k8s.io"), "HELLO", "bye", EXIT_3).await;
    check_exec(|a| exec_spdy(a, "/0", "v2.channel.k8s.io"), "HELLO", "bye", "").await;
    check_exec(|a| exec_spdy(a, "/3", "channel.k8s.io"), "HELLO", "bye", EXIT_3).await;
}

/// A Pod whose port 7 echoes, whose port 9 greets and hangs up, and which listens on no other.
async fn forward_server() -> SocketAddr {
    listen(|request| async move {
        let ports = portforward::ports(request.uri().query().unwrap_or_default()).expect("ports");
        portforward::serve(request, ports, |port| async move {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            match port {
                7 => drop(tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(theirs);
                    tokio::io::copy(&mut read, &mut write).await.expect("echo");
                    write.shutdown().await.expect("end");
                })),
                9 => theirs.write_all(b"go away").await?,
                _ => return Err("connection refused".into()),
            }
            Ok(ours)
        })
    })
    .await
}

/// Forwards several connections at once over one SPDY connection.
async fn check_forward(mut connection: Connection) {
    let mut pairs = Vec::new();
    for (id, port) in ["7", "9", "7", "8"].into_iter().enumerate() {
        let id = id.to_string();
        let error = open(&mut connection, &[("streamtype", "error"), ("port", port), ("requestid", &id)]).await;
        let data = open(&mut connection, &[("streamtype", "data"), ("port", port), ("requestid", &id)]).await;
        pairs.push((data, error));
    }
    let large = "x".repeat(1_000_000);
    let wants =
        [(large.as_str(), ""), ("go away", ""), ("two", ""), ("", "error forwarding port 8: connection refused")];
    let checks = pairs.into_iter().zip(wants).map(|((data, mut error), (want, failure))| async move {
        let (mut read, mut write) = tokio::io::split(data);
        let send = async {
            if failure.is_empty() && want != "go away" {
                write.write_all(want.as_bytes()).await.expect("send");
            }
            write.shutdown().await.expect("end");
        };
        let mut got = String::new();
        let (_, received) =
            timeout(PATIENCE, async { tokio::join!(send, read.read_to_string(&mut got)) }).await.expect("in time");
        received.expect("receive");
        assert!(got == want, "got {} bytes, want {}", got.len(), want.len());
        assert_eq!(read_all(&mut error).await, failure);
    });
    futures::future::join_all(checks).await;
    // kubectl resets the data stream when it is done: that is no failure, and the next connection works.
    let headers = |kind| [("streamtype", kind), ("port", "7"), ("requestid", "reset")];
    let mut error = open(&mut connection, &headers("error")).await;
    open(&mut connection, &headers("data")).await.reset();
    assert_eq!(read_all(&mut error).await, "");
}

#[tokio::test]
async fn portforward_over_spdy() {
    let server = forward_server().await;
    for address in [server, behind_proxies(server).await] {
        check_forward(spdy(address, "/", &["portforward.k8s.io"]).await).await;
    }
}

#[tokio::test]
async fn portforward_over_a_websocket_tunnel() {
    let server = forward_server().await;
    for address in [server, behind_proxies(server).await] {
        let tunnel = Tunnel::new(websocket(address, "/", "SPDY/3.1+portforward.k8s.io").await);
        let (connection, driver) = Connection::new(tunnel, Role::Client);
        tokio::spawn(driver.run());
        check_forward(connection).await;
    }
}

#[tokio::test]
async fn portforward_over_websocket_channels() {
    // The client says nothing and does not leave: the server ends the session when the ports have.
    let server = forward_server().await;
    for address in [server, behind_proxies(server).await] {
        let mut socket = websocket(address, "/?ports=9,8", "v4.channel.k8s.io").await;
        let mut channels = vec![Vec::new(); 4];
        while let Some(message) = timeout(PATIENCE, socket.next()).await.expect("in time") {
            if let Message::Binary(bytes) = message.expect("message") {
                channels[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
            }
        }
        let text: Vec<_> = channels.iter().map(|channel| String::from_utf8_lossy(channel)).collect();
        assert_eq!(text, ["\x09\0go away", "\x09\0", "\x08\0", "\x08\0error forwarding port 8: connection refused"]);
    }
}

#[tokio::test]
async fn plain_requests_stream_through_the_proxies() {
    let server = listen(|request| async move {
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("x-hop"));
        let body = request.into_body().collect().await.expect("body").to_bytes();
        text(StatusCode::OK, [line.as_bytes(), b" ", &body].concat())
    })
    .await;
    let proxy = behind_proxies(server).await;
    let stream = TcpStream::connect(proxy).await.expect("connect");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(connection);
    // The same client connection serves any number of plain requests.
    for _ in 0..2 {
        let request = Request::put("/a/b?c=d")
            .header(header::HOST, "pod")
            .header(header::CONNECTION, "x-hop")
            .header("x-hop", "secret")
            .body(Full::new(Bytes::from_static(b"hello")))
            .expect("request");
        let response = sender.send_request(request).await.expect("response");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("body").to_bytes();
        assert_eq!(body, "PUT /a/b?c=d None hello");
    }
}

/// CVE-2018-1002105: whatever follows a refused upgrade on the same connection must not reach the backend.
#[tokio::test]
async fn a_refused_upgrade_leaves_no_tunnel() {
    let server = listen(|request| async move {
        assert_ne!(request.uri().path(), "/smuggled");
        text(StatusCode::FORBIDDEN, "no")
    })
    .await;
    let mut stream = TcpStream::connect(behind_proxies(server).await).await.expect("connect");
    let first = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let second = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(format!("{first}{second}").as_bytes()).await.expect("send");
    let mut answer = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the proxy closes");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

/// CVE-2022-3172, and a backend that switches without being asked.
#[tokio::test]
async fn upgrades_are_not_redirected_nor_forced() {
    let server = listen(|request| async move {
        if request.uri().path() == "/redirect" {
            let mut response = text(StatusCode::FOUND, "");
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("http://169.254.169.254/"));
            return response;
        }
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("evil"));
        response
    })
    .await;
    let proxy = behind_proxies(server).await;
    for (path, protocol) in [("/redirect", "SPDY/3.1"), ("/evil", "SPDY/3.1")] {
        let response = send(proxy, upgrade_request(proxy, path, protocol, &[])).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{path}");
    }
    let response =
        send(proxy, Request::get("/evil").header(header::HOST, "a").body(Empty::new()).expect("request")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn what_cannot_be_negotiated_is_refused() {
    let server = exec_server().await;
    let check = async |request: Request<Empty<Bytes>>, want: StatusCode| {
        let response = send(server, request).await;
        assert_eq!(response.status(), want);
        response
    };
    let response =
        check(upgrade_request(server, "/0", "SPDY/3.1", &["v9.channel.k8s.io"]), StatusCode::FORBIDDEN).await;
    assert_eq!(response.headers().get_all("x-accepted-stream-protocol-versions").iter().count(), 5);
    check(upgrade_request(server, "/0", "websocket", &[]), StatusCode::BAD_REQUEST).await;
    check(upgrade_request(server, "/0", "h2c", &[]), StatusCode::BAD_REQUEST).await;
    check(Request::get("/0").header(header::HOST, "a").body(Empty::new()).expect("request"), StatusCode::BAD_REQUEST)
        .await;
}

/// CVE-2022-31030 and its like: sessions are bounded, and clients that vanish leave nothing behind.
#[tokio::test]
async fn sessions_are_bounded_and_end_with_their_client() {
    const LIMIT: usize = 20;
    let sessions = Sessions::new(LIMIT);
    let owner = sessions.clone();
    let server = listen(move |mut request| {
        request.extensions_mut().insert(owner.clone());
        async move {
            let options = Options { stdin: true, stdout: true, ..Options::default() };
            remotecommand::serve(request, options, |_session| std::future::pending())
        }
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..LIMIT {
        open.push(websocket(server, "/", "v5.channel.k8s.io").await);
    }
    assert_eq!(sessions.open(), LIMIT);
    let refused = upgrade_request(server, "/", "SPDY/3.1", &["v4.channel.k8s.io"]);
    assert_eq!(send(server, refused).await.status(), StatusCode::TOO_MANY_REQUESTS);
    // No close frame, no good-bye: the connections just end.
    drop(open);
    let all_gone = async {
        while sessions.open() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all_gone).await.expect("every session ends");
    let _held = websocket(server, "/", "v5.channel.k8s.io").await;
    timeout(PATIENCE, sessions.shutdown()).await.expect("shutdown ends the rest");
    assert_eq!(sessions.open(), 0);
}
