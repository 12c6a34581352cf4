//! Who vouches for users besides this cluster itself: OpenID Connect issuers, whose tokens are checked here, and a webhook
//! that is asked about every other token. Front proxies, whose headers name users. And what nobody in particular may ask.
//!
//! [`Options`] is the configuration, from upstream's file or flags; [`Vouchers`] is what runs. The chain of a request's
//! authentication is `server/authenticate/`.

mod config;
mod issuer;
mod mapping;
mod request_headers;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

pub use self::config::{Anonymous, Oidc, Options};
use self::issuer::Issuer;
pub use self::request_headers::RequestHeaders;
use self::webhook::TokenWebhook;
use crate::kubeconfig::Kubeconfig;
use crate::webhook::Services;
use sampan_auth::Identity;

/// The webhook that is asked about tokens.
#[derive(Clone, Debug)]
pub struct TokenWebhookOptions {
    /// Where it is and how to speak to it.
    pub kubeconfig: Kubeconfig,
    /// How long its answers hold.
    pub cache_ttl: Duration,
}

/// Who vouches for users.
pub(crate) struct Vouchers {
    issuers: Vec<Issuer>,
    webhook: Option<TokenWebhook>,
    pub(crate) anonymous: Anonymous,
}

impl Vouchers {
    /// Those of the configuration. `own` is the issuer of this cluster's own tokens, which is also their audience.
    pub(crate) fn new(options: &Options, own: &str, services: &Arc<Services>) -> Result<Self, String> {
        options.check(own)?;
        let issuers = options.issuers.iter().map(|issuer| Issuer::new(issuer, services)).collect::<Result<_, _>>()?;
        let webhook = options.webhook.as_ref().map(|webhook| TokenWebhook::new(webhook, services)).transpose()?;
        Ok(Self { issuers, webhook, anonymous: options.anonymous.clone() })
    }

    /// Who shows `token`, for one of `audiences`, and for which of them it is meant. An error says why nobody: that
    /// nobody here knows the token, or what is wrong with it.
    pub(crate) async fn identity(&self, token: &str, audiences: &[String]) -> Result<(Identity, Vec<String>), String> {
        let issuer = sampan_auth::token::issuer_of(token);
        let issuer = issuer.and_then(|url| self.issuers.iter().find(|issuer| issuer.url() == url));
        let why = match issuer {
            Some(issuer) => match issuer.identity(token).await {
                Ok(identity) => return Ok((identity, audiences.to_vec())),
                Err(why) => format!("[invalid bearer token, {why}]"),
            },
            None => "invalid bearer token".to_owned(),
        };
        match &self.webhook {
            Some(webhook) => webhook.identity(token, audiences).await,
            None => Err(why),
        }
    }
}
