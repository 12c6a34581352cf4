//! `/openapi/v2` and `/openapi/v3`: the schema documents, made once when someone first asks.

use sampan_api::status::Status;

use crate::server::{Answer, Call};

/// The documents.
#[derive(Default)]
pub(crate) struct OpenApi {}

impl OpenApi {
    /// Answers a path under `/openapi`.
    pub(crate) fn answer(&self, _path: &str, _call: &Call) -> Answer {
        Err(Status::no_such_path())
    }
}
