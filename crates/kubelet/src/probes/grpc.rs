//! Probing with the gRPC health protocol (grpc.health.v1): SERVING is good.

use std::time::Duration;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::{Answer, tcp};

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// The one status that is good.
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) async fn ask(host: &str, port: i32, service: &str, timeout: Duration) -> Answer {
    let Ok(port) = u16::try_from(port) else { return Answer::Error(format!("invalid port number: {port}")) };
    let address = tcp::address(host, port);
    match tokio::time::timeout(timeout, check(&address, service)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Bad(format!("timeout: failed to connect service {address:?} within {timeout:?}")),
    }
}

async fn check(address: &str, service: &str) -> Answer {
    let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
        Ok(endpoint) => endpoint,
        Err(error) => return Answer::Error(error.to_string()),
    };
    let Ok(channel) = endpoint.connect().await else {
        return Answer::Bad(format!("error: this server does not answer: {address}"));
    };
    let mut client = Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Answer::Bad(error.to_string());
    }
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    match client.unary(request, PathAndQuery::from_static(CHECK), codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Answer::Good,
        Ok(answer) => {
            Answer::Bad(format!("service unhealthy (responded with {})", status_name(answer.get_ref().status)))
        }
        Err(status) if status.code() == Code::Unimplemented => Answer::Bad(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
        ),
        Err(status) => Answer::Bad(format!("error: health rpc probe failed: {status}")),
    }
}

fn status_name(status: i32) -> String {
    match status {
        0 => "\"UNKNOWN\"".to_owned(),
        2 => "\"NOT_SERVING\"".to_owned(),
        3 => "\"SERVICE_UNKNOWN\"".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use futures::future::{BoxFuture, Ready, ready};
    use tonic::body::Body;
    use tonic::server::{NamedService, UnaryService};
    use tonic::transport::Server;
    use tonic::{Response, Status};

    use super::*;

    /// A server whose health depends on the service that is asked for: a number is its status.
    #[derive(Clone)]
    struct Health;

    impl NamedService for Health {
        const NAME: &'static str = "grpc.health.v1.Health";
    }

    impl tower::Service<http::Request<Body>> for Health {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            Box::pin(async move {
                let codec: ProstCodec<HealthCheckResponse, HealthCheckRequest> = ProstCodec::default();
                Ok(tonic::server::Grpc::new(codec).unary(Self, request).await)
            })
        }
    }

    impl UnaryService<HealthCheckRequest> for Health {
        type Response = HealthCheckResponse;
        type Future = Ready<Result<Response<HealthCheckResponse>, Status>>;

        fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
            let status = request.get_ref().service.parse().map_err(|_| Status::not_found("unknown service"));
            ready(status.map(|status| Response::new(HealthCheckResponse { status })))
        }
    }

    #[tokio::test]
    async fn health_is_asked_by_service() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = i32::from(listener.local_addr().unwrap().port());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tokio::spawn(Server::builder().add_service(Health).serve_with_incoming(incoming));
        let second = Duration::from_secs(1);
        assert_eq!(ask("127.0.0.1", port, "1", second).await, Answer::Good);
        let text = "service unhealthy (responded with \"NOT_SERVING\")";
        assert_eq!(ask("127.0.0.1", port, "2", second).await, Answer::Bad(text.to_owned()));
        let Answer::Bad(text) = ask("127.0.0.1", port, "nope", second).await else { panic!("unknown is not good") };
        assert!(text.contains("unknown service"), "{text}");
        server.abort();
        assert!(matches!(ask("127.0.0.1", 1, "", second).await, Answer::Bad(_)));
    }
}
