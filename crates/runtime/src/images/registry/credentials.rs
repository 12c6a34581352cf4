//! Whose credentials go where.
//!
//! Credentials are for one registry. They go to that registry, and to the token service that it names; never to a
//! mirror, never to where a redirect leads (CVE-2020-15157), and over plain HTTP only where somebody has written down
//! that this registry speaks it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sampan_cri::v1::AuthConfig;
use sha2::{Digest, Sha256};

use super::Error;
use super::hosts::Endpoint;

/// What somebody pulls with.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    secret: Option<Secret>,
    /// The registry they are for; the image's own where nobody said.
    server: Option<String>,
}

/// One form of them.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    Password {
        user: String,
        password: String,
    },
    /// To be exchanged for a token at the token service.
    Identity(String),
    /// A token already.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads what CRI hands over; nothing in it is anonymous.
    pub(crate) fn of(auth: &AuthConfig) -> Result<Self, Error> {
        let secret = if !auth.registry_token.is_empty() {
            Some(Secret::Token(auth.registry_token.clone()))
        } else if !auth.identity_token.is_empty() {
            Some(Secret::Identity(auth.identity_token.clone()))
        } else if !auth.username.is_empty() {
            Some(Secret::Password { user: auth.username.clone(), password: auth.password.clone() })
        } else if !auth.auth.is_empty() {
            Some(pair(&auth.auth)?)
        } else {
            None
        };
        let server = Some(host(&auth.server_address)).filter(|server| !server.is_empty());
        Ok(Self { secret, server })
    }

    /// What tells these from others without telling what they are.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        part(self.server.as_deref().unwrap_or_default());
        match &self.secret {
            None => {}
            Some(Secret::Password { user, password }) => ["p", user, password].into_iter().for_each(part),
            Some(Secret::Identity(token)) => ["i", token].into_iter().for_each(part),
            Some(Secret::Token(token)) => ["t", token].into_iter().for_each(part),
        }
        hash.finalize().into()
    }

    /// What `endpoint`, asked about images of `registry`, may see.
    pub(super) fn at(&self, endpoint: &Endpoint, registry: &str) -> Option<&Secret> {
        let here = endpoint.origin.authority().map(|authority| host(authority.as_str())).unwrap_or_default();
        let meant = match &self.server {
            None => !endpoint.mirror,
            Some(server) => *server == here || (*server == host(registry) && !endpoint.mirror),
        };
        let private = endpoint.origin.scheme_str() == Some("https") || endpoint.configured;
        self.secret.as_ref().filter(|_| meant && private)
    }
}

/// `user:password` in base 64, as docker writes it.
fn pair(text: &str) -> Result<Secret, Error> {
    let decoded = STANDARD.decode(text.trim_end_matches('\0')).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, password) = decoded
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .ok_or_else(|| Error::Credentials("the auth field is not user:password in base 64".to_owned()))?;
    Ok(Secret::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// The host, with its port, of an address in any of the forms that docker configurations have; Docker's own registry
/// has one name.
fn host(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_ascii_lowercase(),
    }
}

/// The value of an `Authorization` header, marked to be kept out of logs.
pub(super) fn header(scheme: &str, value: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}"))
        .map_err(|_| Error::Credentials("they cannot be sent in a header".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The header for HTTP's own authentication.
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, Error> {
    header("Basic", &STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::registry::hosts::tests::endpoint;

    fn password(server: &str) -> Credentials {
        let auth = AuthConfig {
            username: "u".to_owned(),
            password: "p".to_owned(),
            server_address: server.to_owned(),
            ..AuthConfig::default()
        };
        Credentials::of(&auth).unwrap()
    }

    #[test]
    fn they_go_to_their_registry_alone() {
        let check = |server: &str, url: &str, mirror: bool, registry: &str, want: bool| {
            let endpoint = Endpoint { mirror, ..endpoint(url) };
            assert_eq!(password(server).at(&endpoint, registry).is_some(), want, "{server} at {url} for {registry}");
        };
        check("", "https://r.example", false, "r.example", true);
        check("", "https://mirror.example", true, "r.example", false);
        check("https://index.docker.io/v1/", "https://registry-1.docker.io", false, "docker.io", true);
        check("docker.io", "https://mirror.example", true, "docker.io", false);
        check("mirror.example", "https://mirror.example", true, "docker.io", true);
        check("other.example", "https://r.example", false, "r.example", false);
        check("r.example", "https://behind.example", false, "r.example", true);
        check("r.example:5000", "https://r.example", false, "r.example", false);
    }

    #[test]
    fn plain_http_is_for_those_who_asked_for_it() {
        let asked = Endpoint { mirror: false, ..endpoint("http://r.example") };
        assert!(password("").at(&asked, "r.example").is_some());
        let default = Endpoint { configured: false, ..asked };
        assert!(password("").at(&default, "r.example").is_none());
    }

    #[test]
    fn every_form_is_read() {
        let of = |auth: AuthConfig| Credentials::of(&auth).map(|own| own.secret);
        let want = Some(Secret::Password { user: "u".to_owned(), password: "p:w".to_owned() });
        assert!(of(AuthConfig { auth: STANDARD.encode("u:p:w"), ..AuthConfig::default() }).unwrap() == want);
        assert!(of(AuthConfig { auth: STANDARD.encode("nothing"), ..AuthConfig::default() }).is_err());
        assert!(of(AuthConfig::default()).unwrap().is_none());
        assert_ne!(password("a").fingerprint(), password("b").fingerprint());
        assert!(!format!("{:?}", password("a")).contains("\"p\""));
    }
}
