//! `Impersonate-*` headers: acting as someone else, for those who may.

use http::HeaderMap;
use sampan_api::status::Status;
use sampan_auth::{Attributes, Authorizer as _, Decision, Identity};

use super::{Server, authorize};

const EXTRA: &str = "impersonate-extra-";

/// Who the request acts as: the caller, or whom it impersonates; 403 if it may not.
pub(super) fn acting(server: &Server, caller: Identity, headers: &HeaderMap) -> Result<Identity, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let user = text("impersonate-user");
    let groups: Vec<&str> = headers.get_all("impersonate-group").iter().filter_map(|v| v.to_str().ok()).collect();
    let more = !groups.is_empty()
        || !text("impersonate-uid").is_empty()
        || headers.keys().any(|name| name.as_str().starts_with(EXTRA));
    if user.is_empty() {
        return if more {
            Err(Status::bad_request("requested to impersonate groups, uid or extra without impersonating a user"))
        } else {
            Ok(caller)
        };
    }
    let service_account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match service_account {
        Some((namespace, name)) => allow(server, &caller, "serviceaccounts", namespace, name)?,
        None => allow(server, &caller, "users", "", user)?,
    }
    groups.iter().try_for_each(|group| allow(server, &caller, "groups", "", group))?;
    if !text("impersonate-uid").is_empty() {
        allow(server, &caller, "uids", "", text("impersonate-uid"))?;
    }
    let mut identity = match service_account {
        Some((namespace, name)) if groups.is_empty() => sampan_auth::token::service_account(namespace, name, ""),
        _ => Identity { name: user.to_owned(), ..Identity::default() },
    };
    identity.uid = text("impersonate-uid").to_owned();
    identity.groups.extend(groups.into_iter().map(str::to_owned));
    for (name, value) in headers.iter().filter_map(|(n, v)| Some((n.as_str().strip_prefix(EXTRA)?, v.to_str().ok()?))) {
        allow(server, &caller, &format!("userextras/{name}"), "", value)?;
        identity.extra.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    let (authenticated, anonymous) = ("system:authenticated", user == "system:anonymous");
    if !anonymous && !identity.groups.iter().any(|group| group == authenticated) {
        identity.groups.push(authenticated.to_owned());
    }
    Ok(identity)
}

fn allow(server: &Server, caller: &Identity, resource: &str, namespace: &str, name: &str) -> Result<(), Status> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let group = if matches!(resource, "uids" | "userextras") { "authentication.k8s.io" } else { "" };
    let attributes = Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    match server.registry.rbac.authorize(caller, &attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::NoOpinion(reason) => Err(authorize::refusal(caller, &attributes, true, &reason)),
    }
}
