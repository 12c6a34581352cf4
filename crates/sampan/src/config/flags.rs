//! The options of a server as they are given: on the command line, or under the same names in the file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::DEFAULT_INSTANCE;

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
    pub(crate) shutdown_grace_period: Option<u32>,
    /// How many of them are for critical Pods, which end last [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) shutdown_grace_period_critical_pods: Option<u32>,
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
    /// How large a container's log becomes before another file is begun [default: 10Mi]
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) container_log_max_size: Option<String>,
    /// How many files of a container's log are kept [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) container_log_max_files: Option<usize>,
    /// Whether those who may create nodes/checkpoint can have containers written to files of the node [default: false]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) container_checkpoint: Option<bool>,
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

/// What the flag says, else the file, else the default.
pub(super) fn pick<T: Clone>(flag: &Option<T>, file: Option<T>, default: impl FnOnce() -> T) -> T {
    flag.clone().or(file).unwrap_or_else(default)
}

/// The file that `flags` name, or the usual one if it is there.
pub(super) fn read_file(flags: &Flags) -> Result<Flags> {
    let instance = flags.instance.as_deref().unwrap_or(DEFAULT_INSTANCE);
    let path = flags.config.clone().unwrap_or_else(|| format!("/etc/{instance}/config.yaml").into());
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_file(&text).with_context(|| format!("reading the configuration file {}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && flags.config.is_none() => Ok(Flags::default()),
        Err(e) => Err(e).with_context(|| format!("reading the configuration file {}", path.display())),
    }
}

pub(super) fn parse_file(text: &str) -> Result<Flags> {
    if text.trim().is_empty() {
        return Ok(Flags::default());
    }
    Ok(serde_yaml_ng::from_str(text)?)
}
