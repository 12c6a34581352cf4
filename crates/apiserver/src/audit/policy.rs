//! What is recorded of which request: upstream's `Policy` of `audit.k8s.io/v1`. The first rule that a request meets
//! decides; without one nothing is recorded.

use sampan_auth::Identity;
use serde::Deserialize;

use crate::request::RequestInfo;

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Level {
    /// Nothing.
    None,
    /// Who did what, and what came of it.
    Metadata,
    /// And the object that was sent.
    Request,
    /// And the object that was answered.
    RequestResponse,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When something is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Stage {
    /// As soon as it is known who asks.
    RequestReceived,
    /// When a watch or a connection begins to answer.
    ResponseStarted,
    /// When there is nothing more to come.
    ResponseComplete,
    /// When the server failed within.
    Panic,
}

impl Stage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Which requests are recorded, and how much of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What is recorded of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) omit_stages: Vec<Stage>,
    pub(super) omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy file, YAML or JSON. An error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        if (policy.api_version.as_str(), policy.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Err("it must be a Policy of audit.k8s.io/v1".to_owned());
        }
        if policy.rules.is_empty() {
            return Err("it has no rules".to_owned());
        }
        for (at, rule) in policy.rules.iter().enumerate() {
            let narrows = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if narrows && !rule.non_resource_urls.is_empty() {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                return Err(format!("rules[{at}].nonResourceURLs: Invalid value: {why}"));
            }
        }
        Ok(policy)
    }

    pub(super) fn verdict(&self, who: &Identity, what: &RequestInfo) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.meets(who, what)) else {
            return Verdict { level: Level::None, omit_stages: Vec::new(), omit_managed_fields: false };
        };
        Verdict {
            level: rule.level,
            omit_stages: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn meets(&self, who: &Identity, what: &RequestInfo) -> bool {
        let user = self.users.is_empty() || self.users.contains(&who.name);
        let group = self.user_groups.is_empty() || self.user_groups.iter().any(|group| who.groups.contains(group));
        let verb = self.verbs.is_empty() || self.verbs.iter().any(|verb| verb == what.verb);
        user && group && verb && self.meets_place(what)
    }

    fn meets_place(&self, what: &RequestInfo) -> bool {
        let about_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if !about_resources && self.non_resource_urls.is_empty() {
            return true;
        }
        if !what.is_resource {
            return self.non_resource_urls.iter().any(|pattern| meets_path(pattern, &what.path));
        }
        about_resources
            && (self.namespaces.is_empty() || self.namespaces.contains(&what.namespace))
            && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.meet(what)))
    }
}

impl Resources {
    fn meet(&self, what: &RequestInfo) -> bool {
        if self.group != what.group {
            return false;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&what.name);
        let combined = match what.subresource.as_str() {
            "" => what.resource.clone(),
            subresource => format!("{}/{subresource}", what.resource),
        };
        let meets = |pattern: &String| match pattern.split_once('/') {
            _ if pattern == "*" || *pattern == combined => true,
            Some(("*", subresource)) => subresource == what.subresource,
            Some((resource, "*")) => resource == what.resource,
            _ => false,
        };
        self.resources.is_empty() || (named && self.resources.iter().any(meets))
    }
}

fn meets_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        _ if pattern == path => true,
        Some(prefix) => path.starts_with(prefix),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", "/version"]}
- {level: Request, resources: [{group: "", resources: [configmaps]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "pods/*", "*/scale"]}]}
- {level: RequestResponse, resources: [{group: apps}], omitStages: [ResponseStarted], omitManagedFields: true}
"#;

    #[track_caller]
    fn check(user: &str, line: &str, want: Level) {
        let (verb, path) = line.split_once(' ').unwrap();
        let uri = path.parse().unwrap();
        let info = RequestInfo::parse(&verb.parse().unwrap(), &uri, &Query::of(&uri).unwrap()).unwrap();
        let who = Identity { name: user.into(), groups: vec!["system:authenticated".into()], ..Identity::default() };
        assert_eq!(Policy::parse(POLICY).unwrap().verdict(&who, &info).level, want, "{line}");
    }

    #[test]
    fn the_first_rule_that_is_met_decides() {
        check("system:kube-proxy", "GET /api/v1/services?watch=1", Level::None);
        check("ann", "GET /version", Level::None);
        check("ann", "GET /apis/apps", Level::None);
        check("ann", "GET /metrics", Level::None);
        check("ann", "GET /api/v1/namespaces/kube-system/configmaps/a", Level::Request);
        check("ann", "GET /api/v1/namespaces/default/configmaps/a", Level::None);
        check("ann", "GET /api/v1/secrets", Level::Metadata);
        check("ann", "GET /api/v1/namespaces/a/pods/p/log", Level::Metadata);
        check("ann", "GET /api/v1/namespaces/a/pods/p", Level::Metadata);
        check("ann", "GET /api/v1/namespaces/a/services/s", Level::None);
        check("ann", "GET /api/v1/namespaces/a/replicationcontrollers/p/scale", Level::Metadata);
        check("ann", "DELETE /apis/apps/v1/namespaces/a/deployments/d", Level::RequestResponse);
    }

    #[test]
    fn faults_are_told() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        for (text, part) in [
            (head.to_owned(), "it has no rules"),
            ("apiVersion: v1\nkind: Policy\nrules: [{level: None}]".to_owned(), "audit.k8s.io/v1"),
            (format!("{head}rules: [{{level: All}}]"), "unknown variant `All`"),
            (format!("{head}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/b]}}]"), "cannot apply to both"),
        ] {
            let why = Policy::parse(&text).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
