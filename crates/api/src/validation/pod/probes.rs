//! Probes and lifecycle hooks.

use super::ports::number_or_name;
use crate::validation::cursor::Cursor;
use crate::validation::names;

/// All probes and hooks of a container.
pub(super) fn lifecycle_and_probes(container: &Cursor<'_>, grace_seconds: i64) {
    for hook in ["postStart", "preStop"] {
        let hook = container.get("lifecycle").get(hook);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace_seconds);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(name);
        if probe.is_set() {
            any_probe(&probe, grace_seconds);
            special(&probe, name);
        }
    }
}

/// Only readiness can come and go: the other probes end something, and one success is enough for them.
fn special(probe: &Cursor<'_>, name: &str) {
    let grace = probe.get("terminationGracePeriodSeconds");
    let successes = probe.get("successThreshold");
    if name == "readinessProbe" {
        if grace.is_set() {
            grace.invalid("must not be set for readinessProbes");
        }
    } else if successes.int() != Some(1) {
        successes.invalid_as(successes.int().unwrap_or_default(), "must be 1");
    }
}

fn any_probe(probe: &Cursor<'_>, grace_seconds: i64) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace_seconds);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        probe.get(field).non_negative();
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        grace.invalid("must be greater than 0");
    }
}

/// Exactly one of the `kinds` of handler.
fn handler(handler: &Cursor<'_>, kinds: &[&str], grace_seconds: i64) {
    let mut found = kinds.iter().map(|kind| (*kind, handler.get(kind))).filter(|(_, action)| action.is_set());
    match found.next() {
        Some((kind, action)) => self::action(kind, &action, grace_seconds),
        None => handler.required("must specify a handler type"),
    }
    for (_, more) in found {
        more.forbidden("may not specify more than 1 handler type");
    }
}

fn action(kind: &str, action: &Cursor<'_>, grace_seconds: i64) {
    match kind {
        "exec" => {
            action.get("command").must();
        }
        "httpGet" => http_get(action),
        "sleep" => {
            let seconds = action.get("seconds").int().unwrap_or_default();
            if !(1..=grace_seconds).contains(&seconds) {
                let limits = "must be greater than 0 and less than terminationGracePeriodSeconds";
                action.invalid_as(seconds, format!("{limits} ({grace_seconds})"));
            }
        }
        _ => number_or_name(&action.get("port")),
    }
}

fn http_get(action: &Cursor<'_>) {
    action.get("path").must();
    number_or_name(&action.get("port"));
    if !matches!(action.get("scheme").text(), "HTTP" | "HTTPS") {
        action.get("scheme").not_supported(&["HTTP", "HTTPS"]);
    }
    let headers = action.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").text();
        for fault in names::http_header(name) {
            headers.invalid_as(name, fault);
        }
    }
}
