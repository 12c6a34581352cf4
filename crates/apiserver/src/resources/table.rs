//! Who holds what, and claims that give back what was not needed in the end.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use parking_lot::Mutex;

/// One thing that is held by one object at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Address(Ipv4Addr),
    Port(u16),
}

/// The slots that are held.
#[derive(Debug, Default)]
pub(super) struct Table {
    held: Mutex<HashSet<Slot>>,
}

impl Table {
    /// Marks slots as held.
    pub(super) fn hold(&self, slots: impl IntoIterator<Item = Slot>) {
        self.held.lock().extend(slots);
    }

    /// Marks slots as free.
    pub(super) fn release(&self, slots: &[Slot]) {
        let mut held = self.held.lock();
        for slot in slots {
            held.remove(slot);
        }
    }

    /// Takes a slot; false if it is held.
    pub(super) fn take(&self, slot: Slot) -> bool {
        self.held.lock().insert(slot)
    }
}

/// Slots taken for a write that may yet fail.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<Table>,
    taken: Vec<Slot>,
    freed: Vec<Slot>,
}

impl Claim {
    pub(super) fn new(table: &Arc<Table>) -> Self {
        Self { table: Arc::clone(table), taken: Vec::new(), freed: Vec::new() }
    }

    /// Takes a slot for this claim; false if someone else holds it.
    pub(super) fn take(&mut self, slot: Slot) -> bool {
        let taken = self.table.take(slot);
        if taken {
            self.taken.push(slot);
        }
        taken
    }

    /// Takes the first free one of `candidates`.
    pub(super) fn take_first(&mut self, candidates: impl Iterator<Item = Slot>) -> Option<Slot> {
        candidates.into_iter().find(|slot| self.take(*slot))
    }

    /// When the write has succeeded, these are free.
    pub(super) fn free_later(&mut self, slots: impl IntoIterator<Item = Slot>) {
        self.freed.extend(slots);
    }

    /// The write has succeeded.
    pub(super) fn keep(mut self) {
        self.taken.clear();
        self.table.release(&std::mem::take(&mut self.freed));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.table.release(&self.taken);
    }
}
