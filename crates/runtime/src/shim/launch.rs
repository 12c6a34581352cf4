//! The child's side of starting a process: from a copy of the shim to the container's program.
//!
//! What is said to the shim goes over the report socket, whose other end closes when the program takes over:
//! a terminal (`T`, with its master side), "about to run" (`R`), an error (`E` and its words), or the process that goes on
//! in the reporting one's place (`P`, with a handle on it).

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use oci_spec::runtime::{Process, Spec};
use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{set_parent_process_death_signal, setsid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::credentials;
use super::program::{self, Program};
use super::rootfs::{self, Result, Root, Sources};
use super::users::{self, UserSpace};
use super::wire::{self, Overlay};
use crate::cgroups::{Group, Hierarchies};
use crate::kernel::{self, Cloned};

/// What a report from a child begins with.
pub(super) const REPORT_TERMINAL: u8 = b'T';
pub(super) const REPORT_READY: u8 = b'R';
pub(super) const REPORT_ERROR: u8 = b'E';
pub(super) const REPORT_HANDOVER: u8 = b'P';

const FIRST_AFTER_STDIO: i32 = 3;
const UMASK: u32 = 0o022;

/// What every started process has.
pub(super) struct Launch<'a> {
    pub(super) process: &'a Process,
    pub(super) group: Group<'a>,
    pub(super) filter: Option<&'a [libc::sock_filter]>,
    /// Standard input, output and error; `None` for a terminal of the container's own.
    pub(super) stdio: Option<[OwnedFd; 3]>,
    pub(super) report: OwnedFd,
    /// The Pod's own users, where it has such.
    pub(super) users: Option<&'a UserSpace>,
}

/// Goes on as a container's first process. Never returns.
///
/// With users of the Pod's own this is done by two: one with the node's rights, which hands over to another without.
pub(super) fn container(
    launch: &Launch<'_>,
    spec: &Spec,
    overlay: &Overlay,
    (hierarchies, own_processes): (&Hierarchies, bool),
) -> ! {
    finish(&launch.report, || {
        prepare(launch)?;
        let last_capability = credentials::last_capability();
        let users = launch.users;
        let mut sources = Sources::open(spec, users)?;
        let path = spec.root().as_ref().map(|root| root.path().as_path()).ok_or("the bundle names no root")?;
        let mut root = Root::mount(path, overlay, spec, (&mut sources, users))?;
        match users {
            None => {
                unshare(CloneFlags::CLONE_NEWCGROUP).map_err(|error| format!("separating control groups: {error}"))?
            }
            Some(users) => root = step_down(launch, users, root, own_processes)?,
        }
        root.assemble(spec, &sources, &hierarchies.views())?;
        if launch.stdio.is_none() {
            let terminal = offer_terminal(&launch.report, &root.open_terminal()?)?;
            root.show_console(terminal.as_fd())?;
            sit_at(&terminal)?;
        }
        root.enter(spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false))?;
        run(launch, last_capability)
    })
}

/// Goes on as root of the Pod's users, in namespaces that belong to them, and with the root as it is seen there.
fn step_down(launch: &Launch<'_>, users: &UserSpace, root: Root, own_processes: bool) -> Result<Root> {
    // The second process finds the root by its working directory.
    root.stand_on()?;
    users.join()?;
    let processes = if own_processes { libc::CLONE_NEWPID } else { 0 };
    let cloned = kernel::clone_sibling(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP | processes);
    match cloned.map_err(|error| format!("making the container's namespaces: {error}"))? {
        Cloned::Parent { pidfd, .. } => {
            hand_over(&launch.report, &pidfd)?;
            kernel::exit_now(0)
        }
        Cloned::Child => {
            credentials::hide()?;
            setsid().map_err(|error| format!("starting a session: {error}"))?;
            Root::inherited()
        }
    }
}

/// Tells the shim which process goes on in the caller's place.
pub(super) fn hand_over(report: &OwnedFd, pidfd: &OwnedFd) -> Result<()> {
    tell(report, REPORT_HANDOVER, &[], Some(pidfd.as_fd()))
}

/// What [`hand_over`] told by the descriptors beside it. Whoever told may be in another PID namespace: what the process
/// is called here, its handle tells.
pub(super) fn handed_over(fds: Vec<OwnedFd>) -> Option<(i32, OwnedFd)> {
    let pidfd = fds.into_iter().next()?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    Some((pid, pidfd))
}

/// Waits for what [`hand_over`] tells; nothing when the other side ends without it.
pub(super) fn hear_handover(report: &OwnedFd) -> Option<(i32, OwnedFd)> {
    let mut kind = [0; 1];
    let (_, fds) = wire::receive_bytes(report.as_fd(), &mut kind).ok()?;
    handed_over(fds).filter(|_| kind[0] == REPORT_HANDOVER)
}

/// Goes on as one more process in the container whose first process is `target`. Never returns.
pub(super) fn session(launch: &Launch<'_>, target: BorrowedFd<'_>) -> ! {
    finish(&launch.report, || {
        prepare(launch)?;
        let last_capability = credentials::last_capability();
        let mut spaces = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::CONTROL_GROUP;
        spaces.set(ThreadNameSpaceType::USER, launch.users.is_some());
        move_into_thread_name_spaces(target, spaces).map_err(|error| format!("joining the container: {error}"))?;
        if launch.users.is_some() {
            users::become_root()?;
        }
        if launch.stdio.is_none() {
            let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| format!("opening the container's root: {error}"))?;
            sit_at(&offer_terminal(&launch.report, &rootfs::open_multiplexer(root.as_fd())?)?)?;
        }
        run(launch, last_capability)
    })
}

fn finish(report: &OwnedFd, work: impl FnOnce() -> Result<()>) -> ! {
    if let Err(error) = work() {
        let _ = tell(report, REPORT_ERROR, error.as_bytes(), None);
    }
    kernel::exit_now(1)
}

/// Sets how gladly the kernel kills this process when memory ends. To make it less glad takes CAP_SYS_RESOURCE, which a
/// host inside another sandbox may not have: the score then stays what it is, and the limits hold all the same.
fn set_oom_score(score: i32) -> Result<()> {
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
            Err(format!("setting oom_score_adj to {score}: {error}"))
        }
        _ => Ok(()),
    }
}

/// Undoes what a child inherits from the shim, and enters the container's groups.
fn prepare(launch: &Launch<'_>) -> Result<()> {
    credentials::hide()?;
    reset_signals().map_err(|error| format!("resetting signals: {error}"))?;
    setsid().map_err(|error| format!("starting a session: {error}"))?;
    launch.group.enter().map_err(|error| format!("entering the container's groups: {error}"))?;
    if let Some(score) = launch.process.oom_score_adj() {
        set_oom_score(score)?;
    }
    credentials::confine(launch.process)?;
    let Some([stdin, stdout, stderr]) = &launch.stdio else { return Ok(()) };
    let user = launch.process.user().uid();
    let owner = launch.users.map_or(user, |users| users.node_user(user));
    [stdin, stdout, stderr].into_iter().for_each(|stream| give(stream, owner));
    replace_stdio(stdin, stdout, stderr)
}

/// Gives a pipe to the program's user, who may then open it again as `/dev/stdout`. Not to be able to is no harm.
fn give(stream: &OwnedFd, owner: u32) {
    let is_pipe = rustix::fs::fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if is_pipe {
        let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(owner)), None);
    }
}

/// The last steps, in the container: user, directory, filter, program.
fn run(launch: &Launch<'_>, last_capability: u32) -> Result<()> {
    credentials::limit(launch.process)?;
    rustix::process::umask(Mode::from_raw_mode(launch.process.user().umask().unwrap_or(UMASK)));
    kernel::close_on_exec_from(FIRST_AFTER_STDIO).map_err(|error| format!("closing descriptors: {error}"))?;
    program::enter_directory(launch.process.cwd())?;
    credentials::apply(launch.process, last_capability, launch.filter)?;
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| format!("tying the process to its shim: {error}"))?;
    let program = Program::find(launch.process)?;
    tell(&launch.report, REPORT_READY, &[], None)?;
    Err(program.run())
}

fn reset_signals() -> nix::Result<()> {
    kernel::default_signal(Signal::SIGPIPE)?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Hands the master side to the shim and opens the slave side.
fn offer_terminal(report: &OwnedFd, master: &OwnedFd) -> Result<OwnedFd> {
    let slave =
        kernel::open_terminal_slave(master.as_fd()).map_err(|error| format!("opening the terminal: {error}"))?;
    tell(report, REPORT_TERMINAL, &[], Some(master.as_fd()))?;
    Ok(slave)
}

fn sit_at(terminal: &OwnedFd) -> Result<()> {
    kernel::take_terminal(terminal.as_fd()).map_err(|error| format!("taking the terminal: {error}"))?;
    replace_stdio(terminal, terminal, terminal)
}

fn replace_stdio(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<()> {
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .map_err(|error| format!("connecting standard streams: {error}"))
}

fn tell(report: &OwnedFd, kind: u8, words: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let fds = fd.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let parts = [IoSlice::new(std::slice::from_ref(&kind)), IoSlice::new(words)];
    sendmsg(report, &parts, &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|error| format!("reporting to the shim: {error}"))
}
