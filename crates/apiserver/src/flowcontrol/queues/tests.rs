use std::time::Duration;

use super::*;

const QUEUING: Queuing = Queuing { queues: 64, hand_size: 4, length_limit: 50 };

/// A server with requests that take their time, and flows that come back whenever they are answered.
struct Simulation {
    queues: Queues<(usize, u64)>,
    flows: Vec<Flow>,
    /// When what runs will end: time, flow, queue, when it began.
    running: Vec<(f64, usize, u32, f64)>,
    now_s: f64,
}

struct Flow {
    hash: u64,
    work: Work,
    takes_s: f64,
    answered: usize,
    refused: usize,
}

impl Simulation {
    fn new(seats: u32, queuing: Queuing) -> Self {
        let queues = Queues::new(Shape::Queue(queuing), seats);
        Self { queues, flows: Vec::new(), running: Vec::new(), now_s: 0.0 }
    }

    /// A flow with `outstanding` requests at any time.
    fn flow(&mut self, outstanding: usize, seats: u32, takes_s: f64) -> usize {
        let flow = self.flows.len();
        // Hashes that are far apart; they need not be dealt different hands.
        let hash = (flow as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let work = Work { seats, tail: Duration::ZERO };
        self.flows.push(Flow { hash, work, takes_s, answered: 0, refused: 0 });
        (0..outstanding).for_each(|_| self.send(flow));
        flow
    }

    fn send(&mut self, flow: usize) {
        let Flow { hash, work, .. } = self.flows[flow];
        let next = self.queues.arrived + 1;
        match self.queues.arrive(self.now_s, hash, work, || (flow, next)) {
            Arrival::Runs(place) => self.run(flow, place.queue),
            Arrival::Waits(..) => {}
            Arrival::Refused(_) => self.flows[flow].refused += 1,
        }
    }

    fn run(&mut self, flow: usize, queue: u32) {
        self.running.push((self.now_s + self.flows[flow].takes_s, flow, queue, self.now_s));
    }

    fn until(&mut self, end_s: f64) {
        while self.now_s < end_s {
            self.running.sort_by(|a, b| b.0.total_cmp(&a.0));
            let Some((at, flow, queue, began)) = self.running.pop() else { return };
            self.now_s = at;
            self.flows[flow].answered += 1;
            self.queues.finish(at, queue, self.flows[flow].work, at - began);
            self.send(flow);
            while let Some((flow, _)) = self.queues.next(self.now_s) {
                let turn = self.queues.last;
                self.run(flow, turn);
            }
        }
    }

    fn answered(&self, flow: usize) -> usize {
        self.flows[flow].answered
    }
}

#[test]
fn an_elephant_does_not_starve_a_mouse() {
    let mut server = Simulation::new(10, QUEUING);
    let elephant = server.flow(150, 1, 0.010);
    let mouse = server.flow(1, 1, 0.010);
    server.until(60.0);
    // Ten seats for a minute are 60,000 requests. The mouse has one at a time, and waits for no longer than a seat
    // takes to become free: it gets nearly as many as it could.
    assert!(server.answered(mouse) > 2_900, "{}", server.answered(mouse));
    assert!(server.answered(elephant) > 50_000, "{}", server.answered(elephant));
}

#[test]
fn equals_get_the_same() {
    let mut server = Simulation::new(5, QUEUING);
    let flows: Vec<usize> = (0..4).map(|_| server.flow(40, 1, 0.020)).collect();
    server.until(60.0);
    let answered: Vec<usize> = flows.iter().map(|flow| server.answered(*flow)).collect();
    assert!(answered.iter().all(|answered| (3_000..4_500).contains(answered)), "{answered:?}");
    assert!(answered.iter().sum::<usize>() >= 14_990, "no seat is ever idle: {answered:?}");
}

#[test]
fn what_takes_long_or_wide_gets_fewer_turns() {
    let queuing = Queuing { queues: 64, hand_size: 1, length_limit: 50 };
    let mut server = Simulation::new(4, queuing);
    let (short, long) = (server.flow(20, 1, 0.010), server.flow(20, 1, 0.040));
    server.until(60.0);
    let ratio = server.answered(short) as f64 / server.answered(long) as f64;
    assert!((3.0..5.0).contains(&ratio), "{ratio}");

    let mut server = Simulation::new(4, queuing);
    let (narrow, wide) = (server.flow(20, 1, 0.010), server.flow(20, 4, 0.010));
    server.until(60.0);
    let ratio = server.answered(narrow) as f64 / server.answered(wide) as f64;
    assert!((2.0..6.0).contains(&ratio), "{ratio}");
    assert!(server.answered(wide) > 500, "who wants every seat gets them: {}", server.answered(wide));
}

#[test]
fn idle_time_is_not_saved_up() {
    let queuing = Queuing { queues: 64, hand_size: 1, length_limit: 1000 };
    let mut server = Simulation::new(1, queuing);
    let busy = server.flow(20, 1, 0.010);
    server.until(100.0);
    let late = server.flow(20, 1, 0.010);
    let (before_busy, before) = (server.answered(busy), server.answered(late));
    server.until(101.0);
    let (busy, late) = (server.answered(busy) - before_busy, server.answered(late) - before);
    assert!(busy.abs_diff(late) < 10, "{busy} {late}");
}

fn place(arrival: Arrival) -> Queued {
    match arrival {
        Arrival::Runs(place) | Arrival::Waits(place, _) => place,
        Arrival::Refused(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn limits() {
    let mut reject = Queues::new(Shape::Reject, 2);
    let first = place(reject.arrive(0.0, 0, Work::ONE, || ()));
    assert!(matches!(reject.arrive(0.0, 0, Work::ONE, || ()), Arrival::Runs(_)));
    assert_eq!(reject.arrive(0.0, 0, Work::ONE, || ()), Arrival::Refused(Reason::ConcurrencyLimit));
    reject.finish(0.1, first.queue, Work::ONE, 0.1);
    assert!(matches!(reject.arrive(0.1, 0, Work::ONE, || ()), Arrival::Runs(_)));

    let mut queue = Queues::new(Shape::Queue(Queuing { queues: 2, hand_size: 2, length_limit: 2 }), 1);
    assert!(matches!(queue.arrive(0.0, 0, Work::ONE, || 0), Arrival::Runs(_)));
    for waits in 1..=4 {
        assert!(matches!(queue.arrive(0.0, 0, Work::ONE, || waits), Arrival::Waits(..)), "{waits}: two in each queue");
    }
    assert_eq!(queue.arrive(0.0, 0, Work::ONE, || 5), Arrival::Refused(Reason::QueueFull));
    assert_eq!((queue.demand(), queue.next(1.0)), (5, None));

    let mut exempt = Queues::new(Shape::Exempt, 0);
    for _ in 0..100 {
        assert!(matches!(exempt.arrive(0.0, 0, Work::ONE, || ()), Arrival::Runs(_)));
    }
}

#[test]
fn a_level_without_seats_still_serves_one_at_a_time() {
    let mut queues = Queues::new(Shape::Queue(QUEUING), 0);
    let first = place(queues.arrive(0.0, 7, Work::ONE, || 1));
    let wide = Work { seats: 10, ..Work::ONE };
    place(queues.arrive(0.0, 8, wide, || 2));
    assert_eq!(queues.next(0.0), None);
    queues.finish(1.0, first.queue, Work::ONE, 1.0);
    assert_eq!(queues.next(1.0), Some(2));
}

#[test]
fn who_leaves_is_not_served() {
    let mut queues = Queues::new(Shape::Queue(QUEUING), 1);
    let first = place(queues.arrive(0.0, 7, Work::ONE, || 1));
    let second = place(queues.arrive(0.0, 7, Work::ONE, || 2));
    place(queues.arrive(0.0, 7, Work::ONE, || 3));
    assert!(queues.leave(0.1, second));
    assert!(!queues.leave(0.1, second), "it is gone");
    assert!(!queues.leave(0.1, first), "it runs");
    queues.finish(0.2, first.queue, Work::ONE, 0.2);
    assert_eq!((queues.next(0.2), queues.next(0.2)), (Some(3), None));
}

#[test]
fn more_seats_let_more_in_and_nothing_is_left_behind() {
    let mut queues = Queues::new(Shape::Queue(QUEUING), 1);
    let places: Vec<Queued> = (0..5).map(|flow| place(queues.arrive(0.0, flow, Work::ONE, || flow))).collect();
    queues.set_limit(1.0, 3);
    assert!(queues.next(1.0).is_some() && queues.next(1.0).is_some() && queues.next(1.0).is_none());
    queues.set_limit(1.0, 5);
    assert!(queues.next(1.0).is_some() && queues.next(1.0).is_some() && queues.next(1.0).is_none());
    places.iter().for_each(|place| queues.finish(2.0, place.queue, Work::ONE, 1.0));
    assert!(queues.queues.is_empty() && queues.demand() == 0);
}

#[test]
fn whose_turn_it_is_may_be_too_large() {
    let mut queues = Queues::new(Shape::Queue(QUEUING), 3);
    let work = |seats| Work { seats, tail: Duration::ZERO };
    assert!(matches!(queues.arrive(0.0, 1, work(2), || 0), Arrival::Runs(_)));
    assert_eq!(queues.too_large(), None, "nobody waits");
    assert!(matches!(queues.arrive(0.0, 2, work(2), || 1), Arrival::Waits(..)));
    assert_eq!((queues.next(0.0), queues.too_large()), (None, Some(&1)));
    queues.set_limit(0.0, 2);
    assert_eq!(queues.too_large(), None, "no seat is free");
    queues.set_limit(0.0, 4);
    assert_eq!((queues.next(0.0), queues.too_large()), (Some(1), None));
}

#[test]
fn virtual_time_that_begins_anew_changes_nobodys_turn() {
    let order = |begun_at: f64| {
        let mut simulation = Simulation::new(1, QUEUING);
        simulation.queues.virtual_s = begun_at;
        let flows = [(3, 1, 0.5), (1, 1, 1.5), (2, 2, 0.25)]
            .map(|(outstanding, seats, takes_s)| simulation.flow(outstanding, seats, takes_s));
        simulation.until(20.0);
        (flows.map(|flow| simulation.flows[flow].answered), simulation.queues.digest())
    };
    let (usual, digest) = order(0.0);
    assert_eq!(digest.epochs, 0);
    let (anew, digest) = order(EPOCH_S - 2.0);
    assert_eq!((anew, digest.epochs), (usual, 1));
    let (next, now) = (digest.queues[0].next_start, digest.virtual_s);
    assert!((0.0..20.0).contains(&now) && (-5.0..25.0).contains(&next), "{next} {now}");
}
