//! Connections: TLS, the client's certificate, HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use sampan_auth::Peer;
use sampan_streams::Sessions;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Tls;

/// So many connections may be open; the next ones wait to be accepted.
const MAX_CONNECTIONS: usize = 2000;
/// How long a client may take for the TLS handshake, and for the head of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until it is dropped, and with it every connection that is not upgraded.
pub(super) async fn serve(listener: TcpListener, tls: Tls, router: Router, sessions: Sessions) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                let (tls, router, sessions) = (tls.clone(), router.clone(), sessions.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    connection(stream, address, tls, (router, sessions)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "kubelet API: accepting a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, tls: Tls, (router, sessions): (Router, Sessions)) {
    // Keystrokes and log lines are small and must not wait for one another.
    let _ = stream.set_nodelay(true);
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "kubelet API: TLS handshake"),
        Err(_) => return tracing::debug!(%address, "kubelet API: TLS handshake took too long"),
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let user = tls.user(chain);
    let peer = Peer::Remote { address, front_proxy: false, stranger: user.is_none() && !chain.is_empty(), user };
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, mut request) = (router.clone(), request.map(Body::new));
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(sessions.clone());
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%address, %error, "kubelet API: connection");
    }
}
