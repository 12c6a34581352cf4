//! A server in the background: starting it, finding it, ending it.
//!
//! A running server holds a lock on `<state-dir>/server.lock` and has written its process id there. The lock, not the
//! number, says whether it runs.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags};

use crate::config::{Config, private_dir};
use crate::progress;

/// A server that is told to end has this long before it is killed: a minute for requests under way, if they take it, and
/// what the other parts need. Pods are not its to wait for.
const STOP_TIMEOUT: Duration = Duration::from_secs(80);

/// How long the kernel may take to end a server that was killed.
const DYING: Duration = Duration::from_millis(500);

/// The mark of a running server; dropping it says that the server has ended.
pub(crate) struct Mark {
    _lock: Flock<File>,
}

fn lock_path(config: &Config) -> PathBuf {
    config.state_dir.join("server.lock")
}

/// Notes whose Pods this server's are, for a `down` that is not given the flags of `up`.
pub(crate) fn note_runtime(config: &Config) -> Result<()> {
    let path = runtime_note(config);
    match &config.container_runtime_endpoint {
        Some(socket) => std::fs::write(&path, socket.as_os_str().as_encoded_bytes()),
        None if path.exists() => std::fs::remove_file(&path),
        None => Ok(()),
    }
    .with_context(|| format!("writing {}", path.display()))
}

/// The socket of the container runtime beside the embedded one that has the Pods, if one has.
pub(crate) fn foreign_runtime(config: &Config) -> Option<PathBuf> {
    let noted = || std::fs::read_to_string(runtime_note(config)).ok().map(PathBuf::from);
    config.container_runtime_endpoint.clone().or_else(noted)
}

fn runtime_note(config: &Config) -> PathBuf {
    config.state_dir.join("container-runtime-endpoint")
}

/// Where a server in the background logs to.
pub(crate) fn log_path(config: &Config) -> PathBuf {
    config.data_dir.join("server.log")
}

/// Marks this process as the server of `config`; fails if another one is.
pub(crate) fn mark(config: &Config) -> Result<Mark> {
    private_dir(&config.state_dir)?;
    let path = lock_path(config);
    let mut file = open_lock(&path)?;
    match Flock::lock(file.try_clone().context("cloning a file handle")?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            file.set_len(0).and_then(|()| file.rewind()).with_context(|| format!("writing {}", path.display()))?;
            writeln!(file, "{}", std::process::id()).with_context(|| format!("writing {}", path.display()))?;
            Ok(Mark { _lock: lock })
        }
        Err((_, _)) => {
            let pid = read_pid(&path).unwrap_or_default();
            bail!(
                "another sampan (process {pid}) runs with the state directory {}; end it with `sampan down`, or give \
                 this one another --instance",
                config.state_dir.display()
            )
        }
    }
}

fn open_lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("opening {}", path.display()))
}

fn read_pid(path: &Path) -> Option<i32> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The process id of the running server, if one runs.
pub(crate) fn running(config: &Config) -> Option<i32> {
    let path = lock_path(config);
    let file = File::open(&path).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err(_) => read_pid(&path),
    }
}

/// Starts a server in the background with the arguments `args` and waits until it is ready.
pub(crate) fn start(config: &Config, args: &[String]) -> Result<()> {
    private_dir(&config.data_dir)?;
    let log = log_path(config);
    let log_file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("opening the log {}", log.display()))?;
    let mut server = Command::new(std::env::current_exe().context("finding our own program")?)
        .arg("server")
        .arg("--background")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .current_dir("/")
        .spawn()
        .context("starting the server")?;
    let lines = server.stdout.take().context("invariant: standard output is a pipe")?;
    progress::draw(BufReader::new(lines)).map_err(|why| {
        let _ = server.wait();
        anyhow::anyhow!("{why}\n    the log: {}", log.display())
    })
}

/// The process id of the running server, if one runs on. One that was killed holds its lock until the kernel has taken
/// it apart: that is waited for, not for long.
pub(crate) fn running_on(config: &Config) -> Result<Option<i32>> {
    let Some(pid) = running(config) else { return Ok(None) };
    let Some(handle) = open(pid) else { return Ok(running(config)) };
    Ok(if has_ended(&handle, DYING)? { None } else { Some(pid) })
}

/// Asks the running server to end and waits until it has. Its Pods run on.
pub(crate) fn stop(config: &Config) -> Result<bool> {
    let Some(handle) = running(config).and_then(open) else { return Ok(false) };
    let signal = |signal| rustix::process::pidfd_send_signal(&handle, signal);
    let _ = signal(rustix::process::Signal::TERM);
    if !has_ended(&handle, STOP_TIMEOUT)? {
        eprintln!("the server did not end within {} s and is killed ({})", STOP_TIMEOUT.as_secs(), Signal::SIGKILL);
        let _ = signal(rustix::process::Signal::KILL);
        has_ended(&handle, STOP_TIMEOUT)?;
    }
    Ok(true)
}

fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Whether the process has ended; waits for that as long as `timeout`.
fn has_ended(process: &OwnedFd, timeout: Duration) -> Result<bool> {
    let mut wait = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    Ok(nix::poll::poll(&mut wait, timeout).context("waiting for the server to end")? > 0)
}
