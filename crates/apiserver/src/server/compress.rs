//! Large answers in gzip, for clients that accept it. Requests are never compressed: upstream does not read such either.

use std::io::Write as _;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, header};

/// What is smaller is not worth the work; upstream's threshold.
const MIN_BYTES: u64 = 128 << 10;
/// Upstream's level: speed counts.
const LEVEL: Compression = Compression::new(1);
/// How much is compressed before others get their turn.
const PIECE_BYTES: usize = 64 << 10;

/// Marks a response that may be compressed: one that was made here, and not passed on from another server.
#[derive(Clone, Copy)]
pub(crate) struct Compressible;

/// Whether a client accepts gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|coding| coding.trim() == "gzip")
}

/// The response compressed, if that is worth it.
pub(super) fn compress(response: Response<Body>) -> Response<Body> {
    let is_large = response.body().size_hint().exact().is_some_and(|size| size > MIN_BYTES);
    if !is_large || response.extensions().get::<Compressible>().is_none() {
        return response;
    }
    let mut response = response.map(|body| Body::from_stream(compressed(body)));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Compresses a body piece by piece, as the client takes it.
struct Compressor {
    source: BodyDataStream,
    piece: Bytes,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

fn compressed(body: Body) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let encoder = Some(GzEncoder::new(Vec::with_capacity(PIECE_BYTES), LEVEL));
    let compressor = Compressor { source: body.into_data_stream(), piece: Bytes::new(), encoder };
    futures::stream::try_unfold(compressor, |mut compressor| async move {
        Ok(compressor.next().await?.map(|bytes| (bytes, compressor)))
    })
}

impl Compressor {
    /// The next compressed bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, axum::Error> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(None) };
        loop {
            if self.piece.is_empty() {
                match self.source.next().await {
                    Some(piece) => self.piece = piece?,
                    None => return encoder.finish().map(|last| Some(last.into())).map_err(axum::Error::new),
                }
            }
            let now = self.piece.split_to(self.piece.len().min(PIECE_BYTES));
            encoder.write_all(&now).map_err(axum::Error::new)?;
            if !encoder.get_ref().is_empty() {
                let made = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
                return Ok(Some(made.into()));
            }
            tokio::task::consume_budget().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::BodyExt as _;

    use super::*;

    fn response(size: usize) -> Response<Body> {
        let mut response = Response::new(Body::from(text(size)));
        response.extensions_mut().insert(Compressible);
        response
    }

    fn text(size: usize) -> Vec<u8> {
        (0..size).map(|at| b"kubernetes"[at * at % 7]).collect()
    }

    #[tokio::test]
    async fn large_answers_come_whole() {
        let size = 3 * (128 << 10) + 5;
        let answer = compress(response(size));
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(answer.headers()[header::VARY], "Accept-Encoding");
        let packed = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(packed.len() < size / 2);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text(size));
    }

    #[test]
    fn small_and_foreign_answers_stay() {
        assert!(!compress(response(128 << 10)).headers().contains_key(header::CONTENT_ENCODING));
        let foreign = Response::new(Body::from(text(1 << 20)));
        assert!(!compress(foreign).headers().contains_key(header::CONTENT_ENCODING));
    }

    #[test]
    fn who_accepts_gzip() {
        for (value, want) in
            [("gzip", true), ("deflate, gzip", true), ("br", false), ("gzip;q=0.5", false), ("identity", false)]
        {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(accepts_gzip(&headers), want, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
