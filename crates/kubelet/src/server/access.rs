//! Who may use the kubelet's API: authentication, and rights on `nodes/<subresource>`.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use sampan_auth::{Attributes, Identity, Peer};

use super::failure::Failure;

/// Every authenticated user is in this group.
const AUTHENTICATED: &str = "system:authenticated";

/// Finds out who a bearer token belongs to.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// The token's owner; none if it is not valid, or if nobody can tell at the moment.
    async fn identify(&self, token: &str) -> Option<Identity>;
}

/// Decides who may do what.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Whether `identity` may do what `attributes` say; no, if nobody can tell at the moment.
    async fn allowed(&self, identity: &Identity, attributes: &Attributes) -> bool;
}

/// Lets a request through to its route, or answers 401 or 403.
pub(super) async fn guard(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let token = bearer_token(request.headers()).map(str::to_owned);
    let Some(identity) = identify(&*state.authenticate, peer, token).await else {
        return Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
    };
    let wanted = attributes(request.method(), request.uri().path(), &state.node_name);
    for attributes in &wanted {
        if state.authorize.allowed(&identity, attributes).await {
            return next.run(request).await;
        }
    }
    let subresources: Vec<&str> = wanted.iter().map(|attributes| attributes.subresource.as_str()).collect();
    let message = format!(
        "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])",
        identity.name,
        wanted.first().map(|attributes| attributes.verb.as_str()).unwrap_or_default(),
        subresources.join(" ")
    );
    Failure::new(StatusCode::FORBIDDEN, message).into_response()
}

/// Who sent the request: by the certificate of the connection, else by a bearer token.
async fn identify(authenticate: &dyn Authenticate, peer: Option<Peer>, token: Option<String>) -> Option<Identity> {
    let mut identity = match peer {
        Some(Peer::InProcess(identity)) => identity,
        Some(Peer::Remote { user: Some(identity), .. }) => identity,
        _ => authenticate.identify(&token?).await?,
    };
    if !identity.groups.iter().any(|group| group == AUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.to_owned());
    }
    Some(identity)
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The rights that open `path`, any of which is enough: the finer one first, as upstream's kubelet asks.
fn attributes(method: &Method, path: &str, node_name: &str) -> Vec<Attributes> {
    let verb = match *method {
        Method::POST => "create",
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    };
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let subresources: &[&str] = match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    };
    let of = |subresource: &&str| Attributes {
        verb: verb.to_owned(),
        version: "v1".to_owned(),
        resource: "nodes".to_owned(),
        subresource: (*subresource).to_owned(),
        name: node_name.to_owned(),
        path: path.to_owned(),
        ..Attributes::default()
    };
    subresources.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_rights() {
        let check = |method: Method, path: &str, want: &str| {
            let list = attributes(&method, path, "n1");
            assert!(list.iter().all(|one| one.resource == "nodes" && one.name == "n1" && one.namespace.is_empty()));
            let got: Vec<_> = list.iter().map(|one| format!("{} {}", one.verb, one.subresource)).collect();
            assert_eq!(got.join(", "), want, "{method} {path}");
        };
        check(Method::GET, "/metrics", "get metrics");
        check(Method::GET, "/metrics/resource", "get metrics");
        check(Method::GET, "/metricsx", "get proxy");
        check(Method::GET, "/stats/summary", "get stats");
        check(Method::GET, "/logs/", "get log");
        check(Method::GET, "/pods", "get pods, get proxy");
        check(Method::GET, "/healthz", "get healthz, get proxy");
        check(Method::GET, "/exec/ns/pod/c", "get proxy");
        check(Method::POST, "/exec/ns/pod/c", "create proxy");
        check(Method::GET, "/containerLogs/ns/pod/c", "get proxy");
        check(Method::HEAD, "/", " proxy");
    }

    #[test]
    fn tokens() {
        let check = |value: &'static str, want: Option<&str>| {
            let headers = [(header::AUTHORIZATION, http::HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(bearer_token(&headers), want, "{value}");
        };
        check("Bearer abc", Some("abc"));
        check("bearer  abc ", Some("abc"));
        check("Bearer ", None);
        check("Basic abc", None);
        check("abc", None);
    }
}
