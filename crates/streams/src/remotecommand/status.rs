//! How a session ended, as the client reads it from the error stream.

use serde_json::{Value, json};

use crate::BoxError;

/// The exit code of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

impl ExitStatus {
    /// The process ended well, or there was none to end (attach).
    pub const SUCCESS: Self = Self(0);
}

/// How the error stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusForm {
    /// A `Status` object (v4 and later).
    Json,
    /// Nothing on success, else the message (before v4).
    Text,
}

impl StatusForm {
    pub(super) fn encode(self, outcome: &Result<ExitStatus, BoxError>) -> Vec<u8> {
        match (self, outcome) {
            (Self::Json, outcome) => status(outcome).to_string().into_bytes(),
            (Self::Text, Ok(ExitStatus::SUCCESS)) => Vec::new(),
            (Self::Text, outcome) => message(outcome).into_bytes(),
        }
    }
}

fn message(outcome: &Result<ExitStatus, BoxError>) -> String {
    match outcome {
        Ok(ExitStatus(code)) => format!("command terminated with non-zero exit code: exit status {code}"),
        Err(error) => format!("Internal error occurred: {error}"),
    }
}

fn status(outcome: &Result<ExitStatus, BoxError>) -> Value {
    match outcome {
        Ok(ExitStatus::SUCCESS) => json!({"metadata": {}, "status": "Success"}),
        Ok(ExitStatus(code)) => json!({
            "metadata": {},
            "status": "Failure",
            "message": message(outcome),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => json!({
            "metadata": {},
            "status": "Failure",
            "message": message(outcome),
            "reason": "InternalError",
            "details": {"causes": [{"message": error.to_string()}]},
            "code": 500,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: StatusForm, outcome: Result<ExitStatus, BoxError>, want: &str) {
        assert_eq!(String::from_utf8_lossy(&form.encode(&outcome)), want);
    }

    #[test]
    fn as_upstream_words_it() {
        check(StatusForm::Json, Ok(ExitStatus(0)), r#"{"metadata":{},"status":"Success"}"#);
        check(
            StatusForm::Json,
            Ok(ExitStatus(3)),
            concat!(
                r#"{"details":{"causes":[{"message":"3","reason":"ExitCode"}]},"#,
                r#""message":"command terminated with non-zero exit code: exit status 3","metadata":{},"#,
                r#""reason":"NonZeroExitCode","status":"Failure"}"#
            ),
        );
        check(
            StatusForm::Json,
            Err("no such file".into()),
            concat!(
                r#"{"code":500,"details":{"causes":[{"message":"no such file"}]},"#,
                r#""message":"Internal error occurred: no such file","metadata":{},"#,
                r#""reason":"InternalError","status":"Failure"}"#
            ),
        );
        check(StatusForm::Text, Ok(ExitStatus(0)), "");
        check(StatusForm::Text, Ok(ExitStatus(3)), "command terminated with non-zero exit code: exit status 3");
        check(StatusForm::Text, Err("no such file".into()), "Internal error occurred: no such file");
    }
}
