//! systemd-logind over D-Bus: asking it to wait before the machine goes down, and hearing when it is about to.
//!
//! The bus is the system's, or the one that `DBUS_SYSTEM_BUS_ADDRESS` names.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use zbus::Connection;
use zbus::zvariant::OwnedFd;

/// A file that tells logind how long it may be made to wait; upstream's name.
const SETTINGS: &str = "/etc/systemd/logind.conf.d/99-kubelet.conf";

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("systemd-logind: {0}")]
    Bus(#[from] zbus::Error),
    #[error("writing {SETTINGS}: {0}")]
    Settings(#[from] std::io::Error),
    #[error(
        "systemd-logind waits for {may:?} at most (InhibitDelayMaxSec), less than the {wanted:?} that Pods may take to end"
    )]
    TooShort { may: Duration, wanted: Duration },
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Manager {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;

    #[zbus(signal)]
    fn prepare_for_shutdown(&self, start: bool) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "false"), name = "InhibitDelayMaxUSec")]
    fn inhibit_delay_max_usec(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Systemd {
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
}

/// The machine waits for as long as this is held, but no longer than logind allows.
pub(super) struct Lock(#[expect(dead_code, reason = "it is let go by being dropped")] OwnedFd);

/// A connection to logind.
pub(super) struct Logind {
    bus: Connection,
    manager: ManagerProxy<'static>,
}

impl Logind {
    /// Connects to the system's bus.
    pub(super) async fn connect() -> Result<Self, Error> {
        let bus = Connection::system().await?;
        let manager = ManagerProxy::new(&bus).await?;
        Ok(Self { bus, manager })
    }

    /// Sees to it that logind may be made to wait for `wanted`.
    pub(super) async fn allow(&self, wanted: Duration) -> Result<(), Error> {
        if self.longest().await? >= wanted {
            return Ok(());
        }
        if let Some(directory) = Path::new(SETTINGS).parent() {
            std::fs::create_dir_all(directory)?;
        }
        let seconds = wanted.as_secs() + u64::from(wanted.subsec_nanos() > 0);
        std::fs::write(SETTINGS, format!("# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={seconds}\n"))?;
        let systemd = SystemdProxy::new(&self.bus).await?;
        systemd.kill_unit("systemd-logind.service", "all", nix::libc::SIGHUP).await?;
        match self.longest().await? {
            may if may < wanted => Err(Error::TooShort { may, wanted }),
            _ => Ok(()),
        }
    }

    async fn longest(&self) -> Result<Duration, Error> {
        Ok(Duration::from_micros(self.manager.inhibit_delay_max_usec().await?))
    }

    /// Has the machine wait.
    pub(super) async fn inhibit(&self) -> Result<Lock, Error> {
        let why = "Kubelet needs time to handle node shutdown";
        Ok(Lock(self.manager.inhibit("shutdown", "kubelet", why, "delay").await?))
    }

    /// Whether the machine is about to go down, each time that changes. Ends with the bus.
    pub(super) async fn shutdowns(&self) -> Result<BoxStream<'static, bool>, Error> {
        let signals = self.manager.receive_prepare_for_shutdown().await?;
        Ok(signals.filter_map(async |signal| signal.args().ok().map(|args| args.start)).boxed())
    }
}
