//! The admission webhook in front of `Website`: says how many replicas where nothing is said, and refuses a page that
//! says nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use kube::{Api, Client};
use rcgen::CertifiedKey;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::MANAGER;
use super::website::Website;

const NAME: &str = "website-operator";

/// The webhook while it runs.
pub(crate) struct Hook {
    server: JoinHandle<()>,
}

/// Serves the webhook on a port of its own, and tells the API server of it.
pub(crate) async fn start(client: &Client) -> Result<Hook> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key.into())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening for the API server")?;
    let port = listener.local_addr()?.port();
    let server = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls))));
    register(client, port, &cert.pem()).await?;
    Ok(Hook { server })
}

impl Hook {
    /// Takes the webhook away again, so that nobody waits for it.
    pub(crate) async fn stop(self, client: &Client) -> Result<()> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        configurations.delete(NAME, &DeleteParams::default()).await?;
        self.server.abort();
        Ok(())
    }
}

async fn register(client: &Client, port: u16, ca: &str) -> Result<()> {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": NAME },
        "webhooks": [{
            "name": "website.example.com",
            "clientConfig": { "url": format!("https://127.0.0.1:{port}/"), "caBundle": STANDARD.encode(ca) },
            "rules": [{
                "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["websites"],
                "operations": ["CREATE", "UPDATE"],
            }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
        }],
    });
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    configurations.patch(NAME, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&configuration)).await?;
    Ok(())
}

async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    let router = Router::new().route("/", post(review));
    while let Ok((connection, _)) = listener.accept().await {
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let Ok(connection) = tls.accept(connection).await else { return };
            let served = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), service).await;
            if let Err(error) = served {
                eprintln!("webhook: {error}");
            }
        });
    }
}

async fn review(Json(review): Json<AdmissionReview<Website>>) -> Json<AdmissionReview<DynamicObject>> {
    let response = match TryInto::<AdmissionRequest<Website>>::try_into(review) {
        Ok(request) => decide(&request),
        Err(error) => AdmissionResponse::invalid(error),
    };
    Json(response.into_review())
}

fn decide(request: &AdmissionRequest<Website>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(website) = &request.object else { return response };
    if website.spec.page.trim().is_empty() {
        return response.deny("a website has to say something");
    }
    if website.spec.replicas.is_some() {
        return response;
    }
    let patch = json!([{ "op": "add", "path": "/spec/replicas", "value": 1 }]);
    let patch = serde_json::from_value(patch).map_err(|error| error.to_string());
    match patch.and_then(|patch| response.clone().with_patch(patch).map_err(|error| error.to_string())) {
        Ok(patched) => patched,
        Err(error) => response.deny(error),
    }
}
