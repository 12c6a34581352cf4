//! Answers that hold for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many answers are kept; when there are more, those that still hold are forgotten too.
const MAX_ANSWERS: usize = 8192;

/// Answers by question.
pub(crate) struct Remembered<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    /// The answer, if one still holds.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let answers = self.0.lock();
        let (answer, until) = answers.get(key)?;
        (Instant::now() < *until).then(|| answer.clone())
    }

    /// Keeps an answer for `ttl`.
    pub(crate) fn put(&self, key: K, answer: V, ttl: Duration) {
        if ttl.is_zero() {
            return;
        }
        let (mut answers, now) = (self.0.lock(), Instant::now());
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, (_, until)| now < *until);
        }
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert(key, (answer, now + ttl));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_hold_for_a_while() {
        let answers = Remembered::default();
        answers.put(1, "a", Duration::from_secs(10));
        answers.put(2, "b", Duration::ZERO);
        assert_eq!((answers.get(&1), answers.get(&2)), (Some("a"), None));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(answers.get(&1), None);
        for key in 0..MAX_ANSWERS * 3 {
            answers.put(key, "c", Duration::from_secs(10));
        }
        assert!(answers.0.lock().len() <= MAX_ANSWERS);
    }
}
