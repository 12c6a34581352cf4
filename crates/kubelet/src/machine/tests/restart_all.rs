//! One exit that restarts all containers.

use serde_json::{Value, json};

use super::*;

/// An init container, an app container that asks for a restart of all when it exits with 42, and one that runs on.
fn training() -> Value {
    json!({"restartPolicy": "Never",
        "initContainers": [{"name": "prepare", "image": "i"}],
        "containers": [
            {"name": "train", "image": "i", "restartPolicy": "Never", "restartPolicyRules": [
                {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]},
            {"name": "watch", "image": "i"}]})
}

#[test]
fn one_exit_restarts_all_containers_from_the_first_on() {
    let mut sim = Sim::new(training(), &[("prepare", &[(1, 0); 3]), ("train", &[(5, 42), (5, 42), (5, 1)])]);
    sim.run(6).expect(
        "0 volumes
         0 create sandbox 0
         0 start prepare#0
         1 prepare#0 exits 0
         1 start train#0
         1 start watch#0
         6 train#0 exits 42
         6 kill watch#0 30s: Stopping container watch: all containers of the Pod are restarted
         6 start prepare#1",
    );
    assert_eq!(sim.phase(), "Running");
    assert_eq!(sim.condition("AllContainersRestarting"), "False -");
    assert_eq!(sim.condition("Initialized"), "False ContainersNotInitialized");
    // The second time it is a crash loop.
    sim.run(8).expect(
        "7 prepare#1 exits 0
         7 start train#1
         7 start watch#1
         7 remove prepare#0
         12 train#1 exits 42
         12 kill watch#1 30s: Stopping container watch: all containers of the Pod are restarted
         12 remove train#0
         12 remove watch#0",
    );
    assert_eq!(sim.condition("AllContainersRestarting"), "True RestartAllContainersStarted");
    assert_eq!(sim.state("train"), "waiting CrashLoopBackOff, restarts 1");
    sim.run(2000);
    let starts: Vec<&str> = sim.history.lines().filter(|line| line.contains("start")).collect();
    assert_eq!(starts, ["22 start prepare#2", "23 start train#2", "23 start watch#2"]);
    assert_eq!(sim.state("train"), "terminated Error 1, restarts 2");
    assert_eq!(sim.state("watch"), "running, restarts 2, ready");
}

#[test]
fn what_is_being_started_when_all_are_restarted_is_of_the_round_before() {
    let mut sim = Sim::new(training(), &[("prepare", &[(1, 0); 2]), ("train", &[(5, 42)])]);
    sim.run(5);
    sim.memory.busy.insert(Slot::Container("watch".to_owned()), Work::Other);
    sim.seen.containers.retain(|container| container.name != "watch");
    sim.history.clear();
    sim.run(2).expect("6 train#0 exits 42");
    assert_eq!(sim.condition("AllContainersRestarting"), "True RestartAllContainersStarted");
    // It has come up after all.
    sim.memory.busy.clear();
    let late = Start {
        name: "watch".to_owned(),
        sandbox: "s0".to_owned(),
        attempt: 0,
        restart_delay_s: 0,
        round: 0,
        target: None,
    };
    sim.start_container(&late);
    sim.run(5).expect(
        "7 start watch#0
         7 kill watch#0 30s: Stopping container watch: all containers of the Pod are restarted
         7 start prepare#1
         8 prepare#1 exits 0
         8 start train#1
         8 start watch#1
         8 remove prepare#0",
    );
}

#[test]
fn a_restart_of_all_runs_no_hooks_and_ends_with_the_pod() {
    let mut sim = Sim::new(training(), &[("prepare", &[(1, 0)]), ("train", &[(5, 42)])]);
    sim.run(5);
    sim.now = sim.now.checked_add(SignedDuration::from_secs(1)).unwrap();
    sim.exit_due();
    let kill = |plan: &Plan| {
        plan.actions.iter().find_map(|action| match action {
            Action::KillContainer(kill) => Some(kill.clone()),
            _ => None,
        })
    };
    assert!(!kill(&sim.plan()).unwrap().pre_stop);
    sim.delete(30);
    assert!(kill(&sim.plan()).unwrap().pre_stop);
    sim.run(5);
    assert_eq!(sim.phase(), "Failed");
    assert_eq!(sim.condition("AllContainersRestarting"), "False PodFailed");
}

#[test]
fn nobody_asks_for_a_restart_in_a_pod_that_is_ended() {
    let mut spec = training();
    let codes = json!({"operator": "NotIn", "values": [0]});
    spec["containers"][0]["restartPolicyRules"][0]["exitCodes"] = codes;
    let mut sim = Sim::new(spec, &[("prepare", &[(1, 0)])]);
    sim.run(5).delete(30);
    // It has gone with 143, which would ask; the other one takes its time.
    sim.end("train#0", 143, "");
    let status = sim.plan().status;
    let condition = |kind: &str| {
        let mut all = status.conditions.iter().flatten();
        all.find(|condition| condition.type_ == kind).map(|condition| condition.status.clone()).unwrap()
    };
    assert_eq!(condition("AllContainersRestarting"), "False");
    assert_eq!(condition("Initialized"), "True");
    assert!(status.init_container_statuses.unwrap()[0].ready);
}

#[test]
fn ephemeral_containers_are_in_no_round() {
    let mut sim = Sim::new(training(), &[("prepare", &[(1, 0); 2]), ("train", &[(5, 42)])]);
    sim.run(5);
    sim.memory.busy.insert(Slot::Container("watch".to_owned()), Work::Other);
    sim.seen.containers.retain(|container| container.name != "watch");
    let debug = json!([{"name": "debug", "image": "i"}]);
    sim.pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(debug).unwrap();
    sim.run(2);
    sim.history.clear();
    // It was started for the next round, which has not begun while something of this one is on its way.
    let debug = sim.seen.containers.iter_mut().find(|container| container.name == "debug").unwrap();
    debug.round = 1;
    assert_eq!(sim.condition("AllContainersRestarting"), "True RestartAllContainersStarted");
    sim.run(1).expect("");
}
