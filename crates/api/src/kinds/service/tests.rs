//! Services: rows, defaults, what an update takes over, faults.

use serde_json::Value;

use super::SERVICE;
use crate::kinds::testing::{check, check_defaults, check_row, check_update, created, object};

fn service(spec: &str) -> String {
    format!("{{metadata: {{name: a, namespace: b}}, spec: {spec}}}")
}

#[track_caller]
fn spec(spec: &str, want: &[&str]) {
    check(&SERVICE, &service(spec), want);
}

#[test]
fn ports() {
    spec("{ports: [{port: 80}]}", &[]);
    spec("{}", &["spec.ports: Required value"]);
    spec("{clusterIP: None}", &[]);
    spec("{ports: [{port: 80}, {port: 81, name: b}]}", &["spec.ports[0].name: Required value"]);
    spec(
        "{ports: [{port: 80, name: a}, {port: 80, name: a}]}",
        &[
            "spec.ports[1].name: Duplicate value: \"a\"",
            "spec.ports[1]: Duplicate value: {\"name\":\"a\",\"port\":80,\"protocol\":\"TCP\",\"targetPort\":80}",
        ],
    );
    spec(
        "{ports: [{port: 80, targetPort: HTTP}]}",
        &[
            "spec.ports[0].targetPort: Invalid value: \"HTTP\": must contain only alpha-numeric characters (a-z, 0-9), and \
           hyphens (-)",
            "spec.ports[0].targetPort: Invalid value: \"HTTP\": must contain at least one letter (a-z)",
        ],
    );
    spec(
        "{ports: [{port: 80, nodePort: 30000}]}",
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    spec(
        "{type: NodePort, ports: [{port: 0, nodePort: 30000}]}",
        &[
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    );
}

#[test]
fn types() {
    spec("{type: ExternalName, externalName: example.com.}", &[]);
    spec("{type: ExternalName}", &["spec.externalName: Required value"]);
    spec(
        "{type: Magic, ports: [{port: 80}]}",
        &[
            "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \
           \"LoadBalancer\", \"NodePort\"",
            "spec.internalTrafficPolicy: Required value",
        ],
    );
    spec(
        "{type: NodePort, clusterIP: None, ports: [{port: 80}]}",
        &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    );
}

#[test]
fn addresses() {
    spec("{clusterIP: 10.43.0.9, ports: [{port: 80}]}", &[]);
    spec(
        "{clusterIP: nope, ports: [{port: 80}]}",
        &["spec.clusterIPs[0]: Invalid value: \"nope\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
    );
    spec(
        "{clusterIPs: [10.43.0.9, 10.43.0.10], clusterIP: 10.43.0.9, ports: [{port: 80}]}",
        &[
            "spec.clusterIPs: Invalid value: [\"10.43.0.9\",\"10.43.0.10\"]: may specify no more than one IP for each IP \
           family",
        ],
    );
    spec(
        "{externalIPs: [127.0.0.1], ports: [{port: 80}]}",
        &["spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"],
    );
}

#[test]
fn affinity_and_traffic() {
    spec("{sessionAffinity: ClientIP, ports: [{port: 80}]}", &[]);
    spec(
        "{sessionAffinity: Sticky, ports: [{port: 80}]}",
        &["spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\""],
    );
    spec(
        "{externalTrafficPolicy: Local, ports: [{port: 80}]}",
        &["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"],
    );
}

#[test]
fn an_address_once_given_stays() {
    let old = service("{clusterIP: 10.43.0.9, ports: [{port: 80}]}");
    check_update(&SERVICE, &old, &service("{ports: [{port: 81}]}"), &[]);
    check_update(
        &SERVICE,
        &old,
        &service("{clusterIP: 10.43.0.8, ports: [{port: 80}]}"),
        &["spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\"]: may not change once set"],
    );
    check_update(&SERVICE, &old, &service("{clusterIP: '', clusterIPs: [], ports: [{port: 80}]}"), &[]);
    check_update(&SERVICE, &old, &service("{type: ExternalName, externalName: a.b, clusterIP: ''}"), &[]);
}

fn updated(old: &str, new: &str) -> Value {
    let (old, mut new) = (created(&SERVICE, &service(old)), object(&service(new)));
    SERVICE.rules.default(&mut new);
    SERVICE.rules.prepare_update(&mut new, &old);
    new["spec"].clone()
}

#[test]
fn what_was_allocated_is_kept_and_what_is_useless_goes() {
    let old = "{type: NodePort, clusterIP: 10.43.0.9, ports: [{port: 80, nodePort: 30080}]}";
    let kept = updated(old, "{type: NodePort, ports: [{port: 80}, {port: 81, name: x}]}");
    assert_eq!(kept["clusterIP"], "10.43.0.9");
    assert_eq!(kept["ports"][0]["nodePort"], 30080);
    assert_eq!(kept["ports"][1].get("nodePort"), None);

    let inside = updated(
        old,
        "{type: ClusterIP, clusterIP: 10.43.0.9, externalTrafficPolicy: Cluster, \
        ports: [{port: 80, nodePort: 30080}]}",
    );
    assert_eq!(inside["ports"][0].get("nodePort"), None);
    assert_eq!(inside.get("externalTrafficPolicy"), None);
    assert_eq!(inside["clusterIP"], "10.43.0.9");

    let name = updated(old, "{type: ExternalName, externalName: a.b, clusterIP: 10.43.0.9, clusterIPs: [10.43.0.9]}");
    assert_eq!((name.get("clusterIP"), name.get("clusterIPs")), (None, None));
}

#[test]
fn defaults_are_upstreams() {
    check_defaults(
        &SERVICE,
        "{spec: {ports: [{port: 80}]}}",
        "{spec: {type: ClusterIP, sessionAffinity: None, internalTrafficPolicy: Cluster, \
         ports: [{port: 80, protocol: TCP, targetPort: 80}]}}",
    );
    check_defaults(
        &SERVICE,
        "{spec: {type: LoadBalancer, sessionAffinity: ClientIP}}",
        "{spec: {type: LoadBalancer, sessionAffinity: ClientIP, \
         sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}, internalTrafficPolicy: Cluster, \
         externalTrafficPolicy: Cluster, allocateLoadBalancerNodePorts: true}}",
    );
}

#[test]
fn rows() {
    check_row(
        &SERVICE,
        "{metadata: {name: a, creationTimestamp: '2026-01-01T11:59:30Z'}, spec: {type: ClusterIP, clusterIP: 10.43.0.9, \
         clusterIPs: [10.43.0.9], ports: [{port: 80, protocol: TCP}, {port: 53, protocol: UDP}], selector: {b: c, a: d}}}",
        "a | ClusterIP | 10.43.0.9 | <none> | 80/TCP,53/UDP | 30s | a=d,b=c",
    );
    check_row(
        &SERVICE,
        "{metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: 10.43.0.9, \
         ports: [{port: 80, nodePort: 30080, protocol: TCP}]}}",
        "a | LoadBalancer | 10.43.0.9 | <pending> | 80:30080/TCP | <unknown> | <none>",
    );
    check_row(
        &SERVICE,
        "{metadata: {name: a}, spec: {type: ExternalName, externalName: example.com}}",
        "a | ExternalName | <none> | example.com | <none> | <unknown> | <none>",
    );
}

#[test]
fn only_load_balancers_report_addresses() {
    let status = |spec: &str, ingress: &str| {
        let mut service = object(&format!("{{spec: {spec}, status: {{loadBalancer: {{ingress: [{ingress}]}}}}}}"));
        SERVICE.rules.default(&mut service);
        let faults = SERVICE.rules.validate_status(&service, &Value::Null);
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(status("{type: LoadBalancer}", "{ip: 10.0.0.1}").is_empty());
    assert_eq!(
        status("{type: ClusterIP}", "{ip: 10.0.0.1}"),
        ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
    );
    assert_eq!(
        status("{type: LoadBalancer}", "{hostname: 10.0.0.1}"),
        ["status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"]
    );
}

#[test]
fn addresses_are_read_in_one_way_alone_unless_they_were_there_before() {
    let external = |ip: &str| service(&format!("{{ports: [{{port: 80}}], externalIPs: ['{ip}']}}"));
    let fault = "spec.externalIPs[0]: Invalid value: \"010.1.1.1\": must not have leading 0s";
    check(&SERVICE, &external("010.1.1.1"), &[fault]);
    check_update(&SERVICE, &external("10.1.1.1"), &external("010.1.1.1"), &[fault]);
    check_update(&SERVICE, &external("010.1.1.1"), &external("010.1.1.1"), &[]);
    spec(
        "{ports: [{port: 80}], clusterIP: '::ffff:10.0.0.1', clusterIPs: ['::ffff:10.0.0.1']}",
        &["spec.clusterIPs[0]: Invalid value: \"::ffff:10.0.0.1\": must not be an IPv4-mapped IPv6 address"],
    );
}

#[test]
fn what_a_load_balancer_lets_in() {
    let ranges = |kind: &str, ranges: &str| {
        service(&format!("{{type: {kind}, ports: [{{port: 80}}], loadBalancerSourceRanges: [{ranges}]}}"))
    };
    check(&SERVICE, &ranges("LoadBalancer", "' 10.0.0.0/8 '"), &[]);
    let fault = "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the \
                 prefix length";
    check(&SERVICE, &ranges("LoadBalancer", "10.0.0.1/8"), &[fault]);
    check_update(&SERVICE, &ranges("LoadBalancer", "10.0.0.1/8"), &ranges("LoadBalancer", "' 10.0.0.1/8'"), &[]);
    let fault = "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'";
    check(&SERVICE, &ranges("ClusterIP", "10.0.0.0/8"), &[fault]);
    let annotated = |kind: &str, text: &str| {
        let annotations = format!("{{service.beta.kubernetes.io/load-balancer-source-ranges: '{text}'}}");
        format!(
            "{{metadata: {{name: a, namespace: b, annotations: {annotations}}}, spec: {{type: {kind}, ports: [{{port: 80}}]}}}}"
        )
    };
    check(&SERVICE, &annotated("LoadBalancer", "10.0.0.0/8, 11.0.0.0/8"), &[]);
    let place = "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]";
    let fault = format!(
        "{place}: Invalid value: \"11.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    );
    check(&SERVICE, &annotated("LoadBalancer", "10.0.0.0/8, 11.0.0.0/33"), &[&fault]);
    let fault = format!("{place}: Forbidden: may only be used when `type` is 'LoadBalancer'");
    check(&SERVICE, &annotated("ClusterIP", "10.0.0.0/8"), &[&fault]);
}
