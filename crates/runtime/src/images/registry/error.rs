//! Why a registry did not bring what was asked for, in the words that containerd has for it where it has any.

use std::io;
use std::path::PathBuf;

/// What went wrong, at which place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry does not know it.
    #[error("{0}: not found")]
    NotFound(String),
    /// The registry wants to see other credentials, or any.
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Denied(String),
    /// No answer.
    #[error("failed to do request: {method} {url:?}: {reason}")]
    Request {
        /// GET, HEAD or POST.
        method: String,
        /// What was asked, without its query.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// An answer nobody expects.
    #[error("unexpected status from {method} request to {url}: {status}")]
    Status {
        /// GET, HEAD or POST.
        method: String,
        /// What was asked, without its query.
        url: String,
        /// The answer.
        status: http::StatusCode,
    },
    /// A transfer that ended early or stands still.
    #[error("reading {what}: {reason}")]
    Transfer {
        /// What was being transferred.
        what: String,
        /// How it ended.
        reason: String,
    },
    /// The answer is not what it has to be.
    #[error("{what}: {reason}")]
    Content {
        /// A digest, or a URL.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes are others than those that were promised.
    #[error("unexpected digest {actual}, expected {expected}")]
    Digest {
        /// The declared digest.
        expected: String,
        /// The real one.
        actual: String,
    },
    /// The settings of a registry cannot be used.
    #[error("{path}: {reason}")]
    Hosts {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// The credentials cannot be used.
    #[error("credentials: {0}")]
    Credentials(String),
    /// This machine refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }

    pub(super) fn content(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Content { what: what.into(), reason: reason.into() }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Transfer { .. } => true,
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            _ => false,
        }
    }
}
