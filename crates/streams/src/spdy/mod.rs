//! SPDY/3.1 as client-go speaks it (kubectl before 1.31, and port-forward to this day).
//!
//! [`Decoder`] and [`Encoder`] turn bytes into [`Frame`]s and back, without a connection. [`Connection`] multiplexes
//! [`Stream`]s over one, as server or as client.
//!
//! Flow control follows moby/spdystream, the library behind client-go: it neither sends nor honours WINDOW_UPDATE, so
//! nor does this; a slow reader holds the whole connection back instead. Everything a peer can make us keep is
//! bounded: frames, header blocks, streams, unread data.

mod connection;
mod frame;
mod header;
mod stream;

pub use connection::{Connection, Driver, Role};
pub use frame::{Decoder, Encoder, Frame};
pub use header::Headers;
pub use stream::Stream;
