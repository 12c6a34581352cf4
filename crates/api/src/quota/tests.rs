use jiff::Timestamp;
use serde_json::Value;

use super::{Change, Resource, charge, usage, used};
use crate::amounts;

const PODS: Resource = Resource { group: "", plural: "pods" };
const CLAIMS: Resource = Resource { group: "", plural: "persistentvolumeclaims" };

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

fn quota(spec: &str, hard: &str, used: &str) -> Value {
    yaml(&format!("{{metadata: {{name: q}}, spec: {spec}, status: {{hard: {hard}, used: {used}}}}}"))
}

fn pod(more: &str) -> Value {
    yaml(&format!("{{spec: {{containers: [{{name: c, resources: {{requests: {{cpu: 500m}}}}}}] {more}}}}}"))
}

fn charged(quota: &Value, resource: Resource, new: &Value, old: Option<&Value>) -> String {
    let change = Change { resource, subresource: "", new, old, now: Timestamp::UNIX_EPOCH };
    match charge(quota, change) {
        Ok(None) => "not concerned".to_owned(),
        Ok(Some(used)) => amounts::sentence(&used),
        Err(why) => why,
    }
}

#[test]
fn objects_are_measured_by_every_name() {
    let measure = |resource, text: &str| amounts::sentence(&usage(resource, &yaml(text), Timestamp::UNIX_EPOCH));
    assert_eq!(measure(Resource { group: "apps", plural: "deployments" }, "{}"), "count/deployments.apps=1");
    assert_eq!(measure(Resource { group: "", plural: "secrets" }, "{}"), "count/secrets=1,secrets=1");
    assert_eq!(
        measure(
            PODS,
            "{spec: {containers: [{resources: {requests: {cpu: 1, example.com/gpu: 2}, limits: {memory: 1Gi}}}]}}"
        ),
        "count/pods=1,cpu=1,limits.memory=1Gi,pods=1,requests.cpu=1,requests.example.com/gpu=2"
    );
    assert_eq!(measure(PODS, "{status: {phase: Failed}}"), "count/pods=1");
    assert_eq!(
        measure(Resource { group: "", plural: "services" }, "{spec: {type: NodePort, ports: [{port: 1}, {port: 2}]}}"),
        "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"
    );
    assert_eq!(
        measure(CLAIMS, "{spec: {storageClassName: fast, resources: {requests: {storage: 1Gi}}}}"),
        "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         fast.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi"
    );
}

#[test]
fn what_fits_is_charged_and_what_does_not_is_told() {
    let two = quota("{}", "{pods: 2, cpu: 1}", "{pods: 1, cpu: 500m}");
    assert_eq!(charged(&two, PODS, &pod(""), None), "cpu=1,pods=2");
    let full = quota("{}", "{pods: 2, cpu: 1}", "{pods: 2, cpu: 600m}");
    assert_eq!(
        charged(&full, PODS, &pod(""), None),
        "exceeded quota: q, requested: cpu=500m,pods=1, used: cpu=600m,pods=2, limited: cpu=1,pods=2"
    );
    let fresh = quota("{}", "{pods: 2}", "{}");
    assert_eq!(charged(&fresh, PODS, &pod(""), None), "status unknown for quota: q, resources: pods");
    let silent = quota("{}", "{memory: 1Gi, limits.cpu: 1}", "{memory: 0, limits.cpu: 0}");
    assert_eq!(
        charged(&silent, PODS, &pod(""), None),
        "failed quota: q: must specify limits.cpu for: c; memory for: c"
    );
    assert_eq!(charged(&two, CLAIMS, &yaml("{}"), None), "not concerned");
}

#[test]
fn an_update_is_charged_its_difference() {
    let claim = |size: &str| yaml(&format!("{{spec: {{resources: {{requests: {{storage: {size}}}}}}}}}"));
    let storage = quota("{}", "{requests.storage: 10Gi}", "{requests.storage: 4Gi}");
    assert_eq!(charged(&storage, CLAIMS, &claim("6Gi"), Some(&claim("4Gi"))), "requests.storage=6Gi");
    assert_eq!(charged(&storage, CLAIMS, &claim("4Gi"), Some(&claim("4Gi"))), "not concerned");
    assert_eq!(
        charged(&storage, CLAIMS, &claim("12Gi"), Some(&claim("4Gi"))),
        "exceeded quota: q, requested: requests.storage=8Gi, used: requests.storage=4Gi, limited: requests.storage=10Gi"
    );
}

#[test]
fn scopes_choose_pods() {
    let rows = [
        ("{scopes: [Terminating]}", "", false),
        ("{scopes: [Terminating]}", ", activeDeadlineSeconds: 5", true),
        ("{scopes: [NotTerminating, NotBestEffort]}", "", true),
        ("{scopes: [BestEffort]}", "", false),
        ("{scopes: [PriorityClass]}", ", priorityClassName: high", true),
        (
            "{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}",
            ", priorityClassName: high",
            true,
        ),
        (
            "{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [high]}]}}",
            "",
            true,
        ),
        ("{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: DoesNotExist}]}}", "", true),
        (
            "{scopes: [CrossNamespacePodAffinity]}",
            ", affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{namespaces: [a]}]}}",
            true,
        ),
    ];
    for (spec, more, covered) in rows {
        let quota = quota(spec, "{pods: 5}", "{pods: 0}");
        assert_eq!(charged(&quota, PODS, &pod(more), None) == "pods=1", covered, "{spec} {more}");
    }
}

#[test]
fn a_quota_adds_up_what_is_there() {
    let quota = yaml("{spec: {hard: {pods: 5, requests.cpu: 2, secrets: 1}}}");
    let pods = [pod(""), pod(""), yaml("{status: {phase: Succeeded}}")];
    let sum = used(&quota, PODS, pods.iter(), Timestamp::UNIX_EPOCH);
    assert_eq!(amounts::sentence(&sum), "pods=2,requests.cpu=1");
}
