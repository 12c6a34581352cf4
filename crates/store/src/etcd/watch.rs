//! Watches: one gRPC stream each, over everything under the prefix, reopened where it broke off.
//!
//! ```text
//!            open at delivered + 1
//!   (closed) ----------------------> (open) --- events ---> delivered grows, one revision after the other
//!      ^                               |
//!      +--- pause, another member -----+  connection lost, no leader
//!                                      +--> end: compacted
//! ```
//! Since a stream goes on right behind what was delivered, a lost connection neither loses nor repeats anything. Every
//! transaction of ours writes one key, so a revision is never in two parts. What somebody else changes at once under our
//! prefix (`etcdctl del --prefix`) cannot be told one by one: it ends the watch, and everything is read anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};

use super::Inner;
use super::barrier::BEHIND;
use super::endpoints::{ANSWER, Safety};
use super::error::{error_for, explain};
use super::pages::{self, revision_of};
use super::wire::event::EventType;
use super::wire::watch_request::RequestUnion;
use super::wire::{self, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use crate::{Error, Event, Revision, Span};

/// The first pause before a watch is opened again; each is twice the one before,
const PAUSE: Duration = Duration::from_millis(20);
/// up to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// All changes of `span` after `after`.
pub(super) async fn begin(
    inner: &Arc<Inner>,
    span: &Span,
    after: Revision,
) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
    // Only a read says at once whether a revision can be read.
    let request = RangeRequest { key: inner.keys.barrier(), count_only: true, ..Default::default() };
    let newest = revision_of(pages::read(&inner.endpoints, request, Some(after)).await?.header);
    inner.barrier.expect(newest);
    let watch = Watch {
        inner: inner.clone(),
        span: span.clone(),
        delivered: after,
        last: 0,
        catching_up: Some(newest),
        barrier: 0,
        told: VecDeque::new(),
        open: None,
        pause: PAUSE,
        barrier_pause: BEHIND,
    };
    let watch = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(event) => Some((Ok(event), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(watch.boxed())
}

struct Watch {
    inner: Arc<Inner>,
    span: Span,
    /// Everything up to here is in `told` or was.
    delivered: Revision,
    /// The revision of the last event.
    last: Revision,
    /// The newest revision at the start, until it is reached.
    catching_up: Option<Revision>,
    /// The revision of the last barrier that was written.
    barrier: Revision,
    told: VecDeque<Event>,
    open: Option<Open>,
    pause: Duration,
    /// How long the barrier is put off: longer after each that could not be written.
    barrier_pause: Duration,
}

/// A stream of etcd's.
struct Open {
    answers: Streaming<WatchResponse>,
    member: usize,
}

/// What comes first.
enum Step {
    Answer(Result<Option<WatchResponse>, Status>),
    BarrierDue,
}

impl Watch {
    async fn next(&mut self) -> Result<Event, Error> {
        loop {
            self.tell_caught_up();
            if let Some(event) = self.told.pop_front() {
                return Ok(event);
            }
            match self.step().await {
                Step::Answer(Ok(Some(answer))) => self.take(answer)?,
                Step::Answer(Ok(None)) => self.lost("etcd ended it").await,
                Step::Answer(Err(status)) => self.lost(&explain(&status)).await,
                Step::BarrierDue => self.write_barrier().await,
            }
        }
    }

    async fn step(&mut self) -> Step {
        let open = match &mut self.open {
            Some(open) => open,
            closed => match open(&self.inner, self.delivered + 1).await {
                Ok(opened) => closed.insert(opened),
                Err(status) => return Step::Answer(Err(status)),
            },
        };
        tokio::select! {
            answer = open.answers.message() => Step::Answer(answer),
            () = self.inner.barrier.is_due(self.delivered.max(self.barrier), self.barrier_pause) => Step::BarrierDue,
        }
    }

    fn take(&mut self, answer: WatchResponse) -> Result<(), Error> {
        if answer.compact_revision > 0 {
            return Err(Error::Compacted { asked: self.delivered, oldest: answer.compact_revision as Revision });
        }
        if answer.canceled {
            // Reopening is what helps; the stream's end comes next.
            tracing::debug!(why = answer.cancel_reason, "etcd cancelled a watch");
            self.open = None;
            return Ok(());
        }
        self.pause = PAUSE;
        if answer.created {
            return Ok(());
        }
        let before = self.delivered;
        if answer.events.is_empty() {
            self.delivered = self.delivered.max(revision_of(answer.header));
        }
        for event in answer.events {
            self.take_event(event)?;
        }
        let told = self.told.back().map_or(before, Event::revision);
        if self.delivered > told {
            self.told.push_back(Event::Progress { revision: self.delivered });
        }
        Ok(())
    }

    fn take_event(&mut self, event: wire::Event) -> Result<(), Error> {
        let deleted = event.r#type() == EventType::Delete;
        let Some(kv) = event.kv else { return Ok(()) };
        let revision = kv.mod_revision as Revision;
        if revision == self.last {
            return Err(Error::Several { revision });
        }
        if revision <= self.delivered {
            return Ok(());
        }
        (self.delivered, self.last) = (revision, revision);
        let entry = self.inner.keys.entry(kv).filter(|entry| self.span.contains(&entry.key));
        self.told.extend(entry.map(|entry| match deleted {
            true => Event::Delete { key: entry.key, revision },
            false => Event::Put { entry },
        }));
        Ok(())
    }

    /// Says once that the revision which was current at the start is reached.
    fn tell_caught_up(&mut self) {
        if self.told.is_empty() && self.catching_up.is_some_and(|start| self.delivered >= start) {
            self.catching_up = None;
            self.told.push_back(Event::Progress { revision: self.delivered });
        }
    }

    /// Waits before the stream is opened again.
    async fn lost(&mut self, why: &str) {
        tracing::info!(why, after = self.delivered, "a watch of etcd broke off, and goes on where it was");
        if let Some(open) = self.open.take() {
            self.inner.endpoints.lost(open.member);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    async fn write_barrier(&mut self) {
        let key = self.inner.keys.barrier();
        let put = self.inner.endpoints.call("write to", Safety::Repeatable, |mut kv| {
            let request = PutRequest { key: key.clone(), value: bytes::Bytes::new() };
            async move { kv.put(request).await }
        });
        match put.await {
            Ok(answer) => {
                self.barrier = revision_of(answer.header);
                self.barrier_pause = BEHIND;
            }
            Err(failure) => {
                self.barrier_pause = (self.barrier_pause * 2).min(MAX_PAUSE);
                tracing::warn!(error = %error_for(failure, 0), "a watch does not know how far it is");
            }
        }
    }
}

/// Opens a stream that begins with revision `start`.
async fn open(inner: &Inner, start: Revision) -> Result<Open, Status> {
    let all = inner.keys.everything();
    let create = WatchCreateRequest {
        key: all.start.clone(),
        range_end: all.end.clone(),
        start_revision: start as i64,
        progress_notify: true,
        fragment: true,
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // Not ended after the first message: that would end the watch.
    let mut request = Request::new(stream::iter([create]).chain(stream::pending()));
    // A member that has lost the others says so instead of staying silent.
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    let (member, mut client) = inner.endpoints.watcher();
    let answer = timeout(ANSWER, client.watch(request)).await;
    match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
        Ok(answers) => Ok(Open { answers: answers.into_inner(), member }),
        Err(status) => {
            inner.endpoints.lost(member);
            Err(status)
        }
    }
}
