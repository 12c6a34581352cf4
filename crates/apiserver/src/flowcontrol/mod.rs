//! API priority and fairness: which requests run now, which wait, which are turned away.
//!
//! ```text
//! request -> FlowSchema (rules) -> priority level -> its seats are free: runs
//!                                        |          none is, and it has queues: waits in one of its flow's (shard, queues)
//!                                        |          none is, and it has no queues, or that one is full: 429
//!                                        +-- seats by shares, lent and borrowed by demand (shares, demand)
//! ```
//! Everything that decides is pure; [`FlowControl`] is the thin part that holds it in step with the stored objects
//! (`follow`), lets requests wait, and gives seats back. A request that finds a free seat pays for a look through the
//! schemas, one short lock when it comes and one when it goes, and some counters.
//!
//! Requests without a foreseeable end are not limited, but for the start of a watch.

mod bootstrap;
mod busy;
mod config;
mod demand;
mod dump;
mod follow;
mod gauges;
mod in_flight;
mod level;
mod queues;
mod retry_after;
mod rules;
mod shard;
mod shares;
mod stats;
mod timing;
mod work;

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::api::flowcontrol::v1::FlowSchemaSpec;
use parking_lot::RwLock;
use sampan_api::status::Status;
use sampan_auth::Identity;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use self::bootstrap::{ensure, keep};
pub(crate) use self::follow::follow;
use self::in_flight::InFlight;
use self::level::{Entered, Level};
use self::queues::{Queued, Reason};
use self::stats::Stats;
pub(crate) use self::work::Sort;
use self::work::Work;
use crate::metrics::{Form, Text};
use crate::request::RequestInfo;

/// The API group of the configuration.
const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Nobody waits longer: a quarter of the time that a request has.
const MAX_WAIT: Duration = Duration::from_secs(15);
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// The requests of this server, under control.
pub(crate) struct FlowControl {
    seats: u32,
    config: RwLock<Arc<Config>>,
    secret: RandomState,
    began: Instant,
    pressed: Arc<Notify>,
    /// By how much of their targets levels have got, when seats were divided last; the bits of a double.
    fair_fraction: AtomicU64,
    read_only: InFlight,
    mutating: InFlight,
    /// Seats that outlast their requests.
    tails: TaskTracker,
    runtime: tokio::runtime::Handle,
}

/// The configuration in force.
#[derive(Default)]
struct Config {
    /// In the order in which their schemas are tried.
    flows: Vec<Arc<Flow>>,
    levels: BTreeMap<String, Arc<Level>>,
}

/// A FlowSchema, and the level that it leads to.
pub(crate) struct Flow {
    schema: String,
    spec: FlowSchemaSpec,
    level: Arc<Level>,
    /// Whether its level limits nothing.
    exempt: bool,
    /// Whether flows are told apart there.
    queues: bool,
    max_seats: u32,
    schema_uid: HeaderValue,
    level_uid: HeaderValue,
    stats: Arc<Stats>,
}

impl Flow {
    /// Tells the client which schema and level its request belongs to.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(SCHEMA_UID, self.schema_uid.clone());
        headers.insert(LEVEL_UID, self.level_uid.clone());
    }

    /// Whether its requests are never limited.
    pub(crate) fn is_exempt(&self) -> bool {
        self.exempt
    }
}

/// A request that wants to run.
pub(crate) struct Wish<'r> {
    /// Who sent it.
    pub(crate) who: &'r Identity,
    /// What it is about.
    pub(crate) info: &'r RequestInfo,
    /// What it takes.
    pub(crate) sort: Sort,
}

impl FlowControl {
    /// With so many seats for all requests together. [`follow()`] has to be run beside it.
    pub(crate) fn new(seats: u32) -> Self {
        Self {
            seats,
            config: RwLock::default(),
            secret: RandomState::new(),
            began: Instant::now(),
            pressed: Arc::default(),
            fair_fraction: AtomicU64::default(),
            read_only: InFlight::default(),
            mutating: InFlight::default(),
            tails: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// The schema of a request. There is always one: what no other is for belongs to `catch-all`.
    pub(crate) fn classify(&self, who: &Identity, info: &RequestInfo) -> Option<Arc<Flow>> {
        let config = self.config.read();
        let found = config.flows.iter().find(|flow| rules::matches(&flow.spec, who, info));
        let catch_all = || config.flows.iter().find(|flow| flow.schema == config::MANDATORY[1]);
        found.or_else(catch_all).cloned()
    }

    /// A seat for the request, when there is one for it; 429 if not in time.
    pub(crate) async fn admit(self: &Arc<Self>, flow: &Arc<Flow>, wish: Wish<'_>) -> Result<Seat, Status> {
        let work = Work::of(wish.sort, flow.max_seats);
        flow.stats.estimated(work.seats);
        if let Sort::Write { watchers } = wish.sort {
            flow.stats.watched(watchers);
        }
        let hash = match flow.queues {
            true => shard::flow_hash(&self.secret, &flow.schema, rules::distinguisher(&flow.spec, wish.who, wish.info)),
            false => 0,
        };
        let now_s = self.now_s();
        let seat = |queued, waited_s| Seat::take(self, flow, (queued, work), wish.info, waited_s);
        match flow.level.enter(now_s, hash, work, &flow.stats) {
            Ok(Entered::Runs(queued)) => {
                if flow.queues {
                    flow.stats.queued(1);
                }
                Ok(seat(queued, 0.0))
            }
            Ok(Entered::Waits(queued, length, receiver)) => {
                flow.stats.queued(length);
                let place = Place::take(self, flow, (queued, work), wish.info);
                let granted = matches!(tokio::time::timeout(MAX_WAIT, receiver).await, Ok(Ok(())));
                let waited_s = self.now_s() - now_s;
                match place.give_up(granted) {
                    Ok(()) => Ok(seat(queued, waited_s)),
                    Err(reason) => Err(self.refuse(flow, reason, waited_s)),
                }
            }
            Err(reason) => Err(self.refuse(flow, reason, 0.0)),
        }
    }

    fn refuse(&self, flow: &Flow, reason: Reason, waited_s: f64) -> Status {
        flow.stats.refused(reason, waited_s);
        let again_s = flow.level.retry_after_s(self.now_s());
        Status::too_many_requests("Too many requests, please try again later.", again_s)
    }

    fn in_flight(&self, info: &RequestInfo) -> &InFlight {
        if info.is_mutating() { &self.mutating } else { &self.read_only }
    }

    /// Returns when no seat outlasts its request any more.
    pub(crate) async fn shutdown(&self) {
        self.tails.close();
        self.tails.wait().await;
    }

    /// Writes what is counted here.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let kinds = [("mutating", &self.mutating), ("readOnly", &self.read_only)];
        text.family(Form::Gauge, "apiserver_current_inflight_requests", "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.");
        for (kind, in_flight) in kinds {
            text.sample(&[("request_kind", kind)], in_flight.executing.requests());
        }
        text.family(
            Form::Gauge,
            "apiserver_current_inqueue_requests",
            "Maximal number of queued requests in this apiserver per request kind in last second.",
        );
        for (kind, in_flight) in kinds {
            text.sample(&[("request_kind", kind)], in_flight.waiting.requests());
        }
        let now_s = self.now_s();
        in_flight::write(text, kinds, now_s);
        let config = Arc::clone(&self.config.read());
        let all: Vec<_> = config.flows.iter().map(|flow| (&*flow.level.name, &*flow.schema, &*flow.stats)).collect();
        stats::write(text, &all);
        let fair_fraction = f64::from_bits(self.fair_fraction.load(Ordering::Relaxed));
        gauges::write(text, &config.levels, fair_fraction, now_s);
    }
}

/// A seat: the request may run. Dropping it makes room for others.
pub(crate) struct Seat {
    control: Arc<FlowControl>,
    flow: Arc<Flow>,
    queued: Queued,
    work: Work,
    is_watch: bool,
    is_mutating: bool,
    began: Instant,
}

impl Seat {
    fn take(
        control: &Arc<FlowControl>,
        flow: &Arc<Flow>,
        (queued, work): (Queued, Work),
        info: &RequestInfo,
        waited_s: f64,
    ) -> Self {
        flow.stats.runs(work.seats, (!flow.exempt).then_some(waited_s));
        control.in_flight(info).executing.add(control.now_s(), 1);
        Self {
            control: Arc::clone(control),
            flow: Arc::clone(flow),
            queued,
            work,
            is_watch: info.verb == "watch",
            is_mutating: info.is_mutating(),
            began: Instant::now(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (control, flow) = (&self.control, &self.flow);
        let in_flight = if self.is_mutating { &control.mutating } else { &control.read_only };
        in_flight.executing.add(control.now_s(), -1);
        let took_s = self.began.elapsed().as_secs_f64();
        flow.stats.answered(self.is_watch, took_s);
        let (queued, work) = (self.queued, self.work);
        if work.tail.is_zero() {
            flow.free(control.now_s(), (queued, work), took_s);
            return;
        }
        let (control, flow) = (Arc::clone(control), Arc::clone(flow));
        let tail = async move {
            tokio::time::sleep(work.tail).await;
            flow.free(control.now_s(), (queued, work), took_s + work.tail.as_secs_f64());
        };
        self.control.tails.spawn_on(tail, &self.control.runtime);
    }
}

impl Flow {
    fn free(&self, now_s: f64, (queued, work): (Queued, Work), took_s: f64) {
        self.stats.freed(work.seats);
        self.level.finish(now_s, queued, work, took_s);
    }
}

/// The place of a request that waits. Dropping it, because the client has gone away, takes the request out.
struct Place<'c> {
    control: &'c FlowControl,
    flow: &'c Flow,
    queued: Queued,
    work: Work,
    in_flight: &'c InFlight,
    settled: bool,
}

impl<'c> Place<'c> {
    fn take(control: &'c FlowControl, flow: &'c Flow, (queued, work): (Queued, Work), info: &RequestInfo) -> Self {
        let in_flight = control.in_flight(info);
        in_flight.waiting.add(control.now_s(), 1);
        flow.stats.waits(1, work.seats);
        Self { control, flow, queued, work, in_flight, settled: false }
    }

    /// Stops waiting. `Ok` if the request runs now: it may have been let in at the very last moment.
    fn give_up(mut self, granted: bool) -> Result<(), Reason> {
        self.settled = true;
        if !granted && self.flow.level.leave(self.control.now_s(), self.queued, Reason::TimeOut) {
            return Err(Reason::TimeOut);
        }
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let now_s = self.control.now_s();
        self.in_flight.waiting.add(now_s, -1);
        self.flow.stats.waits(-1, self.work.seats);
        if self.settled {
            return;
        }
        if self.flow.level.leave(now_s, self.queued, Reason::Cancelled) {
            self.flow.stats.refused(Reason::Cancelled, 0.0);
        } else {
            // It was let in, and nobody is there any more.
            self.flow.level.finish(now_s, self.queued, self.work, 0.0);
        }
    }
}
