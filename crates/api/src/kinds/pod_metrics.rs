//! PodMetrics: what the containers of a Pod use, measured when asked.

use jiff::Timestamp;
use sampan_quantity::Quantity;
use serde_json::Value;

use super::cells;
use crate::amounts::{self, Amounts};
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};

/// The columns of metrics: the resources are called as in the objects.
pub(super) const COLUMNS: &[Column] = &[
    cells::NAME,
    Column { name: "cpu", kind: "string", format: "quantity", priority: 0 },
    Column { name: "memory", kind: "string", format: "quantity", priority: 0 },
    Column { name: "Window", kind: "string", format: "duration", priority: 0 },
];

/// `pods.metrics.k8s.io`, read only.
pub static POD_METRICS: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    kind: "PodMetrics",
    plural: "pods",
    singular: "",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::ReadOnly,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
    storage: "podmetrics",
    columns: COLUMNS,
    rules: &PodMetricsRules,
};

struct PodMetricsRules;

impl Rules for PodMetricsRules {
    /// A Pod uses what its containers use.
    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let mut sum = Amounts::new();
        for container in object["containers"].as_array().into_iter().flatten() {
            amounts::add(&mut sum, &amounts::read(&container["usage"]));
        }
        let of = |resource: &str| sum.get(resource).copied().unwrap_or(Quantity::ZERO).to_string().into();
        vec![cells::name(object), of("cpu"), of("memory"), object["window"].clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::POD_METRICS;
    use crate::kinds::testing::check_row;

    #[test]
    fn a_row_is_the_sum_of_the_containers() {
        let object = "{metadata: {name: p}, window: 10s, containers: [
            {name: a, usage: {cpu: 100m, memory: 1Mi}}, {name: b, usage: {cpu: 37m, memory: 512Ki}}]}";
        check_row(&POD_METRICS, object, "p | 137m | 1536Ki | 10s");
        check_row(&POD_METRICS, "{metadata: {name: p}, window: 1s, containers: []}", "p | 0 | 0 | 1s");
    }
}
