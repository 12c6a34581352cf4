//! What a channel message means: pure, without a connection.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

/// `[255, channel]`: the client will send nothing more on `channel` (v5 only).
const CLOSE_SIGNAL: u8 = 255;

/// How the messages of a subprotocol are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Channel byte, then the data, in binary messages.
    Binary {
        /// Whether `[255, channel]` ends a channel.
        close_signal: bool,
    },
    /// Channel digit, then base64, in text messages.
    Base64,
}

/// What one message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes for a channel.
    Data(u8, Bytes),
    /// Nothing more will come on a channel.
    End(u8),
    /// Nothing: an empty message.
    Nothing,
    /// No message of this subprotocol; the session cannot go on.
    Invalid(&'static str),
}

impl Codec {
    /// Reads the payload of one message.
    pub fn decode(self, payload: Bytes) -> Received {
        let Some(&first) = payload.first() else { return Received::Nothing };
        match self {
            Self::Binary { close_signal: true } if first == CLOSE_SIGNAL => match payload[..] {
                [_, channel] => Received::End(channel),
                _ => Received::Invalid("a single channel byte must follow the stream close signal"),
            },
            Self::Binary { .. } => Received::Data(first, payload.slice(1..)),
            Self::Base64 => match STANDARD.decode(&payload[1..]) {
                Ok(data) => Received::Data(first.wrapping_sub(b'0'), data.into()),
                Err(_) => Received::Invalid("the message is not base64"),
            },
        }
    }

    /// Writes `data` for `channel` as one message.
    pub fn encode(self, channel: u8, data: &[u8]) -> Message {
        match self {
            Self::Binary { .. } => {
                let mut payload = BytesMut::with_capacity(data.len() + 1);
                payload.put_u8(channel);
                payload.put_slice(data);
                Message::Binary(payload.freeze())
            }
            Self::Base64 => {
                let mut text = String::with_capacity(1 + data.len().div_ceil(3) * 4);
                text.push(char::from(b'0' + channel));
                STANDARD.encode_string(data, &mut text);
                Message::Text(text.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V5: Codec = Codec::Binary { close_signal: true };
    const V4: Codec = Codec::Binary { close_signal: false };

    #[test]
    fn messages() {
        let check = |codec: Codec, payload: &'static [u8], want: Received| {
            assert_eq!(codec.decode(Bytes::from_static(payload)), want, "{codec:?} {payload:?}");
        };
        check(V5, b"", Received::Nothing);
        check(V5, b"\x00foo\n", Received::Data(0, "foo\n".into()));
        check(V5, b"\x01", Received::Data(1, "".into()));
        check(V5, b"\xff\x00", Received::End(0));
        check(V5, b"\xff", Received::Invalid("a single channel byte must follow the stream close signal"));
        check(V4, b"\xff\x00", Received::Data(255, "\0".into()));
        check(Codec::Base64, b"0Zm9vCgo=", Received::Data(0, "foo\n\n".into()));
        check(Codec::Base64, b"1", Received::Data(1, "".into()));
        check(Codec::Base64, b"0%", Received::Invalid("the message is not base64"));
    }

    proptest! {
        #[test]
        fn round_trip(channel in 0u8..5, data: Vec<u8>) {
            for codec in [V5, V4, Codec::Base64] {
                let got = codec.decode(codec.encode(channel, &data).into_data());
                prop_assert_eq!(got, Received::Data(channel, data.clone().into()));
            }
        }

        #[test]
        fn nothing_panics(payload: Vec<u8>) {
            for codec in [V5, V4, Codec::Base64] {
                codec.decode(payload.clone().into());
            }
        }
    }
}
