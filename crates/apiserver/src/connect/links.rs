//! The links of a page behind a proxy, turned so that they lead back through it. Pure.
//!
//! The rules are those of upstream's proxy: only absolute paths of the page's own host change. A host is the page's own
//! if it is where the request went, or what the client called it.

/// What links are turned by.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// The path of the proxy itself, without a slash at its end.
    pub(super) prefix: String,
    /// `host:port` of the backend.
    pub(super) backend: String,
    /// The `Host` of the client's request.
    pub(super) asked: String,
}

/// A URL taken apart as far as it matters here.
struct Parts<'u> {
    /// `https://host:port`, `//host`; empty for a path.
    origin: &'u str,
    /// The host and port within `origin`.
    host: &'u str,
    /// What follows: path, query, fragment.
    path: &'u str,
}

impl Links {
    /// The link that takes the place of `url`; `None` if it stays as it is.
    pub(super) fn through(&self, url: &str) -> Option<String> {
        let Parts { origin, host, path } = parts(url);
        let own = host.is_empty() || host == self.asked || self.is_backend(host);
        if !own || !path.starts_with('/') {
            return None;
        }
        let origin = if !host.is_empty() && host == self.asked { origin } else { "" };
        let prefix = if self.has_prefix(path) { "" } else { &self.prefix };
        let turned = format!("{origin}{prefix}{path}");
        (turned != url).then_some(turned)
    }

    /// A backend at the port that its scheme implies is often named without it.
    fn is_backend(&self, host: &str) -> bool {
        host == self.backend || [":80", ":443"].iter().any(|port| self.backend.strip_suffix(port) == Some(host))
    }

    fn has_prefix(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    }
}

fn parts(url: &str) -> Parts<'_> {
    let scheme = url.find("://").filter(|at| !url[..*at].contains(['/', '?', '#'])).map_or(0, |at| at + 1);
    let Some(after) = url[scheme..].strip_prefix("//") else { return Parts { origin: "", host: "", path: url } };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (host, path) = after.split_at(end);
    Parts { origin: &url[..url.len() - path.len()], host, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, want: Option<&str>) {
        let links = Links {
            prefix: "/api/v1/namespaces/n/pods/p/proxy".to_owned(),
            backend: "10.42.0.7:80".to_owned(),
            asked: "api.example:6443".to_owned(),
        };
        assert_eq!(links.through(url).as_deref(), want, "{url}");
    }

    #[test]
    fn links_of_the_page_s_own_host_lead_through_the_proxy() {
        check("/a/b?c#d", Some("/api/v1/namespaces/n/pods/p/proxy/a/b?c#d"));
        check("/", Some("/api/v1/namespaces/n/pods/p/proxy/"));
        check("http://10.42.0.7:80/a", Some("/api/v1/namespaces/n/pods/p/proxy/a"));
        check("http://10.42.0.7/a", Some("/api/v1/namespaces/n/pods/p/proxy/a"));
        check("//10.42.0.7:80/a", Some("/api/v1/namespaces/n/pods/p/proxy/a"));
        check("https://api.example:6443/a", Some("https://api.example:6443/api/v1/namespaces/n/pods/p/proxy/a"));
        check(
            "/api/v1/namespaces/n/pods/p/proxyish",
            Some("/api/v1/namespaces/n/pods/p/proxy/api/v1/namespaces/n/pods/p/proxyish"),
        );
    }

    #[test]
    fn others_stay() {
        check("a/b", None);
        check("?x=/y", None);
        check("#here", None);
        check("http://elsewhere.example/a", None);
        check("//elsewhere.example/a", None);
        check("http://10.42.0.7:81/a", None);
        check("http://10.42.0.7", None);
        check("mailto:a@b", None);
        check("x?u=http://10.42.0.7/a", None);
        check("/api/v1/namespaces/n/pods/p/proxy/a", None);
        check("https://api.example:6443/api/v1/namespaces/n/pods/p/proxy/a", None);
    }
}
