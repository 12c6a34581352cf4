//! What a connection carries: so that one that carries nothing does not keep its place for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use http_body::{Body, Frame, SizeHint};

/// The requests of one connection.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests that came, and answers that were given.
    seen: AtomicU64,
    under_way: AtomicU64,
}

/// A request, until the last byte of its answer is gone.
#[derive(Debug)]
pub struct UnderWay(Arc<Counts>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.seen.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UnderWay {
    /// The answer to the request; this one goes when its body does.
    pub fn until_sent<B>(self, response: Response<B>) -> Response<Counted<B>> {
        response.map(|body| Counted { body, _under_way: self })
    }
}

/// The body of an answer, which counts as under way until it goes.
#[derive(Debug)]
pub struct Counted<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Traffic {
    /// A request has come.
    pub fn begin(&self) -> UnderWay {
        self.0.seen.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }

    /// Returns when nothing came or was under way for `first`, or later for at least `idle`, and at most twice that.
    pub async fn ceased(&self, first: Duration, idle: Duration) {
        let (mut seen, mut pause) = (self.0.seen.load(Ordering::Relaxed), first);
        loop {
            tokio::time::sleep(pause).await;
            let now = self.0.seen.load(Ordering::Relaxed);
            if now == seen && self.0.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
            (seen, pause) = (now, idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::time::Instant;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(90);

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_noticed_and_who_still_gets_an_answer_is_not() {
        let begin = Instant::now();
        let traffic = Traffic::default();
        traffic.ceased(FIRST, IDLE).await;
        assert_eq!(begin.elapsed(), FIRST);

        let begin = Instant::now();
        let answer = traffic.begin().until_sent(Response::new(Empty::<bytes::Bytes>::new()));
        let ceased = traffic.ceased(FIRST, IDLE);
        tokio::pin!(ceased);
        let long = Duration::from_secs(3600);
        tokio::time::timeout(long, ceased.as_mut()).await.unwrap_err();
        assert_eq!(answer.body().size_hint().exact(), Some(0), "its length is still told");
        drop(answer);
        ceased.await;
        assert!((long + IDLE..=long + 2 * IDLE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }
}
