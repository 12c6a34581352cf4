//! A request on its way to an aggregated server.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use sampan_auth::Identity;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Aggregator, Remote};
use crate::server::Call;
use crate::webhook::{Dialer, Place, explain};

/// What a server is asked of itself is asked by this user.
pub(super) const OURSELVES: &str = "system:kube-aggregator";
const EXTRA: &str = "x-remote-extra-";
/// TLS configurations that are kept; beyond that all are made anew.
const MAX_PLACES: usize = 256;

impl Aggregator {
    /// Answers a request that is another server's.
    pub(crate) async fn answer(&self, remote: &Remote, call: Call, body: Body) -> Response<Body> {
        if !remote.available {
            return unavailable("service unavailable");
        }
        let mut request = Request::from_parts(call.head, body);
        sign(request.headers_mut(), &call.identity);
        self.forward(remote, request).await
    }

    /// Sends a signed request to a server.
    pub(super) async fn forward(&self, remote: &Remote, mut request: Request<Body>) -> Response<Body> {
        let (place, connection) = match self.connect(remote).await {
            Ok(connected) => connected,
            Err(why) => return unavailable(&why),
        };
        if let Ok(host) = HeaderValue::from_str(place.url().trim_start_matches("https://")) {
            request.headers_mut().insert(header::HOST, host);
        }
        request.extensions_mut().insert(self.sessions.clone());
        match sampan_streams::proxy::forward(request, connection).await {
            // The client would follow with the credentials that it has for this server (CVE-2022-3172).
            Ok(response) if response.status().is_redirection() && response.headers().contains_key(header::LOCATION) => {
                failure(
                    StatusCode::BAD_GATEWAY,
                    "the backend attempted to redirect this request, which is not permitted",
                )
            }
            Ok(response) => response.map(Body::new),
            Err(error) => unavailable(&format!("error trying to reach service: {error}")),
        }
    }

    async fn connect(&self, remote: &Remote) -> Result<(Place, TlsStream<TcpStream>), String> {
        let place = remote.place.clone()?;
        let (tls, name) = (self.tls(&place)?, place.server_name()?);
        let dialer = Dialer::new(Arc::clone(self.registry.caller.services()), place.address.clone());
        let reached = |why: String| format!("error trying to reach service: {why}");
        let stream = dialer.connect().await.map_err(|error| reached(explain(&error)))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        Ok((place, stream.map_err(|error| reached(explain(&error)))?))
    }

    fn tls(&self, place: &Place) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut kept = self.tls.lock();
        if let Some(tls) = kept.get(place) {
            return Ok(Arc::clone(tls));
        }
        let shown = self.shown.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
        let mut tls = place.trust.client_config(shown)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        if kept.len() >= MAX_PLACES {
            kept.clear();
        }
        let tls = Arc::new(tls);
        kept.insert(place.clone(), Arc::clone(&tls));
        Ok(tls)
    }
}

/// Says in the headers who sends a request, in place of whatever they said before.
pub(super) fn sign(headers: &mut HeaderMap, who: &Identity) {
    let ours: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    ours.iter().for_each(|name| drop(headers.remove(name)));
    headers.remove(header::AUTHORIZATION);
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add("x-remote-user", &who.name);
    if !who.uid.is_empty() {
        add("x-remote-uid", &who.uid);
    }
    who.groups.iter().for_each(|group| add("x-remote-group", group));
    for (key, values) in &who.extra {
        let name = format!("{EXTRA}{}", escaped(key));
        values.iter().for_each(|value| add(&name, value));
    }
}

/// A key of `extra` as part of a header's name: what may not stand there is percent-encoded.
fn escaped(key: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z'
        | b'0'..=b'9'
        | b'!'
        | b'#'
        | b'$'
        | b'&'
        | b'\''
        | b'*'
        | b'+'
        | b'-'
        | b'.'
        | b'^'
        | b'_'
        | b'`'
        | b'|'
        | b'~' => char::from(b).to_string(),
        other => format!("%{other:02x}"),
    };
    key.to_ascii_lowercase().bytes().map(byte).collect()
}

/// 503, in plain words: it is not about an object of ours.
fn unavailable(why: &str) -> Response<Body> {
    tracing::debug!(why, "an aggregated server did not answer");
    failure(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n"))
}

fn failure(code: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(why.to_owned()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_who_and_nobody_else_says_it() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.insert("x-remote-extra-a", HeaderValue::from_static("b"));
        headers.insert("authorization", HeaderValue::from_static("Bearer secret"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        let who = Identity {
            name: "ann".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            extra: [("example.org/Key".to_owned(), vec!["v".to_owned()])].into(),
        };
        sign(&mut headers, &who);
        let mut told: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        told.sort();
        assert_eq!(
            told,
            [
                "accept: */*",
                "x-remote-extra-example.org%2fkey: v",
                "x-remote-group: a",
                "x-remote-group: b",
                "x-remote-uid: 7",
                "x-remote-user: ann",
            ]
        );
    }
}
