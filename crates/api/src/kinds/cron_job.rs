//! CronJob: Jobs made by the clock.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, job, pod, read};
use crate::field::{self, Path};
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names, schedule};

const GVK: Gvk = ("batch", "v1", "CronJob");

/// `cronjobs.batch`
pub static CRON_JOB: Kind = Kind {
    group: "batch",
    version: "v1",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.batch.v1.CronJob",
    storage: "cronjobs",
    columns: &[
        cells::NAME,
        cells::text("Schedule"),
        cells::text("Timezone"),
        Column { name: "Suspend", kind: "boolean", format: "", priority: 0 },
        cells::number("Active"),
        cells::text("Last Schedule"),
        cells::AGE,
        cells::wide("Containers"),
        cells::wide("Images"),
        cells::wide("Selector"),
    ],
    rules: &CronJobRules,
};

/// Names of Jobs are those of their CronJob with eleven characters more.
const MAX_NAME: usize = 63 - 11;
/// Longest part of a time zone's name.
const MAX_ZONE_PART: usize = 14;

struct CronJobRules;

impl Rules for CronJobRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::zero(spec, "concurrencyPolicy", "Allow");
            fill::absent(spec, "suspend", false);
            fill::absent(spec, "successfulJobsHistoryLimit", 3);
            fill::absent(spec, "failedJobsHistoryLimit", 1);
            fill::at(spec, "/jobTemplate/spec/template", pod::default_template);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| spec(&object.get("spec")))
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| {
            no_zone_in_schedule(&object.get("spec").get("schedule"));
            time_zone(&object.get("spec").get("timeZone"));
            let name = object.get("metadata").get("name");
            if name.text().len() > MAX_NAME {
                name.invalid(format!("must be no more than {MAX_NAME} characters"));
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |object| {
            let (schedule, zone) = (object.get("spec").get("schedule"), object.get("spec").get("timeZone"));
            if !read::text(old, "/spec/schedule").contains("TZ") {
                no_zone_in_schedule(&schedule);
            } else if schedule.text().contains("TZ") && zone.is_set() {
                schedule.invalid("cannot use both timeZone field and TZ or CRON_TZ in schedule");
            }
            if zone.value() != &old["spec"]["timeZone"] {
                time_zone(&zone);
            }
        })
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
        let path = Path::new("spec").child("jobTemplate").child("spec");
        warnings.extend(job::template_warnings(&object["spec"]["jobTemplate"]["spec"], &path));
        if read::text(object, "/spec/schedule").contains("TZ") {
            warnings.push(
                "CRON_TZ or TZ used in spec.schedule is not officially supported, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                    .to_owned(),
            );
        }
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let suspended = match object["spec"]["suspend"].as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let last = match read::text(object, "/status/lastScheduleTime") {
            "" => "<none>".to_owned(),
            time => cells::since(time, now),
        };
        let job = &object["spec"]["jobTemplate"]["spec"];
        let [containers, images] = cells::containers_and_images(&job["template"]);
        vec![
            cells::name(object),
            read::text(object, "/spec/schedule").into(),
            cells::or_none(read::text(object, "/spec/timeZone")),
            suspended.into(),
            read::list(object, "/status/active").len().into(),
            last.into(),
            cells::age(object, now),
            containers,
            images,
            cells::selector(job, "/selector"),
        ]
    }
}

fn spec(spec: &Cursor<'_>) {
    let when = spec.get("schedule");
    if when.must() {
        when.follows(|text| schedule::faults(text).into_iter().collect());
    }
    spec.get("startingDeadlineSeconds").non_negative();
    spec.get("concurrencyPolicy").must_be_one_of(&["Allow", "Forbid", "Replace"]);
    job::template_spec(&spec.get("jobTemplate").get("spec"));
    spec.get("successfulJobsHistoryLimit").non_negative();
    spec.get("failedJobsHistoryLimit").non_negative();
}

fn no_zone_in_schedule(schedule: &Cursor<'_>) {
    if schedule.text().contains("TZ") {
        schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
}

/// The name of a time zone, as the zones' own rules have it.
fn time_zone(zone: &Cursor<'_>) {
    if !zone.is_set() {
        return;
    }
    let name = zone.text();
    if name.is_empty() {
        zone.invalid("timeZone must be nil or non-empty string");
        return;
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let part_is_good = |part: &str| {
        (1..=MAX_ZONE_PART).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.chars().all(good)
    };
    if !name.split('/').all(part_is_good) {
        zone.invalid(format!("unknown time zone {name}"));
        return;
    }
    if name.eq_ignore_ascii_case("local") {
        zone.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    } else if jiff::tz::TimeZone::get(name).is_err() {
        zone.invalid(format!("unknown time zone {name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::CRON_JOB;
    use crate::kinds::testing::{check, check_defaults, check_row};

    #[track_caller]
    fn spec(fields: &str, want: &[&str]) {
        let template =
            "jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}";
        check(&CRON_JOB, &format!("{{metadata: {{name: a}}, spec: {{{template}, {fields}}}}}"), want);
    }

    #[test]
    fn schedules_and_zones() {
        spec("schedule: '*/5 * * * *', timeZone: Etc/UTC", &[]);
        spec(
            "concurrencyPolicy: Some",
            &[
                "spec.schedule: Required value",
                "spec.concurrencyPolicy: Unsupported value: \"Some\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ],
        );
        spec(
            "schedule: '* * *'",
            &["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"],
        );
        spec(
            "schedule: 'TZ=UTC 0 * * * *', timeZone: Local",
            &[
                "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone \
             field instead",
                "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in \
             https://www.iana.org/time-zones",
            ],
        );
        spec("schedule: '@daily', timeZone: a//b", &["spec.timeZone: Invalid value: \"a//b\": unknown time zone a//b"]);
    }

    #[test]
    fn names_leave_room_for_those_of_jobs() {
        let name = "a".repeat(53);
        let template =
            "jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}";
        check(
            &CRON_JOB,
            &format!("{{metadata: {{name: {name}}}, spec: {{schedule: '@daily', {template}}}}}"),
            &[&format!("metadata.name: Invalid value: \"{name}\": must be no more than 52 characters")],
        );
    }

    #[test]
    fn defaults_and_rows() {
        check_defaults(
            &CRON_JOB,
            "{spec: {}}",
            "{spec: {concurrencyPolicy: Allow, suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1}}",
        );
        check_row(
            &CRON_JOB,
            "{metadata: {name: a}, spec: {schedule: '@daily', suspend: false, jobTemplate: {spec: {template: {spec: \
             {containers: [{name: c, image: i}]}}}}}, status: {active: [{}], lastScheduleTime: '2026-01-01T11:59:00Z'}}",
            "a | @daily | <none> | False | 1 | 60s | <unknown> | c | i | <none>",
        );
    }
}
