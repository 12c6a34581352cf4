//! NodeMetrics: what a node uses, measured when asked.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, pod_metrics};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `nodes.metrics.k8s.io`, read only.
pub static NODE_METRICS: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    kind: "NodeMetrics",
    plural: "nodes",
    singular: "",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::ReadOnly,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
    storage: "nodemetrics",
    columns: pod_metrics::COLUMNS,
    rules: &NodeMetricsRules,
};

struct NodeMetricsRules;

impl Rules for NodeMetricsRules {
    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let usage = &object["usage"];
        vec![cells::name(object), usage["cpu"].clone(), usage["memory"].clone(), object["window"].clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::NODE_METRICS;
    use crate::kinds::testing::check_row;

    #[test]
    fn a_row_shows_the_usage() {
        let object = "{metadata: {name: n1}, window: 10s, usage: {cpu: 137m, memory: 1Gi}}";
        check_row(&NODE_METRICS, object, "n1 | 137m | 1Gi | 10s");
    }
}
