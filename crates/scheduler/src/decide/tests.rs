use std::sync::Arc;

use super::{Turn, nodes_to_find, schedule};
use crate::cluster::Cluster;
use crate::explain;
use crate::pod::PodInfo;
use crate::testing;

/// `node` and `pod` lines build a cluster; `try POD => RESULT` decides, where the result is a node or the message.
fn check(script: &str) {
    let mut cluster = Cluster::default();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(' ').unwrap() {
            ("node", text) => _ = cluster.set_node(testing::node(text)),
            ("pod", text) => {
                let pod = PodInfo::new(testing::pod(text));
                cluster.add_pod(&pod.node.clone(), Arc::new(pod));
            }
            ("try", text) => {
                let (pod, want) = text.split_once("=>").unwrap();
                let got = match schedule(&PodInfo::new(testing::pod(pod)), &cluster, Turn::default()) {
                    Ok(placement) => placement.node.to_string(),
                    Err(verdicts) => explain::message(&verdicts),
                };
                assert_eq!(got, want.trim(), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn no_nodes() {
    check("try x => no nodes available to schedule pods");
}

#[test]
fn resources_must_be_free() {
    check(
        "node n1 cpu=2 memory=1Gi pods=2 ephemeral-storage=1Gi gpu.example/card=1
         try x cpu=2 memory=1Gi => n1
         try x cpu=2001m => 0/1 nodes are available: 1 Insufficient cpu.
         try x cpu=3 memory=2Gi => 0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.
         try x ephemeral-storage=2Gi => 0/1 nodes are available: 1 Insufficient ephemeral-storage.
         try x gpu.example/card=2 => 0/1 nodes are available: 1 Insufficient gpu.example/card.
         try x other.example/card=1 => 0/1 nodes are available: 1 Insufficient other.example/card.
         pod a on=n1 cpu=1
         try x cpu=1500m => 0/1 nodes are available: 1 Insufficient cpu.
         try x cpu=1 => n1
         pod b on=n1
         try x => 0/1 nodes are available: 1 Too many pods.",
    );
}

#[test]
fn reasons_are_counted_and_sorted() {
    check(
        "node n1 cpu=1
         node n2 cpu=1
         node n3 cordoned
         node n4 taint=dedicated:db:NoSchedule
         node n5 taint=dedicated:db:NoExecute
         try x cpu=2 => 0/5 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu, \
            2 node(s) had untolerated taint(s).",
    );
}

#[test]
fn node_name() {
    check(
        "node n1
         node n2
         try x on=n2 => n2
         try x on=n3 => 0/2 nodes are available: 2 node(s) didn't match the requested node name.
         node n1 cordoned
         try x on=n3 => 0/2 nodes are available: 2 node(s) didn't match the requested node name.",
    );
}

#[test]
fn cordoned_nodes() {
    check(
        "node n1 cordoned
         try x => 0/1 nodes are available: 1 node(s) were unschedulable.
         try x tolerate=node.kubernetes.io/unschedulable => n1",
    );
}

#[test]
fn taints() {
    check(
        "node n1 taint=k:v:NoSchedule
         try x => 0/1 nodes are available: 1 node(s) had untolerated taint(s).
         try x tolerate=k => n1
         try x tolerate= => n1
         try x tolerate=k:v => n1
         try x tolerate=k:v:NoSchedule => n1
         try x tolerate=k:other => 0/1 nodes are available: 1 node(s) had untolerated taint(s).
         try x tolerate=k:v:NoExecute => 0/1 nodes are available: 1 node(s) had untolerated taint(s).
         node n2 taint=k:v:PreferNoSchedule
         try x => n2
         node n3
         try x => n3
         try x tolerate=k:v:PreferNoSchedule select.kubernetes.io/hostname=n2 => n2",
    );
}

const NO_MATCH: &str = "node(s) didn't match Pod's node affinity/selector";

#[test]
fn node_selector() {
    check(&format!(
        "node n1 label.disk=ssd
         node n2 label.disk=hdd label.cores=8
         try x select.disk=hdd => n2
         try x select.disk=tape => 0/2 nodes are available: 2 {NO_MATCH}."
    ));
}

#[test]
fn required_node_affinity() {
    let try_terms = |terms: &str, want: &str| {
        let required =
            format!("{{\"requiredDuringSchedulingIgnoredDuringExecution\":{{\"nodeSelectorTerms\":{terms}}}}}");
        check(&format!(
            "node n1 label.disk=ssd label.cores=4
             node n2 label.disk=hdd label.cores=8
             try x spec={{\"affinity\":{{\"nodeAffinity\":{required}}}}} => {want}"
        ));
    };
    let none = format!("0/2 nodes are available: 2 {NO_MATCH}.");
    try_terms(r#"[{"matchExpressions":[{"key":"disk","operator":"In","values":["hdd","tape"]}]}]"#, "n2");
    try_terms(r#"[{"matchExpressions":[{"key":"disk","operator":"NotIn","values":["hdd"]}]}]"#, "n1");
    try_terms(r#"[{"matchExpressions":[{"key":"cores","operator":"Gt","values":["4"]}]}]"#, "n2");
    try_terms(r#"[{"matchExpressions":[{"key":"cores","operator":"Lt","values":["8"]}]}]"#, "n1");
    try_terms(r#"[{"matchExpressions":[{"key":"none","operator":"Exists"}]}]"#, &none);
    try_terms(
        r#"[{"matchExpressions":[{"key":"none","operator":"Exists"}]},{"matchExpressions":[{"key":"cores","operator":"In","values":["8"]}]}]"#,
        "n2",
    );
    try_terms("[{}]", &none);
    try_terms(r#"[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]}]}]"#, "n2");
    try_terms(
        r#"[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n3"]}]}]"#,
        "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    );
}

#[test]
fn a_pod_that_names_its_node_says_what_that_node_lacks() {
    let terms = r#"[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]}]}]"#;
    let required = format!("{{\"requiredDuringSchedulingIgnoredDuringExecution\":{{\"nodeSelectorTerms\":{terms}}}}}");
    check(&format!(
        "node n1
         node n2 cpu=1
         try x cpu=2 spec={{\"affinity\":{{\"nodeAffinity\":{required}}}}} => 0/2 nodes are available: \
            1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    ));
}

#[test]
fn preferred_node_affinity() {
    let wish = r#"{"weight":10,"preference":{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]}]}}"#;
    let preferred = format!("{{\"preferredDuringSchedulingIgnoredDuringExecution\":[{wish}]}}");
    check(&format!(
        "node n1
         node n2 label.disk=ssd
         node n3
         try x spec={{\"affinity\":{{\"nodeAffinity\":{preferred}}}}} => n2"
    ));
}

#[test]
fn host_ports() {
    let taken = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    check(&format!(
        "node n1
         pod a on=n1 port=10.0.0.1:80
         try x port=80 => {taken}
         try x port=10.0.0.1:80 => {taken}
         try x port=10.0.0.2:80 => n1
         try x port=80/UDP => n1
         try x port=81 => n1
         pod b on=n1 port=81
         try x port=10.0.0.2:81 => {taken}"
    ));
}

#[test]
fn features_that_a_node_must_declare() {
    let container = r#"{"name":"c","restartPolicyRules":[{"action":"RestartAllContainers"}]}"#;
    let plain = r#"{"name":"c","restartPolicyRules":[{"action":"Restart"}]}"#;
    let all = format!(r#"spec={{"containers":[{plain},{container}]}}"#);
    let init = format!(r#"spec={{"containers":[{plain}],"initContainers":[{container}]}}"#);
    let users = |host_network, host_users| format!(r#"spec={{"hostNetwork":{host_network},"hostUsers":{host_users}}}"#);
    let both = format!(r#"spec={{"containers":[{container}],"hostNetwork":true,"hostUsers":false}}"#);
    let none = "0/2 nodes are available: 2 node(s) didn't match Pod's required features.";
    check(&format!(
        "node n1 feature=ExtendWebSocketsToKubelet
         node n2 feature=RestartAllContainersOnContainerExits
         try x spec={{\"containers\":[{plain}]}} => n1
         try x {all} => n2
         try x {init} => n2
         try x {} => {none}
         try x {} => n1
         try x {} => n1
         try x {both} => {none}
         node n2 feature=RestartAllContainersOnContainerExits feature=UserNamespacesHostNetworkSupport
         try x {both} => n2",
        users(true, false),
        users(true, true),
        users(false, false),
    ));
}

#[test]
fn the_emptier_and_the_more_even_node_is_better() {
    check(
        "node n1 cpu=4 memory=4Gi
         node n2 cpu=4 memory=4Gi
         pod a on=n1 cpu=1 memory=1Gi
         try x cpu=1 memory=1Gi => n2
         pod b on=n2 cpu=1 memory=1Gi
         pod c on=n2 cpu=1 memory=1Gi
         try x cpu=1 memory=1Gi => n1",
    );
    check(
        "node n1 cpu=10 memory=10Gi
         node n2 cpu=10 memory=10Gi
         pod a on=n1 cpu=4 memory=1Gi
         pod b on=n2 cpu=1 memory=4Gi
         try x cpu=3 memory=1Mi => n2",
    );
}

#[test]
fn images_that_are_there_already() {
    check(
        "node n1
         node n2 image=big:latest@900000000
         node n3
         try x image=big => n2
         try x image=other select.kubernetes.io/hostname=n3 => n3",
    );
}

fn near(kind: &str, key: &str) -> String {
    let term = format!(r#"{{"labelSelector":{{"matchLabels":{{"app":"db"}}}},"topologyKey":"{key}"}}"#);
    format!(r#"spec={{"affinity":{{"{kind}":{{"requiredDuringSchedulingIgnoredDuringExecution":[{term}]}}}}}}"#)
}

#[test]
fn required_pod_affinity() {
    let near = near("podAffinity", "zone");
    check(&format!(
        "node n1 label.zone=a
         node n2 label.zone=b
         node n3 label.zone=b cpu=1
         node n4
         try x {near} => 0/4 nodes are available: 4 node(s) didn't match pod affinity rules.
         try db label.app=db select.zone=a {near} => n1
         pod db on=n3 label.app=db
         try x {near} cpu=2 => n2
         try x {near} namespace=other => 0/4 nodes are available: 4 node(s) didn't match pod affinity rules."
    ));
}

#[test]
fn required_pod_anti_affinity() {
    let away = near("podAntiAffinity", "zone");
    check(&format!(
        "node n1 label.zone=a
         node n2 label.zone=b
         pod db on=n1 label.app=db
         try x {away} => n2
         pod shy on=n2 {away}
         try db2 label.app=db select.zone=b => 0/2 nodes are available: \
            1 {NO_MATCH}, 1 node(s) didn't satisfy existing pods anti-affinity rules.
         pod db3 on=n2 label.app=db
         try x {away} => 0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    ));
}

#[test]
fn preferred_pod_affinity() {
    let wish = |kind: &str| {
        let term = r#"{"labelSelector":{"matchLabels":{"app":"db"}},"topologyKey":"zone"}"#;
        let wish = format!(r#"{{"weight":50,"podAffinityTerm":{term}}}"#);
        format!(r#"spec={{"affinity":{{"{kind}":{{"preferredDuringSchedulingIgnoredDuringExecution":[{wish}]}}}}}}"#)
    };
    let (near, away) = (wish("podAffinity"), wish("podAntiAffinity"));
    check(&format!(
        "node n1 label.zone=a
         node n2 label.zone=b
         pod db on=n2 label.app=db
         try x {near} => n2
         try x {away} => n1"
    ));
}

#[test]
fn topology_spread() {
    let spread = |when: &str| {
        let selector = r#""labelSelector":{"matchLabels":{"app":"web"}}"#;
        let constraint = format!(r#"{{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"{when}",{selector}}}"#);
        format!(r#"label.app=web spec={{"topologySpreadConstraints":[{constraint}]}}"#)
    };
    let (must, may) = (spread("DoNotSchedule"), spread("ScheduleAnyway"));
    let broken = "node(s) didn't match pod topology spread constraints";
    check(&format!(
        "node n1 label.zone=a
         node n2 label.zone=b cpu=1
         node n3
         pod w1 on=n1 label.app=web
         try x {must} => n2
         try x {must} cpu=2 => 0/3 nodes are available: 1 Insufficient cpu, 1 {broken}, \
            1 {broken} (missing required label).
         try x {may} => n2
         try x {may} cpu=2 => n1"
    ));
}

#[test]
fn siblings_are_spread_though_nobody_asked() {
    check(
        "node n1
         node n2
         pod w1 on=n1 owner=web cpu=1
         pod other on=n2 owner=other cpu=1
         try x owner=web cpu=1 => n2",
    );
}

#[test]
fn a_large_cluster_is_searched_in_turns() {
    assert_eq!([1, 99, 100, 150, 1000, 5000, 100_000].map(nodes_to_find), [1, 99, 100, 100, 420, 500, 5000]);
    let mut cluster = Cluster::default();
    for number in 0..300 {
        cluster.set_node(testing::node(&format!("n{number}")));
    }
    let pod = PodInfo::new(testing::pod("x"));
    let first = schedule(&pod, &cluster, Turn::default()).unwrap();
    assert_eq!(first.next.start, nodes_to_find(300));
    let last = Turn { start: 250, number: 1 };
    assert_eq!(schedule(&pod, &cluster, last).unwrap().next.start, (250 + nodes_to_find(300)) % 300);
}

#[test]
fn equally_good_nodes_take_turns() {
    let mut cluster = Cluster::default();
    for name in ["n1", "n2", "n3"] {
        cluster.set_node(testing::node(name));
    }
    let pod = PodInfo::new(testing::pod("x"));
    let mut turn = Turn::default();
    let mut taken = Vec::new();
    for _ in 0..3 {
        let placement = schedule(&pod, &cluster, turn).unwrap();
        taken.push(placement.node.to_string());
        turn = placement.next;
    }
    taken.sort();
    assert_eq!(taken, ["n1", "n2", "n3"]);
}
