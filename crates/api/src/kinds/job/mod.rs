//! Job: Pods that run until enough of them have succeeded.
//!
//! What its spec may say is in [`spec`], shared with [CronJob](super::CRON_JOB); how a Pod's failure counts, and when
//! some successes are enough, in [`policies`]; what its controller may report, in [`progress`].

mod indexes;
mod policies;
mod progress;
mod spec;
#[cfg(test)]
mod tests;
mod update;

pub(super) use spec::template_spec;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, pod, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, check, names};

const GVK: Gvk = ("batch", "v1", "Job");

/// `jobs.batch`
pub static JOB: Kind = Kind {
    group: "batch",
    version: "v1",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    short_names: &[],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.batch.v1.Job",
    storage: "jobs",
    columns: &[
        cells::NAME,
        cells::text("Status"),
        cells::text("Completions"),
        cells::text("Duration"),
        cells::AGE,
        cells::wide("Containers"),
        cells::wide("Images"),
        cells::wide("Selector"),
    ],
    rules: &JobRules,
};

/// Labels that the Pods of a Job carry, under their names of today and of old.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Indexed Jobs with more completions and Pods at once than these lose count of their failures.
const SOFT_LIMITS: (i64, i64) = (100_000, 10_000);

struct JobRules;

impl Rules for JobRules {
    fn default(&self, object: &mut Value) {
        let labels = object.pointer("/spec/template/metadata/labels").cloned();
        fill::at(object, "/spec", spec::default);
        fill::at(object, "/metadata", |metadata| {
            let unlabelled = read::map(metadata, "/labels").is_none_or(serde_json::Map::is_empty);
            if let Some(labels) = labels.filter(|_| unlabelled) {
                metadata["labels"] = labels;
            }
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
        if !read::flag(object, "/spec/manualSelector") {
            generate_selector(object);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |job| {
            generated_selector(job);
            let job_spec = job.get("spec");
            spec::spec(&job_spec);
            let selector = job_spec.get("selector");
            if !selector.is_set() {
                selector.required("");
                return;
            }
            validation::label_selector(&selector);
            validation::matches_template(&selector, &job_spec.get("template"));
        })
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |job| {
            let completions = read::int(object, "/spec/completions");
            if object["spec"]["completionMode"] != "Indexed" || completions == 0 {
                return;
            }
            let name = job.get("metadata").get("name");
            let last = format!("{}-{}", name.text(), completions - 1);
            if !names::label(&last).is_empty() {
                name.invalid(format!("will not able to create pod with invalid DNS label: {last}"));
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        update::faults(new, old)
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        progress::faults(new, old)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        let faults = names::label(read::text(object, "/metadata/name"));
        if !faults.is_empty() {
            warnings.push(format!(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a \
                 DNS label is recommended: [{}]",
                faults.join(" ")
            ));
        }
        warnings.extend(template_warnings(&object["spec"], &field::Path::new("spec")));
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", read::int(object, "/status/succeeded").to_string())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn unselectable(&self, field: &str) -> String {
        format!("field label {field:?} not supported for Job")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images] = cells::containers_and_images(&object["spec"]["template"]);
        vec![
            cells::name(object),
            status_word(object).into(),
            completions(object).into(),
            duration(object, now).into(),
            cells::age(object, now),
            containers,
            images,
            cells::selector(object, "/spec/selector"),
        ]
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn orphaning_warning(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
             them or set propagationPolicy=Orphan to suppress this warning",
        )
    }
}

/// The warnings about a Job's spec, in a CronJob too.
pub(super) fn template_warnings(spec: &Value, path: &field::Path) -> Vec<String> {
    let mut warnings = pod::template_warnings(&spec["template"], &path.child("template"));
    let many = read::int(spec, "/completions") > SOFT_LIMITS.0 && read::int(spec, "/parallelism") > SOFT_LIMITS.1;
    if spec["completionMode"] == "Indexed" && many {
        warnings.push(
            "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
                .to_owned(),
        );
    }
    warnings
}

/// Labels the Pods as this Job's, and selects by its uid. What was said by hand stays, and is refused if it conflicts.
fn generate_selector(job: &mut Value) {
    let (name, uid) = (read::text(job, "/metadata/name").to_owned(), read::text(job, "/metadata/uid").to_owned());
    fill::at(job, "/spec", |spec| {
        if fill::map(spec, "template").is_some() {
            fill::at(spec, "/template", |template| fill::absent(template, "metadata", json!({})));
        }
        fill::at(spec, "/template/metadata", |metadata| {
            let labels =
                NAME_LABELS.map(|label| (label, &name)).into_iter().chain(UID_LABELS.map(|label| (label, &uid)));
            if let Some(map) = fill::map(metadata, "labels") {
                labels.for_each(|(label, value)| _ = map.entry(label).or_insert(value.as_str().into()));
            }
        });
        fill::absent(spec, "selector", json!({}));
        fill::at(spec, "/selector", |selector| {
            if let Some(map) = fill::map(selector, "matchLabels") {
                map.entry(UID_LABELS[0]).or_insert(uid.into());
            }
        });
    });
}

/// A selector that was not written by hand must be just the one that is made.
fn generated_selector(job: &validation::Cursor<'_>) {
    let (spec, metadata) = (job.get("spec"), job.get("metadata"));
    let selector = spec.get("selector");
    if spec.get("manualSelector").is_true() || !selector.is_set() {
        return;
    }
    let labels = spec.get("template").get("metadata").get("labels");
    let (name, uid) = (metadata.get("name").text(), metadata.get("uid").text());
    let own = [(UID_LABELS[1], uid), (NAME_LABELS[1], name), (UID_LABELS[0], uid), (NAME_LABELS[0], name)];
    for (label, wanted) in own {
        let why = format!("must be '{wanted}'");
        match labels.value()[label].as_str() {
            Some(found) if found == wanted => {}
            Some(_) => labels.key(label).invalid_as(labels.value().clone(), why),
            None => labels.key(label).required(&why),
        }
    }
    let own: serde_json::Map<_, _> = own.iter().map(|(label, value)| ((*label).to_owned(), (*value).into())).collect();
    validation::selects(&selector, &own.into(), |selector| selector.invalid("`selector` not auto-generated"));
}

fn status_word(job: &Value) -> &'static str {
    let is = |condition: &str| read::condition_is_true(job, condition);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !read::text(job, "/metadata/deletionTimestamp").is_empty() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = read::int(job, "/status/succeeded");
    match (job["spec"]["completions"].as_i64(), read::int(job, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |field: &str| read::text(&job["status"], field).parse::<Timestamp>().ok();
    let Some(start) = time("/startTime") else { return String::new() };
    let end = time("/completionTime").unwrap_or(now);
    cells::human_duration(end.as_second() - start.as_second())
}
