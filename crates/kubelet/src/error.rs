//! What can go wrong in the kubelet, said so that a person reading an event or the log knows what failed.

use std::path::{Path, PathBuf};

/// Why the kubelet could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container runtime's socket does not answer.
    #[error(transparent)]
    Connect(#[from] sampan_cri::Error),
    /// The container runtime refused or failed a call. The text is the runtime's own, as users know it from events.
    #[error("{}", source.message())]
    Runtime {
        /// The CRI method.
        call: &'static str,
        /// The runtime's answer.
        source: Box<tonic::Status>,
    },
    /// The container runtime did not answer in time.
    #[error("{call}: the container runtime did not answer within {seconds} s")]
    RuntimeTimeout {
        /// The CRI method.
        call: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The API server refused or failed a request.
    #[error("{doing}: {source}")]
    Api {
        /// What was being done.
        doing: &'static str,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// A file, directory or mount could not be made, read or removed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// An object that a Pod names does not exist, or lacks a key.
    #[error("{0}")]
    Missing(String),
    /// A Pod asks for something that cannot be given as it is written.
    #[error("{0}")]
    Config(String),
    /// The volume could not be set up.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Volume {
        /// The volume's name in the Pod.
        volume: String,
        /// Why.
        source: Box<Error>,
    },
    /// The kubelet's own HTTPS API could not be served.
    #[error("serving the kubelet API: {0}")]
    Serve(std::io::Error),
}

impl Error {
    /// Wraps an I/O error with what was being done to `path`; for `map_err`.
    pub(crate) fn io<E: Into<std::io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source: source.into() }
    }

    /// Wraps a client error with what was being done; for `map_err`.
    pub(crate) fn api(doing: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { doing, source: Box::new(source) }
    }
}
