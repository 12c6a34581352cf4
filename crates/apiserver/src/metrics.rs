//! `/metrics`: what was asked and how it went, under upstream's names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::Mutex;
use sampan_api::kind::KindRef;

use crate::request::RequestInfo;

/// Bounds of the duration histogram in seconds, upstream's.
const BUCKETS: [f64; 18] =
    [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 15.0, 30.0];
/// More different label sets are not kept: they come from requests.
const MAX_SERIES: usize = 4096;

/// The labels of a request, without the status code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

#[derive(Default)]
struct Series {
    by_code: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum_seconds: f64,
}

/// The counters.
#[derive(Default)]
pub(crate) struct Metrics {
    series: Mutex<BTreeMap<Labels, Series>>,
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, info: &RequestInfo, kind: Option<&KindRef>, code: u16, took: Duration) {
        let labels = labels(info, kind, code);
        let mut all = self.series.lock();
        if all.len() >= MAX_SERIES && !all.contains_key(&labels) {
            return;
        }
        let series = all.entry(labels).or_default();
        *series.by_code.entry(code).or_default() += 1;
        if info.verb == "watch" {
            return; // How long a watch lasts says nothing.
        }
        let seconds = took.as_secs_f64();
        series.count += 1;
        series.sum_seconds += seconds;
        for (bucket, _) in series.buckets.iter_mut().zip(BUCKETS).filter(|(_, bound)| seconds <= *bound) {
            *bucket += 1;
        }
    }

    /// The text form.
    pub(crate) fn text(&self) -> String {
        let all = self.series.lock();
        let mut out = String::from(
            "# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.\n# TYPE apiserver_request_total counter\n",
        );
        for (labels, series) in all.iter() {
            for (code, count) in &series.by_code {
                let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{}}} {count}", labels.text());
            }
        }
        out.push_str("# HELP apiserver_request_duration_seconds Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.\n# TYPE apiserver_request_duration_seconds histogram\n");
        for (labels, series) in all.iter().filter(|(_, series)| series.count > 0) {
            let labels = labels.text();
            for (bound, count) in BUCKETS.iter().zip(series.buckets) {
                let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {}", series.count);
            let _ = writeln!(out, "apiserver_request_duration_seconds_sum{{{labels}}} {}", series.sum_seconds);
            let _ = writeln!(out, "apiserver_request_duration_seconds_count{{{labels}}} {}", series.count);
        }
        out
    }
}

impl Labels {
    fn text(&self) -> String {
        format!(
            "component=\"apiserver\",dry_run=\"\",group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
            self.group, self.resource, self.scope, self.subresource, self.verb, self.version
        )
    }
}

/// Names that lead nowhere are not repeated: anyone can make them up.
fn labels(info: &RequestInfo, kind: Option<&KindRef>, code: u16) -> Labels {
    let known = info.is_resource && code != 404 && kind.is_some();
    let text = |text: &str| if known { text.to_owned() } else { String::new() };
    let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
        (false, ..) => "",
        (true, false, _) => "resource",
        (true, true, false) => "namespace",
        (true, true, true) => "cluster",
    };
    let subresource = kind.and_then(|kind| kind.subresources.iter().find(|sub| sub.name == info.subresource));
    Labels {
        verb: upper(info.verb),
        group: text(&info.group),
        version: text(&info.version),
        resource: text(&info.resource),
        subresource: text(subresource.map_or("", |sub| sub.name)),
        scope,
    }
}

fn upper(verb: &'static str) -> &'static str {
    match verb {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "OTHER",
    }
}
