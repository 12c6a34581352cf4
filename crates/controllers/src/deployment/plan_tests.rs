//! The plan by tables: a Deployment, its sets as `name:replicas/available`, and what is to be done next.

use super::*;
use serde_json::{from_value, json};

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn deployment(replicas: i32, strategy: &serde_json::Value) -> Deployment {
    let mut deployment: Deployment = from_value(json!({
        "metadata": {"name": "d", "namespace": "ns", "uid": "d-uid", "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": replicas, "progressDeadlineSeconds": 600, "strategy": strategy,
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}},
                "spec": {"containers": [{"name": "c", "image": "new"}]}}}
    }))
    .unwrap();
    deployment.status = None;
    deployment
}

/// `words`: `new:3/2` is the set of the current template with 3 replicas of which 2 are available; other names are old.
fn set(position: usize, words: &str, size: i32) -> Arc<ReplicaSet> {
    let (name, counts) = words.split_once(':').unwrap();
    let (replicas, available) = counts.split_once('/').unwrap();
    let number = |text: &str| text.parse::<i32>().unwrap();
    let image = if name == "new" { "new" } else { name };
    let revision = if name == "new" { 2 } else { 1 };
    Arc::new(
        from_value(json!({
            "metadata": {"name": name, "uid": name, "generation": 1,
                "creationTimestamp": format!("2026-01-01T00:0{position}:00Z"),
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string(), DESIRED: size.to_string()}},
            "spec": {"replicas": number(replicas), "selector": {},
                "template": {"metadata": {"labels": {"app": "x", "pod-template-hash": "h"}},
                    "spec": {"containers": [{"name": "c", "image": image}]}}},
            "status": {"replicas": number(replicas), "availableReplicas": number(available),
                "readyReplicas": number(available), "observedGeneration": 1}
        }))
        .unwrap(),
    )
}

fn told(actions: &[Action]) -> String {
    let one = |action: &Action| match action {
        Action::Create(set) => format!("create={}", replicas(set)),
        Action::Scale { set, to, .. } => format!("{}={to}", set.name_any()),
        Action::Annotate { set, .. } => format!("annotate {}", set.name_any()),
        Action::AnnotateDeployment(map) => format!("revision {}", map[history::REVISION]),
        Action::Delete(set) => format!("delete {}", set.name_any()),
    };
    actions.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn check(replicas: i32, strategy: &serde_json::Value, sets: &str, want: &str) {
    check_sized(replicas, replicas, strategy, sets, want);
}

/// As [`check`], where the sets were scaled when the Deployment had `before` replicas.
fn check_sized(before: i32, replicas: i32, strategy: &serde_json::Value, sets: &str, want: &str) {
    let deployment = deployment(replicas, strategy);
    let sets: Vec<_> = sets.split_whitespace().enumerate().map(|(i, words)| set(i, words, before)).collect();
    let plan = plan(&Seen { deployment: &deployment, sets: &sets, pods: &[], now: now() });
    assert_eq!(told(&plan.actions), want);
}

fn rolling(surge: &serde_json::Value, unavailable: &serde_json::Value) -> serde_json::Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

#[test]
fn a_fresh_deployment_gets_its_set_whole() {
    check(3, &rolling(&json!("25%"), &json!("25%")), "", "create=3");
    check(0, &rolling(&json!("25%"), &json!("25%")), "", "create=0");
    check(3, &json!({"type": "Recreate"}), "", "create=3");
}

#[test]
fn an_update_surges_then_shrinks_within_the_bounds() {
    let defaults = rolling(&json!("25%"), &json!("25%"));
    check(4, &defaults, "old:4/4", "create=1");
    check(4, &defaults, "old:4/4 new:1/0", "old=3");
    check(4, &defaults, "old:3/3 new:1/0", "new=2");
    check(4, &defaults, "old:3/3 new:2/0", "");
    check(4, &defaults, "old:3/3 new:2/2", "old=1");
    check(4, &defaults, "old:0/0 new:4/4", "");
    check(1, &rolling(&json!(1), &json!(0)), "old:1/1 new:1/0", "");
    check(1, &rolling(&json!(1), &json!(0)), "old:1/1 new:1/1", "old=0");
    check(1, &rolling(&json!(0), &json!(0)), "old:1/1 new:0/0", "old=0");
}

#[test]
fn unhealthy_old_pods_go_first() {
    check(4, &rolling(&json!(1), &json!(1)), "older:2/0 old:2/2 new:1/1", "older=0");
}

#[test]
fn recreate_never_runs_both() {
    let recreate = json!({"type": "Recreate"});
    check(3, &recreate, "old:3/3", "old=0");
    check(3, &recreate, "old:0/0", "create=3");
    check(3, &recreate, "old:0/0 new:0/0", "new=3");
}

#[test]
fn a_change_of_size_is_spread() {
    let defaults = rolling(&json!("25%"), &json!("25%"));
    check_sized(3, 5, &defaults, "new:3/3", "new=5");
    check_sized(5, 0, &defaults, "new:5/5", "new=0");
    check_sized(10, 20, &rolling(&json!(2), &json!(2)), "old:8/8 new:4/4", "old=15 new=7");
}

#[test]
fn old_revisions_are_forgotten_beyond_the_limit() {
    let mut deployment = deployment(1, &rolling(&json!(1), &json!(0)));
    deployment.spec.revision_history_limit = Some(1);
    let sets: Vec<_> = ["a:0/0", "b:0/0", "c:0/0", "new:1/1"].iter().enumerate().map(|(i, s)| set(i, s, 1)).collect();
    let plan = plan(&Seen { deployment: &deployment, sets: &sets, pods: &[], now: now() });
    assert_eq!(told(&plan.actions), "delete a delete b");
}

#[test]
fn a_template_that_comes_back_gets_a_new_revision() {
    let deployment = deployment(1, &rolling(&json!(1), &json!(0)));
    let mut back = (*set(0, "new:0/0", 1)).clone();
    back.metadata.annotations.as_mut().unwrap().insert(history::REVISION.to_owned(), "1".to_owned());
    let mut old = (*set(1, "old:1/1", 1)).clone();
    old.metadata.annotations.as_mut().unwrap().insert(history::REVISION.to_owned(), "2".to_owned());
    let sets = [Arc::new(back), Arc::new(old)];
    let plan = plan(&Seen { deployment: &deployment, sets: &sets, pods: &[], now: now() });
    assert_eq!(told(&plan.actions), "annotate new revision 3");
}

#[test]
fn a_rollout_that_stands_still_is_late_by_its_deadline() {
    let mut deployment = deployment(2, &rolling(&json!(1), &json!(0)));
    let sets = [set(0, "old:2/2", 2), set(1, "new:1/0", 2)];
    let look = |deployment: &Deployment, now| {
        let plan = plan(&Seen { deployment, sets: &sets, pods: &[], now });
        let conditions = plan.status.conditions.clone().unwrap();
        let progress = conditions.iter().find(|c| c.type_.as_deref() == Some("Progressing")).unwrap().clone();
        (plan, progress)
    };
    let (first, progress) = look(&deployment, now());
    assert_eq!(progress.reason.as_deref(), Some("ReplicaSetUpdated"));
    assert_eq!(first.wake, Some(Duration::from_secs(601)));
    deployment.status = Some(first.status);
    let (_, progress) = look(&deployment, now() + jiff::SignedDuration::from_secs(601));
    assert_eq!(
        (progress.status.as_deref(), progress.reason.as_deref()),
        (Some("False"), Some("ProgressDeadlineExceeded"))
    );
    assert_eq!(progress.message.as_deref(), Some("ReplicaSet \"new\" has timed out progressing."));
}
