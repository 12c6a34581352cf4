//! What a Job's spec may say.

use serde_json::{Value, json};

use super::policies;
use crate::kinds::{fill, pod};
use crate::validation::{self, Cursor};

const MAX_MANAGED_BY_BYTES: usize = 63;
/// How many Pods of an Indexed Job may run at once, and how many of its indexes may fail.
const MAX_PARALLELISM: i64 = 100_000;
const MAX_FAILED_INDEXES: i64 = 100_000;
/// Above so many completions, both may be less, when the failures of each index are counted.
const MANY_COMPLETIONS: i64 = 100_000;
const MAX_WITH_MANY: i64 = 10_000;
/// How often the Pods of a Job may fail, unless said otherwise.
const BACKOFF_LIMIT: i64 = 6;

/// Fills a Job's spec; that of a CronJob is only filled when its Jobs are made.
pub(super) fn default(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        fill::absent(spec, "completions", 1);
    }
    fill::absent(spec, "parallelism", 1);
    let by_index = !spec["backoffLimitPerIndex"].is_null();
    fill::absent(spec, "backoffLimit", if by_index { i64::from(i32::MAX) } else { BACKOFF_LIMIT });
    fill::absent(spec, "completionMode", "NonIndexed");
    fill::absent(spec, "suspend", false);
    fill::absent(spec, "manualSelector", false);
    let failure_policy = spec["podFailurePolicy"].is_object();
    fill::absent(spec, "podReplacementPolicy", if failure_policy { "Failed" } else { "TerminatingOrFailed" });
    fill::each(spec, "/podFailurePolicy/rules", |rule| {
        fill::each(rule, "/onPodConditions", |condition| fill::zero(condition, "status", "True"));
    });
    fill::absent(spec, "template", json!({}));
    fill::at(spec, "/template", pod::default_template);
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
}

/// A Job's spec inside a CronJob: its selector will be made.
pub(in crate::kinds) fn template_spec(job: &Cursor<'_>) {
    spec(job);
    let (selector, manual) = (job.get("selector"), job.get("manualSelector"));
    if selector.is_set() {
        selector.invalid("`selector` will be auto-generated");
    }
    if manual.is_true() {
        manual.not_supported(&["nil", "false"]);
    }
}

/// A Job's spec but for its selector.
pub(super) fn spec(spec: &Cursor<'_>) {
    for count in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.get(count).non_negative();
    }
    if spec.get("maxFailedIndexes").is_set() && !spec.get("backoffLimitPerIndex").is_set() {
        spec.get("backoffLimitPerIndex").required("when maxFailedIndexes is specified");
    }
    managed_by(&spec.get("managedBy"));
    let mode = spec.get("completionMode");
    mode.may_be_one_of(&["NonIndexed", "Indexed"]);
    match mode.text() {
        "Indexed" => indexed(spec),
        "" | "NonIndexed" => not_indexed(spec),
        _ => {}
    }
    policies::failure(spec);
    policies::success(spec);
    replacement(spec);
    validation::pod_template(&spec.get("template"));
    restart_policy(spec);
}

fn managed_by(manager: &Cursor<'_>) {
    if !manager.is_set() {
        return;
    }
    if manager.must() {
        validation::domain_prefixed_path(manager);
    }
    if manager.text().len() > MAX_MANAGED_BY_BYTES {
        manager.too_long(MAX_MANAGED_BY_BYTES);
    }
}

fn indexed(spec: &Cursor<'_>) {
    let [completions, parallelism, failed] =
        ["completions", "parallelism", "maxFailedIndexes"].map(|field| spec.get(field));
    let above = |field: &Cursor<'_>, limit: i64| field.int().is_some_and(|number| number > limit);
    if !completions.is_set() {
        completions.required("when completion mode is Indexed");
    }
    if above(&parallelism, MAX_PARALLELISM) {
        let why = format!("must be less than or equal to {MAX_PARALLELISM} when completion mode is Indexed");
        parallelism.invalid(why);
    }
    if completions.int().is_some_and(|completions| above(&failed, completions)) {
        failed.invalid("must be less than or equal to completions");
    }
    if above(&failed, MAX_FAILED_INDEXES) {
        failed.invalid(format!("must be less than or equal to {MAX_FAILED_INDEXES}"));
    }
    if !above(&completions, MANY_COMPLETIONS) || !spec.get("backoffLimitPerIndex").is_set() {
        return;
    }
    if !failed.is_set() {
        failed.required(&format!("must be specified when completions is above {MANY_COMPLETIONS}"));
    }
    for field in [parallelism, failed].iter().filter(|field| above(field, MAX_WITH_MANY)) {
        field.invalid(format!(
            "must be less than or equal to {MAX_WITH_MANY} when completions are above {MANY_COMPLETIONS} and used with \
             backoff limit per index"
        ));
    }
}

fn not_indexed(spec: &Cursor<'_>) {
    for field in ["backoffLimitPerIndex", "maxFailedIndexes"].map(|field| spec.get(field)) {
        if field.is_set() {
            field.invalid("requires indexed completion mode");
        }
    }
}

/// With a policy about failures, a Pod is only replaced once it is known to have failed.
fn replacement(spec: &Cursor<'_>) {
    let policies: &[&str] =
        if spec.get("podFailurePolicy").is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    spec.get("podReplacementPolicy").may_be_one_of(policies);
}

fn restart_policy(spec: &Cursor<'_>) {
    let policy = spec.get("template").get("spec").get("restartPolicy");
    match policy.text() {
        "" | "Always" => policy.required("valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.get("podFailurePolicy").is_set() => {
            policy.invalid("only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        _ => policy.not_supported(&["OnFailure", "Never"]),
    }
}
