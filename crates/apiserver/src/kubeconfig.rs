//! Where a webhook of authentication or authorization is, in the form of a kubeconfig file, and asking it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::Value;

use crate::webhook::{Client, Credentials, Error, Place, Services, Trust};

/// How often a webhook is asked that does not answer, and how long it is left alone in between: twice as long each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// A kubeconfig with everything that it points to read in.
#[derive(Clone)]
pub struct Kubeconfig {
    place: Place,
    certificate: Option<(String, String)>,
    authorization: Option<String>,
}

/// Secrets do not show.
impl std::fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubeconfig").field("url", &self.place.url()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
    #[serde(default)]
    contexts: Vec<Named>,
    #[serde(default)]
    current_context: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    cluster: Option<Cluster>,
    user: Option<User>,
    context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Cluster {
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

impl Kubeconfig {
    /// Reads a file and all that it names; relative paths begin where it lies.
    ///
    /// # Errors
    /// What is missing or cannot be understood.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        let File { clusters, users, contexts, current_context } =
            serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let context = contexts.into_iter().find(|named| named.name == current_context).and_then(|named| named.context);
        let context = context.ok_or_else(|| format!("current-context: there is no context {current_context:?}"))?;
        let cluster = clusters.into_iter().find(|named| named.name == context.cluster).and_then(|named| named.cluster);
        let cluster = cluster.ok_or_else(|| format!("there is no cluster {:?}", context.cluster))?;
        let user = users.into_iter().find(|named| named.name == context.user).and_then(|named| named.user);
        let user = user.unwrap_or_default();
        if !cluster.server.starts_with("https://") {
            return Err(format!("server: {:?} must begin with https://", cluster.server));
        }
        let data = |data: Option<String>, file: Option<String>| pem(data, file, dir);
        let trust = match data(cluster.certificate_authority_data, cluster.certificate_authority)? {
            _ if cluster.insecure_skip_tls_verify => Trust::Anyone,
            authority => Trust::Bundle(authority.unwrap_or_default().into_bytes()),
        };
        let certificate = data(user.client_certificate_data, user.client_certificate)?;
        let certificate = match (certificate, data(user.client_key_data, user.client_key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("client-certificate and client-key: give both or neither".to_owned()),
        };
        let token = match user.token_file {
            Some(file) => Some(pem(None, Some(file), dir)?.unwrap_or_default().trim().to_owned()),
            None => user.token,
        };
        let authorization = match (token, user.username) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, Some(name)) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{name}:{}", user.password.unwrap_or_default()))))
            }
            (None, None) => None,
        };
        Ok(Self { place: Place::of_url(&cluster.server, trust)?, certificate, authorization })
    }
}

/// What is in the file itself, in base64, or in the one that it names.
fn pem(data: Option<String>, file: Option<String>, dir: &Path) -> Result<Option<String>, String> {
    let unreadable = |what: &str, why: &dyn std::fmt::Display| format!("{what}: {why}");
    if let Some(data) = data {
        let bytes = STANDARD.decode(data.trim()).map_err(|error| unreadable("base64", &error))?;
        return String::from_utf8(bytes).map(Some).map_err(|error| unreadable("PEM", &error));
    }
    let Some(file) = file else { return Ok(None) };
    let path = dir.join(&file);
    std::fs::read_to_string(&path).map(Some).map_err(|error| unreadable(&path.display().to_string(), &error))
}

/// A webhook that a kubeconfig describes.
pub(crate) struct Remote {
    place: Place,
    client: Client,
}

impl Remote {
    pub(crate) fn new(config: &Kubeconfig, services: &Arc<Services>) -> Result<Self, String> {
        let shown = match &config.certificate {
            None => None,
            Some((chain, key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
                Some((chain.map_err(|e| e.to_string())?, key.map_err(|e| e.to_string())?))
            }
        };
        let authorization = match &config.authorization {
            None => None,
            Some(text) => {
                let mut value = HeaderValue::from_str(text).map_err(|_| "the token is none".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let credentials = Credentials { shown, authorization };
        // A certificate that cannot be shown is told now, not at the first question.
        config.place.trust.client_config(credentials.shown())?;
        Ok(Self { place: config.place.clone(), client: Client::showing(Arc::clone(services), credentials) })
    }

    /// Posts a review and reads the answer; asks again while nobody answers, all within `patience`.
    pub(crate) async fn ask(&self, review: &Value, patience: Duration) -> Result<Value, Error> {
        let mut outcome = self.client.post(&self.place, review, patience).await;
        let again = async {
            let mut pause = PAUSE;
            for _ in 1..TRIES {
                if !matches!(outcome, Err(Error::Unreachable { .. })) {
                    break;
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
                outcome = self.client.post(&self.place, review, patience).await;
            }
        };
        let _ = tokio::time::timeout(patience, again).await;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cluster: &str, user: &str) -> Result<Kubeconfig, String> {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        );
        Kubeconfig::parse(&text, Path::new("/nowhere"))
    }

    #[test]
    fn files() {
        let config = parse("server: 'https://hook.example/authn?x=1'", "token: abc").unwrap();
        assert_eq!(config.place.url(), "https://hook.example/authn?x=1");
        assert_eq!(config.authorization.as_deref(), Some("Bearer abc"));
        assert!(!format!("{config:?}").contains("abc"));
        let config = parse("server: 'https://h'", "username: a, password: b").unwrap();
        assert_eq!(config.authorization.as_deref(), Some("Basic YTpi"));
        for (cluster, user, want) in [
            ("server: 'http://h'", "", "server: \"http://h\" must begin with https://"),
            (
                "server: 'https://h', certificate-authority: ca.pem",
                "",
                "/nowhere/ca.pem: No such file or directory (os error 2)",
            ),
            (
                "server: 'https://h'",
                "client-certificate-data: YQ==",
                "client-certificate and client-key: give both or neither",
            ),
        ] {
            assert_eq!(parse(cluster, user).unwrap_err(), want);
        }
        assert!(parse("server: 'https://h'", "exec: {}").unwrap_err().contains("unknown field `exec`"));
    }
}
