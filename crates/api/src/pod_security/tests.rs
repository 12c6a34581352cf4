use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Level, Policy, Standard, Version, sentence, violations};

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

fn said(level: Level, minor: u32, spec: &str) -> String {
    let standard = Standard { level, version: Version::Minor(minor) };
    sentence(&violations(standard, &json!({}), &yaml(spec)))
}

fn baseline(spec: &str) -> String {
    said(Level::Baseline, 37, spec)
}

fn restricted(spec: &str) -> String {
    said(Level::Restricted, 37, spec)
}

/// A container that is hardened but for `more`.
fn hardened(more: &str) -> String {
    format!(
        "{{containers: [{{name: a, securityContext: {{allowPrivilegeEscalation: false, runAsNonRoot: true, \
         seccompProfile: {{type: RuntimeDefault}}, capabilities: {{drop: [ALL]}} }} }}] {more}}}"
    )
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    let plain = "{containers: [{name: a}, {name: b}]}";
    assert_eq!(said(Level::Privileged, 37, "{hostPID: true}"), "");
    assert_eq!(baseline(plain), "");
    assert_eq!(
        restricted(plain),
        "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers \"a\", \"b\" must set \
         securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or containers \"a\", \"b\" must set \
         securityContext.runAsNonRoot=true), seccompProfile (pod or containers \"a\", \"b\" must set \
         securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(restricted(&hardened("")), "");
}

#[test]
fn baseline_names_every_way_out() {
    let rows = [
        ("{hostNetwork: true, hostIPC: true}", "host namespaces (hostNetwork=true, hostIPC=true)"),
        (
            "{containers: [{name: a, securityContext: {privileged: true}}]}",
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            "{initContainers: [{name: i, securityContext: {capabilities: {add: [NET_RAW, CHOWN, BPF]}}}]}",
            "non-default capabilities (container \"i\" must not include \"BPF\", \"NET_RAW\" in \
             securityContext.capabilities.add)",
        ),
        ("{volumes: [{name: v, hostPath: {path: /}}, {name: w}]}", "hostPath volumes (volume \"v\")"),
        (
            "{containers: [{name: a, ports: [{hostPort: 80}, {hostPort: 443}]}, {name: b, ports: [{hostPort: 0}]}]}",
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            "{containers: [{name: a, livenessProbe: {httpGet: {host: h}}}]}",
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
        ),
        (
            "{containers: [{name: a, securityContext: {procMount: Unmasked}}]}",
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        ("{hostUsers: false, containers: [{name: a, securityContext: {procMount: Unmasked}}]}", ""),
        (
            "{securityContext: {seLinuxOptions: {user: u, type: spc_t}}, containers: [{name: a, securityContext: \
             {seLinuxOptions: {role: r}}}]}",
            "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; \
             user may not be set; role may not be set)",
        ),
        (
            "{securityContext: {seccompProfile: {type: Unconfined}}}",
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            "{securityContext: {sysctls: [{name: kernel.msgmax}, {name: net.ipv4.tcp_rmem}]}}",
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            "{containers: [{name: a, securityContext: {appArmorProfile: {type: Unconfined}}}]}",
            "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            "{securityContext: {windowsOptions: {hostProcess: true}}}",
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(baseline(spec), expected, "{spec}");
    }
}

#[test]
fn restricted_takes_the_place_of_what_it_is_stricter_than() {
    let rows = [
        (
            hardened(", volumes: [{name: v, hostPath: {path: /}}, {name: n, nfs: {}}, {name: e, emptyDir: {}}]"),
            "restricted volume types (volumes \"v\", \"n\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (hardened(", securityContext: {runAsUser: 0}"), "runAsUser=0 (pod must not set runAsUser=0)"),
        (hardened(", hostUsers: false, securityContext: {runAsUser: 0, runAsNonRoot: false}"), ""),
        (
            hardened(", securityContext: {runAsNonRoot: false}"),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(restricted(&spec), expected, "{spec}");
    }
}

#[test]
fn rules_are_those_of_their_release() {
    let unmasked = "{hostUsers: false, containers: [{name: a, securityContext: {procMount: Unmasked}}]}";
    assert_ne!(said(Level::Baseline, 34, unmasked), "");
    let sysctl = "{securityContext: {sysctls: [{name: net.ipv4.tcp_rmem}]}}";
    assert_eq!(said(Level::Baseline, 31, sysctl), "forbidden sysctls (net.ipv4.tcp_rmem)");
    assert_eq!(said(Level::Baseline, 99, sysctl), "");
    assert!(said(Level::Restricted, 24, "{os: {name: windows}, containers: [{name: a}]}").contains("drop="));
    assert!(!said(Level::Restricted, 25, "{os: {name: windows}, containers: [{name: a}]}").contains("drop="));
}

fn policy(labels: &[(&str, &str)]) -> (Policy, Vec<String>) {
    let named = |(name, value): &(&str, &str)| (format!("pod-security.kubernetes.io/{name}"), (*value).to_owned());
    let labels: BTreeMap<String, String> = labels.iter().map(named).collect();
    let (policy, faults) = Policy::of_labels(&labels);
    (policy, faults.iter().map(ToString::to_string).collect())
}

#[test]
fn labels_say_the_policy() {
    assert_eq!(policy(&[]), (Policy::OPEN, vec![]));
    let (strict, faults) = policy(&[("enforce", "baseline"), ("enforce-version", "v1.30")]);
    assert_eq!(
        (strict.enforce.to_string(), strict.warn.to_string()),
        ("baseline:v1.30".into(), "baseline:v1.30".into())
    );
    assert!(strict.audit.level == Level::Privileged && faults.is_empty());
    let (quiet, _) = policy(&[("enforce", "restricted"), ("warn", "privileged")]);
    assert_eq!(quiet.warn.to_string(), "privileged:latest");
    let (doubtful, faults) = policy(&[("enforce", "strict"), ("warn", "loud"), ("audit-version", "1.2")]);
    assert_eq!((doubtful.enforce.level, doubtful.warn.level), (Level::Restricted, Level::Privileged));
    assert_eq!(
        faults,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, \
             baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.2\": must be \"latest\" or \
             \"v1.x\"",
            "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"loud\": must be one of privileged, \
             baseline, restricted",
        ]
    );
}
