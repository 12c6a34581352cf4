//! Why a controller could not carry out a plan.

use sampan_client::Key;

/// A failed reconciliation. It is tried again with back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached while doing `what`.
    #[error("{what}: {}", words(source))]
    Api {
        /// What was being done.
        what: String,
        /// The server's answer.
        source: kube::Error,
    },
    /// An object cannot be reconciled as it is; trying again changes nothing until it is edited.
    #[error("{key}: {why}")]
    Invalid {
        /// Which object.
        key: Key,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Wraps the API's answer with what was being done.
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { what: what.into(), source }
    }

    /// Whether the object was written by someone else meanwhile: its informer will bring the news.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// What the API server said, without the client's wrapping.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Lets a 404 pass: what was to be changed or deleted is gone already.
pub(crate) fn allow_missing<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
