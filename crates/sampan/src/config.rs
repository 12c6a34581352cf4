//! The configuration of a server: flags, then the file, then defaults.
//!
//! The keys of the file are the names of the flags; flags win. An unknown key is an error that names it.

mod audit;
mod etcd;
mod flags;
mod front_proxies;
mod identity;
mod keeping;
mod processors;
mod shutdown;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sampan_apiserver::{AuthenticationOptions, AuthorizationOptions, RequestHeaders};
use sampan_kubelet::{DEFAULT_MAX_PODS, DEFAULT_POD_PIDS, LogLimits, ShutdownPhase, SwapBehavior, Thresholds};

pub(crate) use self::audit::AuditConfig;
pub(crate) use self::etcd::EtcdConfig;
pub(crate) use self::flags::Flags;
use self::flags::{pick, read_file};

/// The configuration of a server with nothing left open.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) instance: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) etcd: Option<EtcdConfig>,
    pub(crate) encryption: Option<PathBuf>,
    pub(crate) audit: Option<AuditConfig>,
    pub(crate) authentication: AuthenticationOptions,
    pub(crate) authorization: AuthorizationOptions,
    pub(crate) front_proxies: FrontProxiesConfig,
    pub(crate) state_dir: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) bind_address: IpAddr,
    pub(crate) port: u16,
    pub(crate) kubelet_port: u16,
    pub(crate) node_name: String,
    pub(crate) node_ip: IpAddr,
    pub(crate) node_labels: Vec<(String, String)>,
    pub(crate) max_pods: u32,
    pub(crate) pod_max_pids: Option<u64>,
    /// What is not for Pods, by resource.
    pub(crate) reserved: BTreeMap<String, String>,
    pub(crate) processors: processors::Processors,
    pub(crate) swap: SwapBehavior,
    pub(crate) shutdown: Vec<ShutdownPhase>,
    pub(crate) container_logs: LogLimits,
    pub(crate) eviction: Thresholds,
    pub(crate) image_gc_percent: (u8, u8),
    pub(crate) container_checkpoint: bool,
    pub(crate) pod_manifest_path: PathBuf,
    pub(crate) allowed_unsafe_sysctls: Vec<String>,
    pub(crate) cluster_cidr: ipnet::Ipv4Net,
    pub(crate) service_cidr: ipnet::Ipv4Net,
    pub(crate) cluster_dns: Ipv4Addr,
    pub(crate) cluster_domain: String,
    pub(crate) node_ports: (u16, u16),
    pub(crate) tls_san: Vec<String>,
    pub(crate) container_runtime_endpoint: Option<PathBuf>,
    pub(crate) registries_dir: PathBuf,
    pub(crate) log_level: String,
}

/// The front proxies that are believed beside the API server itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontProxiesConfig {
    /// Their authority, PEM; empty if there are none.
    pub(crate) authority_pem: String,
    pub(crate) headers: RequestHeaders,
}

/// The name of a cluster that is given none.
const DEFAULT_INSTANCE: &str = "sampan";
/// The longest instance name whose links still fit in the kernel's 15 bytes.
const INSTANCE_BYTES: usize = 14;

impl Config {
    /// The configuration that `flags`, the file they name and the defaults make together.
    pub(crate) fn resolve(flags: &Flags) -> Result<Self> {
        let mut file = read_file(flags)?;
        let etcd = etcd::resolve(flags, &mut file)?;
        let instance = pick(&flags.instance, file.instance.clone(), || DEFAULT_INSTANCE.to_owned());
        check_instance(&instance)?;
        let data_dir = data_dir(flags, &file, &instance);
        let audit = audit::resolve(flags, &file, &data_dir)?;
        let cluster_domain = pick(&flags.cluster_domain, file.cluster_domain.take(), || "cluster.local".into());
        let (authentication, authorization) = identity::resolve(flags, &file, &token_issuer(&cluster_domain))?;
        let front_proxies = front_proxies::resolve(flags, &file)?;
        let image_gc_percent = keeping::image_gc_percent(flags, &file)?;
        let container_logs = keeping::container_logs(flags, &file)?;
        let (processors, swap) = (processors::resolve(flags, &file)?, processors::swap(flags, &file)?);
        let shutdown = shutdown::phases(flags, &file)?;
        let (mut reserved, eviction) = (keeping::reserved(flags, &file)?, keeping::eviction(flags, &file)?);
        if let Some(cpus) = &processors.reserved {
            reserved.insert("cpu".to_owned(), cpus.len().to_string());
        }
        let (service_cidr, cluster_dns) = services(flags, &file)?;
        let pods = pick(&flags.cluster_cidr, file.cluster_cidr, || "10.42.0.0/16".into());
        let ports = pick(&flags.service_node_port_range, file.service_node_port_range, || "30000-32767".into());
        Ok(Self {
            audit,
            authentication,
            authorization,
            front_proxies,
            data_dir,
            etcd,
            encryption: flags.encryption_provider_config.clone().or(file.encryption_provider_config),
            state_dir: pick(&flags.state_dir, file.state_dir, || format!("/run/{instance}").into()),
            kubeconfig: pick(&flags.kubeconfig, file.kubeconfig, || format!("/etc/{instance}/kubeconfig.yaml").into()),
            bind_address: flags.bind_address.or(file.bind_address).unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            port: flags.port.or(file.port).unwrap_or(6443),
            kubelet_port: flags.kubelet_port.or(file.kubelet_port).unwrap_or(10250),
            node_name: match flags.node_name.clone().or(file.node_name) {
                Some(name) => name,
                None => hostname()?,
            },
            node_ip: match flags.node_ip.or(file.node_ip) {
                Some(address) => address,
                None => default_address()?,
            },
            node_labels: labels(&pick(&flags.node_label, file.node_label, Vec::new))?,
            max_pods: pick(&flags.max_pods, file.max_pods, || DEFAULT_MAX_PODS),
            pod_max_pids: Some(pick(&flags.pod_max_pids, file.pod_max_pids, || DEFAULT_POD_PIDS)).filter(|n| *n > 0),
            reserved,
            processors,
            swap,
            shutdown,
            container_logs,
            eviction,
            image_gc_percent,
            container_checkpoint: pick(&flags.container_checkpoint, file.container_checkpoint, || false),
            pod_manifest_path: pick(&flags.pod_manifest_path, file.pod_manifest_path, || {
                format!("/etc/{instance}/manifests").into()
            }),
            allowed_unsafe_sysctls: pick(&flags.allowed_unsafe_sysctls, file.allowed_unsafe_sysctls, Vec::new),
            cluster_cidr: network("cluster-cidr", &pods)?,
            service_cidr,
            cluster_dns,
            cluster_domain,
            node_ports: port_range(&ports)?,
            tls_san: pick(&flags.tls_san, file.tls_san, Vec::new),
            container_runtime_endpoint: flags.container_runtime_endpoint.clone().or(file.container_runtime_endpoint),
            registries_dir: pick(&flags.registries_dir, file.registries_dir, || {
                format!("/etc/{instance}/registries.d").into()
            }),
            log_level: pick(&flags.log_level, file.log_level, || "info".into()),
            instance,
        })
    }

    /// The URL under which this machine reaches the API server.
    pub(crate) fn server_url(&self) -> String {
        let address = if self.bind_address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.bind_address };
        format!("https://{}", std::net::SocketAddr::new(address, self.port))
    }

    /// Where containers' logs are kept, and links to them: of the cluster that has no name of its own where log agents
    /// look for them.
    pub(crate) fn logs(&self) -> (PathBuf, PathBuf) {
        match self.is_default() {
            true => ("/var/log/pods".into(), "/var/log/containers".into()),
            false => (self.data_dir.join("logs"), self.data_dir.join("log-links")),
        }
    }

    /// Whether this is the cluster that has no name of its own.
    pub(crate) fn is_default(&self) -> bool {
        self.instance == DEFAULT_INSTANCE
    }

    /// The kubelet's directory.
    pub(crate) fn kubelet_dir(&self) -> PathBuf {
        self.data_dir.join("kubelet")
    }

    /// The CRI socket of the embedded runtime.
    pub(crate) fn cri_socket(&self) -> PathBuf {
        self.state_dir.join("cri.sock")
    }

    /// The socket the kubelet speaks to.
    pub(crate) fn runtime_endpoint(&self) -> PathBuf {
        self.container_runtime_endpoint.clone().unwrap_or_else(|| self.cri_socket())
    }
}

/// The issuer of ServiceAccounts' tokens in a cluster of this domain.
pub(crate) fn token_issuer(cluster_domain: &str) -> String {
    format!("https://kubernetes.default.svc.{cluster_domain}")
}

/// The network of Services, and the address in it where DNS answers.
fn services(flags: &Flags, file: &Flags) -> Result<(ipnet::Ipv4Net, Ipv4Addr)> {
    let text = pick(&flags.service_cidr, file.service_cidr.clone(), || "10.43.0.0/16".into());
    let network = network("service-cidr", &text)?;
    let dns = match flags.cluster_dns.or(file.cluster_dns) {
        Some(address) => address,
        None => network.hosts().nth(9).context("service-cidr: too small, give it at least 16 addresses")?,
    };
    if !network.contains(&dns) {
        bail!("cluster-dns: {dns} is not in the service network {network}; choose an address of it");
    }
    Ok((network, dns))
}

fn check_instance(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > INSTANCE_BYTES || !name.chars().all(plain) || name.starts_with('-') {
        bail!(
            "instance: {name:?} must be 1 to {INSTANCE_BYTES} lower-case letters, digits or dashes: it begins the names of network links"
        );
    }
    Ok(())
}

fn network(flag: &str, text: &str) -> Result<ipnet::Ipv4Net> {
    text.parse::<ipnet::Ipv4Net>()
        .map(|net| net.trunc())
        .with_context(|| format!("{flag}: {text:?} is no IPv4 network such as 10.42.0.0/16"))
}

fn port_range(text: &str) -> Result<(u16, u16)> {
    let parsed = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match parsed {
        Some((first, last)) if 0 < first && first <= last => Ok((first, last)),
        _ => bail!("service-node-port-range: {text:?} is no range such as 30000-32767"),
    }
}

fn labels(texts: &[String]) -> Result<Vec<(String, String)>> {
    let split = |text: &String| {
        let (key, value) = text.split_once('=').with_context(|| format!("node-label: {text:?} is not key=value"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(split).collect()
}

fn hostname() -> Result<String> {
    let name = nix::unistd::gethostname().context("reading the host's name")?;
    let name = name.to_string_lossy().to_lowercase();
    if name.is_empty() {
        bail!("node-name: this host has no name; give one with --node-name");
    }
    Ok(name)
}

/// The address this machine would use towards the outside. Asking the kernel for a route sends nothing.
fn default_address() -> Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("opening a socket")?;
    let routed = socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr());
    match routed {
        Ok(address) if !address.ip().is_loopback() => Ok(address.ip()),
        _ => bail!("node-ip: this machine has no default route to take its address from; give one with --node-ip"),
    }
}

/// Where the cluster's data is.
fn data_dir(flags: &Flags, file: &Flags, instance: &str) -> PathBuf {
    without_links(&pick(&flags.data_dir, file.data_dir.clone(), || format!("/var/lib/{instance}").into()))
}

/// `path` as the kernel tells of what is mounted below it, whatever links lead there. It need not be there yet.
fn without_links(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(error), Some(parent), Some(name)) if error.kind() == std::io::ErrorKind::NotFound => {
            match path.read_link() {
                // A link to what is made later.
                Ok(to) => without_links(&parent.join(to)),
                Err(_) => without_links(parent).join(name),
            }
        }
        _ => path.to_path_buf(),
    }
}

/// Makes `dir` and its parents, the last one for root alone.
pub(crate) fn private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(dir).with_context(|| format!("making the directory {}", dir.display()))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing the directory {} to others", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::flags::parse_file;
    use super::*;

    fn flags(yaml: &str) -> Flags {
        let mut flags = parse_file(yaml).unwrap();
        flags.config = Some("/dev/null".into());
        flags.node_ip = flags.node_ip.or(Some(Ipv4Addr::new(192, 0, 2, 7).into()));
        flags
    }

    #[test]
    fn defaults_follow_the_instance_and_the_networks() {
        let config = Config::resolve(&flags("instance: t1\nservice-cidr: 10.99.0.0/16")).unwrap();
        assert_eq!(config.data_dir, Path::new("/var/lib/t1"));
        assert_eq!(config.cluster_dns, Ipv4Addr::new(10, 99, 0, 10));
        assert_eq!(config.cri_socket(), Path::new("/run/t1/cri.sock"));
    }

    #[test]
    fn the_data_directory_is_where_its_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("real")).unwrap();
        for (to, link) in [("real", "there"), ("real/later", "later"), ("circle", "circle")] {
            std::os::unix::fs::symlink(to, dir.join(link)).unwrap();
        }
        for (given, want) in [
            ("real", "real"),
            ("there", "real"),
            ("there/new/er", "real/new/er"),
            ("later", "real/later"),
            ("later/new", "real/later/new"),
            ("circle", "circle"),
        ] {
            let config = Config::resolve(&flags(&format!("data-dir: {}", dir.join(given).display()))).unwrap();
            assert_eq!(config.data_dir, dir.join(want), "{given}");
        }
    }

    #[test]
    fn every_fault_names_its_flag() {
        for (yaml, flag) in [
            ("instance: Capitals", "instance"),
            ("cluster-cidr: nonsense", "cluster-cidr"),
            ("cluster-dns: 192.0.2.1", "cluster-dns"),
            ("service-node-port-range: 9-1", "service-node-port-range"),
            ("node-label: [nonsense]", "node-label"),
            ("kube-reserved: cpu", "kube-reserved"),
            ("system-reserved: gpu=1", "system-reserved"),
            ("eviction-hard: memory<1", "eviction"),
            ("image-gc-high-threshold: 80", "image-gc-low-threshold"),
            ("container-log-max-size: large", "container-log-max-size"),
            ("container-log-max-files: 1", "container-log-max-files"),
            ("audit-log-path: /x", "audit-log-path"),
            ("oidc-client-id: x", "oidc-issuer-url"),
            ("oidc-issuer-url: https://x", "oidc-client-id"),
            ("oidc-issuer-url: https://x\noidc-client-id: x\noidc-required-claim: [y]", "oidc-required-claim"),
            ("oidc-issuer-url: https://x\noidc-client-id: x\nauthentication-config: /x", "authentication-config"),
            ("authentication-token-webhook-config-file: /nowhere/x", "authentication-token-webhook-config-file"),
            ("requestheader-client-ca-file: /nowhere/x", "requestheader-client-ca-file"),
            ("requestheader-client-ca-file: /dev/null", "requestheader-client-ca-file"),
            ("requestheader-allowed-names: [x]", "requestheader-client-ca-file"),
            ("requestheader-uid-headers: ['']", "requestheader-uid-headers"),
            ("requestheader-group-headers: [a b]", "requestheader-group-headers"),
            ("authorization-mode: [AlwaysAllow]", "authorization-mode"),
            ("authorization-mode: [RBAC]\nauthorization-config: /x", "authorization-config"),
            ("store: etcd://nowhere", "store"),
            ("store-ca-file: /ca.pem", "store"),
            ("store: etcd://a:1\nstore-cert-file: /c.pem\nstore-key-file: /k.pem", "store-ca-file"),
            ("store: etcd://a:1\nstore-ca-file: /ca.pem\nstore-key-file: /k.pem", "store-cert-file"),
        ] {
            let error = Config::resolve(&flags(yaml)).unwrap_err().to_string();
            assert!(error.starts_with(flag), "{yaml}: {error}");
        }
        let error = parse_file("portt: 1").unwrap_err().to_string();
        assert!(error.contains("unknown field `portt`"), "{error}");
    }
}
