//! Plugins that are found: whoever has put a socket into `<root>/plugins_registry` is asked what it is, and told whether it
//! was taken. Device plugins are; there is nothing here yet that plugins of other types could serve.
//!
//! ```text
//!   socket appears -> GetInfo -> check -> the plugin's options -> endpoint: ListAndWatch
//!        ^               |         |               |                  |
//!        +-- again later, for as long as it is there --+          NotifyRegistrationStatus: taken, or why not
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::WatchFlags;

use self::v1::registration_client::RegistrationClient;
use self::v1::{InfoRequest, PluginInfo, RegistrationStatus};
use super::{Devices, endpoint, registration};
use crate::Error;
use crate::device_plugin::v1beta1::Empty;
use crate::device_plugin::v1beta1::device_plugin_client::DevicePluginClient;
use crate::directory::Watch;

/// Generated from `proto/plugin-registration-v1.proto`.
#[allow(unreachable_pub, dead_code, clippy::all, clippy::too_many_lines)]
pub(super) mod v1 {
    tonic::include_proto!("pluginregistration");
}

/// Below the kubelet's directory.
pub(super) const DIRECTORY: &str = "plugins_registry";
/// The one type that is taken here, in upstream's words.
const DEVICE_PLUGIN: &str = "DevicePlugin";
/// Sockets beyond these are not looked at.
const MAX_SOCKETS: usize = 100;
/// A plugin that does not answer, or was not taken, is asked again after this long, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// How long an attempt may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sockets, and what tells one from its successor.
type Sockets = BTreeMap<PathBuf, Identity>;
/// Inode and time of a socket's birth, in seconds and nanoseconds: an inode alone is given to the next one at once.
type Identity = (u64, i64, i64);

/// Watches the directory from now on, as a task of `devices`.
pub(super) fn watch(devices: &Arc<Devices>, directory: PathBuf) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o750).create(&directory).map_err(Error::io("creating", &directory))?;
    let changes = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
    let watch = Watch::of(&directory, changes)?;
    let devices = Arc::clone(devices);
    devices.tasks.clone().spawn(async move {
        let mut known = Sockets::new();
        loop {
            let there = sockets(&directory);
            for (socket, identity) in there.iter().filter(|(path, identity)| known.get(*path) != Some(*identity)) {
                devices.tasks.spawn(register(Arc::clone(&devices), socket.clone(), *identity));
            }
            known = there;
            if let Err(error) = watch.changed().await {
                return tracing::error!(%error, "plugins are found no more");
            }
        }
    });
    Ok(())
}

fn sockets(directory: &Path) -> Sockets {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let hidden = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()) && !hidden(entry));
    sockets.take(MAX_SOCKETS).filter_map(|entry| Some((entry.path(), identity(&entry.path())?))).collect()
}

fn identity(socket: &Path) -> Option<Identity> {
    let file = std::fs::symlink_metadata(socket).ok()?;
    Some((file.ino(), file.mtime(), file.mtime_nsec()))
}

/// Asks the plugin until it is taken or its socket is gone.
async fn register(devices: Arc<Devices>, socket: PathBuf, known: Identity) {
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = tokio::time::timeout(PATIENCE, attempt(&devices, &socket)).await;
        let Err(why) = attempt.unwrap_or_else(|_| Err("it does not answer".to_owned())) else { return };
        tracing::warn!(socket = %socket.display(), why, "a plugin is not taken");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if identity(&socket) != Some(known) {
            return;
        }
    }
}

async fn attempt(devices: &Arc<Devices>, socket: &Path) -> Result<(), String> {
    let mut client = RegistrationClient::new(endpoint::dial(socket).await?);
    let info = client.get_info(InfoRequest {}).await.map_err(|status| status.message().to_owned())?.into_inner();
    let outcome = take(devices, socket, &info).await;
    let error = outcome.clone().err().unwrap_or_default();
    // One that has gone meanwhile needs no answer.
    let _gone =
        client.notify_registration_status(RegistrationStatus { plugin_registered: outcome.is_ok(), error }).await;
    outcome
}

/// Takes the plugin if it is one that can be; an error says why not.
async fn take(devices: &Arc<Devices>, socket: &Path, info: &PluginInfo) -> Result<(), String> {
    let serving = check(socket, info)?;
    let channel = endpoint::dial(&serving).await?;
    let options = DevicePluginClient::new(channel).get_device_plugin_options(Empty {}).await;
    let options = options.map_err(|status| status.message().to_owned())?.into_inner();
    endpoint::open(devices, info.name.clone(), &serving, options).await
}

/// Where the plugin serves, if what it says of itself is in order.
fn check(socket: &Path, info: &PluginInfo) -> Result<PathBuf, String> {
    if info.r#type != DEVICE_PLUGIN {
        let (kind, socket) = (&info.r#type, socket.display());
        return Err(format!("no handler registered for plugin type: {kind} at socket {socket}"));
    }
    if !info.supported_versions.iter().any(|version| version == registration::VERSION) {
        let (ours, theirs) = (registration::VERSION, &info.supported_versions);
        return Err(format!("manager for {DEVICE_PLUGIN} supports version {ours:?}, the plugin {theirs:?}"));
    }
    if !registration::is_extended_resource(&info.name) {
        return Err(format!("the ResourceName {:?} is invalid", info.name));
    }
    Ok(if info.endpoint.is_empty() { socket.to_path_buf() } else { PathBuf::from(&info.endpoint) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_info(kind: &str, name: &str, endpoint: &str, version: &str, want: Result<&str, &str>) {
        let info = PluginInfo {
            r#type: kind.to_owned(),
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            supported_versions: vec![version.to_owned()],
        };
        assert_eq!(check(Path::new("/r/p.sock"), &info), want.map(PathBuf::from).map_err(str::to_owned));
    }

    #[test]
    fn what_a_plugin_says_is_checked() {
        check_info("DevicePlugin", "a.test/gpu", "", "v1beta1", Ok("/r/p.sock"));
        check_info("DevicePlugin", "a.test/gpu", "/x/gpu.sock", "v1beta1", Ok("/x/gpu.sock"));
        let other = "no handler registered for plugin type: CSIPlugin at socket /r/p.sock";
        check_info("CSIPlugin", "csi.a.test", "", "1.0.0", Err(other));
        let old = "manager for DevicePlugin supports version \"v1beta1\", the plugin [\"v1alpha\"]";
        check_info("DevicePlugin", "a.test/gpu", "", "v1alpha", Err(old));
        check_info("DevicePlugin", "gpu", "", "v1beta1", Err("the ResourceName \"gpu\" is invalid"));
    }
}
