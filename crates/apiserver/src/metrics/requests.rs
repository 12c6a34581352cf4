//! What was asked, and how it went.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sampan_api::kind::KindRef;

use super::histogram::Histogram;
use super::text::{Form, Text};
use crate::request::RequestInfo;

/// Bounds of the duration histogram in seconds, upstream's.
const BOUNDS_S: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// More different label sets are not kept: they come from requests.
const MAX_SERIES: usize = 4096;

/// The labels of a request, without the status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Labels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

struct Series {
    by_code: BTreeMap<u16, u64>,
    seconds: Histogram,
    /// Requests without a foreseeable end that are under way.
    open: Arc<AtomicI64>,
}

/// The counters.
#[derive(Default)]
pub(crate) struct Requests {
    series: Mutex<HashMap<Labels, Series>>,
}

/// A request without a foreseeable end, while it lasts.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// Counts an answer.
    pub(crate) fn answered(&self, info: &RequestInfo, kind: Option<&KindRef>, code: u16, took: Duration) {
        self.with(Labels::of(info, kind, code), |series| {
            *series.by_code.entry(code).or_default() += 1;
            // How long a watch lasts says nothing.
            if info.verb != "watch" {
                series.seconds.observe(took.as_secs_f64());
            }
        });
    }

    /// A request without a foreseeable end has been answered, and lasts until the result is dropped.
    pub(crate) fn opened(&self, info: &RequestInfo, kind: Option<&KindRef>) -> Option<Open> {
        let open = self.with(Labels::of(info, kind, 200), |series| Arc::clone(&series.open))?;
        open.fetch_add(1, Ordering::Relaxed);
        Some(Open(open))
    }

    fn with<T>(&self, labels: Labels, what: impl FnOnce(&mut Series) -> T) -> Option<T> {
        let mut all = self.series.lock();
        let full = all.len() >= MAX_SERIES;
        match all.entry(labels) {
            Entry::Vacant(_) if full => None,
            Entry::Vacant(vacant) => Some(what(vacant.insert(Series::new()))),
            Entry::Occupied(occupied) => Some(what(occupied.into_mut())),
        }
    }

    /// Writes all of it.
    pub(super) fn write(&self, text: &mut Text) {
        let all = self.series.lock();
        let mut all: Vec<(&Labels, &Series)> = all.iter().collect();
        all.sort_by_key(|(labels, _)| **labels);
        text.family(Form::Counter, "apiserver_request_total", "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.");
        for (labels, series) in &all {
            for (code, count) in &series.by_code {
                let code = code.to_string();
                text.sample(&[&[("code", code.as_str())], labels.list().as_slice()].concat(), count);
            }
        }
        text.family(Form::Histogram, "apiserver_request_duration_seconds", "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.");
        for (labels, series) in &all {
            series.seconds.write(text, &labels.list());
        }
        text.family(Form::Gauge, "apiserver_longrunning_requests", "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.");
        for (labels, series) in &all {
            // One reference is the series' own.
            if series.open.load(Ordering::Relaxed) > 0 || labels.verb == "WATCH" {
                let list = labels.list();
                let list: Vec<_> = list.into_iter().filter(|(name, _)| *name != "dry_run").collect();
                text.sample(&list, series.open.load(Ordering::Relaxed));
            }
        }
    }
}

impl Series {
    fn new() -> Self {
        Self { by_code: BTreeMap::new(), seconds: Histogram::new(BOUNDS_S), open: Arc::default() }
    }
}

impl Labels {
    /// Names that lead nowhere are not repeated: anyone can make them up.
    fn of(info: &RequestInfo, kind: Option<&KindRef>, code: u16) -> Self {
        let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
            (false, ..) => "",
            (true, false, _) => "resource",
            (true, true, _) if info.verb == "create" => "resource",
            (true, true, false) => "namespace",
            (true, true, true) => "cluster",
        };
        let kind = kind.filter(|_| info.is_resource && code != 404);
        let subresource = kind.and_then(|kind| kind.subresources.iter().find(|sub| sub.name == info.subresource));
        let subresource = subresource.map_or("", |sub| sub.name);
        Self {
            verb: verb(info.verb, subresource),
            group: kind.map_or("", |kind| kind.group),
            version: kind.map_or("", |kind| kind.version),
            resource: kind.map_or("", |kind| kind.plural),
            subresource,
            scope,
        }
    }

    fn list(&self) -> [(&'static str, &'static str); 8] {
        [
            ("component", "apiserver"),
            ("dry_run", ""),
            ("group", self.group),
            ("resource", self.resource),
            ("scope", self.scope),
            ("subresource", self.subresource),
            ("verb", self.verb),
            ("version", self.version),
        ]
    }
}

fn verb(verb: &str, subresource: &str) -> &'static str {
    match verb {
        _ if matches!(subresource, "exec" | "attach" | "portforward" | "proxy" | "log") => "CONNECT",
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
