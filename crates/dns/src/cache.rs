//! A small memory of what other servers said. Bounded in number and age.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::Instant;

use crate::wire::Response;

/// How many answers are remembered.
const ENTRIES: usize = 4096;
/// For how long at most, whatever the answer allows.
const LONGEST: Duration = Duration::from_secs(30);

/// What was said, by question.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Question, Entry>,
    /// In the order of their coming, for when there are too many.
    order: VecDeque<Question>,
}

type Question = (Name, RecordType);

struct Entry {
    response: Response,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// The remembered answer, with what is left of its lifetime.
    pub(crate) fn get(&self, question: &Query, now: Instant) -> Option<Response> {
        let entry = self.entries.get(&key(question)).filter(|entry| now < entry.until)?;
        let mut response = entry.response.clone();
        let age = u32::try_from(now.duration_since(entry.since).as_secs()).unwrap_or(u32::MAX);
        let sections = [&mut response.answers, &mut response.authorities, &mut response.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(response)
    }

    /// Remembers an answer for as long as it allows.
    pub(crate) fn put(&mut self, question: &Query, response: &Response, now: Instant) {
        let Some(lifetime) = lifetime(response) else { return };
        let key = key(question);
        let entry = Entry { response: response.clone(), since: now, until: now + lifetime };
        if self.entries.insert(key.clone(), entry).is_none() {
            self.order.push_back(key);
        }
        while self.entries.len() > ENTRIES {
            let Some(oldest) = self.order.pop_front() else { return };
            self.entries.remove(&oldest);
        }
    }
}

fn key(question: &Query) -> Question {
    (question.name().to_lowercase(), question.query_type())
}

/// How long an answer holds; not at all where it says nothing about that.
fn lifetime(response: &Response) -> Option<Duration> {
    let seconds = match response.code {
        ResponseCode::NoError if !response.answers.is_empty() => response.answers.iter().map(|record| record.ttl).min(),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            response.authorities.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.minimum.min(record.ttl)),
                _ => None,
            })
        }
        _ => None,
    }?;
    Some(Duration::from_secs(seconds.into()).min(LONGEST)).filter(|lifetime| !lifetime.is_zero())
}
