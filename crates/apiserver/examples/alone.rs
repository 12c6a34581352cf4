//! An API server alone, on loopback, for trying it with kubectl:
//!
//! ```text
//! cargo run -p sampan-apiserver --example alone -- /tmp/alone 16443 [etcd://127.0.0.1:2379]
//! kubectl --kubeconfig /tmp/alone/kubeconfig.yaml get namespaces
//! ```
//!
//! The directory holds the store, a certificate authority that lives as long as this process, and a kubeconfig.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mimalloc::MiMalloc;
use sampan_apiserver::{
    ApiServer, AuthenticationOptions, AuthorizationOptions, FrontProxy, Listen, MAX_IN_FLIGHT, Options, Ranges,
    RequestHeaders, Version,
};
use sampan_auth::authority::{Authority, Issued, Purpose};
use sampan_auth::token::Tokens;
use sampan_store::Store;
use sampan_store::embedded::{self, Embedded};
use sampan_store::etcd::{self, Etcd};

/// The program's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: alone <directory> <port>")?);
    let port: u16 = args.next().ok_or("usage: alone <directory> <port>")?.parse()?;
    std::fs::create_dir_all(&dir)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let now = sampan_clock::now();
    let authority = Authority::load(&Authority::generate("alone", now)?)?;
    let served = authority.issue(&server_purpose(), now)?;
    let admin = authority.issue(&admin_purpose(), now)?;
    std::fs::write(dir.join("kubeconfig.yaml"), kubeconfig(port, authority.certificate_pem(), &admin))?;

    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let listener = tokio::net::TcpListener::bind(address).await?;
    let handle = ApiServer::start(Options {
        store: open_store(&dir, args.next()).await?,
        kms: Vec::new(),
        tokens: Arc::new(Tokens::load("https://kubernetes.default.svc", &Tokens::generate_key()?)?),
        ranges: Ranges { addresses: "10.43.0.0/16".parse()?, node_ports: 30000..=32767 },
        advertised: address,
        listen: Some(Listen { listener, certificate: served }),
        client_authority_pem: authority.certificate_pem().to_owned(),
        kubelet_tls: None,
        front_proxy: Some(front_proxy()?),
        authentication: AuthenticationOptions::default(),
        authorization: AuthorizationOptions::default(),
        audit: None,
        version: Version::current(),
        max_in_flight: MAX_IN_FLIGHT,
    })
    .await?;
    println!("listening on {address}; kubectl --kubeconfig {}", dir.join("kubeconfig.yaml").display());
    tokio::signal::ctrl_c().await?;
    handle.shutdown().await;
    Ok(())
}

fn front_proxy() -> Result<FrontProxy> {
    let now = sampan_clock::now();
    let authority = Authority::load(&Authority::generate("front-proxy-ca", now)?)?;
    let certificate = authority.issue(&Purpose::Client { user: "front-proxy-client".to_owned(), group: None }, now)?;
    Ok(FrontProxy {
        authority_pem: authority.certificate_pem().to_owned(),
        certificate,
        headers: RequestHeaders::default(),
    })
}

async fn open_store(dir: &Path, etcd: Option<String>) -> Result<Arc<dyn Store>> {
    match etcd {
        Some(url) => Ok(Arc::new(Etcd::connect(etcd::Options { location: url.parse()?, tls: None }).await?)),
        None => Ok(Arc::new(Embedded::open(embedded::Options { dir: dir.join("store") })?)),
    }
}

fn server_purpose() -> Purpose {
    Purpose::Server {
        name: "kube-apiserver".to_owned(),
        dns: vec!["localhost".to_owned()],
        addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
    }
}

fn admin_purpose() -> Purpose {
    Purpose::Client { user: "admin".to_owned(), group: Some("system:masters".to_owned()) }
}

fn kubeconfig(port: u16, authority: &str, admin: &Issued) -> String {
    let [ca, certificate, key] = [authority, &admin.certificate_pem, &admin.key_pem].map(|pem| STANDARD.encode(pem));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: alone\n\
         clusters: [{{name: alone, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority-data: {ca}}}}}]\n\
         users: [{{name: admin, user: {{client-certificate-data: {certificate}, client-key-data: {key}}}}}]\n\
         contexts: [{{name: alone, context: {{cluster: alone, user: admin}}}}]\n"
    )
}
