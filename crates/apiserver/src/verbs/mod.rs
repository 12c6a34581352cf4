//! From an authorized request about a resource to the registry, and back to a response.
//!
//! Here a request's path becomes a kind, a verb and an [`Attempt`]; what they do is the registry's, the reviews' and
//! the proxies' own.

mod params;
mod read;
mod watch;
mod write;

use std::sync::Arc;

use axum::body::Body;
use sampan_api::kind::{Kind, KindRef, Scope, Verbs};
use sampan_api::status::Status;

use crate::components;
use crate::connect;
use crate::registry::Attempt;
use crate::reviews;
use crate::server::{Answer, Call, Server};
use crate::usage;

pub(crate) use self::params::{decode, media};

/// Answers a request about a resource.
pub(crate) async fn answer(server: &Server, call: Call, body: Body) -> Answer {
    let info = &call.info;
    let kind = server.registry.catalog.find(&info.group, &info.version, &info.resource);
    let kind = &kind.ok_or_else(Status::no_such_path)?;
    check_scope(kind, &call)?;
    call.notes.warn(kind.rules().deprecation().unwrap_or_default());
    if kind.verbs == Verbs::CreateOnly {
        return reviews::answer(server, kind, call, body).await;
    }
    if kind.verbs == Verbs::ReadOnly {
        return match kind.storage {
            "componentstatuses" => components::answer(server, kind, &call).await,
            _ => usage::answer(server, kind, &call).await,
        };
    }
    if !call.info.subresource.is_empty() {
        return subresource(server, kind, call, body).await;
    }
    match call.info.verb {
        "get" => read::get(server, kind, &call).await,
        "list" => read::list(server, kind, &call).await,
        "watch" => watch::watch(server, kind, &call).await,
        "create" if kind.custom().is_some_and(|custom| custom.is_closing()) => Err(Status {
            message: "create not allowed while custom resource definition is terminating".to_owned(),
            ..Status::method_not_allowed()
        }),
        "create" => write::create(server, kind, call, body).await,
        "update" => write::update(server, kind, call, body).await,
        "patch" => write::patch(server, kind, call, body).await,
        "delete" => write::delete(server, kind, call, body).await,
        "deletecollection" if kind.verbs == Verbs::All => write::delete_collection(server, kind, call, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// A cluster-scoped kind has no namespace in its path (CVE-2019-11247), an object of a namespaced one does.
fn check_scope(kind: &Kind, call: &Call) -> Result<(), Status> {
    let info = &call.info;
    let own = info.resource == "namespaces" && info.group.is_empty();
    match kind.scope {
        Scope::Cluster if !info.namespace.is_empty() && !own => Err(Status::no_such_path()),
        Scope::Namespaced if info.namespace.is_empty() && info.verb == "create" => Err(Status::method_not_allowed()),
        Scope::Namespaced if info.namespace.is_empty() && names_object(call) => Err(Status::no_such_path()),
        _ if info.verb == "create" && info.subresource.is_empty() && !info.name.is_empty() => {
            Err(Status::method_not_allowed())
        }
        _ => Ok(()),
    }
}

fn names_object(call: &Call) -> bool {
    !call.info.name.is_empty() && matches!(call.info.verb, "get" | "update" | "patch" | "delete")
}

async fn subresource(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    if !call.info.rest.is_empty() && call.info.subresource != "proxy" {
        return Err(Status::no_such_path());
    }
    let sub = kind.subresources.iter().find(|sub| sub.name == call.info.subresource);
    let sub = sub.ok_or_else(Status::no_such_path)?;
    // The verbs of the proxied paths are whatever the client sends there.
    let connects = matches!(sub.name, "proxy" | "exec" | "attach" | "portforward" | "log");
    if !connects && !sub.verbs.contains(&call.info.verb) {
        return Err(Status::method_not_allowed());
    }
    match (sub.name, call.info.verb) {
        _ if connects => connect::answer(server, kind, call, body).await,
        ("scale", "get") => read::scale(server, kind, &call).await,
        ("scale", _) => write::scale(server, kind, call, body).await,
        ("binding", _) => write::bind(server, kind, call, body).await,
        ("eviction", _) => write::evict(server, kind, call, body).await,
        ("finalize", _) => write::finalize(server, kind, call, body).await,
        ("token", _) => reviews::token_request(server, kind, call, body).await,
        (_, "get") => read::get(server, kind, &call).await,
        (_, "update") => write::update(server, kind, call, body).await,
        (_, "patch") => write::patch(server, kind, call, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// The write that a request attempts.
pub(crate) fn attempt(kind: &KindRef, call: &Call) -> Result<Attempt, Status> {
    let namespace = if kind.scope == Scope::Cluster { "" } else { &call.info.namespace };
    let subresource = kind.subresources.iter().find(|sub| sub.name == call.info.subresource);
    Ok(Attempt {
        kind: kind.clone(),
        namespace: namespace.to_owned(),
        name: call.info.name.clone(),
        subresource: subresource.map_or("", |sub| sub.name),
        identity: call.identity.clone(),
        manager: params::field_manager(call)?,
        dry_run: params::dry_run(&call.query)?,
        validation: params::field_validation(&call.query)?,
        now: sampan_clock::now(),
        said: params::said(&call.query),
        generated_from: String::new(),
        own: false,
        notes: Arc::clone(&call.notes),
    })
}
