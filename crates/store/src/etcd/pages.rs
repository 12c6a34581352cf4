//! Reads: the newest revision, and ranges in pages that all show the same one.

use super::endpoints::{Endpoints, Safety};
use super::error::{Failure, error_for, is_too_long};
use super::keys::Keys;
use super::wire::{RangeRequest, RangeResponse, ResponseHeader};
use crate::{Error, Page, Revision, Span};

/// Entries asked for at once. When they do not fit into an answer, half as many.
const PAGE_ENTRIES: usize = 1_000;

/// The newest revision.
pub(super) async fn newest(endpoints: &Endpoints, keys: &Keys) -> Result<Revision, Error> {
    let request = RangeRequest { key: keys.barrier(), count_only: true, ..Default::default() };
    Ok(revision_of(read(endpoints, request, None).await?.header))
}

/// One read, at `at` or now.
pub(super) async fn read(
    endpoints: &Endpoints,
    request: RangeRequest,
    at: Option<Revision>,
) -> Result<RangeResponse, Error> {
    call(endpoints, request, at).await.map_err(|failure| error_for(failure, at.unwrap_or(0)))
}

async fn call(endpoints: &Endpoints, request: RangeRequest, at: Option<Revision>) -> Result<RangeResponse, Failure> {
    // To etcd, revision 0 means now; nothing is there before 1.
    let request = RangeRequest { revision: at.map_or(0, |at| at.max(1) as i64), ..request };
    let range = |mut kv: super::wire::kv_client::KvClient<_>| {
        let request = request.clone();
        async move { kv.range(request).await }
    };
    endpoints.call("read", Safety::Repeatable, range).await
}

/// The entries of `span` at a revision or now, at most as many as asked for.
pub(super) async fn range(
    endpoints: &Endpoints,
    keys: &Keys,
    span: &Span,
    (at, limit): (Option<Revision>, usize),
) -> Result<Page, Error> {
    let Span { start, end } = keys.span(span);
    let mut page = Page { revision: at.unwrap_or(0), entries: Vec::new(), remaining: 0 };
    if end <= start {
        page.revision = if let Some(at) = at { at } else { newest(endpoints, keys).await? };
        return Ok(page);
    }
    let (mut at, mut key, mut size) = (at, start, PAGE_ENTRIES);
    loop {
        let wanted = size.min(limit - page.entries.len());
        // A limit of 0 is none to etcd.
        let (range_end, count_only) = (end.clone(), limit == 0);
        let request =
            RangeRequest { key: key.clone(), range_end, limit: wanted as i64, count_only, ..Default::default() };
        let answer = match call(endpoints, request, at).await {
            Err(failure) if is_too_long(&failure.status) && size > 1 => {
                size = size.min(wanted) / 2;
                continue;
            }
            answer => answer.map_err(|failure| error_for(failure, at.unwrap_or(0)))?,
        };
        // What comes next is read as of now, too.
        page.revision = *at.get_or_insert(revision_of(answer.header));
        page.remaining = (answer.count as u64).saturating_sub(answer.kvs.len() as u64);
        if let Some(last) = answer.kvs.last() {
            key = behind(&last.key);
        }
        page.entries.extend(answer.kvs.into_iter().filter_map(|kv| keys.entry(kv)));
        if page.remaining == 0 || page.entries.len() >= limit {
            return Ok(page);
        }
    }
}

/// The key right behind another.
fn behind(key: &[u8]) -> bytes::Bytes {
    [key, &[0]].concat().into()
}

/// The revision in an answer's header.
pub(super) fn revision_of(header: Option<ResponseHeader>) -> Revision {
    header.map_or(0, |header| header.revision as Revision)
}
