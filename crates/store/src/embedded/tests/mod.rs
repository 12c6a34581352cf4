//! The engine on a disk that fails: crashes at every byte, lost writes, a full disk, failed syncs; and against a model.

mod compaction;
mod crash;
mod faults;
mod faulty;
mod model;
mod renewals;
mod watches;

use std::sync::Arc;

use bytes::Bytes;

use super::index::Retention;
use super::writer::Limits;
use super::{Embedded, Error};
use crate::{Outcome, Revision, Store, Write};

use self::faulty::FaultyDisk;

/// Room for a few writes, so that tests see the end of the zeros too.
const AHEAD: usize = 300;

/// Limits so small that a few writes seal logs and compact, but nothing is forgotten unasked.
fn tiny() -> Limits {
    let retention = Retention { revisions: 1_000_000, bytes: 1 << 40 };
    Limits { log_bytes: 2_000, ahead_bytes: AHEAD, retention, slack_bytes: 500 }
}

/// Limits under which one log holds everything.
fn roomy() -> Limits {
    Limits { log_bytes: 1 << 40, slack_bytes: 1 << 40, ..tiny() }
}

fn open(disk: &FaultyDisk, limits: Limits) -> Result<Embedded, Error> {
    Embedded::on(Arc::new(disk.clone()), limits)
}

fn create(key: &str, value: &str) -> Write {
    Write::Create { key: copy(key), value: copy(value) }
}

fn update(key: &str, value: &str, expected: Revision) -> Write {
    Write::Update { key: copy(key), value: copy(value), expected }
}

fn renew(key: &str, value: &str, expected: Revision) -> Write {
    Write::Renew { key: copy(key), value: copy(value), expected }
}

fn copy(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn done(store: &Embedded, write: Write) -> Revision {
    match store.write(write).await.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Unmet(current) => panic!("the condition did not hold: {current:?}"),
    }
}
