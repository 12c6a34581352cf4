//! A cluster's own life: its start, its end, its death and what is left; and what keeps it from starting.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sampan_testkit::kernel::holdings;
use sampan_testkit::program::{self, refused, run};
use sampan_testkit::{Cluster, eventually};

/// A Deployment of two Pods behind a Service.
const ECHO: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "mkdir /tmp/www && hostname > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
        resources: {limits: {memory: 32Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// Starts [`ECHO`] and returns when it serves.
fn start_echo(cluster: &Cluster) -> Result<()> {
    cluster.import_busybox()?;
    cluster.apply(ECHO)?;
    cluster.kubectl("rollout status deployment/echo --timeout=60s")?;
    eventually("the Service answers", || Ok(fetch(cluster).is_ok()))
}

/// What the Service answers.
fn fetch(cluster: &Cluster) -> Result<String> {
    let address = cluster.kubectl("get service echo -o jsonpath={.spec.clusterIP}")?;
    fetch_from(cluster, &address)
}

fn fetch_from(cluster: &Cluster, address: &str) -> Result<String> {
    run(cluster.command("curl").args(["-s", "-f", "-m", "2", &format!("http://{address}/")]))
}

#[test]
fn down_leaves_nothing_behind_and_up_brings_everything_back() -> Result<()> {
    let cluster = Cluster::prepare(&[])?;
    let before = holdings(&cluster);
    cluster.up()?;
    start_echo(&cluster)?;
    ensure!(cluster.up()?.contains("runs already"), "a second up finds the cluster");
    ensure!(holdings(&cluster).len() > before.len(), "the test sees what a cluster holds");

    run(&mut cluster.sampan("down")?)?;
    let left: Vec<_> = holdings(&cluster).difference(&before).cloned().collect();
    ensure!(left.is_empty(), "down left behind: {left:#?}");

    cluster.up()?;
    cluster.kubectl("rollout status deployment/echo --timeout=60s")?;
    eventually("the Service answers again", || Ok(fetch(&cluster).is_ok()))
}

#[test]
fn a_data_directory_behind_a_link_is_used_and_cleaned() -> Result<()> {
    let cluster = Cluster::prepare(&[])?;
    let data = PathBuf::from(format!("/tmp/{}-data", cluster.instance()));
    let link = PathBuf::from(format!("/var/lib/{}", cluster.instance()));
    std::os::unix::fs::symlink(&data, &link)?;
    for _ in 0..2 {
        // The link leads to nothing yet, or to nothing any more.
        ensure!(!data.exists());
        cluster.up()?;
        start_echo(&cluster)?;
        cluster.kubectl("delete deployment echo --timeout=60s")?;
        eventually("the Pods' directories are gone", || {
            Ok(std::fs::read_dir(data.join("kubelet/pods"))?.next().is_none())
        })?;
        start_echo(&cluster)?;
        run(cluster.sampan("down")?.arg("--purge"))?;
    }
    ensure!(!data.exists(), "the data is purged");
    Ok(std::fs::remove_file(link)?)
}

#[test]
fn pods_survive_the_death_of_the_server() -> Result<()> {
    let cluster = Cluster::start(&[])?;
    start_echo(&cluster)?;
    let address = cluster.kubectl("get service echo -o jsonpath={.spec.clusterIP}")?;
    let seen = "get pods -o jsonpath={.items[*].status.containerStatuses[*]['containerID','restartCount']}";
    let before = cluster.kubectl(seen)?;
    ensure!(before.contains("sampan://"), "{before}");

    cluster.kill_server()?;
    for _ in 0..20 {
        fetch_from(&cluster, &address).context("while the server is dead")?;
    }
    cluster.up()?;
    let after = cluster.kubectl(seen)?;
    ensure!(after == before, "adopted: {after}\nbefore: {before}");
    // The kubelet has looked at its Pods by now: it deletes and replaces one as ever.
    let pod = cluster.kubectl("get pods -l app=echo -o jsonpath={.items[0].metadata.name}")?;
    cluster.kubectl(&format!("delete pod {pod} --wait=true --timeout=30s"))?;
    cluster.kubectl("rollout status deployment/echo --timeout=60s").map(drop)
}

#[test]
fn two_servers_do_not_share_a_directory_or_a_port() -> Result<()> {
    let cluster = Cluster::start(&[])?;
    let said = refused(&mut cluster.sampan("server")?)?;
    ensure!(said.contains("another sampan") && said.contains("sampan down"), "{said}");

    let other = Cluster::prepare(&[])?;
    let mut second = cluster.command(program::sampan()?);
    second.args(["up", "--instance", other.instance()]);
    let said = refused(&mut second)?;
    ensure!(said.contains("cannot listen on 0.0.0.0:6443") && said.contains("--port"), "{said}");
    Ok(())
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() -> Result<()> {
    let cluster = Cluster::prepare(&[])?;
    let before = holdings(&cluster);
    let up = |flag: &str, value: &str| -> Result<String> {
        let mut command = cluster.sampan("up")?;
        command.args([flag, value]);
        refused(&mut command)
    };
    for (flag, value, told) in [
        ("--cluster-cidr", "10.43.0.0/16", "overlap"),
        ("--cluster-cidr", "nonsense", "cluster-cidr"),
        ("--cluster-dns", "192.0.2.1", "cluster-dns"),
        ("--config", "/nonexistent/config.yaml", "/nonexistent/config.yaml"),
    ] {
        let said = up(flag, value)?;
        ensure!(said.contains(told), "{flag} {value}: {said}");
    }
    let program = program::sampan()?;
    // Nobody may read the tree of root's home; the program itself may be run from a copy.
    let copy = tempfile::NamedTempFile::new()?.into_temp_path();
    std::fs::copy(&program, &copy)?;
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid", "65534", "--clear-groups"]).arg(&copy).arg("up");
    let said = refused(&mut as_nobody)?;
    ensure!(said.contains("only root") && said.contains("sudo"), "{said}");
    let left: Vec<_> = holdings(&cluster).difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left behind: {left:#?}");
    Ok(())
}
