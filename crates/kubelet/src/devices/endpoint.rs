//! One plugin: its socket, and the list of devices it keeps telling.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Uri};

use super::Devices;
use super::ledger::Known;
use crate::device_plugin::v1beta1::device_plugin_client::DevicePluginClient;
use crate::device_plugin::v1beta1::{Device, DevicePluginOptions, Empty};

/// How long a plugin may take to answer its first call.
const CONNECT: Duration = Duration::from_secs(10);
/// A plugin that has gone may come back within this; afterwards the node has no such devices.
const GRACE: Duration = Duration::from_secs(300);
/// What a plugin calls a device that can be used.
const HEALTHY: &str = "Healthy";

/// A plugin that has registered.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) client: DevicePluginClient<Channel>,
    pub(super) options: DevicePluginOptions,
    /// Told apart from a later one of the same resource by this.
    number: u64,
}

/// Connects to the plugin of `resource` on `socket`, and follows its devices from now on, in place of whoever offered
/// the resource before.
pub(super) async fn open(
    devices: &Arc<Devices>,
    resource: String,
    socket: &Path,
    options: DevicePluginOptions,
) -> Result<(), String> {
    let channel = dial(socket).await?;
    let endpoint = {
        let mut all = devices.endpoints.lock();
        let number = all.get(&resource).map_or(0, |before| before.number + 1);
        let endpoint = Endpoint { client: DevicePluginClient::new(channel), options, number };
        all.insert(resource.clone(), endpoint.clone());
        endpoint
    };
    devices.tasks.spawn(follow(Arc::clone(devices), resource, endpoint));
    Ok(())
}

/// Connects to whoever serves on `socket`.
pub(super) async fn dial(socket: &Path) -> Result<Channel, String> {
    let path = socket.to_path_buf();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let dial = tonic::transport::Endpoint::from_static("http://localhost").connect_timeout(CONNECT);
    dial.connect_with_connector(connector).await.map_err(|error| format!("{}: {error}", socket.display()))
}

/// Notes the plugin's devices until it goes, and forgets them if it does not come back.
async fn follow(devices: Arc<Devices>, resource: String, endpoint: Endpoint) {
    let mut client = endpoint.client.clone();
    match client.list_and_watch(Empty {}).await {
        Ok(answer) => {
            let mut lists = answer.into_inner();
            while let Ok(Some(list)) = lists.message().await {
                if !devices.is_current(&resource, &endpoint) {
                    return;
                }
                let known = known(list.devices);
                tracing::info!(resource, devices = known.devices.len(), "a device plugin told of its devices");
                devices.change(|ledger| ledger.set(&resource, known));
            }
        }
        Err(error) => tracing::warn!(resource, %error, "a device plugin does not tell of its devices"),
    }
    if !devices.is_current(&resource, &endpoint) {
        return;
    }
    tracing::warn!(resource, "a device plugin has gone");
    devices.change(|ledger| ledger.mark_gone(&resource));
    tokio::time::sleep(GRACE).await;
    if devices.is_current(&resource, &endpoint) {
        devices.endpoints.lock().remove(&resource);
        devices.change(|ledger| ledger.forget(&resource));
    }
}

impl Devices {
    /// Whether no later plugin offers the resource.
    fn is_current(&self, resource: &str, endpoint: &Endpoint) -> bool {
        self.endpoints.lock().get(resource).is_some_and(|current| current.number == endpoint.number)
    }
}

fn known(list: Vec<Device>) -> Known {
    let nodes = |device: &Device| {
        device.topology.iter().flat_map(|topology| topology.nodes.iter().map(|node| node.id)).collect::<Vec<i64>>()
    };
    let topology = list.iter().map(|device| (device.id.clone(), nodes(device)));
    let topology = topology.filter(|(_, nodes)| !nodes.is_empty()).collect();
    Known { devices: list.into_iter().map(|device| (device.id, device.health == HEALTHY)).collect(), topology }
}
