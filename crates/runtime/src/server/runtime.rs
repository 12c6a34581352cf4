//! The runtime service of CRI.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use sampan_cri::v1::runtime_service_server::RuntimeService;
use sampan_cri::v1::*;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tonic::{Request, Response, Status};

use super::{Listed, Service, once, required};
use crate::containers::blocking;
use crate::node::Node;
use crate::sessions::Wanted;
use crate::streaming::Target;
use crate::{containers, metrics, sandboxes, sessions, stats, status, verbose};

const CRI_VERSION: &str = "v1";
/// A timeout beyond any Pod's life; what is longer is "for ever".
const MAX_TIMEOUT_SECONDS: u64 = 10 * 365 * 24 * 3600;

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

/// CRI's seconds: a negative number is none.
fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(MAX_TIMEOUT_SECONDS))
}

fn checkpoints<T>() -> Answer<T> {
    Err(Status::unimplemented(
        "the embedded runtime makes no checkpoints; one that does, such as containerd 2 with criu, can be used with \
         --container-runtime-endpoint",
    ))
}

impl Service {
    fn url(&self, target: Target) -> Result<String, Status> {
        self.urls.issue(target).ok_or_else(|| Status::resource_exhausted("too many streaming requests are waiting"))
    }

    /// Runs `work` on a task of its own: a caller that gives up must not leave it half done.
    async fn to_its_end<T, F>(&self, work: impl FnOnce(Arc<Node>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = crate::error::Result<T>> + Send + 'static,
    {
        let working = self.node.tasks.spawn(work(Arc::clone(&self.node)));
        Ok(working.await.map_err(|_| Status::internal("the work was given up"))??)
    }

    fn pods(&self, filter: Option<PodSandboxFilter>) -> Vec<PodSandbox> {
        let filter = filter.unwrap_or_default();
        let sandboxes = self.node.sandboxes();
        let matching = sandboxes.iter().filter(|sandbox| status::sandbox_matches(sandbox, &filter));
        // What is shown is what is judged: the state may change in between.
        let in_state = |item: &PodSandbox| filter.state.is_none_or(|wanted| wanted.state == item.state);
        matching.map(|sandbox| status::sandbox_item(sandbox)).filter(in_state).collect()
    }

    fn all_containers(&self, filter: Option<ContainerFilter>) -> Vec<Container> {
        let filter = filter.unwrap_or_default();
        let containers = self.node.containers();
        let matching = containers.iter().filter(|container| status::container_matches(container, &filter));
        let in_state = |item: &Container| filter.state.is_none_or(|wanted| wanted.state == item.state);
        matching.map(|container| status::container_item(container)).filter(in_state).collect()
    }

    async fn container_usage(&self, filter: Option<ContainerStatsFilter>) -> Result<Vec<ContainerStats>, Status> {
        let filter = filter.unwrap_or_default();
        let filter = ContainerFilter {
            id: filter.id,
            state: None,
            pod_sandbox_id: filter.pod_sandbox_id,
            label_selector: filter.label_selector,
        };
        let node = Arc::clone(&self.node);
        let usage = blocking(move || {
            let containers = node.containers();
            let wanted = containers.iter().filter(|own| own.is_running() && status::container_matches(own, &filter));
            Ok(wanted.map(|container| stats::container(&node, container)).collect())
        });
        Ok(usage.await?)
    }

    async fn pod_metrics(&self) -> Result<Vec<PodSandboxMetrics>, Status> {
        let node = Arc::clone(&self.node);
        let measured = blocking(move || {
            let sandboxes = node.sandboxes();
            let ready = sandboxes.iter().filter(|own| own.is_ready());
            Ok(ready.map(|sandbox| metrics::sandbox(&node, sandbox)).collect())
        });
        Ok(measured.await?)
    }

    async fn pod_usage(&self, filter: Option<PodSandboxStatsFilter>) -> Result<Vec<PodSandboxStats>, Status> {
        let filter = filter.unwrap_or_default();
        let filter = PodSandboxFilter { id: filter.id, state: None, label_selector: filter.label_selector };
        let node = Arc::clone(&self.node);
        let usage = blocking(move || {
            let sandboxes = node.sandboxes();
            let wanted = sandboxes.iter().filter(|own| own.is_ready() && status::sandbox_matches(own, &filter));
            Ok(wanted.map(|sandbox| stats::sandbox(&node, sandbox)).collect())
        });
        Ok(usage.await?)
    }
}

#[tonic::async_trait]
impl RuntimeService for Service {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        answer(VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: sandboxes::NAME.to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: CRI_VERSION.to_owned(),
        })
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let condition = |kind: &str| RuntimeCondition { r#type: kind.to_owned(), status: true, ..Default::default() };
        let handler = |name: &str| RuntimeHandler {
            name: name.to_owned(),
            features: Some(RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: self.node.maps_users,
            }),
        };
        answer(StatusResponse {
            status: Some(RuntimeStatus { conditions: vec![condition("RuntimeReady"), condition("NetworkReady")] }),
            info: if request.into_inner().verbose { verbose::runtime(&self.node) } else { HashMap::new() },
            runtime_handlers: sandboxes::HANDLERS.map(handler).to_vec(),
            features: Some(RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
                mount_options: true,
            }),
        })
    }

    async fn runtime_config(&self, _: Request<RuntimeConfigRequest>) -> Answer<RuntimeConfigResponse> {
        let driver = CgroupDriver::Cgroupfs.into();
        answer(RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver: driver }) })
    }

    async fn update_runtime_config(
        &self,
        _: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        // The Pod network is the network's own to know.
        answer(UpdateRuntimeConfigResponse {})
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        let RunPodSandboxRequest { config, runtime_handler } = request.into_inner();
        let config = required(config, "config")?;
        let pod_sandbox_id =
            self.to_its_end(|node| async move { sandboxes::run(&node, config, runtime_handler).await }).await?;
        answer(RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(&self, request: Request<StopPodSandboxRequest>) -> Answer<StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.to_its_end(|node| async move { sandboxes::stop(&node, &id).await }).await?;
        answer(StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(&self, request: Request<RemovePodSandboxRequest>) -> Answer<RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.to_its_end(|node| async move { sandboxes::remove(&node, &id).await }).await?;
        answer(RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(&self, request: Request<PodSandboxStatusRequest>) -> Answer<PodSandboxStatusResponse> {
        let PodSandboxStatusRequest { pod_sandbox_id, verbose } = request.into_inner();
        let sandbox = self.node.sandbox(&pod_sandbox_id)?;
        let containers = self.node.containers_of(&sandbox.id);
        answer(PodSandboxStatusResponse {
            status: Some(status::sandbox_status(&sandbox)),
            info: if verbose { verbose::sandbox(&self.node, &sandbox) } else { HashMap::new() },
            containers_statuses: containers.iter().map(|own| status::container_status(&self.node, own)).collect(),
            timestamp: status::nanoseconds(sampan_clock::now()),
        })
    }

    async fn list_pod_sandbox(&self, request: Request<ListPodSandboxRequest>) -> Answer<ListPodSandboxResponse> {
        answer(ListPodSandboxResponse { items: self.pods(request.into_inner().filter) })
    }

    type StreamPodSandboxesStream = Listed<StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        request: Request<StreamPodSandboxesRequest>,
    ) -> Answer<Self::StreamPodSandboxesStream> {
        once(self.pods(request.into_inner().filter), |pod_sandboxes| StreamPodSandboxesResponse { pod_sandboxes })
    }

    async fn create_container(&self, request: Request<CreateContainerRequest>) -> Answer<CreateContainerResponse> {
        let CreateContainerRequest { pod_sandbox_id, config, .. } = request.into_inner();
        let container_id = containers::create(&self.node, &pod_sandbox_id, required(config, "config")?).await?;
        answer(CreateContainerResponse { container_id })
    }

    async fn start_container(&self, request: Request<StartContainerRequest>) -> Answer<StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.to_its_end(|node| async move { containers::start(&node, &id).await }).await?;
        answer(StartContainerResponse {})
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let StopContainerRequest { container_id, timeout } = request.into_inner();
        containers::stop(&self.node, &container_id, seconds(timeout)).await?;
        answer(StopContainerResponse {})
    }

    async fn remove_container(&self, request: Request<RemoveContainerRequest>) -> Answer<RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.to_its_end(|node| async move { containers::remove(&node, &id).await }).await?;
        answer(RemoveContainerResponse {})
    }

    async fn list_containers(&self, request: Request<ListContainersRequest>) -> Answer<ListContainersResponse> {
        answer(ListContainersResponse { containers: self.all_containers(request.into_inner().filter) })
    }

    type StreamContainersStream = Listed<StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<StreamContainersRequest>,
    ) -> Answer<Self::StreamContainersStream> {
        once(self.all_containers(request.into_inner().filter), |containers| StreamContainersResponse { containers })
    }

    async fn container_status(&self, request: Request<ContainerStatusRequest>) -> Answer<ContainerStatusResponse> {
        let ContainerStatusRequest { container_id, verbose } = request.into_inner();
        let container = self.node.container(&container_id)?;
        let status = Some(status::container_status(&self.node, &container));
        let node = Arc::clone(&self.node);
        let info = match verbose {
            true => blocking(move || Ok(verbose::container(&node, &container))).await?,
            false => HashMap::new(),
        };
        answer(ContainerStatusResponse { status, info })
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let UpdateContainerResourcesRequest { container_id, linux, .. } = request.into_inner();
        containers::update(&self.node, &container_id, &required(linux, "linux")?).await?;
        answer(UpdateContainerResourcesResponse {})
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<UpdatePodSandboxResourcesRequest>,
    ) -> Answer<UpdatePodSandboxResourcesResponse> {
        // The Pod's own group is its maker's, who also changes it; there is nothing else to tell here.
        self.node.sandbox(&request.into_inner().pod_sandbox_id)?;
        answer(UpdatePodSandboxResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        containers::reopen_log(&self.node, &request.into_inner().container_id).await?;
        answer(ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let ExecSyncRequest { container_id, cmd, timeout } = request.into_inner();
        let timeout = Some(seconds(timeout)).filter(|timeout| !timeout.is_zero());
        let output = sessions::run(&self.node, &container_id, &cmd, timeout).await?;
        answer(ExecSyncResponse { stdout: output.stdout, stderr: output.stderr, exit_code: output.code })
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        let ExecRequest { container_id, cmd, tty, stdin, stdout, stderr } = request.into_inner();
        let (container, _) = sessions::target(&self.node, &container_id)?;
        let wanted = Wanted { stdin, stdout, stderr: stderr && !tty, terminal: tty };
        answer(ExecResponse { url: self.url(Target::Exec { container: container.id.clone(), command: cmd, wanted })? })
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<AttachResponse> {
        let AttachRequest { container_id, stdin, tty, stdout, stderr } = request.into_inner();
        let (container, _) = sessions::target(&self.node, &container_id)?;
        let wanted = Wanted { stdin, stdout, stderr: stderr && !tty, terminal: tty };
        answer(AttachResponse { url: self.url(Target::Attach { container: container.id.clone(), wanted })? })
    }

    async fn port_forward(&self, request: Request<PortForwardRequest>) -> Answer<PortForwardResponse> {
        let PortForwardRequest { pod_sandbox_id, port } = request.into_inner();
        let sandbox = self.node.sandbox(&pod_sandbox_id)?;
        sandbox.shim()?;
        let ports = port.into_iter().map(u16::try_from).collect::<Result<_, _>>();
        let ports = ports.map_err(|_| Status::invalid_argument("a port is a number from 1 to 65535"))?;
        answer(PortForwardResponse { url: self.url(Target::PortForward { sandbox: sandbox.id.clone(), ports })? })
    }

    async fn container_stats(&self, request: Request<ContainerStatsRequest>) -> Answer<ContainerStatsResponse> {
        let container = self.node.container(&request.into_inner().container_id)?;
        let node = Arc::clone(&self.node);
        let stats = Some(blocking(move || Ok(stats::container(&node, &container))).await?);
        answer(ContainerStatsResponse { stats })
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        answer(ListContainerStatsResponse { stats: self.container_usage(request.into_inner().filter).await? })
    }

    type StreamContainerStatsStream = Listed<StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        request: Request<StreamContainerStatsRequest>,
    ) -> Answer<Self::StreamContainerStatsStream> {
        let usage = self.container_usage(request.into_inner().filter).await?;
        once(usage, |container_stats| StreamContainerStatsResponse { container_stats })
    }

    async fn pod_sandbox_stats(&self, request: Request<PodSandboxStatsRequest>) -> Answer<PodSandboxStatsResponse> {
        let sandbox = self.node.sandbox(&request.into_inner().pod_sandbox_id)?;
        let node = Arc::clone(&self.node);
        let stats = Some(blocking(move || Ok(stats::sandbox(&node, &sandbox))).await?);
        answer(PodSandboxStatsResponse { stats })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        answer(ListPodSandboxStatsResponse { stats: self.pod_usage(request.into_inner().filter).await? })
    }

    type StreamPodSandboxStatsStream = Listed<StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<StreamPodSandboxStatsRequest>,
    ) -> Answer<Self::StreamPodSandboxStatsStream> {
        let usage = self.pod_usage(request.into_inner().filter).await?;
        once(usage, |pod_sandbox_stats| StreamPodSandboxStatsResponse { pod_sandbox_stats })
    }

    type GetContainerEventsStream = Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>>;

    async fn get_container_events(&self, _: Request<GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        let node = Arc::clone(&self.node);
        let events = BroadcastStream::new(node.events.subscribe());
        let events = events.map(move |event| match event {
            Ok(event) => Ok(status::event(&node, &event)),
            Err(BroadcastStreamRecvError::Lagged(_)) => {
                Err(Status::data_loss("events were lost: list, then listen again"))
            }
        });
        // A stream that never ends by itself would keep the server from ending.
        answer(Box::pin(events.take_until(self.stop.clone().cancelled_owned())))
    }

    async fn checkpoint_container(
        &self,
        _: Request<CheckpointContainerRequest>,
    ) -> Answer<CheckpointContainerResponse> {
        checkpoints()
    }

    async fn checkpoint_pod(&self, _: Request<CheckpointPodRequest>) -> Answer<CheckpointPodResponse> {
        checkpoints()
    }

    async fn restore_pod(&self, _: Request<RestorePodRequest>) -> Answer<RestorePodResponse> {
        checkpoints()
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<ListMetricDescriptorsRequest>,
    ) -> Answer<ListMetricDescriptorsResponse> {
        answer(ListMetricDescriptorsResponse { descriptors: metrics::descriptors() })
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<ListPodSandboxMetricsRequest>,
    ) -> Answer<ListPodSandboxMetricsResponse> {
        answer(ListPodSandboxMetricsResponse { pod_metrics: self.pod_metrics().await? })
    }

    type StreamPodSandboxMetricsStream = Listed<StreamPodSandboxMetricsResponse>;

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<StreamPodSandboxMetricsRequest>,
    ) -> Answer<Self::StreamPodSandboxMetricsStream> {
        once(self.pod_metrics().await?, |pod_sandbox_metrics| StreamPodSandboxMetricsResponse { pod_sandbox_metrics })
    }
}
