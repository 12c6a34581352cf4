//! SPDY port-forward: each connection is a pair of streams, data and error, that say the same request id.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    task::JoinSet,
    time::Instant,
};

use super::{connected, note, parse_port};
use crate::{
    BoxError, Error,
    spdy::{Connection, Driver, Stream},
};

/// How long a client may take to open the second stream of a pair, as upstream.
const STREAM_CREATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves the connection until the client closes it.
pub(super) async fn serve<I, C, F, S>(connection: Connection, driver: Driver<I>, connect: C) -> Result<(), Error>
where
    I: AsyncRead + AsyncWrite,
    C: Fn(u16) -> F + Clone + Send + 'static,
    F: Future<Output = Result<S, BoxError>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::select! {
        ended = driver.run() => ended,
        () = take_streams(connection, connect) => Ok(()),
    }
}

/// Pairs the client's streams and forwards each pair. It ends with the connection; the forwards end with it.
async fn take_streams<C, F, S>(mut connection: Connection, connect: C)
where
    C: Fn(u16) -> F,
    F: Future<Output = Result<S, BoxError>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut forwards = JoinSet::new();
    let mut halves = Halves::default();
    loop {
        tokio::select! {
            stream = connection.next() => match stream {
                Some(stream) => {
                    if let Some(Pair { port, data, error }) = halves.add(stream) {
                        forwards.spawn(forward(port, connect(port), data, error));
                    }
                }
                None => return,
            },
            Some(_) = forwards.join_next() => {}
            () = halves.expired() => halves.drop_expired(),
        }
    }
}

/// Copies both ways until both sides have ended.
async fn forward<S: AsyncRead + AsyncWrite + Unpin>(
    port: u16,
    connecting: impl Future<Output = Result<S, BoxError>>,
    mut data: Stream,
    mut error: Stream,
) {
    if let Some(mut target) = connected(port, connecting, &mut error).await {
        note(port, copy_bidirectional(&mut data, &mut target).await.map(|(to_port, _)| to_port));
    }
}

/// Both streams of one forwarded connection.
struct Pair {
    port: u16,
    data: Stream,
    error: Stream,
}

/// Streams that wait for the other half of their pair. The connection's limit of streams bounds them.
#[derive(Default)]
struct Halves(HashMap<String, Half>);

struct Half {
    kind: Kind,
    port: u16,
    stream: Stream,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

impl Halves {
    /// Takes a stream if it is well described and its place in a pair is free, and returns the pair it completes.
    fn add(&mut self, stream: Stream) -> Option<Pair> {
        let Some((kind, port)) = describe(&stream) else {
            stream.refuse();
            return None;
        };
        let id = request_id(&stream, kind);
        match self.0.remove(&id) {
            None => {
                stream.accept();
                self.0.insert(id, Half { kind, port, stream, until: Instant::now() + STREAM_CREATION_TIMEOUT });
                None
            }
            Some(half) if half.kind == kind => {
                stream.refuse();
                self.0.insert(id, half);
                None
            }
            Some(half) => {
                stream.accept();
                let (port, data, error) = match kind {
                    Kind::Data => (port, stream, half.stream),
                    Kind::Error => (half.port, half.stream, stream),
                };
                Some(Pair { port, data, error })
            }
        }
    }

    /// Returns when the oldest half has waited too long; never if there is none.
    async fn expired(&self) {
        match self.0.values().map(|half| half.until).min() {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    fn drop_expired(&mut self) {
        let now = Instant::now();
        for (_, half) in self.0.extract_if(|_, half| half.until <= now) {
            half.stream.reset();
        }
    }
}

fn describe(stream: &Stream) -> Option<(Kind, u16)> {
    let kind = match stream.headers().get("streamtype")? {
        "data" => Kind::Data,
        "error" => Kind::Error,
        _ => return None,
    };
    Some((kind, parse_port(stream.headers().get("port")?).ok()?))
}

/// The request id, or for old clients that send none, what follows from their habit of opening the error stream right
/// before the data stream.
fn request_id(stream: &Stream, kind: Kind) -> String {
    match (stream.headers().get("requestid"), kind) {
        (Some(id), _) => id.to_owned(),
        (None, Kind::Error) => format!("stream {}", stream.id()),
        (None, Kind::Data) => format!("stream {}", stream.id().wrapping_sub(2)),
    }
}
