//! Objects that only exist below others.

use serde_json::Value;

use super::cursor::{Cursor, check};
use crate::field::Error;

/// The bounds of a token's life.
const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;

/// The faults of an `autoscaling/v1 Scale`.
pub fn scale(scale: &Value) -> Vec<Error> {
    check(scale, |scale| scale.get("spec").get("replicas").non_negative())
}

/// The faults of a `TokenRequest`.
pub fn token_request(request: &Value) -> Vec<Error> {
    check(request, |request| token_seconds(&request.get("spec").get("expirationSeconds")))
}

/// How long a token may be wanted for.
pub(super) fn token_seconds(seconds: &Cursor<'_>) {
    match seconds.int() {
        Some(..MIN_TOKEN_SECONDS) => seconds.invalid("may not specify a duration less than 10 minutes"),
        Some(number) if number > MAX_TOKEN_SECONDS => {
            seconds.invalid("may not specify a duration larger than 2^32 seconds");
        }
        _ => {}
    }
}
