//! What can go wrong in the runtime, and how it reads on the wire.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::{Code, Status};

use crate::{apparmor, images, shims, spec};

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
        "image {0:?} is not present; \
         pull it with `sampan image pull {0}` or import it with `sampan image import PATH --name {0}`"
    )]
    ImageMissing(String),
    /// Something about images.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// The same, told to everybody who waited for one pull.
    #[error(transparent)]
    Pull(Arc<images::Error>),
    /// The container cannot be specified.
    #[error("container specification: {0}")]
    Spec(#[from] spec::Error),
    /// The container cannot be confined.
    #[error(transparent)]
    AppArmor(#[from] apparmor::Error),
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

fn image_code(error: &images::Error) -> Code {
    use images::{Error as Image, RegistryError as Registry};
    match error {
        Image::Resolve { source, .. } | Image::Pull { source, .. } => match source {
            Registry::NotFound(_) => Code::NotFound,
            Registry::Denied(_) => Code::PermissionDenied,
            _ => Code::Unknown,
        },
        Image::Reference(_) | Image::Credentials(_) => Code::InvalidArgument,
        _ => Code::Unknown,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound { .. } | Error::ImageMissing(_) => Code::NotFound,
            Error::Invalid(_) | Error::Spec(_) => Code::InvalidArgument,
            Error::State(_) => Code::FailedPrecondition,
            Error::Timeout(_) => Code::DeadlineExceeded,
            Error::Image(error) => image_code(error),
            Error::Pull(error) => image_code(error),
            _ => Code::Unknown,
        };
        Self::new(code, error.to_string())
    }
}
