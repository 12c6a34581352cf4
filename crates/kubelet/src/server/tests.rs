//! The whole API over real TLS: who gets in, logs, and an exec spliced to a runtime's streaming server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1::SendRequest,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use prost::Message;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use sampan_auth::{
    Attributes, Identity,
    authority::{Authority, Issued, Purpose},
};
use sampan_cri::v1;
use sampan_streams::{
    remotecommand::{self, ExitStatus, Session},
    spdy::{Connection, Role},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tonic::transport::{Channel, Endpoint};

use super::{Authenticate, Authorize, Container, Handle, Instance, Options, PodEntry, Pods, Server, Tls};

/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One Pod with one container, whose end a test may tell, and one that has just ended: only the runtime knows.
struct OnePod {
    logs: tempfile::TempDir,
    running: Mutex<bool>,
    changes: watch::Sender<u64>,
}

impl OnePod {
    fn new() -> Arc<Self> {
        let logs = tempfile::tempdir().expect("dir");
        std::fs::write(logs.path().join("0.log"), "").expect("log");
        Arc::new(Self { logs, running: Mutex::new(true), changes: watch::Sender::new(0) })
    }

    fn log(&self) -> PathBuf {
        self.logs.path().join("0.log")
    }

    fn write(&self, text: &str) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(self.log()).expect("open");
        writeln!(file, "2026-01-01T00:00:00Z stdout F {text}").expect("write");
    }

    fn end(&self) {
        *self.running.lock() = false;
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Pods for OnePod {
    fn list(&self) -> Vec<Arc<Pod>> {
        let pod = json!({"metadata": {"namespace": "ns", "name": "p", "uid": "u"}, "spec": {"containers": [{"name": "c"}, {"name": "late"}]}});
        vec![Arc::new(serde_json::from_value(pod).expect("pod"))]
    }

    fn entries(&self) -> Vec<PodEntry> {
        self.find("ns", "p").into_iter().collect()
    }

    fn find(&self, namespace: &str, name: &str) -> Option<PodEntry> {
        let current = Instance { id: "id-of-c".into(), log: self.log(), running: *self.running.lock() };
        let late = Instance { id: "id-of-late".into(), log: self.log(), running: true };
        let containers = [("c", current), ("late", late)];
        let container =
            |(name, current): (&str, Instance)| Container { name: name.into(), current: Some(current), previous: None };
        ((namespace, name) == ("ns", "p")).then(|| PodEntry {
            pod: self.list().remove(0),
            sandbox: Some("sandbox".into()),
            log_directory: self.logs.path().to_path_buf(),
            containers: containers.map(container).into(),
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Knows the token `good`, and lets only `admin` in.
struct Rules;

#[async_trait]
impl Authenticate for Rules {
    async fn identify(&self, token: &str) -> Option<Identity> {
        (token == "good").then(|| Identity { name: "admin".into(), ..Identity::default() })
    }
}

#[async_trait]
impl Authorize for Rules {
    async fn allowed(&self, identity: &Identity, attributes: &Attributes) -> bool {
        assert_eq!((attributes.resource.as_str(), attributes.name.as_str()), ("nodes", "n1"));
        assert!(identity.groups.iter().any(|group| group == "system:authenticated"));
        identity.name == "admin"
    }
}

/// A runtime's streaming server: echoes stdin and exits with 3.
async fn streaming_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let service = service_fn(async |request: Request<Incoming>| {
                assert_eq!(request.uri().path(), "/exec/one-time-token");
                assert!(!request.headers().contains_key(header::AUTHORIZATION), "credentials stay here");
                let options = remotecommand::Options { stdin: true, stdout: true, ..Default::default() };
                Ok::<_, std::convert::Infallible>(remotecommand::serve(request, options, async |session: Session| {
                    let (mut stdin, mut stdout) = (session.stdin.expect("stdin"), session.stdout.expect("stdout"));
                    tokio::io::copy(&mut stdin, &mut stdout).await?;
                    Ok(ExitStatus(3))
                }))
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

/// A gRPC answer: a message, or a code and why.
fn grpc(answer: Result<Vec<u8>, (tonic::Code, &'static str)>) -> Response<BoxBody<Bytes, std::convert::Infallible>> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    let message = match answer {
        Ok(message) => message,
        Err((code, text)) => {
            let response = response.header("grpc-status", code as i32).header("grpc-message", text);
            return response.body(Empty::new().boxed()).expect("response");
        }
    };
    // A message follows a flag and its length.
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let status = [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))];
    let frames = [Frame::data(Bytes::from(framed)), Frame::trailers(status.into_iter().collect())];
    response.body(StreamBody::new(futures::stream::iter(frames.map(Ok))).boxed()).expect("response")
}

/// What the runtime answers: an Exec with a URL of `streaming`, but for a container that has just ended and for one
/// that it does not like, and a checkpoint with its file, if it gets long enough for it.
fn answer(streaming: SocketAddr, path: &str, body: &[u8]) -> Result<Vec<u8>, (tonic::Code, &'static str)> {
    match path {
        "/runtime.v1.RuntimeService/Exec" => {
            let call = v1::ExecRequest::decode(body).expect("message");
            match call.cmd.join(" ").as_str() {
                "cat -" if call.container_id == "id-of-c" => {}
                _ => return Err((tonic::Code::Unknown, "container is not as it should be")),
            }
            Ok(v1::ExecResponse { url: format!("http://{streaming}/exec/one-time-token") }.encode_to_vec())
        }
        "/runtime.v1.RuntimeService/ContainerStatus" => {
            let call = v1::ContainerStatusRequest::decode(body).expect("message");
            let state = match call.container_id.as_str() {
                "id-of-c" => v1::ContainerState::ContainerRunning,
                _ => v1::ContainerState::ContainerExited,
            };
            let status = v1::ContainerStatus { state: state.into(), ..Default::default() };
            Ok(v1::ContainerStatusResponse { status: Some(status), ..Default::default() }.encode_to_vec())
        }
        "/runtime.v1.RuntimeService/CheckpointContainer" => {
            let call = v1::CheckpointContainerRequest::decode(body).expect("message");
            assert_eq!(call.container_id, "id-of-c");
            if call.timeout < 300 {
                return Err((tonic::Code::Unimplemented, "unknown method"));
            }
            std::fs::write(call.location, "all of c").expect("the file");
            Ok(v1::CheckpointContainerResponse {}.encode_to_vec())
        }
        path => panic!("{path}"),
    }
}

/// A runtime that answers as [`answer`] does.
async fn runtime(streaming: SocketAddr) -> Channel {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let service = service_fn(move |request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        // A gRPC message follows a flag and its length.
        Ok::<_, hyper::Error>(grpc(answer(streaming, &path, &body[5..])))
    });
    tokio::spawn(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), service),
    );
    let mut ours = Some(TokioIo::new(ours));
    let connector = tower::service_fn(move |_| {
        let stream = ours.take();
        async move { stream.ok_or_else(|| std::io::Error::other("one connection only")) }
    });
    Endpoint::from_static("http://runtime.invalid").connect_with_connector(connector).await.expect("channel")
}

/// A server, and the authority that its clients' certificates are of.
struct Setup {
    authority: Authority,
    server: Handle,
    pods: Arc<OnePod>,
}

fn authority() -> Authority {
    let issued = Authority::generate("test", sampan_clock::now()).expect("authority");
    Authority::load(&issued).expect("authority")
}

fn client(authority: &Authority, user: &str) -> Issued {
    let purpose = Purpose::Client { user: user.into(), group: None };
    authority.issue(&purpose, sampan_clock::now()).expect("certificate")
}

impl Setup {
    async fn new() -> Self {
        Self::with(false).await
    }

    async fn with(checkpoints: bool) -> Self {
        let authority = authority();
        let purpose = Purpose::Server { name: "n1".into(), dns: vec!["n1".into()], addresses: Vec::new() };
        let own = authority.issue(&purpose, sampan_clock::now()).expect("certificate");
        let ca = authority.certificate_pem().as_bytes();
        let tls = Tls::new(ca, own.certificate_pem.as_bytes(), own.key_pem.as_bytes()).expect("tls");
        let pods = OnePod::new();
        let options = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            tls,
            node_name: "n1".into(),
            pods: pods.clone(),
            root_dir: pods.logs.path().to_path_buf(),
            log_dir: pods.logs.path().to_path_buf(),
            version: "v1.37.0".into(),
            configuration: json!({"maxPods": 7}),
            meter: Arc::new(crate::usage::Meter::new(crate::cri::Runtime::over(
                runtime(streaming_server().await).await,
            ))),
            runtime: runtime(streaming_server().await).await,
            checkpoints,
            authenticate: Arc::new(Rules),
            authorize: Arc::new(Rules),
        };
        Self { authority, server: Server::start(options).await.expect("server"), pods }
    }

    /// A connection with or without a certificate; none if the server does not want it.
    async fn connect(&self, certificate: Option<Issued>) -> Option<SendRequest<Empty<Bytes>>> {
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.authority.certificate_pem().as_bytes()).expect("pem");
        roots.add(ca).expect("root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
        let config = match certificate {
            Some(issued) => {
                let chain = vec![CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("pem")];
                let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("pem");
                builder.with_client_auth_cert(chain, key).expect("certificate")
            }
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.server.address()).await.expect("connect");
        let name = ServerName::try_from("n1").expect("name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection.with_upgrades());
        Some(sender)
    }

    async fn admin(&self) -> SendRequest<Empty<Bytes>> {
        self.connect(Some(client(&self.authority, "admin"))).await.expect("connection")
    }

    /// The status and the text of `GET path` as admin.
    async fn get(&self, path: &str) -> (StatusCode, String) {
        read(self.admin().await.send_request(get(path)).await.expect("response")).await
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header(header::HOST, "n1").body(Empty::new()).expect("request")
}

async fn read(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = timeout(PATIENCE, response.into_body().collect()).await.expect("in time").expect("body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn nobody_gets_in_without_credentials_and_rights() {
    let setup = Setup::new().await;
    let ask = async |certificate: Option<Issued>, token: Option<&str>| {
        let mut request = get("/healthz");
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("header");
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let mut sender = setup.connect(certificate).await.expect("connection");
        read(sender.send_request(request).await.expect("response")).await
    };
    let text = |status, text: &str| (status, text.to_owned());
    assert_eq!(ask(None, None).await, text(StatusCode::UNAUTHORIZED, "Unauthorized"));
    assert_eq!(ask(None, Some("bad")).await, text(StatusCode::UNAUTHORIZED, "Unauthorized"));
    assert_eq!(ask(None, Some("good")).await, text(StatusCode::OK, "ok"));
    assert_eq!(ask(Some(client(&setup.authority, "admin")), None).await, text(StatusCode::OK, "ok"));
    let forbidden = "Forbidden (user=eve, verb=get, resource=nodes, subresource(s)=[healthz proxy])";
    assert_eq!(ask(Some(client(&setup.authority, "eve")), None).await, text(StatusCode::FORBIDDEN, forbidden));
    // A certificate of another authority is no credential at all, and no hindrance for a token.
    let stranger = || Some(client(&authority(), "admin"));
    assert_eq!(ask(stranger(), None).await, text(StatusCode::UNAUTHORIZED, "Unauthorized"));
    assert_eq!(ask(stranger(), Some("good")).await, text(StatusCode::OK, "ok"));
    setup.server.shutdown().await;
}

#[tokio::test]
async fn pods_and_logs() {
    let setup = Setup::new().await;
    let (status, pods) = setup.get("/pods").await;
    let pods: serde_json::Value = serde_json::from_str(&pods).expect("json");
    assert_eq!(
        (status, &pods["kind"], &pods["items"][0]["metadata"]["name"]),
        (StatusCode::OK, &json!("PodList"), &json!("p"))
    );

    for line in ["one", "two", "three"] {
        setup.pods.write(line);
    }
    let check = async |path: &str, want: StatusCode, text: &str| {
        assert_eq!(setup.get(path).await, (want, text.to_owned()), "{path}");
    };
    check("/containerLogs/ns/p/c", StatusCode::OK, "one\ntwo\nthree\n").await;
    check("/containerLogs/ns/p/c?tailLines=1", StatusCode::OK, "three\n").await;
    check("/containerLogs/ns/p/c?sinceTime=2026-01-02T00%3A00%3A00Z", StatusCode::OK, "").await;
    check("/containerLogs/ns/x/c", StatusCode::NOT_FOUND, "pod \"x\" does not exist").await;
    check("/containerLogs/ns/p/x", StatusCode::NOT_FOUND, "container \"x\" not found in pod \"p\"").await;
    let message = "previous terminated container \"c\" in pod \"p\" not found";
    check("/containerLogs/ns/p/c?previous=true", StatusCode::BAD_REQUEST, message).await;
    let message = "tailLines: must be greater than or equal to 0";
    check("/containerLogs/ns/p/c?tailLines=x", StatusCode::UNPROCESSABLE_ENTITY, message).await;

    let request = get("/containerLogs/ns/p/c?follow=true&tailLines=1");
    let mut response = setup.admin().await.send_request(request).await.expect("response");
    let mut next = async || {
        let frame = timeout(PATIENCE, response.frame()).await.expect("in time");
        frame.map(|frame| frame.expect("frame").into_data().expect("data"))
    };
    assert_eq!(next().await.as_deref(), Some(&b"three\n"[..]));
    setup.pods.write("four");
    assert_eq!(next().await.as_deref(), Some(&b"four\n"[..]));
    setup.pods.end();
    assert_eq!(next().await, None);
    setup.server.shutdown().await;
}

#[tokio::test]
async fn exec_reaches_the_runtime() {
    let setup = Setup::new().await;
    let query = "command=cat&command=-&input=1&output=1";
    let response = setup.get(&format!("/exec/ns/p/another-uid/c?{query}")).await;
    assert_eq!(response, (StatusCode::NOT_FOUND, "pod does not exist".to_owned()));
    let fails = async |path: String, why: &str| {
        assert_eq!(setup.get(&path).await, (StatusCode::INTERNAL_SERVER_ERROR, why.to_owned()), "{path}");
    };
    fails(format!("/exec/ns/p/x?{query}"), "container not found (\"x\")").await;
    fails(format!("/exec/ns/p/late?{query}"), "container not found (\"late\")").await;
    fails("/exec/ns/p/c?command=ls&output=1".to_owned(), "container is not as it should be").await;

    let mut request = get(&format!("/exec/ns/p/u/c?{query}"));
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "SPDY/3.1"),
        ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ("authorization", "Bearer good"),
    ] {
        request.headers_mut().insert(name, value.parse().expect("header"));
    }
    let response = setup.connect(None).await.expect("connection").send_request(request).await.expect("response");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(response).await.expect("upgrade");
    let (mut connection, driver) = Connection::new(TokioIo::new(upgraded), Role::Client);
    tokio::spawn(driver.run());
    let mut open = async |kind: &str| connection.open([("streamtype", kind)].into_iter().collect()).await.expect(kind);
    let (mut error, mut stdin, mut stdout) = (open("error").await, open("stdin").await, open("stdout").await);
    stdin.write_all(b"hello").await.expect("stdin");
    stdin.shutdown().await.expect("stdin");
    let (mut output, mut status) = (String::new(), String::new());
    timeout(PATIENCE, stdout.read_to_string(&mut output)).await.expect("in time").expect("stdout");
    timeout(PATIENCE, error.read_to_string(&mut status)).await.expect("in time").expect("status");
    assert_eq!(output, "hello");
    assert!(status.contains("command terminated with non-zero exit code: exit status 3"), "{status}");
    setup.server.shutdown().await;
}

#[tokio::test]
async fn containers_are_written_to_files_where_that_is_let() {
    let post = async |setup: &Setup, path: &str| {
        let mut request = get(path);
        *request.method_mut() = http::Method::POST;
        read(setup.admin().await.send_request(request).await.expect("response")).await
    };
    let off = Setup::new().await;
    let missing = (StatusCode::NOT_FOUND, "404 page not found".to_owned());
    assert_eq!(post(&off, "/checkpoint/ns/p/c?timeout=300").await, missing);
    off.server.shutdown().await;

    let on = Setup::with(true).await;
    let (status, answer) = post(&on, "/checkpoint/ns/p/c?timeout=300").await;
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("json");
    let file = PathBuf::from(answer["items"][0].as_str().expect("a file"));
    assert_eq!((status, std::fs::read_to_string(&file).expect("the file").as_str()), (StatusCode::OK, "all of c"));
    let directory = on.pods.logs.path().join("checkpoints");
    assert_eq!(file.parent(), Some(directory.as_path()));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(directory).expect("the directory"));
    assert_eq!(mode & 0o777, 0o700);

    let check = async |path: &str, want: StatusCode, text: &str| {
        assert_eq!(post(&on, path).await, (want, text.to_owned()), "{path}");
    };
    let failed = "checkpointing of ns/p/c failed (rpc error: code = Unimplemented desc = unknown method)";
    check("/checkpoint/ns/p/c", StatusCode::INTERNAL_SERVER_ERROR, failed).await;
    check("/checkpoint/ns/x/c", StatusCode::NOT_FOUND, "pod does not exist").await;
    check("/checkpoint/ns/p/x", StatusCode::NOT_FOUND, "container x does not exist").await;
    on.pods.end();
    let failed = "checkpointing of ns/p/c failed (container c not found)";
    check("/checkpoint/ns/p/c", StatusCode::INTERNAL_SERVER_ERROR, failed).await;
    on.server.shutdown().await;
}
