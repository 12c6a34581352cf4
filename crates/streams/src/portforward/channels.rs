//! The legacy WebSocket protocol: a fixed pair of channels per port.

use std::future::Future;

use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

use super::{connected, note};
use crate::{BoxError, Error, websocket::Multiplex};

/// Forwards `ports` until the ports have ended their connections or the client has left.
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
        let data = (multiplex.read(channel), multiplex.write(channel));
        forwards.push(forward(port, connect(port), data, multiplex.write(channel + 1)));
    }
    let mut connection = std::pin::pin!(multiplex.drive());
    tokio::select! {
        ended = &mut connection => ended,
        _ = join_all(forwards) => connection.await,
    }
}

/// Copies both ways until the port has sent all it has. A client cannot say here that it has sent all, it can only
/// leave, and many wait for the end of the answer before they do.
async fn forward<S: AsyncRead + AsyncWrite + Unpin>(
    port: u16,
    connecting: impl Future<Output = Result<S, BoxError>>,
    (mut from_client, mut to_client): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    mut error: impl AsyncWrite + Unpin,
) {
    let Some(target) = connected(port, connecting, &mut error).await else { return };
    let (mut from_port, mut to_port) = split(target);
    let answering = async {
        let copied = copy(&mut from_port, &mut to_client).await?;
        to_client.shutdown().await?;
        Ok(copied)
    };
    let asking = async {
        note(port, copy(&mut from_client, &mut to_port).await);
        std::future::pending().await
    };
    tokio::select! {
        outcome = answering => note(port, outcome),
        never = asking => never,
    }
}
