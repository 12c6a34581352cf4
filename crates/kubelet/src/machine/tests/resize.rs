//! Resources that change while containers run.

use serde_json::{Value, json};

use super::*;

fn sized(cpu: &str, policy: &str) -> Value {
    json!({"containers": [{"name": "web", "image": "i", "resources": {"requests": {"cpu": cpu}},
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]}]})
}

#[test]
fn a_resize_is_in_place_or_a_restart_by_its_policy() {
    for (policy, want) in [
        ("NotRequired", "5 resize web#0"),
        ("RestartContainer", "5 kill web#0 30s: Container web resize requires restart\n5 start web#1"),
    ] {
        let mut sim = Sim::new(sized("1", policy), &[]);
        sim.run(5).history.clear();
        sim.pod.spec = pod(sized("500m", policy)).spec;
        let under_way = sim.plan().status;
        let has = |status: &k8s_openapi::api::core::v1::PodStatus| {
            let conditions = status.conditions.clone().unwrap();
            conditions.iter().any(|condition| condition.type_ == RESIZE_IN_PROGRESS && condition.status == "True")
        };
        assert!(has(&under_way));
        let web = &under_way.container_statuses.as_ref().unwrap()[0];
        let cpu = |amounts: &Option<BTreeMap<String, Quantity>>| amounts.as_ref().unwrap()["cpu"].0.clone();
        assert_eq!(cpu(&web.allocated_resources), "500m");
        assert_eq!(cpu(&web.resources.as_ref().unwrap().requests), "1");
        sim.run(1).expect(want);
        assert!(!has(spec::status(&sim.pod)), "the resize has come to its end");
    }
}

#[test]
fn who_has_processors_of_its_own_is_not_resized_for_want_of_a_quota() {
    let spec = json!({"containers": [{"name": "web", "image": "i", "resources": {"limits": {"cpu": "1"}}}]});
    let mut sim = Sim::new(spec, &[]);
    sim.run(5).history.clear();
    sim.memory.own_cpus = ["web".to_owned()].into();
    sim.seen.containers[0].limits.as_mut().unwrap().cpu_quota_us = 0;
    sim.run(1).expect("");
    // Of one that has none, the quota is missing.
    sim.memory.own_cpus.clear();
    sim.run(1).expect("6 resize web#0");
}

#[test]
fn a_resize_that_does_not_fit_is_told() {
    let mut sim = Sim::new(sized("1", "NotRequired"), &[]);
    sim.run(5);
    sim.memory.resize = Some(Pending { reason: "Deferred", message: "no".to_owned() });
    sim.run(1);
    assert_eq!(sim.condition("PodResizePending"), "True Deferred");
    sim.memory.resize = None;
    sim.run(1);
    assert!(!spec::status(&sim.pod).conditions.iter().flatten().any(|c| c.type_ == "PodResizePending"));
}

#[test]
fn an_init_container_is_resized_while_it_runs() {
    let with = |cpu: &str| {
        json!({"initContainers": [{"name": "init", "image": "i", "resources": {"requests": {"cpu": cpu}}}],
            "containers": [{"name": "web", "image": "i"}]})
    };
    let mut sim = Sim::new(with("1"), &[("init", &[(10, 0)])]);
    sim.run(5).history.clear();
    sim.pod.spec = pod(with("500m")).spec;
    sim.run(1).expect("5 resize init#0");
    sim.run(9).history.clear();
    sim.pod.spec = pod(with("1")).spec;
    sim.run(1).expect("");
}

#[test]
fn a_pod_is_resized_as_a_whole() {
    let with = |memory: &str| {
        let container = json!({"name": "web", "image": "i", "resources": {"limits": {"cpu": "1", "memory": "1Mi"}}});
        json!({"resources": {"requests": {"memory": memory}, "limits": {"memory": memory}}, "containers": [container]})
    };
    let memory = |status: &k8s_openapi::api::core::v1::PodStatus| {
        let of = |list: &Option<BTreeMap<String, Quantity>>| list.as_ref().unwrap()["memory"].0.clone();
        (of(&status.allocated_resources), of(&status.resources.as_ref().unwrap().limits))
    };
    let mut sim = Sim::new(with("8Mi"), &[]);
    sim.run(5).expect("0 volumes\n0 create sandbox 0\n0 resize pod\n0 start web#0");
    assert_eq!(memory(spec::status(&sim.pod)), ("8Mi".to_owned(), "8Mi".to_owned()));
    sim.pod.spec = pod(with("16Mi")).spec;
    let under_way = sim.plan().status;
    assert_eq!(memory(&under_way), ("16Mi".to_owned(), "8Mi".to_owned()));
    assert!(under_way.conditions.unwrap().iter().any(|condition| condition.type_ == RESIZE_IN_PROGRESS));
    sim.run(1).expect("5 resize pod");
    assert_eq!(memory(spec::status(&sim.pod)), ("16Mi".to_owned(), "16Mi".to_owned()));
    // What fails is told and tried again.
    sim.pod.spec = pod(with("4Mi")).spec;
    sim.memory.fail(Slot::Group, "ResizeError", "too much in use".to_owned(), sim.now);
    sim.run(0).expect("");
    assert_eq!(sim.condition(RESIZE_IN_PROGRESS), "True Error");
    assert_eq!(memory(spec::status(&sim.pod)), ("4Mi".to_owned(), "16Mi".to_owned()));
}
