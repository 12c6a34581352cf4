//! What is allowed in a Service and yet is ignored, or on its way out.

use serde_json::Value;

use crate::field::Path;
use crate::kinds::read;
use crate::validation::addresses;

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// The warnings about a Service.
pub(super) fn warnings(service: &Value) -> Vec<String> {
    let (spec, path) = (&service["spec"], Path::new("spec"));
    let text = |name: &str| spec[name].as_str().unwrap_or_default();
    let external = spec["type"] == "ExternalName";
    let headless = spec["type"] == "ClusterIP" && spec["clusterIP"] == "None";
    let has_external_ips = !read::list(spec, "/externalIPs").is_empty();
    let mut warnings = Vec::new();
    let mut warn = |condition: bool, text: &str| warnings.extend(condition.then(|| text.to_owned()));
    let hints =
        format!("annotation {TOPOLOGY_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead");
    warn(service["metadata"]["annotations"][TOPOLOGY_HINTS].is_string(), &hints);
    addresses(spec, "clusterIPs", &path).iter().for_each(|text| warn(true, text));
    warn(headless && !text("loadBalancerIP").is_empty(), "spec.loadBalancerIP is ignored for headless services");
    warn(headless && has_external_ips, "spec.externalIPs is ignored for headless services");
    warn(headless && text("sessionAffinity") != "None", "spec.SessionAffinity is ignored for headless services");
    addresses(spec, "externalIPs", &path).iter().for_each(|text| warn(true, text));
    let deprecated = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
    warn(has_external_ips && !headless && !external, deprecated);
    let balancer = addresses::ip_warning(&path.child("loadBalancerIP"), text("loadBalancerIP"));
    balancer.iter().for_each(|text| warn(true, text));
    for (index, range) in read::texts(spec, "/loadBalancerSourceRanges").into_iter().enumerate() {
        let path = path.child("loadBalancerSourceRanges").index(index);
        addresses::cidr_warnings(&path, range).iter().for_each(|text| warn(true, text));
    }
    let unused = "spec.externalIPs is ignored when spec.type is \"ExternalName\"";
    warn(external && has_external_ips, unused);
    let unused = "spec.externalName is ignored when spec.type is not \"ExternalName\"";
    warn(!external && !text("externalName").is_empty(), unused);
    let close = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
    warn(text("trafficDistribution") == "PreferClose", close);
    warnings
}

/// The warnings about a list of addresses; `None` is no address.
fn addresses(spec: &Value, list: &str, path: &Path) -> Vec<String> {
    let path = path.child(list);
    let addresses = read::texts(spec, &format!("/{list}")).into_iter().enumerate();
    addresses.filter_map(|(index, address)| addresses::ip_warning(&path.index(index), address)).collect()
}
