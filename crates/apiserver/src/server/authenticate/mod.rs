//! Who sent a request: a component of this process, whom a front proxy names, the holder of a client certificate, of a
//! token, or nobody.

mod protocol;
mod service_account;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use sampan_api::status::Status;
use sampan_auth::{ANONYMOUS, AUTHENTICATED, Identity, Peer, UNAUTHENTICATED, bootstrap_token};
use sampan_streams::websocket;
use serde_json::Value;

use super::Server;
use crate::request::RequestInfo;

/// The identity behind a request; 401 if there is none and the path is not open to all. A token among the WebSocket's
/// protocols is taken out, so that it goes no further.
pub(super) async fn identify(
    server: &Server,
    peer: Option<&Peer>,
    headers: &mut HeaderMap,
    info: &RequestInfo,
) -> Result<Identity, Status> {
    let among_protocols = protocol::take_token(headers);
    let (user, front_proxy, stranger) = match peer {
        Some(Peer::InProcess(identity)) => return Ok(authenticated(identity.clone())),
        Some(Peer::Remote { user, front_proxy, stranger, .. }) => (user.as_ref(), *front_proxy, *stranger),
        None => (None, false, false),
    };
    if let Some(identity) = server.request_headers.take(headers, front_proxy) {
        return Ok(authenticated(identity));
    }
    if let Some(identity) = user {
        refuse_foreign_page(headers)?;
        return Ok(authenticated(identity.clone()));
    }
    if let Some(token) = bearer(headers)?.or(among_protocols.map_err(refused)?) {
        let shown = from_token(server, &token, &[]).await;
        return shown.map(|shown| authenticated(shown.identity)).map_err(refused);
    }
    // Who shows a certificate is not anonymous, though nobody knows them.
    if stranger || !server.vouchers.anonymous.may_ask(&info.path) {
        return Err(Status::unauthorized());
    }
    Ok(Identity { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Identity::default() })
}

/// The bearer token of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<String>, Status> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Status::unauthorized())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim().to_owned())),
        _ => Err(Status::unauthorized()),
    }
}

/// What the client learns of it: nothing.
fn refused(why: impl std::fmt::Display) -> Status {
    tracing::debug!(%why, "a bearer token was refused");
    Status::unauthorized()
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

/// Whoever a token speaks for, and for which of the asked audiences it is meant.
pub(crate) struct Shown {
    pub(crate) identity: Identity,
    pub(crate) audiences: Vec<String>,
}

/// Who shows `token`, which must be meant for one of `audiences` (this server when empty). The error says why nobody:
/// token reviews tell it, other clients learn no more than that they are not known.
pub(crate) async fn from_token(server: &Server, token: &str, audiences: &[String]) -> Result<Shown, String> {
    if let Some(parts) = bootstrap_token::parts(token) {
        return from_bootstrap_token(server, parts, audiences).await;
    }
    if !server.tokens.claims_to_be_ours(token) {
        return from_vouchers(server, token, audiences).await;
    }
    let now = sampan_clock::now();
    let invalid = |why: String| format!("[invalid bearer token, {why}]");
    let verified = server.tokens.verify(token, audiences, now).map_err(|error| match error {
        sampan_auth::Error::Token(why) => invalid(why),
        other => invalid(other.to_string()),
    })?;
    server.registry.cache.fresh().await.map_err(|status| status.message)?;
    service_account::check(&server.registry, token, &verified, now).map_err(invalid)?;
    let audiences = audiences.iter().filter(|asked| verified.audiences.contains(asked)).cloned().collect();
    Ok(Shown { identity: verified.identity, audiences })
}

/// A machine that is to become a node. Its token is meant for this server alone.
async fn from_bootstrap_token(
    server: &Server,
    (id, secret): (&str, &str),
    audiences: &[String],
) -> Result<Shown, String> {
    let audiences = for_this_server(server, audiences)?;
    server.registry.cache.fresh().await.map_err(|status| status.message)?;
    let name = format!("{}{id}", bootstrap_token::SECRET_PREFIX);
    let found = server.registry.peek("", "Secret", "kube-system", &name);
    let found = found.filter(|secret| {
        secret["type"] == bootstrap_token::SECRET_TYPE && secret["metadata"]["deletionTimestamp"].is_null()
    });
    let data = found.as_ref().map(secret_data).ok_or("invalid bearer token")?;
    let identity = bootstrap_token::identity((id, secret), &data, sampan_clock::now());
    let identity = identity.map_err(|why| {
        tracing::debug!(id, why, "a bootstrap token was refused");
        "invalid bearer token".to_owned()
    })?;
    Ok(Shown { identity, audiences })
}

/// Somebody whom others vouch for. What they say is meant for this server.
async fn from_vouchers(server: &Server, token: &str, audiences: &[String]) -> Result<Shown, String> {
    let asked = for_this_server(server, audiences)?;
    let (identity, audiences) = server.vouchers.identity(token, &asked).await?;
    Ok(Shown { identity, audiences })
}

/// This server, as a token's audience, if it is among those that are asked for.
fn for_this_server(server: &Server, audiences: &[String]) -> Result<Vec<String>, String> {
    let issuer = server.tokens.issuer();
    if !audiences.is_empty() && !audiences.iter().any(|audience| audience == issuer) {
        return Err("invalid bearer token".to_owned());
    }
    Ok(vec![issuer.to_owned()])
}

fn secret_data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let entries = secret["data"].as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?))).collect()
}
