//! The Container Runtime Interface, version 1: generated types, client and server skeleton.
//!
//! `v1` is the wire contract (`proto/cri-v1.proto`). [`connect`] opens a client channel on a runtime's unix
//! socket; the embedded runtime serves the same contract, so `crictl` and containerd fit on either side.

/// Generated from the CRI v1 wire contract.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

mod psi;

use std::path::{Path, PathBuf};

use tonic::transport::{Channel, Endpoint, Uri};

/// A message may carry the status of every container of a node: 16 MiB, as upstream's kubelet allows.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Why no channel to the runtime could be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers on the socket.
    #[error("connecting to the container runtime on {path}: {source}")]
    Connect {
        /// The socket that was tried.
        path: PathBuf,
        /// What the transport said.
        source: tonic::transport::Error,
    },
}

/// Opens a channel to the runtime that listens on the unix socket `path`. It reconnects by itself.
pub async fn connect(path: &Path) -> Result<Channel, Error> {
    let socket = path.to_path_buf();
    Endpoint::from_static("http://cri.invalid")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(socket).await?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
            }
        }))
        .await
        .map_err(|source| Error::Connect { path: path.to_path_buf(), source })
}
