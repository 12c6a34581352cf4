//! How long Pods have to end before the machine goes down.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use sampan_kubelet::ShutdownPhase;

use super::Flags;

/// Pods from this priority on are critical: Kubernetes' `system-cluster-critical`.
const CRITICAL: i32 = 2_000_000_000;

/// What the flags `shutdown-grace-period-*` say; nothing if Pods are not to be ended.
pub(super) fn phases(flags: &Flags, file: &Flags) -> Result<Vec<ShutdownPhase>> {
    let whole_s = flags.shutdown_grace_period.or(file.shutdown_grace_period).unwrap_or(0);
    let critical = flags.shutdown_grace_period_critical_pods.or(file.shutdown_grace_period_critical_pods);
    let critical_s = critical.unwrap_or(0);
    let by_priority = flags.shutdown_grace_period_by_pod_priority.as_ref();
    if let Some(list) = by_priority.or(file.shutdown_grace_period_by_pod_priority.as_ref()) {
        if whole_s > 0 || critical_s > 0 {
            bail!(
                "shutdown-grace-period-by-pod-priority: it stands in place of shutdown-grace-period; give one of them"
            );
        }
        return by_pod_priority(list);
    }
    if critical_s > whole_s {
        bail!("shutdown-grace-period-critical-pods: {critical_s} is more than shutdown-grace-period, {whole_s}");
    }
    Ok(match whole_s {
        0 => Vec::new(),
        _ => vec![phase(0, whole_s - critical_s), phase(CRITICAL, critical_s)],
    })
}

fn by_pod_priority(list: &[String]) -> Result<Vec<ShutdownPhase>> {
    let mut phases: Vec<ShutdownPhase> = Vec::with_capacity(list.len());
    for entry in list {
        let parsed = entry.split_once('=').and_then(|(priority, s)| Some((priority.parse().ok()?, s.parse().ok()?)));
        let wrong = || anyhow!("shutdown-grace-period-by-pod-priority: {entry:?} is no priority with seconds: 0=20");
        let (priority, seconds) = parsed.ok_or_else(wrong)?;
        if phases.iter().any(|phase| phase.priority == priority) {
            bail!("shutdown-grace-period-by-pod-priority: the priority {priority} is given twice; give it once");
        }
        phases.push(phase(priority, seconds));
    }
    Ok(phases)
}

/// So many seconds that no sum of them goes beyond what can be counted.
fn phase(priority: i32, seconds: u32) -> ShutdownPhase {
    ShutdownPhase { priority, grace: Duration::from_secs(seconds.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(whole: u32, critical: u32, by_priority: &[&str], want: Result<&[(i32, u64)], &str>) {
        let list: Vec<String> = by_priority.iter().map(|&entry| entry.to_owned()).collect();
        let flags = Flags {
            shutdown_grace_period: Some(whole),
            shutdown_grace_period_critical_pods: Some(critical),
            shutdown_grace_period_by_pod_priority: Some(list).filter(|list| !list.is_empty()),
            ..Flags::default()
        };
        let got = phases(&flags, &Flags::default()).map_err(|error| error.to_string());
        let got = got.map(|all| all.iter().map(|phase| (phase.priority, phase.grace.as_secs())).collect::<Vec<_>>());
        assert_eq!(got, want.map(<[_]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn critical_pods_have_the_last_seconds() {
        check(0, 0, &[], Ok(&[]));
        check(30, 10, &[], Ok(&[(0, 20), (CRITICAL, 10)]));
        check(0, 0, &["0=20", "1000=5"], Ok(&[(0, 20), (1000, 5)]));
        check(5, 10, &[], Err("shutdown-grace-period-critical-pods: 10 is more than shutdown-grace-period, 5"));
        let why =
            "shutdown-grace-period-by-pod-priority: it stands in place of shutdown-grace-period; give one of them";
        check(5, 0, &["0=20"], Err(why));
        check(0, 0, &["x"], Err("shutdown-grace-period-by-pod-priority: \"x\" is no priority with seconds: 0=20"));
        let twice = "shutdown-grace-period-by-pod-priority: the priority 7 is given twice; give it once";
        check(0, 0, &["7=1", "0=20", "07=2"], Err(twice));
        let far = "shutdown-grace-period-by-pod-priority: \"0=18446744073709551615\" is no priority with seconds: 0=20";
        check(0, 0, &["0=18446744073709551615"], Err(far));
        check(0, 0, &["0=4294967295", "1=4294967295"], Ok(&[(0, 4_294_967_295), (1, 4_294_967_295)]));
    }
}
