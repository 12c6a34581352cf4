//! A small registry on loopback: honest by default, and able to do what bad ones do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

pub(crate) const USER: &str = "puller";
pub(crate) const PASSWORD: &str = "hunter2";
const TOKEN: &str = "a-token";

/// What it wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Open,
    Basic,
    /// By way of its own token service.
    Bearer,
}

/// What it does with blobs of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Other bytes of the same length.
    Lies,
    /// Ends the connection halfway, this often.
    Dies(u32),
    /// Says nothing more halfway, this often.
    Stalls(u32),
    /// Announces everything and sends nothing.
    Mute,
    /// Sends the client elsewhere.
    Redirects(String),
}

pub(crate) struct State {
    pub(crate) guard: Guard,
    pub(crate) manner: Manner,
    /// Served as this, whatever it is.
    pub(crate) claim: Option<&'static str>,
    blobs: HashMap<String, Vec<u8>>,
    layers: Vec<String>,
    manifests: HashMap<String, (String, Vec<u8>)>,
    /// `<method> <path and query>`
    pub(crate) seen: Vec<String>,
    /// Every `Authorization` that came.
    pub(crate) authorizations: Vec<String>,
    /// Every `Range` that came.
    pub(crate) ranges: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    /// Its certificate, where it speaks TLS.
    pub(crate) certificate: Option<String>,
}

impl State {
    /// A manifest as it is served.
    pub(crate) fn manifest(&self, path: &str) -> Vec<u8> {
        self.manifests[path].1.clone()
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The configuration of an image for this machine.
pub(crate) fn config(layers: &[Vec<u8>], own: &str) -> Vec<u8> {
    let ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    serde_json::to_vec(&serde_json::json!({
        "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids },
        "config": serde_json::from_str::<serde_json::Value>(own).unwrap(),
    }))
    .unwrap()
}

impl Registry {
    pub(crate) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(crate) async fn with_tls() -> Self {
        let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let mut registry = Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await;
        registry.certificate = Some(own.cert.pem());
        registry
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            guard: Guard::Open,
            manner: Manner::Honest,
            claim: None,
            blobs: HashMap::new(),
            layers: Vec::new(),
            manifests: HashMap::new(),
            seen: Vec::new(),
            authorizations: Vec::new(),
            ranges: Vec::new(),
        };
        let address = listener.local_addr().unwrap();
        let registry = Self { address, state: Arc::new(Mutex::new(state)), certificate: None };
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, own) = (tls.clone(), serving.clone());
                tokio::spawn(async move {
                    let secure = tls.is_some();
                    let serve = service_fn(move |request| {
                        let response = own.answer(&request, secure);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(server.serve_connection(TokioIo::new(stream), serve).await),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            drop(server.serve_connection(TokioIo::new(stream), serve).await);
                        }
                    }
                });
            }
        });
        registry
    }

    /// The name of `image` here.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Takes an image as `repository:tag`; returns its manifest's digest. Layers are plain tars.
    pub(crate) fn push(&self, name: &str, layers: &[Vec<u8>], own: &str, kind: &str) -> String {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let config = config(layers, own);
        let (layer_kind, config_kind) =
            if kind == DOCKER { (DOCKER_LAYER, DOCKER_CONFIG) } else { (OCI_LAYER, OCI_CONFIG) };
        let mut state = self.state.lock();
        let mut descriptors = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let (bytes, kind) = match (number % 2, kind) {
                (1, OCI) => (zstd::encode_all(&layer[..], 1).unwrap(), "application/vnd.oci.image.layer.v1.tar+zstd"),
                _ => (gzip(layer), layer_kind),
            };
            let id = digest(&bytes);
            descriptors.push(serde_json::json!({ "mediaType": kind, "digest": id, "size": bytes.len() }));
            state.layers.push(id.clone());
            state.blobs.insert(id, bytes);
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "layers": descriptors,
            "config": { "mediaType": config_kind, "digest": digest(&config), "size": config.len() },
        });
        state.blobs.insert(digest(&config), config);
        drop(state);
        self.push_manifest(repository, tag, &serde_json::to_vec(&manifest).unwrap(), kind)
    }

    /// Takes any document as a manifest.
    pub(crate) fn push_manifest(&self, repository: &str, tag: &str, bytes: &[u8], kind: &str) -> String {
        let id = digest(bytes);
        let mut state = self.state.lock();
        for name in [tag, &id] {
            state.manifests.insert(format!("/v2/{repository}/manifests/{name}"), (kind.to_owned(), bytes.to_vec()));
        }
        id
    }

    /// How often a path was asked for with this method.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.state.lock().seen.iter().filter(|seen| seen.starts_with(method) && seen.contains(part)).count()
    }

    fn answer(&self, request: &Request<Incoming>, secure: bool) -> Response<Body> {
        let mut state = self.state.lock();
        let path = request.uri().path();
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        state.seen.push(format!("{} {}", request.method(), request.uri().path_and_query().unwrap()));
        let authorization = text("authorization");
        state.authorizations.extend(authorization.clone());
        state.ranges.extend(text("range"));
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        if path == "/token" {
            let fine = authorization.as_deref() == Some(&basic);
            let body = format!(r#"{{"token":"{}"}}"#, if fine { TOKEN } else { "anonymous" });
            return if fine || authorization.is_none() { plain(body.into()) } else { status(StatusCode::UNAUTHORIZED) };
        }
        let scheme = if secure { "https" } else { "http" };
        let (wanted, challenge) = match state.guard {
            Guard::Open => (None, String::new()),
            Guard::Basic => (Some(basic), r#"Basic realm="here""#.to_owned()),
            Guard::Bearer => {
                let realm = format!(
                    r#"Bearer realm="{scheme}://{}/token",service="here",scope="repository:x:pull""#,
                    self.address
                );
                (Some(format!("Bearer {TOKEN}")), realm)
            }
        };
        if wanted.is_some() && authorization != wanted {
            let mut refusal = status(StatusCode::UNAUTHORIZED);
            refusal.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            return refusal;
        }
        if let Some((kind, bytes)) = state.manifests.get(path) {
            let mut response = plain(if request.method() == Method::HEAD { Vec::new() } else { bytes.clone() });
            let kind = state.claim.unwrap_or(kind);
            response.headers_mut().insert("content-type", kind.parse().unwrap());
            response.headers_mut().insert("docker-content-digest", digest(bytes).parse().unwrap());
            return response;
        }
        let id = path.rsplit('/').next().unwrap_or_default().to_owned();
        match state.blobs.get(&id).cloned() {
            Some(bytes) if state.layers.contains(&id) => layer(&mut state.manner, bytes, request.headers(), path),
            Some(bytes) => plain(bytes),
            None => status(StatusCode::NOT_FOUND),
        }
    }
}

fn layer(manner: &mut Manner, bytes: Vec<u8>, headers: &HeaderMap, path: &str) -> Response<Body> {
    let range = headers.get("range").and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("bytes="));
    let from = range.and_then(|text| text.trim_end_matches('-').parse::<usize>().ok()).unwrap_or(0);
    let rest = bytes[from..].to_vec();
    let (length, half) = (rest.len(), rest[..rest.len() / 2].to_vec());
    let mut response = match manner {
        Manner::Redirects(to) => {
            let mut response = status(StatusCode::TEMPORARY_REDIRECT);
            response.headers_mut().insert("location", format!("{to}{path}").parse().unwrap());
            return response;
        }
        Manner::Mute => {
            Response::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::io::Error>>()).boxed_unsync())
        }
        Manner::Lies => plain(vec![0; length]),
        Manner::Dies(left @ 1..) => {
            *left -= 1;
            let broken = std::io::Error::other("this registry dies");
            Response::new(
                StreamBody::new(stream::iter([Ok(Frame::data(Bytes::from(half))), Err(broken)])).boxed_unsync(),
            )
        }
        Manner::Stalls(left @ 1..) => {
            *left -= 1;
            let first = stream::iter([Ok(Frame::data(Bytes::from(half)))]);
            Response::new(StreamBody::new(futures::StreamExt::chain(first, stream::pending())).boxed_unsync())
        }
        Manner::Honest | Manner::Dies(0) | Manner::Stalls(0) => plain(rest),
    };
    response.headers_mut().insert("content-length", length.into());
    if from > 0 {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        response.headers_mut().insert("content-range", range.parse().unwrap());
    }
    response
}

fn plain(bytes: Vec<u8>) -> Response<Body> {
    Response::new(Full::from(bytes).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = plain(Vec::new());
    *response.status_mut() = status;
    response
}
