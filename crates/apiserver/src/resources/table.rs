//! Who holds what, as far as this server knows, and claims that give back what was not needed in the end.
//!
//! The store decides; the table spares most attempts that would fail there, and keeps the writers of one server apart.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// One thing that is held by one object at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Address(Ipv4Addr),
    Port(u16),
}

/// The Service that holds something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Slots in the store that their owner did not need in the end.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) owner: Owner,
    pub(super) slots: Vec<Slot>,
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
///
/// `claimed -> stored -> written -> kept`; dropped before it is written, everything is given back, what is stored by
/// way of `returns`. From then on nobody can tell whether the write counts, so nothing is given back.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) owner: Owner,
    table: Arc<Table>,
    returns: mpsc::Sender<Return>,
    taken: Vec<Slot>,
    /// How many of `taken`, from the first on, are in the store.
    stored: usize,
    freed: Vec<Slot>,
}

impl Claim {
    pub(super) fn new(table: &Arc<Table>, owner: Owner, returns: &mpsc::Sender<Return>) -> Self {
        let (table, returns) = (Arc::clone(table), returns.clone());
        Self { owner, table, returns, taken: Vec::new(), stored: 0, freed: Vec::new() }
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

    /// The next slot that is to be put into the store.
    pub(super) fn next(&self) -> Option<Slot> {
        self.taken.get(self.stored).copied()
    }

    /// The next slot is in the store.
    pub(super) fn stored(&mut self) {
        self.stored += 1;
    }

    /// The next slot is someone else's: it stays held.
    pub(super) fn lost(&mut self) {
        self.taken.remove(self.stored);
    }

    /// The write is under way; from now on only its outcome counts.
    pub(crate) fn written(mut self) -> Written {
        let taken = std::mem::take(&mut self.taken);
        Written { owner: self.owner.clone(), taken, freed: std::mem::take(&mut self.freed) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let rest = self.taken.split_off(self.stored.min(self.taken.len()));
        self.table.release(&rest);
        let slots = std::mem::take(&mut self.taken);
        if slots.is_empty() {
            return;
        }
        if let Err(error) = self.returns.try_send(Return { owner: self.owner.clone(), slots }) {
            tracing::warn!(%error, "what a Service did not need is free again only after the next start");
        }
    }
}

/// What belongs to a write that is under way.
#[derive(Debug)]
pub(crate) struct Written {
    pub(super) owner: Owner,
    /// Its own if it succeeds, to be freed if it does not.
    pub(super) taken: Vec<Slot>,
    /// To be freed if it succeeds.
    pub(super) freed: Vec<Slot>,
}
