//! The three lists of containers in a spec.

use std::collections::HashSet;

use super::volumes::Volumes;
use super::{env, mounts, ports, probes, resources, restart, security};
use crate::validation::cursor::Cursor;
use crate::validation::names;

/// What the rules for one container need to know of its Pod.
pub(super) struct Surroundings<'a> {
    pub(super) volumes: &'a Volumes<'a>,
    pub(super) restart_policy: &'a str,
    /// `terminationGracePeriodSeconds`
    pub(super) grace_seconds: i64,
    /// Whether the Pod shares the host's user namespace.
    pub(super) host_users: bool,
    pub(super) resource_claims: Vec<&'a str>,
}

/// All containers of a spec.
pub(super) fn containers(spec: &Cursor<'_>, volumes: &Volumes<'_>) {
    let surroundings = Surroundings {
        volumes,
        restart_policy: spec.get("restartPolicy").text(),
        grace_seconds: spec.get("terminationGracePeriodSeconds").int().unwrap_or_default(),
        host_users: spec.get("hostUsers").value() != &serde_json::Value::Bool(false),
        resource_claims: spec.get("resourceClaims").items().map(|claim| claim.get("name").text()).collect(),
    };
    regular(&spec.get("containers"), &surroundings);
    init(spec, &surroundings);
    ephemeral(spec, &surroundings);
}

fn regular(containers: &Cursor<'_>, surroundings: &Surroundings<'_>) {
    if containers.is_empty() {
        containers.required("");
        return;
    }
    let mut taken = HashSet::new();
    for container in containers.items() {
        any(&container, surroundings);
        unique_name(&container, &mut taken);
        probes::lifecycle_and_probes(&container, surroundings.grace_seconds);
        restart::policy(&container);
    }
    ports::unique_host_ports(containers.items());
}

fn init(spec: &Cursor<'_>, surroundings: &Surroundings<'_>) {
    let mut taken: HashSet<&str> = spec.get("containers").items().map(|c| c.get("name").text()).collect();
    for container in spec.get("initContainers").items() {
        any(&container, surroundings);
        let restart_policy = container.get("restartPolicy");
        restart::policy(&container);
        unique_name(&container, &mut taken);
        ports::unique_host_ports(std::iter::once(container.clone()));
        if restart_policy.text() == "Always" {
            probes::lifecycle_and_probes(&container, surroundings.grace_seconds);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                let field = container.get(field);
                if field.is_set() {
                    field.forbidden("may not be set for init containers without restartPolicy=Always");
                }
            }
        }
    }
}

fn ephemeral(spec: &Cursor<'_>, surroundings: &Surroundings<'_>) {
    let of_list = |list: &str| -> Vec<&str> { spec.get(list).items().map(|c| c.get("name").text()).collect() };
    let others: HashSet<&str> = of_list("containers").into_iter().chain(of_list("initContainers")).collect();
    let mut taken = others.clone();
    for container in spec.get("ephemeralContainers").items() {
        any(&container, surroundings);
        unique_name(&container, &mut taken);
        let target = container.get("targetContainerName");
        if !target.is_empty() && !others.contains(target.text()) {
            target.not_found();
        }
        only_what_a_guest_may_have(&container);
    }
}

/// Nothing may rely on an ephemeral container, so it has no ports, probes, resources or sub-paths.
fn only_what_a_guest_may_have(container: &Cursor<'_>) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let fields = [
        "ports",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "restartPolicy",
        "restartPolicyRules",
        "resizePolicy",
    ];
    for field in fields.map(|field| container.get(field)) {
        if !field.is_empty() {
            field.forbidden(WHY);
        }
    }
    if !container.get("resources").is_empty() {
        container.get("resources").forbidden(WHY);
    }
    for mount in container.get("volumeMounts").items() {
        for path in ["subPath", "subPathExpr"].map(|field| mount.get(field)) {
            if !path.is_empty() {
                path.forbidden(WHY);
            }
        }
    }
}

fn unique_name<'a>(container: &Cursor<'a>, taken: &mut HashSet<&'a str>) {
    let name = container.get("name");
    if !name.is_empty() && !taken.insert(name.text()) {
        name.duplicate();
    }
}

/// The rules for a container of any list.
fn any(container: &Cursor<'_>, surroundings: &Surroundings<'_>) {
    container.get("name").must_follow(names::label);
    container.get("image").must();
    container.get("terminationMessagePolicy").must_be_one_of(&["File", "FallbackToLogsOnError"]);
    ports::ports(&container.get("ports"));
    env::variables(&container.get("env"), surroundings.volumes);
    env::sources(&container.get("envFrom"));
    mounts::mounts(container, surroundings.volumes);
    mounts::devices(container, surroundings.volumes);
    container.get("imagePullPolicy").must_be_one_of(&["Always", "IfNotPresent", "Never"]);
    resources::requirements(&container.get("resources"), &surroundings.resource_claims);
    resources::resize_policy(&container.get("resizePolicy"), surroundings.restart_policy);
    security::container(&container.get("securityContext"), surroundings.host_users);
}
