use super::PERSISTENT_VOLUME;
use crate::kinds::testing::{check, check_defaults, check_row, check_update};

const GOOD: &str = "capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]";

#[track_caller]
fn spec(fields: &str, want: &[&str]) {
    check(&PERSISTENT_VOLUME, &format!("{{spec: {{{GOOD}, {fields}}}}}"), want);
}

#[test]
fn a_volume_has_one_source() {
    spec("hostPath: {path: /a}", &[]);
    spec("volumeMode: Block", &["spec: Required value: must specify a volume type"]);
    spec(
        "hostPath: {path: /a/../b}, nfs: {server: a, path: /}",
        &[
            "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ],
    );
    spec("local: {path: /a}", &["spec.nodeAffinity: Required value: Local volume requires node affinity"]);
    spec(
        "csi: {driver: a, nodePublishSecretRef: {name: x}}",
        &["spec.csi.volumeHandle: Required value", "spec.csi.nodePublishSecretRef.namespace: Required value"],
    );
    spec(
        "hostPath: {path: /}, persistentVolumeReclaimPolicy: Recycle",
        &["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
    );
}

#[test]
fn capacity_is_storage() {
    check(
        &PERSISTENT_VOLUME,
        "{spec: {hostPath: {path: /a}, capacity: {cpu: '1'}}}",
        &[
            "spec.accessModes: Required value",
            "spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\"",
        ],
    );
    check(
        &PERSISTENT_VOLUME,
        "{spec: {hostPath: {path: /a}, accessModes: [ReadOnlyMany], capacity: {storage: '0'}}}",
        &["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"],
    );
}

#[test]
fn the_source_stays() {
    let volume = |fields: &str| format!("{{metadata: {{name: a}}, spec: {{{GOOD}, {fields}}}}}");
    check_update(
        &PERSISTENT_VOLUME,
        &volume("hostPath: {path: /a}"),
        &volume("hostPath: {path: /b}"),
        &["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n  \
           spec.hostPath.path"],
    );
    check_update(
        &PERSISTENT_VOLUME,
        &volume("csi: {driver: a, volumeHandle: h}"),
        &volume("csi: {driver: a, volumeHandle: h, controllerExpandSecretRef: {name: s, namespace: n}}"),
        &[],
    );
    let affinity = |key: &str| {
        volume(&format!(
            "local: {{path: /a}}, nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: {key}, \
             operator: In, values: [a]}}]}}]}}}}"
        ))
    };
    check_update(
        &PERSISTENT_VOLUME,
        &affinity("failure-domain.beta.kubernetes.io/zone"),
        &affinity("topology.kubernetes.io/zone"),
        &[],
    );
}

#[test]
fn defaults_are_upstreams() {
    check_defaults(
        &PERSISTENT_VOLUME,
        "{spec: {hostPath: {path: /a}}}",
        "{spec: {hostPath: {path: /a, type: ''}, persistentVolumeReclaimPolicy: Retain, volumeMode: Filesystem}, \
         status: {phase: Pending}}",
    );
}

#[test]
fn rows() {
    check_row(
        &PERSISTENT_VOLUME,
        "{metadata: {name: a}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], \
         persistentVolumeReclaimPolicy: Delete, claimRef: {namespace: b, name: c}, storageClassName: fast, \
         volumeMode: Filesystem}, status: {phase: Bound}}",
        "a | 1Gi | RWO | Delete | Bound | b/c | fast | <unset> |  | <unknown> | Filesystem",
    );
}
