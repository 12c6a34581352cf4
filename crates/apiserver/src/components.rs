//! `componentstatuses`: whether the parts of the control plane are healthy, asked of each when someone wants to know.
//!
//! The store is this server's own to ask; what else runs beside it the program names ([`Components::add`]).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use sampan_api::kind::KindRef;
use sampan_api::status::{Resource, Status};
use sampan_store::Entry;
use serde_json::{Value, json};

use crate::cache::{EventType, Filter, Object, encode};
use crate::forms::{self, Wanted};
use crate::server::{Answer, Call, Server};

/// The store's name, whichever it is: clients look for this one.
const STORE: &str = "etcd-0";

/// Says what is wrong with a component.
pub type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The parts of the control plane in this process.
#[derive(Default)]
pub(crate) struct Components(Mutex<Vec<(&'static str, Probe)>>);

impl Components {
    /// Asks `probe` about the component `name` from now on.
    pub(crate) fn add(&self, name: &'static str, probe: Probe) {
        self.0.lock().push((name, probe));
    }

    /// What each says now.
    async fn ask(&self, server: &Server) -> Vec<(&'static str, Result<(), String>)> {
        let probes = self.0.lock().clone();
        let mut said: Vec<_> = probes.into_iter().map(|(name, probe)| (name, probe())).collect();
        said.push((STORE, server.health.store().await.map_err(str::to_owned)));
        said
    }
}

/// Answers a request about the components.
pub(crate) async fn answer(server: &Server, kind: &KindRef, call: &Call) -> Answer {
    let wanted = Wanted::of_kind(kind, call)?;
    let said = server.components.ask(server).await;
    let mut statuses = said.into_iter().map(|(name, said)| status(name, said));
    let body = match call.info.verb {
        "list" => {
            let filter = Filter::from_query(kind, "", &call.query)?;
            let selected = statuses.filter(|status| is_selected(kind, status, &filter)).collect();
            forms::values(kind, selected, &wanted)
        }
        "get" => {
            let name = call.info.name.as_str();
            let found = statuses.find(|status| status["metadata"]["name"] == name);
            let unknown = || Status::not_found(Resource { group: "", name: kind.plural }, name);
            forms::object(kind, &found.ok_or_else(unknown)?, &wanted)
        }
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(wanted.response(StatusCode::OK, body))
}

fn status(name: &str, said: Result<(), String>) -> Value {
    let condition = match said {
        Ok(()) => json!({ "type": "Healthy", "status": "True", "message": "ok" }),
        Err(why) => json!({ "type": "Healthy", "status": "False", "error": why }),
    };
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1",
        "metadata": { "name": name, "creationTimestamp": null }, "conditions": [condition],
    })
}

fn is_selected(kind: &KindRef, status: &Value, filter: &Filter) -> bool {
    let entry = Entry { key: Bytes::new(), value: encode(status), created: 0, modified: 0 };
    Object::from_entry(kind, &entry, EventType::Added).is_ok_and(|object| filter.matches(&object))
}
