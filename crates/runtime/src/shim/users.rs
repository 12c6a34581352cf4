//! A Pod's user namespace: made once, by the shim, and then joined by everything that runs in the Pod.
//!
//! The shim itself stays in the node's, and does with the node's rights what only they allow: it opens the mounts'
//! sources and shows them with shifted owners. What belongs to the container (its mount and PID namespaces, its `/proc`)
//! is made by a process that has given those rights up.
//!
//! ```text
//!   shim ──clone──> a first one, of the node: group, sources, layers, all with shifted owners
//!                     └── joins the user namespace ──clone──> the container, a child of the shim; the first one ends
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{
    Gid, LinkNameSpaceType, ThreadNameSpaceType, Uid, move_into_link_name_space, move_into_thread_name_spaces,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::rootfs::Result;
use super::wire::{IdMap, Users};
use crate::kernel::{self, Cloned};

/// A user namespace that is held open.
pub(super) struct UserSpace {
    namespace: OwnedFd,
    ids: Users,
}

impl UserSpace {
    /// Makes it, and with it the namespaces in `others` (`CLONE_NEW*`), which belong to it; the caller moves into those.
    pub(super) fn make(ids: Users, others: i32) -> Result<Self> {
        let failed = |doing: &str, error: Errno| format!("{doing} the Pod's user namespace: {error}");
        let (wait, release) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("preparing", error))?;
        let cloned = kernel::clone_process(libc::CLONE_NEWUSER | others)
            .map_err(|error| format!("making the Pod's user namespace: {error}"))?;
        let (pid, pidfd) = match cloned {
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
            Cloned::Child => {
                // It only has to be there until its namespaces are held by somebody else.
                drop(release);
                let _ = rustix::io::read(&wait, &mut [0; 1]);
                kernel::exit_now(0)
            }
        };
        let entered = Self::enter(pid, &pidfd, ids, others);
        drop(release);
        let _ = waitpid(Pid::from_raw(pid), None);
        entered
    }

    fn enter(pid: i32, pidfd: &OwnedFd, ids: Users, others: i32) -> Result<Self> {
        for (file, map) in [("uid_map", ids.uids), ("gid_map", ids.gids)] {
            std::fs::write(format!("/proc/{pid}/{file}"), format!("0 {} {}\n", map.host, map.length))
                .map_err(|error| format!("mapping the Pod's users ({file}): {error}"))?;
        }
        let namespace =
            rustix::fs::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| format!("opening the Pod's user namespace: {error}"))?;
        let spaces = ThreadNameSpaceType::from_bits_retain(others as u32);
        if !spaces.is_empty() {
            move_into_thread_name_spaces(pidfd.as_fd(), spaces)
                .map_err(|error| format!("entering the Pod's namespaces: {error}"))?;
        }
        Ok(Self { namespace, ids })
    }

    /// The namespace, for mounts that show other owners.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// The node's user that is `uid` in the Pod.
    pub(super) fn node_user(&self, uid: u32) -> u32 {
        self.ids.uids.host.saturating_add(uid)
    }

    /// The node's user and group that are root in the Pod.
    pub(super) fn root(&self) -> (u32, u32) {
        (self.ids.uids.host, self.ids.gids.host)
    }

    /// Gives up the node's rights for those of the Pod's root.
    pub(super) fn join(&self) -> Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::User))
            .map_err(|error| format!("joining the Pod's user namespace: {error}"))?;
        become_root()
    }
}

/// Becomes root of the user namespace that was just joined: until then the process is nobody there.
pub(super) fn become_root() -> Result<()> {
    let become_root = || -> rustix::io::Result<()> {
        set_keep_capabilities(true)?;
        set_thread_groups(&[])?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        set_keep_capabilities(false)
    };
    become_root().map_err(|error| format!("becoming the Pod's root: {error}"))
}

impl IdMap {
    /// Whether every id of the range exists on the node.
    pub(crate) fn is_possible(self) -> bool {
        self.length > 0 && self.host.checked_add(self.length - 1).is_some_and(|last| last < u32::MAX)
    }
}
