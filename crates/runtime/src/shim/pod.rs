//! The loop of a shim: one Pod, its processes, and whoever is connected.
//!
//! What becomes of each process is in `lives.rs`.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socket_with};
use rustix::process::{pidfd_send_signal, set_child_subreaper, setsid};

use super::holder;
use super::outputs::Output;
use super::process::{self, Contained, Origin, Phase, Process, Role, SessionWanted};
use super::users::UserSpace;
use super::wire::{self, Answer, Call, Exec, MAX_MESSAGE_BYTES, Message, Request, Running, Setup, Stream};
use crate::cgroups::{Group, Hierarchies};

/// The runtime, and at most a successor that has not noticed yet that it is alone.
const MAX_PEERS: usize = 8;
/// A shim is the last to be killed when the node runs out of memory.
const OOM_SCORE: &str = "-998";

/// What the loop waits on.
enum Source {
    Signals,
    Listener,
    Peer(u64),
    Report(String),
    Output(String, usize),
    Readers(String, usize),
}

/// What a call comes to: an answer and descriptors beside it, or nothing yet.
type Outcome = Result<Option<(Answer, Vec<OwnedFd>)>, String>;

const DONE: Outcome = Ok(Some((Answer::Done, Vec::new())));

pub(super) struct Pod {
    pub(super) hierarchies: Hierarchies,
    listener: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) peers: BTreeMap<u64, OwnedFd>,
    next_peer: u64,
    pub(super) processes: BTreeMap<String, Process>,
    holder: Option<(i32, OwnedFd)>,
    users: Option<UserSpace>,
    quitting: Option<Origin>,
}

/// Serves `listener` until asked to quit.
pub(super) fn run(listener: OwnedFd) -> Result<(), String> {
    let mut pod = Pod::new(listener)?;
    loop {
        for source in pod.wait()? {
            pod.handle(source);
        }
        if pod.is_over() {
            return Ok(());
        }
    }
}

impl Pod {
    fn new(listener: OwnedFd) -> Result<Self, String> {
        let failed = |doing: &str, error: &dyn std::fmt::Display| format!("{doing}: {error}");
        // A leader already, when started by hand from a shell: then there is nothing to leave.
        let _ = setsid();
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&children), None)
            .map_err(|error| failed("blocking signals", &error))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&children, flags).map_err(|error| failed("opening a signalfd", &error))?;
        set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| failed("becoming a reaper", &error))?;
        rustix::io::ioctl_fionbio(&listener, true).map_err(|error| failed("preparing the socket", &error))?;
        Ok(Self {
            hierarchies: Hierarchies::default(),
            listener,
            signals,
            peers: BTreeMap::new(),
            next_peer: 0,
            processes: BTreeMap::new(),
            holder: None,
            users: None,
            quitting: None,
        })
    }

    fn wait(&self) -> Result<Vec<Source>, String> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        sources.push((Source::Listener, self.listener.as_fd(), PollFlags::IN));
        for (id, socket) in &self.peers {
            sources.push((Source::Peer(*id), socket.as_fd(), PollFlags::IN));
        }
        for (id, process) in &self.processes {
            process_sources(id, process, &mut sources);
        }
        let mut polled: Vec<_> = sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for events: {error}")),
        }
        let ready: Vec<_> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        Ok(sources.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|((source, ..), _)| source).collect())
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.reap(),
            Source::Listener => self.accept(),
            Source::Peer(peer) => self.hear(peer),
            Source::Report(id) => self.hear_report(&id),
            Source::Output(id, index) => {
                if let Some((log, output)) = self.contained(&id).and_then(|contained| split(contained, index)) {
                    output.pump(log, sampan_clock::now());
                }
            }
            Source::Readers(id, index) => {
                if let Some(output) = self.contained(&id).and_then(|contained| contained.outputs.get_mut(index)) {
                    output.flush();
                }
            }
        }
    }

    fn accept(&mut self) {
        let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        if self.peers.len() < MAX_PEERS {
            self.next_peer += 1;
            self.peers.insert(self.next_peer, socket);
        }
    }

    fn hear(&mut self, peer: u64) {
        let Some(socket) = self.peers.get(&peer) else { return };
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        let (bytes, fds) = match wire::receive_bytes(socket.as_fd(), &mut bytes) {
            Ok((0, _)) | Err(_) => return drop(self.peers.remove(&peer)),
            Ok((length, fds)) => (&bytes[..length], fds),
        };
        let (id, outcome) = match serde_json::from_slice(bytes) {
            Ok(Request { id, call }) => (id, self.call(call, fds, Origin { peer, request: id })),
            // The runtime may be of a later version: it is told, and goes without.
            Err(error) => match wire::request_id(bytes) {
                Some(id) => (id, Err(format!("the Pod's shim does not know what it is asked for: {error}"))),
                None => return,
            },
        };
        let origin = Origin { peer, request: id };
        match outcome {
            Ok(None) => {}
            Ok(Some((answer, fds))) => self.reply(origin, Ok(answer), &fds),
            Err(error) => self.reply(origin, Err(error), &[]),
        }
    }

    fn call(&mut self, call: Call, mut fds: Vec<OwnedFd>, origin: Origin) -> Outcome {
        match call {
            Call::Setup(setup) => self.set_up(&setup),
            Call::Start { container, directory } => {
                if self.processes.contains_key(&container) {
                    return Err(format!("container {container} runs already"));
                }
                let process = process::start_container(&self.hierarchies, self.users.as_ref(), &directory, origin)?;
                self.processes.insert(container, process);
                Ok(None)
            }
            Call::Exec(exec) => self.exec(exec, fds, origin),
            Call::Signal { id, signal } => self.signal(&id, signal),
            Call::Kill { container } => self.kill(&container),
            Call::Resize { id, columns, rows } => self.resize(&id, columns, rows),
            Call::Attach { container, streams } => self.attach(&container, &streams, &mut fds),
            Call::CloseStdin { container } => {
                let contained = self.container(&container)?;
                if contained.stdin_once {
                    contained.stdin = None;
                }
                DONE
            }
            Call::ReopenLog { container } => {
                let log = self.container(&container)?.log.as_mut();
                log.map_or(Ok(()), |log| log.reopen()).map_err(|error| error.to_string())?;
                DONE
            }
            Call::Limit { container, resources } => {
                let cgroup = self.container(&container)?.cgroup.clone();
                let group = Group::new(&self.hierarchies, &cgroup);
                let limited = group.limit(&resources).and_then(|()| group.limit_cpu_time(&resources));
                limited.map_err(|error| format!("updating limits: {error}"))?;
                DONE
            }
            Call::Socket => open_socket(AddressFamily::INET),
            Call::SocketV6 => open_socket(AddressFamily::INET6),
            Call::Containers => Ok(Some((Answer::Containers(self.running()), Vec::new()))),
            Call::Quit => self.quit(origin),
        }
    }

    fn set_up(&mut self, setup: &Setup) -> Outcome {
        self.hierarchies.clone_from(&setup.hierarchies);
        let group = Group::new(&self.hierarchies, &setup.cgroup);
        group.enter_alone().map_err(|error| format!("entering the shims' group: {error}"))?;
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        self.users = super::namespaces::enter(setup)?;
        if setup.shared_processes && self.holder.is_none() {
            self.holder = Some(holder::start(self.users.as_ref())?);
        }
        let pid = self.holder.as_ref().map_or(0, |(pid, _)| *pid);
        Ok(Some((Answer::Started(Running { pid, started_at: sampan_clock::now() }), Vec::new())))
    }

    fn exec(&mut self, exec: Exec, fds: Vec<OwnedFd>, origin: Origin) -> Outcome {
        let Exec { id, container, process: mut wanted } = exec;
        let first = self.processes.get(&container).ok_or_else(|| not_running(&container))?;
        let Role::Container(contained) = &first.role else { return Err(not_running(&container)) };
        let terminal = wanted.terminal().unwrap_or(false);
        wanted.set_env(Some(contained.environment(terminal)));
        let stdio = match (terminal, <[OwnedFd; 3]>::try_from(fds)) {
            (true, _) => None,
            (false, Ok(stdio)) => Some(stdio),
            (false, Err(_)) => return Err("an exec without a terminal needs three descriptors".to_owned()),
        };
        let wanted = SessionWanted { process: &wanted, stdio, origin, users: self.users.as_ref() };
        let process = process::start_session(&self.hierarchies, first, contained, wanted)?;
        self.processes.insert(id, process);
        Ok(None)
    }

    fn signal(&self, id: &str, signal: i32) -> Outcome {
        let process = self.processes.get(id).ok_or_else(|| not_running(id))?;
        crate::kernel::send_signal(process.pidfd.as_fd(), signal)
            .map_err(|error| format!("sending signal {signal}: {error}"))?;
        DONE
    }

    fn kill(&mut self, id: &str) -> Outcome {
        let cgroup = self.container(id)?.cgroup.clone();
        Group::new(&self.hierarchies, &cgroup).kill().map_err(|error| format!("killing: {error}"))?;
        // One that is being set up may not be in its group yet, and then would run all the same.
        if let Some(Phase::Starting { origin, .. }) = self.processes.get(id).map(|process| &process.phase) {
            self.fail(id, *origin, "unable to start container process: it was killed while being set up".to_owned());
        }
        DONE
    }

    fn resize(&self, id: &str, columns: u16, rows: u16) -> Outcome {
        let terminal = self.processes.get(id).ok_or_else(|| not_running(id))?.terminal.as_ref();
        let terminal = terminal.ok_or_else(|| format!("{id} has no terminal"))?;
        crate::kernel::resize_terminal(terminal.as_fd(), columns, rows)
            .map_err(|error| format!("resizing: {error}"))?;
        DONE
    }

    fn attach(&mut self, container: &str, streams: &[Stream], fds: &mut Vec<OwnedFd>) -> Outcome {
        let terminal = self.processes.get(container).and_then(|process| process.terminal.as_ref());
        let terminal = terminal.map(OwnedFd::try_clone).transpose().map_err(|error| format!("attaching: {error}"))?;
        let contained = self.container(container)?;
        for (stream, fd) in streams.iter().zip(fds.drain(..)) {
            rustix::io::ioctl_fionbio(&fd, true).map_err(|error| format!("attaching: {error}"))?;
            if let Some(output) = contained.outputs.iter_mut().find(|output| output.stream() == *stream) {
                output.attach(fd);
            }
        }
        let pipe = contained.stdin.as_ref().map(OwnedFd::try_clone).transpose();
        let input = terminal.or(pipe.map_err(|error| format!("attaching: {error}"))?);
        Ok(Some((Answer::Done, input.into_iter().collect())))
    }

    fn running(&self) -> Vec<(String, Running)> {
        let running = |(id, process): (&String, &Process)| match (&process.role, &process.phase) {
            (Role::Container(_), Phase::Running) => {
                Some((id.clone(), Running { pid: process.pid, started_at: process.started_at }))
            }
            _ => None,
        };
        self.processes.iter().filter_map(running).collect()
    }

    fn quit(&mut self, origin: Origin) -> Outcome {
        self.quitting = Some(origin);
        for process in self.processes.values() {
            if let Role::Container(contained) = &process.role {
                let _ = Group::new(&self.hierarchies, &contained.cgroup).kill();
            }
            let _ = pidfd_send_signal(&process.pidfd, rustix::process::Signal::KILL);
        }
        Ok(None)
    }

    /// Whether the last process is gone and whoever asked for the end has been told.
    fn is_over(&mut self) -> bool {
        let Some(origin) = self.quitting.filter(|_| self.processes.is_empty()) else { return false };
        if let Some((_, holder)) = self.holder.take() {
            let _ = pidfd_send_signal(&holder, rustix::process::Signal::KILL);
        }
        self.reply(origin, Ok(Answer::Done), &[]);
        true
    }

    pub(super) fn reply(&mut self, origin: Origin, result: Result<Answer, String>, fds: &[OwnedFd]) {
        let Some(socket) = self.peers.get(&origin.peer) else { return };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if wire::send(socket.as_fd(), &Message::Reply { id: origin.request, result }, &fds).is_err() {
            self.peers.remove(&origin.peer);
        }
    }

    fn contained(&mut self, id: &str) -> Option<&mut Contained> {
        match &mut self.processes.get_mut(id)?.role {
            Role::Container(contained) => Some(contained),
            Role::Session => None,
        }
    }

    fn container(&mut self, id: &str) -> Result<&mut Contained, String> {
        self.contained(id).ok_or_else(|| not_running(id))
    }
}

fn process_sources<'a>(id: &str, process: &'a Process, sources: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>) {
    if let Phase::Starting { report, .. } = &process.phase {
        sources.push((Source::Report(id.to_owned()), report.as_fd(), PollFlags::IN));
    }
    let Role::Container(contained) = &process.role else { return };
    for (index, output) in contained.outputs.iter().enumerate() {
        if let Some(source) = output.source() {
            sources.push((Source::Output(id.to_owned(), index), source, PollFlags::IN));
        }
        for reader in output.waiting() {
            sources.push((Source::Readers(id.to_owned(), index), reader, PollFlags::OUT));
        }
    }
}

/// A TCP socket in the shim's network, which is the Pod's.
fn open_socket(family: AddressFamily) -> Outcome {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None);
    Ok(Some((Answer::Done, vec![socket.map_err(|error| format!("opening a socket: {error}"))?])))
}

fn split(contained: &mut Contained, index: usize) -> Option<(Option<&mut super::logs::Log>, &mut Output)> {
    Some((contained.log.as_mut(), contained.outputs.get_mut(index)?))
}

fn not_running(id: &str) -> String {
    format!("{id} is not running")
}
