//! A connection that can be cut: everything to and from a server passes here.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What stands between.
pub(crate) struct Wire {
    /// Where clients connect instead.
    pub(crate) address: String,
    cut: Arc<Notify>,
    task: AbortHandle,
}

impl Wire {
    /// A wire to the server at `target`.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(Notify::new());
        let task = tokio::spawn(carry(listener, target.to_owned(), cut.clone())).abort_handle();
        Self { address, cut, task }
    }

    /// Breaks all connections there are. New ones work.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(listener: TcpListener, target: String, cut: Arc<Notify>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (target, cut) = (target.clone(), cut.clone());
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = cut.notified() => {}
            }
        });
    }
}
