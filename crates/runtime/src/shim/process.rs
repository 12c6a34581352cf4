//! A process of the Pod, seen from the shim that is its parent; and how one is started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, LinuxSeccomp, Process as Wanted, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces};

use super::launch::{self, Launch};
use super::logs::Log;
use super::outputs::Output;
use super::users::UserSpace;
use super::wire::{BUNDLE_FILE, Bundle, EXIT_FILE, Stream};
use crate::cgroups::{Group, Hierarchies};
use crate::kernel::{self, Cloned};
use crate::{disk, seccomp};

/// A process and what the shim keeps for it.
pub(super) struct Process {
    /// In the node's PID namespace.
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) started_at: Timestamp,
    pub(super) phase: Phase,
    /// It only prepares what another process goes on with (see `users.rs`).
    pub(super) helped: bool,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) role: Role,
}

/// How far a process has come. Its end is not a phase: it is removed.
pub(super) enum Phase {
    /// Being set up by our own code; reports come over this socket.
    Starting { report: OwnedFd, ready: bool, origin: Origin },
    /// The container's program runs.
    Running,
}

/// Who asked, and by which request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) peer: u64,
    pub(super) request: u64,
}

/// What a process is in the Pod.
pub(super) enum Role {
    /// A container's first process.
    Container(Box<Contained>),
    /// A session beside a container's first process.
    Session,
}

/// What the shim keeps for a container.
pub(super) struct Contained {
    pub(super) spec: Spec,
    pub(super) cgroup: String,
    /// Whether its processes end with its first one by the kernel's doing.
    pub(super) own_processes: bool,
    pub(super) exit_record: PathBuf,
    pub(super) log: Option<Log>,
    pub(super) outputs: Vec<Output>,
    /// The write side of its standard input.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdin_once: bool,
}

impl Contained {
    pub(super) fn resources(&self) -> Option<&LinuxResources> {
        self.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref())
    }

    /// What a further process knows; one with a terminal knows what kind that is.
    pub(super) fn environment(&self, terminal: bool) -> Vec<String> {
        let own = self.spec.process().as_ref().and_then(|process| process.env().clone());
        let mut environment = own.unwrap_or_default();
        if terminal && !environment.iter().any(|entry| entry.starts_with("TERM=")) {
            environment.push("TERM=xterm".to_owned());
        }
        environment
    }
}

/// Starts the container whose bundle lies in `directory`.
pub(super) fn start_container(
    hierarchies: &Hierarchies,
    users: Option<&UserSpace>,
    directory: &Path,
    origin: Origin,
) -> Result<Process, String> {
    let bundle: Bundle = disk::read_json(&directory.join(BUNDLE_FILE))
        .map_err(|error| format!("reading the bundle in {}: {error}", directory.display()))?
        .ok_or_else(|| format!("there is no bundle in {}", directory.display()))?;
    let wanted = bundle.spec.process().as_ref().ok_or("the bundle names no process")?;
    let filter = filter(&bundle.spec)?;
    let log = bundle.log.as_deref().map(Log::open).transpose().map_err(|error| error.to_string())?;
    let cgroup = cgroup_path(&bundle.spec);
    let group = Group::new(hierarchies, &cgroup);
    limit(&group, bundle.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()))?;

    let Streams { child, stdin, outputs } = streams(wanted.terminal().unwrap_or(false), bundle.stdin)?;
    let (report, child_report) = report_sockets()?;
    let processes = ProcessSpace::of(&bundle.spec)?;
    let launch =
        Launch { process: wanted, group, filter: filter.as_deref(), stdio: child, report: child_report, users };
    let own_processes = matches!(processes, ProcessSpace::New);
    let cloned = match users {
        // The first process is one of the node's; the container's own namespaces are made by the second.
        Some(_) if own_processes => ProcessSpace::Nodes.clone_into(libc::CLONE_NEWNS)?,
        _ => processes.clone_into(libc::CLONE_NEWNS)?,
    };
    let (pid, pidfd) = match cloned {
        Cloned::Child => launch::container(&launch, &bundle.spec, &bundle.overlay, (hierarchies, own_processes)),
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(launch);
    let contained = Contained {
        own_processes,
        exit_record: directory.join(EXIT_FILE),
        log,
        outputs,
        stdin,
        stdin_once: bundle.stdin_once,
        cgroup,
        spec: bundle.spec,
    };
    Ok(Process {
        pid,
        pidfd,
        started_at: sampan_clock::now(),
        phase: Phase::Starting { report, ready: false, origin },
        helped: users.is_some(),
        terminal: None,
        role: Role::Container(Box::new(contained)),
    })
}

/// What a session is to be.
pub(super) struct SessionWanted<'a> {
    pub(super) process: &'a Wanted,
    /// Standard streams; none for a terminal.
    pub(super) stdio: Option<[OwnedFd; 3]>,
    pub(super) origin: Origin,
    pub(super) users: Option<&'a UserSpace>,
}

/// Starts one more process beside the first one of a container.
pub(super) fn start_session(
    hierarchies: &Hierarchies,
    first: &Process,
    contained: &Contained,
    wanted: SessionWanted<'_>,
) -> Result<Process, String> {
    let filter = filter(&contained.spec)?;
    let group = Group::new(hierarchies, &contained.cgroup);
    let (report, child_report) = report_sockets()?;
    let SessionWanted { process, stdio, origin, users } = wanted;
    let launch = Launch { process, group, filter: filter.as_deref(), stdio, report: child_report, users };
    let (pid, pidfd) = match ProcessSpace::OfProcess(first.pidfd.as_fd()).clone_into(0)? {
        Cloned::Child => launch::session(&launch, first.pidfd.as_fd()),
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(launch);
    Ok(Process {
        pid,
        pidfd,
        started_at: sampan_clock::now(),
        phase: Phase::Starting { report, ready: false, origin },
        helped: false,
        terminal: None,
        role: Role::Session,
    })
}

/// The PID namespace of a new process.
enum ProcessSpace<'a> {
    New,
    Nodes,
    AtPath(OwnedFd),
    OfProcess(BorrowedFd<'a>),
}

impl ProcessSpace<'_> {
    fn of(spec: &Spec) -> Result<Self, String> {
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let wanted = namespaces.into_iter().flatten().find(|namespace| namespace.typ() == LinuxNamespaceType::Pid);
        match wanted.map(|namespace| namespace.path()) {
            None => Ok(Self::Nodes),
            Some(None) => Ok(Self::New),
            Some(Some(path)) => rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map(Self::AtPath)
                .map_err(|error| format!("opening the process namespace {}: {error}", path.display())),
        }
    }

    /// Forks. A namespace to be joined is entered by the shim for just that long: it concerns its children only.
    fn clone_into(&self, flags: i32) -> Result<Cloned, String> {
        let own = rustix::fs::open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| format!("opening the shim's process namespace: {error}"))?;
        let join = |fd: BorrowedFd<'_>| move_into_link_name_space(fd, Some(LinkNameSpaceType::ProcessID));
        match self {
            Self::New | Self::Nodes => Ok(()),
            Self::AtPath(fd) => join(fd.as_fd()),
            Self::OfProcess(pidfd) => move_into_thread_name_spaces(*pidfd, ThreadNameSpaceType::PROCESS_ID),
        }
        .map_err(|error| format!("joining the process namespace: {error}"))?;
        let flags = flags | if matches!(self, Self::New) { libc::CLONE_NEWPID } else { 0 };
        let cloned = kernel::clone_process(flags).map_err(|error| format!("starting a process: {error}"));
        if matches!(cloned, Ok(Cloned::Parent { .. }) | Err(_)) && !matches!(self, Self::New | Self::Nodes) {
            join(own.as_fd()).map_err(|error| format!("returning to the shim's process namespace: {error}"))?;
        }
        cloned
    }
}

/// A new process's standard streams, both ends.
struct Streams {
    child: Option<[OwnedFd; 3]>,
    stdin: Option<OwnedFd>,
    outputs: Vec<Output>,
}

fn streams(terminal: bool, stdin: bool) -> Result<Streams, String> {
    if terminal {
        return Ok(Streams { child: None, stdin: None, outputs: Vec::new() });
    }
    let failed = |error| format!("making pipes: {error}");
    let (child_stdin, stdin) = if stdin {
        pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (read, Some(write))).map_err(failed)?
    } else {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        (null.map_err(|error| format!("opening /dev/null: {error}"))?, None)
    };
    let output = |stream| -> Result<_, String> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        rustix::io::ioctl_fionbio(&read, true).map_err(failed)?;
        Ok((Output::new(stream, read), write))
    };
    let (stdout, child_stdout) = output(Stream::Stdout)?;
    let (stderr, child_stderr) = output(Stream::Stderr)?;
    Ok(Streams { child: Some([child_stdin, child_stdout, child_stderr]), stdin, outputs: vec![stdout, stderr] })
}

pub(super) fn report_sockets() -> Result<(OwnedFd, OwnedFd), String> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|error| format!("making a socket: {error}"))
}

fn limit(group: &Group<'_>, resources: Option<&LinuxResources>) -> Result<(), String> {
    group.create().and_then(|()| resources.map_or(Ok(()), |resources| group.limit(resources))).map_err(|error| {
        let _ = group.remove();
        format!("limiting the container: {error}")
    })
}

fn filter(spec: &Spec) -> Result<Option<Vec<libc::sock_filter>>, String> {
    let policy: Option<&LinuxSeccomp> = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    policy.map(seccomp::compile).transpose().map_err(|error| error.to_string())
}

fn cgroup_path(spec: &Spec) -> String {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}
