//! Events about objects: what `kubectl describe` and `kubectl get events` show.
//!
//! Recording never waits: events go through a bounded queue to one task, and are dropped when it is full. An event
//! that repeats becomes a higher count on the same object instead of a new one.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

use crate::Tasks;

/// Events that wait to be sent.
const QUEUE: usize = 1000;
/// Distinct events whose repetitions are counted.
const REMEMBERED: usize = 4096;
/// Messages are cut at this many bytes, as upstream cuts them.
const MESSAGE_BYTES: usize = 1024;

/// Records events in the name of one component; clones share its queue.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Occurrence>,
    component: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    uid: String,
    field_path: String,
    kind: &'static str,
    reason: String,
    message: String,
}

struct Occurrence {
    regarding: ObjectReference,
    kind: &'static str,
    reason: String,
    message: String,
}

struct Recorded {
    name: String,
    count: i32,
}

struct Sender {
    client: Client,
    source: EventSource,
    seen: HashMap<Identity, Recorded>,
}

impl EventRecorder {
    /// A recorder for `component` (`kubelet`) on `host` (its node, or empty).
    pub fn new(client: Client, component: &str, host: &str, tasks: &Tasks) -> Self {
        let (queue, occurrences) = mpsc::channel(QUEUE);
        let source = EventSource {
            component: Some(component.to_owned()),
            host: Some(host.to_owned()).filter(|host| !host.is_empty()),
        };
        tasks.spawn(Sender { client, source, seen: HashMap::new() }.run(occurrences));
        Self { queue, component: component.into() }
    }

    /// Something happened as it should. `regarding` is what `kube::Resource::object_ref` gives.
    pub fn normal(&self, regarding: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(regarding, "Normal", reason, message.into());
    }

    /// Something happened that someone should look at.
    pub fn warning(&self, regarding: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(regarding, "Warning", reason, message.into());
    }

    fn record(&self, regarding: &ObjectReference, kind: &'static str, reason: &str, mut message: String) {
        if message.len() > MESSAGE_BYTES {
            let end = (0..=MESSAGE_BYTES).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(end);
        }
        let occurrence = Occurrence { regarding: regarding.clone(), kind, reason: reason.to_owned(), message };
        if self.queue.try_send(occurrence).is_err() {
            tracing::warn!(component = %self.component, reason, "event dropped: too many are waiting");
        }
    }
}

impl Sender {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = occurrences.recv().await {
            let reason = occurrence.reason.clone();
            if let Err(error) = self.send(occurrence).await {
                tracing::debug!(reason, %error, "event not recorded");
            }
        }
    }

    async fn send(&mut self, occurrence: Occurrence) -> Result<(), kube::Error> {
        let identity = Identity {
            uid: occurrence.regarding.uid.clone().unwrap_or_default(),
            field_path: occurrence.regarding.field_path.clone().unwrap_or_default(),
            kind: occurrence.kind,
            reason: occurrence.reason.clone(),
            message: occurrence.message.clone(),
        };
        let namespace = occurrence.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        if let Some(recorded) = self.seen.get_mut(&identity) {
            recorded.count += 1;
            let repeat = json!({"count": recorded.count, "lastTimestamp": Time(sampan_clock::now())});
            match api.patch(&recorded.name, &PatchParams::default(), &Patch::Merge(&repeat)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(drop),
            }
        }
        let created = api.create(&PostParams::default(), &self.event(&occurrence, &namespace)).await?;
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(identity, Recorded { name: created.metadata.name.unwrap_or_default(), count: 1 });
        Ok(())
    }

    fn event(&self, occurrence: &Occurrence, namespace: &str) -> Event {
        let now = sampan_clock::now();
        let subject = occurrence.regarding.name.as_deref().unwrap_or("unknown");
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{subject}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: occurrence.regarding.clone(),
            type_: Some(occurrence.kind.to_owned()),
            reason: Some(occurrence.reason.clone()),
            message: Some(occurrence.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(self.source.clone()),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            ..Event::default()
        }
    }
}
