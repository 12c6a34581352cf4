//! The defaults of a Pod and of the Pod templates inside other kinds.

use serde_json::{Value, json};

use crate::kinds::{fill, read};

/// Permissions of files in ConfigMap, Secret, downward API and projected volumes: 0644.
const FILE_MODE: i64 = 0o644;
/// How long a projected service-account token is good for, unless said otherwise.
const TOKEN_SECONDS: i64 = 3600;
/// The lists of a spec that hold containers.
const CONTAINER_LISTS: [&str; 3] = ["/initContainers", "/containers", "/ephemeralContainers"];

/// Fills a Pod: its spec, and what is only filled in Pods, not in templates.
pub(super) fn default_pod(pod: &mut Value) {
    fill::at(pod, "/spec", |spec| {
        default_spec(spec);
        fill::absent(spec, "enableServiceLinks", true);
        let host_network = read::flag(spec, "/hostNetwork");
        for list in ["/containers", "/initContainers"] {
            fill::each(spec, list, default_requests);
            if host_network {
                fill::each(spec, list, default_host_ports);
            }
        }
    });
}

/// Fills a `PodTemplateSpec`.
pub(in crate::kinds) fn default_template(template: &mut Value) {
    fill::at(template, "/spec", default_spec);
}

/// `serviceAccount` is the old name of `serviceAccountName`: whichever is given, both say the same.
pub(super) fn default_service_account(spec: &mut Value) {
    let name = read::or(read::text(spec, "/serviceAccountName"), read::text(spec, "/serviceAccount")).to_owned();
    if !name.is_empty() {
        spec["serviceAccountName"] = name.clone().into();
        spec["serviceAccount"] = name.into();
    }
}

fn default_spec(spec: &mut Value) {
    fill::zero(spec, "dnsPolicy", "ClusterFirst");
    fill::zero(spec, "restartPolicy", "Always");
    fill::absent(spec, "securityContext", json!({}));
    fill::absent(spec, "terminationGracePeriodSeconds", 30);
    fill::zero(spec, "schedulerName", "default-scheduler");
    default_service_account(spec);
    fill::each(spec, "/volumes", default_volume);
    for list in CONTAINER_LISTS {
        fill::each(spec, list, default_container);
    }
}

fn default_container(container: &mut Value) {
    let pull_policy = pull_policy(read::text(container, "/image"));
    fill::zero(container, "imagePullPolicy", pull_policy);
    fill::zero(container, "terminationMessagePath", "/dev/termination-log");
    fill::zero(container, "terminationMessagePolicy", "File");
    fill::absent(container, "resources", json!({}));
    fill::each(container, "/ports", |port| fill::zero(port, "protocol", "TCP"));
    fill::each(container, "/env", |variable| {
        fill::at(variable, "/valueFrom/fieldRef", default_field_ref);
        fill::at(variable, "/valueFrom/resourceFieldRef", default_resource_ref);
    });
    for probe in ["/livenessProbe", "/readinessProbe", "/startupProbe"] {
        fill::at(container, probe, default_probe);
    }
    for hook in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        fill::at(container, hook, default_http_get);
    }
}

/// `latest` may change under its name, so it is always pulled; so is an image without tag or digest.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if digest.is_none() => "Always",
        _ => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Value) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        fill::zero(probe, field, value);
    }
    fill::at(probe, "/httpGet", default_http_get);
    fill::at(probe, "/grpc", |grpc| fill::absent(grpc, "service", ""));
}

fn default_http_get(action: &mut Value) {
    fill::zero(action, "path", "/");
    fill::zero(action, "scheme", "HTTP");
}

fn default_field_ref(reference: &mut Value) {
    fill::zero(reference, "apiVersion", "v1");
}

fn default_resource_ref(reference: &mut Value) {
    fill::absent(reference, "divisor", "0");
}

fn default_volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|map| map.iter().all(|(name, source)| name == "name" || source.is_null())) {
        fill::absent(volume, "emptyDir", json!({}));
    }
    for source in ["/secret", "/configMap", "/downwardAPI", "/projected"] {
        fill::at(volume, source, |source| fill::absent(source, "defaultMode", FILE_MODE));
    }
    fill::at(volume, "/hostPath", |path| fill::absent(path, "type", ""));
    fill::at(volume, "/downwardAPI", default_downward_api);
    fill::at(volume, "/image", |image| {
        let pull_policy = pull_policy(read::text(image, "/reference"));
        fill::zero(image, "pullPolicy", pull_policy);
    });
    fill::at(volume, "/ephemeral/volumeClaimTemplate/spec", |claim| fill::absent(claim, "volumeMode", "Filesystem"));
    fill::each(volume, "/projected/sources", |source| {
        fill::at(source, "/serviceAccountToken", |token| fill::absent(token, "expirationSeconds", TOKEN_SECONDS));
        fill::at(source, "/downwardAPI", default_downward_api);
    });
}

fn default_downward_api(source: &mut Value) {
    fill::each(source, "/items", |item| {
        fill::at(item, "/fieldRef", default_field_ref);
        fill::at(item, "/resourceFieldRef", default_resource_ref);
    });
}

fn default_requests(container: &mut Value) {
    let Some(limits) = read::map(container, "/resources/limits").cloned() else { return };
    fill::at(container, "/resources", |resources| {
        for (resource, limit) in limits {
            if let Some(requests) = fill::map(resources, "requests") {
                requests.entry(resource).or_insert(limit);
            }
        }
    });
}

fn default_host_ports(container: &mut Value) {
    fill::each(container, "/ports", |port| {
        let number = port["containerPort"].clone();
        fill::zero(port, "hostPort", number);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fixed_tag_or_digest_is_not_pulled_again() {
        let rows = [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("busybox:1.36", "IfNotPresent"),
            ("registry:5000/busybox", "Always"),
            ("registry:5000/busybox:1", "IfNotPresent"),
            ("busybox@sha256:00", "IfNotPresent"),
            ("busybox:latest@sha256:00", "Always"),
        ];
        for (image, want) in rows {
            assert_eq!(pull_policy(image), want, "{image}");
        }
    }
}
