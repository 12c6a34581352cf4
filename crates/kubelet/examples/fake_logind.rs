//! A logind on a bus of its own, for a machine that only seems to go down: the bus is the one that
//! `DBUS_SYSTEM_BUS_ADDRESS` names. SIGUSR1 says that the machine is about to go down, SIGUSR2 that it is not after all.
//! It prints `inhibited` when a lock is taken, and `released` when the last one is let go.

#![allow(missing_docs, reason = "the macro makes methods without docs")]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use zbus::object_server::SignalEmitter;
use zbus::zvariant;

const PATH: &str = "/org/freedesktop/login1";

struct Manager {
    locks: Arc<AtomicUsize>,
    goes_down: Arc<AtomicBool>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    async fn inhibit(&self, what: &str, who: &str, _why: &str, mode: &str) -> zbus::fdo::Result<zvariant::OwnedFd> {
        let failed = |error: std::io::Error| zbus::fdo::Error::Failed(error.to_string());
        let (given, mut kept) = pipe::pipe().map_err(failed)?;
        let locks = Arc::clone(&self.locks);
        locks.fetch_add(1, Ordering::Relaxed);
        println!("inhibited: {what} {who} {mode}");
        tokio::spawn(async move {
            // It ends when the other end, which was given away, is closed.
            let _ = kept.read(&mut [0]).await;
            if locks.fetch_sub(1, Ordering::Relaxed) == 1 {
                println!("released");
            }
        });
        let given: OwnedFd = given.into_blocking_fd().map_err(failed)?;
        Ok(given.into())
    }

    #[zbus(property, name = "InhibitDelayMaxUSec")]
    async fn inhibit_delay_max_usec(&self) -> u64 {
        60_000_000
    }

    #[zbus(property)]
    async fn preparing_for_shutdown(&self) -> bool {
        self.goes_down.load(Ordering::Relaxed)
    }

    #[zbus(signal)]
    async fn prepare_for_shutdown(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut down, mut up) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let goes_down = Arc::<AtomicBool>::default();
    let manager = Manager { locks: Arc::default(), goes_down: Arc::clone(&goes_down) };
    let bus = zbus::connection::Builder::system()?;
    let bus = bus.name("org.freedesktop.login1")?.serve_at(PATH, manager)?.build().await?;
    println!("ready");
    loop {
        let start = tokio::select! {
            _ = down.recv() => true,
            _ = up.recv() => false,
        };
        goes_down.store(start, Ordering::Relaxed);
        let emitter = SignalEmitter::new(&bus, PATH)?;
        Manager::prepare_for_shutdown(&emitter, start).await?;
    }
}
