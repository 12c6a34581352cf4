//! What a failed call means: for the caller, and for whether to call again. Pure.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::{Error, Revision};

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What was being done.
    pub(super) what: &'static str,
    /// How it ended.
    pub(super) status: Status,
}

/// What a failed call has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is answered: calling again changes nothing.
    Answered,
    /// Nothing: it was turned away before anything happened.
    None,
    /// Not known: it was lost on its way there or back.
    Unknown,
}

/// What `status` says of its call's effect.
pub(super) fn effect_of(status: &Status) -> Effect {
    let says = |text: &str| status.message().contains(text);
    match status.code() {
        Code::ResourceExhausted if says("too many requests") => Effect::None,
        Code::Unavailable if says("no leader") || says("not capable") || never_connected(status) => Effect::None,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => Effect::Unknown,
        // So tonic names a connection that broke in the midst of an answer.
        Code::Unknown | Code::Internal => Effect::Unknown,
        _ => Effect::Answered,
    }
}

fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The store's error for a call about revision `asked` (0 if it was about none).
pub(super) fn error_for(failure: Failure, asked: Revision) -> Error {
    let Failure { what, status } = failure;
    let says = |text: &str| status.message().contains(text);
    match status.code() {
        // etcd does not say how far it is compacted or how new it is; this much follows from the refusal.
        Code::OutOfRange if says("compacted") => Error::Compacted { asked, oldest: asked + 1 },
        Code::OutOfRange if says("future revision") => Error::Future { asked, newest: asked.saturating_sub(1) },
        _ => Error::Remote { what, why: explain(&status) },
    }
}

/// The refusal of an entry of `bytes` bytes, if that is what it is.
pub(super) fn is_too_large(status: &Status) -> bool {
    let says = |text: &str| status.message().contains(text);
    match status.code() {
        Code::InvalidArgument => says("request is too large"),
        Code::ResourceExhausted => says("larger than max"),
        _ => false,
    }
}

/// Whether the answer was longer than we take at once.
pub(super) fn is_too_long(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("decoded message length too large")
}

/// The status with all its causes, for the log.
pub(super) fn explain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    if text.is_empty() { status.code().description().to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_told_apart() {
        for (code, message, want) in [
            (Code::ResourceExhausted, "etcdserver: too many requests", Effect::None),
            (Code::Unavailable, "etcdserver: no leader", Effect::None),
            (Code::Unavailable, "etcdserver: request timed out", Effect::Unknown),
            (Code::Unavailable, "etcdserver: leader changed", Effect::Unknown),
            (Code::Unknown, "transport error", Effect::Unknown),
            (Code::DeadlineExceeded, "", Effect::Unknown),
            (Code::InvalidArgument, "etcdserver: request is too large", Effect::Answered),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Effect::Answered),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Effect::Answered),
        ] {
            assert_eq!(effect_of(&Status::new(code, message)), want, "{code:?} {message}");
        }
    }

    #[test]
    fn revisions_out_of_range_are_the_stores_own_errors() {
        let error = |message| error_for(Failure { what: "read", status: Status::out_of_range(message) }, 7);
        let compacted = error("etcdserver: mvcc: required revision has been compacted");
        assert!(matches!(compacted, Error::Compacted { asked: 7, .. }), "{compacted}");
        let future = error("etcdserver: mvcc: required revision is a future revision");
        assert!(matches!(future, Error::Future { asked: 7, .. }), "{future}");
        let other = error("etcdserver: lease not found");
        assert_eq!(other.to_string(), "cannot read etcd: etcdserver: lease not found");
    }
}
