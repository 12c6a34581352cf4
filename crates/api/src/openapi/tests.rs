use std::sync::Arc;

use serde_json::{Value, json};

use super::{V3, v2, v2_protobuf};
use crate::kind::KindRef;
use crate::{custom, kinds};

const RELEASE: &str = "v1.37.0";

fn served() -> Vec<KindRef> {
    kinds::ALL.iter().map(|kind| (*kind).into()).collect()
}

#[test]
fn version_2_describes_types_and_paths() {
    let document = v2(&served(), RELEASE);
    let ports = &document["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["items"], json!({"$ref": "#/definitions/io.k8s.api.core.v1.ContainerPort"}));
    let choices = |definition: &str, field: &str| document["definitions"][definition]["properties"][field].clone();
    let policy = choices("io.k8s.api.core.v1.Container", "imagePullPolicy");
    assert_eq!(policy["enum"], json!(["Always", "IfNotPresent", "Never"]));
    let text = policy["description"].as_str().unwrap();
    let list = "\n\nPossible enum values:\n - `\"Always\"`\n - `\"IfNotPresent\"`\n - `\"Never\"`";
    assert!(text.starts_with("Image pull policy") && text.ends_with(list), "{text}");
    let types = choices("io.k8s.api.networking.v1.NetworkPolicySpec", "policyTypes");
    assert_eq!((&types["items"]["enum"], types.get("enum")), (&json!(["Egress", "Ingress"]), None));
    assert!(!types["description"].as_str().unwrap().contains("Possible enum values"), "those of items are not listed");
    let resizes = choices("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "allocatedResourceStatuses");
    assert_eq!(resizes["additionalProperties"]["enum"][4], "NodeResizePending");
    let deployment = &document["definitions"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    assert_eq!(document["definitions"]["io.k8s.api.core.v1.Pod"].get("required"), None);
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "dryRun"));
}

#[test]
fn version_3_says_what_is_required_and_what_is_there_when_nothing_is_said() {
    let document = V3::new(&served(), RELEASE).document("api/v1").unwrap();
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let reference = schema("io.k8s.api.core.v1.LocalObjectReference");
    assert_eq!((reference.get("required"), &reference["properties"]["name"]["default"]), (None, &json!("")));
    assert_eq!(schema("io.k8s.api.core.v1.Event")["required"], json!(["involvedObject", "metadata"]));
    let pod = &schema("io.k8s.api.core.v1.Pod")["properties"];
    assert_eq!((&pod["spec"]["default"], pod["apiVersion"].get("default")), (&json!({}), None));
    let rule = &schema("io.k8s.api.core.v1.ContainerRestartRule");
    assert_eq!((&rule["required"], rule["properties"]["action"].get("default")), (&json!(["action"]), None));
    let profile = schema("io.k8s.api.core.v1.SeccompProfile");
    assert_eq!(profile["x-kubernetes-unions"][0]["discriminator"], "type");
    let groups = |path: &str| {
        let document = V3::new(&served(), RELEASE).document(path).unwrap();
        let options = &document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"];
        let all = options["x-kubernetes-group-version-kind"].as_array().unwrap().clone();
        all.iter().map(|gvk| gvk["group"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((groups("api/v1"), groups("apis/apps/v1")), (vec![String::new()], vec![String::new(), "apps".into()]));
}

#[test]
fn of_custom_objects_that_hold_anything_version_2_says_nothing() {
    let described = |schema: Value| {
        let version = json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } });
        let names = json!({ "plural": "bags", "singular": "bag", "kind": "Bag", "listKind": "BagList" });
        let mut definition = json!({ "metadata": { "uid": "1" }, "spec": {
            "group": "example.com", "scope": "Namespaced", "versions": [version], "names": names } });
        definition["status"] = custom::accept::status(&definition, &[], "2026-01-01T12:00:00Z");
        let stored = Arc::new(custom::served(&definition).unwrap().unwrap().stored);
        let mut definition = v2(&[KindRef::Custom(stored)], RELEASE)["definitions"]["com.example.v1.Bag"].take();
        definition.as_object_mut().unwrap().remove("x-kubernetes-group-version-kind");
        definition
    };
    let anything =
        described(json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "d" }));
    assert_eq!(anything, json!({ "type": "object" }));
    let plain = described(json!({ "type": "object", "properties": { "spec": { "type": "string" } } }));
    let fields: Vec<&String> = plain["properties"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["apiVersion", "kind", "metadata", "spec"]);
    assert!(plain["properties"]["apiVersion"]["description"].as_str().unwrap().starts_with("APIVersion defines"));
}

#[test]
fn version_3_has_what_kubectl_looks_for() {
    let served = served();
    let document = V3::new(&served, RELEASE).document("apis/apps/v1").unwrap();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let validation = patch["parameters"].as_array().unwrap().iter().find(|p| p["name"] == "fieldValidation").unwrap();
    assert_eq!(validation["in"], "query");
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let spec = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
    assert_eq!(spec["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]));
    assert!(spec["description"].as_str().unwrap().contains("desired behavior"));
    assert!(document["paths"].get("/api/v1/nodes").is_none());
    assert!(document["components"]["schemas"].get("io.k8s.api.core.v1.Node").is_none());
}

#[test]
fn version_3_has_a_document_for_each_part() {
    let served = served();
    let documents = V3::new(&served, RELEASE);
    let paths = documents.paths();
    for path in ["api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version", "openid/v1/jwks"] {
        assert!(paths.iter().any(|own| own == path), "{path}");
    }
    let protocol = &documents.document("api/v1").unwrap()["components"]["schemas"]["io.k8s.api.core.v1.ContainerPort"];
    assert_eq!(protocol["properties"]["protocol"]["default"], "TCP");
    for path in ["", "apis/none", "apis/apps/v2", "api/v2", "apis/apps/v1/x", "apis/"] {
        assert!(documents.document(path).is_none(), "{path}");
    }
}

/// Routes that no kind stands at, or not as itself.
#[test]
fn version_2_has_every_way_in() {
    let document = v2(&served(), RELEASE);
    let path = |path: &str, method: &str| document["paths"][path][method].clone();
    let rows = [
        ("/api/", "get", "getCoreAPIVersions"),
        ("/apis/rbac.authorization.k8s.io/", "get", "getRbacAuthorizationAPIGroup"),
        ("/apis/flowcontrol.apiserver.k8s.io/v1/", "get", "getFlowcontrolApiserverV1APIResources"),
        ("/version/", "get", "getCodeVersion"),
        ("/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces"),
        ("/api/v1/watch/namespaces/{namespace}/pods", "get", "watchCoreV1NamespacedPodList"),
        ("/api/v1/watch/namespaces/{namespace}/pods/{name}", "get", "watchCoreV1NamespacedPod"),
        ("/api/v1/watch/nodes/{name}", "get", "watchCoreV1Node"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec"),
        ("/api/v1/nodes/{name}/proxy/{path}", "head", "connectCoreV1HeadNodeProxyWithPath"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post", "createCoreV1NamespacedPodEviction"),
        ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "get", "readAppsV1NamespacedDeploymentScale"),
    ];
    for (at, method, id) in rows {
        assert_eq!(path(at, method)["operationId"], id, "{at}");
    }
    let group = path("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", "get");
    assert_eq!(group["tags"], json!(["flowcontrolApiserver_v1"]));
    let exec = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["parameters"];
    assert!(exec.as_array().unwrap().iter().any(|parameter| parameter["name"] == "command"));
    let answer = |at: &str| path(at, "delete")["responses"]["200"]["schema"]["$ref"].clone();
    assert_eq!(answer("/api/v1/persistentvolumes/{name}"), "#/definitions/io.k8s.api.core.v1.PersistentVolume");
    assert_eq!(answer("/api/v1/nodes/{name}"), "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Status");
}

/// No document may refer to a type that it does not have.
#[test]
fn references_lead_somewhere() {
    let whole = v2(&served(), RELEASE);
    check_references(&whole, &whole["definitions"]);
    let served = served();
    let documents = V3::new(&served, RELEASE);
    for path in documents.paths() {
        let document = documents.document(&path).unwrap();
        check_references(&document, &document["components"]["schemas"]);
    }
}

fn check_references(value: &Value, types: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let name = reference.rsplit('/').next().unwrap();
                assert!(types.get(name).is_some(), "{reference}");
            }
            fields.values().for_each(|value| check_references(value, types));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(value, types)),
        _ => {}
    }
}

#[test]
fn operations_have_unique_ids() {
    let document = v2(&served(), RELEASE);
    let mut ids = std::collections::HashSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters")
        {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{method} {id}");
        }
    }
}

/// The fields of a protobuf message, each with its bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = message[0];
            *message = &message[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let number = varint(&mut message);
        if tag & 7 == 2 {
            let (bytes, rest) = message.split_at(number as usize);
            fields.push((tag >> 3, bytes.to_vec()));
            message = rest;
        } else {
            fields.push((tag >> 3, vec![number as u8]));
        }
    }
    fields
}

/// The first field along a path of numbers for which `is` holds of the name inside.
fn named(message: &[u8], number: u64, name: &str) -> Vec<u8> {
    let entries = fields(message).into_iter().filter(|(n, _)| *n == number).map(|(_, bytes)| fields(&bytes));
    let mut found = entries.filter(|entry| entry[0].1 == name.as_bytes());
    found.next().unwrap().remove(1).1
}

fn field(message: &[u8], number: u64) -> Vec<u8> {
    fields(message).into_iter().find(|(n, _)| *n == number).unwrap().1
}

#[test]
fn protobuf_has_the_numbers_of_gnostic() {
    let message = v2_protobuf(&v2(&served(), RELEASE));
    assert_eq!(field(&message, 1), b"2.0");
    let deployment = named(&field(&message, 9), 1, "io.k8s.api.apps.v1.Deployment");
    let gvk = named(&deployment, 31, "x-kubernetes-group-version-kind");
    assert_eq!(field(&gvk, 2), br#"[{"group":"apps","kind":"Deployment","version":"v1"}]"#);
    assert_eq!(field(&field(&deployment, 22), 1), b"object");
    let spec = named(&field(&deployment, 25), 1, "spec");
    assert_eq!(field(&spec, 1), b"#/definitions/io.k8s.api.apps.v1.DeploymentSpec");
    let path = named(&field(&message, 8), 2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let patch = field(&path, 8);
    assert_eq!(field(&patch, 5), b"patchAppsV1NamespacedDeployment");
    let parameters = fields(&patch).into_iter().filter(|(number, _)| *number == 8);
    let query: Vec<Vec<u8>> = parameters.skip(1).map(|(_, item)| field(&field(&field(&item, 1), 2), 3)).collect();
    assert_eq!(field(&query[0], 4), b"dryRun");
}
