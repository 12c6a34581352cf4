//! The control plane: store, API server, controllers, scheduler.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sampan_apiserver::{
    ApiServer, AuditOptions, AuditPolicy, FrontProxy, Listen, MAX_IN_FLIGHT, Options, Ranges, Service, Version,
};
use sampan_auth::authority::{Authority, Issued, Purpose};
use sampan_auth::signing::{self, Subject};
use sampan_auth::token::{Bound, Tokens};
use sampan_controllers::{SignToken, Signer};
use sampan_store::Store;
use sampan_store::embedded::{self, Embedded};
use sampan_store::etcd::{self, Etcd};
use sampan_store::sealed::{Kms, Sealed};
use tokio::net::TcpListener;

use super::Running;
use super::identity::{Clients, kubelet_client};
use crate::config::{AuditConfig, Config, EtcdConfig, FrontProxiesConfig, token_issuer};
use crate::pki::Pki;

/// The scheduler whose Pods are ours.
const SCHEDULER: &str = "default-scheduler";
/// The program that runs the controllers, as objects tell who wrote them.
const MANAGER: &str = "kube-controller-manager";

/// Starts the store and the API server on it. Returns the way in for components of this process.
pub(super) async fn start_api(config: &Config, pki: &Pki, running: &mut Running) -> Result<Service> {
    let store = open_store(config, running).await.context("opening the store")?;
    let (store, kms) = seal(config, store, running).await?;
    let ranges = Ranges { addresses: config.service_cidr, node_ports: config.node_ports.0..=config.node_ports.1 };
    let served = pki.certificate("apiserver", &server_purpose(config, &ranges))?;
    let address = SocketAddr::new(config.bind_address, config.port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let handle = ApiServer::start(Options {
        store,
        kms,
        tokens: Arc::new(tokens(config, pki)?),
        ranges,
        advertised: SocketAddr::new(config.node_ip, config.port),
        listen: Some(Listen { listener, certificate: served }),
        client_authority_pem: pki.ca_pem().to_owned(),
        kubelet_tls: Some(Arc::new(kubelet_tls(pki)?)),
        front_proxy: Some(front_proxy(config, pki)?),
        authentication: config.authentication.clone(),
        authorization: config.authorization.clone(),
        audit: audit(config)?,
        version: Version::current(),
        max_in_flight: MAX_IN_FLIGHT,
    })
    .await?;
    let service = handle.service();
    running.add("API server", handle.shutdown());
    Ok(service)
}

/// The store that the configuration names: an etcd, or a directory of our own.
async fn open_store(config: &Config, running: &mut Running) -> Result<Arc<dyn Store>> {
    if let Some(EtcdConfig { location, tls }) = &config.etcd {
        let tls = tls.as_ref().map(etcd_tls).transpose()?;
        return Ok(Arc::new(Etcd::connect(etcd::Options { location: location.clone(), tls }).await?));
    }
    let dir = config.data_dir.join("store");
    let store = Arc::new(tokio::task::spawn_blocking(move || Embedded::open(embedded::Options { dir })).await??);
    let closing = Arc::clone(&store);
    running.add("store", async move { closing.close().await });
    Ok(store)
}

/// What the store keeps sealed, and the plugins that help. Several servers on one etcd need the same keys, so there is no
/// key of this server's own then: a file says what is sealed.
async fn seal(
    config: &Config,
    store: Arc<dyn Store>,
    running: &mut Running,
) -> Result<(Arc<dyn Store>, Vec<Arc<Kms>>)> {
    if config.etcd.is_some() && config.encryption.is_none() {
        return Ok((store, Vec::new()));
    }
    let rules = crate::encryption::rules(config.encryption.as_deref(), &config.data_dir)?;
    let sealed = Arc::new(Sealed::new(store, rules));
    let count = sealed.reseal().await.context("sealing what is stored")?;
    if count > 0 {
        tracing::info!(count, "objects were sealed with the first key");
    }
    let (store, plugins) = (Arc::clone(&sealed), sealed.plugins());
    let keeping = tokio::spawn(async move { store.keep_current().await });
    running.add("sealing", async move {
        keeping.abort();
        let _ = keeping.await;
    });
    Ok((sealed, plugins))
}

fn etcd_tls((ca, identity): &(PathBuf, Option<(PathBuf, PathBuf)>)) -> Result<etcd::Tls> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    let identity_pem = match identity {
        Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
        None => None,
    };
    Ok(etcd::Tls { ca_pem: read(ca)?, identity_pem })
}

/// What is recorded of requests, as the configuration says.
fn audit(config: &Config) -> Result<Option<AuditOptions>> {
    let Some(AuditConfig { policy, log }) = &config.audit else { return Ok(None) };
    let reading = || format!("reading the audit policy {}", policy.display());
    let text = std::fs::read_to_string(policy).with_context(reading)?;
    let policy = AuditPolicy::parse(&text).map_err(anyhow::Error::msg).with_context(reading)?;
    Ok(Some(AuditOptions { policy, log: log.clone() }))
}

/// The tokens of ServiceAccounts: one key signs, those that did before still verify.
fn tokens(config: &Config, pki: &Pki) -> Result<Tokens> {
    let mut tokens = Tokens::load(&token_issuer(&config.cluster_domain), &pki.token_key()?)?;
    for key in pki.former_token_keys()? {
        tokens.also_believe(&key).context("reading a former key of ServiceAccount tokens")?;
    }
    Ok(tokens)
}

/// The names and addresses under which the API server is reached.
fn server_purpose(config: &Config, ranges: &Ranges) -> Purpose {
    let mut dns: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("kubernetes.default.svc.{}", config.cluster_domain), config.node_name.clone()])
        .collect();
    let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), config.node_ip, ranges.kubernetes().into()];
    if !config.bind_address.is_unspecified() {
        addresses.push(config.bind_address);
    }
    for name in &config.tls_san {
        match name.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => dns.push(name.clone()),
        }
    }
    Purpose::Server { name: "kube-apiserver".to_owned(), dns, addresses }
}

/// How the API server shows itself to the servers of aggregated APIs, and which other front proxies are believed.
fn front_proxy(config: &Config, pki: &Pki) -> Result<FrontProxy> {
    let (own_pem, certificate) = pki.front_proxy()?;
    let FrontProxiesConfig { authority_pem, headers } = &config.front_proxies;
    Ok(FrontProxy { authority_pem: format!("{own_pem}{authority_pem}"), certificate, headers: headers.clone() })
}

/// How the API server shows itself to kubelets, and whom it believes there: the cluster's own authority alone.
fn kubelet_tls(pki: &Pki) -> Result<rustls::ClientConfig> {
    let Issued { certificate_pem, key_pem } = pki.certificate("apiserver-kubelet-client", &kubelet_client())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes())?)?;
    let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
    Ok(rustls::ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?)
}

/// Starts the controllers and the scheduler. They wait for what they need by themselves.
pub(super) fn start_controllers(config: &Config, clients: &Clients, pki: &Pki, running: &mut Running) -> Result<()> {
    let accounts = clients.clone();
    let controllers = sampan_controllers::start(&sampan_controllers::Options {
        shared: clients.component(MANAGER),
        client_for: Arc::new(move |name| accounts.system_account(name, MANAGER)),
        ca_pem: pki.ca_pem().to_owned(),
        signer: Arc::new(ClusterAuthority(pki.load_authority()?)),
        sign_token: sign_token(config, pki)?,
        sign_text: Arc::new(|id, secret, text| sampan_auth::bootstrap_token::sign((id, secret), text)),
    });
    let controllers = Arc::new(controllers);
    let probed = Arc::clone(&controllers);
    clients.api.watch_component("controller-manager", Arc::new(move || probed.health()));
    running.add("controllers", async move { controllers.shutdown().await });
    let scheduler = sampan_scheduler::start(&sampan_scheduler::Options {
        client: clients.component("kube-scheduler"),
        scheduler_name: SCHEDULER.to_owned(),
    });
    let scheduler = Arc::new(scheduler);
    let probed = Arc::clone(&scheduler);
    clients.api.watch_component("scheduler", Arc::new(move || probed.health()));
    running.add("scheduler", async move { scheduler.shutdown().await });
    Ok(())
}

/// Signs the tokens that lie in Secrets.
fn sign_token(config: &Config, pki: &Pki) -> Result<SignToken> {
    let tokens = tokens(config, pki)?;
    Ok(Arc::new(move |namespace, account, uid, secret| {
        let account = Bound { name: account.to_owned(), uid: uid.to_owned() };
        tokens.sign_legacy(namespace, &account, secret).map_err(|error| error.to_string())
    }))
}

/// The cluster's authority, for certificate requests.
struct ClusterAuthority(Authority);

impl Signer for ClusterAuthority {
    fn common_name(&self, request_pem: &[u8]) -> Option<String> {
        Subject::of(request_pem).ok().map(|subject| subject.common_name)
    }

    fn refusal(&self, signer: &str, request_pem: &[u8], usages: &[String]) -> Option<String> {
        match Subject::of(request_pem) {
            Ok(subject) => signing::refusal(signer, &subject, usages).map(str::to_owned),
            Err(error) => Some(error.to_string()),
        }
    }

    fn sign(&self, request_pem: &[u8], usages: &[String], seconds: Option<i32>) -> Result<String, String> {
        let text = std::str::from_utf8(request_pem).map_err(|error| error.to_string())?;
        let life = seconds.map(|seconds| jiff::SignedDuration::from_secs(seconds.into()));
        self.0.sign(text, usages, life, sampan_clock::now()).map_err(|error| error.to_string())
    }
}
