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

    #[zbus(property(emits_changed_signal = "false"))]
    fn preparing_for_shutdown(&self) -> zbus::Result<bool>;
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

    /// Sees to it that logind may be made to wait for `wanted`, by a setting in the name of `cluster`.
    pub(super) async fn allow(&self, cluster: &str, wanted: Duration) -> Result<(), Error> {
        if self.longest().await? >= wanted {
            return Ok(());
        }
        if let Some(directory) = Path::new(SETTINGS).parent() {
            std::fs::create_dir_all(directory)?;
        }
        let seconds = wanted.as_secs() + u64::from(wanted.subsec_nanos() > 0);
        std::fs::write(SETTINGS, settings(cluster, seconds))?;
        reload(&self.bus).await?;
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

    /// Whether the machine is about to go down now.
    pub(super) async fn is_preparing(&self) -> Result<bool, Error> {
        Ok(self.manager.preparing_for_shutdown().await?)
    }

    /// Whether the machine is about to go down, each time that changes. Ends with the bus.
    pub(super) async fn shutdowns(&self) -> Result<BoxStream<'static, bool>, Error> {
        let signals = self.manager.receive_prepare_for_shutdown().await?;
        Ok(signals.filter_map(async |signal| signal.args().ok().map(|args| args.start)).boxed())
    }
}

/// Removes the setting that was written in the name of `cluster`, if it is that, and has logind forget it.
pub(super) async fn forget(cluster: &str) -> Result<(), Error> {
    match std::fs::read_to_string(SETTINGS) {
        Ok(text) if is_of(&text, cluster) => std::fs::remove_file(SETTINGS)?,
        _ => return Ok(()),
    }
    reload(&Connection::system().await?).await
}

/// Has logind read its settings anew.
async fn reload(bus: &Connection) -> Result<(), Error> {
    let systemd = SystemdProxy::new(bus).await?;
    Ok(systemd.kill_unit("systemd-logind.service", "all", nix::libc::SIGHUP).await?)
}

fn settings(cluster: &str, seconds: u64) -> String {
    format!("{}{seconds}\n", head(cluster))
}

/// Everything up to the number. The first line is upstream's.
fn head(cluster: &str) -> String {
    format!("# Kubelet logind override\n# of the cluster {cluster}\n[Login]\nInhibitDelayMaxSec=")
}

/// Whether `text` is what was written in the name of `cluster`, and nothing else.
fn is_of(text: &str, cluster: &str) -> bool {
    text.strip_prefix(&head(cluster)).is_some_and(|seconds| seconds.trim_end().parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_of_the_cluster_that_wrote_it() {
        let ours = settings("one", 30);
        assert_eq!(ours, "# Kubelet logind override\n# of the cluster one\n[Login]\nInhibitDelayMaxSec=30\n");
        for (text, want) in [
            (ours.clone(), true),
            (settings("two", 30), false),
            (settings("one-more", 30), false),
            (ours.clone() + "KillUserProcesses=no\n", false),
            (ours.replace("30", ""), false),
            ("# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=30\n".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_of(&text, "one"), want, "{text}");
        }
    }
}
