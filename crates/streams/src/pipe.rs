//! The two ends of one multiplexed stream, the same for SPDY and WebSocket.
//!
//! ```text
//! handler --write--> Outbound --Chunk--> Queue --> connection's writer --> peer
//! handler <--read--- Inbound  <--Bytes-- Feed  <-- connection's reader <-- peer
//! ```
//! Both directions hold back: an [`Outbound`] waits when [`QUEUED_CHUNKS`] of its connection are unwritten, and the
//! reader waits when a stream has [`INBOUND_CHUNKS`] unread. Messages without data (ends, replies) never wait, so that
//! they can be sent from `drop`; a stream sends only a handful of those.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::sync::PollSemaphore;

/// The most data one message carries.
pub(crate) const CHUNK_BYTES: usize = 32 * 1024;
/// So many chunks of one connection may wait to be written.
const QUEUED_CHUNKS: usize = 32;
/// So many chunks of one stream may wait to be read.
const INBOUND_CHUNKS: usize = 4;

/// What a stream sends.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Some bytes.
    Data { id: u32, bytes: Bytes },
    /// No more bytes will come.
    End { id: u32 },
}

/// A message on its way to the connection's writer; the permit goes back when it was written.
pub(crate) struct Queued<M> {
    pub(crate) message: M,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// The way to the connection's writer. The writer ends when the last `Queue` is gone.
pub(crate) struct Queue<M> {
    sender: mpsc::UnboundedSender<Queued<M>>,
    budget: Arc<Semaphore>,
}

/// A [`Queue`] that does not keep the writer alive.
pub(crate) struct WeakQueue<M> {
    sender: mpsc::WeakUnboundedSender<Queued<M>>,
    budget: Arc<Semaphore>,
}

impl<M> Clone for Queue<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), budget: self.budget.clone() }
    }
}

impl<M> Queue<M> {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Queued<M>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, budget: Arc::new(Semaphore::new(QUEUED_CHUNKS)) }, receiver)
    }

    /// Queues a message that carries no data; a closed connection swallows it.
    pub(crate) fn send(&self, message: M) {
        let _ = self.sender.send(Queued { message, permit: None });
    }

    pub(crate) fn downgrade(&self) -> WeakQueue<M> {
        WeakQueue { sender: self.sender.downgrade(), budget: self.budget.clone() }
    }
}

impl<M> WeakQueue<M> {
    pub(crate) fn upgrade(&self) -> Option<Queue<M>> {
        Some(Queue { sender: self.sender.upgrade()?, budget: self.budget.clone() })
    }

    /// Queues an answer to something the peer sent, unless so much is unwritten that the peer obviously does not read.
    pub(crate) fn answer(&self, message: M) {
        if let (Some(sender), Ok(permit)) = (self.sender.upgrade(), self.budget.clone().try_acquire_owned()) {
            let _ = sender.send(Queued { message, permit: Some(permit) });
        }
    }
}

/// A fact that becomes true once: that a stream was torn down, that its peer has finished.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate(Arc<AtomicBool>);

impl Fate {
    /// From now on it is true.
    pub(crate) fn seal(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_sealed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The writing end of a stream. Dropping it ends the stream properly.
pub(crate) struct Outbound<M: From<Chunk>> {
    id: u32,
    queue: Queue<M>,
    budget: PollSemaphore,
    aborted: Fate,
    ended: bool,
}

impl<M: From<Chunk>> Outbound<M> {
    pub(crate) fn new(id: u32, queue: Queue<M>, aborted: Fate) -> Self {
        let budget = PollSemaphore::new(queue.budget.clone());
        Self { id, queue, budget, aborted, ended: false }
    }

    pub(crate) fn queue(&self) -> &Queue<M> {
        &self.queue
    }

    /// Sends no end: another message has said it all.
    pub(crate) fn abandon(&mut self) {
        self.ended = true;
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) && !self.aborted.is_sealed() {
            self.queue.send(Chunk::End { id: self.id }.into());
        }
    }
}

impl<M: From<Chunk>> Drop for Outbound<M> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<M: From<Chunk>> AsyncWrite for Outbound<M> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended || self.aborted.is_sealed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let permit = ready!(self.budget.poll_acquire(cx));
        let length = data.len().min(CHUNK_BYTES);
        let message = Chunk::Data { id: self.id, bytes: Bytes::copy_from_slice(&data[..length]) }.into();
        let sent = self.queue.sender.send(Queued { message, permit });
        Poll::Ready(sent.map(|()| length).map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

/// The connection reader's side of an [`Inbound`]: dropped after [`Feed::finish`] it is end of file, else a failure if
/// the stream was aborted.
#[derive(Clone)]
pub(crate) struct Feed {
    sender: mpsc::Sender<Bytes>,
    finished: Fate,
}

impl Feed {
    /// Hands bytes to the reader of the stream, waiting for room; nobody reads any more: they are dropped.
    pub(crate) async fn push(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            let _ = self.sender.send(bytes).await;
        }
    }

    /// The peer has said that nothing more will come.
    pub(crate) fn finish(&self) {
        self.finished.seal();
    }
}

/// The reading end of a stream.
pub(crate) struct Inbound {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    finished: Fate,
    aborted: Fate,
}

/// The two sides of a stream's reading direction.
pub(crate) fn inbound(aborted: Fate) -> (Feed, Inbound) {
    let (sender, receiver) = mpsc::channel(INBOUND_CHUNKS);
    let finished = Fate::default();
    (Feed { sender, finished: finished.clone() }, Inbound { receiver, current: Bytes::new(), finished, aborted })
}

impl AsyncRead for Inbound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.current.is_empty() {
            match ready!(self.receiver.poll_recv(cx)) {
                Some(bytes) => self.current = bytes,
                None if self.aborted.is_sealed() && !self.finished.is_sealed() => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.current.len().min(out.remaining());
        out.put_slice(&self.current[..length]);
        self.current.advance(length);
        Poll::Ready(Ok(()))
    }
}
