//! How large a container's writable layer is. Counting means looking at every file of it, so it is done when someone asks
//! and seldom: the larger the tree, the more seldom.

use std::time::Duration;

use parking_lot::Mutex;
use sampan_cri::v1::FilesystemUsage;
use tokio::time::Instant;

/// What was counted less long ago is told again.
const FRESH: Duration = Duration::from_secs(10);
/// So many times as long as counting takes, it is not done again: it costs 2 % of a core at most, whoever asks.
const REST: u32 = 50;

/// The size when it was counted last.
#[derive(Default)]
pub(crate) struct LayerSize {
    counted: Mutex<Option<Counted>>,
    /// Held by who counts.
    counting: Mutex<()>,
}

struct Counted {
    usage: FilesystemUsage,
    until: Instant,
}

impl LayerSize {
    /// The size: what was counted last, or if that is old, what `count` gives now. Who asks while another counts is told
    /// what is known, which may be nothing: the size of a tree must keep nobody from what else there is to know.
    pub(crate) fn get(&self, count: impl FnOnce() -> FilesystemUsage) -> Option<FilesystemUsage> {
        let begun = Instant::now();
        if let Some(known) = self.counted.lock().as_ref().filter(|known| begun < known.until) {
            return Some(known.usage.clone());
        }
        let Some(_counting) = self.counting.try_lock() else {
            return self.counted.lock().as_ref().map(|known| known.usage.clone());
        };
        let usage = count();
        let until = Instant::now() + FRESH.max(begun.elapsed() * REST);
        *self.counted.lock() = Some(Counted { usage: usage.clone(), until });
        Some(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(timestamp: i64) -> FilesystemUsage {
        FilesystemUsage { timestamp, ..FilesystemUsage::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_is_counted_seldom() {
        let size = LayerSize::default();
        assert_eq!(size.get(|| usage(1)), Some(usage(1)));
        assert_eq!(size.get(|| usage(2)), Some(usage(1)));
        tokio::time::advance(FRESH).await;
        assert_eq!(size.get(|| usage(3)), Some(usage(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_who_counts() {
        let size = LayerSize::default();
        let asked_meanwhile = |size: &LayerSize| size.get(|| panic!("it is being counted"));
        assert_eq!(
            size.get(|| {
                assert_eq!(asked_meanwhile(&size), None);
                usage(1)
            }),
            Some(usage(1))
        );
        tokio::time::advance(FRESH).await;
        assert_eq!(
            size.get(|| {
                assert_eq!(asked_meanwhile(&size), Some(usage(1)));
                usage(2)
            }),
            Some(usage(2))
        );
    }
}
