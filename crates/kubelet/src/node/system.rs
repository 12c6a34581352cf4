//! What the kernel and the operating system say of themselves.

use std::path::Path;

use k8s_openapi::api::core::v1::{NodeSwapStatus, NodeSystemInfo};

use super::Node;

/// One line of /proc/meminfo, in KiB.
pub(crate) fn meminfo_kib(text: &str, key: &str) -> Option<i64> {
    let line = text.lines().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The node's information block.
pub(super) fn info(node: &Node) -> NodeSystemInfo {
    let uname = rustix::system::uname();
    let id = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: id("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: node.runtime_version.clone(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        kube_proxy_version: node.options.version.clone(),
        kubelet_version: node.options.version.clone(),
        machine_id: id("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: os_image(),
        system_uuid: Some(id("/sys/class/dmi/id/product_uuid"))
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| id("/etc/machine-id")),
        swap: (node.capacity.swap_bytes > 0).then_some(NodeSwapStatus { capacity: Some(node.capacity.swap_bytes) }),
        ..NodeSystemInfo::default()
    }
}

/// The architecture in Go's words, as node labels have it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether the kernel confines programs by AppArmor's profiles, and shows which it has.
pub(super) fn has_apparmor() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    enabled.starts_with('Y') && Path::new("/sys/kernel/security/apparmor").is_dir()
}

fn os_image() -> String {
    let text = std::fs::read_to_string(Path::new("/etc/os-release")).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn meminfo_is_read_by_whole_names() {
        let text = "MemTotal:       24620000 kB\nMemAvailable:    1000 kB\nMemTotalX: 1 kB\n";
        assert_eq!(super::meminfo_kib(text, "MemTotal"), Some(24_620_000));
        assert_eq!(super::meminfo_kib(text, "MemAvail"), None);
    }
}
