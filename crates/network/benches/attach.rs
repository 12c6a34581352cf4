//! How long a sandbox waits for its place on the Pod network. Prints one line of JSON.
//!
//! `cargo bench -p sampan-network`; runs as root in a network namespace of its own.

#![allow(clippy::unwrap_used, reason = "a measurement ends where it fails")]

use sampan_network::{BridgeNetwork, Options, PodNetwork};
use tokio::time::Instant;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/space/mod.rs"]
mod space;

use space::{Space, alone, state_dir};

const SANDBOXES: usize = 100;

fn main() {
    alone("attach", async || {
        let network = BridgeNetwork::start(Options {
            instance: "sampan-tb".into(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            local_addresses: Vec::new(),
            mtu: None,
            state_dir: state_dir(),
        });
        let network = network.await.unwrap();
        let spaces: Vec<Space> = (0..SANDBOXES).map(|_| Space::new()).collect();
        let mut waited = Vec::new();
        for (number, space) in spaces.iter().enumerate() {
            let start = Instant::now();
            network.attach(&number.to_string(), space.path()).await.unwrap();
            waited.push(start.elapsed().as_secs_f64() * 1_000.0);
        }
        waited.sort_by(f64::total_cmp);
        let (middle, late) = (waited[SANDBOXES / 2], waited[SANDBOXES * 99 / 100]);
        println!(r#"{{"sandboxes": {SANDBOXES}, "attach_ms_p50": {middle:.2}, "attach_ms_p99": {late:.2}}}"#);
    });
}
