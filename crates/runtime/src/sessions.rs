//! Processes beside a container's first one: commands run for somebody, and attachments.
//!
//! Data never passes through the shim: a session's pipes, or its terminal, are this process's own. A [`Session`] that
//! is dropped ends its process, so that nobody who vanishes leaves anything behind.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::disk;
use crate::error::{Error, Result};
use crate::node::{Container, Node};
use crate::sandboxes::new_id;
use crate::shim::wire::{BUNDLE_FILE, Bundle, Call, Exec, Exit, MAX_MESSAGE_BYTES, Stream};
use crate::shims::Shim;

/// What of a synchronous command's output is kept, of both streams together: an answer must hold it. The rest is read and
/// dropped, so that the command comes to its end.
const MAX_OUTPUT_BYTES: usize = sampan_cri::MAX_MESSAGE_BYTES / 2;
/// No larger environment is sent along: half of a message is for the rest.
const MAX_ENV_BYTES: usize = MAX_MESSAGE_BYTES / 2;
/// How long output is waited for after a command's end, when something it left behind holds its pipes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a finished command left.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) code: i32,
}

/// A process in a container that was started for somebody.
pub(crate) struct Session {
    shim: Arc<Shim>,
    id: String,
    exit: Option<oneshot::Receiver<Exit>>,
}

/// The runtime's ends of a session's streams.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: Option<pipe::Receiver>,
    pub(crate) stderr: Option<pipe::Receiver>,
    /// Instead of the three.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Which streams a session has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) terminal: bool,
}

/// The running container that a session is for, and its shim.
pub(crate) fn target(node: &Node, id: &str) -> Result<(Arc<Container>, Arc<Shim>)> {
    let container = node.container(id)?;
    if !container.is_running() {
        return Err(Error::State(format!("container {:?} is not running", container.id)));
    }
    let shim = node.sandbox(&container.record.sandbox)?.shim()?;
    Ok((container, shim))
}

/// Starts `command` in a container.
pub(crate) async fn start(node: &Node, id: &str, command: &[String], wanted: Wanted) -> Result<(Session, Streams)> {
    if command.is_empty() {
        return Err(Error::Invalid("no command to run".to_owned()));
    }
    let (container, shim) = target(node, id)?;
    let process = Box::new(process(node, &container, command, wanted.terminal)?);
    let (mut streams, theirs) = if wanted.terminal { (Streams::default(), Vec::new()) } else { pipes(wanted)? };
    let id = new_id();
    let exit = shim.expect_exit(&id);
    let session = Session { shim: Arc::clone(&shim), id: id.clone(), exit: Some(exit) };
    let fds: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
    let (_, fds) = shim.call(Call::Exec(Exec { id, container: container.id.clone(), process }), &fds).await?;
    if wanted.terminal {
        let terminal = fds.into_iter().next();
        streams.terminal = Some(terminal.ok_or_else(|| Error::Shim("the session got no terminal".to_owned()))?);
    }
    Ok((session, streams))
}

/// The process of the container's bundle, running `command` instead.
fn process(node: &Node, container: &Container, command: &[String], terminal: bool) -> Result<Process> {
    let path = node.places.container(&container.id).join(BUNDLE_FILE);
    let bundle = disk::read_json::<Bundle>(&path).map_err(Error::io_at("reading", &path))?;
    let process = bundle.and_then(|bundle| bundle.spec.process().clone());
    let mut process = process.ok_or_else(|| Error::State(format!("container {:?} has no bundle", container.id)))?;
    process.set_args(Some(command.to_vec()));
    process.set_terminal(Some(terminal));
    // The shim has it; only the shims of earlier builds use what is sent, of which a message may not hold all.
    if serde_json::to_vec(process.env()).is_ok_and(|json| json.len() > MAX_ENV_BYTES) {
        process.set_env(None);
    }
    Ok(process)
}

fn pipes(wanted: Wanted) -> Result<(Streams, Vec<OwnedFd>)> {
    let failed = || Error::io("making pipes for a session");
    let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let mut streams = Streams::default();
    let mut theirs = Vec::new();
    if wanted.stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).map_err(failed())?;
        streams.stdin = Some(pipe::Sender::from_owned_fd(nonblocking(write)?).map_err(failed())?);
        theirs.push(read);
    } else {
        theirs.push(null().map_err(std::io::Error::from).map_err(failed())?);
    }
    for (wanted, ours) in [(wanted.stdout, &mut streams.stdout), (wanted.stderr, &mut streams.stderr)] {
        if wanted {
            let (receiver, write) = output_pipe()?;
            *ours = Some(receiver);
            theirs.push(write);
        } else {
            theirs.push(null().map_err(std::io::Error::from).map_err(failed())?);
        }
    }
    Ok((streams, theirs))
}

fn output_pipe() -> Result<(pipe::Receiver, OwnedFd)> {
    let failed = || Error::io("making pipes for a session");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).map_err(failed())?;
    Ok((pipe::Receiver::from_owned_fd(nonblocking(read)?).map_err(failed())?, write))
}

fn nonblocking(fd: OwnedFd) -> Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true).map_err(std::io::Error::from).map_err(Error::io("preparing a pipe"))?;
    Ok(fd)
}

impl Session {
    /// Waits for the process's end.
    pub(crate) async fn wait(&mut self) -> Result<Exit> {
        let Some(exit) = &mut self.exit else { return Err(Error::State("the session is over".to_owned())) };
        let exit = exit.await.map_err(|_| Error::Shim("the Pod's shim is gone".to_owned()));
        self.exit = None;
        exit
    }

    /// What tells the process's terminal its size.
    pub(crate) fn sizing(&self) -> Sizing {
        Sizing { shim: Arc::clone(&self.shim), id: self.id.clone() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.exit.is_none() {
            return;
        }
        self.shim.forget_exit(&self.id);
        let (shim, id) = (Arc::clone(&self.shim), std::mem::take(&mut self.id));
        let kill = async move { drop(shim.call(Call::Signal { id, signal: libc::SIGKILL }, &[]).await) };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(kill);
        }
    }
}

/// Tells a terminal its size.
pub(crate) struct Sizing {
    shim: Arc<Shim>,
    id: String,
}

impl Sizing {
    /// The terminal is now this large, in characters.
    pub(crate) async fn set(&self, columns: u16, rows: u16) {
        let call = Call::Resize { id: self.id.clone(), columns, rows };
        if let Err(error) = self.shim.call(call, &[]).await {
            tracing::debug!(%error, "a terminal could not be resized");
        }
    }
}

/// Runs `command` to its end and returns what it printed.
pub(crate) async fn run(node: &Node, id: &str, command: &[String], timeout: Option<Duration>) -> Result<Output> {
    let wanted = Wanted { stdout: true, stderr: true, ..Wanted::default() };
    let (mut session, streams) = start(node, id, command, wanted).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ending = run_to_end(&mut session, streams, (&mut stdout, &mut stderr));
    let exit = match timeout {
        None => ending.await?,
        Some(limit) => tokio::time::timeout(limit, ending)
            .await
            .map_err(|_| Error::Timeout(format!("failed to exec in container: timeout {limit:?} exceeded")))??,
    };
    Ok(Output { stdout, stderr, code: exit.code })
}

async fn run_to_end(session: &mut Session, streams: Streams, into: (&mut Vec<u8>, &mut Vec<u8>)) -> Result<Exit> {
    let room = AtomicUsize::new(MAX_OUTPUT_BYTES);
    let reading =
        async { tokio::join!(collect(streams.stdout, into.0, &room), collect(streams.stderr, into.1, &room)) };
    let mut reading = std::pin::pin!(reading);
    tokio::select! {
        exit = session.wait() => {
            let exit = exit?;
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, &mut reading).await;
            return Ok(exit);
        }
        _ = &mut reading => {}
    }
    session.wait().await
}

/// Reads `source` to its end, and keeps what there is `room` for.
async fn collect(source: Option<pipe::Receiver>, into: &mut Vec<u8>, room: &AtomicUsize) {
    let Some(mut source) = source else { return };
    let mut buffer = [0; 16 * 1024];
    while let Ok(length) = source.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        let kept = length.min(room.load(Ordering::Relaxed));
        room.fetch_sub(kept, Ordering::Relaxed);
        into.extend_from_slice(&buffer[..kept]);
    }
}

/// Somebody attached to a container.
pub(crate) struct Attachment {
    shim: Arc<Shim>,
    container: String,
}

/// Attaches to a container's first process.
pub(crate) async fn attach(node: &Node, id: &str, wanted: Wanted) -> Result<(Attachment, Streams)> {
    let (container, shim) = target(node, id)?;
    let mut streams = Streams::default();
    let (mut names, mut theirs) = (Vec::new(), Vec::new());
    let outputs =
        [(wanted.stdout, Stream::Stdout, &mut streams.stdout), (wanted.stderr, Stream::Stderr, &mut streams.stderr)];
    for (wanted, stream, ours) in outputs {
        // A terminal has one output; a stream that is not there would never end.
        if wanted && !(container.config.tty && stream == Stream::Stderr) {
            let (receiver, write) = output_pipe()?;
            *ours = Some(receiver);
            names.push(stream);
            theirs.push(write);
        }
    }
    let fds: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
    let (_, fds) = shim.call(Call::Attach { container: container.id.clone(), streams: names }, &fds).await?;
    if let Some(input) = fds.into_iter().next().filter(|_| wanted.stdin) {
        if container.config.tty {
            streams.terminal = Some(input);
        } else {
            let sender = pipe::Sender::from_owned_fd(nonblocking(input)?);
            streams.stdin = Some(sender.map_err(Error::io("attaching to standard input"))?);
        }
    }
    Ok((Attachment { shim, container: container.id.clone() }, streams))
}

impl Attachment {
    /// What was typed has come to its end: so does the container's input, if that was agreed.
    pub(crate) async fn close_stdin(&self) {
        let _ = self.shim.call(Call::CloseStdin { container: self.container.clone() }, &[]).await;
    }

    /// What tells the container's terminal its size.
    pub(crate) fn sizing(&self) -> Sizing {
        Sizing { shim: Arc::clone(&self.shim), id: self.container.clone() }
    }
}

/// Connects to a TCP port on a Pod's own loopback, of whichever family something listens there.
pub(crate) async fn dial(node: &Node, sandbox: &str, port: u16) -> Result<TcpStream> {
    let shim = node.sandbox(sandbox)?.shim()?;
    match dial_loopback(&shim, Call::Socket, (Ipv4Addr::LOCALHOST, port).into()).await {
        Ok(stream) => Ok(stream),
        // What IPv4 says is what everybody expects to hear.
        Err(error) => dial_loopback(&shim, Call::SocketV6, (Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| error),
    }
}

async fn dial_loopback(shim: &Shim, socket: Call, address: SocketAddr) -> Result<TcpStream> {
    let (_, fds) = shim.call(socket, &[]).await?;
    let fd = fds.into_iter().next().ok_or_else(|| Error::Shim("the Pod's shim sent no socket".to_owned()))?;
    let socket = tokio::net::TcpSocket::from_std_stream(fd.into());
    let doing = format!("failed to connect to localhost:{} inside the Pod", address.port());
    socket.connect(address).await.map_err(Error::io(doing))
}
