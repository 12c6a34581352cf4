//! A container runtime of values behind the real CRI: containers run until a test ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use sampan_cri::v1::image_service_server::{ImageService, ImageServiceServer};
use sampan_cri::v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use sampan_cri::v1::*;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

/// Bytes under way in the connection to the kubelet.
const PIPE: usize = 1 << 20;

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, PodSandboxStatus>,
    containers: BTreeMap<String, (String, ContainerStatus, ContainerConfig)>,
    images: BTreeSet<String>,
    calls: Vec<String>,
    /// How often the status of a sandbox or a container was asked for.
    reads: usize,
    /// And how often the list of all images.
    image_lists: usize,
    /// Exit code of the next commands run by exec.
    exec_code: i32,
    /// What its only handler can do.
    features: RuntimeHandlerFeatures,
    /// What Pods use is not told.
    counting: bool,
    /// Sandboxes and containers that hang.
    stuck: BTreeSet<String>,
    /// Logs that are opened anew when they shall be, by container id.
    logs: BTreeMap<String, std::path::PathBuf>,
    /// How a container behaves when it is asked to stop: its exit code.
    next: u32,
}

pub(super) struct FakeRuntime {
    state: Mutex<State>,
    events: broadcast::Sender<ContainerEventResponse>,
}

impl FakeRuntime {
    pub(super) fn new() -> Arc<Self> {
        let features = RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: true };
        let state = State { images: ["busybox".to_owned()].into(), features, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), events: broadcast::channel(1024).0 })
    }

    /// A new connection to this runtime.
    pub(super) async fn connect(self: &Arc<Self>) -> Channel {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let service = Service(Arc::clone(self));
        let server = Server::builder()
            .add_service(RuntimeServiceServer::new(service.clone()))
            .add_service(ImageServiceServer::new(service));
        let one = futures::stream::iter([Ok::<_, std::io::Error>(theirs)]).chain(futures::stream::pending());
        tokio::spawn(server.serve_with_incoming(one));
        let mut ours = Some(ours);
        let connector = tower::service_fn(move |_: Uri| {
            let stream = ours.take().map(TokioIo::new);
            async move { stream.ok_or_else(|| std::io::Error::other("one connection only")) }
        });
        Endpoint::from_static("http://fake.invalid").connect_with_connector(connector).await.unwrap()
    }

    /// Lets the running container called `name` end.
    pub(super) fn exit(&self, name: &str, code: i32, reason: &str) {
        let _ = self.events.send(self.exit_untold(name, code, reason));
    }

    /// Lets the running container called `name` end, and nobody hears of it. The event that would tell.
    pub(super) fn exit_untold(&self, name: &str, code: i32, reason: &str) -> ContainerEventResponse {
        let mut state = self.state.lock();
        let is = |c: &(String, ContainerStatus, ContainerConfig)| {
            c.1.metadata.as_ref().unwrap().name == name && c.1.state == ContainerState::ContainerRunning as i32
        };
        let container = state.containers.values_mut().find(|container| is(container)).expect("a running container");
        end(&mut container.1, code, reason);
        let (sandbox, id) = (container.0.clone(), container.1.id.clone());
        ContainerEventResponse {
            container_id: id,
            container_event_type: ContainerEventType::ContainerStoppedEvent.into(),
            pod_sandbox_status: state.sandboxes.get(&sandbox).cloned(),
            ..ContainerEventResponse::default()
        }
    }

    pub(super) fn set_exec_code(&self, code: i32) {
        self.state.lock().exec_code = code;
    }

    /// From now on nobody is told what Pods use: that is being counted.
    pub(super) fn count_for_ever(&self) {
        self.state.lock().counting = true;
    }

    /// The names of all containers.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let state = self.state.lock();
        state.containers.values().map(|container| container.1.metadata.as_ref().unwrap().name.clone()).collect()
    }

    /// From now on the sandbox of this id cannot be stopped, or the container's log not be opened anew.
    pub(super) fn get_stuck(&self, id: &str) {
        self.state.lock().stuck.insert(id.to_owned());
    }

    /// From now on every sandbox can be stopped.
    pub(super) fn get_loose(&self) {
        self.state.lock().stuck.clear();
    }

    /// The container of this id writes its log there.
    pub(super) fn set_log(&self, id: &str, log: &std::path::Path) {
        self.state.lock().logs.insert(id.to_owned(), log.to_path_buf());
    }

    /// From now on its handler can do this.
    pub(super) fn set_features(&self, features: RuntimeHandlerFeatures) {
        self.state.lock().features = features;
    }

    pub(super) fn add_image(&self, name: &str) {
        self.state.lock().images.insert(name.to_owned());
    }

    /// The calls that changed something, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    pub(super) fn config(&self, name: &str) -> ContainerConfig {
        let state = self.state.lock();
        let mut configs = state.containers.values().rev().map(|container| &container.2);
        configs.find(|config| config.metadata.as_ref().unwrap().name == name).cloned().expect("such a container")
    }

    /// How many sandboxes and containers there are.
    pub(super) fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.sandboxes.len(), state.containers.len())
    }

    /// How often the list of all images was asked for.
    pub(super) fn image_lists(&self) -> usize {
        self.state.lock().image_lists
    }

    /// How often the status of a sandbox or container was asked for.
    pub(super) fn reads(&self) -> usize {
        self.state.lock().reads
    }
}

fn now() -> i64 {
    i64::try_from(sampan_clock::now().as_nanosecond()).unwrap()
}

fn end(status: &mut ContainerStatus, code: i32, reason: &str) {
    status.state = ContainerState::ContainerExited.into();
    status.exit_code = code;
    status.reason = reason.to_owned();
    status.finished_at = now();
}

fn selected(
    labels: &std::collections::HashMap<String, String>,
    selector: &std::collections::HashMap<String, String>,
) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[derive(Clone)]
struct Service(Arc<FakeRuntime>);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// Methods that no test needs, in the form that the service trait has after expansion.
macro_rules! not_served {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {$(
        fn $name<'life0, 'async_trait>(&'life0 self, _request: Request<$request>) -> Answer<'async_trait, $answer>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
        }
    )*};
}

/// Methods that answer at once from the state.
macro_rules! served {
    ($($name:ident($service:ident, $request:ident: $type:ty) -> $answer:ty $body:block)*) => {$(
        fn $name<'life0, 'async_trait>(&'life0 self, request: Request<$type>) -> Answer<'async_trait, $answer>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            let ($service, $request) = (Arc::clone(&self.0), request.into_inner());
            let answer = move || -> Result<$answer, Status> { $body };
            let answer = answer();
            Box::pin(async move { answer.map(Response::new) })
        }
    )*};
}

impl RuntimeService for Service {
    type GetContainerEventsStream = BoxStream<'static, Result<ContainerEventResponse, Status>>;
    type StreamPodSandboxesStream = BoxStream<'static, Result<StreamPodSandboxesResponse, Status>>;
    type StreamContainersStream = BoxStream<'static, Result<StreamContainersResponse, Status>>;
    type StreamContainerStatsStream = BoxStream<'static, Result<StreamContainerStatsResponse, Status>>;
    type StreamPodSandboxStatsStream = BoxStream<'static, Result<StreamPodSandboxStatsResponse, Status>>;
    type StreamPodSandboxMetricsStream = BoxStream<'static, Result<StreamPodSandboxMetricsResponse, Status>>;

    served! {
        version(_service, _request: VersionRequest) -> VersionResponse {
            Ok(VersionResponse { runtime_name: "fake".into(), runtime_version: "1".into(), ..Default::default() })
        }
        status(service, _request: StatusRequest) -> StatusResponse {
            let handler = RuntimeHandler { name: String::new(), features: Some(service.state.lock().features) };
            Ok(StatusResponse {
                status: Some(RuntimeStatus::default()),
                runtime_handlers: vec![handler],
                ..Default::default()
            })
        }
        get_container_events(service, _request: GetEventsRequest) -> Self::GetContainerEventsStream {
            let events = BroadcastStream::new(service.events.subscribe());
            Ok(events.filter_map(|event| async { event.ok().map(Ok) }).boxed())
        }
        run_pod_sandbox(service, request: RunPodSandboxRequest) -> RunPodSandboxResponse {
            let config = request.config.unwrap();
            let mut state = service.state.lock();
            state.next += 1;
            let id = format!("sandbox-{}", state.next);
            let network = PodSandboxNetworkStatus { ip: format!("10.42.0.{}", state.next), ..Default::default() };
            let status = PodSandboxStatus {
                id: id.clone(),
                metadata: config.metadata,
                created_at: now(),
                network: Some(network),
                labels: config.labels,
                annotations: config.annotations,
                ..Default::default()
            };
            state.sandboxes.insert(id.clone(), status);
            state.calls.push("run sandbox".to_owned());
            Ok(RunPodSandboxResponse { pod_sandbox_id: id })
        }
        stop_pod_sandbox(service, request: StopPodSandboxRequest) -> StopPodSandboxResponse {
            let mut state = service.state.lock();
            state.calls.push("stop sandbox".to_owned());
            if state.stuck.contains(&request.pod_sandbox_id) {
                return Err(Status::internal(format!("{} is stuck", request.pod_sandbox_id)));
            }
            if let Some(sandbox) = state.sandboxes.get_mut(&request.pod_sandbox_id) {
                sandbox.state = PodSandboxState::SandboxNotready.into();
            }
            Ok(StopPodSandboxResponse {})
        }
        remove_pod_sandbox(service, request: RemovePodSandboxRequest) -> RemovePodSandboxResponse {
            let mut state = service.state.lock();
            state.calls.push("remove sandbox".to_owned());
            state.sandboxes.remove(&request.pod_sandbox_id);
            Ok(RemovePodSandboxResponse {})
        }
        pod_sandbox_status(service, request: PodSandboxStatusRequest) -> PodSandboxStatusResponse {
            let mut state = service.state.lock();
            state.reads += 1;
            let status = state.sandboxes.get(&request.pod_sandbox_id).cloned();
            let status = status.ok_or_else(|| Status::not_found("no such sandbox"))?;
            Ok(PodSandboxStatusResponse { status: Some(status), ..Default::default() })
        }
        list_pod_sandbox(service, request: ListPodSandboxRequest) -> ListPodSandboxResponse {
            let selector = request.filter.map(|filter| filter.label_selector).unwrap_or_default();
            let state = service.state.lock();
            let items = state.sandboxes.values().filter(|sandbox| selected(&sandbox.labels, &selector));
            let items = items.cloned().map(|sandbox| PodSandbox {
                id: sandbox.id,
                metadata: sandbox.metadata,
                state: sandbox.state,
                created_at: sandbox.created_at,
                labels: sandbox.labels,
                annotations: sandbox.annotations,
                ..Default::default()
            });
            Ok(ListPodSandboxResponse { items: items.collect() })
        }
        create_container(service, request: CreateContainerRequest) -> CreateContainerResponse {
            let config = request.config.unwrap();
            let mut state = service.state.lock();
            state.next += 1;
            let metadata = config.metadata.clone().unwrap();
            state.calls.push(format!("create {}#{}", metadata.name, metadata.attempt));
            let id = format!("container-{:04}", state.next);
            let status = ContainerStatus {
                id: id.clone(),
                metadata: config.metadata.clone(),
                state: ContainerState::ContainerCreated.into(),
                created_at: now(),
                image: config.image.clone(),
                image_ref: "sha256:1".to_owned(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
                mounts: config.mounts.clone(),
                ..Default::default()
            };
            state.containers.insert(id.clone(), (request.pod_sandbox_id, status, config));
            Ok(CreateContainerResponse { container_id: id })
        }
        start_container(service, request: StartContainerRequest) -> StartContainerResponse {
            let mut state = service.state.lock();
            let container = state.containers.get_mut(&request.container_id).unwrap();
            container.1.state = ContainerState::ContainerRunning.into();
            container.1.started_at = now();
            Ok(StartContainerResponse {})
        }
        stop_container(service, request: StopContainerRequest) -> StopContainerResponse {
            let mut state = service.state.lock();
            state.calls.push(format!("stop {} {}s", request.container_id, request.timeout));
            let container = state.containers.get_mut(&request.container_id);
            let container = container.ok_or_else(|| Status::not_found("no such container"))?;
            end(&mut container.1, 143, "Error");
            Ok(StopContainerResponse {})
        }
        remove_container(service, request: RemoveContainerRequest) -> RemoveContainerResponse {
            service.state.lock().containers.remove(&request.container_id);
            Ok(RemoveContainerResponse {})
        }
        list_containers(service, request: ListContainersRequest) -> ListContainersResponse {
            let selector = request.filter.map(|filter| filter.label_selector).unwrap_or_default();
            let state = service.state.lock();
            let containers = state.containers.values().filter(|container| selected(&container.1.labels, &selector));
            let containers = containers.map(|(sandbox, status, _)| Container {
                id: status.id.clone(),
                pod_sandbox_id: sandbox.clone(),
                metadata: status.metadata.clone(),
                state: status.state,
                image: status.image.clone(),
                labels: status.labels.clone(),
                ..Default::default()
            });
            Ok(ListContainersResponse { containers: containers.collect() })
        }
        container_status(service, request: ContainerStatusRequest) -> ContainerStatusResponse {
            let mut state = service.state.lock();
            state.reads += 1;
            let container = state.containers.get(&request.container_id);
            let (_, status, _) = container.ok_or_else(|| Status::not_found("no such container"))?;
            Ok(ContainerStatusResponse { status: Some(status.clone()), ..Default::default() })
        }
        exec_sync(service, request: ExecSyncRequest) -> ExecSyncResponse {
            let mut state = service.state.lock();
            state.calls.push(format!("exec {}", request.cmd.join(" ")));
            Ok(ExecSyncResponse { exit_code: state.exec_code, stdout: b"said so".to_vec(), ..Default::default() })
        }
    }

    fn list_pod_sandbox_stats<'life0, 'async_trait>(
        &'life0 self,
        _request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<'async_trait, ListPodSandboxStatsResponse>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let counting = self.0.state.lock().counting;
        Box::pin(async move {
            match counting {
                true => std::future::pending().await,
                false => Ok(Response::new(ListPodSandboxStatsResponse::default())),
            }
        })
    }

    fn reopen_container_log<'life0, 'async_trait>(
        &'life0 self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<'async_trait, ReopenContainerLogResponse>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let (id, state) = (request.into_inner().container_id, self.0.state.lock());
        let (stuck, log) = (state.stuck.contains(&id), state.logs.get(&id).cloned());
        drop(state);
        Box::pin(async move {
            if stuck {
                std::future::pending::<()>().await;
            }
            log.map(std::fs::File::create_new).transpose()?;
            Ok(Response::new(ReopenContainerLogResponse {}))
        })
    }

    not_served! {
        stream_pod_sandboxes(StreamPodSandboxesRequest) -> Self::StreamPodSandboxesStream;
        stream_containers(StreamContainersRequest) -> Self::StreamContainersStream;
        stream_container_stats(StreamContainerStatsRequest) -> Self::StreamContainerStatsStream;
        stream_pod_sandbox_stats(StreamPodSandboxStatsRequest) -> Self::StreamPodSandboxStatsStream;
        stream_pod_sandbox_metrics(StreamPodSandboxMetricsRequest) -> Self::StreamPodSandboxMetricsStream;
        update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
        exec(ExecRequest) -> ExecResponse;
        attach(AttachRequest) -> AttachResponse;
        port_forward(PortForwardRequest) -> PortForwardResponse;
        container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
        list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
        pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
        update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
        checkpoint_container(CheckpointContainerRequest) -> CheckpointContainerResponse;
        checkpoint_pod(CheckpointPodRequest) -> CheckpointPodResponse;
        restore_pod(RestorePodRequest) -> RestorePodResponse;
        list_metric_descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse;
        list_pod_sandbox_metrics(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse;
        runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
        update_pod_sandbox_resources(UpdatePodSandboxResourcesRequest) -> UpdatePodSandboxResourcesResponse;
    }
}

fn image(name: &str) -> Image {
    Image { id: format!("sha256:{name}"), repo_tags: vec![name.to_owned()], size: 4096, ..Default::default() }
}

impl ImageService for Service {
    type StreamImagesStream = BoxStream<'static, Result<StreamImagesResponse, Status>>;

    served! {
        list_images(service, _request: ListImagesRequest) -> ListImagesResponse {
            let mut state = service.state.lock();
            state.image_lists += 1;
            Ok(ListImagesResponse { images: state.images.iter().map(|name| image(name)).collect() })
        }
        image_status(service, request: ImageStatusRequest) -> ImageStatusResponse {
            let name = request.image.unwrap().image;
            let name = name.trim_start_matches("sha256:");
            let known = service.state.lock().images.contains(name);
            Ok(ImageStatusResponse { image: known.then(|| image(name)), ..Default::default() })
        }
        pull_image(service, request: PullImageRequest) -> PullImageResponse {
            let name = request.image.unwrap().image;
            let mut state = service.state.lock();
            state.calls.push(format!("pull {name}"));
            if state.images.contains(&name) {
                return Ok(PullImageResponse { image_ref: format!("sha256:{name}") });
            }
            Err(Status::not_found(format!("no registry has {name}")))
        }
        image_fs_info(_service, _request: ImageFsInfoRequest) -> ImageFsInfoResponse {
            Ok(ImageFsInfoResponse::default())
        }
        remove_image(service, request: RemoveImageRequest) -> RemoveImageResponse {
            let name = request.image.unwrap_or_default().image;
            service.state.lock().calls.push(format!("remove image {name}"));
            Ok(RemoveImageResponse {})
        }
    }

    not_served! {
        stream_images(StreamImagesRequest) -> Self::StreamImagesStream;
    }
}
