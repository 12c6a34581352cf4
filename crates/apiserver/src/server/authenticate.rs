//! Who sent a request: a component of this process, the holder of a client certificate, of a token, or nobody.

use http::{HeaderMap, header};
use sampan_api::status::Status;
use sampan_auth::{ANONYMOUS, AUTHENTICATED, Identity, Peer, UNAUTHENTICATED, certificate};
use sampan_streams::websocket;

use super::Server;
use crate::request::RequestInfo;

/// The paths that nobody in particular may read; authorization still has its say.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// The identity behind a request; 401 if there is none and the path is not open to all.
pub(super) async fn identify(
    server: &Server,
    peer: Option<&Peer>,
    headers: &HeaderMap,
    info: &RequestInfo,
) -> Result<Identity, Status> {
    if let Some(Peer::InProcess(identity)) = peer {
        return Ok(authenticated(identity.clone()));
    }
    if let Some(Peer::Remote { certificate: Some(der), .. }) = peer {
        refuse_foreign_page(headers)?;
        return certificate::identity(der).map(authenticated).map_err(|_| Status::unauthorized());
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| Status::unauthorized())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(Status::unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Status::unauthorized());
        }
        return from_token(server, token.trim(), &[]).await.map(authenticated).ok_or_else(Status::unauthorized);
    }
    let open = OPEN_PATHS.iter().any(|open| info.path == *open || info.path.starts_with(&format!("{open}/")));
    if !open {
        return Err(Status::unauthorized());
    }
    Ok(Identity { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Identity::default() })
}

/// A browser shows its user's certificate to whatever page opens a WebSocket; only pages of this server may.
fn refuse_foreign_page(headers: &HeaderMap) -> Result<(), Status> {
    if !websocket::is_upgrade(headers) || !websocket::is_cross_origin(headers) {
        return Ok(());
    }
    let message = "a page of another origin may not open a WebSocket with a client certificate; use a token".to_owned();
    Err(Status { code: 403, reason: "Forbidden".to_owned(), message, details: None })
}

fn authenticated(mut identity: Identity) -> Identity {
    if !identity.groups.iter().any(|group| group == AUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.to_owned());
    }
    identity
}

/// The ServiceAccount that a token speaks for, as long as it and the Pod it is bound to exist.
pub(crate) async fn from_token(server: &Server, token: &str, audiences: &[String]) -> Option<Identity> {
    let verified = server.tokens.verify(token, audiences, sampan_clock::now()).ok()?;
    server.registry.cache.fresh().await.ok()?;
    let uid_of = |kind: &str, name: &str| {
        let object = server.registry.peek("", kind, &verified.namespace, name)?;
        object["metadata"]["uid"].as_str().map(str::to_owned)
    };
    let account = &verified.service_account;
    if uid_of("ServiceAccount", &account.name)? != account.uid {
        return None;
    }
    if let Some(pod) = &verified.pod
        && uid_of("Pod", &pod.name)? != pod.uid
    {
        return None;
    }
    Some(verified.identity)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::refuse_foreign_page;

    fn code(origin: Option<&'static str>, upgrade: bool) -> Option<u16> {
        let mut headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("node:6443"))]);
        if upgrade {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(origin) = origin {
            headers.insert(http::header::ORIGIN, HeaderValue::from_static(origin));
        }
        refuse_foreign_page(&headers).err().map(|status| status.code)
    }

    #[test]
    fn a_foreign_page_opens_no_websocket_with_its_visitors_certificate() {
        assert_eq!(code(Some("https://evil.example"), true), Some(403));
        assert_eq!(code(Some("https://node:6443"), true), None);
        assert_eq!(code(None, true), None, "no browser");
        assert_eq!(code(Some("https://evil.example"), false), None, "the browser itself guards what is no WebSocket");
    }
}
