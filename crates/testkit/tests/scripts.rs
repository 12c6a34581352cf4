//! Every script of `tests/scripts`, with kubectl, on one real cluster; each in a namespace of its own, several at once.
//!
//! A script whose first line begins `# Alone` runs after the others, by itself: it changes the node for everyone. One that
//! begins with ``# With `--flag value`:`` runs on a cluster that is started with these flags.
//!
//! `cargo test -p sampan-testkit --test scripts -- services` runs those whose names contain the word. `SCRIPTS` names
//! another directory of scripts. With `RUNTIME=containerd` the node makes its Pods with Debian's containerd. With
//! `MUST_MATCH=1` a word that no name contains is an error: who writes words into a file wants to hear of a new name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use sampan_testkit::script::Script;
use sampan_testkit::{Cluster, Containerd, program};

/// Far more than any command of a script takes.
const COMMAND_SECONDS: &str = "240";
/// Scripts that run at once: they mostly wait.
const AT_ONCE: usize = 3;

/// Outside clients that scripts name by these variables, and what under `scripts/` installs them and says where.
const CLIENTS: [(&str, &str); 5] = [
    ("OLD_KUBECTL", "old-kubectl.sh"),
    ("NEW_KUBECTL", "new-kubectl.sh"),
    ("PYTHON", "python-client.sh"),
    ("JAVASCRIPT_CLIENT", "javascript-client.sh"),
    ("HELM", "helm.sh"),
];

/// What the scripts run on.
struct Bench {
    cluster: Cluster,
    /// What makes the Pods, if the cluster does not itself. It ends after the cluster.
    _containerd: Option<Containerd>,
    /// Where the clients are, by their variables.
    clients: Vec<(&'static str, String)>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let outcome = scripts(&words).and_then(|scripts| run_all(&scripts));
    match outcome {
        Ok((passed, failed)) => {
            let verdict = if failed == 0 { "ok" } else { "FAILED" };
            println!(
                "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n"
            );
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn scripts(words: &[String]) -> Result<Vec<PathBuf>> {
    let dir = std::env::var_os("SCRIPTS").map_or_else(|| program::tree().join("tests/scripts"), PathBuf::from);
    let entries = fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    paths.retain(|path| words.is_empty() || words.iter().any(|word| name(path).contains(word)));
    paths.sort();
    if std::env::var_os("MUST_MATCH").is_some() {
        let missed: Vec<_> = words.iter().filter(|word| !paths.iter().any(|path| name(path).contains(*word))).collect();
        ensure!(missed.is_empty(), "no script in {} is called {missed:?}", dir.display());
        ensure!(!paths.is_empty(), "there are no scripts in {}", dir.display());
    }
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn run_all(scripts: &[PathBuf]) -> Result<(usize, usize)> {
    if scripts.is_empty() {
        return Ok((0, 0));
    }
    let mut clusters: BTreeMap<Vec<String>, Vec<PathBuf>> = BTreeMap::new();
    for path in scripts {
        clusters.entry(flags(path)?).or_default().push(path.clone());
    }
    let clients = clients(scripts)?;
    let mut failed = 0;
    for (flags, scripts) in &clusters {
        failed += run_on_cluster(flags, scripts, &clients)?;
    }
    Ok((scripts.len() - failed, failed))
}

/// Runs scripts on a cluster that is started with `flags`. Returns how many failed.
fn run_on_cluster(flags: &[String], scripts: &[PathBuf], clients: &[(&'static str, String)]) -> Result<usize> {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare(&flags)?;
    let containerd = match std::env::var("RUNTIME") {
        Ok(name) if name == "containerd" => Some(Containerd::start(&cluster)?),
        Ok(name) => bail!("RUNTIME={name}: the tests know containerd"),
        Err(_) => None,
    };
    if let Some(containerd) = &containerd {
        cluster.add_flag("--container-runtime-endpoint", &containerd.socket().to_string_lossy());
    }
    cluster.up()?;
    if containerd.is_none() {
        cluster.import_busybox()?;
    }
    let bench = Bench { cluster, _containerd: containerd, clients: clients.to_vec() };
    let (alone, together): (Vec<_>, Vec<_>) = scripts.iter().partition(|path| is_alone(path));
    let failed = run_some(&bench, &together, AT_ONCE) + run_some(&bench, &alone, 1);
    if failed > 0 {
        let log = fs::read_to_string(bench.cluster.data_dir().join("server.log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(25).collect();
        println!("the server's last words:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(failed)
}

/// The flags of the cluster that a script wants for itself.
fn flags(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    let flags = text.strip_prefix("# With `").and_then(|rest| rest.split_once('`')).map(|(flags, _)| flags);
    Ok(flags.unwrap_or_default().split_whitespace().map(str::to_owned).collect())
}

/// Installs the clients that the scripts name.
fn clients(scripts: &[PathBuf]) -> Result<Vec<(&'static str, String)>> {
    let texts = scripts.iter().map(fs::read_to_string).collect::<Result<String, _>>()?;
    let operator = std::env::current_exe()?.with_file_name("../website-operator");
    let mut clients = vec![("OPERATOR", operator.display().to_string())];
    for (variable, script) in CLIENTS.iter().filter(|(variable, _)| texts.contains(&format!("${variable}"))) {
        let path = program::run(&mut Command::new(program::tree().join("scripts").join(script)))?;
        clients.push((variable, path.trim().to_owned()));
    }
    Ok(clients)
}

fn is_alone(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.starts_with("# Alone"))
}

/// Runs scripts, so many at once. Returns how many failed.
fn run_some(bench: &Bench, scripts: &[&PathBuf], at_once: usize) -> usize {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(scripts.len()) {
            scope.spawn(|| {
                while let Some(path) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = run(bench, path) {
                        println!("test {} ... FAILED\n{error:#}\n", name(path));
                        failed.fetch_add(1, Ordering::Relaxed);
                    } else {
                        println!("test {} ... ok", name(path));
                    }
                }
            });
        }
    });
    failed.into_inner()
}

/// Runs one script in a namespace of its name, which is deleted afterwards.
fn run(bench: &Bench, path: &Path) -> Result<()> {
    let cluster = &bench.cluster;
    let script = Script::parse(&fs::read_to_string(path)?)?;
    let namespace = name(path).replace('_', "-");
    let dir = std::env::temp_dir().join(format!("{}-{namespace}", cluster.instance()));
    fs::create_dir_all(&dir)?;
    let kubeconfig = dir.join(".kubeconfig");
    fs::copy(cluster.kubeconfig(), &kubeconfig)?;
    cluster.kubectl(&format!("create namespace {namespace}"))?;
    // The namespace's own account must be there before its first Pod.
    cluster.kubectl(&format!("-n {namespace} wait --for=create serviceaccount/default --timeout=30s"))?;
    cluster.kubectl(&format!(
        "--kubeconfig {} config set-context --current --namespace {namespace}",
        kubeconfig.display()
    ))?;
    let path = path_with_kubectl(&dir)?;
    let shell = |line: &str| -> Command {
        // It ends what the command has started too: whatever holds its output open would be waited for.
        let mut command = cluster.command("timeout");
        command
            .args(["--kill-after=5", COMMAND_SECONDS, "sh", "-c", line])
            .env("KUBECONFIG", &kubeconfig)
            .env("NAMESPACE", &namespace)
            .env("PATH", &path);
        command.envs(bench.clients.iter().map(|(variable, path)| (variable, path)));
        command.env("UP_FLAGS", cluster.flags().join(" "));
        command.env("INSTANCE", cluster.instance()).env("TREE", program::tree());
        if let Ok(sampan) = program::sampan() {
            command.env("SAMPAN", sampan);
        }
        command
    };
    let outcome = script.run(&dir, &shell);
    let deleted = cluster.kubectl(&format!("delete namespace {namespace} --wait=false"));
    let removed = fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()));
    outcome.and(deleted.map(drop)).and(removed)
}

/// The search path on which `kubectl` is the one to test with.
fn path_with_kubectl(dir: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let kubectl = program::kubectl();
    if !kubectl.is_absolute() {
        return Ok(path);
    }
    let first = dir.join(".bin");
    fs::create_dir_all(&first)?;
    std::os::unix::fs::symlink(kubectl, first.join("kubectl"))?;
    Ok(std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&path)))?)
}
