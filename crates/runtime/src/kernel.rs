//! The system calls that neither rustix nor nix wraps, each made safe to call.
//!
//! Nothing here decides anything. Start at [`clone_process`], which makes every process of a container.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::mount::MountAttrFlags;
use tokio::io::unix::AsyncFd;

/// The two sides of [`clone_process`].
pub(crate) enum Cloned {
    /// In the caller: the new process.
    Parent {
        /// Its id in the caller's PID namespace.
        pid: i32,
        /// A handle on it that no other process can come to mean.
        pidfd: OwnedFd,
    },
    /// In the new process.
    Child,
}

/// Forks the calling process into new namespaces (`CLONE_NEW*` in `namespaces`).
///
/// Only for a single-threaded process: the child goes on with a copy of everything, locks included.
pub(crate) fn clone_process(namespaces: i32) -> io::Result<Cloned> {
    clone_with(namespaces, libc::SIGCHLD)
}

/// The same, but the new process is a child of the caller's own parent, which is told of its end.
pub(crate) fn clone_sibling(namespaces: i32) -> io::Result<Cloned> {
    clone_with(namespaces | libc::CLONE_PARENT, 0)
}

fn clone_with(flags: i32, exit_signal: i32) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is plain data for which all zeroes is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (flags | libc::CLONE_PIDFD) as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = exit_signal as u64;
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of memory and of the stack. The caller
    // is single-threaded, so no lock is held by a thread that the child lacks. `args` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel has just stored a new descriptor there, owned by nobody else.
        1.. => Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What [`set_mount_attributes`] changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountChange {
    /// Attributes to set.
    pub(crate) set: MountAttrFlags,
    /// `MS_SHARED`, `MS_SLAVE` or `MS_PRIVATE`; 0 leaves the propagation as it is.
    pub(crate) propagation: libc::c_ulong,
    /// Whether the mounts below change too.
    pub(crate) recursive: bool,
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Changes the mount that `mount` is the root of.
pub(crate) fn set_mount_attributes(mount: BorrowedFd<'_>, change: MountChange) -> io::Result<()> {
    let set = u64::from(change.set.bits());
    let attributes = MountAttributes { set, clear: 0, propagation: change.propagation, user_namespace: 0 };
    mount_setattr(mount, &attributes, change.recursive)
}

/// Shows the owners of the files in the detached `mount` as `users`, a user namespace, maps them.
pub(crate) fn map_mount(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let set = libc::MOUNT_ATTR_IDMAP;
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: users.as_raw_fd() as u64 };
    mount_setattr(mount, &attributes, false)
}

fn mount_setattr(mount: BorrowedFd<'_>, attributes: &MountAttributes, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a valid empty C string, `attributes` is valid for the size given, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Installs a seccomp filter on the calling process.
pub(crate) fn install_seccomp(filter: &[libc::sock_filter], flags: u64) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: `program` points at `filter`, which the kernel only reads and which outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER), flags, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Marks every descriptor from `first` on to be closed by the next exec.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers; close-on-exec changes no descriptor's meaning for the code that runs until then.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor from `first` on, whoever owns it: for a process that will use none again.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers; the caller promises that no descriptor is used afterwards.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unlocks the slave side of the pseudo-terminal `master` and opens it, by descriptor only, whatever lies at its path.
pub(crate) fn open_terminal_slave(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: TIOCGPTPEER takes open flags by value and returns a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(slave) })
}

/// Makes `terminal` the controlling terminal of the calling session leader.
pub(crate) fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an int by value.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the size of `terminal` in characters.
pub(crate) fn resize_terminal(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Creates the overlay whiteout, a character device 0:0, called `name` in `directory`; also any other device node.
pub(crate) fn make_node(directory: BorrowedFd<'_>, name: &std::ffi::CStr, mode: u32, device: u64) -> io::Result<()> {
    // SAFETY: `name` is a valid C string that outlives the call.
    if unsafe { libc::mknodat(directory.as_raw_fd(), name.as_ptr(), mode, device) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sends the signal `number` to the process that `pidfd` is a handle on. The real-time ones have no names, so that no
/// type of the libraries around here knows them.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let details = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no details are given, which the kernel allows; nothing else is a pointer.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, details, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives `signal` its default action again.
pub(crate) fn default_signal(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    // SAFETY: SIG_DFL installs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }.map(drop)
}

/// Ends the process at once: what a forked copy must do, since the original's clean-up is not its own.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` never returns and runs nothing of ours.
    unsafe { libc::_exit(status) }
}

/// Lets tokio watch `fd`.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always yields the one descriptor it owns, which stays open until it is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// One eBPF instruction, as the kernel lays it out.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BpfInstruction {
    /// Operation.
    pub(crate) code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub(crate) registers: u8,
    /// Jump or memory offset.
    pub(crate) offset: i16,
    /// Immediate operand.
    pub(crate) immediate: i32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

#[repr(C)]
#[derive(Default)]
struct BpfLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 12],
}

#[repr(C)]
#[derive(Default)]
struct BpfAttach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 12],
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is one of the two structures above, valid for its size; its pointers outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes `program` decide on every device access of the processes in the version 2 group `cgroup`.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: &[BpfInstruction]) -> io::Result<()> {
    let load = BpfLoad {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..BpfLoad::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the kernel has just returned this new descriptor; it is owned by nobody else.
    let loaded = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let attach = BpfAttach {
        target: cgroup.as_raw_fd() as u32,
        program: loaded.as_fd().as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
        ..BpfAttach::default()
    };
    bpf(BPF_PROG_ATTACH, &attach).map(|_| ())
}
