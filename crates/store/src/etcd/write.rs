//! A conditional write as one transaction of etcd's.

use super::endpoints::{Endpoints, Safety};
use super::error::{error_for, is_too_large};
use super::keys::Keys;
use super::pages::revision_of;
use super::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use super::wire::request_op::Request;
use super::wire::response_op::Response;
use super::wire::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use crate::{Error, Outcome, Revision, Write};

/// What etcd takes in one request unless it is told otherwise (`--max-request-bytes`).
const REQUEST_BYTES: usize = 3 << 19;

/// Carries out `write`. When the connection breaks before the answer is there, nobody knows whether it took place: an
/// error says so, and the write is not repeated, since it would then meet itself.
pub(super) async fn write(endpoints: &Endpoints, keys: &Keys, write: Write) -> Result<Outcome, Error> {
    let request = transaction(keys, write);
    let txn = |mut kv: super::wire::kv_client::KvClient<_>| {
        let request = request.clone();
        async move { kv.txn(request).await }
    };
    match endpoints.call("write to", Safety::Once, txn).await {
        Ok(answer) => outcome(keys, answer),
        Err(failure) if is_too_large(&failure.status) => {
            Err(Error::TooLarge { bytes: prost::Message::encoded_len(&request), limit: REQUEST_BYTES })
        }
        Err(failure) => Err(error_for(failure, 0)),
    }
}

fn transaction(keys: &Keys, write: Write) -> TxnRequest {
    let (key, value, expected) = match write {
        Write::Create { key, value } => (key, Some(value), 0),
        Write::Update { key, value, expected } | Write::Renew { key, value, expected } => (key, Some(value), expected),
        Write::Delete { key, expected } => (key, None, expected),
    };
    let key = keys.full(&key);
    let change = match value {
        Some(value) => Request::RequestPut(PutRequest { key: key.clone(), value }),
        None => Request::RequestDeleteRange(DeleteRangeRequest { key: key.clone() }),
    };
    let read = Request::RequestRange(RangeRequest { key: key.clone(), ..Default::default() });
    let step = |request| vec![RequestOp { request: Some(request) }];
    TxnRequest { compare: vec![last_written(key, expected)], success: step(change), failure: step(read) }
}

/// Holds if `key` was last written at `expected`; 0 for a key that does not exist.
fn last_written(key: bytes::Bytes, expected: Revision) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key,
        target_union: Some(TargetUnion::ModRevision(expected as i64)),
    }
}

fn outcome(keys: &Keys, answer: TxnResponse) -> Result<Outcome, Error> {
    if answer.succeeded {
        return Ok(Outcome::Done(revision_of(answer.header)));
    }
    match answer.responses.into_iter().next().and_then(|response| response.response) {
        Some(Response::ResponseRange(range)) => {
            let current = range.kvs.into_iter().next().and_then(|kv| keys.entry(kv));
            Ok(Outcome::Unmet(current))
        }
        _ => Err(Error::Remote { what: "write to", why: "the answer to a transaction lacks its part".to_owned() }),
    }
}
