//! The first process of a shared PID namespace: it holds the namespace open and reaps what is orphaned in it.
//!
//! Containers of the Pod see it as process 1, so it must give them nothing: an empty root of its own, no
//! capabilities, no descriptors.

use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, pivot_root, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::process::report_sockets;
use super::users::UserSpace;
use super::{credentials, launch};
use crate::kernel::{self, Cloned};

/// Starts the holder; its handle stands for the namespace.
pub(super) fn start(users: Option<&UserSpace>) -> Result<(i32, OwnedFd), String> {
    let failed = |error: &dyn std::fmt::Display| format!("starting the holder of the process namespace: {error}");
    let Some(users) = users else {
        return match kernel::clone_process(libc::CLONE_NEWPID | libc::CLONE_NEWNS) {
            Ok(Cloned::Parent { pid, pidfd }) => Ok((pid, pidfd)),
            Ok(Cloned::Child) => hold(),
            Err(error) => Err(failed(&error)),
        };
    };
    // The namespace has to belong to the Pod's users, so one of them makes it.
    let (ours, theirs) = report_sockets()?;
    match kernel::clone_process(0).map_err(|error| failed(&error))? {
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let told = launch::hear_handover(&ours);
            let _ = waitpid(nix::unistd::Pid::from_raw(pid), None);
            told.ok_or_else(|| failed(&"the Pod's user namespace cannot be joined"))
        }
        Cloned::Child => {
            let made = users.join().map(|()| kernel::clone_sibling(libc::CLONE_NEWPID | libc::CLONE_NEWNS));
            match made {
                Ok(Ok(Cloned::Child)) => hold(),
                Ok(Ok(Cloned::Parent { pidfd, .. })) => drop(launch::hand_over(&theirs, &pidfd)),
                _ => {}
            }
            kernel::exit_now(0)
        }
    }
}

fn hold() -> ! {
    if isolate().is_ok() {
        reap();
    }
    kernel::exit_now(1)
}

fn isolate() -> Result<(), Box<dyn std::error::Error>> {
    credentials::hide()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tmpfs", "/proc", "tmpfs", MountFlags::RDONLY, Some(c"size=0k"))?;
    chdir("/proc")?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    kernel::close_from(0)?;
    Ok(())
}

fn reap() {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    if sigprocmask(SigmaskHow::SIG_SETMASK, Some(&children), None).is_err() {
        return;
    }
    loop {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        if children.wait().is_err() {
            return;
        }
    }
}
