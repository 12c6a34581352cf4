//! What an answer leaves unread of its request.
//!
//! An answer may be there before its request has ended: a refusal, or the answer of somebody behind a proxy who has heard
//! enough. A client that is still sending must not be cut off for that. On HTTP/2 its stream would be reset right behind
//! the answer, and clients lose answers over that (Go's reverse proxy does, so `kubectl proxy` did); on HTTP/1.1 the
//! connection would be closed. So what is left is read and thrown away: not much of it, not for long, and not for many at
//! a time. Who sends more is cut off.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{Request, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::MAX_BODY_BYTES;

/// How long the end of a body is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bodies whose ends are waited for at a time.
const MAX_BODIES: usize = 1024;

/// Reads bodies to their ends when nobody else does.
#[derive(Clone)]
pub(super) struct Drain {
    /// Where that is done.
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Drain {
    /// On tasks that belong to `tasks`.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { tasks, room: Arc::new(Semaphore::new(MAX_BODIES)) }
    }

    /// The same request; what nobody reads of its body is drained. A client that asked whether to send its body at all
    /// (`Expect`) has its answer, and sends none.
    pub(super) fn behind<B>(&self, request: Request<B>) -> Request<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Unpin + Send + 'static,
    {
        let asks_first = request.version() < Version::HTTP_2 && request.headers().contains_key(header::EXPECT);
        request.map(|body| match body.is_end_stream() || asks_first {
            true => Body::new(body),
            false => Body::new(Unread { body: Some(body), drain: self.clone() }),
        })
    }

    fn read_to_end(&self, mut body: impl HttpBody<Data = Bytes> + Unpin + Send + 'static) {
        let (Ok(place), Ok(runtime)) = (Arc::clone(&self.room).try_acquire_owned(), Handle::try_current()) else {
            return;
        };
        let rest = async move {
            let mut left = MAX_BODY_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
                left = less;
            }
            drop(place);
        };
        self.tasks.spawn_on(async move { drop(tokio::time::timeout(PATIENCE, rest).await) }, &runtime);
    }
}

/// A body that may be dropped before its end.
struct Unread<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> {
    /// `None` once it has ended.
    body: Option<B>,
    drain: Drain,
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> HttpBody for Unread<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> Drop for Unread<B> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            self.drain.read_to_end(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    fn request<S>(frames: S) -> Request<StreamBody<S>>
    where
        S: futures::Stream<Item = Result<Frame<Bytes>, Infallible>>,
    {
        Request::new(StreamBody::new(frames))
    }

    /// A body of which as many pieces are taken as are counted.
    fn counted(
        pieces: usize,
    ) -> (mpsc::UnboundedReceiver<()>, impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>>) {
        let (taken, count) = mpsc::unbounded_channel();
        let frames = stream::iter(0..pieces).map(move |_| {
            let _ = taken.send(());
            Ok(Frame::data(Bytes::from_static(&[0; 64 << 10])))
        });
        (count, frames)
    }

    /// How many pieces of `frames` are taken when an answer has read `read` of them.
    async fn taken(pieces: usize, read: usize) -> usize {
        let drain = Drain::new(TaskTracker::new());
        let (mut count, frames) = counted(pieces);
        let mut body = drain.behind(request(frames)).into_body();
        for _ in 0..read {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        drain.tasks.close();
        drain.tasks.wait().await;
        let mut taken = 0;
        while count.recv().await.is_some() {
            taken += 1;
        }
        taken
    }

    #[tokio::test]
    async fn what_is_left_is_read() {
        assert_eq!(taken(10, 0).await, 10);
        assert_eq!(taken(10, 3).await, 10);
        assert_eq!(taken(0, 0).await, 0);
    }

    #[tokio::test]
    async fn not_without_end() {
        assert_eq!(taken(usize::MAX, 1).await, 1 + MAX_BODY_BYTES / (64 << 10) + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn not_for_long_and_not_for_many() {
        let drain = Drain::new(TaskTracker::new());
        let start = Instant::now();
        for _ in 0..MAX_BODIES + 10 {
            drop(drain.behind(request(stream::pending())));
        }
        assert_eq!(drain.tasks.len(), MAX_BODIES);
        drain.tasks.close();
        drain.tasks.wait().await;
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn who_asks_first_is_not_waited_for() {
        let drain = Drain::new(TaskTracker::new());
        let mut asking = request(stream::pending());
        asking.headers_mut().insert(header::EXPECT, http::HeaderValue::from_static("100-continue"));
        drop(drain.behind(asking));
        assert!(drain.tasks.is_empty());
    }
}
