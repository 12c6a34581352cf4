//! LimitRanger: a namespace's LimitRanges fill in what containers do not say, and bound what Pods and claims ask for.

use sampan_api::amounts::{self, Amounts};
use sampan_api::quantity::Quantity;
use sampan_api::status::Status;
use serde_json::{Value, json};

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

/// Where a Pod tells what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub(super) struct LimitRanger;

impl Plugin for LimitRanger {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        if request.creates_pod() || is_resize(request) {
            for range in ranges(registry, request) {
                fill_in(&range, new);
            }
        }
        Ok(())
    }

    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let check = if request.creates_pod() || is_resize(request) {
            pod_faults
        } else if writes_claim(request) {
            claim_faults
        } else {
            return Ok(());
        };
        for range in ranges(registry, request) {
            let mut faults: Vec<String> = limits(&range).flat_map(|limit| check(limit, new)).collect();
            faults.sort();
            faults.dedup();
            match faults.as_slice() {
                [] => {}
                [one] => return Err(request.attempt.forbidden(one)),
                many => return Err(request.attempt.forbidden(&format!("[{}]", many.join(", ")))),
            }
        }
        Ok(())
    }
}

fn is_resize(request: &Request<'_>) -> bool {
    request.operation == Operation::Update && request.is_about("", "pods/resize")
}

fn writes_claim(request: &Request<'_>) -> bool {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let leaving = request.old.is_some_and(|old| !old["metadata"]["deletionTimestamp"].is_null());
    writes && !leaving && request.is_about("", "persistentvolumeclaims")
}

fn ranges(registry: &Registry, request: &Request<'_>) -> Vec<Value> {
    registry.peek_all("", "LimitRange", &request.attempt.namespace)
}

fn limits(range: &Value) -> impl Iterator<Item = &Value> {
    range["spec"]["limits"].as_array().into_iter().flatten()
}

/// Gives every container the defaults of `range` for what it does not say, and notes which.
fn fill_in(range: &Value, pod: &mut Value) {
    let (mut requests, mut caps) = (Amounts::new(), Amounts::new());
    for limit in limits(range).filter(|limit| limit["type"] == "Container") {
        requests.extend(amounts::read(&limit["defaultRequest"]));
        caps.extend(amounts::read(&limit["default"]));
    }
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (field, defaults, word) in [("requests", &requests, "request"), ("limits", &caps, "limit")] {
                let set = complete(&mut container["resources"], field, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        pod["metadata"]["annotations"][ANNOTATION] = format!("LimitRanger plugin set: {}", notes.join("; ")).into();
    }
}

/// Adds to a list of amounts what it lacks; the names of what was added.
fn complete(resources: &mut Value, field: &str, defaults: &Amounts) -> Vec<String> {
    let missing: Vec<_> = defaults.iter().filter(|(name, _)| resources[field][name.as_str()].is_null()).collect();
    for (name, amount) in &missing {
        if !resources.is_object() {
            *resources = json!({});
        }
        resources[field][name.as_str()] = amount.to_string().into();
    }
    missing.into_iter().map(|(name, _)| name.clone()).collect()
}

fn pod_faults(limit: &Value, pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    match limit["type"].as_str() {
        Some("Container") => {
            let lists = ["containers", "initContainers"].iter();
            let containers = lists.flat_map(|list| spec[*list].as_array().into_iter().flatten());
            let asked = |container: &Value| {
                let of = |list: &str| amounts::read(&container["resources"][list]);
                Asked { requests: of("requests"), limits: of("limits") }
            };
            containers.flat_map(|container| bounds(limit, &asked(container))).collect()
        }
        Some("Pod") => {
            let of = |list| amounts::of_pod(spec, list);
            bounds(limit, &Asked { requests: of("requests"), limits: of("limits") })
        }
        _ => Vec::new(),
    }
}

/// A claim has requests alone, and they are held against both ends.
fn claim_faults(limit: &Value, claim: &Value) -> Vec<String> {
    if limit["type"] != "PersistentVolumeClaim" {
        return Vec::new();
    }
    let requests = amounts::read(&claim["spec"]["resources"]["requests"]);
    let asked = Asked { requests: requests.clone(), limits: Amounts::new() };
    let low = amounts::read(&limit["min"]);
    let low = low.iter().filter_map(|(name, bound)| too_low(TYPE_CLAIM, name, *bound, &asked));
    let high = amounts::read(&limit["max"]);
    let high = high.iter().filter_map(|(name, bound)| {
        let head = format!("maximum {name} usage per {TYPE_CLAIM} is {bound}");
        match requests.get(name) {
            None => Some(format!("{head}.  No request is specified")),
            Some(request) if request > bound => Some(format!("{head}, but request is {request}")),
            Some(_) => None,
        }
    });
    low.chain(high).collect()
}

const TYPE_CLAIM: &str = "PersistentVolumeClaim";

/// What a container or a Pod asks for.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

fn bounds(limit: &Value, asked: &Asked) -> Vec<String> {
    let per = limit["type"].as_str().unwrap_or_default();
    let rules: [(&str, Bound); 3] = [("min", too_low), ("max", too_high), ("maxLimitRequestRatio", too_far_apart)];
    let faults = rules.iter().flat_map(|(field, rule)| {
        let bounds = amounts::read(&limit[*field]);
        bounds.into_iter().filter_map(|(name, bound)| rule(per, &name, bound, asked)).collect::<Vec<_>>()
    });
    faults.collect()
}

/// What is wrong with the amount `name` asked for, per container or Pod, by a bound.
type Bound = fn(&str, &str, Quantity, &Asked) -> Option<String>;

fn too_low(per: &str, name: &str, bound: Quantity, asked: &Asked) -> Option<String> {
    let head = format!("minimum {name} usage per {per} is {bound}");
    match (asked.requests.get(name), asked.limits.get(name)) {
        (None, _) => Some(format!("{head}.  No request is specified")),
        (Some(request), _) if *request < bound => Some(format!("{head}, but request is {request}")),
        (_, Some(limit)) if *limit < bound => Some(format!("{head}, but limit is {limit}")),
        _ => None,
    }
}

fn too_high(per: &str, name: &str, bound: Quantity, asked: &Asked) -> Option<String> {
    let head = format!("maximum {name} usage per {per} is {bound}");
    match (asked.requests.get(name), asked.limits.get(name)) {
        (_, None) => Some(format!("{head}.  No limit is specified")),
        (_, Some(limit)) if *limit > bound => Some(format!("{head}, but limit is {limit}")),
        (Some(request), _) if *request > bound => Some(format!("{head}, but request is {request}")),
        _ => None,
    }
}

fn too_far_apart(per: &str, name: &str, bound: Quantity, asked: &Asked) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {per} is {bound}, but");
    let some =
        |amounts: &Amounts| amounts.get(name).filter(|amount| !amount.is_zero()).map(|amount| amount.milli_value());
    let Some(request) = some(&asked.requests) else {
        return Some(format!("{head} no request is specified or request is 0"));
    };
    let Some(limit) = some(&asked.limits) else {
        return Some(format!("{head} no limit is specified or limit is 0"));
    };
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    let ratio = limit as f64 / request as f64;
    #[expect(clippy::cast_precision_loss, reason = "bounds of ratios are small")]
    let bound = bound.milli_value() as f64 / 1000.0;
    (ratio > bound).then(|| format!("{head} provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{claim_faults, fill_in, pod_faults};

    fn yaml(text: &str) -> Value {
        serde_json::to_value(serde_yaml_ng::from_str::<serde_yaml_ng::Value>(text).unwrap()).unwrap()
    }

    #[test]
    fn defaults_fill_what_is_not_said_and_are_noted() {
        let range = yaml(
            "{spec: {limits: [{type: Container, default: {cpu: '1', memory: 1Gi}, defaultRequest: {cpu: 100m}}]}}",
        );
        let mut pod = yaml(
            "{spec: {containers: [{name: a, resources: {limits: {memory: 2Gi}}}, {name: b, resources: {requests: {cpu: 1m}, \
             limits: {cpu: 1, memory: 1}}}], initContainers: [{name: i}]}}",
        );
        fill_in(&range, &mut pod);
        assert_eq!(
            pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
            "LimitRanger plugin set: cpu request for container a; cpu limit for container a; cpu request for init \
             container i; cpu, memory limit for init container i"
        );
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            yaml("{limits: {cpu: '1', memory: 2Gi}, requests: {cpu: 100m}}")
        );
    }

    #[test]
    fn bounds_hold_for_containers_pods_and_claims() {
        let pod = yaml(
            "{spec: {containers: [{resources: {requests: {cpu: 500m}, limits: {cpu: 2}}}, {resources: {limits: {cpu: 1}}}]}}",
        );
        let rows = [
            ("{type: Container, max: {cpu: 1}}", "maximum cpu usage per Container is 1, but limit is 2"),
            (
                "{type: Container, min: {cpu: 600m}}",
                "minimum cpu usage per Container is 600m, but request is 500m|minimum cpu usage per Container is 600m.  No \
                 request is specified",
            ),
            ("{type: Pod, max: {cpu: 2}}", "maximum cpu usage per Pod is 2, but limit is 3"),
            ("{type: Pod, max: {memory: 2}}", "maximum memory usage per Pod is 2.  No limit is specified"),
            (
                "{type: Pod, maxLimitRequestRatio: {cpu: 4}}",
                "cpu max limit to request ratio per Pod is 4, but provided ratio is 6.000000",
            ),
            ("{type: Pod, maxLimitRequestRatio: {cpu: 6}}", ""),
            ("{type: PersistentVolumeClaim, max: {storage: 1}}", ""),
        ];
        for (limit, expected) in rows {
            assert_eq!(pod_faults(&yaml(limit), &pod).join("|"), expected, "{limit}");
        }
        let claim = yaml("{spec: {resources: {requests: {storage: 2Gi}}}}");
        let limit = yaml("{type: PersistentVolumeClaim, min: {storage: 3Gi}, max: {storage: 1Gi}}");
        assert_eq!(
            claim_faults(&limit, &claim).join("|"),
            "minimum storage usage per PersistentVolumeClaim is 3Gi, but request is 2Gi|maximum storage usage per \
             PersistentVolumeClaim is 1Gi, but request is 2Gi"
        );
    }
}
