//! get, list.

use std::sync::Arc;

use http::StatusCode;
use sampan_api::kind::{Kind, KindRef};
use sampan_api::status::Status;
use serde_json::Value;

use super::attempt;
use crate::cache::{Filter, ListOptions, Match, Refused, revision_of};
use crate::forms::{self, Shape, Wanted};
use crate::registry::{scale_of, serve, view_of};
use crate::request::Query;
use crate::server::{Answer, Call, Server};

/// One object.
pub(super) async fn get(server: &Server, kind: &KindRef, call: &Call) -> Answer {
    let wanted = Wanted::of_kind(kind, call)?;
    let found = server.registry.get(&attempt(kind, call)?, version_asked(&call.query)?).await?;
    let object = server.registry.all_served(kind, vec![Arc::clone(&found)]).await?.pop().unwrap_or(found);
    let body = match (&wanted.shape, view_of(kind)) {
        (Shape::Plain, None) => wanted.bytes(object.json()),
        _ => forms::object(kind, &serve(kind, object.value()), &wanted),
    };
    Ok(wanted.response(StatusCode::OK, body))
}

/// The Scale of one object.
pub(super) async fn scale(server: &Server, kind: &KindRef, call: &Call) -> Answer {
    let wanted = Wanted::from_request(call.headers(), &call.query)?;
    let object = server.registry.get(&attempt(kind, call)?, version_asked(&call.query)?).await?;
    let object = server.registry.served(kind, object.value()).await?;
    Ok(wanted.response(StatusCode::OK, wanted.value(&scale_of(kind, &object)?)))
}

fn version_asked(query: &Query) -> Result<Match, Status> {
    let asked = revision_of(query.text("resourceVersion"));
    Ok(match asked.map_err(|e| Status::bad_request(format!("invalid resource version: {e}")))? {
        None => Match::Newest,
        Some(0) => Match::Any,
        Some(revision) => Match::NotOlderThan(revision),
    })
}

/// The objects that the request selects, and how they are seen.
pub(super) fn filter(kind: &KindRef, call: &Call) -> Result<Filter, Status> {
    let filter = Filter::from_query(kind, namespace(kind, call), &call.query)?;
    Ok(if view_of(kind).is_some() { filter.viewed_as(kind) } else { filter })
}

fn namespace<'c>(kind: &Kind, call: &'c Call) -> &'c str {
    if kind.scope == sampan_api::kind::Scope::Cluster { "" } else { &call.info.namespace }
}

/// A collection.
pub(super) async fn list(server: &Server, kind: &KindRef, call: &Call) -> Answer {
    let wanted = Wanted::of_kind(kind, call)?;
    match server.registry.list(kind, &filter(kind, call)?, &ListOptions::from_query(&call.query)?).await {
        Ok(list) => Ok(wanted.response(StatusCode::OK, forms::list(kind, &list, &wanted))),
        Err(refused) => refused_list(refused, &wanted),
    }
}

/// A list that is no longer possible may come with a token to go on differently.
pub(super) fn refused_list(refused: Refused, wanted: &Wanted) -> Answer {
    let (status, token) = match refused {
        Refused::Status(status) => return Err(status),
        Refused::Expired(status, token) => (status, token),
    };
    let Some(token) = token else { return Err(status) };
    let mut body: Value = serde_json::from_slice(&status.to_json()).unwrap_or(Value::Null);
    body["metadata"]["continue"] = token.into();
    Ok(wanted.response(StatusCode::GONE, wanted.value(&body)))
}
