//! Probing with an HTTP request: 200 to 399 is good. A certificate is not verified, as upstream's probes do not: a
//! probe asks whether the container answers, not who it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sampan_streams::tls::Anyone;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Answer, tcp};

/// Upstream reads this much of an answer.
const BODY_BYTES: usize = 10 * 1024;

/// What is asked, of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// What was answered.
pub(crate) struct Response {
    pub(crate) status: u16,
}

pub(super) async fn ask(request: &Request, timeout: Duration) -> Answer {
    match get(request, timeout).await {
        Ok(response) if (200..400).contains(&response.status) => Answer::Good,
        Ok(response) => Answer::Bad(format!("HTTP probe failed with statuscode: {}", response.status)),
        Err(error) => Answer::Bad(error),
    }
}

/// Asks and waits for the answer.
pub(crate) async fn get(request: &Request, timeout: Duration) -> Result<Response, String> {
    let scheme = if request.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", tcp::address(&request.host, request.port), request.path);
    match tokio::time::timeout(timeout, exchange(request)).await {
        Ok(result) => result.map_err(|error| format!("Get \"{url}\": {error}")),
        Err(_) => {
            let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            Err(format!("Get \"{url}\": {why}"))
        }
    }
}

async fn exchange(request: &Request) -> Result<Response, String> {
    let stream = TcpStream::connect((request.host.as_str(), request.port)).await;
    let stream = stream.map_err(|error| tcp::dial_error(&request.host, request.port, &error))?;
    if !request.tls {
        return send(request, stream).await;
    }
    let name = ServerName::try_from(request.host.clone()).map_err(|error| error.to_string())?;
    let config = client_config().map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    send(request, stream).await
}

async fn send(
    request: &Request,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Response, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut builder = hyper::Request::get(&request.path);
    let mut defaults = vec![
        ("host", tcp::address(&request.host, request.port)),
        ("user-agent", format!("kube-probe/{}", env!("CARGO_PKG_VERSION"))),
        ("accept", "*/*".to_owned()),
        ("connection", "close".to_owned()),
    ];
    defaults.retain(|(name, _)| !request.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
    for (name, value) in &defaults {
        builder = builder.header(*name, value);
    }
    for (name, value) in request.headers.iter().filter(|(_, value)| !value.is_empty()) {
        builder = builder.header(name, value);
    }
    let message = builder.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(message).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // A body that is too long or breaks off does not change the verdict.
        let _ = Limited::new(response.into_body(), BODY_BYTES).collect().await;
        Ok(Response { status })
    };
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.to_string()),
    }
}

fn client_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Anyone(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}
