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
        "allowedUnsafeSysctls": options.allowed_unsafe_sysctls,
        "evictionHard": options.eviction.hard(),
        "evictionSoft": options.eviction.soft(),
        "evictionSoftGracePeriod": options.eviction.soft_graces(),
        "evictionMaxPodGracePeriod": options.eviction.max_pod_grace_s,
        "evictionMinimumReclaim": options.eviction.min_reclaims(),
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
        // What is kept for the cluster's own parts and for the system's is one sum here.
        "systemReserved": options.reserved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Thresholds;

    #[tokio::test]
    async fn everything_in_force_is_told() {
        let mut options = Options::new("n1", [192, 0, 2, 1].into(), crate::tests::client(), "/nonexistent".into());
        let soft = ("nodefs.available<1Gi", "nodefs.available=90s");
        let thresholds = Thresholds::parse(Some("memory.available<5%"), soft.0, soft.1, "memory.available=100Mi");
        options.eviction = thresholds.unwrap().with(None, Some(30));
        options.reserved = [("cpu".to_owned(), "250m".to_owned())].into();
        options.allowed_unsafe_sysctls = vec!["kernel.msg*".to_owned()];
        let told = of(&options);
        let check = |field: &str, want: Value| assert_eq!(told[field], want, "{field}");
        check("evictionHard", json!({"memory.available": "5%"}));
        check("evictionSoft", json!({"nodefs.available": "1Gi"}));
        check("evictionSoftGracePeriod", json!({"nodefs.available": "90s"}));
        check("evictionMaxPodGracePeriod", json!(30));
        check("evictionMinimumReclaim", json!({"memory.available": "100Mi"}));
        check("systemReserved", json!({"cpu": "250m"}));
        check("allowedUnsafeSysctls", json!(["kernel.msg*"]));
    }
}
