//! The proxies to Pods, Services and nodes, over the network: in a network namespace of their own, where a Pod's address
//! is one of this machine, but none that a proxy refuses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::https::{Site, server};

const POD: &str = "192.0.2.10";
const ROOT: Option<(&str, &str)> = Some(("root", "system:masters"));

/// Runs a test in a network namespace of its own.
fn apart<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace; this test needs root");
        for line in ["link set lo up", &format!("address add {POD}/32 dev lo")] {
            assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    thread.join().unwrap();
}

/// What the Pod answers.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let response = Response::builder();
    let answer = match request.uri().path() {
        "/page" => {
            let response = response.header("content-type", "text/html").header("access-control-allow-origin", "*");
            response.body(Body::from(r#"<a href="/rewriteme">test</a>"#))
        }
        "/moved" => response.status(302).header("location", "/there?x=1").body(Body::empty()),
        "/echo" => response.body(Body::new(request.into_body())),
        "/websocket" => {
            let key = derive_accept_key(header("sec-websocket-key").as_bytes());
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let io = TokioIo::new(upgrade.await.unwrap());
                let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
            let response = response.status(101).header("connection", "upgrade").header("upgrade", "websocket");
            response.header("sec-websocket-accept", key).body(Body::empty())
        }
        "/no-upgrade" => response.status(403).body(Body::from("not here")),
        _ => {
            let told =
                [header("authorization"), header("x-forwarded-uri"), header("x-forwarded-for"), header("cookie")];
            let line = format!("{} {} {}", request.method(), request.uri(), told.join("|"));
            let body = request.into_body().collect().await.unwrap().to_bytes();
            response.body(Body::from(format!("{line} {}", String::from_utf8_lossy(&body))))
        }
    };
    Ok(answer.unwrap())
}

/// The Pod's server, behind TLS or not.
async fn pod(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind((POD, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let builder = hyper::server::conn::http1::Builder::new();
                let served = match tls {
                    None => builder.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades().await,
                    Some(tls) => {
                        let stream = tls.accept(stream).await.unwrap();
                        builder.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades().await
                    }
                };
                drop(served);
            });
        }
    });
    address
}

/// A Pod `p` at its address, and a Service `s` before it.
async fn populate(site: &Site, (plain, tls): (SocketAddr, SocketAddr)) {
    let spaced = |kind: &str| format!("/api/v1/namespaces/default/{kind}");
    let pod = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "n", "containers": [{
        "name": "c", "image": "i", "ports": [{ "containerPort": plain.port() }],
    }] } });
    let service = json!({ "metadata": { "name": "s" }, "spec": { "clusterIP": "None", "ports": [
        { "name": "web", "port": 80 }, { "name": "tls", "port": 443 },
    ] } });
    let slice = json!({
        "metadata": { "name": "s-1", "labels": { "kubernetes.io/service-name": "s" } }, "addressType": "IPv4",
        "ports": [{ "name": "web", "port": plain.port() }, { "name": "tls", "port": tls.port() }],
        "endpoints": [
            { "addresses": ["192.0.2.99"], "conditions": { "ready": false } }, { "addresses": [POD] },
        ],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices".to_owned();
    let account = json!({ "metadata": { "name": "default" } });
    let node = json!({ "metadata": { "name": "n" }, "status": {
        "addresses": [{ "type": "InternalIP", "address": POD }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": tls.port() } },
    } });
    for (path, object) in [
        ("/api/v1/nodes".to_owned(), node),
        (spaced("serviceaccounts"), account),
        (spaced("pods"), pod),
        (spaced("services"), service),
        (slices, slice),
    ] {
        let (code, answer) = site.cluster.admin("POST", &path, &object.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }
    let (code, answer) =
        site.cluster.merge(&spaced("pods/p/status"), &json!({ "status": { "podIP": POD } }).to_string()).await;
    assert_eq!(code, 200, "{answer}");
}

async fn open() -> (Site, SocketAddr, SocketAddr) {
    let site = Site::apart().await;
    let plain = pod(None).await;
    let tls = pod(Some(TlsAcceptor::from(std::sync::Arc::new(server(&site.authority))))).await;
    populate(&site, (plain, tls)).await;
    (site, plain, tls)
}

async fn ask(site: &Site, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost").header("cookie", "c");
    let response = site.send(ROOT, request.body(Body::from(body.to_owned())).unwrap()).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

const PROXY: &str = "/api/v1/namespaces/default/pods/p/proxy";

#[test]
fn every_method_goes_through() {
    apart(async || {
        let (site, plain, tls) = open().await;
        for method in ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"] {
            let path = format!("{PROXY}/some/path%2Fwith/{method}/?a=b%20c");
            let (code, text) = ask(&site, method, &path, "hello").await;
            let forwarded = path.split('?').next().unwrap();
            let want = format!("{method} /some/path%2Fwith/{method}/?a=b%20c |{forwarded}|127.0.0.1|c hello");
            assert_eq!((code, text), (200, want));
        }
        assert_eq!(ask(&site, "HEAD", &format!("{PROXY}/x"), "").await, (200, String::new()));
        let line = |path: &str| format!("POST / |{path}|127.0.0.1|c ");
        for target in [
            "pods/p".to_owned(),
            format!("pods/p:{}", plain.port()),
            format!("pods/http:p:{}", plain.port()),
            format!("pods/https:p:{}", tls.port()),
            "services/s:web".to_owned(),
            "services/s:80".to_owned(),
            "services/http:s:web".to_owned(),
            "services/https:s:tls".to_owned(),
        ] {
            let path = format!("/api/v1/namespaces/default/{target}/proxy");
            assert_eq!(ask(&site, "POST", &path, "").await, (200, line(&path)), "{target}");
        }
        for target in ["n", &format!("n:{}", tls.port()), &format!("http:n:{}", plain.port())] {
            let path = format!("/api/v1/nodes/{target}/proxy");
            assert_eq!(ask(&site, "POST", &path, "").await, (200, line(&path)), "{target}");
        }
        site.cluster.handle.shutdown().await;
    });
}

#[test]
fn links_lead_back() {
    apart(async || {
        let (site, ..) = open().await;
        let (_, text) = ask(&site, "GET", &format!("{PROXY}/page"), "").await;
        assert_eq!(text, format!(r#"<a href="{PROXY}/rewriteme">test</a>"#));
        let get = async |path: String| {
            let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
            site.send(ROOT, request).await
        };
        let moved = get(format!("{PROXY}/moved")).await;
        assert_eq!(moved.status(), StatusCode::FOUND);
        assert_eq!(moved.headers()["location"], format!("{PROXY}/there?x=1"));
        let root = get(format!("{PROXY}?method=GET")).await;
        assert_eq!(root.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(root.headers()["location"], format!("{PROXY}/?method=GET"));
        assert!(!get(format!("{PROXY}/page")).await.headers().contains_key("access-control-allow-origin"));
        site.cluster.handle.shutdown().await;
    });
}

#[test]
fn bodies_stream_both_ways() {
    apart(async || {
        let (site, ..) = open().await;
        let (send, pieces) = futures::channel::mpsc::unbounded();
        let body = Body::new(StreamBody::new(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)))));
        let request = Request::post(format!("{PROXY}/echo")).header("host", "localhost").body(body).unwrap();
        let mut echo = site.send(ROOT, request).await.into_body();
        // Each piece comes back before the next one is sent.
        for piece in ["one", "two", "three"] {
            send.unbounded_send(Bytes::from(piece)).unwrap();
            assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        drop(send);
        assert!(echo.frame().await.is_none());
        site.cluster.handle.shutdown().await;
    });
}

fn upgrade(path: &str, protocol: &str) -> Request<Body> {
    let request = Request::get(path).header("host", "localhost").header("connection", "Upgrade");
    let request = request.header("upgrade", protocol).header("sec-websocket-version", "13");
    request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(Body::empty()).unwrap()
}

#[test]
fn websockets_go_through() {
    apart(async || {
        let (site, ..) = open().await;
        for target in ["pods/p", "services/s:web", "services/https:s:tls"] {
            let path = format!("/api/v1/namespaces/default/{target}/proxy/websocket");
            let response = site.send(ROOT, upgrade(&path, "websocket")).await;
            assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
            let io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
            socket.send(Message::text("hello")).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        }
        site.cluster.handle.shutdown().await;
    });
}

#[test]
fn a_refused_upgrade_leaves_no_tunnel() {
    apart(async || {
        let (site, ..) = open().await;
        let response = site.send(ROOT, upgrade(&format!("{PROXY}/no-upgrade"), "SPDY/3.1")).await;
        assert_eq!((response.status().as_u16(), &response.headers()["connection"]), (403, &"close".parse().unwrap()));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "not here");
        let response = site.send(ROOT, upgrade(&format!("{PROXY}/moved"), "websocket")).await;
        assert_eq!((response.status().as_u16(), response.headers().get("location")), (400, None));
        site.cluster.handle.shutdown().await;
    });
}

#[test]
fn this_machine_is_no_goal() {
    apart(async || {
        let (site, plain, _) = open().await;
        let status = "/api/v1/namespaces/default/pods/p/status";
        for address in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "::ffff:127.0.0.1"] {
            let (code, answer) =
                site.cluster.merge(status, &json!({ "status": { "podIP": address } }).to_string()).await;
            assert!(matches!(code, 200 | 422), "{answer}");
            if code == 200 {
                let path = format!("/api/v1/namespaces/default/pods/p:{}/proxy/", plain.port());
                let (code, text) = ask(&site, "GET", &path, "").await;
                assert!(code == 400 && text.contains("address not allowed"), "{address}: {code} {text}");
            }
        }
        let node = json!({ "status": { "addresses": [{ "type": "Hostname", "address": "localhost" }] } });
        assert_eq!(site.cluster.merge("/api/v1/nodes/n/status", &node.to_string()).await.0, 200);
        for port in ["", ":1", &format!(":{}", plain.port())] {
            let (code, text) = ask(&site, "GET", &format!("/api/v1/nodes/n{port}/proxy/"), "").await;
            assert!(code == 400 && text.contains("address not allowed"), "{port}: {code} {text}");
        }
        site.cluster.handle.shutdown().await;
    });
}

#[test]
fn a_browser_shows_its_token_among_the_protocols() {
    apart(async || {
        let (site, ..) = open().await;
        let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let (code, answer) = site.cluster.admin("POST", account, r#"{"spec":{}}"#).await;
        assert_eq!(code, 201, "{answer}");
        let token = URL_SAFE_NO_PAD.encode(answer["status"]["token"].as_str().unwrap());
        let binding = json!({
            "metadata": { "name": "b" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "default", "name": "default" }],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        assert_eq!(site.cluster.admin("POST", bindings, &binding.to_string()).await.0, 201);
        let shows = |path: &str, protocols: &str| {
            let mut request = upgrade(path, "websocket");
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
            request
        };
        let offer = format!("base64url.bearer.authorization.k8s.io.{token}, base64.binary.k8s.io");
        let path = format!("{PROXY}/websocket");
        assert_eq!(site.send(None, shows(&path, &offer)).await.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(site.send(None, shows(&path, "base64.binary.k8s.io")).await.status(), StatusCode::UNAUTHORIZED);
        let alone = offer.split(',').next().unwrap();
        assert_eq!(site.send(None, shows(&path, alone)).await.status(), StatusCode::UNAUTHORIZED);

        // So does whoever watches; each event is a message of its own.
        let watch = "/api/v1/namespaces/default/pods?watch=true&fieldSelector=metadata.name%3Dp";
        let response = site.send(None, shows(watch, &offer)).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-protocol"], "base64.binary.k8s.io");
        let io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        for want in ["ADDED", "MODIFIED"] {
            let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("an event") };
            let event: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(want), &json!("p")));
            site.cluster.merge("/api/v1/namespaces/default/pods/p", r#"{"metadata":{"labels":{"a":"b"}}}"#).await;
        }
        site.cluster.handle.shutdown().await;
    });
}

#[test]
fn bytes_that_are_no_http_go_through_after_an_upgrade() {
    apart(async || {
        let (site, ..) = open().await;
        let listener = TcpListener::bind((POD, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let switched =
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\n\x80\x03";
            stream.write_all(switched).await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        let path = format!("/api/v1/namespaces/default/pods/p:{port}/proxy/spdy");
        let response = site.send(ROOT, upgrade(&path, "SPDY/3.1")).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        io.write_all(b"\x00\xff").await.unwrap();
        let mut got = [0; 4];
        io.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"\x80\x03\x00\xff");
        site.cluster.handle.shutdown().await;
    });
}
