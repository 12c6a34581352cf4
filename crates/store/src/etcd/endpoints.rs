//! The connections to etcd's members: one carries all calls, the next takes over when it fails.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Response, Status};

use super::error::{Effect, Failure, effect_of};
use super::wire::kv_client::KvClient;
use super::wire::watch_client::WatchClient;
use crate::Error;

/// How to show oneself to etcd, and whom to believe there. All in PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authority that signed etcd's certificates.
    pub ca_pem: Vec<u8>,
    /// Our own certificate and its key, where etcd asks for one.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity_pem.is_some()).finish_non_exhaustive()
    }
}

/// How long to wait for a connection,
const CONNECT: Duration = Duration::from_secs(5);
/// for one answer,
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// and for all attempts of one call together.
const CALL: Duration = Duration::from_secs(15);
/// The first pause between two attempts; each is twice the one before,
const PAUSE: Duration = Duration::from_millis(20);
/// up to this.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How often to see whether the other side of a connection in use still lives, and how long it may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Bytes on their way to one call, and to one connection.
const WINDOW_BYTES: (u32, u32) = (2 << 20, 8 << 20);
/// No answer may be longer. Entries are far below it: etcd itself takes 1.5 MiB unless told otherwise.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Whether a call may be repeated when nobody knows what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// A second time does no harm.
    Repeatable,
    /// It must not happen twice.
    Once,
}

/// All members.
pub(super) struct Endpoints {
    members: Vec<Member>,
    current: AtomicUsize,
}

struct Member {
    endpoint: Endpoint,
    calls: Channel,
}

impl Endpoints {
    /// Nothing is connected before the first call.
    pub(super) fn new(addresses: &[String], tls: Option<&Tls>) -> Result<Self, Error> {
        let members = addresses.iter().map(|address| Member::new(address, tls)).collect::<Result<_, _>>()?;
        Ok(Self { members, current: AtomicUsize::new(0) })
    }

    fn current(&self) -> (usize, &Member) {
        let at = self.current.load(Ordering::Relaxed);
        (at, &self.members[at % self.members.len()])
    }

    /// Turns to the member after the `failed`th, unless someone else has turned away from that already.
    fn turn(&self, failed: usize) {
        let next = failed.wrapping_add(1);
        let _turned = self.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Carries out a call: again, elsewhere and after a pause, when it failed and may be repeated.
    pub(super) async fn call<T, F>(
        &self,
        what: &'static str,
        safety: Safety,
        call: impl Fn(KvClient<Channel>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let until = Instant::now() + CALL;
        let mut pause = PAUSE;
        loop {
            let (at, member) = self.current();
            let client = KvClient::new(member.calls.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
            let answer = timeout(ANSWER.min(until - Instant::now()), call(client)).await;
            let status = match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let again = match effect_of(&status) {
                Effect::Answered => return Err(Failure { what, status }),
                Effect::None => true,
                Effect::Unknown => safety == Safety::Repeatable,
            };
            self.turn(at);
            if !again || Instant::now() + pause >= until {
                return Err(Failure { what, status });
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// A client for one watch, on a connection of its own: a watcher that reads slowly holds up nobody else. With it
    /// comes what [`Endpoints::lost`] wants to know.
    pub(super) fn watcher(&self) -> (usize, WatchClient<Channel>) {
        let (at, member) = self.current();
        let client = WatchClient::new(member.endpoint.connect_lazy());
        (at, client.max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    /// The watch on the `at`th member broke off.
    pub(super) fn lost(&self, at: usize) {
        self.turn(at);
    }
}

impl Member {
    fn new(address: &str, tls: Option<&Tls>) -> Result<Self, Error> {
        let refused = |error: tonic::transport::Error| Error::Remote {
            what: "connect to",
            why: format!("{address}: {}", error_chain(&error)),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(refused)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(ALIVE.0)
            .keep_alive_timeout(ALIVE.1)
            .initial_stream_window_size(WINDOW_BYTES.0)
            .initial_connection_window_size(WINDOW_BYTES.1);
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(client_tls(tls)).map_err(refused)?;
        }
        Ok(Self { calls: endpoint.connect_lazy(), endpoint })
    }
}

fn client_tls(tls: &Tls) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca_pem));
    match &tls.identity_pem {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}
