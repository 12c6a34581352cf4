//! URLs: `url('https://user@example.com:80/a?b=c').getHost()`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Library, Ran};
use crate::value::{Key, Map, Opaque, Value};

/// The URL functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    url string_to_url (string) -> kubernetes.URL
    isURL is_url_string (string) -> bool
    getScheme url_get_scheme kubernetes.URL.() -> string
    getHost url_get_host kubernetes.URL.() -> string
    getHostname url_get_hostname kubernetes.URL.() -> string
    getPort url_get_port kubernetes.URL.() -> string
    getEscapedPath url_get_escaped_path kubernetes.URL.() -> string
    getQuery url_get_query kubernetes.URL.() -> map(string, list(string))
",
    run,
};

/// A parsed URL: absolute, or a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let value = match (function, args) {
        ("url", [Value::String(text)]) => match Url::parse(text) {
            Ok(url) => Value::Opaque(Opaque::Url(Arc::new(url))),
            Err(why) => return Some(Err(format!("URL parse error during conversion from string: {why}"))),
        },
        ("isURL", [Value::String(text)]) => Value::Bool(Url::parse(text).is_ok()),
        ("getScheme", [Value::Opaque(Opaque::Url(url))]) => Value::text(url.scheme.as_str()),
        ("getHost", [Value::Opaque(Opaque::Url(url))]) => Value::text(url.host.as_str()),
        ("getHostname", [Value::Opaque(Opaque::Url(url))]) => Value::text(url.hostname()),
        ("getPort", [Value::Opaque(Opaque::Url(url))]) => Value::text(url.port()),
        ("getEscapedPath", [Value::Opaque(Opaque::Url(url))]) => Value::text(url.path.as_str()),
        ("getQuery", [Value::Opaque(Opaque::Url(url))]) => url.query(),
        _ => return None,
    };
    Some(Ok(value))
}

impl Url {
    /// Takes it apart as Go does what stands in a request; an error says why not, in Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("parse \"{text}\": {why}");
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err(fault("net/url: invalid control character in URL"));
        }
        if text.is_empty() {
            return Err(fault("empty url"));
        }
        let (scheme, rest) = scheme(text).map_err(fault)?;
        if scheme.is_empty() && !rest.starts_with('/') {
            return Err(fault("invalid URI for request"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None if rest.starts_with('/') => ("", rest),
            None => return Err(fault("invalid URI for request")),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.starts_with('[') && !host.contains(']') {
            return Err(fault("missing ']' in host"));
        }
        if let Some(wrong) = host.chars().find(|c| [' ', '<', '>', '"'].contains(c)) {
            return Err(fault(&format!("invalid character {:?} in host name", wrong.to_string())));
        }
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        if !host.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(fault(&format!("invalid port \":{port}\" after host")));
        }
        if !escapes_are_whole(path) {
            return Err(fault("invalid URL escape"));
        }
        let path = path.replace(' ', "%20");
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host: host.to_owned(), path, query: query.to_owned() })
    }

    fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        self.host.split(':').next().unwrap_or_default()
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit_once(']').map_or(self.host.as_str(), |(_, after)| after);
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    fn query<'a>(&self) -> Value<'a> {
        let mut all: BTreeMap<Key, Vec<Value<'a>>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(Key::String(unescaped(name).into())).or_default().push(Value::text(unescaped(value)));
        }
        Value::Map(Map::own(all.into_iter().map(|(name, values)| (name, Value::list(values))).collect()))
    }
}

/// What is before the first colon, if that is a scheme.
fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        [digits.next(), digits.next()].iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
    })
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match (bytes[at], code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
