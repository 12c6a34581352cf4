//! In which order groups and versions are shown: upstream's numbers.

/// Custom resources come after everything that is built in.
const CUSTOM: (i64, i64) = (1000, 100);

/// Group, its priority, and the priorities of its versions, other than those of stable ones.
const GROUPS: [(&str, i64); 24] = [
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("internal.apiserver.k8s.io", 16_000),
    ("resource.k8s.io", 15_900),
    ("storagemigration.k8s.io", 15_800),
    // Above all others: it is what the others are registered with.
    ("apiregistration.k8s.io", 20_000),
    // metrics-server's own number: below all others, so that `nodes` and `pods` are the objects.
    ("metrics.k8s.io", 100),
];

/// `groupPriorityMinimum` and `versionPriority` of what this server serves itself.
pub(crate) fn of(group: &str, version: &str) -> (i64, i64) {
    let Some((_, priority)) = GROUPS.iter().find(|(name, _)| *name == group) else { return CUSTOM };
    let of_version = match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("metrics.k8s.io", _) => 100,
        ("flowcontrol.apiserver.k8s.io", "v1") => 21,
        ("admissionregistration.k8s.io" | "discovery.k8s.io" | "coordination.k8s.io", "v1beta1") => 12,
        (_, version) if version.contains("beta") => 9,
        (_, version) if version.contains("alpha") => 1,
        _ => 15,
    };
    (*priority, of_version)
}
