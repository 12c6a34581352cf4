//! How long a kernel takes to learn 10,000 Services, and one more. Prints one line of JSON.
//!
//! `cargo bench -p sampan-proxy`; runs as root in a network namespace of its own.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};

use sampan_client::Key;
use sampan_proxy::frontend::{At, Backends, Empty, Frontend, Protocol, Side};
use sampan_proxy::model::Model;
use sampan_proxy::plan::{Node, Wanted};
use sampan_proxy::rules::{Load, Rules};
use tokio::time::Instant;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 3;
const ADDED: u32 = 50;
const MARK: &str = "SAMPAN_BENCH_ALONE";

fn main() {
    if std::env::var_os(MARK).is_none() {
        let executable = std::env::current_exe().expect("this program has a path");
        let status = Command::new("unshare").arg("--net").arg(executable).env(MARK, "1").status();
        std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
    }
    let mut model = Model::default();
    let mut rules = Rules::new("sampan", node(), true);
    let start = Instant::now();
    for number in 0..SERVICES {
        model.update(&key(number), service(number));
    }
    let text = rules.load(&model, Load::Anew);
    let planned = start.elapsed();
    nft(&text);
    let full = start.elapsed();
    let mut added: Vec<f64> = (SERVICES..SERVICES + ADDED).map(|number| add(&mut model, &mut rules, number)).collect();
    added.sort_by(f64::total_cmp);
    println!(
        r#"{{"services": {SERVICES}, "endpoints_each": {ENDPOINTS}, "text_bytes": {}, "plan_s": {:.3}, "full_load_s": {:.3}, "added_ms_p50": {:.2}, "added_ms_max": {:.2}}}"#,
        text.len(),
        planned.as_secs_f64(),
        full.as_secs_f64(),
        added[added.len() / 2],
        added[added.len() - 1],
    );
}

fn add(model: &mut Model, rules: &mut Rules, number: u32) -> f64 {
    let start = Instant::now();
    let update = model.update(&key(number), service(number));
    rules.apply(&update.changes).iter().for_each(|transaction| nft(transaction));
    start.elapsed().as_secs_f64() * 1_000.0
}

fn node() -> Node {
    Node {
        name: "here".into(),
        pod_cidr: "10.42.0.0/24".parse().expect("a network"),
        service_cidr: "10.43.0.0/16".parse().expect("a network"),
        skip: Vec::new(),
    }
}

fn key(number: u32) -> Key {
    Key::new("default", &format!("service-{number}"))
}

fn service(number: u32) -> Wanted {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 43, 0, 11).to_bits() + number);
    let frontend = Frontend { side: Side::Everyone, at: At::Address(address), protocol: Protocol::Tcp, port: 80 };
    let first = Ipv4Addr::new(10, 44, 0, 0).to_bits() + number * ENDPOINTS;
    let endpoints = (first..first + ENDPOINTS).map(|bits| SocketAddrV4::new(Ipv4Addr::from_bits(bits), 8080)).collect();
    Wanted::from([(frontend, Backends { endpoints, sticky_seconds: None, empty: Empty::Refuse })])
}

fn nft(text: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
    child.stdin.take().expect("stdin is piped").write_all(text.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success());
}
