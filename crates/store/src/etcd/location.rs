//! How an etcd is named: `etcd://HOST:PORT[,HOST:PORT...][/PREFIX]`. Pure.

use std::str::FromStr;

/// Where etcd is and under which prefix the store keeps its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// `HOST:PORT` of each member, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// Begins every key. Begins with a slash, and does not end with one.
    pub prefix: String,
}

/// Why a text names no etcd.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} names no etcd: {why}; write etcd://HOST:PORT, with more of HOST:PORT after commas and /PREFIX at the end"
)]
pub struct InvalidLocation {
    text: String,
    why: &'static str,
}

const SCHEME: &str = "etcd://";
/// The prefix unless another is named.
const PREFIX: &str = "/sampan";
/// Bound on endpoints: etcd clusters have 3, 5 or 7 members.
const MAX_ENDPOINTS: usize = 32;

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        parse(text).map_err(|why| InvalidLocation { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Location, &'static str> {
    let rest = text.strip_prefix(SCHEME).ok_or("it does not begin with etcd://")?;
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let endpoints: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    if endpoints.len() > MAX_ENDPOINTS {
        return Err("it has more than 32 endpoints");
    }
    if !endpoints.iter().all(|endpoint| is_endpoint(endpoint)) {
        return Err("an endpoint is not HOST:PORT");
    }
    let path = path.trim_matches('/');
    let prefix = if path.is_empty() { PREFIX.to_owned() } else { format!("/{path}") };
    Ok(Location { endpoints, prefix })
}

fn is_endpoint(text: &str) -> bool {
    let plain = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "@?#".contains(c));
    text.rsplit_once(':').is_some_and(|(host, port)| plain(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_endpoints_and_prefix() {
        for (text, endpoints, prefix) in [
            ("etcd://127.0.0.1:2379", vec!["127.0.0.1:2379"], "/sampan"),
            ("etcd://a:1,b:2,[::1]:3/", vec!["a:1", "b:2", "[::1]:3"], "/sampan"),
            ("etcd://a.example:2379/one/two/", vec!["a.example:2379"], "/one/two"),
        ] {
            let endpoints = endpoints.into_iter().map(str::to_owned).collect();
            assert_eq!(text.parse(), Ok(Location { endpoints, prefix: prefix.into() }), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("http://a:1", "it does not begin with etcd://"),
            ("etcd://", "an endpoint is not HOST:PORT"),
            ("etcd://a", "an endpoint is not HOST:PORT"),
            ("etcd://a:0", "an endpoint is not HOST:PORT"),
            ("etcd://a:1,", "an endpoint is not HOST:PORT"),
            ("etcd://user@a:1", "an endpoint is not HOST:PORT"),
            ("etcd://a:1?tls", "an endpoint is not HOST:PORT"),
        ] {
            assert_eq!(text.parse::<Location>().map_err(|error| error.why), Err(why), "{text}");
        }
    }
}
