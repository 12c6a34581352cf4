//! A webhook that is asked whether a request may be done: a `SubjectAccessReview` for each question, whose answer is
//! remembered for a while.

use std::sync::Arc;

use sampan_auth::{Attributes, Decision, Identity};
use sampan_cel::{Bindings, Budget, Env, Program, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{FailurePolicy, WebhookOptions};
use crate::kubeconfig::Remote;
use crate::webhook::{Remembered, Services};

/// The webhook.
pub(crate) struct AccessWebhook {
    options: WebhookOptions,
    conditions: Vec<Program>,
    remote: Remote,
    answers: Remembered<String, Decision>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    allowed: bool,
    denied: bool,
    reason: String,
}

impl AccessWebhook {
    pub(super) fn new(options: &WebhookOptions, services: &Arc<Services>) -> Result<Self, String> {
        Ok(Self {
            options: options.clone(),
            conditions: options.conditions.iter().map(|source| compile(source)).collect::<Result<_, _>>()?,
            remote: Remote::new(&options.kubeconfig, services)?,
            answers: Remembered::default(),
        })
    }

    /// Whether `who` may do `what`, as the webhook sees it.
    pub(crate) async fn decide(&self, who: &Identity, what: &Attributes) -> Decision {
        let spec = spec(who, what);
        match matches(&self.conditions, &spec) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(String::new()),
            Err(why) => return self.failed(&why),
        }
        let key = spec.to_string();
        if let Some(verdict) = self.answers.get(&key) {
            return verdict;
        }
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec });
        let answer = match self.remote.ask(&review, self.options.timeout).await {
            Ok(answer) => answer,
            Err(error) => return self.failed(&error.to_string()),
        };
        let verdict = match read(&answer["status"]) {
            Ok(verdict) => verdict,
            Err(why) => return self.failed(&why),
        };
        let yes = matches!(verdict, Decision::Allow(_));
        let ttl = if yes { self.options.authorized_ttl } else { self.options.unauthorized_ttl };
        self.answers.put(key, verdict.clone(), ttl);
        verdict
    }

    fn failed(&self, why: &str) -> Decision {
        tracing::warn!(webhook = self.options.name, why, "a webhook for authorization cannot be asked");
        match self.options.failure_policy {
            FailurePolicy::Deny => Decision::Deny(format!("the webhook {:?} cannot be asked", self.options.name)),
            FailurePolicy::NoOpinion => Decision::NoOpinion(String::new()),
        }
    }
}

fn read(status: &Value) -> Result<Decision, String> {
    let status: Status = serde_json::from_value(status.clone()).map_err(|error| error.to_string())?;
    match (status.allowed, status.denied) {
        (true, true) => Err("webhook subject access review returned both allow and deny response".to_owned()),
        (true, false) => Ok(Decision::Allow(status.reason)),
        (false, true) => Ok(Decision::Deny(status.reason)),
        (false, false) => Ok(Decision::NoOpinion(status.reason)),
    }
}

/// The spec of a review of this question.
fn spec(who: &Identity, what: &Attributes) -> Value {
    let mut spec = json!({ "user": who.name, "groups": who.groups });
    if !who.uid.is_empty() {
        spec["uid"] = who.uid.as_str().into();
    }
    if !who.extra.is_empty() {
        spec["extra"] = json!(who.extra);
    }
    if what.resource.is_empty() {
        spec["nonResourceAttributes"] = json!({ "path": what.path, "verb": what.verb });
        return spec;
    }
    let mut about = json!({});
    for (field, text) in [
        ("namespace", &what.namespace),
        ("verb", &what.verb),
        ("group", &what.group),
        ("version", &what.version),
        ("resource", &what.resource),
        ("subresource", &what.subresource),
        ("name", &what.name),
    ] {
        if !text.is_empty() {
            about[field] = text.as_str().into();
        }
    }
    if !what.fields.is_empty() {
        let requirement = |(key, value): &(String, String)| json!({ "key": key, "operator": "In", "values": [value] });
        let requirements: Vec<Value> = what.fields.iter().map(requirement).collect();
        about["fieldSelector"] = json!({ "requirements": requirements });
    }
    spec["resourceAttributes"] = about;
    spec
}

/// Compiles a condition.
pub(super) fn compile(source: &str) -> Result<Program, String> {
    let program = Env::new().variable("request", Type::Dyn).compile(source);
    let program = program.map_err(|error| format!("compilation failed: {error}"))?;
    if matches!(program.ty(), Type::Bool | Type::Dyn) { Ok(program) } else { Err("must evaluate to bool".to_owned()) }
}

/// Whether all conditions are true; one that is false outweighs those that fail.
fn matches(conditions: &[Program], request: &Value) -> Result<bool, String> {
    let budget = Budget::new(Budget::MATCH_CONDITIONS);
    let mut failed = None;
    for condition in conditions {
        match condition.evaluate(&Bindings::new().json("request", request), &budget) {
            Ok(value) if value.as_bool() == Some(true) => {}
            Ok(value) if value.as_bool() == Some(false) => return Ok(false),
            Ok(_) => failed = Some("a condition does not evaluate to a boolean".to_owned()),
            Err(error) => failed = Some(error.to_string()),
        }
    }
    failed.map_or(Ok(true), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Value {
        let who = Identity { name: "ann".to_owned(), groups: vec!["g".to_owned()], ..Identity::default() };
        let what = Attributes {
            verb: "list".to_owned(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            namespace: "ns".to_owned(),
            fields: vec![("spec.nodeName".to_owned(), "n".to_owned())],
            ..Attributes::default()
        };
        spec(&who, &what)
    }

    #[test]
    fn questions() {
        let want = json!({
            "user": "ann", "groups": ["g"],
            "resourceAttributes": {
                "verb": "list", "version": "v1", "resource": "pods", "namespace": "ns",
                "fieldSelector": { "requirements": [{ "key": "spec.nodeName", "operator": "In", "values": ["n"] }] },
            },
        });
        assert_eq!(question(), want);
        let path = Attributes { verb: "get".to_owned(), path: "/metrics".to_owned(), ..Attributes::default() };
        let asked = spec(&Identity::default(), &path);
        assert_eq!(asked["nonResourceAttributes"], json!({ "path": "/metrics", "verb": "get" }));
    }

    #[test]
    fn answers() {
        let check = |status: Value, want: Result<Decision, &str>| {
            assert_eq!(read(&status), want.map_err(str::to_owned));
        };
        check(json!({ "allowed": true, "reason": "r" }), Ok(Decision::Allow("r".to_owned())));
        check(json!({ "denied": true }), Ok(Decision::Deny(String::new())));
        check(json!({}), Ok(Decision::NoOpinion(String::new())));
        let both = "webhook subject access review returned both allow and deny response";
        check(json!({ "allowed": true, "denied": true }), Err(both));
    }

    #[test]
    fn conditions() {
        let check = |sources: &[&str], want: Result<bool, &str>| {
            let compiled: Vec<Program> = sources.iter().map(|source| compile(source).unwrap()).collect();
            assert_eq!(matches(&compiled, &question()), want.map_err(str::to_owned), "{sources:?}");
        };
        let pods = "has(request.resourceAttributes) && request.resourceAttributes.resource == 'pods'";
        check(&[], Ok(true));
        check(&[pods, "'g' in request.groups"], Ok(true));
        check(&[pods, "request.user == 'bob'"], Ok(false));
        check(&["request.nonResourceAttributes.path == '/x'"], Err("no such key: nonResourceAttributes"));
        check(&["request.nonResourceAttributes.path == '/x'", "false"], Ok(false));
    }
}
