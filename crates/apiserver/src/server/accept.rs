//! HTTPS: connections in, requests out to [`Service`]. Everything about a connection is bounded: their number, the
//! handshake, headers, streams, resets.
//!
//! When the server stops, no request is lost that a client could believe to have been taken: who has connected by then is
//! still served, requests under way are answered, and clients are told (`GOAWAY`, `Connection: close`) to go elsewhere
//! with the next one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sampan_auth::authority::Issued;
use sampan_streams::{Traffic, connection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::unread::Drain;
use super::{Service, chain, tls};
use crate::aggregator::FrontProxy;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 4096;
/// Time to finish the TLS handshake, and again for the first request.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may carry nothing.
const IDLE: Duration = Duration::from_secs(90);
/// Time to send a request's headers.
const HEADERS: Duration = Duration::from_secs(15);
/// How long after a failed accept (no file descriptors left) the next one is tried.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long requests under way may take after the stop: as long as any request may.
const DRAIN: Duration = chain::REQUEST_DEADLINE;
/// How long after the stop the first request of a connection may still come.
const FIRST: Duration = Duration::from_secs(1);
/// How long a client may take to read the end of its last answer.
const FLUSH: Duration = Duration::from_secs(5);

/// Where and with which identity to listen.
pub struct Listen {
    /// The bound socket.
    pub listener: TcpListener,
    /// What the server shows.
    pub certificate: Issued,
}

/// A socket with all that it takes to serve the connections to it.
pub(crate) struct Door {
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    authorities: Arc<tls::Authorities>,
}

impl Door {
    /// The way in, where there is one, for users with certificates of the authority `users_pem`, and for front proxies.
    pub(crate) fn open(
        listen: Option<Listen>,
        users_pem: &str,
        front: Option<&FrontProxy>,
    ) -> Result<Option<Self>, crate::Error> {
        let Some(Listen { listener, certificate }) = listen else { return Ok(None) };
        let configured = tls::configure(&certificate, users_pem, front);
        let (tls, authorities) = configured.map_err(|error| crate::Error::Listen(error.to_string()))?;
        Ok(Some(Self { listener, tls: Arc::new(tls), authorities: Arc::new(authorities) }))
    }
}

/// Accepts connections until `stop`; returns when all have ended.
pub(crate) async fn run(door: Door, service: Service, stop: CancellationToken) {
    let Door { listener, tls, authorities } = door;
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let drain = Drain::new(service.0.tasks.clone());
    let begin = |stream, address, permit| {
        let (acceptor, service, drain, stop) = (acceptor.clone(), service.clone(), drain.clone(), stop.clone());
        let authorities = Arc::clone(&authorities);
        connections.spawn(async move {
            let _permit: OwnedSemaphorePermit = permit;
            serve((stream, address), (&acceptor, &authorities), (service, drain), stop).await;
        });
    };
    while let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
            Ok((stream, address)) => begin(stream, address, permit),
        }
    }
    // Those who have connected already do not know yet that nobody listens any more.
    while let Ok(permit) = Arc::clone(&room).try_acquire_owned()
        && let Some(Ok((stream, address))) = listener.accept().now_or_never()
    {
        begin(stream, address, permit);
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The requests of one connection.
#[derive(Clone, Default)]
struct Requests {
    came: CancellationToken,
    under_way: TaskTracker,
    traffic: Traffic,
}

async fn serve(
    (stream, address): (TcpStream, SocketAddr),
    (acceptor, authorities): (&TlsAcceptor, &tls::Authorities),
    (service, drain): (Service, Drain),
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        service.0.metrics.handshake_errors.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let peer = authorities.peer(address, stream.get_ref().1.peer_certificates().unwrap_or_default());
    let requests = Requests::default();
    let seen = requests.clone();
    let handler = service_fn(move |request: Request<Incoming>| {
        if !seen.came.is_cancelled() {
            seen.came.cancel();
        }
        let (under_way, counted) = (seen.under_way.token(), seen.traffic.begin());
        let mut request = drain.behind(request);
        request.extensions_mut().insert(peer.clone());
        let answer = service.clone().call(request);
        async move {
            let _under_way = under_way;
            answer.await.map(|answer| counted.until_sent(answer))
        }
    });
    let builder = connection::server(HEADERS);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), handler);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended, address),
        () = requests.traffic.ceased(HANDSHAKE, IDLE) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => return log_end(ended, address),
                // A request that came at the last moment is answered.
                () = requests.traffic.ceased(FLUSH, FLUSH) => return,
                () = stop.cancelled() => {}
            }
        }
        () = stop.cancelled() => {}
    }
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended, address),
        () = requests.came.cancelled() => {}
        () = tokio::time::sleep(FIRST) => {}
    }
    connection.as_mut().graceful_shutdown();
    requests.under_way.close();
    let answered = async {
        let _ = tokio::time::timeout(DRAIN, requests.under_way.wait()).await;
        tokio::time::sleep(FLUSH).await;
    };
    tokio::select! {
        ended = connection => log_end(ended, address),
        () = answered => tracing::debug!(%address, "a connection was cut off"),
    }
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>, address: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "connection ended");
    }
}
