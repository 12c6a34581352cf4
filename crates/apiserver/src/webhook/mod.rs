//! HTTPS to where a `clientConfig` or an APIService points: a URL, or a Service of the cluster.
//!
//! [`Client::post`] sends JSON and reads JSON, over pooled connections. Admission, conversion, token and authorization
//! webhooks go through it, and so do the documents of aggregated APIs; what they send is their own affair. Redirects are
//! not followed. Texts of errors are those of upstream's client, since users search for them.
//!
//! [`Place`] says where and whom to trust there; [`endpoints`] turns a Service into an address; `trust` checks the other
//! side's certificate.

mod dialer;
mod endpoints;
mod place;
mod remembered;
mod trust;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) use self::dialer::{Dialer, explain, refused};
pub(crate) use self::endpoints::Services;
pub(crate) use self::place::{Address, Place};
pub(crate) use self::remembered::Remembered;
pub(crate) use self::trust::{Shown, Trust};

/// No answer is larger.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Places with connections of their own; beyond that all are forgotten and made anew.
const MAX_PLACES: usize = 256;
/// Connections to one place that are kept without use.
const MAX_IDLE: usize = 16;
/// How long a connection is kept without use.
const IDLE: Duration = Duration::from_secs(90);
/// This much of an answer that is no answer is shown.
const SHOWN_BYTES: usize = 1024;

/// Why a webhook did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The place cannot be one: its certificates or its address cannot be read.
    #[error("{0}")]
    Place(String),
    /// There is no answer.
    #[error("{verb} \"{url}\": {why}")]
    Unreachable {
        /// `Post` or `Get`.
        verb: &'static str,
        /// Where it was to be.
        url: String,
        /// What stood in the way.
        why: String,
    },
    /// The answer says that something is wrong.
    #[error("{0}")]
    Refused(String),
    /// The answer is not what was asked for.
    #[error("{0}")]
    Unreadable(String),
}

type Pool = legacy::Client<HttpsConnector<Dialer>, Full<Bytes>>;

/// What a client shows of itself.
#[derive(Default)]
pub(crate) struct Credentials {
    /// A certificate.
    pub(crate) shown: Option<Shown>,
    /// An `Authorization` header.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Credentials {
    /// The certificate, once more.
    pub(crate) fn shown(&self) -> Option<Shown> {
        self.shown.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()))
    }
}

/// The client.
pub(crate) struct Client {
    services: Arc<Services>,
    credentials: Credentials,
    pools: Mutex<HashMap<Place, Pool>>,
}

impl Client {
    /// A client that finds Services through `services`.
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self::showing(services, Credentials::default())
    }

    /// The same, for a place that wants to know who asks.
    pub(crate) fn showing(services: Arc<Services>, credentials: Credentials) -> Self {
        Self { services, credentials, pools: Mutex::default() }
    }

    /// Where the Services are.
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Posts `body` and reads the answer, all within `timeout`, which the other side is told.
    pub(crate) async fn post(&self, place: &Place, body: &Value, timeout: Duration) -> Result<Value, Error> {
        let url = place.url();
        let url = format!("{url}{}timeout={}s", if url.contains('?') { '&' } else { '?' }, timeout.as_secs().max(1));
        self.exchange(place, (Method::POST, &url, body.to_string().into()), timeout).await
    }

    /// Gets what is at a place, within `timeout`.
    pub(crate) async fn get(&self, place: &Place, timeout: Duration) -> Result<Value, Error> {
        self.exchange(place, (Method::GET, &place.url(), Bytes::new()), timeout).await
    }

    async fn exchange(
        &self,
        place: &Place,
        (method, url, body): (Method, &str, Bytes),
        timeout: Duration,
    ) -> Result<Value, Error> {
        let verb = if method == Method::GET { "Get" } else { "Post" };
        let unreachable = |why: String| Error::Unreachable { verb, url: url.to_owned(), why };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*"));
        headers.extend(self.credentials.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
        let exchange = async {
            let request = request(method, url, headers, body)?;
            let response = self.send(place, request).await.map_err(unreachable)?;
            read(response).await
        };
        let late = || unreachable("context deadline exceeded".to_owned());
        let (code, answer) = tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(late()))?;
        if !code.is_success() {
            return Err(Error::Refused(refusal(code, &answer)));
        }
        serde_json::from_slice(&answer)
            .map_err(|error| Error::Unreadable(format!("couldn't decode the response: {error}")))
    }

    /// Sends a request as it is; the texts of errors are without the URL.
    async fn send(&self, place: &Place, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        let pool = self.pool(place).map_err(|error| error.to_string())?;
        pool.request(request).await.map_err(|error| explain(&error))
    }

    /// The connections to a place.
    fn pool(&self, place: &Place) -> Result<Pool, Error> {
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(place) {
            return Ok(pool.clone());
        }
        let pool = self.make_pool(place)?;
        if pools.len() >= MAX_PLACES {
            pools.clear();
        }
        pools.insert(place.clone(), pool.clone());
        Ok(pool)
    }

    fn make_pool(&self, place: &Place) -> Result<Pool, Error> {
        let name = place.server_name().map_err(Error::Place)?;
        let tls = place.trust.client_config(self.credentials.shown()).map_err(Error::Place)?;
        let dialer = Dialer::new(Arc::clone(&self.services), place.address.clone());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_all_versions()
            .wrap_connector(dialer);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_max_idle_per_host(MAX_IDLE).pool_idle_timeout(IDLE);
        Ok(builder.build(connector))
    }
}

/// A request with everything in it.
fn request(method: Method, url: &str, headers: HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().map_err(|error| Error::Place(format!("{url}: {error}")))?;
    *request.headers_mut() = headers;
    let agent = HeaderValue::from_static("kube-apiserver-admission");
    request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
    Ok(request)
}

/// Reads an answer, bounded.
async fn read(response: Response<Incoming>) -> Result<(StatusCode, Bytes), Error> {
    let (head, body) = response.into_parts();
    let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = read.map_err(|error| Error::Unreadable(format!("the response cannot be read: {error}")))?;
    Ok((head.status, body.to_bytes()))
}

/// An answer that says no, in the words of upstream's client.
fn refusal(code: StatusCode, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok().filter(|status| status["kind"] == "Status");
    if let Some(message) = said.as_ref().and_then(|status| status["message"].as_str()) {
        return message.to_owned();
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).trim().to_owned();
    let text = if text.is_empty() { "unknown".to_owned() } else { text };
    match code.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => text,
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        500.. => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        let check = |code: u16, body: &str, want: &str| {
            assert_eq!(refusal(StatusCode::from_u16(code).unwrap(), body.as_bytes()), want);
        };
        check(404, "404 page not found", "the server could not find the requested resource");
        check(500, "boom\n", "an error on the server (\"boom\") has prevented the request from succeeding");
        check(500, "", "an error on the server (\"unknown\") has prevented the request from succeeding");
        check(403, r#"{"kind":"Status","message":"not you"}"#, "not you");
        check(302, "", "the server responded with the status code 302 but did not return more information");
    }
}
