//! The legacy WebSocket protocol: a fixed pair of channels per port.

use std::future::Future;

use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, join};

use super::forward;
use crate::{BoxError, Error, websocket::Multiplex};

/// Forwards `ports` until the connections have ended or the client has left.
pub(super) async fn serve<W, C, F, S>(mut multiplex: Multiplex<W>, ports: &[u16], connect: C) -> Result<(), Error>
where
    W: AsyncRead + AsyncWrite + Unpin,
    C: Fn(u16) -> F,
    F: Future<Output = Result<S, BoxError>>,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut forwards = Vec::new();
    for (channel, &port) in (0..).step_by(2).zip(ports) {
        // The first message of each channel names its port.
        multiplex.announce(channel, &port.to_le_bytes());
        multiplex.announce(channel + 1, &port.to_le_bytes());
        let data = join(multiplex.read(channel), multiplex.write(channel));
        forwards.push(forward(port, connect(port), data, multiplex.write(channel + 1)));
    }
    let mut connection = std::pin::pin!(multiplex.drive());
    tokio::select! {
        ended = &mut connection => ended,
        _ = join_all(forwards) => connection.await,
    }
}
