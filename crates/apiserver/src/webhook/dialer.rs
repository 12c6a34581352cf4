//! TCP to an [`Address`], and what to say when it fails.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::endpoints::Services;
use super::place::Address;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// Opens connections to one address, wherever it is at that moment.
#[derive(Clone)]
pub(crate) struct Dialer {
    services: Arc<Services>,
    address: Address,
}

impl Dialer {
    pub(crate) fn new(services: Arc<Services>, address: Address) -> Self {
        Self { services, address }
    }

    /// Connects; the error's text is for users.
    pub(crate) async fn connect(&self) -> Result<TcpStream, io::Error> {
        let (host, port) = match &self.address {
            Address::Host(host, port) => (host.clone(), *port),
            Address::Service { namespace, name, port } => {
                self.services.resolve(namespace, name, *port).map_err(io::Error::other)?
            }
        };
        let failed = |why: String| io::Error::other(format!("dial tcp {host}:{port}: {why}"));
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), port))).await;
        let stream = connected.map_err(|_| failed("i/o timeout".to_owned()))?.map_err(|e| failed(refused(&e)))?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Why there is no connection, in upstream's words.
pub(crate) fn refused(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

impl tower::Service<http::Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.connect().await.map(TokioIo::new) })
    }
}

/// The cause of a failure, in upstream's words where there are such.
pub(crate) fn explain(error: &(dyn StdError + 'static)) -> String {
    let mut deepest: &(dyn StdError + 'static) = error;
    loop {
        if let Some(tls) = deepest.downcast_ref::<rustls::Error>() {
            return explain_tls(tls);
        }
        let inner = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.map(|inner| inner as &(dyn StdError + 'static));
        match inner.or_else(|| deepest.source()) {
            Some(source) => deepest = source,
            None => return deepest.to_string(),
        }
    }
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Wrong, Error};
    let why = match error {
        Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature) => {
            "certificate signed by unknown authority".to_owned()
        }
        Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => {
            "certificate has expired or is not yet valid".to_owned()
        }
        Error::InvalidCertificate(Wrong::NotValidForNameContext { expected, presented }) => {
            let presented = presented.iter().map(|name| name.trim_start_matches("DnsName(\"").trim_end_matches("\")"));
            let presented = presented.collect::<Vec<_>>().join(", ");
            format!("certificate is valid for {presented}, not {}", expected.to_str())
        }
        other => return format!("tls: {other}"),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_cause_is_told() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let want = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
        assert_eq!(explain(&wrapped), want);
        let plain = io::Error::other(io::Error::other("dial tcp 10.0.0.1:443: connect: connection refused"));
        assert_eq!(explain(&plain), "dial tcp 10.0.0.1:443: connect: connection refused");
    }
}
