use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use sampan_client::Change;
use tokio::time::Instant;

use super::{Nomination, State, Step};
use crate::testing;

/// A scheduler that hears and is asked for its steps line by line.
struct Script {
    state: State,
    now: Instant,
    pods: HashMap<String, Arc<Pod>>,
    nodes: HashMap<String, Arc<Node>>,
}

/// Lines: `node ...` and `pod ...` (new or changed), `gone pod NAME`, `gone node NAME`, `wait SECONDS`,
/// `unbound NAME` (its binding failed), `wakes SECONDS` or `wakes never`, and `steps => ...`, all steps there are now.
fn check(script: &str) {
    let mut run = Script {
        state: State::new("default-scheduler"),
        now: Instant::now(),
        pods: HashMap::new(),
        nodes: HashMap::new(),
    };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run.line(line);
    }
}

impl Script {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["node", name, ..] => {
                let new = testing::node(line.strip_prefix("node ").unwrap());
                let old = self.nodes.insert(name.to_owned(), Arc::clone(&new));
                self.state.hear_node(&Change::Applied { old, new }, self.now);
            }
            ["pod", name, ..] => {
                let new = testing::pod(line.strip_prefix("pod ").unwrap());
                let old = self.pods.insert(name.to_owned(), Arc::clone(&new));
                self.state.hear_pod(&Change::Applied { old, new }, self.now);
            }
            ["gone", "pod", name] => {
                self.state.hear_pod(&Change::Deleted(self.pods.remove(name).unwrap()), self.now);
            }
            ["gone", "node", name] => {
                self.state.hear_node(&Change::Deleted(self.nodes.remove(name).unwrap()), self.now);
            }
            ["wait", seconds] => self.now += Duration::from_secs_f64(seconds.parse().unwrap()),
            ["unbound", name] => {
                let pod = crate::PodInfo::new(Arc::clone(&self.pods[name]));
                self.state.bind_failed(&pod, self.now);
            }
            ["wakes", when] => {
                let wakes = self.state.next_wake().map(|wake| (wake - self.now).as_secs());
                assert_eq!(wakes, when.parse().ok(), "{line}");
            }
            ["steps", "=>", ..] => {
                let want = line.split_once("=>").unwrap().1.trim();
                assert_eq!(self.steps(), want, "{line}");
            }
            _ => panic!("{line}"),
        }
    }

    fn steps(&mut self) -> String {
        let mut steps = Vec::new();
        while let Some(step) = self.state.step(self.now) {
            steps.push(match step {
                Step::Bind { pod, node } => format!("{} on {node}", pod.key.name),
                Step::Gate { pod } => format!("{} gated", pod.key.name),
                Step::Refuse { pod, message, nomination } => {
                    let nomination = match nomination {
                        Nomination::Keep | Nomination::Clear => String::new(),
                        Nomination::Make(preemption) => {
                            let names: Vec<&str> = preemption.victims.iter().map(|v| v.key.name.as_str()).collect();
                            format!(" ({} leave {})", names.join(" and "), preemption.node)
                        }
                    };
                    format!("{}: {message}{nomination}", pod.key.name)
                }
            });
        }
        steps.join("; ")
    }
}

const NO_CPU: &str = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
    1 No preemption victims found for incoming pod.";
const TOO_LARGE: &str = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
    1 Preemption is not helpful for scheduling.";

#[test]
fn a_decided_pod_takes_its_room_at_once() {
    check(&format!(
        "node n1 cpu=1
         pod a cpu=1
         pod b cpu=1
         steps => a on n1; b: {NO_CPU}"
    ));
}

#[test]
fn more_important_pods_first_then_older_ones() {
    check(
        "node n1
         pod a
         pod b priority=10
         pod c
         steps => b on n1; a on n1; c on n1",
    );
}

#[test]
fn only_our_own_pods_that_live() {
    check(
        "node n1
         pod other scheduler=other
         pod ended phase=Failed
         pod leaving deleting
         steps =>",
    );
}

#[test]
fn without_nodes_it_waits_for_one() {
    check(
        "pod a
         steps => a: no nodes available to schedule pods
         node n1
         steps => a on n1",
    );
}

#[test]
fn it_starts_when_room_is_made() {
    for leaving in ["gone pod a", "pod a on=n1 cpu=1 phase=Succeeded", "node n1 cpu=2"] {
        check(&format!(
            "node n1 cpu=1
             pod a on=n1 cpu=1
             pod b cpu=1
             steps => b: {NO_CPU}
             {leaving}
             steps => b on n1"
        ));
    }
}

#[test]
fn a_pod_too_large_for_the_node_waits_for_a_larger_one() {
    check(&format!(
        "node n1 cpu=1
         pod b cpu=2
         steps => b: {TOO_LARGE}
         node n1 cpu=1 label.new=label
         steps =>
         node n1 cpu=2
         steps => b on n1"
    ));
}

#[test]
fn it_starts_when_the_node_becomes_acceptable() {
    for (before, reason) in [
        ("label.disk=ssd taint=k:v:NoSchedule", "node(s) had untolerated taint(s)"),
        ("label.disk=ssd cordoned", "node(s) were unschedulable"),
        ("label.disk=hdd", "node(s) didn't match Pod's node affinity/selector"),
    ] {
        check(&format!(
            "node n1 {before}
             pod b select.disk=ssd
             steps => b: 0/1 nodes are available: 1 {reason}. preemption: \
                0/1 nodes are available: 1 Preemption is not helpful for scheduling.
             node n1 {before} label.some=label
             steps =>
             node n1 label.disk=ssd
             steps => b on n1"
        ));
    }
}

#[test]
fn what_cannot_help_wakes_nobody() {
    check(&format!(
        "node n1 cpu=1
         pod a on=n1 cpu=1
         pod b cpu=1
         steps => b: {NO_CPU}
         pod a on=n1 cpu=1 label.new=label
         node n1 cpu=1 memory=5Gi
         pod c on=n1
         steps =>"
    ));
}

#[test]
fn nothing_polls() {
    check(&format!(
        "wakes never
         node n1 cpu=1
         pod a cpu=1
         steps => a on n1
         wakes never
         pod b cpu=1
         steps => b: {NO_CPU}
         wakes 300
         wait 300
         steps => b: {NO_CPU}
         gone pod b
         wakes never"
    ));
}

#[test]
fn a_failed_binding_frees_the_room_and_backs_off() {
    check(&format!(
        "node n1 cpu=1
         pod a cpu=1
         steps => a on n1
         pod b cpu=1
         steps => b: {NO_CPU}
         unbound a
         steps => b on n1
         wakes 1
         wait 1
         steps => a: {NO_CPU}
         pod b cpu=1 on=n1
         gone pod b
         steps => a on n1
         unbound a
         wakes 4
         wait 3
         steps =>
         wait 1
         steps => a on n1"
    ));
}

#[test]
fn the_news_of_its_binding_changes_nothing() {
    check(
        "node n1 cpu=2
         pod a cpu=1
         steps => a on n1
         pod a cpu=1 label.late=news
         pod a cpu=1 on=n1
         pod b cpu=1
         steps => b on n1",
    );
}

#[test]
fn a_node_that_comes_after_its_pods() {
    check(&format!(
        "pod a on=n1 cpu=1
         node n1 cpu=1
         pod b cpu=1
         steps => b: {NO_CPU}
         gone node n1
         node n1 cpu=2
         steps => b on n1"
    ));
}

#[test]
fn a_pod_of_the_same_name_is_another_pod() {
    check(&format!(
        "node n1 cpu=1
         pod a cpu=1 on=n1
         pod b cpu=1
         steps => b: {NO_CPU}
         pod a cpu=1 on=n1 uid=another
         steps => b: {NO_CPU}
         pod a uid=third gate=wait
         steps => a gated; b on n1"
    ));
}

#[test]
fn gates() {
    check(
        "node n1
         pod a gate=wait
         steps => a gated
         pod a gate=wait label.still=gated
         steps =>
         pod a
         steps => a on n1",
    );
}

#[test]
fn a_more_important_pod_pushes_the_least_important_away() {
    check(&format!(
        "node n1 cpu=3
         pod a on=n1 cpu=1 priority=1
         pod b on=n1 cpu=1 priority=2
         pod c on=n1 cpu=1 priority=9
         pod x cpu=1 priority=5
         steps => x: 0/1 nodes are available: 1 Insufficient cpu. (a leave n1)
         pod x cpu=1 priority=5 nominated=n1
         pod late cpu=1 priority=1
         steps => late: {NO_CPU}
         pod a on=n1 cpu=1 priority=1 deleting
         steps =>
         gone pod a
         steps => x on n1; late: {NO_CPU}"
    ));
}

#[test]
fn preemption_chooses_the_node_where_least_is_lost() {
    check(
        "node n1 cpu=2
         node n2 cpu=2
         pod a on=n1 cpu=2 priority=3
         pod b on=n2 cpu=1 priority=2
         pod c on=n2 cpu=1 priority=2
         pod x cpu=2 priority=5
         steps => x: 0/2 nodes are available: 2 Insufficient cpu. (b and c leave n2)",
    );
}

#[test]
fn who_must_not_push() {
    check(
        "node n1 cpu=1
         pod a on=n1 cpu=1
         pod x cpu=1 priority=5 spec={\"preemptionPolicy\":\"Never\"}
         steps => x: 0/1 nodes are available: 1 Insufficient cpu. preemption: \
            not eligible due to preemptionPolicy=Never.",
    );
}

#[test]
fn a_node_that_declares_more_helps_who_needs_it() {
    let rule = r#"{"name":"c","restartPolicyRules":[{"action":"RestartAllContainers"}]}"#;
    let refused = "0/1 nodes are available: 1 node(s) didn't match Pod's required features. preemption: 0/1 nodes are \
        available: 1 Preemption is not helpful for scheduling.";
    check(&format!(
        "node n1
         pod a spec={{\"containers\":[{rule}]}}
         steps => a: {refused}
         wait 1
         node n1 label.x=y
         steps =>
         node n1 label.x=y feature=ExtendWebSocketsToKubelet
         steps =>
         node n1 label.x=y feature=ExtendWebSocketsToKubelet feature=RestartAllContainersOnContainerExits
         steps => a on n1"
    ));
}
