//! The machine against a runtime made of values: plans are carried out at once, containers end as a script says, and
//! time jumps from wake to wake. What comes out is a history that tests compare with what they want.

mod resize;
mod resource_status;
mod restart_all;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::probing::ProbeKind;
use super::*;
use crate::config::{labels, resources};
use crate::seen::{Exit, Instance, Limits, Sandbox, State};
use crate::spec;

/// How each attempt of a container goes: after so many seconds it exits with the code. Without an entry it runs on.
type Script = BTreeMap<&'static str, Vec<(i64, i32)>>;

struct Sim {
    pod: Pod,
    removed: bool,
    seen: Seen,
    memory: Memory,
    verdicts: Verdicts,
    script: Script,
    start: Timestamp,
    now: Timestamp,
    /// `<second> <what happened>` lines.
    history: String,
    /// Images that cannot be pulled, by container.
    no_image: Vec<&'static str>,
    /// Containers that end only when their grace has passed.
    stubborn: Vec<&'static str>,
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec,
    }))
    .unwrap()
}

fn machine() -> Machine {
    Machine { memory_bytes: 1 << 30, ..Machine::default() }
}

impl Sim {
    fn new(spec: Value, script: &[(&'static str, &[(i64, i32)])]) -> Self {
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        Self {
            pod: pod(spec),
            removed: false,
            seen: Seen::default(),
            memory: Memory::default(),
            verdicts: Verdicts::default(),
            script: script.iter().map(|(name, runs)| (*name, runs.to_vec())).collect(),
            start,
            now: start,
            history: String::new(),
            no_image: Vec::new(),
            stubborn: Vec::new(),
        }
    }

    fn note(&mut self, text: &str) {
        let second = self.now.duration_since(self.start).as_secs();
        let _ = writeln!(self.history, "{second} {text}");
    }

    fn plan(&self) -> Plan {
        let node = NodeFacts { ips: vec!["192.0.2.1".to_owned()], runtime: "sim".to_owned(), machine: machine() };
        plan(&View {
            pod: &self.pod,
            removed: self.removed,
            seen: &self.seen,
            memory: &self.memory,
            verdicts: &self.verdicts,
            node: &node,
            now: self.now,
        })
    }

    /// Plans and carries out until `seconds` have passed or nothing is left to happen.
    fn run(&mut self, seconds: i64) -> &mut Self {
        let end = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        for _ in 0..10_000 {
            let plan = self.plan();
            self.pod.status = Some(plan.status.clone());
            self.memory.ends_in(plan.grace_s, self.now);
            if plan.done {
                self.note("done");
                return self;
            }
            if plan.actions.is_empty() {
                let next = plan.wake.into_iter().chain(self.next_exit()).min();
                let Some(next) = next.filter(|next| *next <= end) else { break };
                self.now = next.max(self.now);
                self.exit_due();
                continue;
            }
            for action in plan.actions {
                self.carry_out(action);
            }
        }
        self.now = end;
        self.pod.status = Some(self.plan().status);
        self
    }

    fn next_exit(&self) -> Option<Timestamp> {
        self.seen.containers.iter().filter_map(|c| self.exit_of(c)).map(|(at, _)| at).min()
    }

    fn exit_of(&self, container: &Instance) -> Option<(Timestamp, i32)> {
        let State::Running { started_at } = container.state else { return None };
        let (after, code) = *self.script.get(container.name.as_str())?.get(container.attempt as usize)?;
        Some((started_at.checked_add(SignedDuration::from_secs(after)).ok()?, code))
    }

    fn exit_due(&mut self) {
        for index in 0..self.seen.containers.len() {
            let container = self.seen.containers[index].clone();
            if let Some((at, code)) = self.exit_of(&container)
                && at <= self.now
            {
                self.note(&format!("{} exits {code}", container.id));
                self.memory.busy.remove(&Slot::Instance(container.id.clone()));
                self.end(&container.id, code, "");
            }
        }
    }

    fn end(&mut self, id: &str, code: i32, reason: &str) {
        let now = self.now;
        let container = self.seen.containers.iter_mut().find(|c| c.id == id).unwrap();
        let State::Running { started_at } = container.state else { panic!("{id} does not run") };
        container.state = State::Exited(Exit {
            code,
            reason: reason.to_owned(),
            message: String::new(),
            started_at: Some(started_at),
            finished_at: now,
        });
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::SetUpVolumes => {
                self.note("volumes");
                self.memory.volumes_ready = true;
                self.memory.volumes_stale = false;
            }
            Action::Release { everything } => {
                self.note(if everything { "release all" } else { "release volumes" });
                self.memory.volumes_released = true;
                self.memory.all_released |= everything;
            }
            Action::CreateSandbox { attempt } => {
                self.note(&format!("create sandbox {attempt}"));
                let ips = vec![format!("10.0.0.{attempt}")];
                let sandbox = Sandbox { id: format!("s{attempt}"), attempt, ready: true, created_at: self.now, ips };
                self.seen.sandboxes.insert(0, sandbox);
            }
            Action::StopSandbox { id } => {
                self.note(&format!("stop sandbox {id}"));
                self.seen.sandboxes.iter_mut().filter(|s| s.id == id).for_each(|s| s.ready = false);
            }
            Action::RemoveSandbox { id } => {
                self.note(&format!("remove sandbox {id}"));
                self.seen.sandboxes.retain(|sandbox| sandbox.id != id);
            }
            Action::StartContainer(start) => self.start_container(&start),
            Action::ResizePod(limits) => {
                self.note("resize pod");
                self.memory.group = Some(limits);
            }
            Action::ResizeContainer { id, name } => {
                self.note(&format!("resize {id}"));
                let wanted = self.wanted(&name);
                self.seen.containers.iter_mut().filter(|c| c.id == id).for_each(|c| c.limits = Some(wanted));
            }
            Action::KillContainer(kill) => {
                self.note(&format!("kill {} {}s: {}", kill.id, kill.grace_s, kill.message));
                match self.stubborn.contains(&kill.name.as_str()) {
                    true => self.kill_later(&kill),
                    false => self.end(&kill.id, 143, ""),
                }
            }
            Action::RemoveContainer { id } => {
                self.note(&format!("remove {id}"));
                self.seen.containers.retain(|container| container.id != id);
            }
            Action::DeleteFromApi => {
                self.note("delete from API");
                self.removed = true;
            }
        }
    }

    fn start_container(&mut self, start: &Start) {
        let slot = Slot::Container(start.name.clone());
        if self.no_image.contains(&start.name.as_str()) {
            self.note(&format!("no image for {}", start.name));
            self.memory.fail(slot, "ErrImagePull", "not found".to_owned(), self.now);
            return;
        }
        self.memory.failures.remove(&slot);
        self.note(&format!("start {}#{}", start.name, start.attempt));
        let container = spec::container(&self.pod, &start.name).unwrap().1;
        let instance = Instance {
            limits: Some(self.wanted(&start.name)),
            user: None,
            recursive_read_only: BTreeSet::new(),
            id: format!("{}#{}", start.name, start.attempt),
            sandbox: start.sandbox.clone(),
            name: start.name.clone(),
            attempt: start.attempt,
            created_at: self.now,
            image: String::new(),
            image_id: "sha256:1".to_owned(),
            image_volumes: Vec::new(),
            hash: labels::hash(&container),
            restart_delay_s: start.restart_delay_s,
            round: start.round,
            log_path: String::new(),
            state: State::Running { started_at: self.now },
        };
        self.seen.containers.insert(0, instance);
    }

    /// The container ends as its script says, at the latest when its grace has passed.
    fn kill_later(&mut self, kill: &Kill) {
        let container = self.seen.containers.iter().find(|c| c.id == kill.id).unwrap();
        let State::Running { started_at } = container.state else { panic!("{} does not run", kill.id) };
        let after = self.now.duration_since(started_at).as_secs() + kill.grace_s;
        let name = *self.stubborn.iter().find(|name| **name == kill.name).unwrap();
        let runs = self.script.entry(name).or_default();
        runs.resize(container.attempt as usize + 1, (i64::MAX / 4, 0));
        let run = &mut runs[container.attempt as usize];
        *run = (*run).min((after, 137));
        self.memory.busy.insert(Slot::Instance(kill.id.clone()), Work::Kill { grace_s: kill.grace_s });
    }

    fn wanted(&self, name: &str) -> Limits {
        let (_, container) = spec::container(&self.pod, name).unwrap();
        Limits::of(&resources::of_container(&self.pod, &container, &machine()))
    }

    fn delete(&mut self, grace_s: i64) -> &mut Self {
        let at = self.now.checked_add(SignedDuration::from_secs(grace_s)).unwrap();
        self.pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self
    }

    fn phase(&self) -> &str {
        spec::status(&self.pod).phase.as_deref().unwrap()
    }

    fn container(&self, name: &str) -> &ContainerStatus {
        let status = spec::status(&self.pod);
        let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        all.find(|status| status.name == name).unwrap()
    }

    /// The state of a container in a few words.
    fn state(&self, name: &str) -> String {
        let status = self.container(name);
        let state = status.state.as_ref().unwrap();
        let what = match (&state.waiting, &state.running, &state.terminated) {
            (Some(waiting), ..) => format!("waiting {}", waiting.reason.as_deref().unwrap()),
            (_, Some(_), _) => "running".to_owned(),
            (_, _, Some(ended)) => format!("terminated {} {}", ended.reason.as_deref().unwrap(), ended.exit_code),
            _ => "nothing".to_owned(),
        };
        format!("{what}, restarts {}{}", status.restart_count, if status.ready { ", ready" } else { "" })
    }

    fn condition(&self, kind: &str) -> String {
        let conditions = spec::status(&self.pod).conditions.as_ref().unwrap();
        let condition = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        format!("{} {}", condition.status, condition.reason.as_deref().unwrap_or("-"))
    }

    fn expect(&mut self, want: &str) -> &mut Self {
        let lines = |text: &str| text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
        assert_eq!(lines(&self.history), lines(want));
        self.history.clear();
        self
    }
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "web", "image": "i"}]})
}

#[test]
fn a_pod_comes_to_life_step_by_step() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5).expect("0 volumes\n0 create sandbox 0\n0 start web#0");
    assert_eq!(sim.phase(), "Running");
    assert_eq!(sim.state("web"), "running, restarts 0, ready");
    assert_eq!(sim.condition("Ready"), "True -");
    assert_eq!(spec::status(&sim.pod).pod_ip.as_deref(), Some("10.0.0.0"));
    assert_eq!(sim.container("web").container_id.as_deref(), Some("sim://web#0"));
}

#[test]
fn a_crashing_container_backs_off() {
    let mut sim = Sim::new(one("Always"), &[("web", &[(1, 1); 9])]);
    sim.run(20).expect(
        "0 volumes
         0 create sandbox 0
         0 start web#0
         1 web#0 exits 1
         1 start web#1
         2 web#1 exits 1
         2 remove web#0
         12 start web#2
         13 web#2 exits 1
         13 remove web#1",
    );
    assert_eq!(sim.state("web"), "waiting CrashLoopBackOff, restarts 2");
    let waiting = sim.container("web").state.as_ref().unwrap().waiting.clone().unwrap();
    assert_eq!(waiting.message.unwrap(), "back-off 20s restarting failed container=web pod=p_ns(u)");
    assert!(sim.container("web").last_state.as_ref().unwrap().terminated.is_some());
    assert_eq!(sim.phase(), "Running");
    sim.history.clear();
    sim.run(2000);
    let starts: Vec<&str> = sim.history.lines().filter(|line| line.contains("start")).collect();
    assert_eq!(
        starts,
        [
            "33 start web#3",
            "74 start web#4",
            "155 start web#5",
            "316 start web#6",
            "617 start web#7",
            "918 start web#8",
            "1219 start web#9"
        ]
    );
}

#[test]
fn a_long_run_resets_the_back_off() {
    let mut sim = Sim::new(one("Always"), &[("web", &[(1, 1), (1, 1), (601, 1), (1, 1)])]);
    sim.run(1000);
    let starts: Vec<&str> = sim.history.lines().filter(|line| line.contains("start")).collect();
    assert_eq!(starts, ["0 start web#0", "1 start web#1", "12 start web#2", "613 start web#3", "624 start web#4"]);
}

#[test]
fn pods_that_end_keep_their_containers() {
    for (policy, code, phase, state) in [
        ("Never", 0, "Succeeded", "terminated Completed 0, restarts 0"),
        ("Never", 3, "Failed", "terminated Error 3, restarts 0"),
        ("OnFailure", 0, "Succeeded", "terminated Completed 0, restarts 0"),
    ] {
        let mut sim = Sim::new(one(policy), &[("web", &[(2, code)])]);
        let exits = format!("2 web#0 exits {code}");
        sim.run(100).expect(&format!(
            "0 volumes\n0 create sandbox 0\n0 start web#0\n{exits}\n2 stop sandbox s0\n2 release volumes"
        ));
        assert_eq!((sim.phase(), sim.state("web").as_str()), (phase, state), "{policy} {code}");
        let want = if phase == "Succeeded" { "False PodCompleted" } else { "False PodFailed" };
        assert_eq!(sim.condition("Ready"), want);
    }
}

#[test]
fn on_failure_restarts_until_success() {
    let mut sim = Sim::new(one("OnFailure"), &[("web", &[(1, 1), (1, 0)])]);
    sim.run(100);
    assert_eq!((sim.phase(), sim.state("web").as_str()), ("Succeeded", "terminated Completed 0, restarts 1"));
}

#[test]
fn init_containers_run_in_order() {
    let spec = json!({
        "initContainers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        "containers": [{"name": "web", "image": "i"}],
    });
    let mut sim = Sim::new(spec, &[("a", &[(1, 0)]), ("b", &[(1, 1), (1, 0)])]);
    sim.run(1).expect("0 volumes\n0 create sandbox 0\n0 start a#0\n1 a#0 exits 0\n1 start b#0");
    assert_eq!((sim.phase(), sim.state("web").as_str()), ("Pending", "waiting PodInitializing, restarts 0"));
    assert_eq!(sim.condition("Initialized"), "False ContainersNotInitialized");
    sim.run(10).expect("2 b#0 exits 1\n2 start b#1\n3 b#1 exits 0\n3 start web#0\n3 remove b#0");
    assert_eq!((sim.phase(), sim.condition("Initialized").as_str()), ("Running", "True -"));
    assert_eq!(sim.state("a"), "terminated Completed 0, restarts 0, ready");
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "a", "image": "i"}], "containers": [{"name": "web", "image": "i"}],
    });
    let mut sim = Sim::new(spec, &[("a", &[(1, 1)])]);
    sim.run(10);
    assert_eq!((sim.phase(), sim.state("a").as_str()), ("Failed", "terminated Error 1, restarts 0"));
}

#[test]
fn sidecars_start_first_and_stop_last() {
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always"}, {"name": "a", "image": "i"}],
        "containers": [{"name": "web", "image": "i"}],
    });
    let mut sim = Sim::new(spec, &[("a", &[(1, 0)]), ("web", &[(5, 0)])]);
    sim.run(100).expect(
        "0 volumes
         0 create sandbox 0
         0 start side#0
         0 start a#0
         1 a#0 exits 0
         1 start web#0
         6 web#0 exits 0
         6 kill side#0 30s: Stopping container side
         6 stop sandbox s0
         6 release volumes",
    );
    assert_eq!(sim.phase(), "Succeeded");
}

#[test]
fn sidecars_share_the_grace_of_an_end_that_nobody_asked_for() {
    let side = |name: &str| json!({"name": name, "image": "i", "restartPolicy": "Always"});
    let spec = json!({"initContainers": [side("one"), side("two"), side("three")],
        "containers": [{"name": "web", "image": "i"}]});
    let mut sim = Sim::new(spec, &[]);
    sim.stubborn = vec!["one", "two", "three"];
    sim.run(10);
    sim.history.clear();
    sim.memory.cut = Some(Cut { reason: "Terminated".into(), message: String::new(), grace_s: 20, disrupted: true });
    sim.run(5);
    // Whatever else happens meanwhile: a kill is not begun again.
    assert_eq!(sim.plan().actions, []);
    sim.run(100).expect(
        "10 kill web#0 20s: Stopping container web
         10 kill three#0 20s: Stopping container three
         30 three#0 exits 137
         30 kill two#0 2s: Stopping container two
         32 two#0 exits 137
         32 kill one#0 2s: Stopping container one
         34 one#0 exits 137
         34 stop sandbox s0
         34 release volumes",
    );
}

#[test]
fn what_is_left_of_the_grace_is_a_sidecars() {
    let spec = json!({"initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "web", "image": "i"}], "activeDeadlineSeconds": 10});
    let mut sim = Sim::new(spec, &[("web", &[(22, 0)])]);
    sim.stubborn = vec!["web"];
    sim.run(100);
    assert!(sim.history.contains("22 web#0 exits 0\n22 kill side#0 18s"), "{}", sim.history);
}

#[test]
fn a_sidecar_that_is_not_ready_keeps_its_pod_from_being_ready() {
    let spec = json!({
        "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always",
            "readinessProbe": {"tcpSocket": {"port": 1}}}],
        "containers": [{"name": "web", "image": "i"}],
    });
    let mut sim = Sim::new(spec, &[]);
    sim.run(5);
    assert_eq!(
        (sim.state("web").as_str(), sim.condition("Initialized").as_str()),
        ("running, restarts 0, ready", "True -")
    );
    assert_eq!(sim.condition("Ready"), "False ContainersNotReady");
    let target = Target { id: "side#0".to_owned(), name: "side".to_owned(), kind: ProbeKind::Readiness };
    sim.verdicts.set(&target, true);
    sim.run(1);
    assert_eq!(sim.condition("Ready"), "True -");
}

#[test]
fn deletion_ends_containers_then_the_object_then_the_rest() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5).history.clear();
    sim.delete(7).run(100).expect(
        "5 kill web#0 7s: Stopping container web
         5 stop sandbox s0
         5 release volumes
         5 delete from API
         5 remove web#0
         5 remove sandbox s0
         5 release all
         5 done",
    );
    assert_eq!((sim.phase(), sim.state("web").as_str()), ("Failed", "terminated Error 143, restarts 0"));
}

#[test]
fn a_pod_that_vanished_is_taken_down_without_the_api() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5).history.clear();
    sim.removed = true;
    sim.run(100).expect(
        "5 kill web#0 30s: Stopping container web
         5 stop sandbox s0
         5 release volumes
         5 remove web#0
         5 remove sandbox s0
         5 release all
         5 done",
    );
}

#[test]
fn a_shorter_grace_replaces_a_kill_under_way() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5);
    sim.delete(30);
    sim.memory.busy.insert(Slot::Instance("web#0".to_owned()), Work::Kill { grace_s: 30 });
    assert_eq!(sim.plan().actions, []);
    sim.delete(1);
    let want = Kill::of(&sim.seen.containers[0], "Stopping container web".to_owned(), 1);
    assert_eq!(sim.plan().actions, [Action::KillContainer(want)]);
}

#[test]
fn a_dead_sandbox_is_replaced_and_its_containers_are_started_anew() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5).history.clear();
    sim.seen.sandboxes[0].ready = false;
    sim.end("web#0", 137, "");
    sim.run(5).expect("5 create sandbox 1\n5 start web#1");
    assert_eq!(spec::status(&sim.pod).pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(sim.state("web"), "running, restarts 1, ready");
}

#[test]
fn a_missing_image_is_an_error_then_a_back_off() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.no_image.push("web");
    sim.run(2);
    assert_eq!((sim.phase(), sim.state("web").as_str()), ("Pending", "waiting ErrImagePull, restarts 0"));
    sim.run(5);
    assert_eq!(sim.state("web"), "waiting ImagePullBackOff, restarts 0");
    sim.history.clear();
    sim.run(80).expect("10 no image for web\n30 no image for web\n70 no image for web");
    sim.no_image.clear();
    sim.run(100);
    assert_eq!(sim.state("web"), "running, restarts 0, ready");
}

fn probed() -> Value {
    json!({"containers": [{"name": "web", "image": "i",
        "startupProbe": {"tcpSocket": {"port": 1}}, "livenessProbe": {"tcpSocket": {"port": 1}},
        "readinessProbe": {"tcpSocket": {"port": 1}}}]})
}

fn kinds(sim: &Sim) -> Vec<ProbeKind> {
    sim.plan().probes.into_iter().map(|target| target.kind).collect()
}

fn verdict(sim: &mut Sim, id: &str, kind: ProbeKind, good: bool) {
    let target = Target { id: id.to_owned(), name: "web".to_owned(), kind };
    sim.verdicts.set(&target, good);
}

#[test]
fn probes_follow_the_startup_probe() {
    let mut sim = Sim::new(probed(), &[]);
    sim.run(1);
    assert_eq!((kinds(&sim), sim.container("web").started), (vec![ProbeKind::Startup], Some(false)));
    verdict(&mut sim, "web#0", ProbeKind::Startup, true);
    sim.run(1);
    assert_eq!(kinds(&sim), [ProbeKind::Liveness, ProbeKind::Readiness]);
    assert_eq!(sim.state("web"), "running, restarts 0");
    verdict(&mut sim, "web#0", ProbeKind::Readiness, true);
    sim.run(1);
    assert_eq!(sim.state("web"), "running, restarts 0, ready");
    sim.history.clear();
    verdict(&mut sim, "web#0", ProbeKind::Liveness, false);
    sim.run(1).expect("3 kill web#0 30s: Container web failed liveness probe, will be restarted\n3 start web#1");
    assert_eq!(sim.condition("Ready"), "False ContainersNotReady");
}

#[test]
fn a_restarted_kubelet_believes_the_published_readiness() {
    let mut sim = Sim::new(probed(), &[]);
    sim.run(1);
    verdict(&mut sim, "web#0", ProbeKind::Startup, true);
    verdict(&mut sim, "web#0", ProbeKind::Readiness, true);
    sim.run(1).history.clear();
    sim.memory = Memory::default();
    sim.verdicts = Verdicts::default();
    sim.run(5).expect("2 volumes");
    assert_eq!(sim.state("web"), "running, restarts 0, ready");
}

#[test]
fn another_image_restarts_the_container() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5).history.clear();
    sim.pod.spec.as_mut().unwrap().containers[0].image = Some("j".to_owned());
    sim.run(1).expect("5 kill web#0 30s: Container web definition changed, will be restarted\n5 start web#1");
}

#[test]
fn a_deadline_fails_the_pod() {
    let mut spec = one("Never");
    spec["activeDeadlineSeconds"] = json!(20);
    let mut sim = Sim::new(spec, &[]);
    sim.run(5).history.clear();
    sim.run(100).expect("20 kill web#0 30s: Stopping container web\n20 stop sandbox s0\n20 release volumes");
    assert_eq!((sim.phase(), spec::status(&sim.pod).reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
}

fn debugged() -> Value {
    json!({"containers": [{"name": "web", "image": "i"}],
        "initContainers": [{"name": "a", "image": "i"}],
        "ephemeralContainers": [{"name": "dbg", "image": "i", "targetContainerName": "web"}]})
}

#[test]
fn an_ephemeral_container_runs_once_and_before_all_others() {
    let mut sim = Sim::new(debugged(), &[("a", &[(5, 0); 2]), ("dbg", &[(2, 3)])]);
    sim.run(20).expect(
        "0 volumes\n0 create sandbox 0\n0 start dbg#0\n0 start a#0\n2 dbg#0 exits 3\n5 a#0 exits 0\n5 start web#0",
    );
    let status = spec::status(&sim.pod).ephemeral_container_statuses.clone().unwrap();
    assert_eq!(status[0].state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 3);
    assert_eq!((sim.phase(), sim.condition("Ready").as_str()), ("Running", "True -"));
    sim.seen.sandboxes[0].ready = false;
    sim.end("web#0", 137, "");
    sim.run(20).expect("20 create sandbox 1\n20 start a#1\n25 a#1 exits 0\n25 start web#1\n25 remove a#0");
}

#[test]
fn an_ephemeral_container_sees_its_target() {
    let mut sim = Sim::new(debugged(), &[("a", &[(1, 0)])]);
    let ephemeral = sim.pod.spec.as_mut().unwrap().ephemeral_containers.take();
    sim.run(5).history.clear();
    sim.pod.spec.as_mut().unwrap().ephemeral_containers = ephemeral;
    let Action::StartContainer(start) = sim.plan().actions.remove(0) else { panic!("no start") };
    assert_eq!(start.target.as_deref(), Some("web#0"));
}

/// Policies of a container beside those of its Pod: how its exits go on.
fn check_policy(pod: &str, container: Value, exits: &[(i64, i32)], want: &str) {
    let mut web = json!({"name": "web", "image": "i"});
    web.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut sim = Sim::new(json!({"restartPolicy": pod, "containers": [web.clone()]}), &[("web", exits)]);
    sim.run(2000);
    assert_eq!(format!("{}, {}", sim.phase(), sim.container("web").restart_count), want, "{pod} {container}");
}

#[test]
fn a_containers_policy_and_rules_come_before_the_pods() {
    let rule = |operator: &str, values: Value| {
        json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": operator, "values": values}}]})
    };
    check_policy("Always", json!({"restartPolicy": "Never"}), &[(1, 1)], "Failed, 0");
    check_policy("Always", json!({"restartPolicy": "OnFailure"}), &[(1, 1), (1, 0)], "Succeeded, 1");
    check_policy("Never", json!({"restartPolicy": "OnFailure"}), &[(1, 1), (1, 0)], "Succeeded, 1");
    check_policy("Never", json!({"restartPolicy": "Always"}), &[(1, 0), (1, 0)], "Running, 2");
    check_policy("Never", rule("In", json!([42])), &[(1, 42), (1, 42), (1, 1)], "Failed, 2");
    check_policy("Always", rule("NotIn", json!([1])), &[(1, 42), (1, 0), (1, 1)], "Failed, 2");
}

#[test]
fn a_container_that_succeeded_is_not_started_in_the_next_sandbox() {
    let spec = json!({"restartPolicy": "OnFailure", "containers": [
        {"name": "web", "image": "i"}, {"name": "once", "image": "i"}]});
    let mut sim = Sim::new(spec, &[("once", &[(1, 0)])]);
    sim.run(5).history.clear();
    sim.seen.sandboxes[0].ready = false;
    sim.end("web#0", 137, "");
    sim.run(5).expect("5 create sandbox 1\n5 start web#1");
}

#[test]
fn a_refused_pod_fails_without_a_container() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.memory.rejected = Some(("OutOfcpu".to_owned(), "no".to_owned()));
    sim.run(5).expect("0 release volumes");
    let check = |sim: &Sim| {
        let status = spec::status(&sim.pod);
        assert_eq!((sim.phase(), status.reason.as_deref()), ("Failed", Some("OutOfcpu")));
        assert_eq!(status.container_statuses, None);
    };
    check(&sim);
    // Another kubelet does not know why, and says the same.
    sim.memory.rejected = None;
    sim.run(5).history.clear();
    check(&sim);
}

#[test]
fn a_pod_that_the_node_ends_gets_the_grace_that_the_node_has() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(5).history.clear();
    let (reason, message) = ("Evicted".to_owned(), "The node was low on resource: memory. ".to_owned());
    sim.memory.cut = Some(Cut { reason, message: message.clone(), grace_s: 1, disrupted: true });
    sim.run(5).expect("5 kill web#0 1s: Stopping container web\n5 stop sandbox s0\n5 release volumes");
    let status = spec::status(&sim.pod);
    assert_eq!((sim.phase(), status.reason.as_deref()), ("Failed", Some("Evicted")));
    let conditions = status.conditions.clone().unwrap_or_default();
    let disrupted = conditions.iter().find(|condition| condition.type_ == "DisruptionTarget").unwrap();
    assert_eq!(disrupted.reason.as_deref(), Some("TerminationByKubelet"));
    assert_eq!((disrupted.status.as_str(), disrupted.message.as_ref()), ("True", Some(&message)));
    // It stays ended, whatever becomes of the kubelet's memory.
    sim.memory.cut = None;
    sim.run(60).history.clear();
    assert_eq!((sim.phase(), spec::status(&sim.pod).reason.as_deref()), ("Failed", Some("Evicted")));
}

#[test]
fn containers_share_what_their_pod_may_say() {
    let said = "x".to_owned() + &"ä".repeat(2048);
    // A quarter of 12 KiB ends in the middle of a character.
    for (containers, want) in [(1, said.len()), (4, 3071)] {
        let containers: Vec<Value> = (0..containers).map(|n| json!({"name": format!("c{n}")})).collect();
        let spec = json!({"restartPolicy": "Never", "containers": containers});
        let mut sim = Sim::new(spec, &[("c0", &[(1, 1)])]);
        sim.run(5);
        let ended = sim.seen.containers.iter_mut().find_map(|container| match &mut container.state {
            State::Exited(exit) => Some(exit),
            _ => None,
        });
        ended.unwrap().message.clone_from(&said);
        let status = sim.plan().status.container_statuses.unwrap().remove(0);
        let message = status.state.unwrap().terminated.unwrap().message.unwrap();
        assert_eq!(message, said[..want]);
    }
}

#[test]
fn what_was_made_but_not_started_is_made_again() {
    let mut sim = Sim::new(one("Always"), &[]);
    sim.run(1).history.clear();
    sim.seen.containers[0].state = State::Created;
    sim.run(1).expect("1 remove web#0\n1 start web#1");
}
