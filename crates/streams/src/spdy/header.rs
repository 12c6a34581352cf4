//! Header blocks: name-value lists, compressed with one zlib stream per direction and a dictionary known to both.

use std::sync::LazyLock;

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Error;

/// The most a header block may inflate to: Kubernetes sends four short headers.
const MAX_BLOCK_BYTES: usize = 64 * 1024;
/// Room made at a time while inflating or deflating.
const STEP_BYTES: usize = 4 * 1024;

/// The names and values that come with a stream, in order. Names are lower-case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of `name` (lower-case); the first one, if there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The block as it is compressed: the values of one name are joined by NUL, since no name may come twice.
    fn to_block(&self) -> Vec<u8> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.0 {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let mut block = Vec::new();
        block.put_u32(names.len() as u32);
        for name in names {
            put_string(&mut block, name);
            put_string(&mut block, &self.values(name).collect::<Vec<_>>().join("\0"));
        }
        block
    }

    fn from_block(mut block: Bytes) -> Result<Self, Error> {
        let count = take_u32(&mut block)?;
        let mut headers = Vec::new();
        // Each header takes 8 bytes or more, so the block's own bound also bounds a count that lies.
        for _ in 0..count {
            let name = take_string(&mut block)?.to_ascii_lowercase();
            let values = take_string(&mut block)?;
            headers.extend(values.split('\0').map(|value| (name.clone(), value.to_owned())));
        }
        Ok(Self(headers))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(list: I) -> Self {
        Self(list.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

fn put_string(block: &mut Vec<u8>, text: &str) {
    block.put_u32(text.len() as u32);
    block.put_slice(text.as_bytes());
}

fn take_u32(block: &mut Bytes) -> Result<u32, Error> {
    block.try_get_u32().map_err(|_| Error::Spdy("a header block ends too early"))
}

fn take_string(block: &mut Bytes) -> Result<String, Error> {
    let length = take_u32(block)? as usize;
    if length > block.len() {
        return Err(Error::Spdy("a header block ends too early"));
    }
    String::from_utf8(block.split_to(length).into()).map_err(|_| Error::Spdy("a header is not UTF-8"))
}

/// Compresses the header blocks of one direction.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&DICTIONARY).expect("invariant: a fresh zlib stream takes a dictionary");
        Self(compress)
    }

    pub(super) fn deflate(&mut self, headers: &Headers) -> Vec<u8> {
        let block = headers.to_block();
        let start = self.0.total_in();
        let mut out = Vec::new();
        loop {
            let consumed = (self.0.total_in() - start) as usize;
            out.reserve(STEP_BYTES);
            self.0
                .compress_vec(&block[consumed..], &mut out, FlushCompress::Sync)
                .expect("invariant: deflating into a growing buffer cannot fail");
            // Room left over means that zlib had nothing more to flush.
            if out.len() < out.capacity() {
                return out;
            }
        }
    }
}

/// Inflates the header blocks of one direction.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn inflate(&mut self, compressed: &[u8]) -> Result<Headers, Error> {
        const BROKEN: Error = Error::Spdy("a header block cannot be inflated");
        let start = self.0.total_in();
        let mut out = Vec::new();
        loop {
            let rest = &compressed[(self.0.total_in() - start) as usize..];
            out.reserve(STEP_BYTES);
            match self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(BROKEN),
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| BROKEN)?;
                    continue;
                }
                Err(_) => return Err(BROKEN),
            }
            if out.len() > MAX_BLOCK_BYTES {
                return Err(Error::Spdy("a header block is too large"));
            }
            if out.len() < out.capacity() {
                break;
            }
        }
        Headers::from_block(out.into())
    }
}

/// Words that the dictionary holds with their length in front.
const COUNTED: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";

/// What follows them.
const PLAIN: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary of SPDY/3 (its specification, 2.6.10.1): 1423 bytes.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in COUNTED.split_ascii_whitespace() {
        put_string(&mut dictionary, &word.replace('_', " "));
    }
    dictionary.extend_from_slice(PLAIN.as_bytes());
    dictionary
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// zlib names a dictionary by its Adler-32; every SPDY/3 peer says this one.
    #[test]
    fn the_dictionary_is_spdys() {
        assert_eq!(DICTIONARY.len(), 1423);
        let adler = Decompress::new(true).set_dictionary(&DICTIONARY).ok();
        let compressed = Compress::new(Compression::default(), true).set_dictionary(&DICTIONARY).ok();
        assert!(adler == Some(0xe3c6_a7c2) || compressed == Some(0xe3c6_a7c2), "{adler:x?} {compressed:x?}");
    }

    #[test]
    fn one_name_once_on_the_wire() {
        let headers: Headers = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        let got = Headers::from_block(headers.to_block().into()).expect("own block");
        assert_eq!(got, [("a", "1"), ("a", "3"), ("b", "2")].into_iter().collect());
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut deflater = Deflater::new();
        let bomb: Headers = [("a", "0".repeat(10 * MAX_BLOCK_BYTES))].into_iter().collect();
        let compressed = deflater.deflate(&bomb);
        assert!(compressed.len() < MAX_BLOCK_BYTES / 10);
        assert!(matches!(Inflater::new().inflate(&compressed), Err(Error::Spdy("a header block is too large"))));
    }

    proptest! {
        #[test]
        fn round_trips(blocks in prop::collection::vec(prop::collection::vec(("[a-z]{1,9}", "[ -~]{0,40}"), 0..6), 1..6)) {
            let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
            for mut list in blocks {
                list.sort();
                let headers: Headers = list.into_iter().collect();
                let compressed = deflater.deflate(&headers);
                prop_assert_eq!(inflater.inflate(&compressed).expect("own block"), headers);
            }
        }
    }
}
