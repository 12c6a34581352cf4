//! Certificate requests: those of kubelets are approved by right alone, approved ones are signed, old ones deleted.
//!
//! The cluster's authority stays with the program; [`Signer`] is the way to it.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use sampan_client::{Informer, Key, WorkQueue};

use self::plan::{KUBELET_CLIENT, Next, next};
use crate::error::allow_missing;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Upstream's words for a kubelet that renews its certificate,
const OWN_RENEWED: &str = "Auto approving self kubelet client certificate after SubjectAccessReview.";
/// and for one that joins.
const JOINS: &str = "Auto approving kubelet client certificate after SubjectAccessReview.";

/// The cluster's certificate authority, as far as certificate requests go.
pub trait Signer: Send + Sync {
    /// `CN` of a request, PEM; `None` if it cannot be read.
    fn common_name(&self, request_pem: &[u8]) -> Option<String>;

    /// Why the signer of that name does not sign the request for these usages; `None` if it does.
    fn refusal(&self, signer: &str, request_pem: &[u8], usages: &[String]) -> Option<String>;

    /// The certificate, PEM, valid for `seconds` within bounds. An error says what is wrong with the request.
    fn sign(&self, request_pem: &[u8], usages: &[String], seconds: Option<i32>) -> Result<String, String>;
}

struct Controller {
    client: Client,
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
    signer: Arc<dyn Signer>,
}

/// Starts the controller.
pub(crate) fn start(context: Context, signer: Arc<dyn Signer>) {
    let queue = WorkQueue::new(&context.tasks);
    let (requests, nodes) = (context.informers.all::<CertificateSigningRequest>(), context.informers.all::<Node>());
    let changed = queue.clone();
    requests.on_change(move |change| changed.add(Key::of(&**change.object())));
    let controller = Arc::new(Controller { client: context.client, requests, nodes, signer });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.requests.synced().await;
        controller.nodes.synced().await;
        runner::run("certificate-controller", controller, &queue, 1, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(request) = self.requests.get(key) else { return Ok(None) };
        match next(&request, sampan_clock::now()) {
            Next::Nothing => Ok(None),
            Next::Wait(left) => Ok(Some(left)),
            Next::Delete => self.delete(&request).await.map(|()| None),
            Next::Sign => self.sign((*request).clone()).await.map(|()| None),
            Next::Approve(left) => {
                if let Some(grounds) = self.grounds(&request).await? {
                    self.approve((*request).clone(), grounds).await?;
                }
                Ok(Some(left))
            }
        }
    }
}

impl Controller {
    fn api(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.client.clone())
    }

    async fn delete(&self, request: &CertificateSigningRequest) -> Result<(), Error> {
        let preconditions = Preconditions { uid: request.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = request.metadata.name.as_deref().unwrap_or_default();
        allow_missing(self.api().delete(name, &params).await)
            .map(drop)
            .map_err(Error::api("deleting an old certificate request"))
    }

    /// On what grounds whoever asks for a kubelet's client certificate gets it without a person's word: a node its
    /// own, a machine that joins that of a node which is not there yet. `None` if there are none.
    async fn grounds(&self, request: &CertificateSigningRequest) -> Result<Option<&'static str>, Error> {
        let spec = &request.spec;
        let usages = spec.usages.as_deref().unwrap_or_default();
        if self.signer.refusal(KUBELET_CLIENT, &spec.request.0, usages).is_some() {
            return Ok(None);
        }
        let Some(name) = self.signer.common_name(&spec.request.0) else { return Ok(None) };
        if spec.username.as_ref() == Some(&name) && self.is_allowed(request, "selfnodeclient").await? {
            return Ok(Some(OWN_RENEWED));
        }
        // Nobody takes a node's place by having been let in once.
        let node = name.strip_prefix("system:node:").unwrap_or_default();
        let taken = self.nodes.get(&Key::new("", node)).is_some();
        let joins = !taken && self.is_allowed(request, "nodeclient").await?;
        Ok(joins.then_some(JOINS))
    }

    async fn is_allowed(&self, request: &CertificateSigningRequest, subresource: &str) -> Result<bool, Error> {
        let spec = request.spec.clone();
        let wish = ResourceAttributes {
            group: Some("certificates.k8s.io".to_owned()),
            resource: Some("certificatesigningrequests".to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some("create".to_owned()),
            version: Some("*".to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username,
                uid: spec.uid,
                groups: spec.groups,
                extra: spec.extra,
                resource_attributes: Some(wish),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let review = api.create(&PostParams::default(), &review).await.map_err(Error::api("reviewing an access"))?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }

    async fn approve(&self, mut request: CertificateSigningRequest, grounds: &str) -> Result<(), Error> {
        add_condition(&mut request, "Approved", "AutoApproved", grounds);
        let name = request.metadata.name.clone().unwrap_or_default();
        let params = PostParams::default();
        let written = self.api().replace_subresource("approval", &name, &params, &request).await;
        allow_missing(written).map(drop).map_err(Error::api("approving a certificate request"))
    }

    async fn sign(&self, mut request: CertificateSigningRequest) -> Result<(), Error> {
        let spec = &request.spec;
        let usages = spec.usages.as_deref().unwrap_or_default();
        let signed = match self.signer.refusal(&spec.signer_name, &spec.request.0, usages) {
            Some(why) => Err(("SignerValidationFailure", why)),
            None => {
                self.signer.sign(&spec.request.0, usages, spec.expiration_seconds).map_err(|why| ("SigningError", why))
            }
        };
        match signed {
            Ok(pem) => {
                request.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
            }
            Err((reason, why)) => add_condition(&mut request, "Failed", reason, &why),
        }
        let name = request.metadata.name.clone().unwrap_or_default();
        let written = self.api().replace_status(&name, &PostParams::default(), &request).await;
        allow_missing(written).map(drop).map_err(Error::api("signing a certificate request"))
    }
}

fn add_condition(request: &mut CertificateSigningRequest, kind: &str, reason: &str, message: &str) {
    let now = Some(Time(sampan_clock::now()));
    let condition = CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: now.clone(),
        last_transition_time: now,
    };
    request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
}
