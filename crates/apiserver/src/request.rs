//! What a request is about, read from its method, path and query alone.
//!
//! The rules are upstream's `RequestInfo`: `/api/v1/...` and `/apis/{group}/{version}/...` are resources, everything
//! else is a path. Unlike upstream, segments that could ever be mistaken for another path (`..`, an encoded slash)
//! are refused here, so that nothing behind this module sees them.

use std::str;

use http::{Method, Uri};
use sampan_api::status::Status;
use sampan_auth::Attributes;

/// A request's query parameters, decoded, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters of `uri`.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Status> {
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|query| Self(query.0))
            .map_err(|e| Status::bad_request(format!("the query cannot be read: {e}")))
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The first value of `name`, or the empty string.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether `name` is given and means yes: present without a value, `true` or `1`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// The value of `name` as a number; an error names the parameter.
    pub(crate) fn number<T: str::FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("unable to parse query parameter {name}: invalid syntax: {text:?}"))
            }),
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Whether the path names a resource at all.
    pub(crate) is_resource: bool,
    /// The verb of authorization: `list`, `deletecollection`; for other paths the method in lower case.
    pub(crate) verb: &'static str,
    /// The path as it came, without the query.
    pub(crate) path: String,
    /// API group; empty for core.
    pub(crate) group: String,
    /// API version.
    pub(crate) version: String,
    /// Namespace; empty for cluster scope. For a Namespace itself: its name.
    pub(crate) namespace: String,
    /// Plural resource.
    pub(crate) resource: String,
    /// Subresource.
    pub(crate) subresource: String,
    /// Object name; empty for collections.
    pub(crate) name: String,
    /// The path behind the subresource, with its leading slash; undecoded for the proxies.
    pub(crate) rest: String,
}

impl RequestInfo {
    /// Reads a request line.
    pub(crate) fn parse(method: &Method, uri: &Uri, query: &Query) -> Result<Self, Status> {
        let path = uri.path().to_owned();
        let other = Self { verb: method_verb(method), path: path.clone(), ..Self::default() };
        let raw: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (group, version, mut at) = match raw.as_slice() {
            ["api", version, _, ..] => (String::new(), *version, 2),
            ["apis", group, version, _, ..] => (decode(group)?, *version, 3),
            _ => {
                segments(&raw)?;
                return Ok(other);
            }
        };
        let trailing = raw.len() > at + 1 && raw.last() == Some(&"");
        let raw = if trailing && !raw.contains(&"proxy") { &raw[..raw.len() - 1] } else { &raw[..] };
        if raw.get(at).is_none_or(|first| first.is_empty()) {
            return Ok(other);
        }
        let deprecated_watch = raw[at] == "watch" && raw.len() > at + 1;
        at += usize::from(deprecated_watch);
        let mut info = Self { is_resource: true, group, version: decode(version)?, ..other };
        info.place(&raw[at..])?;
        info.verb = resource_verb(method, &info, deprecated_watch || (info.name.is_empty() && query.flag("watch")))?;
        info.name_from_selector(query);
        Ok(info)
    }

    /// Assigns the segments behind the version.
    fn place(&mut self, raw: &[&str]) -> Result<(), Status> {
        let proxied = raw.iter().position(|s| *s == "proxy").filter(|at| *at >= 2);
        let (raw, rest) = match proxied {
            Some(at) => (&raw[..=at], &raw[at + 1..]),
            None => (raw, &raw[raw.len()..]),
        };
        if rest.iter().any(|s| matches!(decode_lossy(s).as_deref(), Some("..") | None)) {
            return Err(Status::bad_request("the path must not contain \"..\""));
        }
        self.rest = rest.iter().map(|s| format!("/{s}")).collect();
        let parts = segments(raw)?;
        if parts.iter().any(String::is_empty) {
            return Err(Status::no_such_path());
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let parts = match parts.as_slice() {
            ["namespaces", ns, below, rest @ ..] if !matches!(*below, "status" | "finalize") => {
                self.namespace = (*ns).to_owned();
                [&[*below], rest].concat()
            }
            ["namespaces", ns, ..] => {
                self.namespace = (*ns).to_owned();
                parts
            }
            _ => parts,
        };
        match parts.as_slice() {
            [resource] => self.set(resource, "", ""),
            [resource, name] => self.set(resource, name, ""),
            [resource, name, subresource] => self.set(resource, name, subresource),
            // What an aggregated API has below its subresources is its own affair.
            [resource, name, subresource, below @ ..] if !self.group.is_empty() => {
                self.set(resource, name, subresource);
                self.rest = below.iter().map(|part| format!("/{part}")).collect();
            }
            _ => return Err(Status::no_such_path()),
        }
        Ok(())
    }

    fn set(&mut self, resource: &str, name: &str, subresource: &str) {
        self.resource = resource.to_owned();
        self.name = name.to_owned();
        self.subresource = subresource.to_owned();
    }

    /// A collection narrowed to one object by a field selector is, for authorization, that object.
    fn name_from_selector(&mut self, query: &Query) {
        if !self.name.is_empty() || !matches!(self.verb, "list" | "watch") {
            return;
        }
        let selected = query.text("fieldSelector").split(',').find_map(|term| {
            let (field, value) = term.split_once('=')?;
            (field == "metadata.name").then(|| value.trim_start_matches('=').to_owned())
        });
        if let Some(name) = selected {
            self.name = name;
        }
    }

    /// The same as the authorizer sees it.
    pub(crate) fn attributes(&self, query: &Query) -> Attributes {
        let narrows = matches!(self.verb, "list" | "watch" | "deletecollection");
        let terms = query.text("fieldSelector").split(',').filter(|term| narrows && !term.contains("!="));
        let fields = terms.filter_map(|term| term.split_once('='));
        Attributes {
            fields: fields.map(|(f, v)| (f.trim().to_owned(), v.trim_start_matches('=').trim().to_owned())).collect(),
            verb: self.verb.to_owned(),
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
        }
    }

    /// Whether the request can change anything.
    pub(crate) fn is_mutating(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put")
    }
}

fn method_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "unknown",
    }
}

fn resource_verb(method: &Method, info: &RequestInfo, watch: bool) -> Result<&'static str, Status> {
    let collection = info.name.is_empty();
    Ok(match *method {
        Method::GET | Method::HEAD if watch && info.subresource.is_empty() => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        // Only the proxies pass it on; no verb stands for it.
        Method::OPTIONS if info.subresource == "proxy" => "",
        _ => return Err(Status::method_not_allowed()),
    })
}

/// Decodes segments and refuses those that are not plainly one segment.
fn segments(raw: &[&str]) -> Result<Vec<String>, Status> {
    raw.iter().map(|segment| decode(segment)).collect()
}

fn decode(segment: &str) -> Result<String, Status> {
    let refuse = || Status::bad_request(format!("the path segment {segment:?} is not allowed"));
    let text = decode_lossy(segment).ok_or_else(refuse)?;
    if text == ".." || text == "." || text.contains(['/', '\0']) || (text.contains('%') && segment != text) {
        return Err(refuse());
    }
    Ok(text)
}

/// Percent-decodes; `None` for a broken escape or bad UTF-8.
pub(crate) fn decode_lossy(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            out.push((high << 4 | low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RequestInfo, Status> {
        let (method, uri) = line.split_once(' ').unwrap();
        let uri: Uri = uri.parse().unwrap();
        RequestInfo::parse(&method.parse().unwrap(), &uri, &Query::of(&uri)?)
    }

    #[track_caller]
    fn check(line: &str, want: &str) {
        let got = match parse(line) {
            Err(status) => status.code.to_string(),
            Ok(i) if !i.is_resource => format!("{} path {}", i.verb, i.path),
            Ok(i) => format!(
                "{} {}/{} ns={} {} {} {}{}",
                i.verb, i.group, i.version, i.namespace, i.resource, i.name, i.subresource, i.rest
            )
            .trim_end()
            .to_owned(),
        };
        assert_eq!(got, want, "{line}");
    }

    #[test]
    fn resources() {
        check("GET /api/v1/pods", "list /v1 ns= pods");
        check("GET /api/v1/pods?watch=true", "watch /v1 ns= pods");
        check("GET /api/v1/pods?watch=false", "list /v1 ns= pods");
        check("GET /api/v1/watch/namespaces/a/pods", "watch /v1 ns=a pods");
        check("GET /api/v1/namespaces/a/pods/b", "get /v1 ns=a pods b");
        check("GET /api/v1/namespaces/a", "get /v1 ns=a namespaces a");
        check("GET /api/v1/namespaces", "list /v1 ns= namespaces");
        check("PUT /api/v1/namespaces/a/finalize", "update /v1 ns=a namespaces a finalize");
        check("PUT /api/v1/namespaces/a/status", "update /v1 ns=a namespaces a status");
        check("POST /apis/apps/v1/namespaces/a/deployments", "create apps/v1 ns=a deployments");
        check("PATCH /apis/apps/v1/namespaces/a/deployments/d/scale", "patch apps/v1 ns=a deployments d scale");
        check("DELETE /api/v1/namespaces/a/pods", "deletecollection /v1 ns=a pods");
        check("DELETE /api/v1/namespaces/a/pods/b", "delete /v1 ns=a pods b");
        check("GET /api/v1/nodes/n/proxy/metrics/x%2Fy/", "get /v1 ns= nodes n proxy/metrics/x%2Fy/");
        check("OPTIONS /api/v1/namespaces/a/pods/p/proxy/x", " /v1 ns=a pods p proxy/x");
        check("TRACE /api/v1/namespaces/a/pods/p/proxy/x", "405");
        check("OPTIONS /api/v1/namespaces/a/pods/p", "405");
        check("GET /api/v1/pods?fieldSelector=metadata.name%3Dx", "list /v1 ns= pods x");
        check("GET /apis/g.io/v1/namespaces/a/vms/v/forward/80/tcp", "get g.io/v1 ns=a vms v forward/80/tcp");
    }

    #[test]
    fn paths() {
        check("GET /api/v1", "get path /api/v1");
        check("GET /apis/apps/v1/", "get path /apis/apps/v1/");
        check("GET /healthz", "get path /healthz");
        check("POST /foo/bar", "post path /foo/bar");
    }

    #[test]
    fn crooked_paths_are_refused() {
        check("GET /api/v1/namespaces/../secrets", "400");
        check("GET /api/v1/namespaces/a%2f..%2fb/secrets", "400");
        check("GET /api/v1/namespaces/%2e%2e/secrets", "400");
        check("GET /api/v1/namespaces/a%252fb/secrets", "400");
        check("GET /api/v1/namespaces//pods", "404");
        check("GET /api/v1/nodes/n/proxy/../../secrets", "400");
        check("GET /api/v1/pods/a/b/c/d", "404");
        check("GET /healthz/%zz", "400");
    }
}
