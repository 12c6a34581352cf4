//! The configuration of a server: flags, then the file, then defaults.
//!
//! The keys of the file are the names of the flags; flags win. An unknown key is an error that names it.

mod front_proxies;
mod identity;
mod keeping;
mod processors;
mod shutdown;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sampan_apiserver::{AuditLogOptions, AuthenticationOptions, AuthorizationOptions, RequestHeaders};
use sampan_kubelet::{DEFAULT_MAX_PODS, DEFAULT_POD_PIDS, ShutdownPhase, SwapBehavior, Thresholds};
use sampan_store::etcd::Location;
use serde::Deserialize;

/// The options of a server as they are given, on the command line or in the file. All have defaults.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Flags {
    /// Name of this cluster on this machine: prefix of its links, cgroups, nftables tables and directories
    #[arg(long, global = true)]
    pub(crate) instance: Option<String>,
    /// Configuration file, whose keys are the names of these flags [default: /etc/INSTANCE/config.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where the cluster's data lives [default: /var/lib/INSTANCE]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep objects in this etcd, as etcd://HOST:PORT/PREFIX; several HOST:PORT are joined with commas [default: in the data directory]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Authority of that etcd's certificates; with it, TLS
    #[arg(long, value_name = "FILE")]
    pub(crate) store_ca_file: Option<PathBuf>,
    /// Certificate for that etcd
    #[arg(long, value_name = "FILE")]
    pub(crate) store_cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) store_key_file: Option<PathBuf>,
    /// What the store keeps encrypted, and with which keys: an EncryptionConfiguration [default: Secrets, with a key made
    /// at first start in DATA-DIR/encryption.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_provider_config: Option<PathBuf>,
    /// Which requests the audit log records: a Policy of audit.k8s.io/v1 [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// The audit log; - is the standard output [default: DATA-DIR/audit.log]
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// Megabytes of the audit log after which a new file is begun [default: 100]
    #[arg(long, value_name = "MB")]
    pub(crate) audit_log_maxsize: Option<u64>,
    /// How many full files of the audit log are kept; 0 for all [default: 10]
    #[arg(long, value_name = "N")]
    pub(crate) audit_log_maxbackup: Option<usize>,
    /// Days that full files of the audit log are kept; 0 for ever [default: 30]
    #[arg(long, value_name = "DAYS")]
    pub(crate) audit_log_maxage: Option<u32>,
    /// Issuer of OpenID Connect tokens that vouch for users, as https://HOST
    #[arg(long, value_name = "URL")]
    pub(crate) oidc_issuer_url: Option<String>,
    /// Audience that its tokens must have
    #[arg(long, value_name = "ID")]
    pub(crate) oidc_client_id: Option<String>,
    /// Claim that is the user's name [default: sub]
    #[arg(long, value_name = "CLAIM")]
    pub(crate) oidc_username_claim: Option<String>,
    /// What stands before the name; - for nothing [default: the issuer's URL and #, nothing for email]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) oidc_username_prefix: Option<String>,
    /// Claim that is the user's groups [default: none]
    #[arg(long, value_name = "CLAIM")]
    pub(crate) oidc_groups_claim: Option<String>,
    /// What stands before each group
    #[arg(long, value_name = "PREFIX")]
    pub(crate) oidc_groups_prefix: Option<String>,
    /// Claim that a token must have with this value
    #[arg(long, value_name = "CLAIM=VALUE")]
    pub(crate) oidc_required_claim: Option<Vec<String>>,
    /// Algorithms that its tokens may be signed with [default: RS256]
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',')]
    pub(crate) oidc_signing_algs: Option<Vec<String>>,
    /// Authorities that its certificate may come from [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) oidc_ca_file: Option<PathBuf>,
    /// Who vouches for users, and what nobody in particular may ask: an AuthenticationConfiguration, in place of the
    /// flags --oidc-*
    #[arg(long, value_name = "FILE")]
    pub(crate) authentication_config: Option<PathBuf>,
    /// Webhook that is asked whose a token is: a kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(crate) authentication_token_webhook_config_file: Option<PathBuf>,
    /// How long its answers hold [default: 2m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) authentication_token_webhook_cache_ttl: Option<String>,
    /// Whether nobody in particular may ask for health and version [default: true]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) anonymous_auth: Option<bool>,
    /// Authority of front proxies: whoever shows its certificate may say in headers whom a request is from
    #[arg(long, value_name = "FILE")]
    pub(crate) requestheader_client_ca_file: Option<PathBuf>,
    /// Names that such a certificate may have [default: any]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) requestheader_allowed_names: Option<Vec<String>>,
    /// Headers that name the user; the first that says something counts [default: X-Remote-User]
    #[arg(long, value_name = "HEADER", value_delimiter = ',')]
    pub(crate) requestheader_username_headers: Option<Vec<String>>,
    /// Headers that say the user's UID, likewise [default: X-Remote-Uid]
    #[arg(long, value_name = "HEADER", value_delimiter = ',')]
    pub(crate) requestheader_uid_headers: Option<Vec<String>>,
    /// Headers that name the user's groups [default: X-Remote-Group]
    #[arg(long, value_name = "HEADER", value_delimiter = ',')]
    pub(crate) requestheader_group_headers: Option<Vec<String>>,
    /// What the headers begin with that say more of the user [default: X-Remote-Extra-]
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub(crate) requestheader_extra_headers_prefix: Option<Vec<String>>,
    /// Who says what users may, in this order, of Node, RBAC and Webhook [default: Node,RBAC, and Webhook if there is one]
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    pub(crate) authorization_mode: Option<Vec<String>>,
    /// The same with several webhooks: an AuthorizationConfiguration
    #[arg(long, value_name = "FILE")]
    pub(crate) authorization_config: Option<PathBuf>,
    /// Webhook that is asked what users may: a kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(crate) authorization_webhook_config_file: Option<PathBuf>,
    /// How long its yes holds [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) authorization_webhook_cache_authorized_ttl: Option<String>,
    /// How long its no holds [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) authorization_webhook_cache_unauthorized_ttl: Option<String>,
    /// Where run-time state and sockets live [default: /run/INSTANCE]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the administrator's kubeconfig is written [default: /etc/INSTANCE/kubeconfig.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Address the API server listens on [default: 0.0.0.0]
    #[arg(long, value_name = "IP")]
    pub(crate) bind_address: Option<IpAddr>,
    /// Port of the API server [default: 6443]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Port of the kubelet's API [default: 10250]
    #[arg(long)]
    pub(crate) kubelet_port: Option<u16>,
    /// Name of this node [default: the host's name]
    #[arg(long)]
    pub(crate) node_name: Option<String>,
    /// Address of this node [default: the address of the default route]
    #[arg(long, value_name = "IP")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Labels of this node, as key=value
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) node_label: Option<Vec<String>>,
    /// How many Pods this node takes [default: 110]
    #[arg(long, value_name = "N")]
    pub(crate) max_pods: Option<u32>,
    /// How many processes and threads a Pod may have; 0 for no bound [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) pod_max_pids: Option<u64>,
    /// What the parts of Kubernetes on this node need for themselves, as cpu=100m,memory=256Mi
    #[arg(long, value_name = "AMOUNTS")]
    pub(crate) kube_reserved: Option<String>,
    /// What the rest of this machine needs for itself, as cpu=100m,memory=256Mi
    #[arg(long, value_name = "AMOUNTS")]
    pub(crate) system_reserved: Option<String>,
    /// Whether containers of Guaranteed Pods that ask for whole processors get them for themselves: none or static [default: none]
    #[arg(long, value_name = "POLICY")]
    pub(crate) cpu_manager_policy: Option<String>,
    /// Options of that policy, as full-pcpus-only=true
    #[arg(long, value_name = "OPTION=BOOL", value_delimiter = ',')]
    pub(crate) cpu_manager_policy_options: Option<Vec<String>>,
    /// Processors that are given to nobody, as 0-1 [default: as many as are reserved]
    #[arg(long, value_name = "CPUS")]
    pub(crate) reserved_cpus: Option<String>,
    /// Whose memory may be swapped out: NoSwap, or LimitedSwap for Burstable Pods by their share [default: NoSwap]
    #[arg(long, value_name = "BEHAVIOR")]
    pub(crate) swap_behavior: Option<String>,
    /// Seconds that Pods have to end when the machine goes down; 0 to let it go down at once [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) shutdown_grace_period: Option<u64>,
    /// How many of them are for critical Pods, which end last [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) shutdown_grace_period_critical_pods: Option<u64>,
    /// In place of both: seconds by priority, as 0=20,2000000000=10
    #[arg(long, value_name = "PRIORITY=SECONDS", value_delimiter = ',')]
    pub(crate) shutdown_grace_period_by_pod_priority: Option<Vec<String>>,
    /// When Pods must go at once so that the node lives [default: memory.available<100Mi,nodefs.available<10%,
    /// nodefs.inodesFree<5%,imagefs.available<10%,imagefs.inodesFree<5%]
    #[arg(long, value_name = "THRESHOLDS")]
    pub(crate) eviction_hard: Option<String>,
    /// When Pods must go after a while, as memory.available<1Gi
    #[arg(long, value_name = "THRESHOLDS")]
    pub(crate) eviction_soft: Option<String>,
    /// After how long that is, as memory.available=1m30s
    #[arg(long, value_name = "TIMES")]
    pub(crate) eviction_soft_grace_period: Option<String>,
    /// How much more than a threshold must be there before it is enough, as memory.available=100Mi
    #[arg(long, value_name = "AMOUNTS")]
    pub(crate) eviction_minimum_reclaim: Option<String>,
    /// Seconds that a node's condition outlasts what it came from [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) eviction_pressure_transition_period: Option<u64>,
    /// Seconds that a Pod gets to end at a soft threshold [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) eviction_max_pod_grace_period: Option<u32>,
    /// Percentage of their disk at which images that nobody uses go; 100 for never [default: 85]
    #[arg(long, value_name = "PERCENT")]
    pub(crate) image_gc_high_threshold: Option<u8>,
    /// Percentage of their disk down to which images go [default: 80]
    #[arg(long, value_name = "PERCENT")]
    pub(crate) image_gc_low_threshold: Option<u8>,
    /// Directory of files with Pods that this node runs by itself [default: /etc/INSTANCE/manifests]
    #[arg(long, value_name = "DIR")]
    pub(crate) pod_manifest_path: Option<PathBuf>,
    /// Kernel parameters that Pods may set beside the safe ones, such as kernel.msg*
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_unsafe_sysctls: Option<Vec<String>>,
    /// Addresses of Pods [default: 10.42.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub(crate) cluster_cidr: Option<String>,
    /// Addresses of Services [default: 10.43.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub(crate) service_cidr: Option<String>,
    /// Address of the cluster's DNS, one of the Services' [default: 10.43.0.10]
    #[arg(long, value_name = "IP")]
    pub(crate) cluster_dns: Option<Ipv4Addr>,
    /// Domain of the cluster's names [default: cluster.local]
    #[arg(long)]
    pub(crate) cluster_domain: Option<String>,
    /// Ports for Services of type NodePort [default: 30000-32767]
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) service_node_port_range: Option<String>,
    /// More names and addresses for the API server's certificate
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_san: Option<Vec<String>>,
    /// Socket of another container runtime to use instead of the embedded one
    #[arg(long, value_name = "SOCKET")]
    pub(crate) container_runtime_endpoint: Option<PathBuf>,
    /// Mirrors, authorities and other settings of image registries, as REGISTRY/hosts.toml [default: /etc/INSTANCE/registries.d]
    #[arg(long, value_name = "DIR")]
    pub(crate) registries_dir: Option<PathBuf>,
    /// How much to log: error, warn, info, debug, trace, or directives such as info,sampan_kubelet=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

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
    pub(crate) eviction: Thresholds,
    pub(crate) image_gc_percent: (u8, u8),
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

/// The etcd that keeps the objects.
#[derive(Clone, Debug)]
pub(crate) struct EtcdConfig {
    pub(crate) location: Location,
    /// The authority's file, and our certificate's and key's.
    pub(crate) tls: Option<(PathBuf, Option<(PathBuf, PathBuf)>)>,
}

/// The front proxies that are believed beside the API server itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontProxiesConfig {
    /// Their authority, PEM; empty if there are none.
    pub(crate) authority_pem: String,
    pub(crate) headers: RequestHeaders,
}

/// The audit log: the policy's file, and where and how much is kept.
#[derive(Clone, Debug)]
pub(crate) struct AuditConfig {
    pub(crate) policy: PathBuf,
    pub(crate) log: AuditLogOptions,
}

/// The name of a cluster that is given none.
const DEFAULT_INSTANCE: &str = "sampan";
/// The longest instance name whose links still fit in the kernel's 15 bytes.
const INSTANCE_BYTES: usize = 14;

impl Config {
    /// The configuration that `flags`, the file they name and the defaults make together.
    pub(crate) fn resolve(flags: &Flags) -> Result<Self> {
        let mut file = read_file(flags)?;
        let etcd = etcd(flags, &mut file)?;
        let instance = pick(&flags.instance, file.instance.clone(), || DEFAULT_INSTANCE.to_owned());
        check_instance(&instance)?;
        let data_dir = pick(&flags.data_dir, file.data_dir.clone(), || format!("/var/lib/{instance}").into());
        let audit = audit(flags, &file, &data_dir)?;
        let cluster_domain = pick(&flags.cluster_domain, file.cluster_domain.take(), || "cluster.local".into());
        let (authentication, authorization) = identity::resolve(flags, &file, &token_issuer(&cluster_domain))?;
        let front_proxies = front_proxies::resolve(flags, &file)?;
        let image_gc_percent = keeping::image_gc_percent(flags, &file)?;
        let (processors, swap) = (processors::resolve(flags, &file)?, processors::swap(flags, &file)?);
        let shutdown = shutdown::phases(flags, &file)?;
        let (mut reserved, eviction) = (keeping::reserved(flags, &file)?, keeping::eviction(flags, &file)?);
        if let Some(cpus) = &processors.reserved {
            reserved.insert("cpu".to_owned(), cpus.len().to_string());
        }
        let (service_cidr, cluster_dns) = services(flags, &file)?;
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
            eviction,
            image_gc_percent,
            pod_manifest_path: pick(&flags.pod_manifest_path, file.pod_manifest_path, || {
                format!("/etc/{instance}/manifests").into()
            }),
            allowed_unsafe_sysctls: pick(&flags.allowed_unsafe_sysctls, file.allowed_unsafe_sysctls, Vec::new),
            cluster_cidr: network(
                "cluster-cidr",
                &pick(&flags.cluster_cidr, file.cluster_cidr, || "10.42.0.0/16".into()),
            )?,
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

/// The audit log, where a policy says what is recorded.
fn audit(flags: &Flags, file: &Flags, data_dir: &Path) -> Result<Option<AuditConfig>> {
    let path = flags.audit_log_path.clone().or(file.audit_log_path.clone());
    let Some(policy) = flags.audit_policy_file.clone().or(file.audit_policy_file.clone()) else {
        if path.is_some() {
            bail!("audit-log-path: a policy says what is recorded; give one with --audit-policy-file");
        }
        return Ok(None);
    };
    let days = flags.audit_log_maxage.or(file.audit_log_maxage).unwrap_or(30);
    let log = AuditLogOptions {
        path: path.unwrap_or_else(|| data_dir.join("audit.log")),
        max_bytes: flags.audit_log_maxsize.or(file.audit_log_maxsize).unwrap_or(100) << 20,
        max_backups: flags.audit_log_maxbackup.or(file.audit_log_maxbackup).unwrap_or(10),
        max_age: (days > 0).then(|| jiff::SignedDuration::from_hours(i64::from(days) * 24)),
    };
    Ok(Some(AuditConfig { policy, log }))
}

/// The etcd that `store` and its files name.
fn etcd(flags: &Flags, file: &mut Flags) -> Result<Option<EtcdConfig>> {
    let ca = flags.store_ca_file.clone().or(file.store_ca_file.take());
    let certificate = flags.store_cert_file.clone().or(file.store_cert_file.take());
    let key = flags.store_key_file.clone().or(file.store_key_file.take());
    let Some(url) = flags.store.clone().or(file.store.take()) else {
        if ca.or(certificate).or(key).is_some() {
            bail!("store: a file for TLS is given but no etcd; say which with --store etcd://HOST:PORT");
        }
        return Ok(None);
    };
    let location = url.parse().context("store")?;
    let tls = match (ca, certificate, key) {
        (None, None, None) => None,
        (Some(ca), None, None) => Some((ca, None)),
        (Some(ca), Some(certificate), Some(key)) => Some((ca, Some((certificate, key)))),
        (None, ..) => bail!("store-ca-file: TLS needs the authority of etcd's certificates"),
        _ => bail!("store-cert-file and store-key-file: give both or neither"),
    };
    Ok(Some(EtcdConfig { location, tls }))
}

fn pick<T: Clone>(flag: &Option<T>, file: Option<T>, default: impl FnOnce() -> T) -> T {
    flag.clone().or(file).unwrap_or_else(default)
}

fn read_file(flags: &Flags) -> Result<Flags> {
    let instance = flags.instance.as_deref().unwrap_or(DEFAULT_INSTANCE);
    let path = flags.config.clone().unwrap_or_else(|| format!("/etc/{instance}/config.yaml").into());
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_file(&text).with_context(|| format!("reading the configuration file {}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && flags.config.is_none() => Ok(Flags::default()),
        Err(e) => Err(e).with_context(|| format!("reading the configuration file {}", path.display())),
    }
}

fn parse_file(text: &str) -> Result<Flags> {
    if text.trim().is_empty() {
        return Ok(Flags::default());
    }
    Ok(serde_yaml_ng::from_str(text)?)
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

/// Makes `dir` and its parents, the last one for root alone.
pub(crate) fn private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(dir).with_context(|| format!("making the directory {}", dir.display()))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing the directory {} to others", dir.display()))
}

#[cfg(test)]
mod tests {
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
