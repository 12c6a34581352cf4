//! Just enough of an API server for informers: lists and watches of objects that the test puts in.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// Everything that happened, in order; a resource version is a length of this.
#[derive(Clone)]
pub(crate) struct Api(Arc<watch::Sender<Vec<Value>>>);

impl Api {
    /// Without objects.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    /// An object comes or changes. It is YAML, as a person would apply it.
    pub(crate) fn apply(&self, yaml: &str) {
        for document in yaml.split("\n---\n") {
            let mut object: Value = serde_yaml_ng::from_str(document).unwrap();
            self.0.send_modify(|events| {
                object["metadata"]["resourceVersion"] = (events.len() + 1).to_string().into();
                events.push(object);
            });
        }
    }

    /// A client that reads from here.
    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = api.answer(request.uri());
            async move { Ok::<_, Infallible>(Response::new(answer)) }
        });
        kube::Client::new(service, "default")
    }

    fn answer(&self, uri: &http::Uri) -> Answer {
        let plural = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let query = uri.query().unwrap_or_default();
        if !query.contains("watch=true") {
            return Full::new(self.list(&plural)).boxed_unsync();
        }
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap_or("0");
        self.watch(plural, from.parse().unwrap())
    }

    fn list(&self, plural: &str) -> Bytes {
        let events = self.0.borrow();
        let mut items = BTreeMap::new();
        for event in events.iter().filter(|event| is_of(event, plural)) {
            let key = event["metadata"]["namespace"].to_string() + &event["metadata"]["name"].to_string();
            items.insert(key, event.clone());
        }
        let items: Vec<Value> = items.into_values().collect();
        let metadata = json!({"resourceVersion": events.len().to_string()});
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string().into()
    }

    fn watch(&self, plural: String, from: usize) -> Answer {
        let state = (self.0.subscribe(), from, plural);
        let lines = stream::unfold(state, |(mut events, mut next, plural)| async move {
            loop {
                events.wait_for(|events| events.len() > next).await.ok()?;
                let event = events.borrow()[next].clone();
                next += 1;
                if is_of(&event, &plural) {
                    let line = json!({"type": "MODIFIED", "object": event}).to_string() + "\n";
                    return Some((Ok(Frame::data(Bytes::from(line))), (events, next, plural)));
                }
            }
        });
        StreamBody::new(lines).boxed_unsync()
    }
}

fn is_of(object: &Value, plural: &str) -> bool {
    object["kind"].as_str().is_some_and(|kind| format!("{}s", kind.to_lowercase()) == plural)
}
