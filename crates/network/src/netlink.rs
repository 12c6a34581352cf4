//! A connection to the kernel's routing netlink, in this network namespace or in another one.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use futures::TryStreamExt;
use futures::stream::Stream;
use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;
use tokio::task::JoinHandle;

use crate::Error;

/// An open connection; the task that drives it ends with it.
pub(crate) struct Netlink {
    handle: Handle,
    driver: JoinHandle<()>,
}

impl Netlink {
    /// Connects in the namespace this process is in.
    pub(crate) fn here() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
        Ok(Self { handle, driver: tokio::spawn(connection) })
    }

    /// Connects in the network namespace `netns`. A socket belongs to the namespace of the thread that opens it, so
    /// one thread goes there, opens it and ends; the connection is then driven like any other.
    pub(crate) async fn inside(netns: File, path: &Path) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::current();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let entered = setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from);
            let _reactor = runtime.enter();
            let _ = sender.send(entered.and_then(|()| rtnetlink::new_connection()));
        });
        let opened = receiver.await.unwrap_or_else(|_| Err(std::io::Error::other("the thread inside it ended")));
        let (connection, handle, _) = opened.map_err(|source| Error::Netns { path: path.to_owned(), source })?;
        Ok(Self { handle, driver: tokio::spawn(connection) })
    }

    /// The requests.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Says what a request was about, should it have failed.
pub(crate) trait Doing<T> {
    /// Names the request in the error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
    /// The same for a request that wants something gone: already gone is well.
    fn gone(self, what: impl FnOnce() -> String) -> Result<(), Error>;
}

impl<T> Doing<T> for Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Netlink { doing: what(), source })
    }

    fn gone(self, what: impl FnOnce() -> String) -> Result<(), Error> {
        match self {
            Err(source) if !is_missing(&source) => Err(Error::Netlink { doing: what(), source }),
            _ => Ok(()),
        }
    }
}

/// The first answer of a request for one object; nothing where the kernel knows none.
pub(crate) async fn first<T>(
    answers: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Option<T>, rtnetlink::Error> {
    let mut answers = std::pin::pin!(answers);
    match answers.try_next().await {
        Err(source) if is_missing(&source) => Ok(None),
        answer => answer,
    }
}

/// Whether the kernel says that the object of a request does not exist.
fn is_missing(error: &rtnetlink::Error) -> bool {
    matches!(code(error), libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL)
}

/// Whether the kernel says that the object exists already.
pub(crate) fn is_present(error: &rtnetlink::Error) -> bool {
    code(error) == libc::EEXIST
}

fn code(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code().abs(),
        _ => 0,
    }
}
