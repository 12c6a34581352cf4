//! What a Pod may keep on the node's disk: the limits of its emptyDirs, of the Pod, and of each container. Pure.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::rank::Candidate;
use crate::config::totals;
use crate::spec::Role;
use crate::{quantity, spec};

const EPHEMERAL: &str = "ephemeral-storage";

/// Whether anything limits what the Pod keeps.
pub(super) fn has_limits(pod: &Pod) -> bool {
    let volumes = spec::of(pod).volumes.iter().flatten();
    let mut sizes = volumes.filter_map(|volume| volume.empty_dir.as_ref()?.size_limit.as_ref());
    sizes.any(|size| positive(size).is_some()) || spec::containers(pod).any(|(_, container)| limit(container).is_some())
}

fn positive(quantity: &Quantity) -> Option<u64> {
    quantity::value(quantity).and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0)
}

fn limit(container: &Container) -> Option<(&Quantity, u64)> {
    let limit = container.resources.as_ref()?.limits.as_ref()?.get(EPHEMERAL)?;
    Some((limit, positive(limit)?))
}

/// What the Pod is told if it keeps more than it may.
pub(super) fn excess(candidate: &Candidate) -> Option<String> {
    volume(candidate).or_else(|| whole(candidate)).or_else(|| container(candidate))
}

fn volume(candidate: &Candidate) -> Option<String> {
    let disk = candidate.disk.as_ref()?;
    spec::of(&candidate.pod).volumes.iter().flatten().find_map(|volume| {
        let size = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let used = disk.volumes.iter().find(|used| used.kind == "empty-dir" && used.name == volume.name)?;
        let name = &volume.name;
        (used.tree.bytes > positive(size)?)
            .then(|| format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{}\". ", size.0))
    })
}

fn whole(candidate: &Candidate) -> Option<String> {
    let sum = totals::limits(&candidate.pod).get(EPHEMERAL).and_then(positive)?;
    let text = sampan_api::quantity::Quantity::from_bytes(i64::try_from(sum).unwrap_or(i64::MAX));
    (candidate.on_disk()?.bytes > sum)
        .then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {text}. "))
}

fn container(candidate: &Candidate) -> Option<String> {
    let (usage, disk) = (candidate.usage.as_ref()?, candidate.disk.as_ref()?);
    let staying = spec::containers(&candidate.pod).filter(|(role, _)| *role != Role::Init);
    staying.map(|(_, container)| container).find_map(|container| {
        let (quantity, limit) = limit(container)?;
        let name = &container.name;
        let layer = usage.containers.iter().find(|used| used.name == *name)?.writable.unwrap_or_default();
        let logs = disk.logs.get(name).copied().unwrap_or_default();
        (layer.and(logs).bytes > limit)
            .then(|| format!("Container {name} exceeded its local ephemeral storage limit \"{}\". ", quantity.0))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::usage::{ContainerUsage, Ephemeral, PodUsage, Tree, VolumeUsage};

    /// A Pod with a volume of at most 1Mi and containers `a` and `b` of at most 1Mi each.
    fn candidate(volume: u64, layer_of_a: u64, log_of_a: u64) -> Candidate {
        let limited = |name: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": "1Mi"}}});
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "containers": [limited("a"), limited("b")],
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}],
            },
        });
        let tree = |bytes| Tree { bytes, inodes: 1 };
        let used = ContainerUsage { name: "a".into(), writable: Some(tree(layer_of_a)), ..ContainerUsage::default() };
        let scratch = VolumeUsage { name: "scratch".into(), kind: "empty-dir".into(), tree: tree(volume), own: None };
        Candidate {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            usage: Some(PodUsage { containers: vec![used], ..PodUsage::default() }),
            disk: Some(Ephemeral {
                volumes: vec![scratch],
                logs: [("a".into(), tree(log_of_a))].into(),
                files: Tree::default(),
            }),
        }
    }

    #[test]
    fn limits_of_volumes_pods_and_containers() {
        const MIB: u64 = 1 << 20;
        let check = |candidate: &Candidate, want: Option<&str>| {
            assert!(has_limits(&candidate.pod));
            assert_eq!(excess(candidate).as_deref(), want);
        };
        check(&candidate(MIB, MIB / 2, MIB / 2), None);
        check(&candidate(MIB + 1, 0, 0), Some("Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". "));
        check(
            &candidate(MIB, MIB, MIB),
            Some("Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "),
        );
        check(&candidate(0, MIB, 1), Some("Container a exceeded its local ephemeral storage limit \"1Mi\". "));
        assert!(!has_limits(&Pod::default()));
    }

    #[test]
    fn sidecars_count_and_init_containers_make_room() {
        const MIB: u64 = 1 << 20;
        let limited =
            |name: &str, limit: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}});
        let mut sidecar = limited("side", "1Mi");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({
            "initContainers": [limited("first", "4Mi"), sidecar, limited("second", "2Mi")],
            "containers": [limited("a", "1Mi")],
        });
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        assert_eq!(totals::limits(&pod)[EPHEMERAL].0, "4Mi");
        let mut candidate = Candidate { pod: Arc::new(pod), ..candidate(0, MIB, 1) };
        candidate.usage.as_mut().unwrap().containers[0].name = "side".into();
        assert_eq!(excess(&candidate), None, "the log is another container's");
        candidate.disk.as_mut().unwrap().logs = [("side".into(), Tree { bytes: 1, inodes: 1 })].into();
        let want = "Container side exceeded its local ephemeral storage limit \"1Mi\". ";
        assert_eq!(excess(&candidate).as_deref(), Some(want));
    }
}
