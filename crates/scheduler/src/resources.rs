//! Amounts of the things a node has and Pods ask for, and how much one Pod asks for.
//!
//! Start at [`Resources::of_pod`] and [`Resources::of_node`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use sampan_api::quantity::Quantity;

/// What a container without a CPU request counts for when nodes are scored, in thousandths of a core.
const UNASKED_CPU_MILLI: i64 = 100;
/// What a container without a memory request counts for when nodes are scored.
const UNASKED_MEMORY_BYTES: i64 = 200 << 20;

type Amounts = BTreeMap<String, Text>;

/// An amount of every resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Thousandths of a core.
    pub(crate) cpu_milli: i64,
    /// Bytes of memory.
    pub(crate) memory: i64,
    /// Bytes of local disk.
    pub(crate) ephemeral_storage: i64,
    /// Pods; a Pod is one of them.
    pub(crate) pods: i64,
    /// Everything else by its name: huge pages and what devices offer.
    pub(crate) others: BTreeMap<String, i64>,
}

/// Whether containers that ask for no CPU or memory count for a little all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// They count for nothing: what must fit.
    Nothing,
    /// They count for a little, so that such Pods do not all crowd on one node: what is scored.
    Little,
}

impl Resources {
    /// What `node` can give to Pods.
    pub(crate) fn of_node(node: &Node) -> Self {
        let mut allocatable = Self::default();
        if let Some(amounts) = node.status.as_ref().and_then(|status| status.allocatable.as_ref()) {
            allocatable.set(amounts);
        }
        allocatable
    }

    /// What a Pod needs at its most demanding moment: when all containers run beside the sidecars, or when one init
    /// container runs beside the sidecars started before it; then the Pod's own request instead, if it has one; and
    /// the overhead of its sandbox.
    pub(crate) fn of_pod(spec: &PodSpec, unasked: Unasked) -> Self {
        let mut running = Self::default();
        for container in &spec.containers {
            running.add(&Self::of_container(container, unasked));
        }
        let mut sidecars = Self::default();
        let mut starting = Self::default();
        for container in spec.init_containers.iter().flatten() {
            let request = Self::of_container(container, unasked);
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars.add(&request);
                starting.raise(&sidecars);
            } else {
                let mut beside = sidecars.clone();
                beside.add(&request);
                starting.raise(&beside);
            }
        }
        running.add(&sidecars);
        running.raise(&starting);
        if let Some(amounts) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
            running.set(amounts);
        }
        if let Some(overhead) = &spec.overhead {
            let mut extra = Self::default();
            extra.set(overhead);
            running.add(&extra);
        }
        running.pods = 1;
        running
    }

    fn of_container(container: &Container, unasked: Unasked) -> Self {
        let mut request = Self::default();
        if unasked == Unasked::Little {
            (request.cpu_milli, request.memory) = (UNASKED_CPU_MILLI, UNASKED_MEMORY_BYTES);
        }
        if let Some(amounts) = container.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
            request.set(amounts);
        }
        request
    }

    /// Takes over the amounts that are named.
    fn set(&mut self, amounts: &Amounts) {
        for (name, Text(text)) in amounts {
            // The API server stores no malformed quantity.
            let Ok(amount) = Quantity::parse(text) else { continue };
            match name.as_str() {
                "cpu" => self.cpu_milli = amount.milli_value(),
                "memory" => self.memory = amount.value(),
                "ephemeral-storage" => self.ephemeral_storage = amount.value(),
                "pods" => self.pods = amount.value(),
                _ => _ = self.others.insert(name.clone(), amount.value()),
            }
        }
    }

    /// Adds `other` to this.
    pub(crate) fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` from this.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Takes the larger of each amount.
    fn raise(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.others {
            match self.others.get_mut(name) {
                Some(mine) => *mine = with(*mine, *amount),
                None => _ = self.others.insert(name.clone(), with(0, *amount)),
            }
        }
    }

    /// Whether any amount here is smaller than in `other`.
    pub(crate) fn is_less_somewhere(&self, other: &Self) -> bool {
        self.cpu_milli < other.cpu_milli
            || self.memory < other.memory
            || self.ephemeral_storage < other.ephemeral_storage
            || self.pods < other.pods
            || other.others.iter().any(|(name, amount)| self.others.get(name).unwrap_or(&0) < amount)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Resources, Unasked};

    fn check(spec: Value, cpu_milli: i64, memory: i64) {
        let got = Resources::of_pod(&serde_json::from_value(spec.clone()).unwrap(), Unasked::Nothing);
        assert_eq!((got.cpu_milli, got.memory, got.pods), (cpu_milli, memory, 1), "{spec}");
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    fn sidecar(cpu: &str, memory: &str) -> Value {
        let mut sidecar = container(cpu, memory);
        sidecar["restartPolicy"] = "Always".into();
        sidecar
    }

    #[test]
    fn containers_add_up() {
        check(json!({"containers": [container("100m", "1Ki"), container("1", "1k")]}), 1100, 2024);
    }

    #[test]
    fn the_most_demanding_init_container_counts() {
        let init = [container("2", "10"), container("1", "30")];
        check(json!({"containers": [container("500m", "20")], "initContainers": init}), 2000, 30);
    }

    #[test]
    fn sidecars_run_beside_what_comes_after_them() {
        let init = [container("2", "1"), sidecar("1", "1"), container("2", "1")];
        check(json!({"containers": [container("1", "1")], "initContainers": init}), 3000, 2);
        let init = [sidecar("1", "1"), sidecar("1", "1")];
        check(json!({"containers": [container("500m", "1")], "initContainers": init}), 2500, 3);
    }

    #[test]
    fn the_pods_own_request_and_overhead() {
        let own = json!({"requests": {"cpu": "3"}});
        let overhead = json!({"cpu": "250m"});
        check(json!({"containers": [container("1", "5")], "resources": own, "overhead": overhead}), 3250, 5);
    }

    #[test]
    fn a_container_that_asks_for_nothing_counts_for_a_little_in_scores() {
        let spec = serde_json::from_value(json!({"containers": [{"name": "a"}, container("1", "1")]})).unwrap();
        let got = Resources::of_pod(&spec, Unasked::Little);
        assert_eq!((got.cpu_milli, got.memory), (1100, (200 << 20) + 1));
    }
}
