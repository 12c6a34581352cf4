//! An autoscaler's row: each metric as it is and as it should be.

use jiff::Timestamp;
use serde_json::Value;

use crate::kind::Column;
use crate::kinds::{cells, read};

/// The columns of [`row`].
pub(super) const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Reference"),
    cells::text("Targets"),
    cells::text("MinPods"),
    cells::text("MaxPods"),
    cells::text("Replicas"),
    cells::AGE,
];

/// How many metrics a row shows.
const SHOWN: usize = 2;

/// The cells of [`COLUMNS`].
pub(super) fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |pointer: &str| read::text(object, pointer);
    let least = object["spec"]["minReplicas"].as_i64().map_or("<unset>".to_owned(), |least| least.to_string());
    vec![
        cells::name(object),
        format!("{}/{}", text("/spec/scaleTargetRef/kind"), text("/spec/scaleTargetRef/name")).into(),
        targets(object).into(),
        least.into(),
        read::int(object, "/spec/maxReplicas").into(),
        read::int(object, "/status/currentReplicas").into(),
        cells::age(object, now),
    ]
}

fn targets(object: &Value) -> String {
    let (specs, statuses) = (read::list(object, "/spec/metrics"), read::list(object, "/status/currentMetrics"));
    if specs.is_empty() {
        return "<none>".to_owned();
    }
    let shown = specs.iter().take(SHOWN).enumerate();
    let shown: Vec<String> =
        shown.map(|(index, spec)| target(spec, statuses.get(index).unwrap_or(&Value::Null))).collect();
    let more = specs.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} + {more} more...", shown.join(", ")) }
}

fn target(spec: &Value, status: &Value) -> String {
    let source = match read::text(spec, "/type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, current) = (&spec[source]["target"], &status[source]["current"]);
    let by_pods = wanted["averageValue"].is_string();
    let (field, unit) = match source {
        _ if by_pods => ("averageValue", ""),
        "resource" | "containerResource" => ("averageUtilization", "%"),
        _ => ("value", ""),
    };
    let show = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(percent) => Some(format!("{percent}{unit}")),
        _ => None,
    };
    let now = show(&current[field]).unwrap_or_else(|| "<unknown>".to_owned());
    let goal = show(&wanted[field]).unwrap_or_else(|| if unit.is_empty() { "<unset>" } else { "<auto>" }.to_owned());
    match source {
        "resource" | "containerResource" => format!("{}: {now}/{goal}", read::text(&spec[source], "/name")),
        "external" | "object" if by_pods => format!("{now}/{goal} (avg)"),
        _ => format!("{now}/{goal}"),
    }
}
