//! `/healthz`, `/livez`, `/readyz`: whether the server lives and can serve, check by check.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use sampan_api::status::Status;

use crate::request::Query;

/// What the checks look at.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<State>);

#[derive(Default)]
struct State {
    ready: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    /// The start is over: everything that must exist exists.
    pub(crate) fn ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// The server is about to stop.
    pub(crate) fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    fn checks(&self, endpoint: &str) -> Vec<(&'static str, bool)> {
        let mut checks =
            vec![("ping", true), ("etcd", true), ("poststarthook/bootstrap", self.0.ready.load(Ordering::Acquire))];
        if endpoint == "readyz" {
            checks.push(("shutdown", !self.0.stopping.load(Ordering::Acquire)));
        }
        checks
    }

    /// Answers `/{endpoint}` and `/{endpoint}/{check}`.
    pub(crate) fn answer(&self, path: &str, query: &Query) -> Result<Response<Body>, Status> {
        let path = path.trim_start_matches('/');
        let (endpoint, one) = path.split_once('/').unwrap_or((path, ""));
        let mut checks = self.checks(endpoint);
        if !one.is_empty() {
            checks.retain(|(name, _)| *name == one);
            if checks.is_empty() {
                return Err(Status::no_such_path());
            }
        }
        let excluded: BTreeSet<&str> = query.all("exclude").collect();
        let mut report = String::new();
        let mut passed = true;
        for (name, ok) in checks {
            let excluded = excluded.contains(name);
            let (sign, word) = match (ok, excluded) {
                (_, true) => ('+', "excluded: ok"),
                (true, false) => ('+', "ok"),
                (false, false) => ('-', "failed: reason withheld"),
            };
            passed &= ok || excluded;
            let _ = writeln!(report, "[{sign}]{name} {word}");
        }
        let verdict = if passed { "passed" } else { "failed" };
        let _ = writeln!(report, "{endpoint} check {verdict}");
        let verbose = query.flag("verbose") || !passed;
        Ok(reply(passed, if verbose { report } else { "ok".to_owned() }))
    }
}

fn reply(passed: bool, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    if !passed {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
