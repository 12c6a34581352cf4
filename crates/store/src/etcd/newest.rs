//! One question for many askers: what the newest revision is.
//!
//! Every consistent read asks it, so it is asked once for all who wait. An answer counts only for those who were
//! there before the question was sent: it must not be older than they are.

use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{Error, Revision};

/// The question.
pub(super) struct Newest {
    /// At most one question is on its way.
    turn: Semaphore,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// How many questions were sent.
    sent: u64,
    /// The number of the last one that was answered, and the answer.
    answer: Option<(u64, Result<Revision, Error>)>,
}

impl Default for Newest {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), asked: Mutex::default() }
    }
}

impl Newest {
    /// A revision that was the newest after the caller came here. `question` finds it out.
    pub(super) async fn ask<F>(&self, question: impl FnOnce() -> F) -> Result<Revision, Error>
    where
        F: Future<Output = Result<Revision, Error>>,
    {
        let arrival = self.asked.lock().sent;
        let _turn = self.turn.acquire().await.map_err(|_| Error::Closed)?;
        let number = {
            let mut asked = self.asked.lock();
            if let Some((number, answer)) = &asked.answer
                && *number > arrival
            {
                return answer.as_ref().copied().map_err(Error::again);
            }
            asked.sent += 1;
            asked.sent
        };
        let answer = question().await;
        let copy = answer.as_ref().copied().map_err(Error::again);
        self.asked.lock().answer = Some((number, copy));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_an_answer_that_is_not_older_than_they_are() {
        let (newest, now) = (Newest::default(), AtomicU64::new(0));
        let ask = || async {
            let before = now.load(Ordering::Relaxed);
            let question = || async {
                let answer = now.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::task::yield_now().await;
                Ok(answer)
            };
            let answer = newest.ask(question).await.unwrap();
            assert!(answer > before, "{answer} is older than {before}");
        };
        futures::future::join_all((0..100).map(|_| ask())).await;
        assert_eq!(now.load(Ordering::Relaxed), 2, "one for the first, one for all others");
    }
}
