//! A real cluster in a network namespace of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::program::{self, run};

/// Instances of tests begin with this; the rest is the id of the process that owns them, and a number.
const PREFIX: &str = "sampan-t";
/// The node's address inside its network namespace, from the block for documentation.
const NODE_ADDRESS: &str = "192.0.2.10";

/// Whatever the machine that tests run on has left of its disk, Pods and images stay.
const ROOMY: [&str; 4] = ["--eviction-hard", "memory.available<100Mi", "--image-gc-high-threshold", "100"];

/// A running cluster. It ends, with everything it held, when this is dropped.
pub struct Cluster {
    instance: String,
    flags: Vec<String>,
}

impl Cluster {
    /// Starts a cluster. `flags` are further flags of `sampan up`.
    pub fn start(flags: &[&str]) -> Result<Self> {
        let cluster = Self::prepare(flags)?;
        cluster.up()?;
        Ok(cluster)
    }

    /// Makes a cluster's network namespace without starting anything in it.
    pub fn prepare(flags: &[&str]) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: std::sync::Once = std::sync::Once::new();
        SWEPT.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        ensure!(number < 36, "the names of a test process are enough for 36 clusters");
        let instance = name_of(std::process::id(), number);
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        if !flags.iter().any(|flag| flag == "--eviction-hard") {
            flags.extend(ROOMY.map(str::to_owned));
        }
        let cluster = Self { instance, flags };
        make_namespace(&cluster.instance)?;
        Ok(cluster)
    }

    /// Runs `sampan up` and returns what it printed.
    pub fn up(&self) -> Result<String> {
        let mut command = self.sampan("up")?;
        run(command.args(&self.flags))
    }

    /// The name of this cluster, with which all its kernel objects begin.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Starts it with one more flag from now on.
    pub fn add_flag(&mut self, name: &str, value: &str) {
        self.flags.extend([name.to_owned(), value.to_owned()]);
    }

    /// The flags that it is started with.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The file with which clients reach it.
    pub fn kubeconfig(&self) -> PathBuf {
        format!("/etc/{}/kubeconfig.yaml", self.instance).into()
    }

    /// Where its data lives.
    pub fn data_dir(&self) -> PathBuf {
        format!("/var/lib/{}", self.instance).into()
    }

    /// Where its run-time state lives.
    pub fn state_dir(&self) -> PathBuf {
        format!("/run/{}", self.instance).into()
    }

    /// The id of the server's process.
    pub fn server_pid(&self) -> Result<i32> {
        let path = self.state_dir().join("server.lock");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{} holds no process id", path.display()))
    }

    /// Kills the server with no chance to end in order.
    pub fn kill_server(&self) -> Result<()> {
        run(Command::new("kill").args(["-9", &self.server_pid()?.to_string()])).map(drop)
    }

    /// A command that runs inside the cluster's network namespace, with its kubeconfig.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.instance)).arg("--").arg(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.home());
        command
    }

    /// A directory for what commands keep between runs, apart from the user's own.
    pub fn home(&self) -> PathBuf {
        format!("/run/{}-home", self.instance).into()
    }

    /// The program's `verb` on this cluster.
    pub fn sampan(&self, verb: &str) -> Result<Command> {
        let mut command = self.command(program::sampan()?);
        command.args([verb, "--instance", &self.instance]);
        Ok(command)
    }

    /// kubectl with `args`, separated by blanks; it must succeed. Returns what it printed.
    pub fn kubectl(&self, args: &str) -> Result<String> {
        run(self.command(program::kubectl()).args(args.split_whitespace()))
    }

    /// Applies `manifest`.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.apply_in("default", manifest)
    }

    /// Applies `manifest` in a namespace.
    pub fn apply_in(&self, namespace: &str, manifest: &str) -> Result<String> {
        let mut kubectl = self.command(program::kubectl());
        kubectl.args(["apply", "--namespace", namespace, "-f", "-"]);
        program::run_with(&mut kubectl, manifest.as_bytes())
    }

    /// Makes the image busybox and brings it in.
    pub fn import_busybox(&self) -> Result<()> {
        let import = format!(
            "{}/images/busybox.sh | {} image --instance {} import - --rootfs --name docker.io/library/busybox:latest --cmd sh",
            program::tree().display(),
            program::sampan()?.display(),
            self.instance
        );
        run(self.command("sh").arg("-ec").arg(import)).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        remove(&self.instance);
    }
}

/// The name of the cluster with this number of the process `pid`. Only [`owner`] reads it. The largest process id there can
/// be has five digits that begin with a 2: no word that a person would call a cluster by looks like this.
fn name_of(pid: u32, number: u32) -> String {
    format!("{PREFIX}{:0>5}{}", base36(pid), base36(number))
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// A network namespace with a loopback, and an interface with the node's address and a default route that leads nowhere.
fn make_namespace(instance: &str) -> Result<()> {
    let script = format!(
        "ip netns add {instance}
         ip -n {instance} link set lo up
         ip -n {instance} link add node0 type veth peer name node1
         ip -n {instance} addr add {NODE_ADDRESS}/24 dev node0
         ip -n {instance} link set node0 up
         ip -n {instance} link set node1 up
         ip -n {instance} route add default dev node0
         mkdir -p /run/{instance}-home"
    );
    run(Command::new("sh").arg("-ec").arg(script)).map(drop)
}

/// Where a cluster and its test keep what they have: under the instance's name, or under that with a dash and more.
const PLACES: [&str; 4] = ["/run/netns", "/run", "/var/lib", SHARED];
/// Where tests of other crates have directories that begin like an instance's name, without a dash behind it.
const SHARED: &str = "/tmp";

/// Ends the cluster `instance` with everything it holds, and what its test has made beside it. What is gone already is no
/// error.
fn remove(instance: &str) {
    if let Ok(program) = program::sampan() {
        let namespace = format!("/run/netns/{instance}");
        // Of a test that was killed, the namespace may be gone and the rest not.
        let mut down = Command::new("nsenter");
        if Path::new(&namespace).exists() {
            down.arg(format!("--net={namespace}"));
        }
        down.arg("--").arg(program);
        report(run(down.args(["down", "--purge", "--instance", instance])));
    }
    let script = format!(
        "ip netns delete {instance} 2>/dev/null
         {} {}",
        clear("/run", instance),
        clear(SHARED, instance)
    );
    report(run(Command::new("sh").arg("-c").arg(script)));
}

/// Ends what a containerd that was killed has left running beside the cluster `instance`, and removes what it had: nobody
/// else can any more.
fn end_containerd(instance: &str) {
    let script = format!(
        "pgrep -f '^[^ ]*containerd.* /var/lib/{instance}-' | xargs -r kill -9
         for group in /sys/fs/cgroup/{instance} /sys/fs/cgroup/*/{instance}; do
           tries=0
           while [ -d $group ] && [ $tries -lt 50 ]; do
             find $group -name cgroup.procs -exec cat {{}} + | sort -u | xargs -r kill -9 2>/dev/null
             find $group -depth -type d -delete 2>/dev/null || sleep 0.1
             tries=$((tries + 1))
           done
         done
         rm -f /run/{instance}/container-runtime-endpoint
         {}",
        clear("/var/lib", instance)
    );
    report(run(Command::new("sh").arg("-c").arg(script)));
}

/// Shell commands that unmount and remove what is in `place` under the instance's name with a dash and more.
fn clear(place: &str, instance: &str) -> String {
    let path = format!("{place}/{instance}-");
    format!(
        "tac /proc/self/mounts | cut -d' ' -f2 | grep '^{path}' | xargs -r -n1 umount --lazy
         rm -rf --one-file-system {path}*
        "
    )
}

fn report(outcome: Result<String>) {
    if let Err(error) = outcome {
        eprintln!("cleaning up: {error:#}");
    }
}

/// Removes the clusters of test processes that are gone.
fn sweep() {
    let Some(pid_max) = fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok())
    else {
        return;
    };
    let names: BTreeSet<String> = PLACES.iter().flat_map(|place| instances_in(place)).collect();
    for name in names {
        if owner(&name, pid_max).is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            eprintln!("removing what is left of {name}");
            if Path::new(&format!("/var/lib/{name}-containerd")).exists() {
                end_containerd(&name);
            }
            remove(&name);
        }
    }
}

fn instances_in(place: &str) -> Vec<String> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.filter_map(|entry| instance_of(place, &entry.file_name().to_string_lossy()).map(str::to_owned)).collect()
}

/// The instance whose something `name` is in the directory `place`.
fn instance_of<'a>(place: &str, name: &'a str) -> Option<&'a str> {
    let rest = name.strip_prefix(PREFIX)?;
    match rest.find('-') {
        Some(length) => Some(&name[..PREFIX.len() + length]),
        None => (place != SHARED).then_some(name),
    }
}

/// The process that made the instance `name`, if it is exactly what [`name_of`] makes of a process's id and one digit.
fn owner(name: &str, pid_max: u32) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let (pid, number) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
    let (pid, number) = (u32::from_str_radix(pid, 36).ok()?, u32::from_str_radix(number, 36).ok()?);
    (pid <= pid_max && name == name_of(pid, number)).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_names_its_owner() {
        let pid_max = 1 << 22;
        let longest = name_of(pid_max, 35);
        assert_eq!((name_of(12345, 7).as_str(), longest.as_str()), ("sampan-t009ix7", "sampan-t2hwcgz"));
        assert_eq!((owner("sampan-t009ix7", pid_max), owner(&longest, pid_max)), (Some(12345), Some(pid_max)));
        for stranger in
            ["sampan", "sampan-t", "sampan-t7", "sampan-t9ix7", "sampan-t009IX7", "sampan-t009ix_", "sampan-t+09ix7"]
        {
            assert_eq!(owner(stranger, pid_max), None, "{stranger}");
        }
        for person in ["sampan-test", "sampan-try1", "sampan-tester", "sampan-trials"] {
            assert_eq!(owner(person, pid_max), None, "{person}");
        }
    }

    #[test]
    fn what_stands_in_a_place_belongs_to_an_instance() {
        for (place, name, want) in [
            ("/run", "sampan-t009ix7", Some("sampan-t009ix7")),
            ("/run", "sampan-t009ix7-home", Some("sampan-t009ix7")),
            ("/run", "sampan", None),
            ("/tmp", "sampan-t009ix7-host", Some("sampan-t009ix7")),
            ("/tmp", "sampan-t009ix7", None),
        ] {
            assert_eq!(instance_of(place, name), want, "{place}/{name}");
        }
    }
}
