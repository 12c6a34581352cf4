//! Opening a connection to a backend, bounded in time. What is checked is the address that is really dialled
//! (CVE-2020-8562), not one that a second look-up might change.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use sampan_api::status::Status;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::webhook::refused;

/// Time to connect and shake hands.
const CONNECT: Duration = Duration::from_secs(10);

/// Where to connect, and how.
pub(super) struct Backend {
    pub(super) host: String,
    pub(super) port: u16,
    /// TLS with this configuration, or plain TCP.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// A kubelet may listen on loopback; a proxied address never may be this machine's own services.
    pub(super) loopback_allowed: bool,
}

impl Backend {
    /// `host:port`, with brackets where they belong.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A connection.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Connects.
pub(super) async fn connect(backend: &Backend) -> Result<Pin<Box<dyn Connection>>, Status> {
    let connected = tokio::time::timeout(CONNECT, open(backend)).await;
    connected.unwrap_or_else(|_| Err(Status::unavailable(format!("dial tcp {}: i/o timeout", backend.authority()))))
}

async fn open(backend: &Backend) -> Result<Pin<Box<dyn Connection>>, Status> {
    let unreachable = |why: &dyn std::fmt::Display| {
        Status::unavailable(format!("error trying to reach service: dial tcp {}: {why}", backend.authority()))
    };
    let address = resolve(backend).await.map_err(|e| unreachable(&e))?.ok_or_else(|| unreachable(&"no such host"))?;
    if !allowed(address.ip(), backend.loopback_allowed) {
        return Err(Status::bad_request("address not allowed"));
    }
    let stream = TcpStream::connect(address).await.map_err(|e| unreachable(&refused(&e)))?;
    let _ = stream.set_nodelay(true);
    let Some(tls) = &backend.tls else { return Ok(Box::pin(stream)) };
    let name = ServerName::try_from(backend.host.clone()).map_err(|e| unreachable(&e))?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|e| unreachable(&e))?;
    Ok(Box::pin(stream))
}

async fn resolve(backend: &Backend) -> std::io::Result<Option<SocketAddr>> {
    if let Ok(ip) = backend.host.parse::<IpAddr>() {
        return Ok(Some(SocketAddr::new(ip, backend.port)));
    }
    Ok(tokio::net::lookup_host((backend.host.as_str(), backend.port)).await?.next())
}

/// Nothing that means "this machine" or "this link" to the server is a backend.
fn allowed(ip: IpAddr, loopback_allowed: bool) -> bool {
    let ip = ip.to_canonical();
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !local && !ip.is_unspecified() && !ip.is_multicast() && (loopback_allowed || !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check =
            |text: &str, kubelet: bool, want: bool| assert_eq!(allowed(text.parse().unwrap(), kubelet), want, "{text}");
        check("10.42.0.7", false, true);
        check("127.0.0.1", false, false);
        check("127.0.0.1", true, true);
        check("::ffff:127.0.0.1", false, false);
        check("169.254.169.254", false, false);
        check("169.254.169.254", true, false);
        check("::ffff:169.254.1.1", true, false);
        check("fe80::1", true, false);
        check("0.0.0.0", true, false);
        check("224.0.0.1", false, false);
    }
}
