//! The parts of a node: Pod network, container runtime, kubelet, Services, DNS.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use sampan_auth::authority::Purpose;
use sampan_kubelet::{Kubelet, server};
use sampan_network::{BridgeNetwork, PodNetwork};
use sampan_proxy::Proxy;
use sampan_runtime::Runtime;
use tokio::net::UdpSocket;

use super::Running;
use super::identity::Clients;
use crate::config::Config;
use crate::kubelet_dir;
use crate::pki::Pki;

/// A node that is not Ready after this long will not become so by waiting.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for the cluster's DNS.
const DNS_TIMEOUT: Duration = Duration::from_secs(10);
/// A question that was not answered is asked again after this long.
const DNS_RETRY: Duration = Duration::from_millis(20);
/// The bits of a node's own part of the Pod network: 254 Pods.
const NODE_PREFIX: u8 = 24;
/// Where the node's own name servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// This node's part of the Pod network: the first.
pub(super) fn pod_cidr(config: &Config) -> ipnet::Ipv4Net {
    let cluster = config.cluster_cidr;
    let mut parts = cluster.subnets(NODE_PREFIX.max(cluster.prefix_len())).into_iter().flatten();
    parts.next().unwrap_or(cluster)
}

/// The Pod network's settings on this node.
pub(crate) fn network_options(config: &Config) -> sampan_network::Options {
    sampan_network::Options {
        instance: config.instance.clone(),
        pod_cidr: pod_cidr(config).into(),
        cluster_cidr: config.cluster_cidr.into(),
        service_cidr: config.service_cidr.into(),
        local_addresses: vec![config.cluster_dns.into()],
        mtu: None,
        state_dir: config.state_dir.join("network"),
    }
}

/// The container runtime's settings on this node.
pub(crate) fn runtime_options(config: &Config, network: Arc<dyn PodNetwork>) -> Result<sampan_runtime::Options> {
    Ok(sampan_runtime::Options {
        root: config.data_dir.join("runtime"),
        state: config.state_dir.join("runtime"),
        socket: config.cri_socket(),
        cgroup_root: config.instance.clone(),
        shim: vec![std::env::current_exe().context("finding our own program")?.into(), "shim".into()],
        network,
        instance: config.instance.clone(),
        pulls: sampan_runtime::PullOptions {
            registries: config.registries_dir.clone(),
            proxy: proxy(),
            ..Default::default()
        },
    })
}

/// The proxy that the environment names, as for every program.
fn proxy() -> sampan_runtime::Proxy {
    let variable = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    sampan_runtime::Proxy { url: variable(["HTTPS_PROXY", "https_proxy"]), except: variable(["NO_PROXY", "no_proxy"]) }
}

/// Makes the Pod network, or takes it over.
pub(super) async fn start_network(config: &Config) -> Result<Arc<dyn PodNetwork>> {
    let network = BridgeNetwork::start(network_options(config)).await.context("making the Pod network")?;
    Ok(Arc::new(network))
}

/// Starts the embedded container runtime.
pub(super) async fn start_runtime(config: &Config, network: Arc<dyn PodNetwork>, running: &mut Running) -> Result<()> {
    let runtime = Runtime::start(runtime_options(config, network)?).await.context("starting the container runtime")?;
    running.add("container runtime", runtime.shutdown());
    Ok(())
}

/// Starts the Services' dataplane and the cluster's DNS.
pub(super) async fn start_services(config: &Config, clients: &Clients, running: &mut Running) -> Result<()> {
    let proxy = Proxy::start(sampan_proxy::Options {
        client: clients.component("kube-proxy"),
        instance: config.instance.clone(),
        node_name: config.node_name.clone(),
        pod_cidr: pod_cidr(config).into(),
        service_cidr: config.service_cidr.into(),
        skip: vec![config.cluster_dns.into()],
        bridge: Some(format!("{}0", config.instance)),
    })
    .context("starting the Services' dataplane")?;
    let resolv_conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let dns = sampan_dns::Dns::start(sampan_dns::Options {
        client: clients.system_account("coredns", "coredns"),
        listen: vec![SocketAddr::new(config.cluster_dns.into(), 53)],
        cluster_domain: config.cluster_domain.clone(),
        upstreams: sampan_dns::nameservers(&resolv_conf),
        node_name: Some(config.node_name.clone()),
    })
    .await
    .context("starting the cluster's DNS")?;
    proxy.loaded().await;
    running.add("Services", proxy.shutdown());
    running.add("DNS", dns.shutdown());
    Ok(())
}

/// Starts the kubelet with its API, and waits until the node is Ready.
pub(super) async fn start_kubelet(config: &Config, pki: &Pki, clients: &Clients, running: &mut Running) -> Result<()> {
    let client = clients.node(&config.node_name);
    let (log_dir, log_links) = config.logs();
    kubelet_dir::link(config)?;
    let options = sampan_kubelet::Options {
        // Of its events the embedded runtime loses none without saying so.
        relist: config.container_runtime_endpoint.as_ref().map(|_| sampan_kubelet::DEFAULT_RELIST),
        root_dir: config.kubelet_dir(),
        log_dir,
        log_links,
        cgroup_root: config.instance.clone(),
        cluster_dns: vec![IpAddr::from(config.cluster_dns)],
        cluster_domain: config.cluster_domain.clone(),
        resolv_conf: RESOLV_CONF.into(),
        listen: SocketAddr::new(config.bind_address, config.kubelet_port),
        tls: Some(kubelet_tls(config, pki)?),
        max_pods: config.max_pods,
        pod_pids_limit: config.pod_max_pids,
        reserved: config.reserved.clone(),
        cpu_policy: config.processors.policy,
        reserved_cpus: config.processors.reserved.clone(),
        swap: config.swap,
        shutdown: config.shutdown.clone(),
        container_logs: config.container_logs,
        eviction: config.eviction.clone(),
        image_gc_percent: config.image_gc_percent,
        container_checkpoint: config.container_checkpoint,
        static_pod_dir: Some(config.pod_manifest_path.clone()),
        allowed_unsafe_sysctls: config.allowed_unsafe_sysctls.clone(),
        pod_cidr: Some(pod_cidr(config).to_string()),
        version: sampan_apiserver::Version::current().git_version,
        ..sampan_kubelet::Options::new(&config.node_name, config.node_ip, client.clone(), config.runtime_endpoint())
    };
    let kubelet = Kubelet::start(options).await.context("starting the kubelet")?;
    running.add("kubelet", kubelet.shutdown());
    label_node(config, clients.setup()).await?;
    node_ready(config, client).await
}

/// How the kubelet's API shows itself, and whose certificates it takes.
fn kubelet_tls(config: &Config, pki: &Pki) -> Result<server::Tls> {
    let purpose = Purpose::Server {
        name: format!("system:node:{}", config.node_name),
        dns: vec![config.node_name.clone(), "localhost".to_owned()],
        addresses: vec![config.node_ip, IpAddr::from([127, 0, 0, 1])],
    };
    let served = pki.certificate("kubelet", &purpose)?;
    let [ca, certificate, key] = [pki.ca_pem(), &served.certificate_pem, &served.key_pem].map(str::as_bytes);
    Ok(server::Tls::new(ca, certificate, key)?)
}

/// Sets the labels that were asked for, and the node's role, once the kubelet has registered it. They are not the
/// kubelet's to set: a node that is taken over must not be able to attract what is meant for others.
async fn label_node(config: &Config, client: kube::Client) -> Result<()> {
    let nodes = Api::<Node>::all(client);
    let registered = await_condition(nodes.clone(), &config.node_name, |node: Option<&Node>| node.is_some());
    tokio::time::timeout(READY_TIMEOUT, registered)
        .await
        .with_context(|| format!("the node {} was not registered; the log says why", config.node_name))?
        .context("watching the node")?;
    let role = ("node-role.kubernetes.io/control-plane".to_owned(), String::new());
    let labels: BTreeMap<_, _> = config.node_labels.iter().cloned().chain([role]).collect();
    let patch = serde_json::json!({"metadata": {"labels": labels}});
    let params = PatchParams { field_manager: Some("sampan".to_owned()), ..PatchParams::default() };
    nodes.patch(&config.node_name, &params, &Patch::Merge(&patch)).await.context("setting the node's labels")?;
    Ok(())
}

async fn node_ready(config: &Config, client: kube::Client) -> Result<()> {
    let is_ready = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let ready = await_condition(Api::<Node>::all(client), &config.node_name, is_ready);
    tokio::time::timeout(READY_TIMEOUT, ready)
        .await
        .with_context(|| format!("the node {} did not become Ready; the log says why", config.node_name))?
        .context("watching the node")?;
    Ok(())
}

/// Returns once the cluster's DNS knows the API server's own name.
pub(super) async fn dns_answers(config: &Config) -> Result<()> {
    let asking = async {
        loop {
            match ask(config).await {
                Ok(true) => return,
                _ => tokio::time::sleep(DNS_RETRY).await,
            }
        }
    };
    tokio::time::timeout(DNS_TIMEOUT, asking)
        .await
        .with_context(|| format!("the cluster's DNS at {} does not answer", config.cluster_dns))
}

/// Asks for `kubernetes.default.svc.<domain>`; true if there is an answer with an address.
async fn ask(config: &Config) -> Result<bool> {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((config.cluster_dns, 53)).await?;
    // Header: id 1, recursion desired, one question. Then the name, type A, class IN.
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in format!("kubernetes.default.svc.{}", config.cluster_domain).split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    socket.send(&question).await?;
    let mut answer = [0; 512];
    let length = tokio::time::timeout(DNS_RETRY * 10, socket.recv(&mut answer)).await??;
    // Answers are counted in bytes 6 and 7; the low four bits of byte 3 are the outcome.
    Ok(length > 12 && answer[3] & 0x0f == 0 && answer[7] > 0)
}
