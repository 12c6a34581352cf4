//! What a Pod asks for, and is bounded by, all in all: of every resource, not only of those that the kernel shares out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sampan_api::amounts::{self, Amounts, Turn};

use crate::spec::{self, Role};

/// What the Pod asks for.
pub(crate) fn requests(pod: &Pod) -> BTreeMap<String, Quantity> {
    total(pod, "requests", |resources| resources.requests.as_ref())
}

/// What the Pod is bounded by, where anything of it is.
pub(crate) fn limits(pod: &Pod) -> BTreeMap<String, Quantity> {
    total(pod, "limits", |resources| resources.limits.as_ref())
}

/// A list of a container's resources, or of a Pod's own.
type List = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>;

fn total(pod: &Pod, name: &str, list: List) -> BTreeMap<String, Quantity> {
    let of = |resources: &Option<ResourceRequirements>| read(resources.as_ref().and_then(list));
    let containers = spec::containers(pod).map(|(role, container)| {
        let turn = match role {
            Role::Init => Turn::Init,
            Role::Sidecar => Turn::Sidecar,
            Role::App | Role::Ephemeral => Turn::App,
        };
        (turn, of(&container.resources))
    });
    let mut total = amounts::together(containers);
    total.extend(amounts::only(&of(&spec::of(pod).resources), amounts::is_for_whole_pods));
    amounts::add_overhead(&mut total, &read(spec::of(pod).overhead.as_ref()), name);
    total.into_iter().map(|(name, amount)| (name, Quantity(amount.to_string()))).collect()
}

fn read(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    list.into_iter().flatten().filter_map(|(name, amount)| Some((name.clone(), amount.0.parse().ok()?))).collect()
}
