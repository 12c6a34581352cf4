//! The plan over slices, by tables.

use super::super::members;
use super::*;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{from_value, json};

fn service() -> Service {
    from_value(json!({"metadata": {"name": "web", "namespace": "ns", "uid": "abcdef-1"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.43.0.1",
            "ports": [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "raw", "port": 81, "targetPort": 9000}]}}))
    .unwrap()
}

/// A Pod `words`: `ready`, `starting`, `ending`, with `:port` of its named port.
fn pod(number: usize, words: &str) -> Pod {
    let (state, port) = words.split_once(':').unwrap_or((words, "8080"));
    let ready = if state == "starting" { "False" } else { "True" };
    let ending = (state == "ending").then_some("2026-01-01T00:00:00Z");
    from_value(json!({"metadata": {"name": format!("p{number}"), "namespace": "ns", "uid": format!("uid{number}"),
            "labels": {"app": "web"}, "deletionTimestamp": ending},
        "spec": {"nodeName": "n", "containers": [{"name": "c",
            "ports": [{"name": "web", "containerPort": port.parse::<i32>().unwrap()}]}]},
        "status": {"phase": "Running", "podIP": format!("10.42.0.{number}"),
            "conditions": [{"type": "Ready", "status": ready}]}}))
    .unwrap()
}

fn members_of(pods: &str) -> Vec<Member> {
    let pods = pods.split_whitespace().enumerate().map(|(i, words)| pod(i + 1, words));
    pods.filter_map(|pod| members::member(&service(), &pod, &|_| None)).collect()
}

fn told(slice: &EndpointSlice) -> String {
    let address = |endpoint: &Endpoint| {
        let c = endpoint.conditions.clone().unwrap();
        let mark = match (c.ready, c.serving, c.terminating) {
            (Some(true), _, _) => "",
            (_, Some(true), Some(true)) => "~",
            _ => "-",
        };
        format!("{}{mark}", endpoint.addresses[0].rsplit('.').next().unwrap())
    };
    let ports = slice.ports.iter().flatten().map(|port| port.port.unwrap().to_string()).collect::<Vec<_>>().join("/");
    let addresses = slice.endpoints.iter().flatten().map(address).collect::<Vec<_>>().join(",");
    format!("[{ports} {addresses}]")
}

fn check(pods: &str, existing: &[Arc<EndpointSlice>], want: &str) -> Plan {
    let plan = plan(&service(), &members_of(pods), existing);
    let list = |sign: &str, slices: &[EndpointSlice]| -> Vec<String> {
        slices.iter().map(|slice| format!("{sign}{}", told(slice))).collect()
    };
    let mut got = list("+", &plan.create);
    got.extend(list("=", &plan.update));
    got.extend(plan.delete.iter().map(|name| format!("x {name}")));
    assert_eq!(got.join(" "), want);
    plan
}

fn settled(pods: &str) -> Vec<Arc<EndpointSlice>> {
    plan(&service(), &members_of(pods), &[]).create.into_iter().map(Arc::new).collect()
}

#[test]
fn members_appear_with_what_they_are_good_for() {
    let plan = check("ready starting ending", &[], "+[8080/9000 1,2-,3~]");
    assert_eq!(plan.create[0].name_any(), "web-abcde");
    assert_eq!(plan.create[0].labels()[SERVICE_NAME], "web");
}

#[test]
fn no_members_are_one_empty_slice() {
    check("", &[], "+[ ]");
}

#[test]
fn nothing_changed_is_nothing_written() {
    check("ready ready", &settled("ready ready"), "");
    check("", &settled(""), "");
}

#[test]
fn a_change_writes_its_slice_alone() {
    check("ready ending", &settled("ready ready"), "=[8080/9000 1,2~]");
    check("ready ready ready", &settled("ready ready"), "=[8080/9000 1,2,3]");
}

#[test]
fn other_ports_are_another_slice() {
    check("ready:8080 ready:9090", &[], "+[8080/9000 1] +[9090/9000 2]");
}

#[test]
fn a_hundred_and_one_are_two_slices() {
    let pods = "ready ".repeat(101);
    let plan = plan(&service(), &members_of(&pods), &[]);
    let sizes: Vec<_> = plan.create.iter().map(|slice| slice.endpoints.iter().flatten().count()).collect();
    assert_eq!(sizes, [100, 1]);
}

#[test]
fn slices_that_lost_their_members_are_used_again() {
    let existing = settled("ready");
    check("", &existing, "=[ ]");
}
