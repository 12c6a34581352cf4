//! One stream of a SPDY connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Headers,
    connection::Place,
    frame::{CANCEL, Frame, REFUSED_STREAM},
};
use crate::pipe::{Inbound, Outbound};

/// Both directions of a stream. Shutting down, or dropping it, ends the writing direction; [`Stream::reset`] tears
/// down both.
pub struct Stream {
    pub(super) headers: Headers,
    pub(super) read: Inbound,
    pub(super) write: Outbound<Frame>,
    pub(super) place: Place,
}

impl Stream {
    /// Its number: odd if the client opened it.
    pub fn id(&self) -> u32 {
        self.place.id
    }

    /// What the opener said of it.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Tells the opener that the stream is taken. Clients send nothing before.
    pub fn accept(&self) {
        self.write.queue().send(Frame::SynReply { id: self.id(), fin: false, headers: Headers::default() });
    }

    /// Tells the opener that the stream is not taken.
    pub fn refuse(self) {
        self.end_with(REFUSED_STREAM);
    }

    /// Tears the stream down: what is on its way in either direction is lost.
    pub fn reset(self) {
        self.end_with(CANCEL);
    }

    fn end_with(mut self, status: u32) {
        self.write.abandon();
        self.write.queue().send(Frame::RstStream { id: self.id(), status });
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, out)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}
