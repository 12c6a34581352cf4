//! What can go wrong in the runtime, and how it reads on the wire.

use std::io;
use std::path::{Path, PathBuf};

use tonic::{Code, Status};

use crate::{images, shims, spec};

/// Why the runtime could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{kind} {id:?} not found")]
    NotFound {
        /// Sandbox, container or image.
        kind: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The request makes no sense by itself.
    #[error("{0}")]
    Invalid(String),
    /// The request does not fit the state of what it names.
    #[error("{0}")]
    State(String),
    /// The image is not here, and is not fetched by itself.
    #[error(
        "image {0:?} is not present and pulling from registries is not supported; \
         import it with `sampan image import PATH --name {0}`"
    )]
    ImageMissing(String),
    /// Something about images.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// The container cannot be specified.
    #[error("container specification: {0}")]
    Spec(#[from] spec::Error),
    /// The Pod's shim refused, or is gone; the words are the shim's.
    #[error("{0}")]
    Shim(String),
    /// The network refused.
    #[error("network of the sandbox: {0}")]
    Network(#[from] sampan_network::Error),
    /// A command did not end in time.
    #[error("{0}")]
    Timeout(String),
    /// The system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another runtime holds the same state.
    #[error("{0} is in use by another sampan; stop it first, or choose another state directory")]
    InUse(PathBuf),
}

/// The result of what the runtime does.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }

    pub(crate) fn io_at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { doing: format!("{doing} {}", path.display()), source }
    }

    pub(crate) fn not_found(kind: &'static str, id: &str) -> Self {
        Self::NotFound { kind, id: id.to_owned() }
    }
}

impl From<shims::Error> for Error {
    fn from(error: shims::Error) -> Self {
        Self::Shim(error.to_string())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound { .. } | Error::ImageMissing(_) => Code::NotFound,
            Error::Invalid(_) | Error::Spec(_) | Error::Image(images::Error::Reference(_)) => Code::InvalidArgument,
            Error::State(_) => Code::FailedPrecondition,
            Error::Timeout(_) => Code::DeadlineExceeded,
            _ => Code::Unknown,
        };
        Self::new(code, error.to_string())
    }
}
