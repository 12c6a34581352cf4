//! MutatingWebhookConfiguration: webhooks that may change objects on their way into the store.

use jiff::Timestamp;
use serde_json::Value;

use super::validating_webhook_configuration::default_webhook;
use super::{cells, fill};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{admission_webhooks, check};

/// `mutatingwebhookconfigurations.admissionregistration.k8s.io`
pub static MUTATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    storage: "mutatingwebhookconfigurations",
    columns: &[cells::NAME, cells::number("Webhooks"), cells::AGE],
    rules: &MutatingWebhookConfigurationRules,
};

struct MutatingWebhookConfigurationRules;

impl Rules for MutatingWebhookConfigurationRules {
    fn default(&self, object: &mut Value) {
        fill::each(object, "/webhooks", |webhook| {
            fill::absent(webhook, "reinvocationPolicy", "Never");
            default_webhook(webhook);
        });
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |configuration| admission_webhooks(&configuration.get("webhooks")))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let webhooks = object["webhooks"].as_array().map_or(0, Vec::len);
        vec![cells::name(object), webhooks.into(), cells::age(object, now)]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}
