//! What the runtime and a shim say to each other: one JSON message per packet, with descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use jiff::Timestamp;
use oci_spec::runtime::{LinuxResources, Process, Spec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::cgroups::Hierarchies;

/// The largest message. The command line of an exec is the only part a user chooses.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The most descriptors beside one message: the three of an exec.
const MAX_DESCRIPTORS: usize = 3;

/// The runtime's side.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Chosen by the runtime; the reply carries it again.
    pub(crate) id: u64,
    pub(crate) call: Call,
}

/// What a shim can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Becomes the shim of a Pod: the first call, once.
    Setup(Setup),
    /// Starts a container from the bundle on disk.
    Start {
        container: String,
        directory: PathBuf,
    },
    /// Starts one more process in a container. Beside it: stdin, stdout, stderr, unless it has a terminal; then the
    /// reply brings the terminal's master side.
    Exec(Exec),
    /// Sends a signal to a container's or a session's first process.
    Signal {
        id: String,
        signal: i32,
    },
    /// Kills everything in a container.
    Kill {
        container: String,
    },
    Resize {
        id: String,
        columns: u16,
        rows: u16,
    },
    /// Copies a container's output, from now on, to the descriptors beside it, in the order of the streams named
    /// here. The reply brings the container's standard input or terminal, where it has one.
    Attach {
        container: String,
        streams: Vec<Stream>,
    },
    /// Ends a container's standard input.
    CloseStdin {
        container: String,
    },
    ReopenLog {
        container: String,
    },
    Limit {
        container: String,
        resources: Box<LinuxResources>,
    },
    /// Opens a TCP socket in the Pod's network; the reply brings it, not connected.
    Socket,
    /// The same, for IPv6.
    SocketV6,
    /// Which containers run.
    Containers,
    /// Ends every process of the Pod, then the shim.
    Quit,
}

/// A process to be started beside a container's first one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exec {
    /// Chosen by the runtime.
    pub(crate) id: String,
    pub(crate) container: String,
    /// Its environment is not looked at: the shim has the container's. Older shims use what is sent.
    pub(crate) process: Box<Process>,
}

/// An output stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The namespaces and the place of a Pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) new_network: bool,
    pub(crate) new_ipc: bool,
    pub(crate) new_uts: bool,
    /// Whether the Pod's containers see each other's processes.
    pub(crate) shared_processes: bool,
    pub(crate) hostname: String,
    pub(crate) sysctls: Vec<(String, String)>,
    /// Where groups are. The runtime has looked once; a shim would read all Pods' mounts to know.
    pub(crate) hierarchies: Hierarchies,
    /// The group of the shim itself, outside of the runtime's own.
    pub(crate) cgroup: String,
    /// Set for a user namespace of the Pod's own.
    #[serde(default)]
    pub(crate) users: Option<Users>,
}

/// Which of the node's users and groups are the Pod's, beginning with its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Users {
    pub(crate) uids: IdMap,
    pub(crate) gids: IdMap,
}

/// A range of the node's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdMap {
    pub(crate) host: u32,
    pub(crate) length: u32,
}

/// The shim's side.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Reply {
        id: u64,
        result: Result<Answer, String>,
    },
    /// A process has ended; its record, where it is a container, is on disk already.
    Exited {
        id: String,
        exit: Exit,
    },
}

/// What a call brought.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Started(Running),
    Containers(Vec<(String, Running)>),
}

/// A container that runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Running {
    /// In the node's PID namespace.
    pub(crate) pid: i32,
    pub(crate) started_at: Timestamp,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Its status, or 128 + the signal that killed it.
    pub(crate) code: i32,
    /// When its program began to run, if it ever did.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
    /// The kernel killed something in the container for want of memory.
    pub(crate) oom_killed: bool,
    /// Why it could not even be started.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// Everything a shim needs to start one container; `bundle.json` in the container's directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bundle {
    /// `root.path` is where the root is mounted, inside the container's own mount namespace only.
    pub(crate) spec: Spec,
    pub(crate) overlay: Overlay,
    /// Where output goes, in CRI's format; nowhere without one.
    pub(crate) log: Option<PathBuf>,
    pub(crate) stdin: bool,
    /// Whether the first session that brings a standard input also ends it.
    pub(crate) stdin_once: bool,
}

/// The layers of a root filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overlay {
    /// Where the names in `lower` lie: short names, because the kernel takes one page of options.
    pub(crate) layers: PathBuf,
    /// Topmost first.
    pub(crate) lower: Vec<String>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

/// The file names in a container's directory that both sides know.
pub(crate) const BUNDLE_FILE: &str = "bundle.json";
pub(crate) const EXIT_FILE: &str = "exit.json";

/// Sends one message; `WouldBlock` when the socket is non-blocking and full.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        let text = format!("a message of {} bytes is over the limit of {MAX_MESSAGE_BYTES}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Which request it is that the two sides' versions do not both understand.
pub(crate) fn request_id(bytes: &[u8]) -> Option<u64> {
    serde_json::from_slice(bytes).map(|Numbered { id }| id).ok()
}

/// Which request it is whose answer the two sides' versions do not both understand.
pub(crate) fn reply_id(bytes: &[u8]) -> Option<u64> {
    serde_json::from_slice(bytes).map(|AnyReply { reply }| reply.id).ok()
}

/// What all versions of a request or reply have.
#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

#[derive(Deserialize)]
struct AnyReply {
    #[serde(rename = "Reply")]
    reply: Numbered,
}

/// Receives one packet of any form, and what lies beside it.
pub(crate) fn receive_bytes(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let fds = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((received.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_has_a_number() {
        assert_eq!(request_id(br#"{"id":7,"call":{"Dance":{"steps":3}}}"#), Some(7));
        assert_eq!(request_id(b"hello"), None);
        assert_eq!(reply_id(br#"{"Reply":{"id":8,"result":{"Ok":{"Danced":[1,2]}}}}"#), Some(8));
        assert_eq!(reply_id(br#"{"Sang":{"id":8}}"#), None);
        // These are what the two readers above are for.
        assert!(serde_json::from_slice::<Request>(br#"{"id":7,"call":{"Dance":{"steps":3}}}"#).is_err());
        let reply = Message::Reply { id: 9, result: Err("no".to_owned()) };
        assert_eq!(reply_id(&serde_json::to_vec(&reply).unwrap()), Some(9));
        let request = Request { id: 10, call: Call::Containers };
        assert_eq!(request_id(&serde_json::to_vec(&request).unwrap()), Some(10));
    }
}
