//! ValidatingWebhookConfiguration: webhooks that may refuse objects on their way into the store.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, fill};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{admission_webhooks, check};

/// `validatingwebhookconfigurations.admissionregistration.k8s.io`
pub static VALIDATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    storage: "validatingwebhookconfigurations",
    columns: &[cells::NAME, cells::number("Webhooks"), cells::AGE],
    rules: &ValidatingWebhookConfigurationRules,
};

struct ValidatingWebhookConfigurationRules;

impl Rules for ValidatingWebhookConfigurationRules {
    fn default(&self, object: &mut Value) {
        fill::each(object, "/webhooks", default_webhook);
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

/// The defaults of a webhook of either sort.
pub(super) fn default_webhook(webhook: &mut Value) {
    let defaults =
        [("failurePolicy", json!("Fail")), ("matchPolicy", json!("Equivalent")), ("timeoutSeconds", json!(10))];
    for (field, default) in defaults {
        fill::absent(webhook, field, default);
    }
    fill::absent(webhook, "namespaceSelector", json!({}));
    fill::absent(webhook, "objectSelector", json!({}));
    fill::each(webhook, "/rules", |rule| fill::absent(rule, "scope", "*"));
    fill::at(webhook, "/clientConfig/service", |service| fill::absent(service, "port", 443));
}

#[cfg(test)]
mod tests {
    use super::VALIDATING_WEBHOOK_CONFIGURATION as KIND;
    use crate::kinds::testing::{check, check_defaults, check_row};

    const GOOD: &str =
        "name: a.b.c, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: 'https://h/p'}";

    fn one(more: &str) -> String {
        format!("{{webhooks: [{{{GOOD}, {more}}}]}}")
    }

    #[test]
    fn webhooks() {
        check(&KIND, &one(""), &[]);
        check(
            &KIND,
            "{webhooks: [{name: a.b}]}",
            &[
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ],
        );
        check(
            &KIND,
            &one("timeoutSeconds: 31, failurePolicy: Maybe"),
            &[
                "webhooks[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"Fail\", \"Ignore\"",
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ],
        );
        check(
            &KIND,
            &format!("{{webhooks: [{{{GOOD}}}, {{{GOOD}}}]}}"),
            &["webhooks[1].name: Duplicate value: \"a.b.c\""],
        );
    }

    #[test]
    fn rules() {
        let rule =
            |text: &str| one(&format!("rules: [{{operations: [CREATE], apiGroups: [''], apiVersions: [v1], {text}}}]"));
        check(&KIND, &rule("resources: [pods, pods/*]"), &[]);
        check(
            &KIND,
            &rule("resources: [pods/*, pods/status]"),
            &[
                "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
            ],
        );
        check(
            &KIND,
            &rule("resources: ['*', pods]"),
            &[
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
            ],
        );
        check(
            &KIND,
            &rule("resources: [pods], scope: Some"),
            &[
                "webhooks[0].rules[0].scope: Unsupported value: \"Some\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            ],
        );
    }

    #[test]
    fn places() {
        let at = |config: &str| {
            format!(
                "{{webhooks: [{{name: a.b.c, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {{{config}}}}}]}}"
            )
        };
        check(&KIND, &at("service: {name: s, namespace: n, path: /a/b}"), &[]);
        check(
            &KIND,
            &at("service: {name: s, namespace: n, path: a//b}"),
            &[
                "webhooks[0].clientConfig.service.path: Invalid value: \"a//b\": must start with a '/'",
                "webhooks[0].clientConfig.service.path: Invalid value: \"a//b\": segment[0] may not be empty",
                "webhooks[0].clientConfig.service.path: Invalid value: \"a//b\": segment[1] may not be empty",
            ],
        );
        check(
            &KIND,
            &at("url: 'http://h/p?q'"),
            &[
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "webhooks[0].clientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL",
            ],
        );
    }

    #[test]
    fn defaults_and_row() {
        check_defaults(
            &KIND,
            "{webhooks: [{rules: [{}], clientConfig: {service: {}}}]}",
            "{webhooks: [{rules: [{scope: '*'}], clientConfig: {service: {port: 443}}, failurePolicy: Fail, \
             matchPolicy: Equivalent, timeoutSeconds: 10, namespaceSelector: {}, objectSelector: {}}]}",
        );
        check_row(&KIND, "{metadata: {name: a}, webhooks: [{}, {}]}", "a | 2 | <unknown>");
    }
}
