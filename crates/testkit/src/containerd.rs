//! Debian's containerd beside a cluster, for a node that makes its Pods with it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use crate::{Cluster, program};

/// What keeps containerd running: it says that it is there, and waits until nobody listens any more.
const HOLD: &str = "#!/bin/sh\necho \"$1\"\nexec cat\n";
/// What containers are made with.
const OCI_RUNTIME: &str = "runc";

/// A containerd in a cluster's network namespace, with directories of its own. It ends when this is dropped, with
/// whatever containers it has left.
pub struct Containerd {
    script: Child,
    directory: PathBuf,
    socket: PathBuf,
}

impl Containerd {
    /// Starts one with the image busybox in it.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let tree = program::tree();
        program::run(std::process::Command::new(tree.join("scripts/deps.sh")).args([
            "containerd=containerd",
            "runc=runc",
            "/usr/lib/cni/bridge=containernetworking-plugins",
        ]))?;
        // Not where the cluster's end removes what it finds.
        let directory = PathBuf::from(format!("/var/lib/{}-containerd", cluster.instance()));
        let hold = cluster.home().join("hold");
        std::fs::write(&hold, HOLD)?;
        program::run(std::process::Command::new("chmod").arg("+x").arg(&hold))?;
        let mut command = cluster.command(tree.join("benches/containerd.sh"));
        command.arg(OCI_RUNTIME).arg(&directory).arg(&hold).current_dir(&tree);
        command.env("IMAGE", "docker.io/library/busybox:latest").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().context("starting containerd")?;
        let output = script.stdout.take().context("invariant: standard output is a pipe")?;
        let mut socket = String::new();
        BufReader::new(output).read_line(&mut socket)?;
        let started = Self { script, directory, socket: socket.trim().into() };
        if started.socket.as_os_str().is_empty() {
            let log = std::fs::read_to_string(started.directory.join("log")).unwrap_or_default();
            bail!("containerd did not start:\n{log}");
        }
        Ok(started)
    }

    /// Where everything is that it makes, as far as it is files: of a killed test, nobody could tell what else is its.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        if let Err(error) = self.script.wait() {
            eprintln!("ending containerd: {error}");
        }
    }
}
