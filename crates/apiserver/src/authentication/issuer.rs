//! One OpenID Connect issuer: its keys, fetched when a token needs them, and what its tokens say.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sampan_api::field::Path;
use sampan_auth::Identity;
use sampan_auth::jwt::{KeySet, Refusal, Rules};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::config::Jwt;
use super::mapping::Mapper;
use crate::webhook::{Client, Place, Services, Trust};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// Time for each of an issuer's documents.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tokens of keys that nobody knows make an issuer be asked again, no more often than this.
const REST: Duration = Duration::from_secs(10);

/// An issuer.
pub(super) struct Issuer {
    rules: Rules,
    mapper: Mapper,
    discovery: String,
    trust: Trust,
    client: Client,
    keys: Mutex<Keys>,
    /// One at a time fetches the keys; the others then find them.
    fetching: Semaphore,
}

/// What is known of an issuer's keys.
#[derive(Default)]
struct Keys {
    set: Option<Arc<KeySet>>,
    /// When they were last asked for.
    asked: Option<Instant>,
}

impl Issuer {
    /// The issuer of a checked configuration.
    pub(super) fn new(jwt: &Jwt, services: &Arc<Services>) -> Result<Self, String> {
        let url = &jwt.issuer.url;
        let discovery = match jwt.issuer.discovery_url.as_str() {
            "" => format!("{}{WELL_KNOWN}", url.trim_end_matches('/')),
            other => other.to_owned(),
        };
        let algorithms = if jwt.algorithms.is_empty() { vec!["RS256".to_owned()] } else { jwt.algorithms.clone() };
        let mapper = Mapper::compile(jwt, &Path::new("jwt")).map_err(|faults| sampan_api::field::aggregate(&faults))?;
        let trust = Trust::Bundle(jwt.issuer.certificate_authority.clone().into_bytes());
        trust.client_config(None)?;
        Ok(Self {
            rules: Rules { issuer: url.clone(), audiences: jwt.issuer.audiences.clone(), algorithms },
            mapper,
            discovery,
            trust,
            client: Client::new(Arc::clone(services)),
            keys: Mutex::default(),
            fetching: Semaphore::new(1),
        })
    }

    /// Its URL, which is what its tokens call their issuer.
    pub(super) fn url(&self) -> &str {
        &self.rules.issuer
    }

    /// Whose token this is; an error says why nobody's.
    pub(super) async fn identity(&self, token: &str) -> Result<Identity, String> {
        let claims = self.claims(token).await.map_err(|why| format!("oidc: verify token: oidc: {why}"))?;
        self.mapper.identity(&claims)
    }

    async fn claims(&self, token: &str) -> Result<Value, String> {
        let verify = |keys: &KeySet| keys.verify(token, &self.rules, sampan_clock::now());
        let (known, asked) = self.known();
        match known.as_deref().map_or(Err(Refusal::UnknownKey), verify) {
            Ok(claims) => return Ok(claims),
            Err(Refusal::Invalid(why)) => return Err(why),
            Err(Refusal::UnknownKey) => {}
        }
        let keys = self.newer(known.is_some(), asked).await?;
        verify(&keys).map_err(|why| why.to_string())
    }

    fn known(&self) -> (Option<Arc<KeySet>>, Option<Instant>) {
        let keys = self.keys.lock();
        (keys.set.clone(), keys.asked)
    }

    /// Keys that were asked for after `seen`. Whoever has none at all is asked for them whenever a token comes, with a
    /// rest after each failure.
    async fn newer(&self, known: bool, seen: Option<Instant>) -> Result<Arc<KeySet>, String> {
        let _turn = self.fetching.acquire().await.map_err(|_| "the server is stopping".to_owned())?;
        let (set, asked) = self.known();
        if let Some(set) = set.clone().filter(|_| asked > seen) {
            return Ok(set);
        }
        if asked.is_some_and(|at| at.elapsed() < REST) {
            let unknown =
                if known { Refusal::UnknownKey.to_string() } else { "authenticator not initialized".to_owned() };
            return Err(unknown);
        }
        self.keys.lock().asked = Some(Instant::now());
        let fetched = self.fetch().await.inspect_err(|why| {
            tracing::warn!(issuer = self.url(), why, "the keys of an issuer of tokens cannot be fetched");
        });
        let fetched = Arc::new(fetched.map_err(|_| "the issuer's keys cannot be fetched".to_owned())?);
        self.keys.lock().set = Some(Arc::clone(&fetched));
        Ok(fetched)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let document = self.get(&self.discovery).await?;
        if document["issuer"] != self.url() {
            return Err(format!("issuer did not match the issuer returned by provider, expected {:?}", self.url()));
        }
        let keys = document["jwks_uri"].as_str().ok_or("the issuer's document names no jwks_uri")?;
        KeySet::parse(&self.get(keys).await?).map_err(|why| format!("{keys}: {why}"))
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        if !url.starts_with("https://") {
            return Err(format!("{url}: URL scheme must be https"));
        }
        let place = Place::of_url(url, self.trust.clone())?;
        self.client.get(&place, PATIENCE).await.map_err(|error| error.to_string())
    }
}
