//! The container runtime, as the kubelet uses it: CRI v1 calls with bounds on time and size, and Pods as [`Seen`].
//!
//! Any runtime that speaks CRI v1 will do. Start at [`Runtime::observe`].

mod observe;
mod termination;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sampan_cri::v1;
use sampan_cri::v1::image_service_client::ImageServiceClient;
use sampan_cri::v1::runtime_service_client::RuntimeServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::Error;
use crate::config::labels;
use crate::seen::{Instance, Seen};

/// The runtime's answer to a call that does not wait for anything.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A pull may take this long.
const PULL_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Of a command's output so much is read, as upstream does: it is told to people.
const OUTPUT_BYTES: usize = 10 * 1024;
/// What a stop may take beyond its grace.
const STOP_MARGIN: Duration = Duration::from_secs(30);

/// Clients of one container runtime; clones share the channel.
#[derive(Clone)]
pub(crate) struct Runtime {
    channel: Channel,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    known: Arc<Mutex<Known>>,
}

/// What is read once of a sandbox or container, by id, for as long as a list says that its state is the same.
#[derive(Default)]
struct Known {
    /// Addresses of sandboxes that are ready.
    addresses: HashMap<String, Vec<String>>,
    instances: HashMap<String, Instance>,
}

/// A command's end, from an exec that waits for it.
#[derive(Clone, Debug)]
pub(crate) struct ExecOutput {
    pub(crate) exit_code: i32,
    /// The beginning of its standard output, then of its standard error.
    pub(crate) output: Vec<u8>,
}

impl Runtime {
    /// Connects to the runtime's socket.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Error> {
        Ok(Self::over(sampan_cri::connect(socket).await?))
    }

    /// The runtime behind `channel`.
    pub(crate) fn over(channel: Channel) -> Self {
        let size = sampan_cri::MAX_MESSAGE_BYTES;
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(size),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(size),
            channel,
            known: Arc::default(),
        }
    }

    /// The channel to the runtime, for whoever speaks to it beside this.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Name and version of the runtime.
    pub(crate) async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let request = v1::VersionRequest { version: "v1".to_owned() };
        bounded("Version", CALL_TIMEOUT, self.runtime.clone().version(request)).await
    }

    /// The runtime's own conditions, and what it can do.
    pub(crate) async fn status(&self) -> Result<v1::StatusResponse, Error> {
        let request = v1::StatusRequest { verbose: false };
        bounded("Status", CALL_TIMEOUT, self.runtime.clone().status(request)).await
    }

    /// What every Pod and its containers use.
    pub(crate) async fn usage(&self) -> Result<Vec<v1::PodSandboxStats>, Error> {
        let request = v1::ListPodSandboxStatsRequest { filter: None };
        let mut client = self.runtime.clone();
        Ok(bounded("ListPodSandboxStats", CALL_TIMEOUT, client.list_pod_sandbox_stats(request)).await?.stats)
    }

    /// Where the runtime keeps images and containers' files: mount points.
    pub(crate) async fn image_file_systems(&self) -> Result<v1::ImageFsInfoResponse, Error> {
        bounded("ImageFsInfo", CALL_TIMEOUT, self.images.clone().image_fs_info(v1::ImageFsInfoRequest {})).await
    }

    /// Container events from now on.
    pub(crate) async fn events(&self) -> Result<tonic::Streaming<v1::ContainerEventResponse>, Error> {
        let mut client = self.runtime.clone();
        bounded("GetContainerEvents", CALL_TIMEOUT, client.get_container_events(v1::GetEventsRequest {})).await
    }

    /// Every sandbox of the node.
    pub(crate) async fn sandboxes(&self) -> Result<Vec<v1::PodSandbox>, Error> {
        let request = v1::ListPodSandboxRequest { filter: None };
        let answer = bounded("ListPodSandbox", CALL_TIMEOUT, self.runtime.clone().list_pod_sandbox(request)).await?;
        Ok(answer.items)
    }

    /// Every container of the node.
    pub(crate) async fn containers(&self) -> Result<Vec<v1::Container>, Error> {
        let request = v1::ListContainersRequest { filter: None };
        let answer = bounded("ListContainers", CALL_TIMEOUT, self.runtime.clone().list_containers(request)).await?;
        Ok(answer.containers)
    }

    /// What the runtime has of the Pod `uid`.
    pub(crate) async fn observe(&self, uid: &str) -> Result<Seen, Error> {
        let selector: HashMap<String, String> = [(labels::POD_UID.to_owned(), uid.to_owned())].into();
        let filter = v1::PodSandboxFilter { label_selector: selector.clone(), ..Default::default() };
        let sandboxes = v1::ListPodSandboxRequest { filter: Some(filter) };
        let filter = v1::ContainerFilter { label_selector: selector, ..Default::default() };
        let containers = v1::ListContainersRequest { filter: Some(filter) };
        let (mut first, mut second) = (self.runtime.clone(), self.runtime.clone());
        let (sandboxes, containers) = tokio::try_join!(
            bounded("ListPodSandbox", CALL_TIMEOUT, first.list_pod_sandbox(sandboxes)),
            bounded("ListContainers", CALL_TIMEOUT, second.list_containers(containers)),
        )?;
        let mut seen = Seen::default();
        for sandbox in sandboxes.items {
            seen.sandboxes.extend(self.sandbox(sandbox).await?);
        }
        for container in containers.containers {
            seen.containers.extend(self.instance(&container).await?);
        }
        seen.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
        seen.containers.sort_by_key(|container| std::cmp::Reverse((container.created_at, container.attempt)));
        Ok(seen)
    }

    /// Makes and starts a sandbox under the runtime's handler of that name; its id.
    pub(crate) async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let answer = bounded("RunPodSandbox", CALL_TIMEOUT, self.runtime.clone().run_pod_sandbox(request)).await?;
        Ok(answer.pod_sandbox_id)
    }

    /// Stops a sandbox; one that is gone is stopped.
    pub(crate) async fn stop_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_done(bounded("StopPodSandbox", CALL_TIMEOUT, self.runtime.clone().stop_pod_sandbox(request)).await)
    }

    /// Removes a sandbox; one that is gone is removed.
    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_done(
            bounded("RemovePodSandbox", CALL_TIMEOUT, self.runtime.clone().remove_pod_sandbox(request)).await,
        )?;
        self.known.lock().addresses.remove(id);
        Ok(())
    }

    /// Makes a container; its id.
    pub(crate) async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let answer = bounded("CreateContainer", CALL_TIMEOUT, self.runtime.clone().create_container(request)).await?;
        Ok(answer.container_id)
    }

    /// Starts a container that was made.
    pub(crate) async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        bounded("StartContainer", CALL_TIMEOUT, self.runtime.clone().start_container(request)).await.map(drop)
    }

    /// Stops a container: its stop signal, then SIGKILL after `grace_s` seconds.
    pub(crate) async fn stop_container(&self, id: &str, grace_s: i64) -> Result<(), Error> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace_s };
        let limit = Duration::from_secs(u64::try_from(grace_s).unwrap_or(0)) + STOP_MARGIN;
        gone_is_done(bounded("StopContainer", limit, self.runtime.clone().stop_container(request)).await)
    }

    /// Removes a container; one that is gone is removed.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        gone_is_done(bounded("RemoveContainer", CALL_TIMEOUT, self.runtime.clone().remove_container(request)).await)?;
        self.known.lock().instances.remove(id);
        Ok(())
    }

    /// Has a container's log file opened anew, after it was moved away.
    pub(crate) async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        bounded("ReopenContainerLog", CALL_TIMEOUT, self.runtime.clone().reopen_container_log(request)).await.map(drop)
    }

    /// Gives a container other resources.
    pub(crate) async fn update_resources(&self, id: &str, linux: v1::LinuxContainerResources) -> Result<(), Error> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(linux),
            ..Default::default()
        };
        let mut client = self.runtime.clone();
        let answer = client.update_container_resources(request);
        let updated = bounded("UpdateContainerResources", CALL_TIMEOUT, answer).await.map(drop);
        self.known.lock().instances.remove(id);
        updated
    }

    /// Runs a command in a container and waits for its end, at most `timeout`. Nothing if it took longer.
    pub(crate) async fn exec(
        &self,
        id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<Option<ExecOutput>, Error> {
        let seconds = i64::try_from(timeout.as_secs().max(1)).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout: seconds };
        let mut client = self.runtime.clone();
        match bounded("ExecSync", timeout + STOP_MARGIN, client.exec_sync(request)).await {
            Ok(mut answer) => {
                let output = answer.stdout.drain(..).chain(answer.stderr.drain(..)).take(OUTPUT_BYTES).collect();
                Ok(Some(ExecOutput { exit_code: answer.exit_code, output }))
            }
            Err(Error::Runtime { source, .. }) if source.code() == Code::DeadlineExceeded => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The image `reference`, if it is on the node.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<v1::Image>, Error> {
        let request = v1::ImageStatusRequest { image: Some(image_spec(reference)), verbose: false };
        Ok(bounded("ImageStatus", CALL_TIMEOUT, self.images.clone().image_status(request)).await?.image)
    }

    /// Every image on the node.
    pub(crate) async fn images(&self) -> Result<Vec<v1::Image>, Error> {
        let request = v1::ListImagesRequest { filter: None };
        Ok(bounded("ListImages", CALL_TIMEOUT, self.images.clone().list_images(request)).await?.images)
    }

    /// Removes an image; one that is gone is removed.
    pub(crate) async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        let request = v1::RemoveImageRequest { image: Some(image_spec(reference)) };
        gone_is_done(bounded("RemoveImage", CALL_TIMEOUT, self.images.clone().remove_image(request)).await)
    }

    /// Fetches an image; how the runtime identifies it.
    pub(crate) async fn pull(
        &self,
        reference: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let request =
            v1::PullImageRequest { image: Some(image_spec(reference)), auth, sandbox_config: Some(sandbox_config) };
        Ok(bounded("PullImage", PULL_TIMEOUT, self.images.clone().pull_image(request)).await?.image_ref)
    }

    /// Which Pods (by uid) the runtime has something of, with the labels and annotations of one of their sandboxes.
    pub(crate) async fn pods(&self) -> Result<BTreeMap<String, v1::PodSandbox>, Error> {
        let sandboxes = self.sandboxes().await?.into_iter();
        let known = sandboxes.filter_map(|sandbox| Some((sandbox.labels.get(labels::POD_UID)?.clone(), sandbox)));
        Ok(known.collect())
    }
}

fn image_spec(reference: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: reference.to_owned(), ..v1::ImageSpec::default() }
}

async fn bounded<T>(
    call: &'static str,
    limit: Duration,
    future: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, future).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Error::Runtime { call, source: Box::new(status) }),
        Err(_) => Err(Error::RuntimeTimeout { call, seconds: limit.as_secs() }),
    }
}

fn gone_is_done<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(Error::Runtime { source, .. }) if source.code() == Code::NotFound => Ok(()),
        other => other.map(drop),
    }
}
