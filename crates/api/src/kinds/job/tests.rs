use super::JOB;
use crate::field::Error;
use crate::kinds::testing::{check, check_defaults, check_row, check_update, created, object};

const TEMPLATE: &str = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}";

fn job(fields: &str) -> String {
    format!("{{metadata: {{name: a, uid: u}}, spec: {{{TEMPLATE}, {fields}}}}}")
}

#[track_caller]
fn spec(fields: &str, want: &[&str]) {
    check(&JOB, &job(fields), want);
}

#[test]
fn its_selector_is_made() {
    let job = created(&JOB, &job("parallelism: 2"));
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], "u");
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "a");
    spec("parallelism: 2", &[]);
    spec(
        "selector: {matchLabels: {x: y}}",
        &[
            "spec.selector: Invalid value: {\"matchLabels\":{\"batch.kubernetes.io/controller-uid\":\"u\",\"x\":\"y\"}}: \
             `selector` not auto-generated",
            "spec.template.metadata.labels: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\
             \"batch.kubernetes.io/job-name\":\"a\",\"controller-uid\":\"u\",\"job-name\":\"a\"}: `selector` does not match \
             template `labels`",
        ],
    );
    spec("manualSelector: true", &["spec.selector: Required value"]);
}

#[test]
fn its_pods_end() {
    check(
        &JOB,
        "{metadata: {name: a, uid: u}, spec: {template: {spec: {containers: [{name: c, image: i}]}}}}",
        &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
}

#[test]
fn indexed_jobs() {
    spec("completionMode: Indexed, completions: 3, backoffLimitPerIndex: 1, maxFailedIndexes: 2", &[]);
    spec(
        "completionMode: Indexed, parallelism: 100001",
        &[
            "spec.completions: Required value: when completion mode is Indexed",
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
        ],
    );
    spec(
        "maxFailedIndexes: 1",
        &[
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
        ],
    );
    spec(
        "managedBy: me",
        &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
    );
}

#[test]
fn policies() {
    spec(
        "podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [2, 1]}}, {action: Ignore}, \
         {action: FailIndex, onPodConditions: [{type: a}]}]}",
        &[
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered",
            "spec.podFailurePolicy.rules[1]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            "spec.podFailurePolicy.rules[2].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
        ],
    );
    spec(
        "successPolicy: {rules: []}",
        &["spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode"],
    );
    spec(
        "completionMode: Indexed, completions: 3, successPolicy: {rules: [{succeededIndexes: '0,1', succeededCount: 3}]}",
        &[
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of \
             indexes in the specified succeededIndexes field)",
        ],
    );
}

#[test]
fn the_template_stays() {
    check_update(
        &JOB,
        &job("parallelism: 1"),
        &job("parallelism: 2, suspend: true, selector: {matchLabels: \
        {batch.kubernetes.io/controller-uid: u}}")
        .replace(
            "template: {",
            "template: {metadata: {labels: \
        {batch.kubernetes.io/controller-uid: u, controller-uid: u, job-name: a, batch.kubernetes.io/job-name: a}}, ",
        ),
        &[],
    );
    let faults =
        JOB.rules.validate_update(&created(&JOB, &job("completions: 2")), &created(&JOB, &job("completions: 1")));
    let faults: Vec<_> = faults.iter().map(Error::to_string).collect();
    assert_eq!(faults, ["spec.completions: Invalid value: 2: field is immutable"]);
}

#[test]
fn reports() {
    let status = |status: &str| {
        let old = created(&JOB, &job("completions: 1"));
        let mut new = old.clone();
        new["status"] = object(status);
        JOB.rules.validate_status(&new, &old).iter().map(Error::to_string).collect::<Vec<_>>()
    };
    assert_eq!(status("{active: 1, startTime: '2026-01-01T00:00:00Z'}"), [""; 0]);
    assert_eq!(
        status("{conditions: [{type: Complete, status: 'True'}], startTime: '2026-01-01T00:00:00Z', active: 1}"),
        [
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true \
             condition",
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
        ]
    );
}

#[test]
fn defaults_and_rows() {
    check_defaults(
        &JOB,
        "{metadata: {name: a}, spec: {template: {metadata: {labels: {a: b}}}}}",
        "{metadata: {name: a, labels: {a: b}}, spec: {completions: 1, parallelism: 1, backoffLimit: 6, \
         completionMode: NonIndexed, suspend: false, manualSelector: false, podReplacementPolicy: TerminatingOrFailed, \
         template: {metadata: {labels: {a: b}}}}}",
    );
    check_row(
        &JOB,
        "{metadata: {name: a}, spec: {completions: 3, selector: {matchLabels: {a: b}}}, status: {succeeded: 1, \
         startTime: '2026-01-01T11:59:00Z'}}",
        "a | Running | 1/3 | 60s | <unknown> |  |  | a=b",
    );
    check_row(
        &JOB,
        "{metadata: {name: a}, spec: {parallelism: 2}, status: {succeeded: 1, conditions: [{type: Complete, \
         status: 'True'}], startTime: '2026-01-01T11:59:00Z', completionTime: '2026-01-01T11:59:05Z'}}",
        "a | Complete | 1/1 of 2 | 5s | <unknown> |  |  | <none>",
    );
}
