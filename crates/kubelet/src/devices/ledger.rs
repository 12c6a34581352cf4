//! Which devices there are and who has them: values, and decisions about them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Allocation;

/// Ids of devices of one resource.
pub(super) type Ids = BTreeSet<String>;

/// How many devices of each resource there are, and how many of them can be given to Pods.
pub(crate) type Counts = BTreeMap<String, (usize, usize)>;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// By resource, for every resource that has been registered.
    pub(super) known: BTreeMap<String, Known>,
    pub(super) held: Vec<Held>,
}

/// The devices of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// By id; whether it is healthy.
    pub(super) devices: BTreeMap<String, bool>,
    /// The NUMA nodes of those that told.
    pub(super) topology: BTreeMap<String, Vec<i64>>,
}

/// What one container has of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) uid: String,
    pub(super) container: String,
    pub(super) resource: String,
    pub(super) ids: Ids,
    /// What the container needs to use them.
    pub(super) allocation: Allocation,
}

/// What a container wants of one resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) uid: &'a str,
    pub(super) container: &'a str,
    pub(super) resource: &'a str,
    pub(super) count: usize,
}

/// From what devices a container's may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// These in any case: init containers of the same Pod had them.
    pub(super) must: Ids,
    /// These are free.
    pub(super) free: Ids,
    pub(super) count: usize,
}

impl Choice {
    /// The devices to take: as `preferred`, as far as that is possible, and otherwise in order.
    pub(super) fn take(&self, preferred: &[String]) -> Ids {
        let preferred = preferred.iter().filter(|id| self.free.contains(*id));
        let order = self.must.iter().chain(preferred).chain(&self.free);
        let mut taken = Ids::new();
        for id in order {
            if taken.len() == self.count {
                break;
            }
            taken.insert(id.clone());
        }
        taken
    }
}

impl Ledger {
    /// A plugin told of all its devices.
    pub(super) fn set(&mut self, resource: &str, known: Known) {
        self.known.insert(resource.to_owned(), known);
    }

    /// A plugin has gone: none of its devices can be given to Pods.
    pub(super) fn mark_gone(&mut self, resource: &str) {
        if let Some(known) = self.known.get_mut(resource) {
            known.devices.values_mut().for_each(|healthy| *healthy = false);
        }
    }

    /// A plugin has been gone for long: the node has no such devices. The resource itself stays known, so that the
    /// node's status says 0 and not nothing.
    pub(super) fn forget(&mut self, resource: &str) {
        self.set(resource, Known::default());
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |known: &Known| (known.devices.len(), known.devices.values().filter(|healthy| **healthy).count());
        self.known.iter().map(|(resource, known)| (resource.clone(), count(known))).collect()
    }

    /// Whether the resource is one of devices.
    pub(super) fn is_of_devices(&self, resource: &str) -> bool {
        self.known.contains_key(resource) || self.held.iter().any(|held| held.resource == resource)
    }

    /// From what the devices of `wish` may be taken. Nothing if the container has them already; an error says why there
    /// are not enough. `reusable` are devices that init containers of the Pod had.
    pub(super) fn choose(&self, wish: Wish<'_>, reusable: &Ids) -> Result<Option<Choice>, String> {
        let Wish { uid, container, resource, count } = wish;
        let mut own = self.held.iter().filter(|held| held.uid == uid && held.container == container);
        if let Some(held) = own.find(|held| held.resource == resource) {
            let before = held.ids.len();
            return match before == count {
                true => Ok(None),
                false => Err(format!(
                    "pod \"{uid}\" container \"{container}\" changed request for resource \"{resource}\" from {before} to {count}"
                )),
            };
        }
        if count == 0 {
            return Ok(None);
        }
        let known =
            self.known.get(resource).ok_or_else(|| format!("cannot allocate unregistered device {resource}"))?;
        let healthy: Ids = known.devices.iter().filter(|(_, healthy)| **healthy).map(|(id, _)| id.clone()).collect();
        if healthy.is_empty() {
            return Err(format!("no healthy devices present; cannot allocate unhealthy devices {resource}"));
        }
        let used = self.used(resource);
        let must: Ids = reusable.intersection(&healthy).take(count).cloned().collect();
        let free: Ids = healthy.difference(&used).cloned().collect();
        let needed = count - must.len();
        if free.len() < needed {
            let available = free.len();
            return Err(format!(
                "requested number of devices unavailable for {resource}. Requested: {needed}, Available: {available}"
            ));
        }
        Ok(Some(Choice { must, free, count }))
    }

    /// The devices of `resource` that anybody has.
    fn used(&self, resource: &str) -> Ids {
        self.held.iter().filter(|held| held.resource == resource).flat_map(|held| held.ids.iter().cloned()).collect()
    }

    /// Notes what a container has.
    pub(super) fn hold(&mut self, held: Held) {
        self.release_one(&held.uid, &held.container, &held.resource);
        self.held.push(held);
    }

    /// What was held for a container is free again: the plugin refused.
    pub(super) fn release_one(&mut self, uid: &str, container: &str, resource: &str) {
        self.held.retain(|held| {
            (held.uid.as_str(), held.container.as_str(), held.resource.as_str()) != (uid, container, resource)
        });
    }

    /// What a Pod had is free again. Whether it had anything.
    pub(super) fn release(&mut self, uid: &str) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.uid != uid);
        self.held.len() != before
    }

    /// What the container needs for everything it has.
    pub(super) fn of_container(&self, uid: &str, container: &str) -> Allocation {
        let mut all = Allocation::default();
        let own = self.held.iter().filter(|held| held.uid == uid && held.container == container);
        own.for_each(|held| all.add(&held.allocation));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: &str = "sampan.test/gpu";

    fn ids(text: &str) -> Ids {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Devices 0 to 3, of which 3 is not healthy; another Pod has 0.
    fn ledger() -> Ledger {
        let devices = ["0", "1", "2", "3"].map(|id| (id.to_owned(), id != "3")).into();
        let mut ledger = Ledger::default();
        ledger.set(GPU, Known { devices, ..Known::default() });
        hold(&mut ledger, "other", "c", "0");
        ledger
    }

    fn hold(ledger: &mut Ledger, uid: &str, container: &str, held: &str) {
        ledger.hold(Held {
            uid: uid.into(),
            container: container.into(),
            resource: GPU.into(),
            ids: ids(held),
            allocation: Allocation::default(),
        });
    }

    fn wish(count: usize) -> Wish<'static> {
        Wish { uid: "u", container: "c", resource: GPU, count }
    }

    #[track_caller]
    fn check(ledger: &Ledger, count: usize, reusable: &str, preferred: &str, want: Result<&str, &str>) {
        let preferred: Vec<String> = ids(preferred).into_iter().collect();
        let got = ledger.choose(wish(count), &ids(reusable));
        let got = got.map(|choice| choice.map(|choice| choice.take(&preferred)).unwrap_or_default());
        assert_eq!(got, want.map(ids).map_err(str::to_owned));
    }

    #[test]
    fn devices_are_chosen() {
        let all = ledger();
        check(&all, 0, "", "", Ok(""));
        check(&all, 1, "", "", Ok("1"));
        check(&all, 1, "", "2", Ok("2"));
        check(&all, 1, "", "0 3", Ok("1"));
        check(&all, 2, "", "2", Ok("1 2"));
        let short = "requested number of devices unavailable for sampan.test/gpu. Requested: 3, Available: 2";
        check(&all, 3, "", "", Err(short));
    }

    #[test]
    fn what_init_containers_had_comes_first() {
        let mut all = ledger();
        hold(&mut all, "u", "init", "2");
        check(&all, 1, "2", "1", Ok("2"));
        check(&all, 2, "2", "", Ok("1 2"));
        check(&all, 1, "", "", Ok("1"));
    }

    #[test]
    fn a_container_keeps_what_it_has() {
        let mut all = ledger();
        hold(&mut all, "u", "c", "1");
        check(&all, 1, "", "", Ok(""));
        let changed = "pod \"u\" container \"c\" changed request for resource \"sampan.test/gpu\" from 1 to 2";
        check(&all, 2, "", "", Err(changed));
        assert!(all.release("u") && !all.release("u"));
        check(&all, 2, "", "", Ok("1 2"));
    }

    #[test]
    fn plugins_go_and_are_forgotten() {
        let mut all = ledger();
        assert_eq!(all.counts(), [(GPU.to_owned(), (4, 3))].into());
        all.mark_gone(GPU);
        assert_eq!(all.counts(), [(GPU.to_owned(), (4, 0))].into());
        let none = "no healthy devices present; cannot allocate unhealthy devices sampan.test/gpu";
        check(&all, 1, "", "", Err(none));
        all.forget(GPU);
        assert_eq!(all.counts(), [(GPU.to_owned(), (0, 0))].into());
        let unknown = Wish { resource: "a.test/b", ..wish(1) };
        let why = "cannot allocate unregistered device a.test/b";
        assert_eq!(all.choose(unknown, &Ids::new()), Err(why.to_owned()));
    }
}
