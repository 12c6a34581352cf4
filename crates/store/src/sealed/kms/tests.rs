//! A plugin of our own behind a real socket.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use super::wire::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use super::wire::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse};
use super::*;
use crate::embedded::{Embedded, Options};
use crate::sealed::{Rule, Sealed, Way};
use crate::{Event, Span, Store, Write};

const AT: &[u8] = b"/registry/secrets/ns/s";

/// What the plugin has been asked, and how it is.
#[derive(Default)]
struct Plugin {
    key: Mutex<String>,
    health: Mutex<String>,
    asked: Mutex<Vec<&'static str>>,
}

/// Sealing is turning each byte, by a number that stands for the key; good enough to see that it is done.
fn turned(text: &[u8], key: &str) -> Bytes {
    text.iter().map(|byte| byte ^ key.as_bytes()[0]).collect()
}

#[tonic::async_trait]
impl KeyManagementService for Arc<Plugin> {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.asked.lock().push("status");
        let (healthz, key_id) = (self.health.lock().clone(), self.key.lock().clone());
        Ok(Response::new(StatusResponse { version: "v2".to_owned(), healthz, key_id }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        self.asked.lock().push("encrypt");
        let key_id = self.key.lock().clone();
        let ciphertext = turned(&request.into_inner().plaintext, &key_id);
        let annotations = BTreeMap::from([("version.example.com".to_owned(), Bytes::from_static(b"1"))]);
        Ok(Response::new(EncryptResponse { ciphertext, key_id, annotations }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        self.asked.lock().push("decrypt");
        let request = request.into_inner();
        assert_eq!(request.annotations["version.example.com"], "1");
        Ok(Response::new(DecryptResponse { plaintext: turned(&request.ciphertext, &request.key_id) }))
    }
}

struct Site {
    dir: tempfile::TempDir,
    plugin: Arc<Plugin>,
    serving: JoinHandle<()>,
}

impl Site {
    async fn open() -> Self {
        let (dir, plugin) = (tempfile::tempdir().unwrap(), Arc::new(Plugin::default()));
        plugin.key.lock().push('a');
        plugin.health.lock().push_str("ok");
        let listener = UnixListener::bind(dir.path().join("kms.sock")).unwrap();
        let incoming = futures::stream::unfold(listener, |listener| async move {
            let stream = listener.accept().await.map(|(stream, _)| stream);
            Some((stream, listener))
        });
        let service = KeyManagementServiceServer::new(Arc::clone(&plugin));
        let served = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        Self { dir, plugin, serving: tokio::spawn(async move { drop(served.await) }) }
    }

    /// A server with this provider; each has to open the seeds that it has not made itself.
    fn kms(&self) -> Arc<Kms> {
        let endpoint = format!("unix://{}", self.dir.path().join("kms.sock").display());
        Arc::new(Kms::new("vault", &endpoint, Duration::from_secs(5)).unwrap())
    }

    /// What the plugin was asked since the last time.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.plugin.asked.lock())
    }
}

/// So much time passes.
fn later(kms: &Kms, by: Duration) {
    let mut state = kms.state.lock();
    state.asked = state.asked.map(|asked| asked - by);
    state.good_until -= by;
}

async fn opened(kms: &Kms, value: &Bytes) -> String {
    String::from_utf8(kms.open(AT, value).await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_plugin_seals_one_seed_for_many_values() {
    let site = Site::open().await;
    let kms = site.kms();
    let value = kms.seal(AT, b"hidden").await.unwrap();
    assert!(value.starts_with(b"k8s:enc:kms:v2:vault:") && kms.sealed(&value));
    assert!(!value.windows(6).any(|part| part == b"hidden"));
    for _ in 0..10 {
        let value = kms.seal(AT, b"hidden").await.unwrap();
        assert_eq!(opened(&kms, &value).await, "hidden");
    }
    assert_eq!(site.asked(), ["status", "encrypt"]);
    // Another server has it opened once.
    let other = site.kms();
    assert_eq!((opened(&other, &value).await, opened(&other, &value).await), ("hidden".into(), "hidden".into()));
    assert_eq!(site.asked(), ["decrypt"]);
    assert_eq!(kms.open(b"/registry/secrets/ns/t", &value).await.unwrap(), None, "it was moved");
    let mut changed = value.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert!(!matches!(kms.open(AT, &changed.into()).await, Ok(Some(_))), "it was changed");
    site.serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_at_once_waits_for_one_answer() {
    let site = Site::open().await;
    let kms = site.kms();
    let all = async || {
        let writes = (0..16).map(|_| {
            let kms = Arc::clone(&kms);
            tokio::spawn(async move { kms.seal(AT, b"hidden").await })
        });
        futures::future::join_all(writes).await.into_iter().all(|sealed| sealed.unwrap().is_ok())
    };
    assert!(all().await);
    assert_eq!(site.asked(), ["status", "encrypt"]);
    later(&kms, FRESH);
    assert!(all().await);
    assert_eq!(site.asked(), ["status"]);
    // Nobody has written for long.
    later(&kms, FRESH + GOOD);
    assert!(all().await);
    assert_eq!(site.asked(), ["status"]);
    site.serving.abort();
}

#[tokio::test]
async fn another_key_means_another_seed() {
    let site = Site::open().await;
    let kms = site.kms();
    let old = kms.seal(AT, b"hidden").await.unwrap();
    *site.plugin.key.lock() = "b".to_owned();
    assert!(kms.is_current(&old).await.unwrap(), "nobody has asked yet");
    later(&kms, FRESH);
    assert!(!kms.is_current(&old).await.unwrap());
    let new = kms.seal(AT, b"hidden").await.unwrap();
    assert_eq!(site.asked(), ["status", "encrypt", "status", "encrypt"]);
    assert!(kms.is_current(&new).await.unwrap());
    assert_eq!((opened(&kms, &old).await, opened(&kms, &new).await), ("hidden".into(), "hidden".into()));
    later(&kms, FRESH);
    kms.seal(AT, b"hidden").await.unwrap();
    assert_eq!(site.asked(), ["status"], "the key is the same");
    site.serving.abort();
}

#[tokio::test]
async fn without_the_plugin_writing_ends_and_reading_goes_on() {
    let site = Site::open().await;
    let kms = site.kms();
    let value = kms.seal(AT, b"hidden").await.unwrap();
    *site.plugin.health.lock() = "sealed".to_owned();
    later(&kms, FRESH);
    kms.seal(AT, b"hidden").await.unwrap();
    kms.seal(AT, b"hidden").await.unwrap();
    assert_eq!(site.asked(), ["status", "encrypt", "status"], "it is left alone for a while");
    later(&kms, GOOD);
    let told = kms.seal(AT, b"hidden").await.unwrap_err().to_string();
    assert_eq!(told, "KMS provider vault: got unexpected healthz status: sealed");
    assert_eq!(opened(&kms, &value).await, "hidden");
    *site.plugin.health.lock() = "ok".to_owned();
    later(&kms, RETRY);
    kms.seal(AT, b"hidden").await.unwrap();

    // Nobody is there.
    site.serving.abort();
    let gone = Kms::new("gone", "unix:///nowhere/kms.sock", Duration::from_secs(5)).unwrap();
    assert!(matches!(gone.seal(AT, b"hidden").await, Err(Error::Kms { .. })));
    for (name, endpoint) in
        [("", "unix:///a"), ("a:b", "unix:///a"), ("a", "/a"), ("a", "https://a"), ("a", "unix://a")]
    {
        assert!(Kms::new(name, endpoint, RETRY).is_err(), "{name} {endpoint}");
    }
}

#[tokio::test]
async fn health_asks_the_plugin_and_notices_another_key() {
    let site = Site::open().await;
    let kms = site.kms();
    kms.check().await.unwrap();
    kms.check().await.unwrap();
    assert_eq!(site.asked(), ["status", "encrypt"], "it is believed for a while");
    later(&kms, HEALTHY);
    *site.plugin.key.lock() = "b".to_owned();
    kms.check().await.unwrap();
    kms.turned().await;
    assert_eq!(site.asked(), ["status", "encrypt"]);
    *site.plugin.health.lock() = "sealed".to_owned();
    later(&kms, HEALTHY);
    for _ in 0..2 {
        let told = kms.check().await.unwrap_err().to_string();
        assert_eq!(told, "KMS provider vault: got unexpected healthz status: sealed");
    }
    assert_eq!(site.asked(), ["status"]);
    *site.plugin.health.lock() = "ok".to_owned();
    *site.plugin.key.lock() = String::new();
    later(&kms, UNHEALTHY);
    assert_eq!(kms.check().await.unwrap_err().to_string(), "KMS provider vault: keyID is empty");
    *site.plugin.key.lock() = "b".to_owned();
    later(&kms, UNHEALTHY);
    kms.check().await.unwrap();
    site.serving.abort();
}

#[tokio::test]
async fn what_is_done_with_keys_is_counted() {
    let site = Site::open().await;
    let kms = site.kms();
    let value = kms.seal(AT, b"hidden").await.unwrap();
    opened(&kms, &value).await;
    opened(&kms, &value).await;
    let Figures { calls, keys, seeds, invalid_ids } = kms.figures();
    let called: Vec<_> = calls.iter().map(|(call, latencies)| (*call, latencies.counts.iter().sum())).collect();
    assert_eq!(called, [(("Encrypt", "OK"), 1_u64), (("Status", "OK"), 1)]);
    // The digest of "a".
    let hash = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb".to_owned();
    let times = |kind| keys[&(kind, hash.clone())].times;
    assert_eq!([Use::FromStorage, Use::ToStorage, Use::Status].map(times), [2, 1, 1]);
    assert_eq!((keys.len(), seeds, invalid_ids.len()), (3, 1, 0));
    site.serving.abort();
}

/// Opens the store as `ways` say, seals it anew, and reads what is there.
async fn turn(dir: &Path, ways: Vec<Way>) -> (usize, String) {
    let inner = Arc::new(Embedded::open(Options { dir: dir.into() }).unwrap());
    let rules = vec![Rule { prefix: Bytes::from_static(b"/registry/secrets/"), ways: ways.into() }];
    let sealed = Sealed::new(Arc::clone(&inner) as Arc<dyn Store>, rules);
    let count = sealed.reseal().await.unwrap();
    if inner.get(AT, None).await.unwrap().is_none() {
        sealed.write(Write::Create { key: Bytes::from_static(AT), value: "hidden".into() }).await.unwrap();
    }
    let found = sealed.get(AT, None).await.unwrap().unwrap().value;
    inner.close().await;
    (count, String::from_utf8(found.to_vec()).unwrap())
}

#[tokio::test]
async fn a_store_goes_over_to_a_plugin_and_to_its_next_key() {
    let (site, dir) = (Site::open().await, tempfile::tempdir().unwrap());
    let read = |count| (count, "hidden".to_owned());
    assert_eq!(turn(dir.path(), vec![Way::Plain]).await, read(0));
    assert_eq!(turn(dir.path(), vec![Way::Kms(site.kms()), Way::Plain]).await, read(1));
    assert_eq!(turn(dir.path(), vec![Way::Kms(site.kms())]).await, read(0));
    *site.plugin.key.lock() = "b".to_owned();
    assert_eq!(turn(dir.path(), vec![Way::Kms(site.kms())]).await, read(1), "sealed anew");
    assert_eq!(turn(dir.path(), vec![Way::Plain, Way::Kms(site.kms())]).await, read(1), "and back");
    site.serving.abort();
}

#[tokio::test]
async fn a_key_that_changes_while_the_server_runs_seals_what_is_stored_anew() {
    let (site, dir) = (Site::open().await, tempfile::tempdir().unwrap());
    let inner = Arc::new(Embedded::open(Options { dir: dir.path().into() }).unwrap());
    let kms = site.kms();
    let rule = Rule { prefix: Bytes::from_static(b"/registry/secrets/"), ways: [Way::Kms(Arc::clone(&kms))].into() };
    let sealed = Arc::new(Sealed::new(Arc::clone(&inner) as Arc<dyn Store>, vec![rule]));
    sealed.write(Write::Create { key: Bytes::from_static(AT), value: "hidden".into() }).await.unwrap();
    assert_eq!(sealed.plugins().len(), 1);
    let keeping = tokio::spawn({
        let sealed = Arc::clone(&sealed);
        async move { sealed.keep_current().await }
    });
    let mut events = inner.watch(&Span::prefix(AT), inner.revision().await.unwrap()).await.unwrap();
    *site.plugin.key.lock() = "b".to_owned();
    later(&kms, HEALTHY);
    kms.check().await.unwrap();
    let written = loop {
        if let Event::Put { entry } = futures::StreamExt::next(&mut events).await.unwrap().unwrap() {
            break entry.value;
        }
    };
    assert!(kms.is_current(&written).await.unwrap());
    assert_eq!(opened(&kms, &written).await, "hidden");
    keeping.abort();
    inner.close().await;
    site.serving.abort();
}
