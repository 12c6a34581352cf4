//! Bodies, in and out, bounded.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use sampan_api::status::Status;

use crate::forms::Wanted;

/// No request body is larger.
pub(crate) const MAX_BODY_BYTES: usize = 3 << 20;

/// Reads a request's body; 413 if it is too large.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY_BYTES)),
        Err(error) => Err(Status::bad_request(format!("the body cannot be read: {error}"))),
    }
}

/// A refusal as a response, in the encoding that the client reads.
pub(crate) fn reply_status(status: &Status, wanted: &Wanted) -> Response<Body> {
    let json = Bytes::from(status.to_json());
    // A Status has every form; should one fail after all, there is JSON.
    let (wanted, body) = match wanted.bytes(json.clone()) {
        Ok(body) => (wanted.clone(), body),
        Err(_) => (Wanted::json(), json),
    };
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = wanted.response(code, Ok(body));
    if let Some(seconds) = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|seconds| *seconds > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
