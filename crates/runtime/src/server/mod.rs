//! CRI over gRPC: each method finds its argument, calls what does the work, and puts the result into a message.

mod archive;
mod deadline;
mod images;
mod runtime;

use std::sync::Arc;

use sampan_cri::MAX_MESSAGE_BYTES;
use sampan_cri::v1::image_service_server::ImageServiceServer;
use sampan_cri::v1::runtime_service_server::RuntimeServiceServer;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::deadline::Deadlines;
use crate::archive::image_archive_server::ImageArchiveServer;
use crate::node::Node;
use crate::streaming::Urls;

/// The services' common state.
#[derive(Clone)]
pub(crate) struct Service {
    node: Arc<Node>,
    urls: Urls,
    stop: CancellationToken,
}

/// Serves `listener` until `stop`.
pub(crate) async fn serve(
    node: Arc<Node>,
    urls: Urls,
    listener: UnixListener,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = Service { node, urls, stop: stop.clone() };
    let limit = MAX_MESSAGE_BYTES;
    tonic::transport::Server::builder()
        .layer(tower::layer::layer_fn(Deadlines))
        .add_service(
            RuntimeServiceServer::new(service.clone())
                .max_decoding_message_size(limit)
                .max_encoding_message_size(limit),
        )
        .add_service(
            ImageServiceServer::new(service.clone()).max_decoding_message_size(limit).max_encoding_message_size(limit),
        )
        .add_service(ImageArchiveServer::new(service))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
        .await
}

/// A field that a request cannot do without.
fn required<T>(field: Option<T>, name: &str) -> Result<T, Status> {
    field.ok_or_else(|| Status::invalid_argument(format!("{name} is required")))
}

/// A whole list as a stream of one message, or of none when it is empty.
fn once<T, I>(items: Vec<I>, message: impl FnOnce(Vec<I>) -> T) -> Result<tonic::Response<Listed<T>>, Status> {
    let message = (!items.is_empty()).then(|| Ok(message(items)));
    Ok(tonic::Response::new(tokio_stream::iter(message)))
}

/// The stream that [`once`] makes.
type Listed<T> = tokio_stream::Iter<std::option::IntoIter<Result<T, Status>>>;
