//! A WebSocket that only tells: each piece of a stream is a message. What the client says is not heard.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{handshake, normal_close, server};
use crate::{
    Body, Error, Sessions,
    handshake::{self as http_handshake, Refusal},
};

/// What kind of message carries a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text, for JSON.
    Text,
    /// Bytes.
    Binary,
    /// Base64 of bytes, as text.
    Base64,
}

impl Form {
    fn message(self, bytes: Bytes) -> Message {
        let text = match self {
            Self::Text => Utf8Bytes::try_from(bytes.clone()).ok(),
            Self::Binary => None,
            Self::Base64 => Some(STANDARD.encode(&bytes).into()),
        };
        text.map_or(Message::Binary(bytes), Message::Text)
    }
}

/// Answers a WebSocket's request and sends it `messages` until they end or the client leaves. The session belongs to
/// `sessions`. Of the subprotocols that the client lists the first is taken: they say nothing here.
pub fn tell(
    head: &Parts,
    sessions: &Sessions,
    form: Form,
    messages: impl Stream<Item = Bytes> + Send + 'static,
) -> Response<Body> {
    let (mut response, upgrade) = match (handshake(&head.headers), head.extensions.get::<OnUpgrade>()) {
        (Ok(response), Some(upgrade)) => (response, upgrade.clone()),
        (Ok(_), None) => return http_handshake::not_an_upgrade().into(),
        (Err(refusal), _) => return refusal.into(),
    };
    let first = http_handshake::tokens(&head.headers, header::SEC_WEBSOCKET_PROTOCOL.as_str()).next();
    if let Some(first) = first.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, first);
    }
    match sessions.spawn(run(upgrade, form, messages)) {
        Ok(()) => response,
        Err(error) => Refusal::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).into(),
    }
}

async fn run(upgrade: OnUpgrade, form: Form, messages: impl Stream<Item = Bytes> + Send) -> Result<(), Error> {
    let io = TokioIo::new(upgrade.await.map_err(Error::Upgrade)?);
    let (mut sink, mut source) = server(io).await.split();
    let hear = async {
        // Pings are answered by the next read.
        while let Some(message) = source.next().await {
            message?;
        }
        Ok(())
    };
    let say = async {
        let mut messages = std::pin::pin!(messages);
        while let Some(bytes) = messages.next().await {
            sink.send(form.message(bytes)).await?;
        }
        sink.send(Message::Close(Some(normal_close()))).await?;
        Ok(())
    };
    tokio::select! {
        heard = hear => heard,
        said = say => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_as_messages() {
        let check = |form: Form, bytes: &'static [u8], want: Message| {
            assert_eq!(form.message(Bytes::from_static(bytes)), want);
        };
        check(Form::Text, b"{}", Message::text("{}"));
        check(Form::Text, b"\xff", Message::binary(&b"\xff"[..]));
        check(Form::Binary, b"{}", Message::binary(&b"{}"[..]));
        check(Form::Base64, b"\xff", Message::text("/w=="));
    }
}
