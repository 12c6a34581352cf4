//! Many Pods started and deleted, several times over: afterwards nothing of them is left, and the server has not grown.
//!
//! `STRESS_PODS` and `STRESS_ROUNDS` say how many of each; `make stress` has 200 Pods in five rounds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sampan_testkit::kernel::{holdings, remains};
use sampan_testkit::{Cluster, retry};
use tokio::time::Instant;

const PODS: u32 = 32;
const ROUNDS: u32 = 3;
/// The first round fills caches, pools and arenas; the server is compared with what it was after the second.
const WARM: u32 = 2;
/// How much larger the server may be at the end: what allocators keep differs from round to round.
const GROWTH_PERCENT: u64 = 15;
const GROWTH_KIB: u64 = 8 * 1024;
/// Connections and watches of clients that come and go.
const SPARE_FILES: usize = 16;

/// A share of the Pods does nothing, one has all that a Pod can hold, and one ends by itself.
fn manifest(pods: u32) -> Result<String> {
    let few = pods / 4;
    let mut text = format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{key: value}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {{name: idle}}
spec:
  replicas: {idle}
  selector: {{matchLabels: {{app: idle}}}}
  template:
    metadata: {{labels: {{app: idle}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers: [{{name: c, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "trap exit TERM; sleep 3600 & wait"]}}]
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {{name: laden}}
spec:
  replicas: {few}
  selector: {{matchLabels: {{app: laden}}}}
  template:
    metadata: {{labels: {{app: laden}}}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
      - name: first
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "echo first > /disk/file"]
        volumeMounts: [{{name: disk, mountPath: /disk}}]
      containers:
      - name: reader
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "cat /disk/file; exec sleep 3600"]
        resources: {{requests: {{memory: 1Mi, cpu: 1m}}, limits: {{memory: 16Mi, cpu: 100m}}}}
        readinessProbe: {{exec: {{command: [cat, /settings/key]}}, periodSeconds: 5}}
        volumeMounts: [{{name: disk, mountPath: /disk}}, {{name: memory, mountPath: /memory}}, {{name: settings, mountPath: /settings}}]
      - name: writer
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "while true; do date > /memory/now; sleep 10; done"]
        volumeMounts: [{{name: memory, mountPath: /memory}}]
      volumes:
      - {{name: disk, emptyDir: {{}}}}
      - {{name: memory, emptyDir: {{medium: Memory}}}}
      - {{name: settings, configMap: {{name: settings}}}}
"#,
        idle = pods - 2 * few
    );
    (0..few).try_for_each(|number| short(&mut text, number))?;
    Ok(text)
}

fn short(text: &mut String, number: u32) -> std::fmt::Result {
    write!(
        text,
        r#"
---
apiVersion: v1
kind: Pod
metadata: {{name: short-{number}, labels: {{app: short}}}}
spec:
  restartPolicy: Never
  containers: [{{name: c, image: busybox, imagePullPolicy: IfNotPresent, command: ["true"]}}]
"#
    )
}

/// What a cluster has between two rounds.
#[derive(Debug)]
struct State {
    /// Everything in the kernel and on the disk that could be left of a Pod.
    things: BTreeSet<String>,
    open_files: usize,
    threads: usize,
    memory_kib: u64,
}

impl State {
    fn of(cluster: &Cluster) -> Result<Self> {
        let mut things = holdings(cluster);
        things.append(&mut remains(cluster));
        let server = format!("/proc/{}", cluster.server_pid()?);
        let count = |what: &str| -> Result<usize> { Ok(fs::read_dir(format!("{server}/{what}"))?.count()) };
        let memory = fs::read_to_string(format!("{server}/smaps_rollup"))?;
        let pss = memory.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
        Ok(Self {
            things,
            open_files: count("fd")?,
            threads: count("task")?,
            memory_kib: pss.context("smaps_rollup has no Pss")?,
        })
    }

    /// What is here that was not there `before`.
    fn left(&self, before: &Self) -> Vec<String> {
        let mut left: Vec<String> = self.things.difference(&before.things).cloned().collect();
        if self.open_files > before.open_files + SPARE_FILES {
            left.push(format!("{} open files of the server, {} before", self.open_files, before.open_files));
        }
        left
    }
}

fn number(variable: &str, default: u32) -> Result<u32> {
    std::env::var(variable).map_or(Ok(default), |text| text.parse().with_context(|| format!("{variable}={text}")))
}

/// Starts the Pods in a namespace, waits until all are what they should be, and deletes it with them. Returns how long
/// that took.
fn round(cluster: &Cluster, name: &str, pods: u32) -> Result<[Duration; 2]> {
    cluster.kubectl(&format!("create namespace {name}"))?;
    let begin = Instant::now();
    cluster.apply_in(name, &manifest(pods)?)?;
    let few = pods / 4;
    for (what, condition) in [
        ("rs/idle", format!("jsonpath={{.status.readyReplicas}}={}", pods - 2 * few)),
        ("rs/laden", format!("jsonpath={{.status.readyReplicas}}={few}")),
        ("pod -l app=short", "jsonpath={.status.phase}=Succeeded".to_owned()),
    ] {
        cluster.kubectl(&format!("-n {name} wait --for={condition} {what} --timeout=240s"))?;
    }
    let started = begin.elapsed();
    cluster.kubectl(&format!("delete namespace {name} --timeout=240s"))?;
    Ok([started, begin.elapsed() - started])
}

#[test]
fn many_pods_leave_nothing_behind() -> Result<()> {
    let (pods, rounds) = (number("STRESS_PODS", PODS)?, number("STRESS_ROUNDS", ROUNDS)?);
    let room = (pods + 10).to_string();
    let cluster = Cluster::start(&["--max-pods", &room])?;
    cluster.import_busybox()?;
    // What is made at the first Pod and stays is not left behind.
    round(&cluster, "stress-0", 4)?;
    let before = settled(&cluster, |_| Vec::new())?;
    let mut warm = None;
    let mut report = String::new();
    for number in 1..=rounds {
        let [up, down] = round(&cluster, &format!("stress-{number}"), pods)?;
        let after = settled(&cluster, |state| state.left(&before)).with_context(|| format!("after round {number}"))?;
        writeln!(
            report,
            "round {number}: {pods} Pods up in {up:.1?}, gone in {down:.1?}; server: {} KiB, {} files, {} threads",
            after.memory_kib, after.open_files, after.threads
        )?;
        print!("{}", report.lines().last().map(|line| format!("{line}\n")).unwrap_or_default());
        if number == WARM.min(rounds) {
            warm = Some(after.memory_kib);
        }
        let most = warm.map(|warm| warm + (warm * GROWTH_PERCENT / 100).max(GROWTH_KIB));
        ensure!(most.is_none_or(|most| after.memory_kib <= most), "the server grows:\n{report}");
    }
    Ok(())
}

/// The cluster's state when nothing is left any more, by what `left` tells.
fn settled(cluster: &Cluster, left: impl Fn(&State) -> Vec<String>) -> Result<State> {
    retry("nothing is left behind", || {
        let state = State::of(cluster)?;
        let left = left(&state);
        ensure!(left.is_empty(), "left behind: {left:#?}");
        Ok(state)
    })
}
