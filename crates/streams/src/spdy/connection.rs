//! A SPDY connection: streams multiplexed over one byte stream.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{
    Decoder, Encoder, Frame, Headers, Stream,
    frame::{PROTOCOL_ERROR, REFUSED_STREAM},
};
use crate::{
    Error,
    idle::Idle,
    pipe::{Fate, Feed, Outbound, Queue, Queued, WeakQueue, inbound},
};

/// So many streams may be open on one connection: 512 forwarded connections at once.
const MAX_STREAMS: usize = 1024;
/// So many streams may wait to be taken.
const UNTAKEN_STREAMS: usize = 16;
/// Bytes read, and written, at a time.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long the peer may take to close its side after we have closed ours.
const LINGER: Duration = Duration::from_secs(5);

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens even streams.
    Server,
    /// Opens odd streams.
    Client,
}

/// A handle on a connection: takes the peer's streams and opens own ones. When it and all streams are dropped,
/// the connection ends in order.
pub struct Connection {
    queue: Queue<Frame>,
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Stream>,
    next_id: u32,
}

/// The I/O of a [`Connection`]; nothing moves unless [`Driver::run`] is polled.
pub struct Driver<S> {
    io: S,
    role: Role,
    shared: Arc<Shared>,
    queue: WeakQueue<Frame>,
    queued: mpsc::UnboundedReceiver<Queued<Frame>>,
    incoming: mpsc::Sender<Stream>,
}

/// What the handle and the reader both know.
struct Shared {
    streams: Mutex<HashMap<u32, Entry>>,
    free: Arc<Semaphore>,
}

/// An open stream.
struct Entry {
    /// None when the peer will send nothing more.
    feed: Option<Feed>,
    aborted: Fate,
    /// Who waits for the reply to a stream opened here.
    opened: Option<oneshot::Sender<()>>,
}

impl Connection {
    /// SPDY over `io`.
    pub fn new<S: AsyncRead + AsyncWrite>(io: S, role: Role) -> (Self, Driver<S>) {
        let (queue, queued) = Queue::new();
        let (sender, incoming) = mpsc::channel(UNTAKEN_STREAMS);
        let free = Arc::new(Semaphore::new(MAX_STREAMS));
        let shared = Arc::new(Shared { streams: Mutex::default(), free });
        let driver = Driver { io, role, shared: shared.clone(), queue: queue.downgrade(), queued, incoming: sender };
        let next_id = if role == Role::Client { 1 } else { 2 };
        (Self { queue, shared, incoming, next_id }, driver)
    }

    /// The next stream that the peer opens; none when the connection is over. Each is to be accepted or refused.
    pub async fn next(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// Opens a stream and waits until the peer has taken it.
    ///
    /// # Errors
    /// The peer refused it, or the connection is over.
    pub async fn open(&mut self, headers: Headers) -> Result<Stream, Error> {
        const GONE: Error = Error::Spdy("the stream was not taken");
        let permit = self.shared.free.clone().try_acquire_owned().map_err(|_| Error::Spdy("too many streams"))?;
        let id = self.next_id;
        self.next_id += 2;
        let (opened, reply) = oneshot::channel();
        let stream =
            self.shared.stream(id, headers.clone(), self.queue.clone(), Reply { permit, opened: Some(opened) });
        self.queue.send(Frame::SynStream { id, fin: false, headers });
        reply.await.map_err(|_| GONE)?;
        Ok(stream)
    }
}

impl Entry {
    fn abort(&mut self) {
        self.aborted.seal();
        self.feed = None;
        self.opened = None;
    }
}

/// What a stream needs from the start: its place, and who waits for the peer's reply.
struct Reply {
    permit: OwnedSemaphorePermit,
    opened: Option<oneshot::Sender<()>>,
}

/// A stream's place in its connection, free again when the stream is dropped.
pub(super) struct Place {
    pub(super) id: u32,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.streams.lock().remove(&self.id);
    }
}

impl Shared {
    /// A new stream, known to the reader.
    fn stream(self: &Arc<Self>, id: u32, headers: Headers, queue: Queue<Frame>, reply: Reply) -> Stream {
        let Reply { permit, opened } = reply;
        let aborted = Fate::default();
        let (feed, read) = inbound(aborted.clone());
        self.streams.lock().insert(id, Entry { feed: Some(feed), aborted: aborted.clone(), opened });
        let place = Place { id, shared: self.clone(), _permit: permit };
        Stream { headers, read, write: Outbound::new(id, queue, aborted), place }
    }

    /// The peer will send nothing more on the stream.
    fn end(&self, id: u32) {
        if let Some(feed) = self.streams.lock().get_mut(&id).and_then(|entry| entry.feed.take()) {
            feed.finish();
        }
    }

    /// The peer has torn the stream down.
    fn abort(&self, id: u32) {
        if let Some(entry) = self.streams.lock().get_mut(&id) {
            entry.abort();
        }
    }

    fn abort_all(&self) {
        self.streams.lock().values_mut().for_each(Entry::abort);
    }

    fn feed(&self, id: u32) -> Option<Feed> {
        self.streams.lock().get(&id)?.feed.clone()
    }

    fn replied(&self, id: u32) {
        let opened = self.streams.lock().get_mut(&id).and_then(|entry| entry.opened.take());
        if let Some(opened) = opened {
            let _ = opened.send(());
        }
    }
}

/// However the driver ends, also when it is dropped in between, nobody waits for it any longer.
struct AbortStreams(Arc<Shared>);

impl Drop for AbortStreams {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}

impl<S: AsyncRead + AsyncWrite> Driver<S> {
    /// Runs the connection until the peer closes it, or until the [`Connection`] and all its streams are gone.
    ///
    /// # Errors
    /// The peer violates the protocol, the connection breaks, or nothing comes or goes for the idle timeout.
    pub async fn run(self) -> Result<(), Error> {
        let Self { io, role, shared, queue, queued, incoming } = self;
        let _abort = AbortStreams(shared.clone());
        let idle = Idle::new();
        let (read_half, write_half) = tokio::io::split(io);
        let reader = Reader { role, shared, queue, incoming, last_id: 0 };
        let mut read = std::pin::pin!(reader.run(read_half, &idle));
        tokio::select! {
            result = &mut read => result,
            () = idle.expired() => Err(Error::Idle),
            result = write_frames(write_half, queued, &idle) => match result {
                Ok(()) => timeout(LINGER, read).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            },
        }
    }
}

/// Writes what is queued until every sender is gone, then says good-bye.
async fn write_frames(
    mut io: impl AsyncWrite + Unpin,
    mut queued: mpsc::UnboundedReceiver<Queued<Frame>>,
    idle: &Idle,
) -> Result<(), Error> {
    let mut encoder = Encoder::default();
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    // The senders' budget is given back only when their data is written.
    let mut permits = Vec::new();
    while let Some(first) = queued.recv().await {
        let mut next = Some(first);
        while let Some(Queued { message, permit }) = next {
            encoder.encode(&message, &mut buffer);
            permits.extend(permit);
            next = if buffer.len() < BUFFER_BYTES { queued.try_recv().ok() } else { None };
        }
        io.write_all_buf(&mut buffer).await?;
        permits.clear();
        if queued.is_empty() {
            io.flush().await?;
        }
        idle.touch();
    }
    encoder.encode(&Frame::GoAway { last_good: 0, status: 0 }, &mut buffer);
    io.write_all_buf(&mut buffer).await?;
    io.shutdown().await?;
    Ok(())
}

/// The receiving direction.
struct Reader {
    role: Role,
    shared: Arc<Shared>,
    queue: WeakQueue<Frame>,
    incoming: mpsc::Sender<Stream>,
    last_id: u32,
}

impl Reader {
    async fn run(mut self, mut io: impl AsyncRead + Unpin, idle: &Idle) -> Result<(), Error> {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::new();
        loop {
            while let Some(frame) = decoder.decode(&mut buffer)? {
                self.receive(frame).await;
            }
            buffer.reserve(BUFFER_BYTES);
            if io.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            idle.touch();
        }
    }

    async fn receive(&mut self, frame: Frame) {
        match frame {
            Frame::SynStream { id, fin, headers } => self.open(id, fin, headers).await,
            Frame::Data { id, fin, payload } => {
                if let Some(feed) = self.shared.feed(id) {
                    feed.push(payload).await;
                }
                if fin {
                    self.shared.end(id);
                }
            }
            Frame::SynReply { id, fin, .. } => {
                self.shared.replied(id);
                if fin {
                    self.shared.end(id);
                }
            }
            Frame::Headers { id, fin: true, .. } => self.shared.end(id),
            Frame::RstStream { id, .. } => self.shared.abort(id),
            // Odd pings are the client's; the others answer ours, which are never sent.
            Frame::Ping(id) if (id % 2 == 1) == (self.role == Role::Server) => self.queue.answer(Frame::Ping(id)),
            Frame::Ping(_)
            | Frame::Headers { .. }
            | Frame::Settings(_)
            | Frame::GoAway { .. }
            | Frame::WindowUpdate { .. } => {}
        }
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) {
        // Nobody takes streams any more.
        let Some(queue) = self.queue.upgrade() else { return };
        let from_client = id % 2 == 1;
        if id <= self.last_id || from_client != (self.role == Role::Server) {
            return self.queue.answer(Frame::RstStream { id, status: PROTOCOL_ERROR });
        }
        self.last_id = id;
        let Ok(permit) = self.shared.free.clone().try_acquire_owned() else {
            return self.queue.answer(Frame::RstStream { id, status: REFUSED_STREAM });
        };
        let stream = self.shared.stream(id, headers, queue, Reply { permit, opened: None });
        if fin {
            self.shared.end(id);
        }
        let _ = self.incoming.send(stream).await;
    }
}
