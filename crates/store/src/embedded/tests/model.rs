//! The engine against a model: a map per revision. Whatever is done, in whatever order, with restarts, power failures,
//! forgetting and compactions in between, they agree on the present, the past and what watches tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;

use super::faulty::{FaultyDisk, Loss};
use super::tiny;
use crate::embedded::Embedded;
use crate::{Entry, Error, Event, Outcome, Revision, Span, Store, Write};

/// All keys with their entries.
pub(super) type Map = BTreeMap<Bytes, Entry>;

/// The state after each revision, from 0 on.
#[derive(Clone, Debug)]
pub(super) struct Model {
    states: Vec<Map>,
    compacted: Revision,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { states: vec![Map::new()], compacted: 0 }
    }

    pub(super) fn revision(&self) -> Revision {
        self.states.len() as Revision - 1
    }

    pub(super) fn state(&self, at: Revision) -> &Map {
        &self.states[at as usize]
    }

    pub(super) fn now(&self) -> &Map {
        self.state(self.revision())
    }

    /// What the store must answer.
    pub(super) fn write(&mut self, write: &Write) -> Outcome {
        let (key, value, expected) = match write {
            Write::Create { key, value } => (key, Some(value), None),
            Write::Update { key, value, expected } | Write::Renew { key, value, expected } => {
                (key, Some(value), Some(*expected))
            }
            Write::Delete { key, expected } => (key, None, Some(*expected)),
        };
        let current = self.now().get(key).cloned();
        if current.as_ref().map(|entry| entry.modified) != expected {
            return Outcome::Unmet(current);
        }
        let revision = self.revision() + 1;
        let mut next = self.now().clone();
        next.remove(key);
        if let Some(value) = value {
            let created = current.map_or(revision, |entry| entry.created);
            next.insert(key.clone(), Entry { key: key.clone(), value: value.clone(), created, modified: revision });
        }
        self.states.push(next);
        Outcome::Done(revision)
    }

    fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision);
    }

    /// Forgets the newest revisions, for a model of what was not acknowledged.
    pub(super) fn truncate(&mut self, revision: Revision) {
        self.states.truncate(revision as usize + 1);
    }
}

/// Checks everything that can be read. `compacted` is the most that may be forgotten.
pub(super) async fn agree(store: &Embedded, model: &Model, compacted: Revision) {
    assert_eq!(store.revision().await.unwrap(), model.revision());
    let all = Span::prefix(b"");
    for at in 0..=model.revision() {
        let page = store.range(&all, Some(at), None).await;
        if at < compacted {
            assert!(matches!(page, Err(Error::Compacted { .. })), "{at} is before {compacted}: {page:?}");
        } else {
            assert!(page.unwrap().entries.iter().eq(model.state(at).values()), "at {at}");
        }
    }
    for (key, entry) in model.now() {
        assert_eq!(store.get(key, None).await.unwrap().as_ref(), Some(entry));
    }
    watch_agrees(store, model, compacted).await;
}

/// A watch from `after` rebuilds each state from the one before.
async fn watch_agrees(store: &Embedded, model: &Model, after: Revision) {
    let mut watch = store.watch(&Span::prefix(b""), after).await.unwrap();
    let mut state = model.state(after).clone();
    for at in after + 1..=model.revision() {
        let (revision, key, new) = match watch.next().await.unwrap().unwrap() {
            Event::Put { entry } => (entry.modified, entry.key.clone(), Some(entry)),
            Event::Delete { key, revision } => (revision, key, None),
            Event::Progress { revision } => panic!("progress to {revision} before {at} was told"),
        };
        assert_eq!(revision, at);
        let old = state.remove(&key);
        assert!(old.is_some() || new.as_ref().is_some_and(Entry::is_new), "nothing was there to change");
        state.extend(new.map(|entry| (key, entry)));
        assert_eq!(&state, model.state(at));
    }
    let caught_up = watch.next().await.unwrap().unwrap();
    assert!(matches!(caught_up, Event::Progress { revision } if revision == model.revision()));
    assert!(watch.next().now_or_never().is_none(), "nothing more is told");
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8, u8),
    Update(u8, u8),
    StaleUpdate(u8),
    Renew(u8, u8),
    Delete(u8),
    Compact(u8),
    Restart,
    PowerFailure,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, len)| Step::Create(key, len)),
        8 => (key.clone(), any::<u8>()).prop_map(|(key, len)| Step::Update(key, len)),
        1 => key.clone().prop_map(Step::StaleUpdate),
        4 => (key.clone(), any::<u8>()).prop_map(|(key, len)| Step::Renew(key, len)),
        3 => key.prop_map(Step::Delete),
        1 => (0..8_u8).prop_map(Step::Compact),
        1 => Just(Step::Restart),
        1 => Just(Step::PowerFailure),
    ]
}

/// The write that a step means in the model's present.
fn write(step: &Step, model: &Model) -> Option<Write> {
    let key = |key: &u8| Bytes::from(format!("key/{key}"));
    let value = |len: &u8| Bytes::from(vec![b'a' + len % 26; usize::from(*len)]);
    let expected = |name: &u8| model.now().get(&key(name)).map_or(1, |entry| entry.modified);
    Some(match step {
        Step::Create(name, len) => Write::Create { key: key(name), value: value(len) },
        Step::Update(name, len) => Write::Update { key: key(name), value: value(len), expected: expected(name) },
        Step::StaleUpdate(name) => Write::Update { key: key(name), value: value(&1), expected: expected(name) + 1 },
        Step::Renew(name, len) => Write::Renew { key: key(name), value: value(len), expected: expected(name) },
        Step::Delete(name) => Write::Delete { key: key(name), expected: expected(name) },
        Step::Compact(_) | Step::Restart | Step::PowerFailure => return None,
    })
}

async fn run(steps: &[Step]) {
    let mut disk = FaultyDisk::default();
    let mut store = Embedded::on(Arc::new(disk.clone()), tiny()).unwrap();
    let mut model = Model::new();
    for step in steps {
        if let Some(write) = write(step, &model) {
            assert_eq!(store.write(write.clone()).await.unwrap(), model.write(&write), "{write:?}");
        }
        match step {
            Step::Compact(back) => {
                let revision = model.revision().saturating_sub(u64::from(*back));
                store.compact(revision).await.unwrap();
                model.compact(revision);
            }
            Step::Restart | Step::PowerFailure => {
                store.close().await;
                let loss = if matches!(step, Step::Restart) { Loss::Nothing } else { Loss::Unsynced };
                disk = disk.crashed(disk.operations(), 0, loss);
                store = Embedded::on(Arc::new(disk.clone()), tiny()).unwrap();
            }
            _ => {}
        }
    }
    agree(&store, &model, model.compacted).await;
    store.close().await;
    let store = Embedded::on(Arc::new(disk.crashed(disk.operations(), 0, Loss::Unsynced)), tiny()).unwrap();
    agree(&store, &model, model.compacted).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map_per_revision(steps in proptest::collection::vec(step(), 1..120)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(&steps));
    }
}
