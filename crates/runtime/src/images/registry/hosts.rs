//! Where a registry's images are fetched from: `<directory>/<registry>/hosts.toml`, in the form that containerd reads.
//!
//! ```toml
//! server = "https://registry-1.docker.io"        # the registry itself, asked last
//! [host."https://mirror.example:5000"]           # asked before it, in this order
//!   capabilities = ["pull", "resolve"]
//!   ca = "ca.crt"                                # relative to this file
//! ```
//!
//! One directory a registry (`_default` for all that have none), read at every pull: nothing has to be restarted.
//! [`endpoints`] is pure.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use toml::{Table, Value};

use super::Error;

const FILE: &str = "hosts.toml";
const DEFAULT_DIRECTORY: &str = "_default";
/// A file longer than this is none that somebody wrote.
const MAX_BYTES: u64 = 1 << 20;
/// Endpoints of one registry.
const MAX_ENDPOINTS: usize = 16;

/// One place to ask.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// Scheme and authority.
    pub(super) origin: Uri,
    /// What comes before `/<repository>/...`: `/v2` in most places.
    pub(super) prefix: String,
    /// Whether it may say what a tag means.
    pub(super) resolves: bool,
    pub(super) pulls: bool,
    /// Not the registry itself: it is told which registry is meant, and gets no credentials that are for that one.
    pub(super) mirror: bool,
    /// Somebody wrote it down; plain HTTP is then what they want.
    pub(super) configured: bool,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) trust: Trust,
    pub(super) dial_timeout: Option<Duration>,
}

/// Whom to believe at the other end, and who we are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// Files of authorities' certificates, beside the system's own.
    pub(super) authorities: Vec<PathBuf>,
    /// Certificate and key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    pub(super) skip_verify: bool,
}

/// One host's settings in the file; the registry's own stand at its top.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    skip_verify: bool,
    header: Table,
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// One file with both, or pairs of files.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Pairs(Vec<(String, String)>),
}

/// The endpoints of `registry`, in the order in which they are asked. `directory` need not exist.
pub(super) fn read(directory: &Path, registry: &str) -> Result<Vec<Endpoint>, Error> {
    for name in [registry.to_owned(), registry.replace(':', "_"), DEFAULT_DIRECTORY.to_owned()] {
        // A registry's name has no slash in it (`reference.rs`); this only makes sure.
        let place = directory.join(name.replace('/', "_"));
        let path = place.join(FILE);
        let invalid = |reason: String| Error::Hosts { path: path.clone(), reason };
        match text_of(&path) {
            Ok(text) => return endpoints(&text, &place, registry).map_err(invalid),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(invalid(error.to_string())),
        }
    }
    Ok(vec![itself(registry)])
}

fn text_of(path: &Path) -> io::Result<String> {
    io::read_to_string(io::Read::take(std::fs::File::open(path)?, MAX_BYTES))
}

/// What the file's `text`, lying in `place`, says about `registry`.
fn endpoints(text: &str, place: &Path, registry: &str) -> Result<Vec<Endpoint>, String> {
    let mut table: Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let hosts = match table.remove("host") {
        None => Table::new(),
        Some(Value::Table(hosts)) => hosts,
        Some(_) => return Err("host is not a table".to_owned()),
    };
    let mut endpoints = Vec::new();
    for (url, settings) in hosts {
        endpoints.push(endpoint(&url, settings, place).map_err(|reason| format!("host {url:?}: {reason}"))?);
    }
    let server = table.get("server").and_then(Value::as_str).map(str::to_owned);
    let default = itself(registry);
    let url = server.clone().unwrap_or_else(|| default.origin.to_string());
    let own = endpoint(&url, Value::Table(table), place).map_err(|reason| format!("server {url:?}: {reason}"))?;
    // Only a server that is written down says that plain HTTP is wanted.
    let own = Endpoint { configured: server.is_some(), ..own };
    endpoints.push(Endpoint { mirror: false, ..own });
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(format!("more than {MAX_ENDPOINTS} hosts"));
    }
    Ok(endpoints)
}

fn endpoint(url: &str, settings: Value, place: &Path) -> Result<Endpoint, String> {
    let settings: Settings = settings.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https"))
        || uri.authority().is_none_or(|own| own.as_str().contains('@'))
    {
        return Err("not an http or https URL of a host".to_owned());
    }
    let path = uri.path().trim_end_matches('/').to_owned();
    let prefix = if settings.override_path || path.ends_with("/v2") { path } else { format!("{path}/v2") };
    let may = |what: &str| settings.capabilities.as_ref().is_none_or(|own| own.iter().any(|own| own == what));
    Ok(Endpoint {
        prefix,
        resolves: may("resolve"),
        pulls: may("pull"),
        mirror: true,
        configured: true,
        headers: headers(&settings.header)?,
        dial_timeout: settings.dial_timeout.as_deref().map(duration).transpose()?,
        trust: trust(&settings, place),
        origin: uri,
    })
}

/// A registry that nothing was written about. On loopback registries speak plain HTTP, elsewhere none may.
fn itself(registry: &str) -> Endpoint {
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let scheme = if is_loopback(host) { "http" } else { "https" };
    let origin = format!("{scheme}://{host}/").parse().unwrap_or_else(|_| Uri::from_static("https://invalid./"));
    Endpoint {
        origin,
        prefix: "/v2".to_owned(),
        resolves: true,
        pulls: true,
        mirror: false,
        configured: false,
        headers: Vec::new(),
        trust: Trust::default(),
        dial_timeout: None,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn headers(table: &Table) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in table {
        let values = match value {
            Value::String(one) => vec![one.as_str()],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => return Err(format!("header {name:?} is neither text nor a list")),
        };
        let key: HeaderName = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
        for value in values {
            let mut value = HeaderValue::from_str(value).map_err(|_| format!("header {name:?} has no legal value"))?;
            value.set_sensitive(true);
            headers.push((key.clone(), value));
        }
    }
    Ok(headers)
}

fn trust(settings: &Settings, place: &Path) -> Trust {
    let authorities = match &settings.ca {
        None => Vec::new(),
        Some(OneOrMany::One(path)) => vec![place.join(path)],
        Some(OneOrMany::Many(paths)) => paths.iter().map(|path| place.join(path)).collect(),
    };
    let client = match &settings.client {
        None => None,
        Some(Client::One(path)) => Some((place.join(path), place.join(path))),
        Some(Client::Pairs(pairs)) => pairs.first().map(|(own, key)| (place.join(own), place.join(key))),
    };
    Trust { authorities, client, skip_verify: settings.skip_verify }
}

/// Go's notation, as far as anybody uses it here: `3s`, `500ms`, `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} is not a duration"))?;
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(format!("{text:?} is not a duration such as 3s")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the file would say of `url` alone.
    pub(in crate::images::registry) fn endpoint(url: &str) -> Endpoint {
        super::endpoint(url, Value::Table(Table::new()), Path::new("/d")).unwrap()
    }

    fn check(text: &str, registry: &str, want: &[(&str, &str, bool)]) {
        let found = endpoints(text, Path::new("/d"), registry).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|own| {
                let origin = format!("{}://{}", own.origin.scheme().unwrap(), own.origin.authority().unwrap());
                (origin, own.prefix.clone(), own.mirror)
            })
            .collect();
        let want: Vec<_> =
            want.iter().map(|(origin, prefix, mirror)| ((*origin).to_owned(), (*prefix).to_owned(), *mirror)).collect();
        assert_eq!(seen, want, "{text}");
    }

    #[test]
    fn the_registry_itself_comes_last() {
        check("", "docker.io", &[("https://registry-1.docker.io", "/v2", false)]);
        check("skip_verify = true", "a.b", &[("https://a.b", "/v2", false)]);
        check("", "localhost:5000", &[("http://localhost:5000", "/v2", false)]);
        check("", "[::1]:5000", &[("http://[::1]:5000", "/v2", false)]);
        check("", "127.0.0.1.example", &[("https://127.0.0.1.example", "/v2", false)]);
        check("server = \"http://r:1\"", "a.b", &[("http://r:1", "/v2", false)]);
        check(
            "server = \"https://r\"\n[host.\"https://z\"]\n[host.\"http://a:5000/mirror\"]\n[host.\"https://b/x\"]\noverride_path = true",
            "a.b",
            &[
                ("https://z", "/v2", true),
                ("http://a:5000", "/mirror/v2", true),
                ("https://b", "/x", true),
                ("https://r", "/v2", false),
            ],
        );
    }

    #[test]
    fn settings_of_a_host() {
        let text = "[host.\"https://m\"]\ncapabilities = [\"pull\"]\nca = [\"a.crt\", \"/b.crt\"]\nclient = [[\"c\", \"k\"]]\n\
                    skip_verify = true\ndial_timeout = \"3s\"\n[host.\"https://m\".header]\nx-one = \"1\"\nx-two = [\"2\", \"3\"]\n";
        let host = endpoints(text, Path::new("/d"), "r").unwrap().remove(0);
        assert!(host.pulls && !host.resolves && host.configured);
        assert_eq!(host.headers.len(), 3);
        assert_eq!(host.dial_timeout, Some(Duration::from_secs(3)));
        let trust = Trust {
            authorities: vec!["/d/a.crt".into(), "/b.crt".into()],
            client: Some(("/d/c".into(), "/d/k".into())),
            skip_verify: true,
        };
        assert_eq!(host.trust, trust);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("[host.\"ftp://m\"]", "host \"ftp://m\": not an http or https URL"),
            ("[host.\"https://user:password@m\"]", "not an http or https URL"),
            ("host = 1", "host is not a table"),
            ("[host.\"https://m\"]\nskip_verify = \"yes\"", "host \"https://m\": invalid type"),
            ("[host.\"https://m\"]\ndial_timeout = \"soon\"", "not a duration"),
        ] {
            let error = endpoints(text, Path::new("/d"), "r").unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
