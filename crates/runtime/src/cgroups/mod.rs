//! Control groups of containers, on version 1, hybrid and version 2 hosts.
//!
//! [`Hierarchies`] is what the host has, read from the mount table; [`Group`] is one group in all of them. What to
//! write for given limits is pure ([`v1::settings`], [`v2::settings`]); this file writes it. A CPU quota is written
//! apart from the rest, because a container's setup would be throttled by it.

mod devices;
mod hosts;
mod usage;
mod v1;
mod v2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use rustix::process::{Pid, Signal, kill_process};
use sampan_cri::v1::PsiStats;

pub(crate) use hosts::Hierarchies;
pub(crate) use usage::{Usage, flat_value};

/// How often the death of a group's last processes is waited for, [`REMOVE_PAUSE`] apart: they die in their own time, of
/// which a group with few shares has little on a busy node.
const PATIENT_ATTEMPTS: u32 = 2000;
/// The same for who has others to serve meanwhile.
const HASTY_ATTEMPTS: u32 = 20;
const REMOVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// A group that forks as fast as it dies is frozen first; this bounds the rounds where it cannot be.
const KILL_ROUNDS: u32 = 20;
/// How often a group is looked at until it stands still, [`FREEZE_PAUSE`] apart.
const FREEZE_ATTEMPTS: u32 = 10;
const FREEZE_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// One write into one control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The controller whose hierarchy holds the file (version 1); version 2 has one place.
    pub(crate) controller: &'static str,
    pub(crate) file: String,
    pub(crate) value: String,
}

impl Setting {
    fn new(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Self {
        Self { controller, file: file.into(), value: value.to_string() }
    }
}

/// One group, by its path below the root of every hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Group<'a> {
    hierarchies: &'a Hierarchies,
    path: String,
}

impl<'a> Group<'a> {
    /// The group at `path`, which may or may not exist. Components that could lead out of it are dropped.
    pub(crate) fn new(hierarchies: &'a Hierarchies, path: &str) -> Self {
        let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
        Self { hierarchies, path: parts.join("/") }
    }

    /// Makes the group, and what is missing above it.
    pub(crate) fn create(&self) -> io::Result<()> {
        match self.hierarchies {
            Hierarchies::V1(mounts) => mounts.iter().try_for_each(|mount| v1::create(mount, &self.path)),
            Hierarchies::V2(root) => v2::create(root, &self.path),
        }
    }

    /// Sets every limit but the CPU quota.
    pub(crate) fn limit(&self, resources: &LinuxResources) -> io::Result<()> {
        self.apply(&self.settings(resources))?;
        let rules = resources.devices().as_deref().unwrap_or_default();
        match (self.hierarchies, rules) {
            (Hierarchies::V2(_), rules) if !rules.is_empty() => devices::attach(&self.main_directory(), rules),
            _ => Ok(()),
        }
    }

    /// Sets the CPU quota: to be called when the container's own program is about to run.
    pub(crate) fn limit_cpu_time(&self, resources: &LinuxResources) -> io::Result<()> {
        self.apply(&match self.hierarchies {
            Hierarchies::V1(_) => v1::quota(resources),
            Hierarchies::V2(_) => v2::quota(resources),
        })
    }

    fn settings(&self, resources: &LinuxResources) -> Vec<Setting> {
        match self.hierarchies {
            Hierarchies::V1(_) => v1::settings(resources),
            Hierarchies::V2(_) => v2::settings(resources),
        }
    }

    fn apply(&self, settings: &[Setting]) -> io::Result<()> {
        let mut refused = Vec::new();
        for setting in settings {
            match self.set(setting) {
                // It may depend on one that comes later.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => refused.push(setting),
                other => other?,
            }
        }
        refused.into_iter().try_for_each(|setting| self.set(setting))
    }

    fn set(&self, setting: &Setting) -> io::Result<()> {
        let Some(directory) = self.directory(setting.controller) else { return Ok(()) };
        let path = directory.join(&setting.file);
        match fs::write(&path, &setting.value) {
            // Swap accounting and huge page sizes are there or not; a limit on what is absent holds by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(|error| described(error, "writing", &setting.value, &path)),
        }
    }

    /// Moves the calling process into the group.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.directories().iter().try_for_each(|directory| move_into(directory))
    }

    /// Makes the group for the calling process and moves it there: a group that limits nothing, and by which the process
    /// and its children are found and ended. So of the hierarchies of version 1 only those get it that list and freeze
    /// processes; in the others all such processes share the group above. Each group costs the kernel some 0.1 ms.
    pub(crate) fn enter_alone(&self) -> io::Result<()> {
        let Hierarchies::V1(mounts) = self.hierarchies else { return self.create().and_then(|()| self.enter()) };
        let above = self.path.rsplit_once('/').map_or(self.path.as_str(), |(above, _)| above);
        mounts.iter().try_for_each(|mount| {
            let own = mount.has("freezer") || mount.root.join(&self.path) == self.main_directory();
            let path = if own { &self.path } else { above };
            v1::create(mount, path)?;
            move_into(&mount.root.join(path))
        })
    }

    /// How many processes the kernel has killed here for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.hierarchies {
            Hierarchies::V1(_) => "memory.oom_control",
            Hierarchies::V2(_) => "memory.events",
        };
        let Some(directory) = self.directory("memory") else { return 0 };
        usage::flat_value(&fs::read_to_string(directory.join(file)).unwrap_or_default(), "oom_kill")
    }

    /// What the group uses now.
    pub(crate) fn usage(&self) -> Usage {
        usage::read(self)
    }

    /// Whether the files are those of version 2.
    pub(crate) fn is_v2(&self) -> bool {
        matches!(self.hierarchies, Hierarchies::V2(_))
    }

    /// The text of a control file; nothing where the host has none.
    pub(crate) fn read(&self, controller: &str, file: &str) -> String {
        let directory = self.directory(controller);
        directory.and_then(|directory| fs::read_to_string(directory.join(file)).ok()).unwrap_or_default()
    }

    /// How long processes here wait for want of `resource`: `cpu`, `memory` or `io`. Only version 2 knows.
    pub(crate) fn pressure(&self, resource: &str) -> Option<PsiStats> {
        self.is_v2().then(|| PsiStats::parse(&self.read("", &format!("{resource}.pressure"))))?
    }

    /// The names of the control files of `controller`.
    pub(crate) fn files(&self, controller: &str) -> Vec<String> {
        let names = self.directory(controller).map(|directory| crate::disk::names(&directory).unwrap_or_default());
        names.unwrap_or_default()
    }

    /// Kills every process in the group and below it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        if let Hierarchies::V2(_) = self.hierarchies
            && fs::write(self.main_directory().join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        let freezer = self.directory("freezer").map(|directory| directory.join("freezer.state"));
        for _ in 0..KILL_ROUNDS {
            // Of a group that is frozen as a whole nobody can fork meanwhile.
            let still = freezer.as_deref().is_some_and(freeze);
            let pids = self.processes();
            for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = freezer.as_ref().map(|state| fs::write(state, "THAWED"));
            if pids.is_empty() || still {
                break;
            }
        }
        Ok(())
    }

    /// The processes in the group and below it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        let mut pending = vec![self.main_directory()];
        while let Some(directory) = pending.pop() {
            let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
            pending.extend(children(&directory));
        }
        pids
    }

    /// Removes the group and what was made below it. Its last processes may still be dying: that is waited for.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.directories().iter().try_for_each(|directory| remove_group(directory, PATIENT_ATTEMPTS))
    }

    /// The same, but whoever cannot wait long leaves it to another.
    pub(crate) fn try_remove(&self) -> io::Result<()> {
        self.directories().iter().try_for_each(|directory| remove_group(directory, HASTY_ATTEMPTS))
    }

    /// The group's directory in the hierarchy of `controller`.
    fn directory(&self, controller: &str) -> Option<PathBuf> {
        match self.hierarchies {
            Hierarchies::V1(mounts) => {
                mounts.iter().find(|mount| mount.has(controller)).map(|mount| mount.root.join(&self.path))
            }
            Hierarchies::V2(root) => Some(root.join(&self.path)),
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        match self.hierarchies {
            Hierarchies::V1(mounts) => mounts.iter().map(|mount| mount.root.join(&self.path)).collect(),
            Hierarchies::V2(root) => vec![root.join(&self.path)],
        }
    }

    /// The directory that lists the processes: every hierarchy lists the same ones.
    fn main_directory(&self) -> PathBuf {
        self.directory("memory").or_else(|| self.directories().first().cloned()).unwrap_or_default()
    }
}

/// Moves the calling process into the group of that directory.
fn move_into(directory: &Path) -> io::Result<()> {
    let procs = directory.join("cgroup.procs");
    fs::write(&procs, "0").map_err(|error| described(error, "writing", "0", &procs))
}

/// Freezes a group of version 1; whether it came to stand still. It takes its time, and more for who is in the kernel.
fn freeze(state: &Path) -> bool {
    for _ in 0..FREEZE_ATTEMPTS {
        let frozen = fs::write(state, "FROZEN").and_then(|()| fs::read_to_string(state));
        match frozen.as_deref().map(str::trim) {
            Ok("FROZEN") => return true,
            Ok(_) => std::thread::sleep(FREEZE_PAUSE),
            Err(_) => return false,
        }
    }
    false
}

fn remove_group(directory: &Path, attempts: u32) -> io::Result<()> {
    for child in children(directory) {
        remove_group(&child, attempts)?;
    }
    for _ in 0..attempts {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(REMOVE_PAUSE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{} still has processes", directory.display())))
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn described(error: io::Error, doing: &str, value: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{doing} {value:?} to {}: {error}", path.display()))
}
