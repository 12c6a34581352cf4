//! A connection to the server, which costs its client as little as possible.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// A server and who we are there.
pub(crate) struct Target {
    address: String,
    tls: ClientConfig,
}

impl Target {
    /// The first cluster and user of a kubeconfig with its certificates inside.
    pub(crate) fn from_kubeconfig(text: &str) -> Result<Self, Error> {
        let config: Value = serde_yaml_ng::from_str(text)?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let pem = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem(&cluster["certificate-authority-data"])?)?)?;
        let certificate = CertificateDer::from_pem_slice(&pem(&user["client-certificate-data"])?)?;
        let key = PrivateKeyDer::from_pem_slice(&pem(&user["client-key-data"])?)?;
        let tls =
            ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(vec![certificate], key)?;
        let server = cluster["server"].as_str().unwrap_or_default();
        Ok(Self { address: server.trim_start_matches("https://").to_owned(), tls })
    }
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) media_type: &'static str,
    pub(crate) body: Bytes,
}

/// A connection.
pub(crate) enum Connection {
    One(http1::SendRequest<Full<Bytes>>, String),
    Two(http2::SendRequest<Full<Bytes>>, String),
}

impl Connection {
    pub(crate) async fn open(target: &Target, protocol: Protocol) -> Result<Self, Error> {
        let mut tls = target.tls.clone();
        tls.alpn_protocols = vec![protocol.name().into()];
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let host = target.address.rsplit_once(':').map_or("", |(host, _)| host).to_owned();
        let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(host)?, stream).await?;
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Self::One(sender, target.address.clone())
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Self::Two(sender, target.address.clone())
            }
        })
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Response<Incoming>, Error> {
        let Call { method, path, media_type, body } = call;
        let request = Request::builder().method(method).header(header::CONTENT_TYPE, media_type);
        let response = match self {
            Self::One(sender, host) => {
                sender.ready().await?;
                sender.send_request(request.uri(path).header(header::HOST, &*host).body(Full::new(body))?).await?
            }
            Self::Two(sender, host) => {
                sender.ready().await?;
                sender.send_request(request.uri(format!("https://{host}{path}")).body(Full::new(body))?).await?
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
        Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
    }

    /// Sends a request and reads all of the answer; its length.
    pub(crate) async fn exchange(&mut self, call: Call) -> Result<usize, Error> {
        let mut body = self.send(call).await?.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(bytes)
    }
}
