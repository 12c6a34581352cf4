//! Large answers: their seat is theirs until the client has taken them, so that slow readers of long lists hold no more
//! memory than there are seats.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;

use super::chain::REQUEST_DEADLINE;
use crate::flowcontrol::Seat;

/// Smaller answers are out of the way as soon as they are made.
const LARGE_BYTES: u64 = 1 << 20;
/// What is handed over at a time: the seat is free when the last of these is.
const CHUNK_BYTES: usize = 256 << 10;

struct Held {
    body: Body,
    /// What is left of the body's last frame.
    rest: Bytes,
    deadline: Pin<Box<Sleep>>,
    _seat: Seat,
}

/// The same answer, which keeps the seat while it is being sent if it is large. A client that does not take it in time is
/// cut off.
pub(super) fn until_sent(response: Response<Body>, seat: Seat) -> Response<Body> {
    if response.body().size_hint().lower() < LARGE_BYTES {
        return response;
    }
    let deadline = Box::pin(tokio::time::sleep(REQUEST_DEADLINE));
    response.map(|body| Body::new(Held { body, rest: Bytes::new(), deadline, _seat: seat }))
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new("the client did not take the answer in time"))));
        }
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        let chunk = self.rest.len().min(CHUNK_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut left = SizeHint::new();
        left.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            left.set_upper(upper + rest);
        }
        left
    }
}
