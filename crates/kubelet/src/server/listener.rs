//! Connections: TLS, the client's certificate, HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use sampan_auth::Peer;
use sampan_streams::{Sessions, Traffic, connection};
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
/// How long a connection may carry nothing.
const IDLE: Duration = Duration::from_secs(90);
/// How long a client may take to notice that its connection ends.
const FLUSH: Duration = Duration::from_secs(5);
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
    let traffic = Traffic::default();
    let seen = traffic.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = seen.begin();
        let (router, mut request) = (router.clone(), request.map(Body::new));
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(sessions.clone());
        async move {
            let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            Ok::<_, Infallible>(under_way.until_sent(answer))
        }
    });
    let builder = connection::server(HANDSHAKE_TIMEOUT);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = traffic.ceased(HANDSHAKE_TIMEOUT, IDLE) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                // A request that came at the last moment is answered.
                () = traffic.ceased(FLUSH, FLUSH) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "kubelet API: connection");
    }
}
