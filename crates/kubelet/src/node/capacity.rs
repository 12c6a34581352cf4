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
}

impl Capacity {
    /// Reads what this machine has.
    pub(crate) fn read(options: &Options) -> Result<Self, Error> {
        let memory_bytes = memory_bytes()?;
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
            ("hugepages-2Mi", "0".to_owned()),
            ("hugepages-1Gi", "0".to_owned()),
        ]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect();
        let allocatable = capacity.iter().map(|(name, amount)| (name.clone(), left(name, amount, options))).collect();
        Ok(Self { capacity, allocatable, memory_bytes })
    }
}

/// `amount` less what the node keeps for itself.
fn left(name: &str, amount: &Quantity, options: &Options) -> Quantity {
    let Some(reserved) = options.reserved.get(name).map(|reserved| Quantity(reserved.clone())) else {
        return amount.clone();
    };
    let milli = |q: &Quantity| quantity::milli(q).unwrap_or(0);
    let bytes = |q: &Quantity| quantity::value(q).unwrap_or(0);
    match name {
        "cpu" => Quantity(format!("{}m", (milli(amount) - milli(&reserved)).max(0))),
        _ => Quantity(format!("{}Ki", (bytes(amount) - bytes(&reserved)).max(0) / 1024)),
    }
}

fn memory_bytes() -> Result<i64, Error> {
    let path = Path::new("/proc/meminfo");
    let text = std::fs::read_to_string(path).map_err(Error::io("reading", path))?;
    Ok(super::system::meminfo_kib(&text, "MemTotal").unwrap_or(0) * 1024)
}
