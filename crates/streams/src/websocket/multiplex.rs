//! A WebSocket connection with numbered channels.

use std::time::Duration;

use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

use super::{Codec, Received, normal_close};
use crate::{
    Error,
    idle::Idle,
    pipe::{Chunk, Fate, Feed, Inbound, Outbound, Queue, Queued, inbound},
};

/// How long the client may take to answer our close before the connection is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The channels of one connection. [`Multiplex::drive`] moves the bytes; it closes the connection with code 1000
/// when every [`Outbound`] has ended and been dropped.
pub(crate) struct Multiplex<S> {
    socket: WebSocketStream<S>,
    codec: Codec,
    feeds: Vec<Option<Feed>>,
    aborted: Fate,
    queue: Queue<Chunk>,
    queued: mpsc::UnboundedReceiver<Queued<Chunk>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Multiplex<S> {
    pub(crate) fn new(socket: WebSocketStream<S>, codec: Codec) -> Self {
        let (queue, queued) = Queue::new();
        Self { socket, codec, feeds: Vec::new(), aborted: Fate::default(), queue, queued }
    }

    /// What the client sends on `channel`; without this it is thrown away.
    pub(crate) fn read(&mut self, channel: u8) -> Inbound {
        let (feed, inbound) = inbound(self.aborted.clone());
        let index = usize::from(channel);
        if self.feeds.len() <= index {
            self.feeds.resize_with(index + 1, || None);
        }
        self.feeds[index] = Some(feed);
        inbound
    }

    /// The way to the client on `channel`.
    pub(crate) fn write(&self, channel: u8) -> Outbound<Chunk> {
        Outbound::new(channel.into(), self.queue.clone(), self.aborted.clone())
    }

    /// Sends one message at once, before all that is written later.
    pub(crate) fn announce(&self, channel: u8, bytes: &[u8]) {
        self.queue.send(Chunk::Data { id: channel.into(), bytes: bytes.to_vec().into() });
    }

    /// Runs the connection until either side has closed it.
    pub(crate) async fn drive(self) -> Result<(), Error> {
        let Self { socket, codec, feeds, aborted, queue, queued } = self;
        drop(queue);
        let idle = Idle::new();
        let (sink, source) = socket.split();
        let mut read = std::pin::pin!(read_messages(source, codec, (feeds, &aborted), &idle));
        tokio::select! {
            result = &mut read => result,
            () = idle.expired() => Err(Error::Idle),
            result = write_messages(sink, codec, queued, &idle) => match result {
                Ok(()) => timeout(CLOSE_TIMEOUT, read).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            },
        }
    }
}

/// Feeds the channels until the client closes. It fails every channel that is still open then.
async fn read_messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut source: SplitStream<WebSocketStream<S>>,
    codec: Codec,
    (mut feeds, aborted): (Vec<Option<Feed>>, &Fate),
    idle: &Idle,
) -> Result<(), Error> {
    let outcome = loop {
        let message = match source.next().await {
            None | Some(Err(tungstenite::Error::ConnectionClosed)) => break Ok(()),
            Some(Err(error)) => break Err(error.into()),
            Some(Ok(message)) => message,
        };
        idle.touch();
        // Pings are answered by the next read; a close is followed by the end of the stream.
        if !matches!(message, Message::Binary(_) | Message::Text(_)) {
            continue;
        }
        match codec.decode(message.into_data()) {
            Received::Data(channel, data) => {
                if let Some(Some(feed)) = feeds.get(usize::from(channel)) {
                    feed.push(data).await;
                }
            }
            Received::End(channel) => {
                if let Some(feed) = feeds.get_mut(usize::from(channel)).and_then(Option::take) {
                    feed.finish();
                }
            }
            Received::Nothing => {}
            Received::Invalid(reason) => break Err(std::io::Error::other(reason).into()),
        }
    };
    aborted.seal();
    outcome
}

/// Writes what the channels send; closes the connection when they are all gone.
async fn write_messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    codec: Codec,
    mut queued: mpsc::UnboundedReceiver<Queued<Chunk>>,
    idle: &Idle,
) -> Result<(), Error> {
    while let Some(next) = queued.recv().await {
        // No subprotocol lets a server end one channel; the close of the connection ends them all.
        if let Chunk::Data { id, bytes } = &next.message {
            let channel = u8::try_from(*id).expect("invariant: channels are numbered by one byte");
            sink.feed(codec.encode(channel, bytes)).await?;
        }
        if queued.is_empty() {
            sink.flush().await?;
            idle.touch();
        }
    }
    sink.send(Message::Close(Some(normal_close()))).await?;
    Ok(())
}
