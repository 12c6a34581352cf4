//! From a process's start to its record.
//!
//! ```text
//!   start request ──> Starting ──report R, then end of report──> Running ──SIGCHLD──> record, event, gone
//!                        └── report E, or death ──> error reply, gone
//! ```

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::process::pidfd_send_signal;

use super::launch::{self, REPORT_ERROR, REPORT_HANDOVER, REPORT_READY, REPORT_TERMINAL};
use super::outputs::Output;
use super::pod::Pod;
use super::process::{Contained, Origin, Phase, Process, Role};
use super::wire::{self, Answer, Exit, Message, Running, Stream};
use crate::cgroups::{Group, Hierarchies};
use crate::disk::{self, Durability};

/// A report is one kind and at most one error text.
const MAX_REPORT_BYTES: usize = 8 * 1024;

impl Pod {
    /// Takes what a starting process says.
    pub(super) fn hear_report(&mut self, id: &str) {
        let Some(process) = self.processes.get_mut(id) else { return };
        let Phase::Starting { report, ready, origin } = &mut process.phase else { return };
        let origin = *origin;
        let mut bytes = [0; MAX_REPORT_BYTES];
        let (length, fds) = wire::receive_bytes(report.as_fd(), &mut bytes).unwrap_or((0, Vec::new()));
        match bytes[..length].first() {
            Some(&REPORT_TERMINAL) => process.take_terminal(fds),
            Some(&REPORT_HANDOVER) => {
                if let Some((pid, pidfd)) = launch::handed_over(fds) {
                    // The first one has done its part, and is reaped as nobody.
                    (process.pid, process.pidfd, process.helped) = (pid, pidfd, false);
                }
            }
            Some(&REPORT_READY) => {
                *ready = true;
                if let Role::Container(contained) = &process.role
                    && let Some(resources) = contained.resources()
                {
                    // The setup is done: from here on the container pays for its own time.
                    let _ = Group::new(&self.hierarchies, &contained.cgroup).limit_cpu_time(resources);
                }
            }
            Some(&REPORT_ERROR) => {
                let words = String::from_utf8_lossy(&bytes[1..length]).into_owned();
                self.fail(id, origin, format!("unable to start container process: {words}"));
            }
            _ if *ready => self.started(id, origin),
            _ => {
                let killed = "unable to start container process: it was killed while being set up; \
                              is the container's memory limit large enough?";
                self.fail(id, origin, killed.to_owned());
            }
        }
    }

    fn started(&mut self, id: &str, origin: Origin) {
        let Some(process) = self.processes.get_mut(id) else { return };
        process.phase = Phase::Running;
        process.started_at = sampan_clock::now();
        let running = Running { pid: process.pid, started_at: process.started_at };
        let session_terminal = match &process.role {
            Role::Session => process.terminal.as_ref().and_then(|terminal| terminal.try_clone().ok()),
            Role::Container(_) => None,
        };
        self.reply(origin, Ok(Answer::Started(running)), &session_terminal.into_iter().collect::<Vec<_>>());
    }

    /// A process that never came to run: nothing of it is recorded, the caller is told.
    pub(super) fn fail(&mut self, id: &str, origin: Origin, error: String) {
        if let Some(process) = self.processes.remove(id) {
            let _ = pidfd_send_signal(&process.pidfd, rustix::process::Signal::KILL);
            let pid = nix::unistd::Pid::from_raw(process.pid);
            let _ = waitpid(pid, None);
            if let Role::Container(contained) = &process.role {
                let group = Group::new(&self.hierarchies, &contained.cgroup);
                // What it may have started to go on in its place.
                let _ = group.kill();
                let _ = group.try_remove();
            }
        }
        self.reply(origin, Err(error), &[]);
    }

    pub(super) fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            let known = self.processes.iter().find(|(_, process)| process.pid == pid.as_raw());
            if let Some(id) = known.map(|(id, _)| id.clone()) {
                if self.processes.get(&id).is_some_and(|process| process.helped) {
                    // Its last word is who goes on in its place, or why nobody does.
                    self.hear_report(&id);
                } else {
                    self.ended(&id, code);
                }
            }
        }
    }

    fn ended(&mut self, id: &str, code: i32) {
        // What it reported last may still be unread: whether it ever ran decides who is told what.
        while matches!(self.processes.get(id).map(|process| &process.phase), Some(Phase::Starting { .. })) {
            self.hear_report(id);
        }
        let Some(mut process) = self.processes.remove(id) else { return };
        let finished_at = sampan_clock::now();
        let mut exit = Exit { code, started_at: Some(process.started_at), finished_at, oom_killed: false, error: None };
        if let Role::Container(contained) = &mut process.role {
            exit.oom_killed = close(&self.hierarchies, contained);
            let _ = disk::replace_json(&contained.exit_record, &exit, Durability::Process);
        }
        let message = Message::Exited { id: id.to_owned(), exit };
        // A peer that does not listen is let go: it will connect again and find the record on disk.
        self.peers.retain(|_, socket| wire::send(socket.as_fd(), &message, &[]).is_ok());
    }
}

impl Process {
    /// The master side of a container's own terminal: its output is read here, from a session's by the runtime.
    fn take_terminal(&mut self, fds: Vec<OwnedFd>) {
        let Some(terminal) = fds.into_iter().next() else { return };
        if let Role::Container(contained) = &mut self.role
            && rustix::io::ioctl_fionbio(&terminal, true).is_ok()
            && let Ok(source) = terminal.try_clone()
        {
            contained.outputs.push(Output::new(Stream::Stdout, source));
        }
        self.terminal = Some(terminal);
    }
}

/// Ends what is left of a container and says whether memory ran out in it.
fn close(hierarchies: &Hierarchies, contained: &mut Contained) -> bool {
    let group = Group::new(hierarchies, &contained.cgroup);
    if !contained.own_processes {
        let _ = group.kill();
    }
    let now = sampan_clock::now();
    for output in &mut contained.outputs {
        output.drain(contained.log.as_mut(), now);
    }
    let oom_killed = group.oom_kills() > 0;
    // The runtime does it again when it removes the container.
    let _ = group.try_remove();
    oom_killed
}
