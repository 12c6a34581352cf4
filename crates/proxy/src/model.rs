//! All Services of the node at once: who owns which frontend, and what changed since the kernel was told last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddrV4;

use sampan_client::Key;

use crate::frontend::{Backends, Frontend};
use crate::plan::Wanted;

/// Every frontend of the node with its owner and backends.
#[derive(Debug, Default)]
pub struct Model {
    frontends: BTreeMap<Frontend, Claim>,
    by_service: HashMap<Key, BTreeSet<Frontend>>,
    /// Services that want a frontend which another one has, for when it is released.
    waiting: HashMap<Frontend, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Claim {
    owner: Key,
    backends: Backends,
}

/// A frontend that differs from what the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which one.
    pub frontend: Frontend,
    /// What the kernel has.
    pub old: Option<Backends>,
    /// What it shall have.
    pub new: Option<Backends>,
}

/// What an update came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// What the kernel has to be told.
    pub changes: Vec<Change>,
    /// Services to look at again, since a frontend they wait for is free now.
    pub again: BTreeSet<Key>,
}

impl Model {
    /// Gives `service` what it wants now (nothing: it is gone). A frontend belongs to whoever had it first.
    pub fn update(&mut self, service: &Key, wanted: Wanted) -> Update {
        let mut update = Update::default();
        let before = self.by_service.remove(service).unwrap_or_default();
        for frontend in before.iter().filter(|frontend| !wanted.contains_key(frontend)) {
            self.release(*frontend, &mut update);
        }
        self.waiting.retain(|_, waiting| {
            waiting.remove(service);
            !waiting.is_empty()
        });
        let mut owned = BTreeSet::new();
        for (frontend, backends) in wanted {
            if self.claim(service, frontend, backends, &mut update) {
                owned.insert(frontend);
            }
        }
        if !owned.is_empty() {
            self.by_service.insert(service.clone(), owned);
        }
        update
    }

    /// Every frontend with its backends.
    pub fn frontends(&self) -> impl Iterator<Item = (&Frontend, &Backends)> {
        self.frontends.iter().map(|(frontend, claim)| (frontend, &claim.backends))
    }

    /// The backends of one frontend.
    pub fn backends(&self, frontend: &Frontend) -> Option<&Backends> {
        self.frontends.get(frontend).map(|claim| &claim.backends)
    }

    fn release(&mut self, frontend: Frontend, update: &mut Update) {
        let old = self.frontends.remove(&frontend).map(|claim| claim.backends);
        update.changes.push(Change { frontend, old, new: None });
        update.again.extend(self.waiting.remove(&frontend).unwrap_or_default());
    }

    /// Whether the service has the frontend now.
    fn claim(&mut self, service: &Key, frontend: Frontend, mut backends: Backends, update: &mut Update) -> bool {
        let old = match self.frontends.get(&frontend) {
            Some(claim) if claim.owner != *service => {
                tracing::warn!(%frontend, %service, owner = %claim.owner, "the frontend belongs to another Service");
                self.waiting.entry(frontend).or_default().insert(service.clone());
                return false;
            }
            claim => claim.map(|claim| claim.backends.clone()),
        };
        if let Some(old) = &old {
            backends.endpoints = keep_places(&old.endpoints, backends.endpoints);
        }
        if old.as_ref() != Some(&backends) {
            update.changes.push(Change { frontend, old, new: Some(backends.clone()) });
        }
        self.frontends.insert(frontend, Claim { owner: service.clone(), backends });
        true
    }
}

/// Orders `wanted` so that endpoints known before keep their index as far as can be: few elements change.
fn keep_places(before: &[SocketAddrV4], wanted: Vec<SocketAddrV4>) -> Vec<SocketAddrV4> {
    let mut fresh: Vec<SocketAddrV4> = wanted.iter().rev().filter(|one| !before.contains(one)).copied().collect();
    let wanted: BTreeSet<SocketAddrV4> = wanted.into_iter().collect();
    let mut places: Vec<Option<SocketAddrV4>> =
        before.iter().map(|one| if wanted.contains(one) { Some(*one) } else { fresh.pop() }).collect();
    places.extend(fresh.into_iter().rev().map(Some));
    // What is left of the gaps is filled from the end.
    let mut index = 0;
    while index < places.len() {
        if places[index].is_none() {
            places.swap_remove(index);
        } else {
            index += 1;
        }
    }
    places.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(ports: &[u16]) -> Vec<SocketAddrV4> {
        ports.iter().map(|port| SocketAddrV4::new([10, 42, 0, 2].into(), *port)).collect()
    }

    fn check(before: &[u16], wanted: &[u16], expected: &[u16]) {
        assert_eq!(keep_places(&endpoints(before), endpoints(wanted)), endpoints(expected), "{before:?} {wanted:?}");
    }

    #[test]
    fn endpoints_keep_their_places() {
        check(&[], &[1, 2], &[1, 2]);
        check(&[3, 1], &[1, 2, 3], &[3, 1, 2]);
        check(&[1, 2, 3], &[1, 3], &[1, 3]);
        check(&[1, 2, 3, 4], &[1, 3, 4], &[1, 4, 3]);
        check(&[1, 2, 3], &[1, 3, 9], &[1, 9, 3]);
        check(&[1, 2], &[], &[]);
        check(&[1, 2, 3], &[3], &[3]);
    }
}
