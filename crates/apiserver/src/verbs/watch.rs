//! watch: a response that does not end by itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::ReadyChunks;
use futures::{Stream, StreamExt as _};
use http::{HeaderValue, Response, header};
use sampan_api::kind::{Kind, KindRef};
use sampan_api::status::{Resource, Status};
use sampan_store::Revision;
use sampan_streams::websocket;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::read::filter;
use crate::cache::{
    Change, EventType, Filter, Match, Object, Start, Told, Watch, WatchOptions, check_watch, revision_of,
};
use crate::forms::{Encoding, Shape, Wanted, shaped};
use crate::registry::{Registry, serve, view_of};
use crate::request::Query;
use crate::server::{Answer, Call, Server};

/// Without a word from the client a watch ends after half an hour, up to an hour, so that not all come back at once.
const MIN_SECONDS: u64 = 1800;
/// No watch lasts longer, whatever the client asks for.
const MAX_SECONDS: u64 = 86_400;

/// So many events are converted at once, if they are there.
const CONVERTED: usize = 100;

/// Starts a watch.
pub(super) async fn watch(server: &Server, kind: &KindRef, call: &Call) -> Answer {
    let wanted = Wanted::of_watch(kind, call)?;
    let media_type = wanted.encoding.stream_media_type().unwrap_or_default();
    let (start, at) = start(kind, &call.query)?;
    let cache = &server.registry.cache;
    let mut filter = filter(kind, call)?;
    if !call.info.name.is_empty() {
        filter = filter.named(&call.info.name); // The deprecated watch of one object.
    }
    let reached = match at {
        Match::Newest => cache.fresh().await.map(drop),
        Match::NotOlderThan(revision) | Match::Exact(revision) => cache.reach(revision).await,
        Match::Any => Ok(()),
    };
    // What only the served form tells is looked at behind the conversion.
    let selected = filter.asks_form_of(kind).then(|| filter.clone());
    let options = WatchOptions {
        start,
        filter: if selected.is_some() { filter.place() } else { filter },
        bookmarks: call.query.flag("allowWatchBookmarks"),
        until: Instant::now() + Duration::from_secs(seconds(&call.query)?),
    };
    let room = cache.room(kind)?;
    let watch = Watch::begin(Arc::clone(cache), &room, options, server.stop.clone());
    let mut former = Former { kind: kind.clone(), wanted, first: true };
    let (registry, served) = (Arc::clone(&server.registry), kind.clone());
    let told = match reached {
        Ok(()) => watch.stream().left_stream(),
        // The client asked for a stream: it hears in the stream that there is nothing to come.
        Err(status) => futures::stream::iter([Told::Failed(status)]).right_stream(),
    };
    let told = match kind.custom() {
        None => told.left_stream(),
        // Boxed: the state of a conversion is larger than all else that a watch holds, and most convert nothing.
        Some(custom) if custom.asks_webhook() => {
            converted(registry, served, selected, told).left_stream().right_stream()
        }
        Some(_) => {
            let selected = selected.map(Arc::new);
            let each = told.filter_map(move |told| {
                let (registry, served, selected) = (Arc::clone(&registry), served.clone(), selected.clone());
                Box::pin(async move { registry.told(&served, selected.as_deref(), told).await })
            });
            each.right_stream().right_stream()
        }
    };
    let text = former.wanted.encoding == Encoding::Json;
    let body = told.map(move |told| former.form(told));
    if websocket::is_upgrade(call.headers()) {
        let form = if text { websocket::Form::Text } else { websocket::Form::Binary };
        return Ok(websocket::tell(&call.head, &server.kubelets.sessions, form, body).map(Body::new));
    }
    let mut response = Response::new(Body::from_stream(body.map(Ok::<Bytes, Infallible>)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// What is told, as a webhook converts it; the watch ends with what cannot be converted.
fn converted(
    registry: Arc<Registry>,
    served: KindRef,
    selected: Option<Filter>,
    told: impl Stream<Item = Told> + Send + 'static,
) -> impl Stream<Item = Told> + Send {
    let chunks = Box::pin(told.ready_chunks(CONVERTED));
    let selected = selected.map(Arc::new);
    let next = move |chunks: Option<Pin<Box<_>>>| {
        let (registry, served, selected) = (Arc::clone(&registry), served.clone(), selected.clone());
        Box::pin(async move {
            let mut chunks: Pin<Box<ReadyChunks<_>>> = chunks?;
            let told = registry.all_told(&served, selected.as_deref(), chunks.next().await?).await;
            let goes_on = !matches!(told.last(), Some(Told::Failed(_)));
            Some((futures::stream::iter(told), goes_on.then_some(chunks)))
        })
    };
    futures::stream::unfold(Some(chunks), next).flatten()
}

fn seconds(query: &Query) -> Result<u64, Status> {
    let asked = query.number::<u64>("timeoutSeconds")?.filter(|seconds| *seconds > 0);
    let spread = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * MIN_SECONDS / 256;
    Ok(asked.unwrap_or(MIN_SECONDS + spread).min(MAX_SECONDS))
}

/// Where the watch begins, and for the state now, how new that must be.
fn start(kind: &Kind, query: &Query) -> Result<(Start, Match), Status> {
    check_watch(query)?;
    let revision = revision_of(query.text("resourceVersion"))
        .map_err(|fault| Status::invalid(Resource { group: kind.group, name: kind.plural }, "", &[fault]))?;
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let at = match revision {
        None => Match::Newest,
        Some(0) => Match::Any,
        Some(revision) => Match::NotOlderThan(revision),
    };
    Ok(match (initial, at) {
        // A revision that is yet to come is waited for in silence, as upstream does.
        (None | Some(false), Match::NotOlderThan(revision)) => (Start::After(revision), Match::Any),
        (Some(false), at) => (Start::Next, at),
        (None, at) => (Start::Now { bookmark: false }, at),
        (Some(true), at) => (Start::Now { bookmark: query.flag("allowWatchBookmarks") }, at),
    })
}

/// Makes the bytes of what a watcher is told.
struct Former {
    kind: KindRef,
    wanted: Wanted,
    /// Only the first table carries its headings.
    first: bool,
}

impl Former {
    fn form(&mut self, told: Told) -> Bytes {
        let formed = match told {
            Told::Failed(status) => Err(status),
            Told::Bookmark { revision, initial_end } => self.shaped("BOOKMARK", &self.bookmark(revision, initial_end)),
            Told::Event { event, object, revision, change: Some(change) } if self.is_plain() => {
                match self.wanted.encoding {
                    Encoding::Json => Ok(change.frame.clone()),
                    Encoding::Protobuf => self.shared(&change, event, &object),
                    _ => self.event(event, &object, revision),
                }
            }
            Told::Event { event, object, revision, change: None }
                if self.is_plain() && self.wanted.encoding == Encoding::Json =>
            {
                Ok(object.frame_as(event, revision))
            }
            Told::Event { event, object, revision, .. } => self.event(event, &object, revision),
        };
        formed.unwrap_or_else(|status| self.failed(&status))
    }

    /// Whether the client sees objects as they are stored.
    fn is_plain(&self) -> bool {
        self.wanted.shape == Shape::Plain && view_of(&self.kind).is_none()
    }

    /// The event in protobuf, made for the first watcher that wants it so.
    fn shared(&mut self, change: &Change, event: EventType, object: &Object) -> Result<Bytes, Status> {
        if let Some(made) = change.protobuf.get() {
            return Ok(made.clone());
        }
        let made = self.event(event, object, change.revision)?;
        Ok(change.protobuf.get_or_init(|| made).clone())
    }

    fn event(&mut self, event: EventType, object: &Object, revision: Revision) -> Result<Bytes, Status> {
        let mut value = serve(&self.kind, object.value());
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        self.shaped(event.as_str(), &value)
    }

    fn shaped(&mut self, event: &str, object: &Value) -> Result<Bytes, Status> {
        let columns = std::mem::take(&mut self.first);
        self.wanted.event(event, &shaped(&self.kind, object, &self.wanted.shape, columns))
    }

    /// An empty object that says how far the watcher has got.
    fn bookmark(&self, revision: Revision, initial_end: bool) -> Value {
        let mut object = json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(),
            "metadata": { "resourceVersion": revision.to_string() },
        });
        if initial_end {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        object
    }

    fn failed(&self, status: &Status) -> Bytes {
        let object = serde_json::from_slice(&status.to_json()).unwrap_or_default();
        self.wanted.event("ERROR", &object).unwrap_or_default()
    }
}
