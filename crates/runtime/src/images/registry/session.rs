//! One endpoint during one pull: requests with redirects followed and challenges met.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::credentials::{self, Secret};
use super::error::Error;
use super::hosts::Endpoint;
use super::transport::{Transport, shown};

const MAX_REDIRECTS: usize = 5;
const MAX_TOKEN_BYTES: usize = 1 << 20;
const CLIENT_ID: &str = "sampan";

/// An endpoint, what is allowed there, and whose images are wanted.
pub(super) struct Session {
    pub(super) endpoint: Endpoint,
    pub(super) transport: Transport,
    pub(super) secret: Option<Secret>,
    pub(super) registry: String,
    pub(super) repository: String,
    /// What has met the last challenge.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
}

/// A request for something of the repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    /// Below the repository: `manifests/<tag>`, `blobs/<digest>`.
    pub(super) path: &'a str,
    pub(super) accept: &'static str,
    /// The first byte that is wanted.
    pub(super) from: u64,
}

impl Session {
    /// Asks, meeting one challenge on the way. The answer is a success.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Response<Incoming>, Error> {
        let mut response = self.follow(ask).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let header = self.meet(response.headers()).await?;
            *self.authorization.lock() = Some(header);
            response = self.follow(ask).await?;
        }
        let url = shown(&self.url(ask.path)?);
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(Error::NotFound(url)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Error::Denied("server message: insufficient_scope: authorization failed".to_owned()))
            }
            status => Err(Error::Status { method: ask.method.to_string(), url, status }),
        }
    }

    fn url(&self, path: &str) -> Result<Uri, Error> {
        let (origin, prefix) = (&self.endpoint.origin, &self.endpoint.prefix);
        let scheme = origin.scheme_str().unwrap_or("https");
        let authority = origin.authority().map(|authority| authority.as_str()).unwrap_or_default();
        // A mirror of many registries has to be told which one is meant.
        let meant = if self.endpoint.mirror { format!("?ns={}", encode(&self.registry)) } else { String::new() };
        let text = format!("{scheme}://{authority}{prefix}/{}/{path}{meant}", self.repository);
        text.parse().map_err(|_| Error::content(text, "it is not a URL"))
    }

    /// Sends the request to wherever it is led. Only the endpoint itself sees what is meant for it.
    async fn follow(&self, ask: Ask<'_>) -> Result<Response<Incoming>, Error> {
        let own = self.url(ask.path)?;
        let mut url = own.clone();
        for _ in 0..=MAX_REDIRECTS {
            let is_own = same_origin(&url, &own);
            let response = self.transport.send(self.request(ask, &url, is_own)?).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                if !is_own && response.status() == StatusCode::UNAUTHORIZED {
                    let words = format!("the redirect to {} asks for credentials that are not for it", shown(&url));
                    return Err(Error::Denied(words));
                }
                return Ok(response);
            }
            url = redirected(&url, response.headers())?;
        }
        Err(Error::content(shown(&own), format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn request(&self, ask: Ask<'_>, url: &Uri, is_own: bool) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(ask.method).uri(url).header(ACCEPT, ask.accept);
        if ask.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.from));
        }
        if is_own {
            for (name, value) in &self.endpoint.headers {
                request = request.header(name, value);
            }
            if let Some(value) = &*self.authorization.lock() {
                request = request.header(AUTHORIZATION, value);
            }
        }
        request.body(Full::default()).map_err(|error| Error::content(shown(url), error.to_string()))
    }

    /// The header that answers the challenge in `headers`.
    async fn meet(&self, headers: &HeaderMap) -> Result<HeaderValue, Error> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        match (challenge::parse(texts), &self.secret) {
            (None, _) => Err(Error::Denied("authorization failed: the registry does not say what it wants".to_owned())),
            (Some(Challenge::Basic), Some(Secret::Password { user, password })) => credentials::basic(user, password),
            (Some(Challenge::Basic), _) => {
                Err(Error::Denied("authorization failed: no basic auth credentials".to_owned()))
            }
            (Some(Challenge::Bearer { .. }), Some(Secret::Token(token))) => credentials::header("Bearer", token),
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
                let token = self.token(&realm, &service.unwrap_or_default(), &scope).await?;
                credentials::header("Bearer", &token)
            }
        }
    }

    /// Fetches a token from the service `realm`.
    async fn token(&self, realm: &str, service: &str, scope: &str) -> Result<String, Error> {
        let denied = |reason: &str| Error::Denied(format!("failed to fetch a token from {realm}: {reason}"));
        let url: Uri = realm.parse().map_err(|_| denied("it is not a URL"))?;
        let plain = url.scheme_str() != Some("https");
        let plain_is_fine = self.endpoint.configured && self.endpoint.origin.scheme_str() == Some("http");
        if self.secret.is_some() && plain && !plain_is_fine {
            return Err(denied("credentials are not sent over plain HTTP"));
        }
        let response = self.transport.send(self.token_request(&url, service, scope)?).await?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(denied("the credentials are not accepted")),
            status if status.is_client_error() => return Err(denied(&status.to_string())),
            status => return Err(Error::Status { method: "GET".to_owned(), url: shown(&url), status }),
        }
        let text = self.transport.all(response.into_body(), realm, MAX_TOKEN_BYTES).await?;
        let answer: Token = serde_json::from_slice(&text).map_err(|_| denied("the answer is not a token"))?;
        answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or_else(|| denied("it gave none"))
    }

    fn token_request(&self, url: &Uri, service: &str, scope: &str) -> Result<Request<Full<Bytes>>, Error> {
        let invalid = |error: http::Error| Error::content(shown(url), error.to_string());
        let wanted = format!("service={}&scope={}", encode(service), encode(scope));
        if let Some(Secret::Identity(token)) = &self.secret {
            let form =
                format!("grant_type=refresh_token&client_id={CLIENT_ID}&{wanted}&refresh_token={}", encode(token));
            let request = Request::post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            return request.body(Full::from(form)).map_err(invalid);
        }
        let joint = if url.query().is_some() { '&' } else { '?' };
        let mut request = Request::get(format!("{url}{joint}{wanted}"));
        if let Some(Secret::Password { user, password }) = &self.secret {
            request = request.header(AUTHORIZATION, credentials::basic(user, password)?);
        }
        request.body(Full::default()).map_err(invalid)
    }
}

/// A token service's answer; which of the two names it uses is a matter of its age.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

/// Where a redirect leads; never from TLS to plain HTTP.
fn redirected(from: &Uri, headers: &HeaderMap) -> Result<Uri, Error> {
    let invalid = |reason: &str| Error::content(shown(from), format!("its redirect {reason}"));
    let location =
        headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(|| invalid("names no place"))?;
    let authority = from.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let scheme = from.scheme_str().unwrap_or("https");
    let target = match location {
        path if path.starts_with("//") => format!("{scheme}:{path}"),
        path if path.starts_with('/') => format!("{scheme}://{authority}{path}"),
        whole => whole.to_owned(),
    };
    let target: Uri = target.parse().map_err(|_| invalid("is not a URL"))?;
    match (scheme, target.scheme_str()) {
        (_, Some("https")) | ("http", Some("http")) => Ok(target),
        _ => Err(invalid("leads away from TLS")),
    }
}

/// Percent-encoding of everything that is not plain.
fn encode(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted() {
        let check = |from: &str, location: &str, want: Option<&str>| {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            let target = redirected(&from.parse().unwrap(), &headers).ok().map(|uri| uri.to_string());
            assert_eq!(target.as_deref(), want, "{from} -> {location}");
        };
        check("https://r/v2/a", "https://cdn/b?sig=1", Some("https://cdn/b?sig=1"));
        check("https://r/v2/a", "/b", Some("https://r/b"));
        check("https://r/v2/a", "//cdn/b", Some("https://cdn/b"));
        check("https://r/v2/a", "http://cdn/b", None);
        check("http://r/v2/a", "http://cdn/b", Some("http://cdn/b"));
        check("http://r/v2/a", "file:///etc/passwd", None);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
    }
}
