//! What only one object at a time may have: addresses and node ports of Services, on all servers of a store.
//!
//! A plan claims what it needs ([`Resources::claim`]); before the object is written the claims are put into the store
//! ([`Resources::secure`]), where the first one wins; whoever loses makes a new plan. A [`Claim`] that is dropped (a
//! fault, a dry run, a client that went away) gives everything back. Start at `service.rs` for what a Service needs, at
//! `stored.rs` for how claims are stored, at `cidrs.rs` for the ranges.

pub(crate) mod cidrs;
mod follow;
mod repair;
mod service;
mod stored;
mod table;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use sampan_api::status::Status;
use sampan_store::Store;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::table::{Claim, Written};
use self::table::{Owner, Return, Slot, Table};
use crate::cache::Cache;
use crate::registry::{Attempt, Effect, metadata};

/// How many claims may wait for being given back.
const MAX_RETURNS: usize = 1024;

/// The ranges to allocate from.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// Addresses of Services.
    pub addresses: Ipv4Net,
    /// Node ports.
    pub node_ports: RangeInclusive<u16>,
}

impl Ranges {
    /// The address of the Service `default/kubernetes`: the first one.
    pub fn kubernetes(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.addresses.network()) + 1)
    }
}

/// Where addresses and node ports may come from now.
struct Pools {
    addresses: Vec<Ipv4Net>,
    node_ports: RangeInclusive<u16>,
}

/// The allocators.
pub(crate) struct Resources {
    ranges: Ranges,
    table: Arc<Table>,
    cache: Arc<Cache>,
    store: Arc<dyn Store>,
    returns: mpsc::Sender<Return>,
}

impl Resources {
    /// Allocators over what is stored, repaired first; what they do in the background ends with `stop`.
    pub(crate) async fn start(
        ranges: Ranges,
        (cache, store): (&Arc<Cache>, &Arc<dyn Store>),
        background: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, Status> {
        repair::run(cache, store.as_ref(), sampan_clock::now()).await?;
        let (returns, returned) = mpsc::channel(MAX_RETURNS);
        let table = Arc::new(Table::default());
        if let Some(room) = cache.stored("services") {
            background.spawn(follow::services(Arc::clone(&table), room, stop.clone()));
        }
        background.spawn(follow::returns(Arc::clone(&table), Arc::clone(store), returned, stop.clone()));
        Ok(Self { ranges, table, cache: Arc::clone(cache), store: Arc::clone(store), returns })
    }

    /// Fills in what `new` lacks and claims what it has; nothing for kinds that need nothing.
    pub(crate) fn claim(
        &self,
        attempt: &Attempt,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Claim>, Status> {
        if !is_service(attempt) || !attempt.subresource.is_empty() {
            return Ok(None);
        }
        let addresses = cidrs::ready(&self.cache, self.ranges.addresses);
        let pools = Pools { addresses, node_ports: self.ranges.node_ports.clone() };
        let claim = Claim::new(&self.table, owner(attempt, new), &self.returns);
        service::claim(&pools, claim, new, old)
            .map(Some)
            .map_err(|faults| Status::invalid(attempt.group_kind(), &attempt.name, &faults))
    }

    /// Puts what is claimed into the store; false if another server was faster with some of it.
    pub(crate) async fn secure(&self, claim: &mut Claim, now: Timestamp) -> Result<bool, Status> {
        while let Some(slot) = claim.next() {
            if !stored::take(self.store.as_ref(), slot, &claim.owner, now).await? {
                claim.lost();
                return Ok(false);
            }
            claim.stored();
        }
        Ok(true)
    }

    /// The write did not happen: what was claimed for it is free.
    pub(crate) async fn give_back(&self, written: Written) {
        self.free(&written.owner, written.taken).await;
    }

    /// The write has succeeded: what it let go is free.
    pub(crate) async fn settle(&self, attempt: &Attempt, object: &Value, effect: Effect, written: Option<Written>) {
        if let Some(written) = written {
            self.free(&written.owner, written.freed).await;
        }
        if effect == Effect::Removed && is_service(attempt) {
            self.free(&owner(attempt, object), service::slots(object)).await;
        }
    }

    async fn free(&self, owner: &Owner, slots: Vec<Slot>) {
        for slot in slots {
            match stored::free(self.store.as_ref(), slot, owner).await {
                Ok(()) => self.table.release(&[slot]),
                Err(error) => tracing::warn!(%error, "a slot stays held until the next start"),
            }
        }
    }
}

fn is_service(attempt: &Attempt) -> bool {
    attempt.kind.group.is_empty() && attempt.kind.plural == "services"
}

fn owner(attempt: &Attempt, service: &Value) -> Owner {
    Owner { namespace: attempt.namespace.clone(), name: metadata::text(service, "name").to_owned() }
}
