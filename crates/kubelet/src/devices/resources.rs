//! The pod resources API, for monitoring of devices: `<root>/pod-resources/kubelet.sock`.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use sampan_client::Tasks;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::ledger::Ledger;
use super::{Devices, registration};
use crate::cpus::{CpuSet, Cpus};
use crate::server::Pods;
use crate::{Error, spec};

/// Generated from `proto/pod-resources-v1.proto`.
#[allow(unreachable_pub, dead_code, clippy::all, clippy::too_many_lines)]
pub(super) mod v1 {
    tonic::include_proto!("v1");
}

use v1::pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer};
use v1::{
    AllocatableResourcesRequest, AllocatableResourcesResponse, ContainerDevices, ContainerResources,
    GetPodResourcesRequest, GetPodResourcesResponse, ListPodResourcesRequest, ListPodResourcesResponse, NumaNode,
    PodResources, TopologyInfo,
};

/// Serves the API from now on, as a task of `tasks`.
pub(crate) fn serve(root_dir: &Path, lister: Lister, tasks: &Tasks) -> Result<(), Error> {
    let directory = root_dir.join("pod-resources");
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o750).create(&directory).map_err(Error::io("creating", &directory))?;
    let socket = directory.join("kubelet.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = registration::bind(&socket)?;
    let lister = PodResourcesListerServer::new(lister);
    tasks.spawn(async move {
        let served = Server::builder().add_service(lister).serve_with_incoming(UnixListenerStream::new(listener));
        if let Err(error) = served.await {
            tracing::error!(%error, "the pod resources API is served no more");
        }
    });
    Ok(())
}

/// What the API tells of.
pub(crate) struct Lister {
    pub(crate) devices: Arc<Devices>,
    pub(crate) cpus: Arc<Cpus>,
    pub(crate) pods: Arc<dyn Pods>,
}

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(&self, _: Request<ListPodResourcesRequest>) -> Result<Response<ListPodResourcesResponse>, Status> {
        let (pods, ledger) = (self.pods.list(), self.devices.ledger.lock());
        let pod_resources = pods.iter().map(|pod| of_pod(pod, &ledger, &self.cpus)).collect();
        Ok(Response::new(ListPodResourcesResponse { pod_resources }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<AllocatableResourcesRequest>,
    ) -> Result<Response<AllocatableResourcesResponse>, Status> {
        let ledger = self.devices.ledger.lock();
        let all = ledger.known.iter().flat_map(|(resource, known)| {
            known.devices.keys().map(|id| devices(resource, [id], &ledger)).collect::<Vec<_>>()
        });
        let (devices, cpu_ids) = (all.collect(), ids(&self.cpus.allocatable()));
        let response = AllocatableResourcesResponse { devices, cpu_ids, ..Default::default() };
        Ok(Response::new(response))
    }

    async fn get(&self, request: Request<GetPodResourcesRequest>) -> Result<Response<GetPodResourcesResponse>, Status> {
        let GetPodResourcesRequest { pod_name, pod_namespace } = request.into_inner();
        let pods = self.pods.list();
        let mut named = pods.iter().filter(|pod| spec::name(pod) == pod_name && spec::namespace(pod) == pod_namespace);
        let missing = || Status::unknown(format!("pod {pod_name} in namespace {pod_namespace} not found"));
        let pod = named.next().ok_or_else(missing)?;
        let pod_resources = Some(of_pod(pod, &self.devices.ledger.lock(), &self.cpus));
        Ok(Response::new(GetPodResourcesResponse { pod_resources }))
    }
}

fn ids(cpus: &CpuSet) -> Vec<i64> {
    cpus.iter().map(i64::from).collect()
}

fn of_pod(pod: &Pod, ledger: &Ledger, cpus: &Cpus) -> PodResources {
    let containers = spec::containers(pod).map(|(_, container)| {
        let own = ledger.held.iter().filter(|held| held.uid == spec::uid(pod) && held.container == container.name);
        let devices = own.map(|held| devices(&held.resource, &held.ids, ledger)).collect();
        let cpu_ids = ids(&cpus.exclusive(spec::uid(pod), &container.name));
        ContainerResources { name: container.name.clone(), devices, cpu_ids, ..ContainerResources::default() }
    });
    PodResources {
        name: spec::name(pod).to_owned(),
        namespace: spec::namespace(pod).to_owned(),
        containers: containers.collect(),
    }
}

/// Devices of one resource, and the NUMA nodes they are at.
fn devices<'a>(resource: &str, ids: impl IntoIterator<Item = &'a String>, ledger: &Ledger) -> ContainerDevices {
    let device_ids: Vec<String> = ids.into_iter().cloned().collect();
    let empty = BTreeMap::new();
    let topology = ledger.known.get(resource).map_or(&empty, |known| &known.topology);
    let mut nodes: Vec<i64> = device_ids.iter().filter_map(|id| topology.get(id)).flatten().copied().collect();
    nodes.sort_unstable();
    nodes.dedup();
    let topology =
        (!nodes.is_empty()).then(|| TopologyInfo { nodes: nodes.into_iter().map(|id| NumaNode { id }).collect() });
    ContainerDevices { resource_name: resource.to_owned(), device_ids, topology }
}
