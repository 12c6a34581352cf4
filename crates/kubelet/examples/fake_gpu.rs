//! A device plugin without devices: it offers `sampan.test/gpu`, as many as its second argument says, in the kubelet's
//! directory that its first argument names. A container that has some finds their ids in `SAMPAN_TEST_GPUS`, device
//! nodes `/dev/gpu-<id>` (which are `/dev/zero`) and the directory `/gpu` (which is the plugin's own).
//!
//! A file `unhealthy` in its own directory, `<directory>/fake-gpu`, holds ids of devices that are broken; it is read when
//! SIGHUP comes. The plugin registers anew when the kubelet's socket is another one, and ends when its directory is gone.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use sampan_kubelet::device_plugin::v1beta1::device_plugin_server::{DevicePlugin, DevicePluginServer};
use sampan_kubelet::device_plugin::v1beta1::registration_client::RegistrationClient;
use sampan_kubelet::device_plugin::v1beta1::*;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

const RESOURCE: &str = "sampan.test/gpu";
const SOCKET: &str = "fake-gpu.sock";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct FakeGpu {
    own: PathBuf,
    devices: watch::Sender<Vec<Device>>,
}

/// Devices `0`, `1`, ... of which those in the file `unhealthy` are.
fn devices(own: &Path, count: usize) -> Vec<Device> {
    let broken = std::fs::read_to_string(own.join("unhealthy")).unwrap_or_default();
    let broken: BTreeSet<&str> = broken.split_whitespace().collect();
    let device = |id: String| {
        let health = if broken.contains(id.as_str()) { "Unhealthy" } else { "Healthy" };
        Device { health: health.to_owned(), id, topology: Some(TopologyInfo { nodes: vec![NumaNode { id: 0 }] }) }
    };
    (0..count).map(|number| device(number.to_string())).collect()
}

#[tonic::async_trait]
impl DevicePlugin for FakeGpu {
    type ListAndWatchStream = Pin<Box<dyn Stream<Item = Result<ListAndWatchResponse, Status>> + Send>>;

    async fn get_device_plugin_options(&self, _: Request<Empty>) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(options()))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let lists = WatchStream::new(self.devices.subscribe());
        Ok(Response::new(lists.map(|devices| Ok(ListAndWatchResponse { devices })).boxed()))
    }

    /// The last ones are liked best.
    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let prefer = |request: ContainerPreferredAllocationRequest| {
            let mut ids = request.available_device_i_ds;
            ids.sort_by(|a, b| b.cmp(a));
            ids.truncate(usize::try_from(request.allocation_size).unwrap_or(0));
            ContainerPreferredAllocationResponse { device_i_ds: ids }
        };
        let container_responses = request.into_inner().container_requests.into_iter().map(prefer).collect();
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(&self, request: Request<AllocateRequest>) -> Result<Response<AllocateResponse>, Status> {
        let allocate = |request: ContainerAllocateRequest| ContainerAllocateResponse {
            envs: [("SAMPAN_TEST_GPUS".to_owned(), request.devices_ids.join(","))].into(),
            mounts: vec![Mount {
                container_path: "/gpu".to_owned(),
                host_path: self.own.display().to_string(),
                read_only: true,
            }],
            devices: request.devices_ids.iter().map(|id| node(id)).collect(),
            ..ContainerAllocateResponse::default()
        };
        let container_responses = request.into_inner().container_requests.into_iter().map(allocate).collect();
        Ok(Response::new(AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        request: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        let ids = request.into_inner().devices_ids.join(",");
        std::fs::write(self.own.join("prepared"), ids).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

fn node(id: &str) -> DeviceSpec {
    DeviceSpec {
        container_path: format!("/dev/gpu-{id}"),
        host_path: "/dev/zero".to_owned(),
        permissions: "rw".to_owned(),
    }
}

fn options() -> DevicePluginOptions {
    DevicePluginOptions { pre_start_required: true, get_preferred_allocation_available: true }
}

async fn kubelet(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

/// Serves and registers, until the kubelet's socket is another one.
async fn serve(directory: &Path, plugin: FakeGpu) -> Result<(), Failure> {
    let (own, theirs) = (directory.join(SOCKET), directory.join("kubelet.sock"));
    let _ = std::fs::remove_file(&own);
    let listener = UnixListenerStream::new(UnixListener::bind(&own)?);
    let serving = Server::builder().add_service(DevicePluginServer::new(plugin)).serve_with_incoming(listener);
    let registering = async {
        let request = RegisterRequest {
            version: "v1beta1".to_owned(),
            endpoint: SOCKET.to_owned(),
            resource_name: RESOURCE.to_owned(),
            options: Some(options()),
        };
        RegistrationClient::new(kubelet(theirs.clone()).await?).register(request).await?;
        let socket = std::fs::metadata(&theirs)?.ino();
        while std::fs::metadata(&theirs).is_ok_and(|now| now.ino() == socket) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok::<_, Failure>(())
    };
    tokio::select! {
        served = serving => served.map_err(Failure::from),
        registered = registering => registered,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let directory =
        PathBuf::from(args.next().ok_or("the kubelet's directory of device plugins is the first argument")?);
    let count: usize = args.next().ok_or("the number of devices is the second argument")?.parse()?;
    let own = directory.join("fake-gpu");
    std::fs::create_dir_all(&own)?;
    let plugin = FakeGpu { devices: watch::Sender::new(devices(&own, count)), own };
    let mut hangups = signal(SignalKind::hangup())?;
    let again = plugin.clone();
    let following = async move {
        while hangups.recv().await.is_some() {
            again.devices.send_replace(devices(&again.own, count));
        }
    };
    let serving = async {
        while directory.exists() {
            if let Err(error) = serve(&directory, plugin.clone()).await {
                eprintln!("fake_gpu: {error}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = following => {}
        () = serving => {}
    }
    Ok(())
}
