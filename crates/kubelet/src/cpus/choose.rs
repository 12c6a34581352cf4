//! Which processors to take: whole sockets, then whole cores, then single threads, each where least is left over, so that
//! what is shared stays in one piece. Pure.

use super::CpuSet;
use super::topology::{Core, Topology};

/// `count` of the processors in `free`; nothing if there are not so many.
pub(super) fn choose(topology: &Topology, free: &CpuSet, count: usize) -> Option<CpuSet> {
    if free.len() < count {
        return None;
    }
    let mut taken = CpuSet::default();
    for part in sockets(topology).into_iter().chain(cores(topology, free)) {
        if part.len() <= count - taken.len() && part.minus(&free.minus(&taken)).is_empty() {
            taken = taken.and(&part);
        }
    }
    let left = free.minus(&taken);
    let threads = cores(topology, &left).into_iter().flat_map(|core| core.within(&left).iter().collect::<Vec<_>>());
    Some(taken.and(&threads.take(count - taken.len()).collect()))
}

fn sockets(topology: &Topology) -> Vec<CpuSet> {
    let mut sockets: Vec<(u32, CpuSet)> = Vec::new();
    for (Core { socket, .. }, threads) in topology.cores() {
        match sockets.last_mut() {
            Some((last, cpus)) if *last == socket => *cpus = cpus.and(&threads),
            _ => sockets.push((socket, threads)),
        }
    }
    sockets.into_iter().map(|(_, cpus)| cpus).collect()
}

/// The cores, those of the fullest sockets first, and of these the fullest first.
fn cores(topology: &Topology, free: &CpuSet) -> Vec<CpuSet> {
    let all = topology.cores();
    let in_socket = |socket: u32| {
        let cores = all.iter().filter(move |(core, _)| core.socket == socket);
        cores.map(|(_, threads)| threads.within(free).len()).sum::<usize>()
    };
    let mut cores: Vec<(&Core, &CpuSet)> = all.iter().collect();
    cores.sort_by_key(|(core, threads)| (in_socket(core.socket), core.socket, threads.within(free).len(), core.core));
    cores.into_iter().map(|(_, threads)| threads.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets of two cores with two threads each: cores are 0,4 1,5 (socket 0) and 2,6 3,7 (socket 1).
    fn machine() -> Topology {
        Topology::of((0..8).map(|cpu| (cpu, Core { socket: cpu % 4 / 2, core: cpu % 4 })))
    }

    #[track_caller]
    fn check(free: &str, count: usize, want: &str) {
        let chosen = choose(&machine(), &free.parse().unwrap(), count);
        assert_eq!(chosen.map(|set| set.to_string()).as_deref().unwrap_or("none"), want, "{count} of {free}");
    }

    #[test]
    fn whole_parts_are_taken_first() {
        check("0-7", 0, "");
        check("0-7", 4, "0-1,4-5");
        check("0-7", 8, "0-7");
        check("0-7", 2, "0,4");
        check("0-7", 6, "0-2,4-6");
        check("1-7", 4, "2-3,6-7");
        check("1-7", 1, "4");
        check("1-7", 3, "1,4-5");
        check("1,5-7", 2, "1,5");
        check("1-3", 4, "none");
    }
}
