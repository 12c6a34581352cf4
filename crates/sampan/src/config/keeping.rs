//! What the node keeps for itself and of what there was, and when Pods must go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sampan_kubelet::{DEFAULT_IMAGE_GC_PERCENT, LogLimits, Thresholds, sum_of_amounts};

use super::Flags;

/// What can be kept from Pods.
const RESOURCES: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];

/// What `kube-reserved` and `system-reserved` take together.
pub(super) fn reserved(flags: &Flags, file: &Flags) -> Result<BTreeMap<String, String>> {
    let kube = flags.kube_reserved.as_ref().or(file.kube_reserved.as_ref());
    let system = flags.system_reserved.as_ref().or(file.system_reserved.as_ref());
    let mut sum: BTreeMap<String, String> = BTreeMap::new();
    for (flag, text) in [("kube-reserved", kube), ("system-reserved", system)] {
        for (name, amount) in amounts(flag, text.map_or("", String::as_str))? {
            let before = sum.remove(name).unwrap_or_else(|| "0".to_owned());
            let both = sum_of_amounts(&before, amount)
                .with_context(|| format!("{flag}: {amount:?} is no amount such as 100m or 256Mi"))?;
            sum.insert(name.to_owned(), both);
        }
    }
    Ok(sum)
}

fn amounts<'t>(flag: &str, text: &'t str) -> Result<Vec<(&'t str, &'t str)>> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((name, amount)) if RESOURCES.contains(&name) => all.push((name, amount)),
            _ => {
                bail!("{flag}: {part:?} is not one of cpu, memory, ephemeral-storage and pid with an amount: cpu=100m")
            }
        }
    }
    Ok(all)
}

/// The thresholds of `eviction-hard`, `eviction-soft` and their companions.
pub(super) fn eviction(flags: &Flags, file: &Flags) -> Result<Thresholds> {
    let text = |of: fn(&Flags) -> &Option<String>| of(flags).as_deref().or(of(file).as_deref());
    let hard = text(|flags| &flags.eviction_hard);
    let soft = text(|flags| &flags.eviction_soft).unwrap_or_default();
    let graces = text(|flags| &flags.eviction_soft_grace_period).unwrap_or_default();
    let reclaim = text(|flags| &flags.eviction_minimum_reclaim).unwrap_or_default();
    let thresholds =
        Thresholds::parse(hard, soft, graces, reclaim).map_err(|why| anyhow!("eviction thresholds: {why}"))?;
    let transition = flags.eviction_pressure_transition_period.or(file.eviction_pressure_transition_period);
    let grace = flags.eviction_max_pod_grace_period.or(file.eviction_max_pod_grace_period);
    Ok(thresholds.with(transition.map(Duration::from_secs), grace.map(i64::from)))
}

/// At how many percent of their disk images go, and down to how many.
pub(super) fn image_gc_percent(flags: &Flags, file: &Flags) -> Result<(u8, u8)> {
    let (high, low) = DEFAULT_IMAGE_GC_PERCENT;
    let high = flags.image_gc_high_threshold.or(file.image_gc_high_threshold).unwrap_or(high);
    let low = flags.image_gc_low_threshold.or(file.image_gc_low_threshold).unwrap_or(low);
    if high > 100 || low >= high {
        bail!("image-gc-low-threshold: {low} must be below image-gc-high-threshold, {high}, which is at most 100");
    }
    Ok((high, low))
}

/// How much of containers' logs is kept.
pub(super) fn container_logs(flags: &Flags, file: &Flags) -> Result<LogLimits> {
    let max_size = flags.container_log_max_size.as_deref().or(file.container_log_max_size.as_deref());
    let max_files = flags.container_log_max_files.or(file.container_log_max_files);
    LogLimits::parse(max_size, max_files).map_err(|why| anyhow!(why))
}
