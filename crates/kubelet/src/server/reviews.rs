//! Authentication and authorization by asking the API server: TokenReview and SubjectAccessReview.

use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use sampan_auth::{Attributes, Identity};

use super::{Authenticate, Authorize};

/// Asks the API server, for each request anew: rights that were taken away are gone at once.
#[derive(Clone)]
pub struct Reviews(Client);

impl Reviews {
    /// Asks through `client`, which acts as the node.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Authenticate for Reviews {
    async fn identify(&self, token: &str) -> Option<Identity> {
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = match Api::all(self.0.clone()).create(&PostParams::default(), &review).await {
            Ok(answer) => answer.status.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "kubelet API: a token could not be reviewed");
                return None;
            }
        };
        let user = answer.user.filter(|_| answer.authenticated == Some(true))?;
        Some(Identity {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }
}

#[async_trait]
impl Authorize for Reviews {
    async fn allowed(&self, identity: &Identity, attributes: &Attributes) -> bool {
        let review = access_review(identity, attributes);
        match Api::all(self.0.clone()).create(&PostParams::default(), &review).await {
            Ok(answer) => answer.status.is_some_and(|status| status.allowed),
            Err(error) => {
                tracing::warn!(%error, user = identity.name, "kubelet API: rights could not be reviewed");
                false
            }
        }
    }
}

fn access_review(identity: &Identity, attributes: &Attributes) -> SubjectAccessReview {
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let wanted = ResourceAttributes {
        verb: filled(&attributes.verb),
        group: filled(&attributes.group),
        version: filled(&attributes.version),
        resource: filled(&attributes.resource),
        subresource: filled(&attributes.subresource),
        namespace: filled(&attributes.namespace),
        name: filled(&attributes.name),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: filled(&identity.name),
        uid: filled(&identity.uid),
        groups: Some(identity.groups.clone()),
        extra: Some(identity.extra.clone()),
        resource_attributes: Some(wanted),
        ..SubjectAccessReviewSpec::default()
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}
