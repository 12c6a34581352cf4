//! The settings as upstream's kubelet would have them in its configuration file: what `/configz` shows.

use serde_json::{Value, json};

use crate::{CpuPolicy, Options, ShutdownPhase, quantity};

/// The `KubeletConfiguration` that these options amount to. Only what is in force here is told.
pub(crate) fn of(options: &Options) -> Value {
    let dns: Vec<String> = options.cluster_dns.iter().map(ToString::to_string).collect();
    let phase = |phase: &ShutdownPhase| json!({"priority": phase.priority, "shutdownGracePeriodSeconds": phase.grace.as_secs()});
    let phases: Vec<Value> = options.shutdown.iter().map(phase).collect();
    json!({
        "address": options.listen.ip(),
        "port": options.listen.port(),
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", options.cgroup_root.trim_matches('/')),
        "clusterDNS": dns,
        "clusterDomain": options.cluster_domain,
        "containerLogMaxFiles": options.container_logs.max_files,
        "containerLogMaxSize": quantity::from_bytes(i64::try_from(options.container_logs.max_bytes).unwrap_or(i64::MAX)),
        "containerRuntimeEndpoint": format!("unix://{}", options.cri_socket.display()),
        "cpuManagerPolicy": if options.cpu_policy == CpuPolicy::None { "none" } else { "static" },
        "enableServer": options.tls.is_some(),
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": options.eviction.hard(),
        "evictionPressureTransitionPeriod": format!("{}s", options.eviction.transition.as_secs()),
        "featureGates": {"ContainerCheckpoint": options.container_checkpoint},
        "imageGCHighThresholdPercent": options.image_gc_percent.0,
        "imageGCLowThresholdPercent": options.image_gc_percent.1,
        "memorySwap": {"swapBehavior": format!("{:?}", options.swap)},
        "maxPods": options.max_pods,
        "nodeLeaseDurationSeconds": 40,
        "nodeStatusReportFrequency": "5m0s",
        "nodeStatusUpdateFrequency": "10s",
        "podPidsLimit": options.pod_pids_limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
        "readOnlyPort": 0,
        "resolvConf": options.resolv_conf,
        "shutdownGracePeriodByPodPriority": phases,
        "serializeImagePulls": false,
    })
}
