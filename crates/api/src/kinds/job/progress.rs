//! What a Job's controller may report. A report that was wrong before may stay so; what changes must be right.

use std::collections::HashSet;

use serde_json::Value;

use super::indexes;
use crate::field::Error;
use crate::kinds::read;
use crate::validation::{Cursor, check};

/// Conditions that end a Job, and stay.
const TERMINAL: &[&str] = &["Failed", "Complete", "FailureTarget"];

/// Pairs of conditions that cannot both be true.
const EXCLUSIVE: &[(&str, &str, &str)] = &[
    ("Complete", "Failed", "cannot set Complete=True and Failed=true conditions"),
    ("Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions"),
    ("SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
    ("SuccessCriteriaMet", "FailureTarget", "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
];

/// Conditions that only come after another.
const REQUIRED: &[(&str, &str, &str)] = &[
    ("Failed", "FailureTarget", "cannot set Failed=True condition without the FailureTarget=true condition"),
    (
        "Complete",
        "SuccessCriteriaMet",
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    ),
];

/// The faults of a change of status.
pub(super) fn faults(new: &Value, old: &Value) -> Vec<Error> {
    let known = check(old, report);
    let mut faults = check(new, report);
    faults.retain(|fault| !known.contains(fault));
    faults.extend(check(new, |job| stays(&job.get("status"), job, old)));
    faults
}

fn report(job: &Cursor<'_>) {
    let status = job.get("status");
    for count in ["active", "succeeded", "failed", "ready", "terminating"] {
        status.get(count).non_negative();
    }
    uncounted(&status.get("uncountedTerminatedPods"));
    conditions(&status, job.value());
    times(&status, job.value());
    if is(job.value(), "Complete") || is(job.value(), "Failed") {
        finished(&status);
    }
    completed_indexes(&status, job.value());
    let ready = status.get("ready");
    if ready.int().unwrap_or_default() > status.get("active").int().unwrap_or_default() {
        ready.invalid("cannot set more ready pods than active");
    }
}

fn is(job: &Value, condition: &str) -> bool {
    read::condition_is_true(job, condition)
}

fn uncounted(pods: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for list in ["succeeded", "failed"] {
        for pod in pods.get(list).items() {
            if pod.text().is_empty() {
                pod.invalid("must not be empty");
            } else if !taken.insert(pod.text()) {
                pod.duplicate();
            }
        }
    }
}

fn conditions(status: &Cursor<'_>, job: &Value) {
    let conditions = status.get("conditions");
    for (_, _, why) in EXCLUSIVE.iter().filter(|(a, b, _)| is(job, a) && is(job, b)) {
        conditions.wrong(why);
    }
    for (_, _, why) in REQUIRED.iter().filter(|(then, first, _)| is(job, then) && !is(job, first)) {
        conditions.wrong(why);
    }
}

fn times(status: &Cursor<'_>, job: &Value) {
    let (start, end) = (status.get("startTime"), status.get("completionTime"));
    let complete = is(job, "Complete");
    match (end.is_set(), complete) {
        (true, false) => end.invalid("cannot set completionTime when there is no Complete=True condition"),
        (false, true) => end.required("completionTime is required for Complete jobs"),
        _ => {}
    }
    let time = |field: &Cursor<'_>| field.text().parse::<jiff::Timestamp>().ok();
    if let (Some(from), Some(to)) = (time(&start), time(&end))
        && to < from
    {
        end.invalid("completionTime cannot be set before startTime");
    }
}

/// Nothing of a finished Job runs or is left to be counted.
fn finished(status: &Cursor<'_>) {
    for (count, why) in [
        ("active", "active>0 is invalid for finished job"),
        ("terminating", "terminating>0 is invalid for finished job"),
    ] {
        if status.get(count).int().unwrap_or_default() > 0 {
            status.get(count).invalid(why);
        }
    }
    if !status.get("startTime").is_set() {
        status.get("startTime").required("startTime is required for finished job");
    }
    let uncounted = status.get("uncountedTerminatedPods");
    if ["succeeded", "failed"].iter().any(|list| !uncounted.get(list).is_empty()) {
        uncounted.invalid("uncountedTerminatedPods needs to be empty for finished job");
    }
}

fn completed_indexes(status: &Cursor<'_>, job: &Value) {
    let (completed, failed) = (status.get("completedIndexes"), status.get("failedIndexes"));
    let spec = &job["spec"];
    if let Some(completions) = spec["completions"].as_i64() {
        for (field, name) in [(&completed, "completedIndexes"), (&failed, "failedIndexes")] {
            if let Err(why) = indexes::count(field.text(), completions) {
                field.invalid(format!("error parsing {name}: {why}"));
            }
        }
        if let Some(index) = indexes::overlap(completed.text(), failed.text(), completions) {
            failed.invalid(format!("failedIndexes and completedIndexes overlap at index: {index}"));
        }
    }
    if !completed.is_empty() && spec["completionMode"] != "Indexed" {
        completed.invalid("cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if failed.is_set() && spec["backoffLimitPerIndex"].is_null() {
        failed.invalid("cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
}

/// What has been reached stays.
fn stays(status: &Cursor<'_>, job: &Cursor<'_>, old: &Value) {
    let conditions = status.get("conditions");
    for condition in TERMINAL.iter().filter(|condition| is(old, condition) && !is(job.value(), condition)) {
        conditions.wrong(&format!("cannot disable the terminal {condition}=True condition"));
    }
    for counter in ["failed", "succeeded"] {
        let number = status.get(counter).int().unwrap_or_default();
        if number < old["status"][counter].as_i64().unwrap_or_default() {
            status.get(counter).invalid_as(number, format!("cannot decrease the {counter} counter"));
        }
    }
    let (start, end) = (status.get("startTime"), status.get("completionTime"));
    let ended = &old["status"]["completionTime"];
    if end.is_set() && !ended.is_null() && end.value() != ended {
        end.invalid("completionTime cannot be mutated");
    }
    let began = &old["status"]["startTime"];
    if !began.is_null() && start.value() != began && !job.get("spec").get("suspend").is_true() {
        start.required("startTime cannot be removed for unsuspended job");
    }
    let met = |job: &Value| is(job, "SuccessCriteriaMet");
    if met(old) && !met(job.value()) {
        conditions.wrong("cannot disable the SuccessCriteriaMet=True condition");
    }
    if is(old, "Complete") && !met(old) && met(job.value()) {
        conditions.wrong("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }
}
