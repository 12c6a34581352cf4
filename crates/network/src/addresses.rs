//! Which sandbox has which address of the node's range. Pure; the kernel's links are its memory across restarts.
//!
//! Addresses go round: one that was given back is used again only after all others had their turn, so that what still
//! remembers it (connections, caches) forgets first.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::Error;

/// The addresses of one node.
#[derive(Debug)]
pub(crate) struct Pool {
    range: Ipv4Net,
    /// Where the next search begins.
    next: u32,
    reserved: BTreeSet<u32>,
    used: BTreeSet<u32>,
    by_sandbox: HashMap<String, Ipv4Addr>,
}

impl Pool {
    /// A pool of `range` without its network and broadcast addresses and without `reserved`; the search begins at
    /// `next` where that is inside the range.
    pub(crate) fn new(range: Ipv4Net, reserved: &[Ipv4Addr], next: Option<Ipv4Addr>) -> Self {
        let mut reserved: BTreeSet<u32> = reserved.iter().map(|address| address.to_bits()).collect();
        reserved.extend([range.network().to_bits(), range.broadcast().to_bits()]);
        let next = next.filter(|next| range.contains(next)).unwrap_or(range.network()).to_bits();
        Self { range, next, reserved, used: BTreeSet::new(), by_sandbox: HashMap::new() }
    }

    /// The sandbox's address: the one it has, or the next free one.
    pub(crate) fn take(&mut self, sandbox: &str) -> Result<Ipv4Addr, Error> {
        if let Some(address) = self.by_sandbox.get(sandbox) {
            return Ok(*address);
        }
        let address =
            self.search().ok_or_else(|| Error::Exhausted { range: self.range.to_string(), in_use: self.used.len() })?;
        self.next = address.saturating_add(1);
        self.record(sandbox, Ipv4Addr::from_bits(address));
        Ok(Ipv4Addr::from_bits(address))
    }

    /// Notes that `sandbox` has `address`, which was found in the kernel.
    pub(crate) fn record(&mut self, sandbox: &str, address: Ipv4Addr) {
        self.used.insert(address.to_bits());
        self.by_sandbox.insert(sandbox.to_owned(), address);
    }

    /// The sandbox's address, if it has one.
    pub(crate) fn get(&self, sandbox: &str) -> Option<Ipv4Addr> {
        self.by_sandbox.get(sandbox).copied()
    }

    /// Takes the sandbox's address back.
    pub(crate) fn give_back(&mut self, sandbox: &str) -> Option<Ipv4Addr> {
        let address = self.by_sandbox.remove(sandbox)?;
        self.used.remove(&address.to_bits());
        Some(address)
    }

    /// Every sandbox with its address.
    pub(crate) fn holders(&self) -> Vec<(String, Ipv4Addr)> {
        self.by_sandbox.iter().map(|(sandbox, address)| (sandbox.clone(), *address)).collect()
    }

    /// Where the next search begins: worth remembering across restarts.
    pub(crate) fn next(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.next)
    }

    fn search(&self) -> Option<u32> {
        let (first, last) = (self.range.network().to_bits(), self.range.broadcast().to_bits());
        let free = |address: &u32| !self.reserved.contains(address) && !self.used.contains(address);
        let next = self.next.clamp(first, last);
        (next..=last).find(free).or_else(|| (first..next).find(free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(next: Option<&str>) -> Pool {
        let gateway = Ipv4Addr::new(10, 42, 0, 1);
        Pool::new("10.42.0.0/29".parse().unwrap(), &[gateway], next.map(|next| next.parse().unwrap()))
    }

    fn last_octet(pool: &mut Pool, sandbox: &str) -> u8 {
        pool.take(sandbox).unwrap().octets()[3]
    }

    #[test]
    fn gateway_network_and_broadcast_are_never_given() {
        let mut pool = pool(None);
        let given: Vec<u8> = ["a", "b", "c", "d", "e"].iter().map(|name| last_octet(&mut pool, name)).collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        let full = pool.take("f").unwrap_err().to_string();
        assert_eq!(full, "no free address in 10.42.0.0/29: all 5 are in use");
    }

    #[test]
    fn a_sandbox_keeps_its_address() {
        let mut pool = pool(None);
        assert_eq!(last_octet(&mut pool, "a"), last_octet(&mut pool, "a"));
    }

    #[test]
    fn an_address_is_used_again_only_after_all_others() {
        let mut pool = pool(None);
        for expected in [2, 3, 4, 5, 6, 2, 3] {
            assert_eq!(last_octet(&mut pool, "a"), expected);
            pool.give_back("a");
        }
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut first = pool(None);
        last_octet(&mut first, "a");
        let mut second = pool(Some(&first.next().to_string()));
        second.record("a", Ipv4Addr::new(10, 42, 0, 2));
        assert_eq!(last_octet(&mut second, "b"), 3);
        assert_eq!(last_octet(&mut second, "a"), 2);
        assert_eq!(last_octet(&mut pool(Some("192.0.2.9")), "a"), 2, "a cursor of another range is ignored");
    }
}
