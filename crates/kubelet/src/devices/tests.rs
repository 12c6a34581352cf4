//! The kubelet's sockets and a plugin in the same process: registration, lists, allocation, what is left after a restart,
//! and what the pod resources API tells.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use sampan_client::Tasks;
use sampan_cri::v1::ContainerConfig;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::transport::{Channel, Server, Uri};
use tonic::{Request, Response, Status};

use super::plugins::v1::registration_server::{Registration, RegistrationServer};
use super::plugins::v1::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use super::resources::v1;
use super::{Devices, Lister, serve_pod_resources};
use crate::cpus::Cpus;
use crate::device_plugin::v1beta1::device_plugin_server::{DevicePlugin, DevicePluginServer};
use crate::device_plugin::v1beta1::registration_client::RegistrationClient;
use crate::device_plugin::v1beta1::*;
use crate::server::{PodEntry, Pods};

const GPU: &str = "sampan.test/gpu";
/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A plugin that remembers what it was asked.
#[derive(Clone)]
struct Plugin {
    devices: watch::Sender<Vec<Device>>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl DevicePlugin for Plugin {
    type ListAndWatchStream = Pin<Box<dyn Stream<Item = Result<ListAndWatchResponse, Status>> + Send>>;

    async fn get_device_plugin_options(&self, _: Request<Empty>) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(DevicePluginOptions::default()))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let lists = WatchStream::new(self.devices.subscribe());
        Ok(Response::new(lists.map(|devices| Ok(ListAndWatchResponse { devices })).boxed()))
    }

    async fn get_preferred_allocation(
        &self,
        _: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn allocate(&self, request: Request<AllocateRequest>) -> Result<Response<AllocateResponse>, Status> {
        let ids = request.into_inner().container_requests.remove(0).devices_ids.join(",");
        self.asked.lock().push(format!("allocate {ids}"));
        let response = ContainerAllocateResponse { envs: [("GPUS".to_owned(), ids)].into(), ..Default::default() };
        Ok(Response::new(AllocateResponse { container_responses: vec![response] }))
    }

    async fn pre_start_container(
        &self,
        request: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        self.asked.lock().push(format!("start {}", request.into_inner().devices_ids.join(",")));
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

async fn dial(socket: &Path) -> Channel {
    let socket = socket.to_path_buf();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.unwrap()
}

/// A plugin with two devices.
fn two_devices() -> Plugin {
    let device = |id: &str| Device {
        id: id.to_owned(),
        health: "Healthy".to_owned(),
        topology: Some(TopologyInfo { nodes: vec![NumaNode { id: 1 }] }),
    };
    Plugin { devices: watch::Sender::new(vec![device("a"), device("b")]), asked: Arc::default() }
}

/// Serves a plugin with two devices, and registers it with the kubelet of `root`.
async fn plugin(root: &Path) -> Plugin {
    let plugin = two_devices();
    let directory = root.join("device-plugins");
    let listener = UnixListener::bind(directory.join("gpu.sock")).unwrap();
    let server = Server::builder().add_service(DevicePluginServer::new(plugin.clone()));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    let request = RegisterRequest {
        version: "v1beta1".to_owned(),
        endpoint: "gpu.sock".to_owned(),
        resource_name: GPU.to_owned(),
        options: Some(DevicePluginOptions { pre_start_required: true, ..DevicePluginOptions::default() }),
    };
    RegistrationClient::new(dial(&directory.join("kubelet.sock")).await).register(request).await.unwrap();
    plugin
}

async fn until(devices: &Devices, counts: (usize, usize)) {
    let mut changes = devices.changes();
    let there = async {
        while devices.counts().get(GPU) != Some(&counts) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("{:?}", devices.counts()));
}

fn pod(uid: &str, count: usize) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": uid, "namespace": "ns", "uid": uid},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {GPU: count.to_string(), "cpu": "1"}}}]},
    }))
    .unwrap()
}

fn variable(devices: &Devices, uid: &str) -> Option<String> {
    let mut config = ContainerConfig::default();
    devices.of_container(uid, "c").apply(&mut config);
    config.envs.first().map(|env| String::from_utf8_lossy(&env.value).into_owned())
}

#[tokio::test]
async fn devices_come_go_and_are_kept_for_who_has_them() {
    let root = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let devices = Devices::start(root.path(), &tasks).unwrap();
    // What nobody offers concerns nobody here.
    devices.allocate(&pod("early", 1)).await.unwrap();
    let gpus = plugin(root.path()).await;
    until(&devices, (2, 2)).await;

    devices.allocate(&pod("u", 1)).await.unwrap();
    devices.allocate(&pod("u", 1)).await.unwrap();
    assert_eq!(variable(&devices, "u").as_deref(), Some("a"));
    devices.before_start("u", "c").await.unwrap();
    assert_eq!(*gpus.asked.lock(), ["allocate a", "start a"]);
    let short = "requested number of devices unavailable for sampan.test/gpu. Requested: 2, Available: 1";
    assert_eq!(devices.allocate(&pod("v", 2)).await, Err(short.to_owned()));

    gpus.devices.send_modify(|list| list[1].health = "Unhealthy".to_owned());
    until(&devices, (2, 1)).await;
    tasks.shutdown().await;

    // Another kubelet of the node: it knows who has what before the plugin has registered again.
    let tasks = Tasks::new();
    let devices = Devices::start(root.path(), &tasks).unwrap();
    assert_eq!(devices.counts(), [(GPU.to_owned(), (0, 0))].into());
    assert_eq!(variable(&devices, "u").as_deref(), Some("a"));
    plugin(root.path()).await;
    until(&devices, (2, 2)).await;
    devices.allocate(&pod("v", 1)).await.unwrap();
    assert_eq!(variable(&devices, "v").as_deref(), Some("b"));
    devices.release("u");
    devices.allocate(&pod("w", 1)).await.unwrap();
    assert_eq!(variable(&devices, "w").as_deref(), Some("a"));
    tasks.shutdown().await;
}

/// The Pods of a node that has one.
struct OnePod(watch::Sender<u64>);

impl Pods for OnePod {
    fn list(&self) -> Vec<Arc<Pod>> {
        vec![Arc::new(pod("u", 1))]
    }

    fn entries(&self) -> Vec<PodEntry> {
        Vec::new()
    }

    fn find(&self, _: &str, _: &str) -> Option<PodEntry> {
        None
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

#[tokio::test]
async fn who_has_what_is_told() {
    let root = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let devices = Devices::start(root.path(), &tasks).unwrap();
    let options = crate::Options::new("n1", [192, 0, 2, 1].into(), crate::tests::client(), "/nonexistent".into());
    let cpus = Arc::new(Cpus::open(&crate::Options { root_dir: root.path().into(), ..options }).unwrap());
    let pods = Arc::new(OnePod(watch::Sender::new(0)));
    serve_pod_resources(root.path(), Lister { devices: Arc::clone(&devices), cpus, pods }, &tasks).unwrap();
    plugin(root.path()).await;
    until(&devices, (2, 2)).await;
    devices.allocate(&pod("u", 1)).await.unwrap();

    let channel = dial(&root.path().join("pod-resources/kubelet.sock")).await;
    let mut client = v1::pod_resources_lister_client::PodResourcesListerClient::new(channel);
    let list = client.list(v1::ListPodResourcesRequest {}).await.unwrap().into_inner().pod_resources;
    let held = &list[0].containers[0].devices[0];
    assert_eq!(
        (list[0].name.as_str(), held.resource_name.as_str(), held.device_ids.join(" ").as_str()),
        ("u", GPU, "a")
    );
    assert_eq!(held.topology.as_ref().unwrap().nodes[0].id, 1);
    let mut get = async |name: &str| {
        let request = v1::GetPodResourcesRequest { pod_name: name.to_owned(), pod_namespace: "ns".to_owned() };
        client.get(request).await.map(|answer| answer.into_inner().pod_resources)
    };
    assert_eq!(get("u").await.unwrap(), Some(list[0].clone()));
    assert_eq!(get("x").await.unwrap_err().message(), "pod x in namespace ns not found");
    let all = client.get_allocatable_resources(v1::AllocatableResourcesRequest {}).await.unwrap().into_inner();
    assert_eq!(all.devices.len(), 2);
    tasks.shutdown().await;
}

/// What a plugin says of itself to a kubelet that finds it, and whom it tells what it is told.
struct Found {
    kind: &'static str,
    told: mpsc::UnboundedSender<RegistrationStatus>,
}

#[tonic::async_trait]
impl Registration for Found {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: self.kind.to_owned(),
            name: GPU.to_owned(),
            endpoint: String::new(),
            supported_versions: vec!["v1alpha".to_owned(), "v1beta1".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        status: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        self.told.send(status.into_inner()).unwrap();
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

/// Puts the socket of a plugin of this kind before the kubelet; what the plugin is told.
fn put(root: &Path, name: &str, kind: &'static str) -> mpsc::UnboundedReceiver<RegistrationStatus> {
    let (told, tell) = mpsc::unbounded_channel();
    let listener = UnixListener::bind(root.join("plugins_registry").join(name)).unwrap();
    let server = Server::builder()
        .add_service(RegistrationServer::new(Found { kind, told }))
        .add_service(DevicePluginServer::new(two_devices()));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    tell
}

#[tokio::test]
async fn a_plugin_that_is_found_is_taken_and_told() {
    let root = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    std::fs::create_dir(root.path().join("plugins_registry")).unwrap();
    // One is there before the kubelet, one comes later.
    let mut csi = put(root.path(), "csi.sock", "CSIPlugin");
    let devices = Devices::start(root.path(), &tasks).unwrap();
    let refused = tokio::time::timeout(PATIENCE, csi.recv()).await.unwrap().unwrap();
    assert!(!refused.plugin_registered && refused.error.contains("no handler registered"), "{refused:?}");
    let mut gpu = put(root.path(), "gpu.sock", "DevicePlugin");
    let taken = tokio::time::timeout(PATIENCE, gpu.recv()).await.unwrap().unwrap();
    assert_eq!((taken.plugin_registered, taken.error.as_str()), (true, ""));
    until(&devices, (2, 2)).await;
    tasks.shutdown().await;
}
