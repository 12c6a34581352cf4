//! Frames and their bytes.
//!
//! ```text
//! control  1 | version 15 bits | type 16 bits | flags 8 bits | length 24 bits | payload
//! data     0 | stream id 31 bits              | flags 8 bits | length 24 bits | payload
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{Deflater, Headers, Inflater};
use crate::{
    Error,
    pipe::{CHUNK_BYTES, Chunk},
};

/// Every frame begins with two words.
const HEADER_BYTES: usize = 8;
/// The largest control frame taken. Data frames may have any size: they are handed on piece by piece.
const MAX_CONTROL_BYTES: usize = 64 * 1024;
const VERSION: u16 = 3;
const CONTROL: u32 = 1 << 31;
const ID_MASK: u32 = CONTROL - 1;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// RST_STREAM: the frame makes no sense here.
pub(super) const PROTOCOL_ERROR: u32 = 1;
/// RST_STREAM: the stream is not wanted.
pub(super) const REFUSED_STREAM: u32 = 3;
/// RST_STREAM: the stream is not needed any more.
pub(super) const CANCEL: u32 = 5;

/// One SPDY frame, without what Kubernetes never uses (priorities, slots).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// Odd from clients, even from servers, ever growing.
        id: u32,
        /// Whether the sender will send no data.
        fin: bool,
        /// What the stream is.
        headers: Headers,
    },
    /// Accepts a stream.
    SynReply {
        /// The stream.
        id: u32,
        /// Whether the sender will send no data.
        fin: bool,
        /// Usually none.
        headers: Headers,
    },
    /// Ends a stream in both directions at once.
    RstStream {
        /// The stream.
        id: u32,
        /// Why: 1 protocol error, 3 refused, 5 cancelled and others.
        status: u32,
    },
    /// Settings `(flags << 24 | id, value)`; none of them matters here.
    Settings(Vec<(u32, u32)>),
    /// To be sent back as it is.
    Ping(u32),
    /// The sender takes no new streams.
    GoAway {
        /// The last stream it took.
        last_good: u32,
        /// 0 for an orderly end.
        status: u32,
    },
    /// More headers of a stream.
    Headers {
        /// The stream.
        id: u32,
        /// Whether the sender will send nothing more.
        fin: bool,
        /// The headers.
        headers: Headers,
    },
    /// Flow control, which no Kubernetes client practises.
    WindowUpdate {
        /// The stream, or 0 for the connection.
        id: u32,
        /// Bytes more.
        delta: u32,
    },
    /// Bytes of a stream. A large frame is decoded as several.
    Data {
        /// The stream.
        id: u32,
        /// Whether the sender will send nothing more.
        fin: bool,
        /// The bytes.
        payload: Bytes,
    },
}

impl From<Chunk> for Frame {
    fn from(chunk: Chunk) -> Self {
        match chunk {
            Chunk::Data { id, bytes } => Self::Data { id, fin: false, payload: bytes },
            Chunk::End { id } => Self::Data { id, fin: true, payload: Bytes::new() },
        }
    }
}

/// Writes frames. One per connection: header compression remembers what was sent.
pub struct Encoder(Deflater);

impl Default for Encoder {
    fn default() -> Self {
        Self(Deflater::new())
    }
}

impl Encoder {
    /// Appends the bytes of `frame` to `out`.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) {
        match frame {
            Frame::SynStream { id, fin, headers } => {
                let block = self.0.deflate(headers);
                put_control(out, SYN_STREAM, *fin, 10 + block.len());
                out.put_u32(*id);
                // No associated stream, priority 0, slot 0.
                out.put_slice(&[0; 6]);
                out.put_slice(&block);
            }
            Frame::SynReply { id, fin, headers } => self.put_headers(out, SYN_REPLY, (*id, *fin), headers),
            Frame::Headers { id, fin, headers } => self.put_headers(out, HEADERS, (*id, *fin), headers),
            Frame::RstStream { id, status } => put_words(out, RST_STREAM, &[*id, *status]),
            Frame::Ping(id) => put_words(out, PING, &[*id]),
            Frame::GoAway { last_good, status } => put_words(out, GOAWAY, &[*last_good, *status]),
            Frame::WindowUpdate { id, delta } => put_words(out, WINDOW_UPDATE, &[*id, *delta]),
            Frame::Settings(list) => {
                put_control(out, SETTINGS, false, 4 + 8 * list.len());
                out.put_u32(list.len() as u32);
                for (id, value) in list {
                    out.put_u32(*id);
                    out.put_u32(*value);
                }
            }
            Frame::Data { id, fin, payload } => {
                out.put_u32(id & ID_MASK);
                put_flags_and_length(out, *fin, payload.len());
                out.put_slice(payload);
            }
        }
    }

    fn put_headers(&mut self, out: &mut BytesMut, kind: u16, (id, fin): (u32, bool), headers: &Headers) {
        let block = self.0.deflate(headers);
        put_control(out, kind, fin, 4 + block.len());
        out.put_u32(id);
        out.put_slice(&block);
    }
}

fn put_control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u32(CONTROL | u32::from(VERSION) << 16 | u32::from(kind));
    put_flags_and_length(out, fin, length);
}

fn put_flags_and_length(out: &mut BytesMut, fin: bool, length: usize) {
    debug_assert!(length < 1 << 24, "senders cut their data into chunks");
    out.put_u32(u32::from(fin) << 24 | length as u32);
}

fn put_words(out: &mut BytesMut, kind: u16, words: &[u32]) {
    put_control(out, kind, false, 4 * words.len());
    words.iter().for_each(|word| out.put_u32(*word));
}

/// Reads frames. One per connection: header compression remembers what was received.
pub struct Decoder {
    inflater: Inflater,
    /// The data frame whose payload is being read.
    data: Option<PendingData>,
}

struct PendingData {
    id: u32,
    fin: bool,
    remaining: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { inflater: Inflater::new(), data: None }
    }
}

impl Decoder {
    /// Takes the next frame, or the next piece of a data frame, off the front of `buffer`; none if more bytes are
    /// needed. After an error the connection is of no more use.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(data) = self.data.take() {
                return Ok(self.decode_data(data, buffer));
            }
            let Some(mut head) = buffer.get(..HEADER_BYTES) else { return Ok(None) };
            let (first, second) = (head.get_u32(), head.get_u32());
            let (flags, length) = ((second >> 24) as u8, (second & 0xff_ffff) as usize);
            if first & CONTROL == 0 {
                buffer.advance(HEADER_BYTES);
                self.data = Some(PendingData { id: first, fin: flags & FLAG_FIN != 0, remaining: length });
                continue;
            }
            if length > MAX_CONTROL_BYTES {
                return Err(Error::Spdy("a control frame is too large"));
            }
            if (first >> 16 & 0x7fff) as u16 != VERSION {
                return Err(Error::Spdy("a control frame of another version than 3"));
            }
            if buffer.len() < HEADER_BYTES + length {
                return Ok(None);
            }
            buffer.advance(HEADER_BYTES);
            let payload = buffer.split_to(length).freeze();
            if let Some(frame) = self.decode_control(first as u16, flags & FLAG_FIN != 0, payload)? {
                return Ok(Some(frame));
            }
        }
    }

    fn decode_data(&mut self, mut data: PendingData, buffer: &mut BytesMut) -> Option<Frame> {
        if buffer.is_empty() && data.remaining > 0 {
            self.data = Some(data);
            return None;
        }
        let payload = buffer.split_to(data.remaining.min(CHUNK_BYTES).min(buffer.len())).freeze();
        data.remaining -= payload.len();
        let (id, last) = (data.id, data.remaining == 0);
        let fin = last && data.fin;
        if !last {
            self.data = Some(data);
        }
        Some(Frame::Data { id, fin, payload })
    }

    /// The control frame, or none if it is of an unknown kind: those are to be ignored.
    fn decode_control(&mut self, kind: u16, fin: bool, mut payload: Bytes) -> Result<Option<Frame>, Error> {
        let payload = &mut payload;
        Ok(Some(match kind {
            SYN_STREAM => {
                let id = take_id(payload)?;
                if payload.len() < 6 {
                    return Err(SHORT);
                }
                payload.advance(6);
                Frame::SynStream { id, fin, headers: self.inflater.inflate(payload)? }
            }
            SYN_REPLY => {
                let id = take_id(payload)?;
                Frame::SynReply { id, fin, headers: self.inflater.inflate(payload)? }
            }
            HEADERS => {
                let id = take_id(payload)?;
                Frame::Headers { id, fin, headers: self.inflater.inflate(payload)? }
            }
            RST_STREAM => Frame::RstStream { id: take_id(payload)?, status: take(payload)? },
            PING => Frame::Ping(take(payload)?),
            GOAWAY => Frame::GoAway { last_good: take_id(payload)?, status: take(payload)? },
            WINDOW_UPDATE => Frame::WindowUpdate { id: take_id(payload)?, delta: take(payload)? },
            SETTINGS => Frame::Settings(take_settings(payload)?),
            _ => return Ok(None),
        }))
    }
}

const SHORT: Error = Error::Spdy("a control frame ends too early");

fn take(payload: &mut Bytes) -> Result<u32, Error> {
    payload.try_get_u32().map_err(|_| SHORT)
}

fn take_id(payload: &mut Bytes) -> Result<u32, Error> {
    Ok(take(payload)? & ID_MASK)
}

fn take_settings(payload: &mut Bytes) -> Result<Vec<(u32, u32)>, Error> {
    let count = take(payload)? as usize;
    if payload.len() != count.saturating_mul(8) {
        return Err(SHORT);
    }
    (0..count).map(|_| Ok((take(payload)?, take(payload)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> Headers {
        [("streamtype", "stdin"), ("port", "80")].into_iter().collect()
    }

    /// Encodes `frames` on one connection, then decodes them from pieces of `step` bytes.
    fn round_trip(frames: &[Frame], step: usize) -> Vec<Frame> {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| encoder.encode(frame, &mut bytes));
        let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut buffer).expect("own frames") {
                got.push(frame);
            }
        }
        assert!(buffer.is_empty());
        got
    }

    #[test]
    fn every_frame_comes_back() {
        let frames = [
            Frame::SynStream { id: 1, fin: false, headers: headers() },
            Frame::SynReply { id: 1, fin: true, headers: Headers::default() },
            Frame::RstStream { id: 7, status: CANCEL },
            Frame::Settings(vec![(4, 100)]),
            Frame::Ping(9),
            Frame::GoAway { last_good: 3, status: 0 },
            Frame::Headers { id: 3, fin: false, headers: headers() },
            Frame::WindowUpdate { id: 3, delta: 65536 },
            Frame::Data { id: 3, fin: false, payload: Bytes::from_static(b"x") },
            Frame::Data { id: 3, fin: true, payload: Bytes::new() },
        ];
        assert_eq!(round_trip(&frames, 1), frames);
        assert_eq!(round_trip(&frames, usize::MAX), frames);
    }

    #[test]
    fn large_data_comes_in_pieces_and_ends_once() {
        let payload = Bytes::from(vec![7; 100_000]);
        let got = round_trip(&[Frame::Data { id: 5, fin: true, payload: payload.clone() }], 1000);
        let mut all = BytesMut::new();
        for (index, frame) in got.iter().enumerate() {
            let Frame::Data { id: 5, fin, payload } = frame else { panic!("{frame:?}") };
            assert_eq!(*fin, index == got.len() - 1);
            all.extend_from_slice(payload);
        }
        assert_eq!(all, payload);
    }

    #[test]
    fn bad_frames() {
        let check = |bytes: &[u8], want: &str| {
            let got = Decoder::default().decode(&mut BytesMut::from(bytes));
            assert!(matches!(&got, Err(Error::Spdy(reason)) if *reason == want), "{bytes:x?}: {got:?}");
        };
        check(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff], "a control frame is too large");
        check(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], "a control frame of another version than 3");
        check(&[0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0], "a control frame ends too early");
        check(&[0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff], "a control frame ends too early");
        check(&[0x80, 3, 0, 2, 0, 0, 0, 6, 0, 0, 0, 1, 1, 2], "a header block cannot be inflated");
    }

    #[test]
    fn unknown_control_frames_are_skipped() {
        let mut bytes = BytesMut::from(&[0x80, 3, 0, 99, 0, 0, 0, 1, 42, 0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1][..]);
        assert_eq!(Decoder::default().decode(&mut bytes).expect("known frame"), Some(Frame::Ping(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
            for piece in pieces {
                buffer.extend_from_slice(&piece);
                while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
            }
        }

        /// The same with a plausible head, so that the payload parsers are reached.
        #[test]
        fn no_control_frame_panics(kind in 0u8..12, flags: u8, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&[0x80, 3, 0, kind, flags, 0, 0, payload.len() as u8][..]);
            buffer.extend_from_slice(&payload);
            let mut decoder = Decoder::default();
            while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
        }
    }
}
