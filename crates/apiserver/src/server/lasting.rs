//! Answers without a foreseeable end: bounded in number, counted while they last, and over when the server stops.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use sampan_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::metrics::Open;

/// Watches and other answers without an end at a time; each takes memory for as long as its client likes.
const MAX_LASTING: usize = 32_768;

/// The room for such answers.
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LASTING)))
    }
}

struct Lasting {
    body: Body,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: Option<Open>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// The same answer, which counts as `open` until it ends, or until `stop`; 429 if there are too many. A switch of
    /// protocols is no body; its streams are bounded and ended by whoever carries them.
    pub(super) fn begin(
        &self,
        response: Response<Body>,
        stop: &CancellationToken,
        open: Option<Open>,
    ) -> Result<Response<Body>, Status> {
        if response.status().is_informational() {
            return Ok(response);
        }
        let permit = Arc::clone(&self.0).try_acquire_owned();
        let permit = permit.map_err(|_| Status::too_many_requests("Too many requests, please try again later.", 1))?;
        let stop = Box::pin(stop.clone().cancelled_owned());
        Ok(response.map(|body| Body::new(Lasting { body, stop, _open: open, _permit: permit })))
    }
}

impl http_body::Body for Lasting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
