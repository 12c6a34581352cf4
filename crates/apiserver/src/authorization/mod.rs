//! Who is asked whether a request may be done, in which order: the node authorizer and RBAC here, and webhooks.
//!
//! [`Options`] is the configuration, from upstream's file or flags; [`Chain`] is what runs; `rights.rs` asks it.

mod config;
mod refusal;
mod webhook;

use std::sync::Arc;

use self::config::Authorizer;
pub use self::config::{FailurePolicy, Options, WebhookOptions};
pub(crate) use self::refusal::refusal;
pub(crate) use self::webhook::AccessWebhook;
use crate::webhook::Services;

/// The authorizers in their order.
pub(crate) struct Chain(pub(crate) Vec<Link>);

/// One of them.
pub(crate) enum Link {
    /// Those of this server that stand side by side: they allow or have no opinion, so that their order says nothing.
    Own(Own),
    /// A webhook.
    Webhook(Box<AccessWebhook>),
}

/// Which of this server's own authorizers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) node: bool,
    pub(crate) rbac: bool,
}

impl Chain {
    /// The chain of the configuration.
    pub(crate) fn new(options: &Options, services: &Arc<Services>) -> Result<Self, String> {
        options.check()?;
        let mut links: Vec<Link> = Vec::new();
        for authorizer in &options.authorizers {
            match authorizer {
                Authorizer::Webhook(options) => {
                    links.push(Link::Webhook(Box::new(AccessWebhook::new(options, services)?)));
                }
                own => {
                    if !matches!(links.last(), Some(Link::Own(_))) {
                        links.push(Link::Own(Own::default()));
                    }
                    if let Some(Link::Own(last)) = links.last_mut() {
                        last.node |= matches!(own, Authorizer::Node);
                        last.rbac |= matches!(own, Authorizer::Rbac);
                    }
                }
            }
        }
        Ok(Self(links))
    }

    /// Which of this server's own authorizers are anywhere in the chain.
    pub(crate) fn own(&self) -> Own {
        self.0.iter().fold(Own::default(), |all, link| match link {
            Link::Own(own) => Own { node: all.node || own.node, rbac: all.rbac || own.rbac },
            Link::Webhook(_) => all,
        })
    }
}
