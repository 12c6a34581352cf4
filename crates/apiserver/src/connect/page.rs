//! What a proxy changes of an answer: links lead back through it, and a page never speaks for this server.

use std::io::{self, Write as _};

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::{HeaderName, HeaderValue, Response, header};

use super::html::Page;
use super::links::Links;

/// Whoever asked a Pod across origins was not asking this server's leave.
const CROSS_ORIGIN: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];
/// Compressed pages are unpacked in pieces of this size, so that none makes much of little.
const PACKED_BYTES: usize = 4 << 10;

/// The answer as the client of the proxy gets it.
pub(super) fn through(mut response: Response<Body>, links: Links) -> Response<Body> {
    for name in CROSS_ORIGIN {
        response.headers_mut().remove(name);
    }
    if let Some(location) = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()) {
        if let Some(turned) = links.through(location).and_then(|url| HeaderValue::from_str(&url).ok()) {
            response.headers_mut().insert(header::LOCATION, turned);
        }
        return response;
    }
    let Some(packed) = html(&response) else { return response };
    // Its length is not known before it has passed.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.map(|body| Body::from_stream(turned(body, links, packed)))
}

/// Whether an answer is HTML that can be read, and then whether it is compressed.
fn html<B>(response: &Response<B>) -> Option<bool> {
    let text = |name: HeaderName| response.headers().get(name).map_or("", |value| value.to_str().unwrap_or("?"));
    let media = text(header::CONTENT_TYPE);
    if media.split(';').next().is_none_or(|media| media.trim() != "text/html") {
        return None;
    }
    match text(header::CONTENT_ENCODING) {
        "" | "identity" => Some(false),
        "gzip" => Some(true),
        _ => None,
    }
}

/// The body with its links turned.
fn turned(body: Body, links: Links, packed: bool) -> BoxStream<'static, io::Result<Bytes>> {
    let page = Page::new(move |url: &str| links.through(url));
    let mut turning = if packed { Turning::packed(page) } else { Turning::Plain(page) };
    let pieces = body.into_data_stream().map(Some).chain(stream::once(async { None }));
    let turned = pieces.map(move |piece| match piece {
        Some(Ok(piece)) => turning.push(&piece),
        Some(Err(error)) => Err(io::Error::other(error)),
        None => turning.finish(),
    });
    turned.boxed()
}

/// A page on its way, plain or unpacked and packed again.
enum Turning<F> {
    Plain(Page<F>),
    Packed { page: Page<F>, unpack: Box<MultiGzDecoder<Vec<u8>>>, pack: Box<GzEncoder<Vec<u8>>> },
}

impl<F: Fn(&str) -> Option<String>> Turning<F> {
    fn packed(page: Page<F>) -> Self {
        let pack = Box::new(GzEncoder::new(Vec::new(), Compression::fast()));
        Self::Packed { page, unpack: Box::new(MultiGzDecoder::new(Vec::new())), pack }
    }

    fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        match self {
            Self::Plain(page) => Ok(page.push(piece).into()),
            Self::Packed { page, unpack, pack } => {
                for piece in piece.chunks(PACKED_BYTES) {
                    unpack.write_all(piece)?;
                    pack.write_all(&page.push(&std::mem::take(unpack.get_mut())))?;
                }
                pack.flush()?;
                Ok(std::mem::take(pack.get_mut()).into())
            }
        }
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Plain(page) => Ok(page.finish().into()),
            Self::Packed { page, unpack, pack } => {
                unpack.try_finish()?;
                let last = page.push(&std::mem::take(unpack.get_mut()));
                pack.write_all(&last)?;
                pack.write_all(&page.finish())?;
                pack.try_finish()?;
                Ok(std::mem::take(pack.get_mut()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const PAGE: &str = r#"<p><a href="/rewriteme">test</a>"#;
    const TURNED: &str = r#"<p><a href="/p/proxy/rewriteme">test</a>"#;

    fn links() -> Links {
        Links { prefix: "/p/proxy".to_owned(), backend: "10.0.0.1:80".to_owned(), asked: "api".to_owned() }
    }

    async fn pass(headers: &[(&'static str, &'static str)], body: Vec<u8>) -> Response<Bytes> {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, body) = through(response.body(Body::from(body)).unwrap(), links()).into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn pages() {
        let got = pass(&[("content-type", "text/html; charset=utf-8"), ("content-length", "32")], PAGE.into()).await;
        assert_eq!(got.body(), TURNED);
        assert!(!got.headers().contains_key("content-length"));
        let got = pass(&[("content-type", "text/plain"), ("content-length", "32")], PAGE.into()).await;
        assert_eq!(
            (got.body(), &got.headers()["content-length"]),
            (&Bytes::from(PAGE), &HeaderValue::from_static("32"))
        );
        let got = pass(&[("content-type", "text/html"), ("content-encoding", "br")], PAGE.into()).await;
        assert_eq!(got.body(), PAGE);
    }

    #[tokio::test]
    async fn compressed_pages() {
        let mut pack = GzEncoder::new(Vec::new(), Compression::default());
        pack.write_all(PAGE.as_bytes()).unwrap();
        let body = pack.finish().unwrap();
        let got = pass(&[("content-type", "text/html"), ("content-encoding", "gzip")], body).await;
        let mut unpack = MultiGzDecoder::new(Vec::new());
        unpack.write_all(got.body()).unwrap();
        assert_eq!(unpack.finish().unwrap(), TURNED.as_bytes());
    }

    #[tokio::test]
    async fn headers() {
        let got = pass(&[("location", "/there"), ("access-control-allow-origin", "*")], Vec::new()).await;
        assert_eq!(got.headers()["location"], "/p/proxy/there");
        assert!(!got.headers().contains_key("access-control-allow-origin"));
        let got = pass(&[("location", "https://elsewhere.example/there")], Vec::new()).await;
        assert_eq!(got.headers()["location"], "https://elsewhere.example/there");
    }
}
