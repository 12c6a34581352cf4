//! The configuration of authorization: upstream's `AuthorizationConfiguration`, and the older flags, which say the same of
//! one webhook.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use sampan_api::field::{Error, Path};
use serde::Deserialize;

use super::webhook::compile;
use crate::config_file::check_head;
use crate::duration::parse_duration;
use crate::kubeconfig::Kubeconfig;

const KIND: &str = "AuthorizationConfiguration";
/// No webhook is waited for longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// So many conditions may a webhook have, as upstream.
const MAX_CONDITIONS: usize = 64;
const AUTHORIZED_TTL: Duration = Duration::from_secs(300);
const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);

/// The authorizers in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) authorizers: Vec<Authorizer>,
}

#[derive(Clone, Debug)]
pub(super) enum Authorizer {
    Node,
    Rbac,
    Webhook(Box<WebhookOptions>),
}

/// A webhook that is asked.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Its name, for the log.
    pub name: String,
    /// Where it is and how to speak to it.
    pub kubeconfig: Kubeconfig,
    /// How long a yes holds.
    pub authorized_ttl: Duration,
    /// How long anything else holds.
    pub unauthorized_ttl: Duration,
    /// Time for an answer.
    pub timeout: Duration,
    /// What stands for an answer that does not come.
    pub failure_policy: FailurePolicy,
    /// CEL over the review's spec as `request`: the webhook is asked only if all are true.
    pub conditions: Vec<String>,
}

/// What stands for an answer that does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum FailurePolicy {
    /// The next authorizer is asked.
    NoOpinion,
    /// No.
    Deny,
}

impl Default for Options {
    fn default() -> Self {
        Self { authorizers: vec![Authorizer::Node, Authorizer::Rbac] }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    authorizers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    r#type: String,
    #[serde(default)]
    name: String,
    webhook: Option<WebhookFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookFile {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    cache_unauthorized_requests: Option<bool>,
    timeout: Option<String>,
    #[serde(default)]
    subject_access_review_version: String,
    #[serde(default)]
    match_condition_subject_access_review_version: String,
    failure_policy: Option<FailurePolicy>,
    connection_info: Connection,
    #[serde(default)]
    match_conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Connection {
    r#type: String,
    kube_config_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    expression: String,
}

impl Options {
    /// Reads an `AuthorizationConfiguration`, YAML or JSON, and the kubeconfig files that it names.
    ///
    /// # Errors
    /// What is wrong with it, with the path of the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        check_head(&file.api_version, &file.kind, KIND)?;
        let entries = file.authorizers.into_iter().enumerate();
        let authorizers = entries.map(|(index, entry)| entry.read(&Path::new("authorizers").index(index)));
        let options = Self { authorizers: authorizers.collect::<Result<_, _>>().map_err(|fault| fault.to_string())? };
        options.check().map(|()| options)
    }

    /// What the flags say: the modes in their order, and the webhook.
    ///
    /// # Errors
    /// A mode that there is not, or a webhook without a place in the order or the other way round.
    pub fn of_flags(modes: &[String], webhook: Option<WebhookOptions>) -> Result<Self, String> {
        let mut webhook = webhook;
        let mut authorizers = Vec::new();
        for mode in modes {
            authorizers.push(match mode.as_str() {
                "Node" => Authorizer::Node,
                "RBAC" => Authorizer::Rbac,
                "Webhook" => {
                    let taken = webhook.take();
                    let why = "authorization-mode Webhook: say where it is with --authorization-webhook-config-file";
                    Authorizer::Webhook(Box::new(taken.ok_or(why)?))
                }
                other => return Err(format!("authorization-mode: {other:?} is none of Node, RBAC, Webhook")),
            });
        }
        if webhook.is_some() {
            return Err("authorization-webhook-config-file: add Webhook to --authorization-mode".to_owned());
        }
        let options = Self { authorizers };
        options.check().map(|()| options)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let path = Path::new("authorizers");
        if self.authorizers.is_empty() {
            return Err(Error::required(&path, "at least one authorization mode must be defined").to_string());
        }
        let mut seen = BTreeSet::new();
        for (index, authorizer) in self.authorizers.iter().enumerate() {
            let kind = match authorizer {
                Authorizer::Node => "Node",
                Authorizer::Rbac => "RBAC",
                Authorizer::Webhook(webhook) => &webhook.name,
            };
            if !seen.insert(kind) {
                return Err(Error::duplicate(&path.index(index).child("type"), kind).to_string());
            }
        }
        Ok(())
    }
}

impl WebhookOptions {
    /// The webhook of the flags, which is passed over while it cannot be asked.
    pub fn with(kubeconfig: Kubeconfig, authorized_ttl: Duration, unauthorized_ttl: Duration) -> Self {
        Self {
            name: "default".to_owned(),
            kubeconfig,
            authorized_ttl,
            unauthorized_ttl,
            timeout: MAX_TIMEOUT,
            failure_policy: FailurePolicy::NoOpinion,
            conditions: Vec::new(),
        }
    }
}

impl Entry {
    fn read(self, path: &Path) -> Result<Authorizer, Error> {
        let Self { r#type, name, webhook } = self;
        match (r#type.as_str(), webhook) {
            ("Node", None) => Ok(Authorizer::Node),
            ("RBAC", None) => Ok(Authorizer::Rbac),
            ("Webhook", Some(webhook)) if name.is_empty() => {
                drop(webhook);
                Err(Error::required(&path.child("name"), ""))
            }
            ("Webhook", Some(webhook)) => {
                webhook.read(name, &path.child("webhook")).map(|webhook| Authorizer::Webhook(Box::new(webhook)))
            }
            ("Webhook", None) => Err(Error::required(&path.child("webhook"), "required when type=Webhook")),
            ("Node" | "RBAC", Some(_)) => {
                Err(Error::invalid(&path.child("webhook"), "non-null", "may only be specified when type=Webhook"))
            }
            (other, _) => Err(Error::not_supported(&path.child("type"), other, &["Node", "RBAC", "Webhook"])),
        }
    }
}

impl WebhookFile {
    fn read(self, name: String, path: &Path) -> Result<WebhookOptions, Error> {
        for (field, version) in [
            ("subjectAccessReviewVersion", &self.subject_access_review_version),
            ("matchConditionSubjectAccessReviewVersion", &self.match_condition_subject_access_review_version),
        ] {
            let unsaid_allowed = field.starts_with("match") && self.match_conditions.is_empty();
            if version != "v1" && !(unsaid_allowed && version.is_empty()) {
                return Err(Error::not_supported(&path.child(field), version.clone(), &["v1"]));
            }
        }
        let failure_policy = self.failure_policy.ok_or_else(|| Error::required(&path.child("failurePolicy"), ""))?;
        let timeout = length(self.timeout.as_deref(), Duration::ZERO, &path.child("timeout"))?;
        if timeout.is_zero() {
            return Err(Error::required(&path.child("timeout"), ""));
        }
        if timeout > MAX_TIMEOUT {
            return Err(Error::invalid(&path.child("timeout"), self.timeout.unwrap_or_default(), "must be <= 30s"));
        }
        let ttl = |text: Option<&str>, unsaid, cached: Option<bool>, name: &str| {
            let ttl = length(text, unsaid, &path.child(name))?;
            Ok::<_, Error>(if cached == Some(false) { Duration::ZERO } else { ttl })
        };
        let conditions: Vec<String> = self.match_conditions.into_iter().map(|condition| condition.expression).collect();
        let matching = path.child("matchConditions");
        if conditions.len() > MAX_CONDITIONS {
            return Err(Error::too_many(&matching, conditions.len(), MAX_CONDITIONS));
        }
        for (index, condition) in conditions.iter().enumerate() {
            let path = matching.index(index).child("expression");
            compile(condition).map_err(|why| Error::invalid(&path, condition.clone(), why))?;
        }
        Ok(WebhookOptions {
            name,
            kubeconfig: self.connection_info.read(&path.child("connectionInfo"))?,
            authorized_ttl: ttl(
                self.authorized_ttl.as_deref(),
                AUTHORIZED_TTL,
                self.cache_authorized_requests,
                "authorizedTTL",
            )?,
            unauthorized_ttl: ttl(
                self.unauthorized_ttl.as_deref(),
                UNAUTHORIZED_TTL,
                self.cache_unauthorized_requests,
                "unauthorizedTTL",
            )?,
            timeout,
            failure_policy,
            conditions,
        })
    }
}

impl Connection {
    fn read(self, path: &Path) -> Result<Kubeconfig, Error> {
        match (self.r#type.as_str(), self.kube_config_file) {
            ("KubeConfigFile", Some(file)) if file.is_absolute() => Kubeconfig::read(&file)
                .map_err(|why| Error::invalid(&path.child("kubeConfigFile"), file.display().to_string(), why)),
            ("KubeConfigFile", Some(file)) => {
                let why = "must be an absolute path";
                Err(Error::invalid(&path.child("kubeConfigFile"), file.display().to_string(), why))
            }
            ("KubeConfigFile", None) => Err(Error::required(&path.child("kubeConfigFile"), "")),
            (other, _) => Err(Error::not_supported(&path.child("type"), other, &["KubeConfigFile"])),
        }
    }
}

fn length(text: Option<&str>, unsaid: Duration, path: &Path) -> Result<Duration, Error> {
    let Some(text) = text else { return Ok(unsaid) };
    parse_duration(text).ok_or_else(|| Error::invalid(path, text, "it is no duration such as 30s or 5m0s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a list of authorizers; nothing if it is empty.
    #[track_caller]
    fn check(authorizers: &str, want: &str) {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: {authorizers}"
        );
        assert_eq!(Options::parse(&text).err().unwrap_or_default(), want);
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hook");
        let text = "clusters: [{name: c, cluster: {server: 'https://h'}}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n";
        std::fs::write(&file, text).unwrap();
        let webhook = |more: &str| {
            let connection = format!("connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}", file.display());
            format!(
                "[{{type: Webhook, name: h, webhook: {{subjectAccessReviewVersion: v1, {connection}, {more}}}}}, {{type: RBAC}}]"
            )
        };
        check("[{type: Node}, {type: RBAC}]", "");
        check(&webhook("timeout: 3s, failurePolicy: Deny"), "");
        check("[]", "authorizers: Required value: at least one authorization mode must be defined");
        check("[{type: RBAC}, {type: RBAC}]", "authorizers[1].type: Duplicate value: \"RBAC\"");
        check(
            "[{type: ABAC}]",
            "authorizers[0].type: Unsupported value: \"ABAC\": supported values: \"Node\", \"RBAC\", \"Webhook\"",
        );
        check("[{type: Webhook, name: h}]", "authorizers[0].webhook: Required value: required when type=Webhook");
        check(&webhook("failurePolicy: Deny"), "authorizers[0].webhook.timeout: Required value");
        check(&webhook("timeout: 3s"), "authorizers[0].webhook.failurePolicy: Required value");
        check(
            &webhook("failurePolicy: Deny, timeout: 31s"),
            "authorizers[0].webhook.timeout: Invalid value: \"31s\": must be <= 30s",
        );
        check(
            &webhook(
                "failurePolicy: Deny, timeout: 3s, matchConditionSubjectAccessReviewVersion: v1, matchConditions: [{expression: '1'}]",
            ),
            "authorizers[0].webhook.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool",
        );
    }

    #[test]
    fn flags() {
        let modes = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(Options::of_flags(&modes("Node,RBAC"), None).unwrap().authorizers.len(), 2);
        for (text, want) in [
            ("AlwaysAllow", "authorization-mode: \"AlwaysAllow\" is none of Node, RBAC, Webhook"),
            ("Webhook", "authorization-mode Webhook: say where it is with --authorization-webhook-config-file"),
        ] {
            assert_eq!(Options::of_flags(&modes(text), None).unwrap_err(), want);
        }
    }
}
