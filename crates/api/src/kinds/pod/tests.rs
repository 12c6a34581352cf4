//! Pods: rows, defaults and faults, in tables.

use super::POD;
use crate::kinds::testing::{check, check_defaults, check_row, check_update, created, object};

fn pod(spec: &str) -> String {
    format!("{{metadata: {{name: a, namespace: b}}, spec: {spec}}}")
}

fn with_container(fields: &str) -> String {
    pod(&format!("{{containers: [{{name: c, image: i, {fields}}}]}}"))
}

#[track_caller]
fn spec(spec: &str, want: &[&str]) {
    check(&POD, &pod(spec), want);
}

/// A Pod of one good container and these other fields.
#[track_caller]
fn also(fields: &str, want: &[&str]) {
    check(&POD, &pod(&format!("{{containers: [{{name: c, image: i}}], {fields}}}")), want);
}

/// A container with name and image, and these other fields.
#[track_caller]
fn container(fields: &str, want: &[&str]) {
    check(&POD, &with_container(fields), want);
}

#[test]
fn containers_have_names_and_images() {
    spec("{containers: [{name: c, image: i}]}", &[]);
    spec("{}", &["spec.containers: Required value"]);
    spec(
        "{containers: [{}]}",
        &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"],
    );
    spec(
        "{containers: [{name: c, image: i}, {name: c, image: ' i'}]}",
        &[
            "spec.containers[1].name: Duplicate value: \"c\"",
            "spec.containers[1].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ],
    );
    spec(
        "{containers: [{name: c, image: i}], initContainers: [{name: c, image: i}]}",
        &["spec.initContainers[0].name: Duplicate value: \"c\""],
    );
    container(
        "imagePullPolicy: Sometimes",
        &["spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
           \"IfNotPresent\", \"Never\""],
    );
}

#[test]
fn init_containers_are_not_probed_unless_they_stay() {
    also(
        "initContainers: [{name: i, image: i, readinessProbe: {exec: {command: [a]}}}]",
        &["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without \
           restartPolicy=Always"],
    );
    also("initContainers: [{name: i, image: i, restartPolicy: Always, readinessProbe: {exec: {command: [a]}}}]", &[]);
}

#[test]
fn a_container_may_have_a_restart_policy_and_rules_of_its_own() {
    container("restartPolicy: OnFailure", &[]);
    container(
        "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}, \
         {action: RestartAllContainers, exitCodes: {operator: NotIn, values: [0]}}]",
        &[],
    );
    container(
        "restartPolicy: Sometimes",
        &["spec.containers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
           \"OnFailure\", \"Never\""],
    );
    container(
        "restartPolicyRules: [{action: Stop}, {action: Restart, exitCodes: {operator: Over}}]",
        &[
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
            "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
            "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
            "spec.containers[0].restartPolicyRules[1].exitCodes.operator: Unsupported value: \"Over\": supported values: \
             \"In\", \"NotIn\"",
        ],
    );
}

#[test]
fn ports() {
    container("ports: [{containerPort: 80, name: http}, {containerPort: 81, protocol: UDP}]", &[]);
    container(
        "ports: [{containerPort: 0}, {containerPort: 65536}, {containerPort: 1, protocol: HTTP}]",
        &[
            "spec.containers[0].ports[0].containerPort: Required value",
            "spec.containers[0].ports[1].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[2].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \
             \"UDP\"",
        ],
    );
    container(
        "ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2, hostPort: 80}]",
        &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\""],
    );
    spec("{hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}", &[]);
    spec(
        "{hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 80, hostPort: 81}]}]}",
        &["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is \
           true"],
    );
}

#[test]
fn variables_from_files() {
    let with = |reference: &str, want: &[&str]| {
        let want: Vec<String> =
            want.iter().map(|fault| format!("spec.containers[0].env[0].valueFrom.fileKeyRef.{fault}")).collect();
        spec(
            &format!(
                "{{containers: [{{name: c, image: i, env: [{{name: A, valueFrom: {{fileKeyRef: {{{reference}}}}}}}]}}], \
                 volumes: [{{name: v, emptyDir: {{}}}}, {{name: s, secret: {{secretName: s}}}}]}}"
            ),
            &want.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };
    with("volumeName: v, path: a/b.env, key: K", &[]);
    with("path: a, key: K", &["volumeName: Required value"]);
    with("volumeName: x, path: a, key: K", &["volumeName: Not found: \"x\""]);
    with(
        "volumeName: s, path: a, key: K",
        &["volumeName: Invalid value: \"s\": referenced volume must be of type emptyDir"],
    );
    with("volumeName: v, path: /a, key: K", &["path: Invalid value: \"/a\": must be a relative path"]);
    with("volumeName: v", &["path: Required value", "key: Required value"]);
}

#[test]
fn environment() {
    container("env: [{name: A, value: b}, {name: B, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]", &[]);
    container("env: [{name: B, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]", &[]);
    container("env: [{value: b}]", &["spec.containers[0].env[0].name: Required value"]);
    container(
        "env: [{name: A, valueFrom: {}}]",
        &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, \
           `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"],
    );
    container(
        "env: [{name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
        &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
    );
    container(
        "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: s, key: k}}}]",
        &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a \
           time"],
    );
    container(
        "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nope}}}]",
        &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting \
           fieldPath: field label not supported: spec.nope"],
    );
    container(
        "envFrom: [{}]",
        &["spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
    );
}

#[test]
fn requests_are_within_limits() {
    container("resources: {requests: {cpu: 100m, memory: 1Gi}, limits: {cpu: '1', memory: 1024Mi}}", &[]);
    container(
        "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
        &["spec.containers[0].resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit \
           of 1Gi"],
    );
    container(
        "resources: {limits: {cpu: '-1'}}",
        &[
            "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ],
    );
    container(
        "resources: {requests: {example.com/gpu: '1'}}",
        &["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"],
    );
    container(
        "resources: {requests: {gpu: '1'}}",
        &[
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or \
             fully qualified",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for \
             containers",
        ],
    );
    container(
        "resources: {limits: {hugepages-2Mi: 3Mi, cpu: '1'}, requests: {hugepages-2Mi: 3Mi}}",
        &[
            "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer \
             multiple of hugepages-2Mi",
            "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer \
             multiple of hugepages-2Mi",
        ],
    );
}

#[test]
fn mounts_refer_to_volumes() {
    spec(
        "{volumes: [{name: v, emptyDir: {}}], containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /a}, \
         {name: v, mountPath: /b, subPath: x/y}]}]}",
        &[],
    );
    container(
        "volumeMounts: [{name: v, mountPath: /a}]",
        &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
    );
    spec(
        "{volumes: [{name: v}], containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /a}, \
         {name: v, mountPath: /a, subPath: ../x}]}]}",
        &[
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
            "spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../x\": must not contain '..'",
        ],
    );
}

#[test]
fn a_volume_has_one_source() {
    also("volumes: [{name: v, hostPath: {path: /a}}]", &[]);
    also(
        "volumes: [{name: v, configMap: {name: m}, hostPath: {path: /a}}]",
        &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
    also(
        "volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}, {emptyDir: {}}]",
        &["spec.volumes[1].name: Duplicate value: \"v\"", "spec.volumes[2].name: Required value"],
    );
    also(
        "volumes: [{name: v, secret: {defaultMode: 512}}]",
        &[
            "spec.volumes[0].secret.secretName: Required value",
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both \
             inclusive",
        ],
    );
    also(
        "volumes: [{name: v, configMap: {name: m, items: [{key: k, path: /etc}]}}]",
        &["spec.volumes[0].configMap.items[0].path: Invalid value: \"/etc\": must be a relative path"],
    );
    also(
        "volumes: [{name: v, hostPath: {path: /a, type: Folder}}]",
        &["spec.volumes[0].hostPath.type: Unsupported value: \"Folder\": supported values: \"\", \"BlockDevice\", \
           \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""],
    );
}

#[test]
fn projected_volumes() {
    let token = "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: token}}]}}]";
    also(&format!("serviceAccountName: s, {token}"), &[]);
    also(
        token,
        &["spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when \
           serviceAccountName is not set"],
    );
    also(
        "volumes: [{name: v, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, \
         {configMap: {name: m, items: [{key: k, path: p}]}}]}}]",
        &["spec.volumes[0].projected: Invalid value: \"p\": conflicting duplicate paths"],
    );
}

#[test]
fn probes_have_one_handler() {
    container("livenessProbe: {httpGet: {port: 80}}, readinessProbe: {tcpSocket: {port: http}}", &[]);
    container(
        "livenessProbe: {periodSeconds: -1}",
        &[
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
            "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    container(
        "livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}, successThreshold: 2}",
        &[
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ],
    );
    container(
        "lifecycle: {preStop: {sleep: {seconds: 31}}}",
        &["spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be greater than 0 and less than \
           terminationGracePeriodSeconds (30)"],
    );
}

#[test]
fn security_contexts() {
    container("securityContext: {runAsUser: 0, privileged: true}", &[]);
    container(
        "securityContext: {runAsUser: -1}",
        &[
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive",
        ],
    );
    container(
        "securityContext: {seccompProfile: {type: Localhost}}",
        &["spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when \
           seccomp type is Localhost"],
    );
    also("securityContext: {sysctls: [{name: net.ipv4.ip_forward, value: '1'}]}", &[]);
    also(
        "hostNetwork: true, securityContext: {sysctls: [{name: net.ipv4.ip_forward, value: '1'}]}",
        &["spec.securityContext.sysctls[0].name: Invalid value: \"net.ipv4.ip_forward\": may not be specified when \
           'hostNetwork' is true"],
    );
}

#[test]
fn policies() {
    also(
        "restartPolicy: Sometimes, dnsPolicy: Mine",
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \
             \"Never\"",
            "spec.dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirstWithHostNet\", \
             \"ClusterFirst\", \"Default\", \"None\"",
        ],
    );
    also("dnsPolicy: None", &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]);
    also("dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1], searches: [a.b.]}", &[]);
    also(
        "hostAliases: [{ip: nope, hostnames: [a]}]",
        &["spec.hostAliases[0].ip: Invalid value: \"nope\": must be a valid IP address, (e.g. 10.9.8.7 or \
           2001:db8::ffff)"],
    );
    also(
        "activeDeadlineSeconds: 0",
        &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    );
}

#[test]
fn scheduling() {
    also("tolerations: [{operator: Exists}, {key: a, value: b, effect: NoExecute, tolerationSeconds: 5}]", &[]);
    also(
        "tolerations: [{value: b}, {key: a, operator: In}]",
        &[
            "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which \
             means \"match all values and all keys\"",
            "spec.tolerations[1].operator: Unsupported value: \"In\": supported values: \"Equal\", \"Exists\"",
        ],
    );
    also(
        "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: \
         [{matchExpressions: [{key: a, operator: In}]}]}}}",
        &["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].\
           matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"],
    );
    also(
        "affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, podAffinityTerm: \
         {topologyKey: a}}]}}",
        &["spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: \
           must be in the range 1-100"],
    );
    also(
        "topologySpreadConstraints: [{maxSkew: 0, topologyKey: a, whenUnsatisfiable: Wait}]",
        &[
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Wait\": supported values: \
             \"DoNotSchedule\", \"ScheduleAnyway\"",
        ],
    );
}

#[test]
fn ephemeral_containers_come_later() {
    also(
        "ephemeralContainers: [{name: e, image: i}]",
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    );
}

const OLD: &str = "{containers: [{name: c, image: i}], tolerations: [{operator: Exists}], activeDeadlineSeconds: 10}";

#[track_caller]
fn change(new: &str, want: &[&str]) {
    check_update(&POD, &pod(OLD), &pod(new), want);
}

#[test]
fn a_pod_may_change_a_little() {
    change(OLD, &[]);
    change(
        "{hostNetwork: false, containers: [{name: c, image: j}], activeDeadlineSeconds: 5, \
         tolerations: [{operator: Exists}, {key: a, operator: Exists}]}",
        &[],
    );
    change(
        "{containers: [{name: c, image: i}], activeDeadlineSeconds: 11, tolerations: [{operator: Exists}]}",
        &["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"],
    );
    change(
        "{containers: [{name: c, image: i}], activeDeadlineSeconds: 10}",
        &["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    );
    change(
        "{containers: [{name: c, image: i}, {name: d, image: i}], activeDeadlineSeconds: 10, \
         tolerations: [{operator: Exists}]}",
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
    change(
        "{hostNetwork: true, containers: [{name: c, image: i, command: [a]}], activeDeadlineSeconds: 10, \
         tolerations: [{operator: Exists}]}",
        &["spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
           `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
           tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n  \
           spec.containers[0].command\n  spec.hostNetwork"],
    );
}

#[test]
fn a_container_that_ended_runs_again_if_something_says_so() {
    #[track_caller]
    fn check(pod: &str, container: &str, code: i64, may: bool) {
        let with = |state: &str| {
            object(&format!(
                "{{spec: {{restartPolicy: {pod}, containers: [{{name: other}}, {{name: c, {container}}}]}}, \
                 status: {{containerStatuses: [{{name: c, state: {state}}}]}}}}"
            ))
        };
        let ended = with(&format!("{{terminated: {{exitCode: {code}}}}}"));
        let faults = crate::validation::status_update(&with("{running: {}}"), &ended);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let forbidden =
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state".to_owned();
        assert_eq!(faults, if may { vec![] } else { vec![forbidden] });
    }
    check("Always", "", 0, true);
    check("OnFailure", "", 1, true);
    check("OnFailure", "", 0, false);
    check("Never", "", 1, false);
    check("Never", "restartPolicy: OnFailure", 1, true);
    check("OnFailure", "restartPolicy: Never", 1, false);
    check("Always", "restartPolicy: Never", 1, false);
    check("Always", "restartPolicy: OnFailure", 0, false);
    let rule = "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]";
    check("Never", rule, 42, true);
    check("Never", rule, 1, false);
    check("Never", &rule.replace("Restart,", "RestartAllContainers,"), 1, true);
}

#[test]
fn a_pod_as_a_whole_holds_its_containers() {
    let with = |whole: &str, container: &str| {
        format!("{{resources: {whole}, containers: [{{name: c, image: i, resources: {container}}}]}}")
    };
    let check = |whole: &str, container: &str, want: &[&str]| spec(&with(whole, container), want);
    check("{requests: {cpu: '1', memory: 1Gi, hugepages-2Mi: 4Mi}, limits: {hugepages-2Mi: 4Mi}}", "{}", &[]);
    check(
        "{requests: {cpu: 100m}, limits: {memory: 1Gi}}",
        "{requests: {cpu: 200m}, limits: {memory: 2Gi}}",
        &[
            // What the container asks for is asked for the Pod, which says nothing else.
            "spec.resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
            "spec.resources.requests[cpu]: Invalid value: \"100m\": must be greater than or equal to aggregate container \
             requests of 200m",
            "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod \
             limits of 1Gi",
        ],
    );
    check(
        "{requests: {example.com/gpu: '1', ephemeral-storage: 1Gi}, claims: []}",
        "{}",
        &[
            "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level",
            "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \
             \"cpu\", \"hugepages-\", \"memory\"",
            "spec.resources.requests[example.com/gpu]: Unsupported value: \"example.com/gpu\": supported values: \
             \"cpu\", \"hugepages-\", \"memory\"",
            "spec.resources.limits: Required value: Limit must be set for non overcommitable resources",
        ],
    );
}

#[test]
fn a_resize_changes_amounts_alone() {
    #[track_caller]
    fn check(new: &str, want: &[&str]) {
        let old = "{resources: {requests: {cpu: 200m}, limits: {memory: 1Gi}}, \
                   initContainers: [{name: i, image: i, resources: {requests: {cpu: 50m}}}, \
                   {name: r, image: i, resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]}], \
                   containers: [{name: c, image: i, resources: {requests: {cpu: 100m}}}]}";
        let [new, old] = [new, old].map(|spec| created(&POD, &pod(spec)));
        let faults: Vec<String> =
            crate::validation::resize_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(faults, want);
    }
    let with = |whole: &str, init: &str, other: &str| {
        format!(
            "{{resources: {whole}, initContainers: [{{name: i, image: i, resources: {init}}}, {{name: r, image: i, \
             resources: {other}, resizePolicy: [{{resourceName: cpu, restartPolicy: RestartContainer}}]}}], \
             containers: [{{name: c, image: i, resources: {{requests: {{cpu: 100m}}}}}}]}}"
        )
    };
    let (whole, init) = ("{requests: {cpu: 200m}, limits: {memory: 1Gi}}", "{requests: {cpu: 50m}}");
    check(&with("{requests: {cpu: 300m}, limits: {memory: 2Gi}}", "{requests: {cpu: 60m}}", "{}"), &[]);
    check(&with("{limits: {memory: 1Gi, cpu: '1'}, requests: {memory: 1Gi}}", init, "{}"), &[]);
    check(
        &with("{requests: {cpu: 200m}}", init, "{}"),
        &[
            "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed",
            "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed",
        ],
    );
    check(
        &with(whole, "{requests: {cpu: 50m, ephemeral-storage: 1Gi}}", "{}"),
        &[
            "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable",
        ],
    );
    check(
        &with(whole, init, "{requests: {cpu: 10m}}"),
        &["spec.initContainers[1]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer \
           cannot be resized"],
    );
}

#[test]
fn a_pod_may_come_to_have_resources_as_a_whole() {
    let with = |whole: &str| {
        let container = "{name: c, image: i, resources: {requests: {cpu: '1'}}}";
        created(&POD, &pod(&format!("{{{whole} containers: [{container}]}}")))
    };
    let faults = |whole: &str| -> Vec<String> {
        let faults = crate::validation::resize_update(&with(whole), &with(""));
        faults.iter().map(ToString::to_string).collect()
    };
    assert_eq!(faults("resources: {requests: {cpu: '2'}, limits: {memory: 1Gi}},"), [""; 0]);
    assert_eq!(
        faults("resources: {requests: {cpu: '2'}, limits: {hugepages-2Mi: 4Mi}},"),
        ["spec: Forbidden: only cpu and memory resources are mutable at pod-level"]
    );
}

#[test]
fn a_gate_only_opens() {
    check_update(
        &POD,
        &pod("{containers: [{name: c, image: i}], schedulingGates: [{name: a}]}"),
        &pod("{containers: [{name: c, image: i}], nodeSelector: {x: y}}"),
        &[],
    );
    check_update(
        &POD,
        &pod("{containers: [{name: c, image: i}]}"),
        &pod("{containers: [{name: c, image: i}], schedulingGates: [{name: a}]}"),
        &["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a'"],
    );
}

#[test]
fn defaults_are_upstreams() {
    check_defaults(
        &POD,
        "{spec: {serviceAccount: s, containers: [{name: c, image: busybox, ports: [{containerPort: 80}], \
         resources: {limits: {cpu: '1'}}, livenessProbe: {httpGet: {port: 80}}, \
         env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}], \
         volumes: [{name: a}, {name: b, configMap: {name: m}}, {name: c, hostPath: {path: /}}, \
         {name: d, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}}",
        "{spec: {serviceAccount: s, serviceAccountName: s, dnsPolicy: ClusterFirst, restartPolicy: Always, \
         securityContext: {}, terminationGracePeriodSeconds: 30, schedulerName: default-scheduler, \
         enableServiceLinks: true, containers: [{name: c, image: busybox, imagePullPolicy: Always, \
         terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File, \
         ports: [{containerPort: 80, protocol: TCP}], resources: {limits: {cpu: '1'}, requests: {cpu: '1'}}, \
         livenessProbe: {httpGet: {port: 80, path: /, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, \
         successThreshold: 1, failureThreshold: 3}, \
         env: [{name: A, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}]}], \
         volumes: [{name: a, emptyDir: {}}, {name: b, configMap: {name: m, defaultMode: 420}}, \
         {name: c, hostPath: {path: /, type: ''}}, {name: d, projected: {defaultMode: 420, \
         sources: [{serviceAccountToken: {path: t, expirationSeconds: 3600}}]}}]}}",
    );
}

#[test]
fn quality_of_service() {
    let class = |resources: &str| {
        created(&POD, &with_container(&format!("resources: {resources}")))["status"]["qosClass"].clone()
    };
    assert_eq!(class("{}"), "BestEffort");
    assert_eq!(class("{requests: {cpu: '1'}}"), "Burstable");
    assert_eq!(class("{limits: {cpu: '1', memory: 1Gi}}"), "Guaranteed");
    assert_eq!(class("{limits: {cpu: '1', memory: 1Gi}, requests: {cpu: 500m}}"), "Burstable");
}

#[test]
fn a_deletion_waits_for_the_kubelet_only_if_there_is_one() {
    let grace = |yaml: &str, requested| POD.rules.grace_period_seconds(&object(yaml), requested);
    let running = "{spec: {nodeName: n, terminationGracePeriodSeconds: 30}}";
    assert_eq!(grace(running, None), Some(30));
    assert_eq!(grace(running, Some(5)), Some(5));
    assert_eq!(grace(running, Some(-1)), Some(1));
    assert_eq!(grace("{spec: {terminationGracePeriodSeconds: 30}}", None), Some(0));
    assert_eq!(
        grace("{spec: {nodeName: n, terminationGracePeriodSeconds: 30}, status: {phase: Failed}}", None),
        Some(0)
    );
}

/// A Pod of two containers with this status.
#[track_caller]
fn row(status: &str, want: &str) {
    let yaml = format!(
        "{{metadata: {{name: a, creationTimestamp: '2026-01-01T11:00:00Z'}}, \
         spec: {{nodeName: n, containers: [{{name: c}}, {{name: d}}], initContainers: [{{name: i}}]}}, status: {status}}}"
    );
    check_row(&POD, &yaml, &format!("a | {want} | <none> | <none>"));
}

#[test]
fn rows_say_how_far_a_pod_is() {
    row("{phase: Pending}", "0/2 | Pending | 0 | 60m | <none> | n");
    row(
        "{phase: Running, podIP: 10.42.0.2, containerStatuses: [{name: c, ready: true, state: {running: {}}}, \
         {name: d, ready: true, restartCount: 2, state: {running: {}}, \
         lastState: {terminated: {finishedAt: '2026-01-01T11:57:00Z'}}}]}",
        "2/2 | Running | 2 (3m ago) | 60m | 10.42.0.2 | n",
    );
    row(
        "{phase: Running, containerStatuses: [{name: c, restartCount: 5, state: {waiting: {reason: CrashLoopBackOff}}}, \
         {name: d, ready: true, state: {running: {}}}]}",
        "1/2 | CrashLoopBackOff | 5 | 60m | <none> | n",
    );
    row(
        "{phase: Succeeded, containerStatuses: [{name: c, state: {terminated: {reason: Completed}}}, \
         {name: d, state: {terminated: {reason: Completed}}}]}",
        "0/2 | Completed | 0 | 60m | <none> | n",
    );
    row(
        "{phase: Running, conditions: [{type: Ready, status: 'True'}], \
         containerStatuses: [{name: c, state: {terminated: {reason: Completed}}}, \
         {name: d, ready: true, state: {running: {}}}]}",
        "1/2 | Running | 0 | 60m | <none> | n",
    );
    row(
        "{phase: Failed, containerStatuses: [{name: c, state: {terminated: {exitCode: 3}}}, \
         {name: d, state: {terminated: {signal: 9, exitCode: 137}}}]}",
        "0/2 | ExitCode:3 | 0 | 60m | <none> | n",
    );
    row("{phase: Failed, reason: Evicted}", "0/2 | Evicted | 0 | 60m | <none> | n");
}

#[test]
fn rows_of_pods_that_initialize() {
    row(
        "{phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}]}",
        "0/2 | Init:0/1 | 0 | 60m | <none> | n",
    );
    row(
        "{phase: Pending, initContainerStatuses: [{name: i, restartCount: 1, state: {waiting: {reason: \
         ImagePullBackOff}}}]}",
        "0/2 | Init:ImagePullBackOff | 1 | 60m | <none> | n",
    );
    row(
        "{phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 1, reason: Error}}}]}",
        "0/2 | Init:Error | 0 | 60m | <none> | n",
    );
    row(
        "{phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0, reason: Completed}}}], \
         containerStatuses: [{name: c, state: {waiting: {reason: PodInitializing}}}]}",
        "0/2 | PodInitializing | 0 | 60m | <none> | n",
    );
}

#[test]
fn a_sidecar_counts_as_a_container() {
    check_row(
        &POD,
        "{metadata: {name: a}, spec: {containers: [{name: c}], initContainers: [{name: s, restartPolicy: Always}]}, \
         status: {phase: Running, initContainerStatuses: [{name: s, started: true, ready: true, state: {running: {}}}], \
         containerStatuses: [{name: c, ready: true, state: {running: {}}}]}}",
        "a | 2/2 | Running | 0 | <unknown> | <none> | <none> | <none> | <none>",
    );
}

#[test]
fn a_pod_that_goes_says_so() {
    check_row(
        &POD,
        "{metadata: {name: a, deletionTimestamp: '2026-01-01T11:59:00Z'}, spec: {containers: [{name: c}]}, \
         status: {phase: Running}}",
        "a | 0/1 | Terminating | 0 | <unknown> | <none> | <none> | <none> | <none>",
    );
}

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io";

/// A Pod with an annotation for its container, and these fields of it and of the container.
fn annotated(annotation: &str, fields: &str, of_container: &str) -> String {
    format!(
        "{{metadata: {{annotations: {{'{APP_ARMOR}/c': {annotation}}}}}, spec: {{{fields} containers: [{{name: c, \
         image: i, securityContext: {{{of_container}}}}}]}}}}"
    )
}

#[test]
fn annotations_for_app_armor_become_fields() {
    let check = |annotation: &str, fields: &str, of_container: &str, want: &str, warns: bool| {
        let yaml = annotated(annotation, fields, of_container);
        let pod = created(&POD, &yaml);
        let got = &pod["spec"]["containers"][0]["securityContext"]["appArmorProfile"];
        assert_eq!(*got, object(want), "{yaml}");
        let warning = format!(
            "metadata.annotations[{APP_ARMOR}/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
        );
        let want = if warns { vec![warning] } else { Vec::new() };
        assert_eq!(POD.rules.warnings_as_sent(&object(&yaml)), want, "{yaml}");
    };
    let of_pod = "securityContext: {appArmorProfile: {type: RuntimeDefault}},";
    check("unconfined", "", "", "{type: Unconfined}", true);
    check("runtime/default", "", "", "{type: RuntimeDefault}", true);
    check("localhost/a", "", "", "{type: Localhost, localhostProfile: a}", true);
    check("localhost/a", of_pod, "", "{type: Localhost, localhostProfile: a}", true);
    check("localhost/", "", "", "null", true);
    check("runtime/default", of_pod, "", "null", false);
    check("unconfined", "", "appArmorProfile: {type: Unconfined}", "{type: Unconfined}", false);
    check("unconfined", "os: {name: windows},", "", "null", false);
}

#[test]
fn annotations_for_app_armor_agree_with_the_fields_and_stay() {
    let both = |annotation: &str, of_container: &str, want: &[&str]| {
        check(&POD, &annotated(annotation, "", of_container), want);
    };
    let place = "spec.containers[0].securityContext.appArmorProfile";
    let other_type = format!("{place}.type: Forbidden: apparmor type in annotation and field must match");
    both("unconfined", "appArmorProfile: {type: Unconfined}", &[]);
    both("unconfined", "appArmorProfile: {type: RuntimeDefault}", &[&other_type]);
    both("unconfined", "appArmorProfile: {type: Localhost, localhostProfile: a}", &[&other_type]);
    both("localhost/a", "appArmorProfile: {type: Localhost, localhostProfile: a}", &[]);
    let other_name =
        format!("{place}.localhostProfile: Forbidden: apparmor profile in annotation and field must match");
    both("localhost/b", "appArmorProfile: {type: Localhost, localhostProfile: a}", &[&other_name]);
    let annotation = format!("metadata.annotations[{APP_ARMOR}/c]");
    let nonsense = format!("{annotation}: Invalid value: \"nonsense\": invalid AppArmor profile name: \"nonsense\"");
    both("nonsense", "", &[&nonsense]);
    let plain = "{metadata: {name: a}, spec: {containers: [{name: d, image: i}]}}";
    let of_none = "{metadata: {annotations: {'container.apparmor.security.beta.kubernetes.io/c': unconfined}}, spec: \
                   {containers: [{name: d, image: i}]}}";
    check(&POD, of_none, &[&format!("{annotation}: Invalid value: \"c\": container not found")]);

    let before = annotated("unconfined", "", "");
    let gone = "{spec: {containers: [{name: c, image: i, securityContext: {appArmorProfile: {type: Unconfined}}}]}}";
    check_update(
        &POD,
        &before,
        gone,
        &[&format!("{annotation}: Forbidden: may not remove or update AppArmor annotations")],
    );
    let added = plain.replace("{name: a}", &format!("{{annotations: {{'{APP_ARMOR}/d': unconfined}}}}"));
    let annotation = annotation.replace("/c]", "/d]");
    check_update(&POD, plain, &added, &[&format!("{annotation}: Forbidden: may not add AppArmor annotations")]);
}

#[test]
fn warnings_of_what_is_rarely_meant() {
    let check = |yaml: &str, want: &[&str]| assert_eq!(POD.rules.warnings(&object(yaml)), want, "{yaml}");
    check(
        "{metadata: {name: a.b}, spec: {nodeSelector: {beta.kubernetes.io/os: linux}, containers: [{name: c, image: i, \
         env: [{name: A}, {name: A}, {name: A, value: $(A)1}], ports: [{containerPort: 1}, {containerPort: 1}]}]}}",
        &[
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [must not contain dots]",
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ],
    );
    check(
        "{metadata: {annotations: {seccomp.security.alpha.kubernetes.io/pod: a}}, spec: {volumes: [{name: a, gitRepo: {}}, \
         {name: b, storageos: {}}], hostAliases: [{ip: 'FD00::1'}, {ip: 'FD00::1'}], imagePullSecrets: [{name: ''}], \
         terminationGracePeriodSeconds: -1}}",
        &[
            "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \
             \"seccompProfile\" field instead",
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
            "spec.hostAliases[1].ip: duplicate ip \"FD00::1\"",
            "spec.imagePullSecrets[0].name: invalid empty name \"\"",
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            "spec.hostAliases[0].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            "spec.hostAliases[1].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
        ],
    );
    check(
        "{spec: {containers: [{name: a, ports: [{name: p, containerPort: 1, hostPort: 1}], resources: {limits: {memory: \
         100m}}}, {name: b, ports: [{name: p, containerPort: 1}, {containerPort: 1, hostPort: 1, hostIP: 1.1.1.1}]}], \
         affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]}}}}",
        &[
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: overlapping port definition with spec.containers[1].ports[0]",
            "spec.containers[1].ports[0]: duplicate port name \"p\" with spec.containers[0].ports[0], services and probes \
             that select ports by name will use spec.containers[0].ports[0]",
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null \
             labelSelector results in matching no pod",
        ],
    );
}
