//! What the node has to give, read once from the kernel.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{Error, Options, quantity};

/// Capacity of the node and what Pods may have of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Capacity {
    pub(crate) capacity: BTreeMap<String, Quantity>,
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    /// All of the node's memory.
    pub(crate) memory_bytes: i64,
    /// All of its swap space.
    pub(crate) swap_bytes: i64,
}

impl Capacity {
    /// Reads what this machine has.
    pub(crate) fn read(options: &Options) -> Result<Self, Error> {
        let (memory_bytes, swap_bytes) = memory()?;
        std::fs::create_dir_all(&options.root_dir).map_err(Error::io("creating", &options.root_dir))?;
        let disk =
            rustix::fs::statvfs(&options.root_dir).map_err(Error::io("reading the size of", &options.root_dir))?;
        let disk_bytes = i64::try_from(disk.f_blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let capacity: BTreeMap<String, Quantity> = [
            ("cpu", cpus.to_string()),
            ("memory", format!("{}Ki", memory_bytes / 1024)),
            ("ephemeral-storage", format!("{}Ki", disk_bytes / 1024)),
            ("pods", options.max_pods.to_string()),
            ("hugepages-2Mi", huge_pages(2 << 10)),
            ("hugepages-1Gi", huge_pages(1 << 20)),
        ]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect();
        let allocatable = capacity.iter().map(|(name, amount)| (name.clone(), left(name, amount, options))).collect();
        Ok(Self { capacity, allocatable, memory_bytes, swap_bytes })
    }
}

/// `amount` less what the node keeps for itself, and what must be there so that no Pod has to go.
fn left(name: &str, amount: &Quantity, options: &Options) -> Quantity {
    let reserved = options.reserved.get(name).map(|reserved| Quantity(reserved.clone()));
    let whole = quantity::value(amount).unwrap_or(0);
    let kept = options.eviction.kept(name, whole);
    match (name, reserved) {
        (_, None) if kept == 0 => amount.clone(),
        ("cpu", reserved) => {
            let milli = |q: &Quantity| quantity::milli(q).unwrap_or(0);
            Quantity(format!("{}m", (milli(amount) - reserved.as_ref().map_or(0, milli)).max(0)))
        }
        (_, reserved) => {
            let reserved = reserved.as_ref().and_then(quantity::value).unwrap_or(0);
            Quantity(format!("{}Ki", (whole - reserved - kept).max(0) / 1024))
        }
    }
}

/// The memory that is set aside for pages of `size_kib`.
fn huge_pages(size_kib: u64) -> String {
    let file = format!("/sys/kernel/mm/hugepages/hugepages-{size_kib}kB/nr_hugepages");
    let pages = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    if pages == 0 { "0".to_owned() } else { format!("{}Mi", pages * size_kib / 1024) }
}

/// All memory and all swap space, in bytes.
fn memory() -> Result<(i64, i64), Error> {
    let path = Path::new("/proc/meminfo");
    let text = std::fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let bytes = |key: &str| super::system::meminfo_kib(&text, key).unwrap_or(0) * 1024;
    Ok((bytes("MemTotal"), bytes("SwapTotal")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Thresholds;

    #[tokio::test]
    async fn what_is_reserved_is_not_for_pods() {
        let client = crate::tests::client();
        let mut options = Options::new("n1", [192, 0, 2, 1].into(), client, "/nonexistent".into());
        options.reserved = [("cpu", "250m"), ("memory", "1Gi")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        options.eviction = Thresholds::parse(Some("memory.available<512Mi,nodefs.available<10%"), "", "", "").unwrap();
        let check = |name: &str, amount: &str, want: &str| {
            assert_eq!(left(name, &Quantity(amount.to_owned()), &options).0, want, "{name}");
        };
        check("cpu", "2", "1750m");
        check("memory", "4Gi", "2621440Ki");
        check("ephemeral-storage", "1000Ki", "900Ki");
        check("pods", "110", "110");
    }
}
