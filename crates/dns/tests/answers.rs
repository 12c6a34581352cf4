//! Questions and answers, in tables. `from` is the asking address; an answer is written as a person would.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::net::IpAddr;

use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use sampan_client::Key;
use sampan_dns::answer::{Answer, answer};
use sampan_dns::table::Table;
use serde_yaml_ng::Value;

const CLUSTER: &str = "
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.43.0.41, clusterIPs: [10.43.0.41], ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.42.0.5]}]
---
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: sql, port: 5432}]}
---
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432}]
endpoints:
- {addresses: [10.42.0.20], hostname: db-0}
- {addresses: [10.42.0.21]}
- {addresses: [10.42.0.22], hostname: db-2, conditions: {ready: false}}
---
kind: Service
metadata: {name: early, namespace: shop}
spec: {clusterIP: None, publishNotReadyAddresses: true, ports: [{port: 1}]}
---
kind: EndpointSlice
metadata: {name: early-1, namespace: shop, labels: {kubernetes.io/service-name: early}}
addressType: IPv4
ports: [{port: 1}]
endpoints: [{addresses: [10.42.0.30], conditions: {ready: false}}]
---
kind: Service
metadata: {name: lonely, namespace: shop}
spec: {clusterIP: None, ports: [{port: 1}]}
---
kind: Service
metadata: {name: far, namespace: shop}
spec: {type: ExternalName, externalName: www.example.org}
---
kind: Service
metadata: {name: near, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
---
kind: Pod
metadata: {name: two, namespace: shop}
spec: {containers: [{name: server}, {name: helper}, {name: web}]}
status: {podIP: 10.42.0.9, phase: Running}
---
kind: Pod
metadata: {name: host, namespace: shop}
spec: {hostNetwork: true, containers: [{name: onhost}]}
status: {podIP: 192.0.2.2, phase: Running}
---
kind: Pod
metadata: {name: ended, namespace: shop}
spec: {containers: [{name: ended}]}
status: {podIP: 10.42.0.8, phase: Succeeded}
";

fn table() -> Table {
    let mut table = Table::new("cluster.local").unwrap();
    for document in CLUSTER.split("\n---\n") {
        let value: Value = serde_yaml_ng::from_str(document).unwrap();
        match value["kind"].as_str().unwrap() {
            "Service" => table.set_service(&serde_yaml_ng::from_value(value).unwrap()),
            "EndpointSlice" => table.set_slice(&serde_yaml_ng::from_value(value).unwrap()),
            _ => table.set_pod(&serde_yaml_ng::from_value(value).unwrap(), None),
        }
    }
    table.complete();
    table
}

fn ask(table: &Table, from: &str, question: &str) -> String {
    let (kind, name) = question.split_once(' ').unwrap();
    let kind: RecordType = kind.parse().unwrap();
    let source: IpAddr = from.parse().unwrap();
    match answer(&Query::query(Name::from_ascii(name).unwrap(), kind), source, table) {
        Answer::Records { answers, additionals } => {
            let mut text: Vec<String> = answers.iter().map(data).collect();
            text.extend(additionals.iter().map(|record| format!("+{} {}", record.name, data(record))));
            assert!(answers.iter().all(|record| record.ttl == 5));
            text.join(", ")
        }
        Answer::Alias { record, target } => format!("{} -> {target}", record.name),
        other => format!("{other:?}"),
    }
}

fn data(record: &Record) -> String {
    match &record.data {
        RData::A(address) => address.0.to_string(),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target),
        RData::PTR(name) => name.0.to_string(),
        RData::TXT(text) => String::from_utf8(text.txt_data[0].to_vec()).unwrap(),
        RData::SOA(soa) => format!("{} {} {}", soa.mname, soa.rname, soa.minimum),
        other => format!("{other:?}"),
    }
}

/// Rows of `question => answer`, asked from `from`.
fn check(from: &str, rows: &str) {
    let table = table();
    for row in rows.trim().lines() {
        let (question, expected) = row.split_once("=>").unwrap();
        assert_eq!(ask(&table, from, question.trim()), expected.trim(), "{question}");
    }
}

const ANYONE: &str = "198.51.100.1";

#[test]
fn services() {
    check(
        ANYONE,
        "
        A web.shop.svc.cluster.local. => 10.43.0.41
        A WEB.Shop.svc.CLUSTER.local. => 10.43.0.41
        ANY web.shop.svc.cluster.local. => 10.43.0.41
        AAAA web.shop.svc.cluster.local. => NoData
        MX web.shop.svc.cluster.local. => NoData
        A none.shop.svc.cluster.local. => NoName
        A web.other.svc.cluster.local. => NoName
        A shop.svc.cluster.local. => NoData
        A other.svc.cluster.local. => NoName
        A svc.cluster.local. => NoData
        A cluster.local. => NoData
        A nothing.cluster.local. => NoName
        SOA cluster.local. => ns.dns.cluster.local. hostmaster.cluster.local. 5
        TXT dns-version.cluster.local. => 1.1.0
        A dns-version.cluster.local. => NoData
        A web.shop.svc.cluster.local.shop.svc.cluster.local. => NoName
        A a.b.web.shop.svc.cluster.local. => NoName
        ",
    );
}

#[test]
fn headless_services_and_endpoints() {
    check(
        ANYONE,
        "
        A db.shop.svc.cluster.local. => 10.42.0.20, 10.42.0.21
        A db-0.db.shop.svc.cluster.local. => 10.42.0.20
        A 10-42-0-21.db.shop.svc.cluster.local. => 10.42.0.21
        A db-2.db.shop.svc.cluster.local. => NoName
        AAAA db-0.db.shop.svc.cluster.local. => NoData
        A early.shop.svc.cluster.local. => 10.42.0.30
        A lonely.shop.svc.cluster.local. => NoName
        A 10-42-0-5.web.shop.svc.cluster.local. => 10.42.0.5
        ",
    );
}

#[test]
fn ports() {
    check(
        ANYONE,
        "
        SRV _http._tcp.web.shop.svc.cluster.local. => 0 100 80 web.shop.svc.cluster.local., +web.shop.svc.cluster.local. 10.43.0.41
        SRV _dns._udp.web.shop.svc.cluster.local. => 0 100 53 web.shop.svc.cluster.local., +web.shop.svc.cluster.local. 10.43.0.41
        SRV _http._udp.web.shop.svc.cluster.local. => NoName
        SRV _none._tcp.web.shop.svc.cluster.local. => NoName
        A _http._tcp.web.shop.svc.cluster.local. => NoData
        A _tcp.web.shop.svc.cluster.local. => NoData
        A _sctp.web.shop.svc.cluster.local. => NoName
        SRV _sql._tcp.db.shop.svc.cluster.local. => 0 50 5432 db-0.db.shop.svc.cluster.local., 0 50 5432 10-42-0-21.db.shop.svc.cluster.local., +db-0.db.shop.svc.cluster.local. 10.42.0.20, +10-42-0-21.db.shop.svc.cluster.local. 10.42.0.21
        SRV web.shop.svc.cluster.local. => 0 50 80 web.shop.svc.cluster.local., 0 50 53 web.shop.svc.cluster.local., +web.shop.svc.cluster.local. 10.43.0.41
        ",
    );
}

#[test]
fn reverse_names() {
    check(
        ANYONE,
        "
        PTR 41.0.43.10.in-addr.arpa. => web.shop.svc.cluster.local.
        PTR 20.0.42.10.in-addr.arpa. => db-0.db.shop.svc.cluster.local.
        PTR 21.0.42.10.in-addr.arpa. => 10-42-0-21.db.shop.svc.cluster.local.
        A 41.0.43.10.in-addr.arpa. => NoData
        PTR 1.2.0.192.in-addr.arpa. => Forward
        PTR 43.10.in-addr.arpa. => Forward
        PTR x.0.43.10.in-addr.arpa. => Forward
        ",
    );
}

#[test]
fn pods_and_other_names() {
    check(
        ANYONE,
        "
        A 10-42-0-9.shop.pod.cluster.local. => 10.42.0.9
        AAAA 10-42-0-9.shop.pod.cluster.local. => NoData
        A ten-42-0-9.shop.pod.cluster.local. => NoName
        A 10-42-0-900.shop.pod.cluster.local. => NoName
        A shop.pod.cluster.local. => NoData
        A far.shop.svc.cluster.local. => far.shop.svc.cluster.local. -> www.example.org.
        A near.shop.svc.cluster.local. => near.shop.svc.cluster.local. -> web.shop.svc.cluster.local.
        A x.far.shop.svc.cluster.local. => NoName
        A www.example.org. => Forward
        A xcluster.local. => Forward
        A local. => Forward
        ",
    );
}

#[test]
fn a_neighbouring_container_is_loopback() {
    check(
        "10.42.0.9",
        "
        A server.shop.svc.cluster.local. => 127.0.0.1
        A SERVER.shop.svc.cluster.local. => 127.0.0.1
        A helper. => 127.0.0.1
        AAAA server.shop.svc.cluster.local. => NoData
        AAAA helper. => NoData
        A server.other.svc.cluster.local. => NoName
        A server.svc.cluster.local. => NoName
        A x.server.shop.svc.cluster.local. => NoName
        A stranger.shop.svc.cluster.local. => NoName
        A stranger. => Forward
        ",
    );
}

#[test]
fn a_service_is_never_hidden_by_a_container() {
    check("10.42.0.9", "A web.shop.svc.cluster.local. => 10.43.0.41\nA web. => Forward");
}

#[test]
fn only_the_pod_itself_sees_its_containers() {
    for stranger in [ANYONE, "10.42.0.8", "192.0.2.2", "::1"] {
        check(stranger, "A server.shop.svc.cluster.local. => NoName\nA helper. => Forward");
    }
    check("10.42.0.8", "A ended. => Forward");
    check("192.0.2.2", "A onhost. => Forward");
}

#[test]
fn until_everything_is_known_nothing_is_denied() {
    let table = Table::new("cluster.local").unwrap();
    assert_eq!(ask(&table, ANYONE, "A web.shop.svc.cluster.local."), "NotYet");
    assert_eq!(ask(&table, ANYONE, "PTR 41.0.43.10.in-addr.arpa."), "NotYet");
    assert_eq!(ask(&table, ANYONE, "A www.example.org."), "Forward");
}

#[test]
fn what_goes_is_forgotten() {
    let mut table = table();
    table.remove_service(&Key::new("shop", "web"));
    assert_eq!(ask(&table, ANYONE, "A web.shop.svc.cluster.local."), "NoName");
    assert_eq!(ask(&table, "10.42.0.9", "A web.shop.svc.cluster.local."), "127.0.0.1");
    assert_eq!(ask(&table, ANYONE, "PTR 41.0.43.10.in-addr.arpa."), "Forward");
}

#[test]
fn another_domain_may_be_chosen() {
    let mut table = Table::new("k8s.example.com.").unwrap();
    table.complete();
    assert_eq!(ask(&table, ANYONE, "TXT dns-version.k8s.example.com."), "1.1.0");
    assert_eq!(ask(&table, ANYONE, "A web.shop.svc.cluster.local."), "Forward");
    assert!(Table::new("not a domain").is_err());
}
