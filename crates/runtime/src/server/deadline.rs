//! A caller's deadline, `grpc-timeout`: a call that has not been answered by then is answered DEADLINE_EXCEEDED.
//!
//! tonic keeps the deadline too, and answers CANCELLED, which tells a caller that somebody gave up, not that its time is
//! over. It starts its clock after this one, and asks what is inside before it looks at it: this answer comes first.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// A service whose calls end at their callers' deadlines.
#[derive(Clone)]
pub(super) struct Deadlines<S>(pub(super) S);

impl<S> Service<Request<Body>> for Deadlines<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let over = time_left(request.headers()).map(tokio::time::sleep);
        let answer = self.0.call(request);
        let Some(over) = over else { return Box::pin(answer) };
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                () = over => Ok(Status::deadline_exceeded("context deadline exceeded").into_http()),
            }
        })
    }
}

/// What `grpc-timeout` says: at most eight digits and a unit. Nothing when there is none, or not such a one.
fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(amount),
        "M" => Duration::from_mins(amount),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tonic::transport::Server;

    use super::*;

    #[test]
    fn reads_what_a_caller_may_say() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("10S", Some(Duration::from_secs(10))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("500u", Some(Duration::from_micros(500))),
            ("0n", Some(Duration::ZERO)),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("+1S", None),
            ("1", None),
            ("1h", None),
        ] {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]);
            assert_eq!(time_left(&headers), expected, "{text:?}");
        }
        assert_eq!(time_left(&HeaderMap::new()), None);
    }

    /// A service that never answers.
    #[derive(Clone)]
    struct Silent;

    impl tonic::server::NamedService for Silent {
        const NAME: &str = "test.Silent";
    }

    impl Service<Request<Body>> for Silent {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::pending()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_time_is_over_is_told_so_and_not_that_somebody_gave_up() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let server = Server::builder()
            .layer(tower::layer::layer_fn(Deadlines))
            .add_service(Silent)
            .serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(theirs)));
        let (mut caller, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
        let (server, connection) = (tokio::spawn(server), tokio::spawn(connection));
        let request = Request::post("http://runtime/test.Silent/Ask")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "700m")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = caller.send_request(request).await.unwrap();
        let told = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((told("grpc-status"), told("grpc-message")), ("4".into(), "context%20deadline%20exceeded".into()));
        server.abort();
        connection.abort();
    }
}
