//! What a node does with its processors, with the bound on all Pods, when its machine goes down, and on a containerd.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sampan_testkit::{Cluster, Containerd, Helper, eventually, program, retry};
use tokio::time::Instant;

fn pod(name: &str, more: &str, resources: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 5
  {more}
  containers:
  - name: c
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap exit TERM; sleep infinity & wait']
    resources: {resources}
"
    )
}

/// Waits until what `look` finds is what is wanted.
fn until<T: PartialEq + std::fmt::Debug>(what: &str, want: &T, look: impl Fn() -> Result<T>) -> Result<()> {
    retry(what, || {
        let found = look()?;
        ensure!(found == *want, "{found:?}, not {want:?}");
        Ok(())
    })
}

/// The processors that the container of `pod` may run on, as its own processes see it.
fn cpus(cluster: &Cluster, pod: &str) -> Result<String> {
    let status = cluster.kubectl(&format!("exec {pod} -- grep Cpus_allowed_list /proc/self/status"))?;
    Ok(status.split_whitespace().last().unwrap_or_default().to_owned())
}

/// The text of a control file at or below the group that all Pods of the cluster are in: of version 1, else of version 2.
fn group_of_pods(cluster: &Cluster, v1: &str, v2: &str) -> Result<String> {
    let controller = v1.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or_default();
    let instance = cluster.instance();
    let first = format!("/sys/fs/cgroup/{controller}/{instance}/kubepods/{v1}");
    let file = if Path::new(&first).exists() { first } else { format!("/sys/fs/cgroup/{instance}/kubepods/{v2}") };
    Ok(std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?.trim().to_owned())
}

fn memory_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("MemTotal")).context("no MemTotal")?;
    Ok(line.split_whitespace().nth(1).context("no amount")?.parse()?)
}

#[test]
fn a_guaranteed_pod_has_processors_of_its_own() -> Result<()> {
    let count = std::thread::available_parallelism()?.get();
    ensure!(count >= 2, "this test needs two processors");
    let (all, others) =
        (format!("0-{}", count - 1), if count == 2 { "0".into() } else { format!("0,2-{}", count - 1) });
    let flags = ["--cpu-manager-policy", "static", "--reserved-cpus", "0", "--kube-reserved", "memory=64Mi"];
    let cluster = Cluster::start(&flags)?;
    cluster.import_busybox()?;

    // All Pods together have what the machine does not keep for itself.
    let page_kib = 4;
    let want = (memory_kib()? - (64 << 10)) / page_kib * page_kib * 1024;
    ensure!(group_of_pods(&cluster, "memory.limit_in_bytes", "memory.max")? == want.to_string());
    let allocatable = cluster.kubectl("get node -o jsonpath={.items[0].status.allocatable.cpu}")?;
    ensure!(
        allocatable == (count - 1).to_string() || allocatable == format!("{}m", (count - 1) * 1000),
        "{allocatable}"
    );

    cluster.apply(&pod("guest", "", "{}"))?;
    cluster.kubectl("wait --for=condition=Ready pod/guest --timeout=60s")?;
    until("all share all", &all, || cpus(&cluster, "guest"))?;
    cluster.apply(&pod("own", "", "{limits: {cpu: 1, memory: 32Mi}}"))?;
    cluster.kubectl("wait --for=condition=Ready pod/own --timeout=60s")?;
    ensure!(cpus(&cluster, "own")? == "1", "its processor is its own");
    until("the others share what is left", &others, || cpus(&cluster, "guest"))?;
    cluster.apply(&pod("late", "", "{}"))?;
    cluster.kubectl("wait --for=condition=Ready pod/late --timeout=60s")?;
    ensure!(cpus(&cluster, "late")? == others, "who comes later shares what is left too");

    // A kubelet that comes after another one knows who has what.
    let state = cluster.data_dir().join("kubelet/cpu_manager_state");
    let before = std::fs::read_to_string(&state)?;
    ensure!(before.contains(&format!("\"defaultCpuSet\":\"{others}\"")), "{before}");
    cluster.kill_server()?;
    cluster.up()?;
    ensure!(cpus(&cluster, "own")? == "1" && cpus(&cluster, "guest")? == others);
    ensure!(std::fs::read_to_string(&state)? == before);

    cluster.kubectl("delete pod own --timeout=60s")?;
    until("its processor is shared again", &all, || cpus(&cluster, "guest"))?;
    burstable_pods_weigh_what_they_ask_for(&cluster)
}

/// Beside Guaranteed Pods, all Burstable ones together; also when a kubelet comes after another one.
fn burstable_pods_weigh_what_they_ask_for(cluster: &Cluster) -> Result<()> {
    let shares = |milli: i64| milli * 1024 / 1000;
    let weighs = |shares: i64| -> Result<bool> {
        let weight = 1 + (shares - 2) * 9_999 / 262_142;
        let found = group_of_pods(cluster, "burstable/cpu.shares", "burstable/cpu.weight")?;
        Ok([shares, weight].iter().any(|wanted| found == wanted.to_string()))
    };
    cluster.apply(&pod("heavy", "", "{requests: {cpu: 300m}}"))?;
    cluster.apply(&pod("light", "", "{requests: {cpu: 200m}}"))?;
    cluster.kubectl("wait --for=condition=Ready pod/heavy pod/light --timeout=60s")?;
    ensure!(weighs(shares(300) + shares(200))?, "both count");
    cluster.kill_server()?;
    cluster.up()?;
    eventually("both count for the next kubelet", || weighs(shares(300) + shares(200)))?;
    cluster.kubectl("delete pod heavy --timeout=60s")?;
    eventually("one counts no more", || weighs(shares(200)))
}

/// A bus with a logind on it, which is told of shutdowns by signals, and what that prints.
struct Machine {
    address: String,
    logind: Helper,
    said: std::path::PathBuf,
    _bus: Helper,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let address = format!("unix:path={}", dir.path().join("bus").display());
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--nopidfile", "--address", &address]);
        let bus = Helper::start(&bus, Stdio::null())?;
        eventually("there is a bus", || Ok(dir.path().join("bus").exists()))?;
        let said = dir.path().join("said");
        let program = std::env::current_exe()?.with_file_name("../examples/fake_logind");
        let mut logind = Command::new(&program);
        logind.env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        let logind = Helper::start(&logind, std::fs::File::create(&said)?)?;
        let machine = Self { address, logind, said, _bus: bus, _dir: dir };
        machine.until_said("ready")?;
        Ok(machine)
    }

    fn until_said(&self, what: &str) -> Result<()> {
        eventually(what, || Ok(std::fs::read_to_string(&self.said)?.lines().any(|line| line == what)))
    }
}

#[test]
fn a_containerd_leaves_nothing_of_its_pods() -> Result<()> {
    let mut cluster = Cluster::prepare(&[])?;
    let containerd = Containerd::start(&cluster)?;
    cluster.add_flag("--container-runtime-endpoint", &containerd.socket().to_string_lossy());
    cluster.up()?;
    cluster.apply(&pod("guest", "", "{}"))?;
    cluster.kubectl("wait --for=condition=Ready pod/guest --timeout=60s")?;
    let directory = containerd.directory().to_path_buf();
    let networks = std::fs::read_dir(directory.join("state/io.containerd.grpc.v1.cri/netns"))?.count();
    ensure!(networks == 1, "the Pod's network is not where it is looked for: there are {networks}");
    // Nobody has ended the Pod.
    cluster.kill_server()?;
    drop(containerd);
    ensure!(!directory.exists(), "{} is left", directory.display());
    Ok(())
}

/// A Pod whose three sidecars do not heed SIGTERM.
const CREW: &str = "
apiVersion: v1
kind: Pod
metadata: {name: crew}
spec:
  terminationGracePeriodSeconds: 60
  initContainers:
  - {name: one, image: busybox, imagePullPolicy: IfNotPresent, restartPolicy: Always, command: [sleep, infinity]}
  - {name: two, image: busybox, imagePullPolicy: IfNotPresent, restartPolicy: Always, command: [sleep, infinity]}
  - {name: three, image: busybox, imagePullPolicy: IfNotPresent, restartPolicy: Always, command: [sleep, infinity]}
  containers:
  - name: c
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap \"exit 0\" TERM; sleep infinity & wait']
";

#[test]
fn pods_end_before_the_machine_goes_down() -> Result<()> {
    let machine = Machine::start()?;
    let cluster = Cluster::prepare(&["--shutdown-grace-period", "20", "--shutdown-grace-period-critical-pods", "5"])?;
    let mut up = cluster.sampan("up")?;
    program::run(up.args(cluster.flags()).env("DBUS_SYSTEM_BUS_ADDRESS", &machine.address))?;
    machine.until_said("inhibited: shutdown kubelet delay")?;
    cluster.import_busybox()?;
    cluster.apply(&pod("plain", "", "{}"))?;
    cluster.apply(CREW)?;
    cluster.kubectl("wait --for=condition=Ready pod/plain pod/crew --timeout=60s")?;

    // It is about to go down: Pods end in the words of upstream, then the machine may.
    machine.logind.signal("-USR1")?;
    let begun = Instant::now();
    let status = "get pod plain -o jsonpath={.status.phase}|{.status.reason}|{.status.message}";
    let ended = "Failed|Terminated|Pod was terminated in response to imminent node shutdown.".to_owned();
    until("the Pod has ended", &ended, || cluster.kubectl(status))?;
    machine.until_said("released")?;
    // Sidecars that do not heed their signal share the grace of 15 s, but for two seconds that each has in any case.
    let status = "get pod crew -o jsonpath={.status.phase}|{.status.reason}|{.status.message}";
    until("the Pod with sidecars has ended", &ended, || cluster.kubectl(status))?;
    ensure!(begun.elapsed() < Duration::from_secs(28), "sidecars took {:?}", begun.elapsed());
    let disrupted = "get pod plain -o jsonpath={.status.conditions[?(@.type==\"DisruptionTarget\")].reason}";
    ensure!(cluster.kubectl(disrupted)? == "TerminationByKubelet");
    let ready = "get node -o jsonpath={range.items[0].status.conditions[?(@.type==\"Ready\")]}{.status}|{.reason}|{.message}{end}";
    let not_ready = "False|KubeletNotReady|node is shutting down".to_owned();
    until("the node says so", &not_ready, || cluster.kubectl(ready))?;

    // Nothing more is taken.
    let node = cluster.kubectl("get node -o jsonpath={.items[0].metadata.name}")?;
    cluster.apply(&pod("late", &format!("nodeName: {node}\n  tolerations: [{{operator: Exists}}]"), "{}"))?;
    let status = "get pod late -o jsonpath={.status.phase}|{.status.reason}|{.status.message}";
    let refused = "Failed|NodeShutdown|Pod was rejected: Pod was rejected as the node is shutting down.".to_owned();
    until("the Pod is refused", &refused, || cluster.kubectl(status))?;

    // After all it does not go down.
    machine.logind.signal("-USR2")?;
    let is_ready = "True|KubeletReady|kubelet is posting ready status".to_owned();
    until("the node is back", &is_ready, || cluster.kubectl(ready))?;
    cluster.apply(&pod("again", "", "{}"))?;
    cluster.kubectl("wait --for=condition=Ready pod/again --timeout=60s")?;
    let events = cluster.kubectl("get events -A -o jsonpath={.items[?(@.reason==\"NodeShutdown\")].message}")?;
    let told = ["Shutdown manager detected shutdown event", "Shutdown manager detected shutdown cancellation"];
    ensure!(told.iter().all(|told| events.contains(told)), "{events}");
    Ok(())
}
