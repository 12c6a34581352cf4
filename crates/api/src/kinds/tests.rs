//! The list of kinds as a whole, and the metadata rules over a few of them.

use std::collections::HashSet;

use super::testing::{check_metadata, object};
use super::{
    ALL, CLUSTER_ROLE, CONFIG_MAP, ENDPOINT_SLICE, NAMESPACE, NETWORK_POLICY, NODE, POD, RESOURCE_SLICE, RUNTIME_CLASS,
    SERVICE, STORAGE_CLASS, find,
};
use crate::field::Error;
use crate::validation::{metadata_update, scale, token_request};

#[test]
fn every_kind_has_a_name_and_a_path_of_its_own() {
    let mut kinds = HashSet::new();
    let mut paths = HashSet::new();
    for kind in ALL {
        assert!(kinds.insert((kind.group, kind.version, kind.kind)), "{} twice", kind.kind);
        assert!(paths.insert((kind.group, kind.version, kind.plural)), "{} twice", kind.plural);
        assert!(std::ptr::eq(*kind, find(kind.group, kind.version, kind.kind).expect("it is in the list")));
    }
}

#[test]
fn every_kind_answers_with_a_cell_for_each_column_and_a_value_for_each_field() {
    let bare = object("{metadata: {name: a}}");
    for kind in ALL {
        let row = kind.rules.row(&bare, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(row.len(), kind.columns.len(), "{}", kind.kind);
        let fields: Vec<&str> = kind.rules.selectable_fields(&bare).into_iter().map(|(name, _)| name).collect();
        assert_eq!(fields, kind.rules.selectable_names(), "{}", kind.kind);
    }
}

#[test]
fn no_kind_chokes_on_an_object_without_anything() {
    for kind in ALL {
        let mut bare = object("{}");
        kind.rules.default(&mut bare);
        kind.rules.prepare_create(&mut bare);
        kind.rules.validate(&bare);
        kind.rules.validate_create(&bare);
        kind.rules.prepare_update(&mut bare, &object("{}"));
        kind.rules.validate_update(&bare, &object("{}"));
        kind.rules.prepare_status(&mut bare, &object("{}"));
        kind.rules.validate_status(&bare, &object("{}"));
    }
}

/// What defaults and preparation make of an object must be what typed clients can read.
#[test]
fn stored_objects_are_of_their_types() {
    use k8s_openapi::api::{apps::v1, core::v1 as core, discovery::v1::EndpointSlice};

    fn read<T: serde::de::DeserializeOwned>(kind: &crate::kind::Kind, fields: &str) {
        let yaml =
            format!("{{apiVersion: {}, kind: {}, metadata: {{name: a}}, {fields}}}", kind.api_version(), kind.kind);
        let object = super::testing::created(kind, &yaml);
        serde_json::from_value::<T>(object).unwrap_or_else(|error| panic!("{error} in {yaml}"));
    }
    let pod = "spec: {containers: [{name: c, image: i, env: [{name: A, valueFrom: {resourceFieldRef: {resource: \
        limits.cpu}}}], ports: [{containerPort: 80}], livenessProbe: {grpc: {port: 1}}}], \
        volumes: [{name: v}, {name: w, hostPath: {path: /}}]}";
    let template = format!("spec: {{selector: {{}}, template: {{{pod}}}}}");
    read::<core::Pod>(&POD, pod);
    read::<v1::Deployment>(&super::DEPLOYMENT, &template);
    read::<v1::ReplicaSet>(&super::REPLICA_SET, &template);
    read::<core::Service>(&SERVICE, "spec: {type: LoadBalancer, sessionAffinity: ClientIP, ports: [{port: 80}]}");
    read::<core::Namespace>(&NAMESPACE, "spec: {}");
    read::<core::Node>(&NODE, "status: {capacity: {cpu: '1'}}");
    read::<core::Secret>(&super::SECRET, "stringData: {a: b}");
    read::<EndpointSlice>(&super::ENDPOINT_SLICE, "addressType: IPv4, endpoints: [], ports: [{port: 80}]");
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[test]
fn names_follow_the_rule_of_their_kind() {
    let subdomain = format!("metadata.name: Invalid value: \"My_Map\": {SUBDOMAIN}");
    check_metadata(&CONFIG_MAP, "{metadata: {name: My_Map, namespace: a}}", &[&subdomain]);
    check_metadata(&CONFIG_MAP, "{metadata: {name: a.b, namespace: a}}", &[]);
    check_metadata(
        &NAMESPACE,
        "{metadata: {name: a.b}}",
        &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
    );
    check_metadata(&CLUSTER_ROLE, "{metadata: {name: 'system:a'}}", &[]);
    check_metadata(
        &CLUSTER_ROLE,
        "{metadata: {name: a/b}}",
        &["metadata.name: Invalid value: \"a/b\": may not contain '/'"],
    );
    check_metadata(
        &SERVICE,
        "{metadata: {name: 1a, namespace: a}}",
        &[
            "metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case alphanumeric characters or \
           '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
           'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        ],
    );
    check_metadata(
        &POD,
        "{metadata: {namespace: a}}",
        &["metadata.name: Required value: name or generateName is required"],
    );
    check_metadata(&POD, "{metadata: {name: a-x, generateName: a-, namespace: a}}", &[]);
}

#[test]
fn namespaces_are_for_namespaced_kinds() {
    check_metadata(&POD, "{metadata: {name: a}}", &["metadata.namespace: Required value"]);
    check_metadata(
        &NODE,
        "{metadata: {name: a, namespace: b}}",
        &["metadata.namespace: Forbidden: not allowed on this type"],
    );
}

#[test]
fn annotations_are_bounded() {
    let yaml = format!("{{metadata: {{name: a, annotations: {{a: {}}}}}}}", "x".repeat(256 * 1024));
    check_metadata(&NODE, &yaml, &["metadata.annotations: Too long: may not be more than 262144 bytes"]);
}

#[test]
fn an_object_has_one_controller_and_whole_owners() {
    let owner = "apiVersion: apps/v1, kind: ReplicaSet, uid: u, controller: true";
    check_metadata(&NODE, &format!("{{metadata: {{name: a, ownerReferences: [{{{owner}, name: x}}]}}}}"), &[]);
    check_metadata(
        &NODE,
        "{metadata: {name: a, ownerReferences: [{apiVersion: v1, kind: Pod, name: x}]}}",
        &["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"],
    );
}

#[test]
fn finalizers_have_domains() {
    check_metadata(&NODE, "{metadata: {name: a, finalizers: [foregroundDeletion, example.com/a]}}", &[]);
    check_metadata(
        &NODE,
        "{metadata: {name: a, finalizers: [mine]}}",
        &[
            "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully \
           qualified",
        ],
    );
}

fn check_change(old: &str, new: &str, want: &[&str]) {
    let faults: Vec<String> = metadata_update(&POD, &object(new), &object(old)).iter().map(Error::to_string).collect();
    assert_eq!(faults, want, "{old} to {new}");
}

#[test]
fn identity_stays() {
    check_change("{metadata: {name: a, labels: {a: b}}}", "{metadata: {name: a}}", &[]);
    check_change(
        "{metadata: {name: a, uid: x}}",
        "{metadata: {name: a, uid: y}}",
        &["metadata.uid: Invalid value: \"y\": field is immutable"],
    );
    check_change(
        "{metadata: {name: a, deletionTimestamp: '2026-01-01T00:00:00Z'}}",
        "{metadata: {name: a, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [example.com/a]}}",
        &["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
           finalizers []string{\"example.com/a\"}"],
    );
}

#[test]
fn subresources_have_rules_too() {
    let texts = |faults: Vec<Error>| faults.iter().map(Error::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(scale(&object("{spec: {replicas: -1}}"))),
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
    );
    assert_eq!(
        texts(token_request(&object("{spec: {expirationSeconds: 1}}"))),
        ["spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes"]
    );
}

#[test]
fn clients_are_warned_of_what_is_rarely_meant() {
    for (kind, yaml, want) in [
        (
            &SERVICE,
            "{spec: {type: ClusterIP, clusterIP: None, sessionAffinity: ClientIP, externalIPs: ['FD00::1'], \
             trafficDistribution: PreferClose, externalName: a}}",
            "spec.externalIPs is ignored for headless services; spec.SessionAffinity is ignored for headless services; \
             spec.externalIPs[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\"); \
             spec.externalName is ignored when spec.type is not \"ExternalName\"; \
             spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ),
        (&NODE, "{spec: {externalID: a}}", "spec.externalID: this field is deprecated, and is unused by Kubernetes"),
        (
            &STORAGE_CLASS,
            "{allowedTopologies: [{matchLabelExpressions: [{key: a}, {key: beta.kubernetes.io/arch}]}]}",
            "allowedTopologies[0].matchLabelExpressions[1].key: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        ),
        (
            &RUNTIME_CLASS,
            "{scheduling: {nodeSelector: {node-role.kubernetes.io/master: ''}}}",
            "scheduling.nodeSelector: use \"node-role.kubernetes.io/control-plane\" instead",
        ),
        (
            &NETWORK_POLICY,
            "{spec: {egress: [{to: [{ipBlock: {cidr: 'FD00::/64'}}]}]}}",
            "spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical format \
             (\"fd00::/64\")",
        ),
        (&ENDPOINT_SLICE, "{addressType: FQDN}", "spec.addressType: FQDN endpoints are deprecated"),
        (
            &RESOURCE_SLICE,
            "{spec: {driver: A.b}}",
            "spec.driver: driver names should be lowercase; \"A.b\" contains uppercase characters",
        ),
    ] {
        assert_eq!(kind.rules.warnings(&object(yaml)).join("; "), want, "{yaml}");
        assert!(kind.rules.warnings(&object("{metadata: {name: a}}")).is_empty(), "{}", kind.kind);
    }
}
