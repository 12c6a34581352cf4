//! What the container runtime has of one Pod: the "seen" half of every decision.
//!
//! Values only; [`crate::cri`] fills them from CRI answers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sampan_cri::v1::LinuxContainerResources;

/// The sandboxes and containers of one Pod, each list newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sandboxes: Vec<Sandbox>,
    pub(crate) containers: Vec<Instance>,
}

/// One Pod sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) ready: bool,
    pub(crate) created_at: Timestamp,
    /// Addresses, the primary one first; empty on the node's network.
    pub(crate) ips: Vec<String>,
}

/// One created container: an attempt at running a container of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) sandbox: String,
    pub(crate) name: String,
    /// Counts up from 0: the restart count.
    pub(crate) attempt: u32,
    pub(crate) created_at: Timestamp,
    /// The image as the specification named it.
    pub(crate) image: String,
    /// The image's id as the runtime knows it.
    pub(crate) image_id: String,
    /// The images that are mounted into it, as the runtime names them.
    pub(crate) image_volumes: Vec<String>,
    /// Digest of the parts of the specification whose change restarts the container.
    pub(crate) hash: String,
    /// How long to wait before starting the next attempt when this one ends, in seconds.
    pub(crate) restart_delay_s: u32,
    /// How often all containers of the Pod had been restarted when it was made.
    pub(crate) round: u32,
    pub(crate) log_path: String,
    /// What the kernel was told, if the runtime says it.
    pub(crate) limits: Option<Limits>,
    /// Who it runs as, if the runtime says it.
    pub(crate) user: Option<User>,
    /// Where something is mounted that nobody can write to, however deep.
    pub(crate) recursive_read_only: BTreeSet<String>,
    pub(crate) state: State,
}

/// The resources of a container in the kernel's numbers; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) cpu_shares: i64,
    pub(crate) cpu_quota_us: i64,
    pub(crate) memory_bytes: i64,
}

impl Limits {
    /// What the CRI message says, nothing less than none.
    pub(crate) fn of(linux: &LinuxContainerResources) -> Self {
        Self {
            cpu_shares: linux.cpu_shares.max(0),
            cpu_quota_us: linux.cpu_quota.max(0),
            memory_bytes: linux.memory_limit_in_bytes.max(0),
        }
    }
}

/// Who a container's first process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) groups: Vec<i64>,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running { started_at: Timestamp },
    Exited(Exit),
    Unknown,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
}

impl Seen {
    /// The newest sandbox, if it is ready.
    pub(crate) fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest container called `name`, in whatever sandbox.
    pub(crate) fn newest(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The newest container called `name` of the sandbox `sandbox`.
    pub(crate) fn newest_in(&self, sandbox: &str, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|container| container.name == name && container.sandbox == sandbox)
    }

    /// The newest ended container called `name` besides `current`.
    pub(crate) fn last_exit(&self, name: &str, current: Option<&str>) -> Option<(&Instance, &Exit)> {
        self.containers
            .iter()
            .filter(|c| c.name == name && Some(c.id.as_str()) != current)
            .find_map(|c| Some((c, c.exit()?)))
    }
}

impl Instance {
    /// Whether it runs.
    pub(crate) fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether it may have a process.
    pub(crate) fn alive(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Unknown)
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}
