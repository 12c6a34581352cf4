//! Webhooks: where they are, and the rules that say which requests they see.

use super::cursor::Cursor;
use super::{labels, names};
use crate::policy;

/// Versions of `AdmissionReview` that are spoken.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];

/// The list of webhooks of a configuration of either sort.
pub(crate) fn admission_webhooks(webhooks: &Cursor<'_>) {
    let mut seen = Vec::new();
    for webhook in webhooks.items() {
        admission_webhook(&webhook);
        review_versions(&webhook.get("admissionReviewVersions"));
        let name = webhook.get("name");
        if !name.is_empty() && seen.contains(&name.text()) {
            name.duplicate();
        }
        seen.push(name.text());
    }
}

fn admission_webhook(webhook: &Cursor<'_>) {
    webhook.get("name").must_follow(names::fully_qualified);
    webhook.get("rules").items().for_each(|with| rule(&with));
    webhook.get("failurePolicy").may_be_one_of(&["Fail", "Ignore"]);
    webhook.get("matchPolicy").may_be_one_of(&["Equivalent", "Exact"]);
    let side_effects = webhook.get("sideEffects");
    if side_effects.is_set() {
        side_effects.may_be_one_of(&SIDE_EFFECTS);
    } else {
        side_effects.required("must specify one of None, NoneOnDryRun");
    }
    let timeout = webhook.get("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        timeout.invalid("the timeout value must be between 1 and 30 seconds");
    }
    labels::selector(&webhook.get("namespaceSelector"));
    labels::selector(&webhook.get("objectSelector"));
    webhook.get("reinvocationPolicy").may_be_one_of(&["IfNeeded", "Never"]);
    client_config(&webhook.get("clientConfig"));
    policy::match_condition_faults(&webhook.get("matchConditions"));
}

/// `clientConfig`: a URL or a Service.
pub(crate) fn client_config(config: &Cursor<'_>) {
    let (at, service) = (config.get("url"), config.get("service"));
    match (at.is_set(), service.is_set()) {
        (true, false) => url(&at),
        (false, true) => service_reference(&service),
        _ => config.required("exactly one of url or service is required"),
    }
}

fn url(at: &Cursor<'_>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = at.text().split_once("://").unwrap_or(("", at.text()));
    if scheme != "https" {
        at.invalid_as(scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || scheme.is_empty() {
        at.invalid_as("", format!("host must be provided{FORM}"));
    }
    for (found, what) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !found.is_empty() {
            at.invalid_as(found, what);
        }
    }
}

fn service_reference(service: &Cursor<'_>) {
    for (field, why) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if service.get(field).is_empty() {
            service.get(field).required(why);
        }
    }
    let port = service.get("port");
    if port.int().is_some_and(|number| !(1..=65535).contains(&number)) {
        port.invalid("port is not valid: must be between 1 and 65535, inclusive");
    }
    path(&service.get("path"));
}

fn path(path: &Cursor<'_>) {
    let text = path.text();
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        return path.invalid("segment[0] may not be empty");
    }
    if !text.starts_with('/') {
        path.invalid("must start with a '/'");
    }
    let mut segments = text.char_indices().nth(1).map_or("", |(at, _)| &text[at..]);
    segments = segments.strip_suffix('/').unwrap_or(segments);
    for (index, segment) in segments.split('/').enumerate() {
        if segment.is_empty() {
            path.invalid(format!("segment[{index}] may not be empty"));
            continue;
        }
        for fault in names::subdomain(segment) {
            path.invalid(format!("segment[{index}]: {fault}"));
        }
    }
}

/// A `RuleWithOperations`.
pub(crate) fn rule(rule: &Cursor<'_>) {
    let operations = rule.get("operations");
    operations.must();
    alone(&operations, "operations");
    operations.items().for_each(|operation| operation.may_be_one_of(&OPERATIONS));
    let groups = rule.get("apiGroups");
    groups.must();
    alone(&groups, "API groups");
    let versions = rule.get("apiVersions");
    versions.must();
    alone(&versions, "API versions");
    for version in versions.items() {
        version.must();
    }
    resources(&rule.get("resources"));
    rule.get("scope").may_be_one_of(&SCOPES);
}

fn alone(list: &Cursor<'_>, what: &str) {
    if list.len() > 1 && list.texts().any(|item| item == "*") {
        list.invalid(format!("if '*' is present, must not specify other {what}"));
    }
}

/// `pods`, `pods/status`, `pods/*`, `*`, `*/*`, `*/scale`, as long as none says the same as another.
fn resources(list: &Cursor<'_>) {
    list.must();
    let (mut of_resource, mut of_subresource) = (Vec::new(), Vec::new());
    for item in list.items() {
        if !item.must() {
            continue;
        }
        let text = item.text();
        let Some((resource, subresource)) = text.split_once('/') else { continue };
        if of_resource.contains(&resource) {
            item.invalid(format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if of_subresource.contains(&subresource) {
            item.invalid(format!("if '*/{subresource}' is present, must not specify {text}"));
        }
        if subresource == "*" {
            of_resource.push(resource);
        }
        if resource == "*" {
            of_subresource.push(subresource);
        }
    }
    if list.len() > 1 && list.texts().any(|text| text == "*/*") {
        list.invalid("if '*/*' is present, must not specify other resources");
    }
    let plain = list.texts().any(|text| text != "*" && !text.contains('/'));
    if plain && list.texts().any(|text| text == "*") {
        list.invalid("if '*' is present, must not specify other resources without subresources");
    }
}

fn review_versions(versions: &Cursor<'_>) {
    if versions.is_empty() {
        return versions.required("must specify one of v1, v1beta1");
    }
    let mut seen = Vec::new();
    for version in versions.items() {
        if seen.contains(&version.text()) {
            version.invalid("duplicate version");
            continue;
        }
        seen.push(version.text());
        version.follows(names::label_1035);
    }
    if !seen.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        versions.invalid("must include at least one of v1, v1beta1");
    }
}
