//! What an object lets a node read: the edges that it causes.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PersistentVolume, Pod, PodSpec, Volume};

use super::graph::{Edge, Sort, Vertex};

/// Pods with this annotation mirror what a node runs by itself. They open nothing: a node could make them.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Names of what a Pod uses, in its namespace.
#[derive(Default)]
struct Used(Vec<(Sort, String)>);

impl Used {
    fn add(&mut self, sort: Sort, name: Option<&String>) {
        self.0.extend(name.filter(|name| !name.is_empty()).map(|name| (sort, name.clone())));
    }
}

/// The edges of a Pod that is bound to a node.
pub(super) fn of_pod(pod: &Pod) -> Vec<Edge> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) else { return Vec::new() };
    let (namespace, name) = (text(pod.metadata.namespace.as_ref()), text(pod.metadata.name.as_ref()));
    let mut used = Used(vec![(Sort::Pod, name.to_owned())]);
    if !pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) {
        used.add(Sort::ServiceAccount, spec.service_account_name.as_ref());
        containers(&mut used, spec);
        spec.image_pull_secrets.iter().flatten().for_each(|secret| used.add(Sort::Secret, Some(&secret.name)));
        spec.volumes.iter().flatten().for_each(|source| volume(&mut used, name, source));
        resource_claims(&mut used, pod, spec);
    }
    used.0.sort_by(|a, b| (a.0 as u8, &a.1).cmp(&(b.0 as u8, &b.1)));
    used.0.dedup();
    let node = Vertex::node(node);
    used.0.iter().map(|(sort, name)| (Vertex::new(*sort, namespace, name), node.clone())).collect()
}

fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

fn containers(used: &mut Used, spec: &PodSpec) {
    let plain = spec.init_containers.iter().flatten().chain(&spec.containers);
    for Container { env, env_from, .. } in plain {
        environment(used, env.as_deref(), env_from.as_deref());
    }
    for EphemeralContainer { env, env_from, .. } in spec.ephemeral_containers.iter().flatten() {
        environment(used, env.as_deref(), env_from.as_deref());
    }
}

fn environment(
    used: &mut Used,
    env: Option<&[k8s_openapi::api::core::v1::EnvVar]>,
    env_from: Option<&[k8s_openapi::api::core::v1::EnvFromSource]>,
) {
    for source in env_from.into_iter().flatten() {
        used.add(Sort::ConfigMap, source.config_map_ref.as_ref().map(|reference| &reference.name));
        used.add(Sort::Secret, source.secret_ref.as_ref().map(|reference| &reference.name));
    }
    for source in env.into_iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        used.add(Sort::ConfigMap, source.config_map_key_ref.as_ref().map(|selector| &selector.name));
        used.add(Sort::Secret, source.secret_key_ref.as_ref().map(|selector| &selector.name));
    }
}

fn volume(used: &mut Used, pod: &str, volume: &Volume) {
    used.add(Sort::ConfigMap, volume.config_map.as_ref().map(|source| &source.name));
    used.add(Sort::Secret, volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()));
    used.add(Sort::Claim, volume.persistent_volume_claim.as_ref().map(|source| &source.claim_name));
    if volume.ephemeral.is_some() {
        used.add(Sort::Claim, Some(&format!("{pod}-{}", volume.name)));
    }
    let projections = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
    for projection in projections.into_iter().flatten() {
        used.add(Sort::ConfigMap, projection.config_map.as_ref().map(|source| &source.name));
        used.add(Sort::Secret, projection.secret.as_ref().map(|source| &source.name));
    }
    driver_secrets(used, volume);
}

/// Secrets with which a volume's driver shows itself to its storage.
fn driver_secrets(used: &mut Used, volume: &Volume) {
    used.add(Sort::Secret, volume.azure_file.as_ref().map(|source| &source.secret_name));
    let references = [
        volume.cephfs.as_ref().and_then(|source| source.secret_ref.as_ref()),
        volume.cinder.as_ref().and_then(|source| source.secret_ref.as_ref()),
        volume.flex_volume.as_ref().and_then(|source| source.secret_ref.as_ref()),
        volume.rbd.as_ref().and_then(|source| source.secret_ref.as_ref()),
        volume.scale_io.as_ref().map(|source| &source.secret_ref),
        volume.iscsi.as_ref().and_then(|source| source.secret_ref.as_ref()),
        volume.storageos.as_ref().and_then(|source| source.secret_ref.as_ref()),
        volume.csi.as_ref().and_then(|source| source.node_publish_secret_ref.as_ref()),
    ];
    references.into_iter().flatten().for_each(|reference| used.add(Sort::Secret, Some(&reference.name)));
}

fn resource_claims(used: &mut Used, pod: &Pod, spec: &PodSpec) {
    for claim in spec.resource_claims.iter().flatten() {
        used.add(Sort::ResourceClaim, claim.resource_claim_name.as_ref());
    }
    let Some(status) = &pod.status else { return };
    for claim in status.resource_claim_statuses.iter().flatten() {
        used.add(Sort::ResourceClaim, claim.resource_claim_name.as_ref());
    }
    let extended = status.extended_resource_claim_status.as_ref();
    used.add(Sort::ResourceClaim, extended.map(|claim| &claim.resource_claim_name));
}

/// The edges of a PersistentVolume that is bound to a claim: whoever uses the claim reads the volume, and the secrets
/// that its driver hands to the kubelet.
pub(super) fn of_volume(volume: &PersistentVolume) -> Vec<Edge> {
    let Some(spec) = &volume.spec else { return Vec::new() };
    let Some(claim) = &spec.claim_ref else { return Vec::new() };
    let (namespace, name) = (text(claim.namespace.as_ref()), text(claim.name.as_ref()));
    let this = Vertex::new(Sort::Volume, "", text(volume.metadata.name.as_ref()));
    let mut edges = vec![(this.clone(), Vertex::new(Sort::Claim, namespace, name))];
    let csi = spec.csi.as_ref();
    let secrets = [
        spec.cephfs.as_ref().and_then(|source| source.secret_ref.as_ref()),
        spec.cinder.as_ref().and_then(|source| source.secret_ref.as_ref()),
        spec.flex_volume.as_ref().and_then(|source| source.secret_ref.as_ref()),
        spec.rbd.as_ref().and_then(|source| source.secret_ref.as_ref()),
        spec.scale_io.as_ref().map(|source| &source.secret_ref),
        spec.iscsi.as_ref().and_then(|source| source.secret_ref.as_ref()),
        csi.and_then(|source| source.node_publish_secret_ref.as_ref()),
        csi.and_then(|source| source.node_stage_secret_ref.as_ref()),
        csi.and_then(|source| source.node_expand_secret_ref.as_ref()),
    ];
    for secret in secrets.into_iter().flatten() {
        // Some drivers name the namespace; with the others the secret lies beside the claim.
        let namespace = secret.namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace);
        edges.push((Vertex::new(Sort::Secret, namespace, text(secret.name.as_ref())), this.clone()));
    }
    if let Some(azure) = &spec.azure_file {
        let namespace = azure.secret_namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace);
        edges.push((Vertex::new(Sort::Secret, namespace, &azure.secret_name), this));
    }
    edges
}
