//! How a server takes its connections: what a client may have it hold is bounded.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

/// Bytes of a request's headers.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// Concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 250;
/// Streams that a client may reset before they were looked at (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 50;

/// A server of HTTP/1.1 and HTTP/2 whose clients have `headers` to send a request's headers.
pub fn server(headers: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .max_buf_size(MAX_HEADER_BYTES as usize)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(15));
    builder
}
