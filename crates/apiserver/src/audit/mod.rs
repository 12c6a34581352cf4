//! The audit log: who asked for what, and what came of it, as events of `audit.k8s.io/v1`.
//!
//! ```text
//! authenticated -> RequestReceived -> (impersonate, authorize, answer) -> [ResponseStarted] -> ResponseComplete
//! ```
//! [`policy`] decides what is recorded, [`log`] keeps it. A [`Trail`] goes along with each request that is recorded at
//! all; what the steps leave in its `Notes` become annotations.

mod log;
mod policy;

use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use sampan_auth::{Identity, Peer};
use serde_json::{Value, json};

use self::log::Log;
pub use self::log::LogOptions;
pub use self::policy::Policy;
use self::policy::{Level, Stage, Verdict};
use crate::notes::Notes;
use crate::request::RequestInfo;
use crate::reviews::user_info;
use crate::server::MAX_BODY_BYTES;

/// What is recorded, and where.
pub struct Options {
    /// What.
    pub policy: Policy,
    /// Where.
    pub log: LogOptions,
}

/// The audit log.
pub(crate) struct Audit {
    policy: Policy,
    log: Log,
}

/// What a request says of itself before it is answered.
pub(crate) struct Asked<'a> {
    pub(crate) audit_id: &'a str,
    pub(crate) uri: &'a http::Uri,
    pub(crate) info: &'a RequestInfo,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: Option<&'a Peer>,
    pub(crate) who: &'a Identity,
}

/// The record of one request.
pub(crate) struct Trail {
    audit: Arc<Audit>,
    verdict: Verdict,
    event: Value,
    /// Whether the server failed within.
    pub(crate) panicked: bool,
}

impl Audit {
    /// Opens the log.
    pub(crate) fn open(options: Options) -> io::Result<Self> {
        Ok(Self { policy: options.policy, log: Log::open(options.log)? })
    }

    /// Begins the record of a request, if there is to be one.
    pub(crate) fn begin(self: &Arc<Self>, asked: &Asked<'_>) -> Option<Trail> {
        let verdict = self.policy.verdict(asked.who, asked.info);
        if verdict.level == Level::None {
            return None;
        }
        let event = event(asked, verdict.level);
        let trail = Trail { audit: Arc::clone(self), verdict, event, panicked: false };
        trail.emit(Stage::RequestReceived, &trail.event);
        Some(trail)
    }

    /// Writes what is waiting, and ends.
    pub(crate) async fn shutdown(&self) {
        self.log.shutdown().await;
    }
}

impl Trail {
    /// The caller acts as someone else.
    pub(crate) fn acts_as(&mut self, identity: &Identity) {
        self.event["impersonatedUser"] = user_info(identity);
    }

    /// Whether the object that is sent is recorded.
    pub(crate) fn wants_request(&self) -> bool {
        self.verdict.level >= Level::Request
    }

    /// The body that was sent. What is neither JSON nor YAML is left out.
    pub(crate) fn sent(&mut self, headers: &HeaderMap, body: &Bytes) {
        let media =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
        let object: Option<Value> = if media.contains("yaml") {
            serde_yaml_ng::from_slice(body).ok()
        } else {
            serde_json::from_slice(body).ok()
        };
        if let Some(object) = object.filter(|object| !object.is_null()) {
            self.event["requestObject"] = self.shown(object);
        }
    }

    fn shown(&self, mut object: Value) -> Value {
        if self.verdict.omit_managed_fields {
            let without = |object: &mut Value| {
                object.get_mut("metadata").and_then(Value::as_object_mut).map(|meta| meta.remove("managedFields"));
            };
            without(&mut object);
            object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(without);
        }
        object
    }

    /// Records the answer, and passes it on. That of a watch or a connection ends when its body does.
    pub(crate) async fn answered(mut self, response: Response<Body>, notes: &Notes, long: bool) -> Response<Body> {
        let code = response.status().as_u16();
        let annotations = notes.annotations();
        if !annotations.is_empty() {
            self.event["annotations"] = json!(annotations);
        }
        self.event["responseStatus"] = json!({ "metadata": {}, "code": code });
        if long && code < 400 {
            self.emit(Stage::ResponseStarted, &self.event);
            let open = Open(self);
            return response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _lives_as_long = &open;
                    frame
                }))
            });
        }
        let response = if code >= 400 || self.verdict.level == Level::RequestResponse {
            self.read_answer(response).await
        } else {
            response
        };
        let stage = if self.panicked { Stage::Panic } else { Stage::ResponseComplete };
        self.emit(stage, &self.event);
        response
    }

    /// Takes over what is answered: of a refusal the words, else the object.
    async fn read_answer(&mut self, response: Response<Body>) -> Response<Body> {
        let (head, body) = response.into_parts();
        let Ok(collected) = body.collect().await else { return Response::from_parts(head, Body::empty()) };
        let bytes = collected.to_bytes();
        let object = (bytes.len() <= MAX_ANSWER_BYTES).then(|| serde_json::from_slice::<Value>(&bytes).ok()).flatten();
        if let Some(object) = object {
            if object["kind"] == "Status" {
                for field in ["status", "message", "reason", "details"] {
                    if !object[field].is_null() {
                        self.event["responseStatus"][field] = object[field].clone();
                    }
                }
            }
            if self.verdict.level == Level::RequestResponse {
                self.event["responseObject"] = self.shown(object);
            }
        }
        Response::from_parts(head, Body::from(bytes))
    }

    fn emit(&self, stage: Stage, event: &Value) {
        if self.verdict.omit_stages.contains(&stage) {
            return;
        }
        let mut event = event.clone();
        event["stage"] = stage.as_str().into();
        event["stageTimestamp"] = micros(sampan_clock::now()).into();
        self.audit.log.put(format!("{event}\n"));
    }
}

/// No larger answer is recorded.
const MAX_ANSWER_BYTES: usize = 4 * MAX_BODY_BYTES;

/// A watch or a connection that is under way.
struct Open(Trail);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.emit(Stage::ResponseComplete, &self.0.event);
    }
}

fn event(asked: &Asked<'_>, level: Level) -> Value {
    let Asked { info, headers, .. } = asked;
    let mut event = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": level.as_str(),
        "auditID": asked.audit_id,
        "requestURI": asked.uri.to_string(),
        "verb": info.verb,
        "user": user_info(asked.who),
        "requestReceivedTimestamp": micros(sampan_clock::now()),
    });
    if let Some(Peer::Remote { address, .. }) = asked.peer {
        event["sourceIPs"] = json!([address.ip().to_string()]);
    }
    if let Some(agent) = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()) {
        event["userAgent"] = agent.into();
    }
    if info.is_resource {
        event["objectRef"] = object_reference(info);
    }
    event
}

fn object_reference(info: &RequestInfo) -> Value {
    let mut reference = json!({ "resource": info.resource, "apiVersion": info.version });
    let fields = [
        ("namespace", &info.namespace),
        ("name", &info.name),
        ("apiGroup", &info.group),
        ("subresource", &info.subresource),
    ];
    for (field, text) in fields {
        if !text.is_empty() {
            reference[field] = text.as_str().into();
        }
    }
    reference
}

fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
