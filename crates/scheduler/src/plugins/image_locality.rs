//! ImageLocality: prefers nodes that have the Pod's images already, the more the larger they are.

use crate::cluster::Cluster;
use crate::framework::{BEST, Score};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Images that are smaller than this together count for nothing.
const SMALL_BYTES: i64 = 23 << 20;
/// Images of a container that are larger than this count no more.
const LARGE_BYTES: i64 = 1000 << 20;

pub(crate) struct ImageLocality;

impl Score for ImageLocality {
    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let spec = pod.spec();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let images: Vec<Image> =
            containers.filter_map(|container| Image::new(container.image.as_deref()?, cluster)).collect();
        if images.iter().all(|image| image.spread == 0.0) {
            return None;
        }
        let largest = LARGE_BYTES * images.len() as i64;
        let score = |node: &&NodeInfo| {
            let here = images.iter().filter_map(|image| Some((*node.images.get(&image.name)? as f64) * image.spread));
            let bytes = here.map(|bytes| bytes as i64).sum::<i64>().clamp(SMALL_BYTES, largest);
            BEST * (bytes - SMALL_BYTES) / (largest - SMALL_BYTES)
        };
        Some(nodes.iter().map(score).collect())
    }
}

/// An image that the Pod needs.
struct Image {
    name: String,
    /// The share of nodes that have it: one that few nodes have must not draw every Pod to them.
    spread: f64,
}

impl Image {
    fn new(name: &str, cluster: &Cluster) -> Option<Self> {
        let nodes = cluster.nodes().len();
        let name = if name.rfind(':') > name.rfind('/') { name.to_owned() } else { format!("{name}:latest") };
        let spread = cluster.nodes_with_image(&name) as f64 / nodes as f64;
        (nodes > 0).then_some(Self { name, spread })
    }
}
