//! What the node, its Pods and their containers use: read from the container runtime, `/proc` and the disk when someone
//! asks. Rates of CPU need two readings: the one before is kept, and if there is none, a second one is taken. Start at
//! [`Meter`].

mod disk;
mod ephemeral;
mod node;
mod pods;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sampan_cri::v1::PsiStats;
use tokio::time::Instant;

pub(crate) use disk::Space;
pub(crate) use ephemeral::Ephemeral;
#[cfg(test)]
pub(crate) use ephemeral::VolumeUsage;
pub(crate) use node::NodeUsage;
pub(crate) use pods::{ContainerUsage, Interface, PodUsage};
pub(crate) use sampan_trees::Tree;

use crate::Error;
use crate::cri::Runtime;

/// What was read less long ago is told again.
const FRESH: Duration = Duration::from_millis(500);
/// The shortest window of a rate.
const WINDOW: Duration = Duration::from_millis(500);
/// A reading that is older than this says nothing about the rate now.
const OLDEST: Duration = Duration::from_secs(60);

/// CPU and memory of something at one time. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// When, in nanoseconds since 1970.
    pub(crate) time_ns: i64,
    /// CPU time since the start.
    pub(crate) cpu_ns: Option<u64>,
    /// Billionths of a core, over the time since the reading before.
    pub(crate) cpu_rate_nano: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) working_set_bytes: Option<u64>,
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) available_bytes: Option<u64>,
    pub(crate) page_faults: Option<u64>,
    pub(crate) major_page_faults: Option<u64>,
    pub(crate) swap_bytes: Option<u64>,
    pub(crate) swap_available_bytes: Option<u64>,
    /// How long it waited for want of something.
    pub(crate) pressure: Pressure,
}

/// Stalls for want of something, in microseconds and in percent of the last seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pressure {
    pub(crate) cpu: Option<PsiStats>,
    pub(crate) memory: Option<PsiStats>,
    pub(crate) io: Option<PsiStats>,
}

impl Usage {
    /// Notes the rate of CPU since `earlier`, if this is of the same thing, later.
    fn rate_since(&mut self, earlier: &Self) {
        let (Some(cpu_ns), Some(before_ns)) = (self.cpu_ns, earlier.cpu_ns) else { return };
        let (window_ns, used_ns) = (self.time_ns.saturating_sub(earlier.time_ns), cpu_ns.checked_sub(before_ns));
        if let (1.., Some(used_ns)) = (window_ns, used_ns) {
            let nano = u128::from(used_ns) * 1_000_000_000 / window_ns.unsigned_abs() as u128;
            self.cpu_rate_nano = u64::try_from(nano).ok();
        }
    }
}

/// Everything at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) node: NodeUsage,
    pub(crate) pods: Vec<PodUsage>,
}

impl Reading {
    /// Notes all rates since `earlier`.
    fn rates_since(&mut self, earlier: &Self) {
        self.node.usage.rate_since(&earlier.node.usage);
        let pods: HashMap<&str, &PodUsage> = earlier.pods.iter().map(|pod| (pod.sandbox.as_str(), pod)).collect();
        for pod in &mut self.pods {
            let Some(before) = pods.get(pod.sandbox.as_str()) else { continue };
            pod.usage.rate_since(&before.usage);
            for container in &mut pod.containers {
                if let Some(before) = before.containers.iter().find(|before| before.id == container.id) {
                    container.usage.rate_since(&before.usage);
                }
            }
        }
    }
}

/// Takes readings.
pub(crate) struct Meter {
    runtime: Runtime,
    last: Mutex<Option<(Instant, Arc<Reading>)>>,
    /// Where images are, once the runtime has said so.
    images: Mutex<Option<PathBuf>>,
}

impl Meter {
    /// A meter that asks `runtime`.
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime, last: Mutex::default(), images: Mutex::default() }
    }

    /// What is used now, without rates if nothing was read of late.
    pub(crate) async fn read(&self) -> Result<Arc<Reading>, Error> {
        let last = self.last.lock().clone().filter(|(at, _)| at.elapsed() < OLDEST);
        if let Some((_, reading)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(reading));
        }
        let mut reading = Reading { node: NodeUsage::read()?, pods: pods::read(&self.runtime).await? };
        if let Some((_, earlier)) = &last {
            reading.rates_since(earlier);
        }
        let reading = Arc::new(reading);
        *self.last.lock() = Some((Instant::now(), Arc::clone(&reading)));
        Ok(reading)
    }

    /// Where the runtime keeps images, if it has been asked.
    pub(crate) fn known_image_directory(&self) -> Option<PathBuf> {
        self.images.lock().clone()
    }

    /// Where the runtime keeps images; it is asked once. Nothing if it does not say.
    pub(crate) async fn image_directory(&self) -> Option<PathBuf> {
        if let Some(known) = self.known_image_directory() {
            return Some(known);
        }
        let answer = self.runtime.image_file_systems().await.ok()?;
        let told = answer.image_filesystems.into_iter().next()?.fs_id?.mountpoint;
        let told = Some(PathBuf::from(told)).filter(|path| path.is_absolute());
        self.images.lock().clone_from(&told);
        told
    }

    /// What is used now, with the rates of whatever has run for a while.
    pub(crate) async fn read_rates(&self) -> Result<Arc<Reading>, Error> {
        let reading = self.read().await?;
        if reading.node.usage.cpu_rate_nano.is_some() {
            return Ok(reading);
        }
        tokio::time::sleep(WINDOW.max(FRESH)).await;
        self.read().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_same_thing() {
        let usage = |time_ns, cpu_ns| Usage { time_ns, cpu_ns: Some(cpu_ns), ..Usage::default() };
        let check = |earlier: Usage, mut later: Usage, want: Option<u64>| {
            later.rate_since(&earlier);
            assert_eq!(later.cpu_rate_nano, want);
        };
        check(usage(0, 0), usage(2_000_000_000, 500_000_000), Some(250_000_000));
        check(usage(5, 0), usage(5, 10), None);
        check(usage(0, 10), usage(5, 0), None);
    }
}
