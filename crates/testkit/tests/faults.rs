//! What may happen to a node at any moment: the server, shims and containers are killed while Pods come and go, the disk
//! is full, the program is exchanged. Afterwards everything is as it was asked for, and nothing is left over.
//!
//! `FAULT_SEED` repeats a run of the first test; it says its seed when it fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sampan_testkit::kernel::{holdings, remains};
use sampan_testkit::program::{self, printed, run};
use sampan_testkit::{Cluster, eventually, retry};

/// How often something is killed.
const KILLS: u32 = 12;
/// The longest time between two kills: about what a Pod takes to start.
const PAUSE_MS: u64 = 600;

/// Bytes that are left on the disk for objects of almost a megabyte each: for some, not for many.
const ROOM: u64 = 8 << 20;

/// Pods that heed their end, with files, limits and a second container.
const PODS: &str = r#"
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: a
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "date > /v/started; exec sleep 3600"]
        resources: {limits: {memory: 16Mi}}
        volumeMounts: [{name: v, mountPath: /v}]
      - {name: b, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}
      volumes: [{name: v, emptyDir: {medium: Memory}}]
"#;

/// A counter that writes a line ten times a second.
const COUNTER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"]
"#;

/// Numbers by chance that come again with the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of(&mut self, all: &[i32]) -> Option<i32> {
        let position = self.below(all.len().max(1) as u64);
        all.get(usize::try_from(position).ok()?).copied()
    }
}

fn kill(pid: i32) -> Result<()> {
    run(Command::new("kill").arg("-9").arg(pid.to_string())).map(drop)
}

/// The processes in the cluster's control groups of this kind: `shims`, or `kubepods`, which are its containers'.
fn processes(cluster: &Cluster, kind: &str) -> Vec<i32> {
    let root = Path::new("/sys/fs/cgroup");
    let trees = [root.join("memory"), root.to_path_buf()];
    let mut pids = Vec::new();
    let mut pending: Vec<_> = trees.iter().map(|tree| tree.join(cluster.instance()).join(kind)).collect();
    while let Some(dir) = pending.pop() {
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
        let below = fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
        pending.extend(below.filter(|path| path.is_dir()));
    }
    pids
}

/// Kills one of the processes of this kind, as soon as there is one.
fn kill_one(cluster: &Cluster, chance: &mut Chance, kind: &str) -> Result<i32> {
    retry("there is something to kill", || {
        let pid = chance.one_of(&processes(cluster, kind)).with_context(|| format!("no process in {kind}"))?;
        // It may have ended by itself since it was looked up.
        kill(pid).map(|()| pid)
    })
}

/// Something is killed, or the number of Pods changes.
fn strike(cluster: &Cluster, chance: &mut Chance) -> Result<String> {
    match chance.below(4) {
        0 => {
            cluster.kill_server()?;
            let dead_ms = chance.below(300);
            std::thread::sleep(Duration::from_millis(dead_ms));
            cluster.up()?;
            Ok(format!("the server killed, up again after {dead_ms} ms"))
        }
        1 => Ok(format!("shim {} killed", kill_one(cluster, chance, "shims")?)),
        2 => Ok(format!("container's process {} killed", kill_one(cluster, chance, "kubepods")?)),
        _ => {
            // Never to none: whatever comes next has something to hit.
            let replicas = 1 + chance.below(8);
            cluster.kubectl(&format!("scale rs/web --replicas={replicas}"))?;
            Ok(format!("scaled to {replicas}"))
        }
    }
}

fn survive(cluster: &Cluster, chance: &mut Chance, story: &mut Vec<String>) -> Result<()> {
    cluster.kubectl("scale rs/web --replicas=6")?;
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(chance.below(PAUSE_MS)));
        story.push(strike(cluster, chance)?);
    }
    cluster.kubectl("scale rs/web --replicas=5")?;
    // A container that chance has hit often waits up to five minutes for its next start.
    cluster.kubectl("wait --for=jsonpath={.status.readyReplicas}=5 rs/web --timeout=330s")?;
    eventually("no Pod too many is left", || {
        let pods = cluster.kubectl("get pods -l app=web -o name")?;
        Ok(pods.lines().count() == 5)
    })
}

#[test]
fn whatever_is_killed_pods_come_back_and_nothing_is_left() -> Result<()> {
    let seed = match std::env::var("FAULT_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => u64::from(std::process::id()),
    };
    let cluster = Cluster::start(&[])?;
    cluster.import_busybox()?;
    cluster.apply(PODS)?;
    cluster.kubectl("scale rs/web --replicas=1")?;
    cluster.kubectl("wait --for=jsonpath={.status.readyReplicas}=1 rs/web --timeout=120s")?;
    let first = cluster.kubectl("get pods -o jsonpath={.items[0].metadata.uid}")?;
    let found = ["shims", "kubepods"].map(|kind| processes(&cluster, kind));
    ensure!(found.iter().all(|pids| !pids.is_empty()), "what is to be killed is found: {found:?}");
    cluster.kubectl("scale rs/web --replicas=0")?;
    let everything = || -> BTreeSet<String> { holdings(&cluster).into_iter().chain(remains(&cluster)).collect() };
    eventually("the first Pod is gone", || Ok(processes(&cluster, "shims").is_empty()))?;
    eventually("its last traces are gone", || Ok(!everything().iter().any(|thing| thing.contains(&first))))?;
    let before = everything();

    let (mut chance, mut story) = (Chance(seed), Vec::new());
    survive(&cluster, &mut chance, &mut story).with_context(|| format!("FAULT_SEED={seed}: {story:#?}"))?;
    cluster.kubectl("delete rs web --timeout=60s")?;
    retry("nothing is left", || {
        let now = everything();
        let left: Vec<_> = now.difference(&before).collect();
        ensure!(left.is_empty(), "FAULT_SEED={seed}: {story:#?}\nleft: {left:#?}");
        Ok(())
    })
}

#[test]
fn a_full_disk_costs_nothing_that_was_promised() -> Result<()> {
    let cluster = Cluster::prepare(&[])?;
    let data = cluster.data_dir();
    fs::create_dir_all(&data)?;
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=96M", "full"]).arg(&data))?;
    cluster.up()?;
    cluster.import_busybox()?;
    cluster.apply(COUNTER)?;
    cluster.kubectl("wait --for=condition=Ready pod/counter --timeout=60s")?;
    let seen = "get pod counter -o jsonpath={.status.containerStatuses[*]['containerID','restartCount']}";
    let container = cluster.kubectl(seen)?;

    let filler = data.join("filler");
    let fill = format!("fallocate -l $(($(df --output=avail -B1 . | tail -1) - {ROOM})) filler");
    run(Command::new("sh").arg("-ec").arg(fill).current_dir(&data))?;
    let (promised, refusal) = fill_store(&cluster)?;
    ensure!(promised > 0, "something was promised: {refusal}");
    ensure!(refusal.contains("the storage's disk is full"), "the refusal is clear: {refusal}");
    ensure!(cluster.kubectl(seen)? == container, "the Pod runs on, and reads are answered");

    fs::remove_file(&filler)?;
    eventually("writes are taken again", || cluster.kubectl("create configmap after").map(|_| true))?;
    cluster.kill_server()?;
    cluster.up()?;
    let kept = cluster.kubectl("get configmaps -o name")?;
    let kept = kept.lines().filter(|name| name.contains("/fill-")).count();
    ensure!(kept >= promised, "{promised} were promised, {kept} are there");
    ensure!(cluster.kubectl(seen)? == container, "the Pod runs on");
    let before = cluster.kubectl("logs counter")?.lines().count();
    eventually("the log goes on", || Ok(cluster.kubectl("logs counter")?.lines().count() > before))
}

/// Writes objects until one is refused: how many were taken, and what was said then.
fn fill_store(cluster: &Cluster) -> Result<(usize, String)> {
    let value = tempfile::NamedTempFile::new()?;
    fs::write(value.path(), "x".repeat(900_000))?;
    for number in 0..200 {
        let mut create = cluster.command(program::kubectl());
        create.args(["create", "configmap", &format!("fill-{number}")]);
        let output = create.arg(format!("--from-file=value={}", value.path().display())).output()?;
        if !output.status.success() {
            return Ok((number, printed(&output)));
        }
    }
    anyhow::bail!("the disk is not full after 180 MB")
}

#[test]
fn another_program_takes_over_what_runs() -> Result<()> {
    let cluster = Cluster::start(&[])?;
    cluster.import_busybox()?;
    cluster.apply(COUNTER)?;
    cluster.kubectl("wait --for=condition=Ready pod/counter --timeout=60s")?;
    let seen = "get pod counter -o jsonpath={.status.containerStatuses[*]['containerID','restartCount','startedAt']}";
    let before = cluster.kubectl(seen)?;

    // Another build is another file with other bytes: what runs from the old one does not need it any more.
    let dir = tempfile::tempdir()?;
    let next = dir.path().join("sampan");
    fs::copy(program::sampan()?, &next)?;
    let mut bytes = fs::OpenOptions::new().append(true).open(&next)?;
    std::io::Write::write_all(&mut bytes, b"another build")?;
    drop(bytes);
    run(Command::new("kill").arg("-TERM").arg(cluster.server_pid()?.to_string()))?;
    // As long as the first has not ended, it is what runs.
    eventually("the other program starts", || {
        let mut up = cluster.command(&next);
        up.args(["up", "--instance", cluster.instance()]);
        Ok(!run(up.args(cluster.flags()))?.contains("runs already"))
    })?;
    let runs = fs::read_link(format!("/proc/{}/exe", cluster.server_pid()?))?;
    ensure!(runs == next.canonicalize()?, "{} runs", runs.display());

    ensure!(cluster.kubectl(seen)? == before, "the same container, not restarted");
    let lines = cluster.kubectl("exec counter -- sh -c pwd")?;
    ensure!(lines.trim() == "/", "{lines}");
    let counted = cluster.kubectl("logs counter")?;
    ensure!(counted.lines().enumerate().all(|(at, line)| line == (at + 1).to_string()), "a line is lost: {counted}");
    cluster.apply(&COUNTER.replace("name: counter", "name: second"))?;
    cluster.kubectl("wait --for=condition=Ready pod/second --timeout=60s")?;
    cluster.kubectl("delete pod counter second --timeout=60s").map(drop)
}
