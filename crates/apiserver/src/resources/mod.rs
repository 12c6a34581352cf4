//! What only one object at a time may have: addresses and node ports of Services.
//!
//! Who holds what follows from the stored Services, so nothing of it is stored: it is read from them at start. A plan
//! claims what it needs before it is written; a [`Claim`] that is dropped (the write failed, or was a dry run) gives
//! everything back. This holds within one API server; several on one store would need their claims in the store.

mod service;
mod table;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::Ipv4Net;
use sampan_api::status::Status;
use serde_json::Value;

pub(crate) use self::table::Claim;
use self::table::Table;
use crate::registry::{Attempt, Effect};

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

/// The allocators.
pub(crate) struct Resources {
    ranges: Ranges,
    table: Arc<Table>,
}

impl Resources {
    /// Allocators of which `services` hold their share already.
    pub(crate) fn new(ranges: Ranges, services: impl Iterator<Item = Value>) -> Self {
        let table = Arc::new(Table::default());
        services.for_each(|service| table.hold(service::slots(&service)));
        Self { ranges, table }
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
        service::claim(&self.ranges, &self.table, new, old)
            .map(Some)
            .map_err(|faults| Status::invalid(attempt.group_kind(), &attempt.name, &faults))
    }

    /// A write has succeeded: what it claimed is its own, what it let go is free.
    pub(crate) fn settle(&self, attempt: &Attempt, object: &Value, effect: Effect, claim: Option<Claim>) {
        if let Some(claim) = claim {
            claim.keep();
        }
        if effect == Effect::Removed && is_service(attempt) {
            self.table.release(&service::slots(object));
        }
    }
}

fn is_service(attempt: &Attempt) -> bool {
    attempt.kind.group.is_empty() && attempt.kind.plural == "services"
}
