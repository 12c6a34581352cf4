//! The runtime's side of its shims: starting one, connecting to one, calling it.
//!
//! A shim is started with its listening socket as standard input, so that a connection can be made at once and waits
//! in the socket's queue. From then on it does not need the runtime; [`Shim::connect`] finds it again.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::shim::wire::{self, Answer, Call, Exit, MAX_MESSAGE_BYTES, Message, Request};

const SOCKET: &str = "shim.sock";
const LOG: &str = "shim.log";
const BACKLOG: i32 = 8;
/// How long a shim may take to answer, or to end its Pod, before it is taken for gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a call to a shim brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The shim itself refuses; the words are its own.
    #[error("{0}")]
    Refused(String),
    #[error("the Pod's shim is gone")]
    Gone,
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
}

impl Error {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// What a shim tells without being asked.
pub(crate) enum News {
    /// A container's first process has ended.
    Exited { container: String, exit: Exit },
    /// The connection has ended: the shim is dead, or has let us go.
    Gone,
}

type Reply = Result<(Answer, Vec<OwnedFd>), String>;

/// A connection to one shim.
pub(crate) struct Shim {
    socket: AsyncFd<OwnedFd>,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// No more answers will come.
    closed: bool,
    replies: HashMap<u64, oneshot::Sender<Reply>>,
    /// Sessions (not containers) by id.
    exits: HashMap<String, oneshot::Sender<Exit>>,
}

/// Starts the shim `command` in `directory`.
pub(crate) fn start(command: &[OsString], directory: &Path) -> Result<Child, Error> {
    let (program, args) = command.split_first().ok_or(Error::Refused("no shim command is configured".to_owned()))?;
    let listener = listen_in(directory).map_err(Error::io("opening the shim's socket"))?;
    let log = File::create(directory.join(LOG)).map_err(Error::io("creating the shim's log"))?;
    Command::new(program)
        .args(args)
        .arg(directory)
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .current_dir("/")
        .env_clear()
        .spawn()
        .map_err(Error::io("starting the shim"))
}

impl Shim {
    /// Connects to the shim that listens in `directory`; `news` is called for what it tells, until it is gone.
    pub(crate) fn connect(
        directory: &Path,
        tasks: &TaskTracker,
        news: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Error> {
        let socket = connect_in(directory).map_err(Error::io("connecting to the Pod's shim"))?;
        let socket = crate::kernel::watch(socket).map_err(Error::io("watching the shim's socket"))?;
        let shim = Arc::new(Self { socket, next: AtomicU64::new(1), waiting: Mutex::default() });
        let reading = Arc::clone(&shim);
        tasks.spawn(async move {
            reading.read(&news).await;
            reading.close();
            news(News::Gone);
        });
        Ok(shim)
    }

    /// Asks the shim and waits for its answer.
    pub(crate) async fn call(&self, call: Call, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>), Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(Error::Gone);
            }
            waiting.replies.insert(id, sender);
        }
        let request = Request { id, call };
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| wire::send(socket.as_fd(), &request, fds)).await;
        if let Err(error) = sent {
            self.waiting.lock().replies.remove(&id);
            return Err(Error::Io { doing: "asking the Pod's shim", source: error });
        }
        receiver.await.map_err(|_| Error::Gone)?.map_err(Error::Refused)
    }

    /// Asks the shim for what it does at once, or in a bounded time: without an answer by then it is taken for gone, and the
    /// connection is ended.
    pub(crate) async fn call_in_time(&self, call: Call) -> Result<Answer, Error> {
        match tokio::time::timeout(PATIENCE, self.call(call, &[])).await {
            Ok(answered) => answered.map(|(answer, _)| answer),
            Err(_) => {
                self.close();
                Err(Error::Gone)
            }
        }
    }

    /// Announces the session `id`: the receiver gets its exit.
    pub(crate) fn expect_exit(&self, id: &str) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if !waiting.closed {
            waiting.exits.insert(id.to_owned(), sender);
        }
        receiver
    }

    /// Takes back what [`Self::expect_exit`] announced.
    pub(crate) fn forget_exit(&self, id: &str) {
        self.waiting.lock().exits.remove(id);
    }

    /// Ends the connection from our side.
    pub(crate) fn close(&self) {
        let _ = rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Both);
        let mut waiting = self.waiting.lock();
        *waiting = Waiting { closed: true, ..Waiting::default() };
    }

    async fn read(&self, news: &impl Fn(News)) {
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        loop {
            let received = self
                .socket
                .async_io(Interest::READABLE, |socket| wire::receive_bytes(socket.as_fd(), &mut bytes))
                .await;
            let (length, fds) = match received {
                Ok((0, _)) | Err(_) => return,
                Ok(received) => received,
            };
            match serde_json::from_slice(&bytes[..length]) {
                Ok(Message::Reply { id, result }) => {
                    if let Some(sender) = self.waiting.lock().replies.remove(&id) {
                        let _ = sender.send(result.map(|answer| (answer, fds)));
                    }
                }
                Ok(Message::Exited { id, exit }) => {
                    let session = self.waiting.lock().exits.remove(&id);
                    match session {
                        Some(sender) => drop(sender.send(exit)),
                        None => news(News::Exited { container: id, exit }),
                    }
                }
                // A shim of another version; what concerns a request fails that, and the rest goes on.
                Err(error) => {
                    tracing::warn!(%error, "a message of a Pod's shim is not understood");
                    let id = wire::reply_id(&bytes[..length]);
                    if let Some(sender) = id.and_then(|id| self.waiting.lock().replies.remove(&id)) {
                        let _ = sender.send(Err(format!("the answer of the Pod's shim is not understood: {error}")));
                    }
                }
            }
        }
    }
}

fn unix_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// The socket's name by way of its directory's descriptor: socket names are limited to 108 bytes, paths are not.
fn socket_name(directory: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let fd = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", fd.as_raw_fd()))?;
    Ok((fd, name))
}

fn listen_in(directory: &Path) -> io::Result<OwnedFd> {
    let (_directory, name) = socket_name(directory)?;
    let socket = unix_socket()?;
    bind(&socket, &name)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn connect_in(directory: &Path) -> io::Result<OwnedFd> {
    let (_directory, name) = socket_name(directory)?;
    let socket = unix_socket()?;
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, 2 * MAX_MESSAGE_BYTES)?;
    connect(&socket, &name)?;
    Ok(socket)
}
