//! What is counted of a plugin: how long its calls take, and which of its keys were used when.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use tokio::time::{Duration, Instant};

/// No more keys are told apart, by what is done with them; beyond that the one that was used least recently is forgotten.
const MAX_KEYS: usize = 100;
/// Buckets of the times that calls take: the first goes to 0.1 ms, each other twice as far.
const BUCKETS: usize = 20;
const FIRST_BUCKET_S: f64 = 0.0001;

/// What was done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A value was opened that was sealed with it.
    FromStorage,
    /// A value was sealed with it.
    ToStorage,
    /// The plugin said that it has it now.
    Status,
}

/// How often and when a key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// How often.
    pub times: u64,
    /// When last.
    pub last: Instant,
}

/// How long calls of one method with one outcome took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// How many fell into each bucket, and behind the last.
    pub counts: [u64; BUCKETS + 1],
    /// All times together, in seconds.
    pub sum_s: f64,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Calls by method (`Status`) and gRPC code (`OK`).
    pub calls: BTreeMap<(&'static str, &'static str), Latencies>,
    /// Keys by use, and by the hash of their ids: `sha256:` and hexadecimal digits.
    pub keys: BTreeMap<(Use, String), Used>,
    /// Ids that are none, which the plugin told as its key's, by what is wrong with them: `empty`, `too_long`.
    pub invalid_ids: BTreeMap<&'static str, u64>,
    /// Seeds that are kept open.
    pub seeds: usize,
}

impl Latencies {
    /// The upper bound of a bucket, in seconds; the one behind the last has none.
    pub fn bound_s(bucket: usize) -> f64 {
        i32::try_from(bucket).map_or(f64::INFINITY, |bucket| FIRST_BUCKET_S * 2_f64.powi(bucket))
    }
}

/// The same while it is counted.
#[derive(Default)]
pub(super) struct Counting(Mutex<Figures>);

impl Counting {
    /// What was counted so far, with so many seeds kept.
    pub(super) fn read(&self, seeds: usize) -> Figures {
        Figures { seeds, ..self.0.lock().clone() }
    }

    /// A call took so long.
    pub(super) fn called(&self, method: &'static str, code: &'static str, took: Duration) {
        let took_s = took.as_secs_f64();
        let bucket = (0..BUCKETS).find(|bucket| took_s <= Latencies::bound_s(*bucket)).unwrap_or(BUCKETS);
        let mut figures = self.0.lock();
        let latencies = figures.calls.entry((method, code)).or_default();
        latencies.counts[bucket] += 1;
        latencies.sum_s += took_s;
    }

    /// The key `id` was used.
    pub(super) fn used(&self, kind: Use, id: &str, now: Instant) {
        let key = (kind, hash(id));
        let mut figures = self.0.lock();
        let keys = &mut figures.keys;
        if keys.len() >= MAX_KEYS && !keys.contains_key(&key) {
            let oldest = keys.iter().min_by_key(|(_, used)| used.last).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                keys.remove(&oldest);
            }
        }
        let used = keys.entry(key).or_insert(Used { times: 0, last: now });
        used.times += 1;
        used.last = now;
    }

    /// The plugin told something that is no key's id.
    pub(super) fn invalid_id(&self, why: &'static str) {
        *self.0.lock().invalid_ids.entry(why).or_default() += 1;
    }
}

fn hash(id: &str) -> String {
    let digits = digest(&SHA256, id.as_bytes());
    digits.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_many_keys_the_oldest_is_forgotten() {
        let counting = Counting::default();
        for id in 0..=MAX_KEYS {
            counting.used(Use::ToStorage, &id.to_string(), Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let keys = counting.read(0).keys;
        let has = |id: &str| keys.contains_key(&(Use::ToStorage, hash(id)));
        assert_eq!((keys.len(), has("0"), has("1"), has("100")), (MAX_KEYS, false, true, true));
    }

    #[test]
    fn calls_fall_into_buckets() {
        let counting = Counting::default();
        for took_us in [50, 100, 101, 400, 200_000_000] {
            counting.called("Status", "OK", Duration::from_micros(took_us));
        }
        let latencies = &counting.read(0).calls[&("Status", "OK")];
        assert_eq!((&latencies.counts[..4], latencies.counts[BUCKETS]), (&[2, 1, 1, 0][..], 1));
        assert!((latencies.sum_s - 200.000_651).abs() < 1e-9 && Latencies::bound_s(19) > 52.0);
    }
}
