//! Who and what: tries to be somebody else, to be told what is not one's affair, to make the server wait or swell.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::Request;
use rustls_pki_types::ServerName;
use sampan_auth::Peer;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::https::{Site, client};
use crate::support::{Cluster, in_process, read};

fn nobody() -> Peer {
    Peer::Remote { address: "192.0.2.9:1".parse().unwrap(), user: None, front_proxy: false, stranger: false }
}

#[tokio::test]
async fn headers_of_a_front_proxy_say_nothing() {
    let cluster = Cluster::start().await;
    let post = |peer: Peer| {
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews").extension(peer);
        let request = request.header("x-remote-user", "root").header("x-remote-group", "system:masters");
        request.header("content-type", "application/json").body(Body::from("{}")).unwrap()
    };
    assert_eq!(cluster.send(post(nobody())).await.status(), 401);
    let (code, answer) = read(cluster.send(post(in_process("bob"))).await).await;
    assert_eq!((code, &answer["status"]["userInfo"]["username"]), (201, &json!("bob")));
    assert_eq!(answer["status"]["userInfo"]["groups"], json!(["system:authenticated"]));
    cluster.handle.shutdown().await;
}

#[tokio::test]
async fn profiles_and_metrics_are_not_for_everybody() {
    let cluster = Cluster::start().await;
    for path in ["/debug/pprof/", "/debug/pprof/profile", "/debug/flags/v", "/metrics", "/logs", "/configz"] {
        for (peer, want) in [(nobody(), 401), (in_process("bob"), 403)] {
            let request = Request::get(path).extension(peer).body(Body::empty()).unwrap();
            assert_eq!(cluster.send(request).await.status(), want, "{path}");
        }
    }
    cluster.handle.shutdown().await;
}

#[tokio::test]
async fn names_of_clients_do_not_come_into_the_certificate() {
    let site = Site::open().await;
    let tls = Arc::new(client(&site.authority, None));
    let mut shown = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(site.address).await.unwrap();
        let stream = TlsConnector::from(Arc::clone(&tls)).connect(ServerName::try_from("localhost").unwrap(), stream);
        shown.push(stream.await.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec());
        for host in ["evil.example", "a.evil.example:443", "192.0.2.66"] {
            let request = Request::get("/version").header("host", host).body(Body::empty()).unwrap();
            assert_eq!(site.send(None, request).await.status(), 200);
        }
    }
    assert_eq!(shown[0], shown[1]);
    let stream = TcpStream::connect(site.address).await.unwrap();
    let evil = TlsConnector::from(tls).connect(ServerName::try_from("evil.example").unwrap(), stream).await;
    assert!(evil.is_err(), "the certificate is not for that name");
    site.cluster.handle.shutdown().await;
}

/// All that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = writeln!(self.0.lock().unwrap(), "{field}={value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn secrets_and_tokens_are_in_no_log_and_in_no_answer() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let cluster = Cluster::start().await;
    const PASSWORD: &str = "aHVudGVyMg==";
    let secret = json!({ "metadata": { "name": "s" }, "data": { "password": PASSWORD } });
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(cluster.admin("POST", secrets, &secret.to_string()).await.0, 201);
    let account = json!({ "metadata": { "name": "robot" } });
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(cluster.admin("POST", accounts, &account.to_string()).await.0, 201);
    let (_, made) = cluster.admin("POST", &format!("{accounts}/robot/token"), r#"{"spec":{}}"#).await;
    let token = made["status"]["token"].as_str().unwrap().to_owned();
    let bootstrap = "abcdef.0123456789abcdef";
    let forged = format!("{}x", token);
    let mut answers = String::new();
    for shown in [token.as_str(), forged.as_str(), bootstrap, "an opaque token"] {
        for path in ["/api/v1/namespaces", "/api/v1/namespaces/default/secrets/s?x=1", "/metrics"] {
            let request = Request::get(path).header("authorization", format!("Bearer {shown}")).extension(nobody());
            let (_, answer) = read(cluster.send(request.body(Body::empty()).unwrap()).await).await;
            answers.push_str(&answer.to_string());
        }
        let review = json!({ "spec": { "token": shown } }).to_string();
        let (_, answer) = cluster.admin("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &review).await;
        answers.push_str(&answer["status"].to_string());
    }
    // A Secret that cannot be one: its fault does not repeat it.
    let wrong = json!({ "metadata": { "name": "Not A Name" }, "data": { "password": PASSWORD } });
    answers.push_str(&cluster.admin("POST", secrets, &wrong.to_string()).await.1.to_string());
    let (_, metrics) = text(&cluster, "/metrics").await;
    cluster.handle.shutdown().await;
    let logged = log.0.lock().unwrap().clone();
    assert!(logged.contains("a bearer token was refused"), "the log was heard");
    let signature = token.rsplit('.').next().unwrap();
    for hidden in [PASSWORD, "hunter2", signature, "0123456789abcdef", "an opaque token"] {
        assert!(!logged.contains(hidden), "{hidden} was logged");
        assert!(!answers.contains(hidden), "{hidden} was told: {answers}");
        assert!(!metrics.contains(hidden), "{hidden} was counted");
    }
}

async fn text(cluster: &Cluster, path: &str) -> (u16, String) {
    use http_body_util::BodyExt as _;
    let request = Request::get(path).extension(in_process("admin")).body(Body::empty()).unwrap();
    let response = cluster.send(request).await;
    let code = response.status().as_u16();
    (code, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_client_that_resets_its_requests_is_cut_off_and_the_others_do_not_notice() {
    let site = Site::open().await;
    let mut tls = client(&site.authority, None);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let resetting = tokio::spawn(async move {
        while sender.is_ready() {
            let request = Request::get("https://localhost/version").body(Body::empty()).unwrap();
            // Sent, and at once given up.
            let _ = futures::poll!(std::pin::pin!(sender.clone().send_request(request)));
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..20 {
        let request = Request::get("/version").header("host", "localhost").body(Body::empty()).unwrap();
        assert_eq!(site.send(None, request).await.status(), 200);
    }
    resetting.abort();
    connection.abort();
    let answer: Value =
        read(site.send(None, Request::get("/version").body(Body::empty()).unwrap()).await.map(Body::new)).await.1;
    assert!(answer["gitVersion"].is_string());
    site.cluster.handle.shutdown().await;
}
