//! Probing with an HTTP request: 200 to 399 is good. Redirects are followed on the host that was asked, and to no other.
//! A certificate is not verified, as upstream's probes do not: a probe asks whether the container answers, not who it is.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::LOCATION;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, InvalidMessage};
use sampan_streams::tls::Anyone;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Position, Url};

use super::{Answer, cut, tcp};

/// Upstream reads this much of an answer.
const BODY_BYTES: usize = 10 * 1024;
/// So many requests are made at most, one redirected to the next.
const MAX_REQUESTS: usize = 10;

/// A request that has no answer.
#[derive(Debug, thiserror::Error)]
#[error("Get \"{url}\": {cause}")]
pub(crate) struct Error {
    url: String,
    pub(crate) cause: Cause,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// Over HTTPS the server has answered in plain HTTP.
    #[error("http: server gave HTTP response to HTTPS client")]
    PlainAnswer,
    #[error("{0}")]
    Other(String),
}

impl From<String> for Cause {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// What is asked, of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// What was answered.
pub(crate) struct Response {
    status: u16,
    /// Where it sends whoever asked.
    location: Option<String>,
    /// Its beginning.
    body: String,
}

pub(super) async fn ask(request: &Request, timeout: Duration) -> Answer {
    match get(request, timeout).await {
        Ok(response) => match response.status {
            200..300 => Answer::Good,
            300..400 => {
                let text = format!("Probe terminated redirects, Response body: {}", response.body);
                Answer::Warning(cut(&text))
            }
            status => Answer::Bad(format!("HTTP probe failed with statuscode: {status}")),
        },
        Err(error) => Answer::Bad(error.to_string()),
    }
}

/// Asks and waits for the answer, which is the last one where the host that was asked has redirected to itself.
pub(crate) async fn get(request: &Request, timeout: Duration) -> Result<Response, Error> {
    tokio::time::timeout(timeout, follow(request.clone())).await.unwrap_or_else(|_| {
        let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        Err(request.failed(why.to_owned()))
    })
}

async fn follow(mut request: Request) -> Result<Response, Error> {
    for _ in 0..MAX_REQUESTS {
        let response = exchange(&request).await.map_err(|cause| request.failed(cause))?;
        let Some(location) = &response.location else { return Ok(response) };
        match request.redirected(location).map_err(|why| request.failed(why))? {
            Some(next) => request = next,
            None => return Ok(response),
        }
    }
    Err(request.failed(format!("stopped after {MAX_REQUESTS} redirects")))
}

impl Request {
    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        tcp::address(&self.host, self.port)
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn failed(&self, cause: impl Into<Cause>) -> Error {
        Error { url: self.url(), cause: cause.into() }
    }

    /// The request that `location` asks to be made in place of this one; nothing if another host is to be asked.
    fn redirected(&self, location: &str) -> Result<Option<Self>, String> {
        let wrong = |error: url::ParseError| format!("failed to parse Location header {location:?}: {error}");
        let from = Url::parse(&self.url()).map_err(wrong)?;
        let to = from.join(location).map_err(wrong)?;
        if to.host() != from.host() {
            return Ok(None);
        }
        let (tls, port) = match (to.scheme(), to.port_or_known_default()) {
            ("http", Some(port)) => (false, port),
            ("https", Some(port)) => (true, port),
            (scheme, _) => return Err(format!("unsupported protocol scheme {scheme:?}")),
        };
        let mut headers = self.headers.clone();
        if Url::parse(location).is_ok() {
            // The name that the probe gives to the host is not the one that it is sent to.
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
        }
        let path = to[Position::BeforePath..Position::AfterQuery].to_owned();
        Ok(Some(Self { tls, host: self.host.clone(), port, path, headers }))
    }
}

async fn exchange(request: &Request) -> Result<Response, Cause> {
    let stream = TcpStream::connect((request.host.as_str(), request.port)).await;
    let stream = stream.map_err(|error| tcp::dial_error(&request.host, request.port, &error))?;
    if !request.tls {
        return Ok(send(request, stream).await?);
    }
    let name = ServerName::try_from(request.host.clone()).map_err(|error| error.to_string())?;
    let config = client_config().map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect(name, stream).await.map_err(|error| handshake_error(&error))?;
    Ok(send(request, stream).await?)
}

/// What does not begin as TLS does is an answer in plain HTTP: servers give one to whoever greets them so strangely.
fn handshake_error(error: &std::io::Error) -> Cause {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Cause::PlainAnswer,
        _ => Cause::Other(error.to_string()),
    }
}

async fn send(
    request: &Request,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Response, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut builder = hyper::Request::get(&request.path);
    let mut defaults = vec![
        ("host", request.authority()),
        ("user-agent", format!("kube-probe/{}", env!("CARGO_PKG_VERSION"))),
        ("accept", "*/*".to_owned()),
        ("connection", "close".to_owned()),
    ];
    defaults.retain(|(name, _)| !request.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
    for (name, value) in &defaults {
        builder = builder.header(*name, value);
    }
    for (name, value) in request.headers.iter().filter(|(_, value)| !value.is_empty()) {
        builder = builder.header(name, value);
    }
    let message = builder.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(message).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let location = match status {
            301..=303 | 307 | 308 => response.headers().get(LOCATION).and_then(|value| value.to_str().ok()),
            _ => None,
        };
        let location = location.map(str::to_owned);
        Ok(Response { status, location, body: beginning(response.into_body()).await })
    };
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.to_string()),
    }
}

/// The beginning of a body. One that is too long or breaks off does not change the verdict.
async fn beginning(body: Incoming) -> String {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while bytes.len() < BODY_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    bytes.truncate(BODY_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn client_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Anyone(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each request as `answer` says for its path: status and `Location`.
    async fn server(answer: impl Fn(&str, u16) -> (u16, String) + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let (status, location) = answer(text.split(' ').nth(1).unwrap_or_default(), port);
                let answer = format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nbody");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    fn request(port: u16, path: &str) -> Request {
        Request { tls: false, host: "127.0.0.1".to_owned(), port, path: path.to_owned(), headers: Vec::new() }
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host() {
        let port = server(|path, port| match path {
            "/to-bad" => (302, "bad".to_owned()),
            "/to-good" => (301, format!("http://127.0.0.1:{port}/good")),
            "/away" => (307, "http://192.0.2.1/good".to_owned()),
            "/loop" => (308, "/loop".to_owned()),
            "/not-modified" => (304, "/bad".to_owned()),
            "/good" => (200, String::new()),
            _ => (500, String::new()),
        })
        .await;
        let warning = || Answer::Warning("Probe terminated redirects, Response body: body".to_owned());
        for (path, want) in [
            ("/good", Answer::Good),
            ("/to-good", Answer::Good),
            ("/to-bad", Answer::Bad("HTTP probe failed with statuscode: 500".to_owned())),
            ("/away", warning()),
            ("/loop", Answer::Bad(format!("Get \"http://127.0.0.1:{port}/loop\": stopped after 10 redirects"))),
        ] {
            assert_eq!(ask(&request(port, path), Duration::from_secs(10)).await, want, "{path}");
        }
        let not_modified = ask(&request(port, "/not-modified"), Duration::from_secs(10)).await;
        assert!(matches!(not_modified, Answer::Warning(_)), "{not_modified:?}");
    }

    #[test]
    fn redirects_are_resolved_as_links_are() {
        let host = |name: &str| vec![("Host".to_owned(), name.to_owned())];
        let from = Request { headers: host("named"), ..request(80, "/a/b?c") };
        let check = |location: &str, want: Option<(bool, u16, &str, usize)>| {
            let next = from.redirected(location).unwrap();
            let next = next.as_ref().map(|next| (next.tls, next.port, next.path.as_str(), next.headers.len()));
            assert_eq!(next, want, "{location}");
        };
        check("d", Some((false, 80, "/a/d", 1)));
        check("../d?e=f#g", Some((false, 80, "/d?e=f", 1)));
        check("//127.0.0.1:8080/d", Some((false, 8080, "/d", 1)));
        check("https://127.0.0.1", Some((true, 443, "/", 0)));
        check("http://other/d", None);
        assert!(from.redirected("http://[").unwrap_err().starts_with("failed to parse Location header \"http://[\""));
        assert!(from.redirected("ftp://127.0.0.1/").unwrap_err().starts_with("unsupported protocol scheme"));
    }

    #[tokio::test]
    async fn plain_answers_to_tls_are_known() {
        let port = server(|_, _| (400, String::new())).await;
        let secure = Request { tls: true, ..request(port, "/") };
        let error = get(&secure, Duration::from_secs(10)).await.err().unwrap();
        assert!(matches!(error.cause, Cause::PlainAnswer), "{error}");
        let text = format!("Get \"https://127.0.0.1:{port}/\": http: server gave HTTP response to HTTPS client");
        assert_eq!(error.to_string(), text);
    }
}
