//! A request's seat: what the request takes, by what is known of it, and whether there is room for that now.

use std::sync::Arc;

use sampan_api::status::Status;
use sampan_auth::Identity;

use super::{Server, chain};
use crate::flowcontrol::{Flow, Seat, Sort, Wish};
use crate::request::{Query, RequestInfo};

/// Waits for a seat; 429 if there is none in time. Requests without a foreseeable end need none, but for the start of a
/// watch. `flow` becomes the request's flow, whatever comes of it.
pub(super) async fn seat(
    server: &Server,
    who: &Identity,
    (info, query): (&RequestInfo, &Query),
    flow: &mut Option<Arc<Flow>>,
) -> Result<Option<Seat>, Status> {
    if chain::is_long_running(info) && info.verb != "watch" {
        return Ok(None);
    }
    *flow = server.flow_control.classify(who, info);
    let Some(flow) = flow else { return Ok(None) };
    let sort = if flow.is_exempt() { Sort::One } else { sort(server, info, query) };
    server.flow_control.admit(flow, Wish { who, info, sort }).await.map(Some)
}

fn sort(server: &Server, info: &RequestInfo, query: &Query) -> Sort {
    let listing = match info.verb {
        "list" | "deletecollection" => info.name.is_empty(),
        "watch" => query.flag("sendInitialEvents") || matches!(query.text("resourceVersion"), "" | "0"),
        _ => false,
    };
    if !info.is_resource || !(listing || info.is_mutating()) {
        return Sort::One;
    }
    let kind = server.registry.catalog.find(&info.group, &info.version, &info.resource);
    let Some(room) = kind.and_then(|kind| server.registry.cache.room(&kind).ok()) else { return Sort::One };
    if !listing {
        // A token changes no object.
        let silent = info.subresource == "token";
        return Sort::Write { watchers: if silent { 0 } else { room.concerned(&info.namespace, &info.name) as u64 } };
    }
    let given = |name: &str| !query.text(name).is_empty();
    let exact = query.text("resourceVersionMatch") == "Exact";
    Sort::List {
        objects: room.len() as u64,
        bytes: room.bytes(),
        limit: query.number("limit").ok().flatten().filter(|limit| *limit > 0),
        from_store: info.verb == "list" && (exact || given("continue")),
        selects: given("labelSelector") || given("fieldSelector"),
    }
}
