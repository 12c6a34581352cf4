//! What is counted of the requests of one schema at one level.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::metrics::{Form, Histogram, Text};

use super::queues::Reason;

/// Bounds, upstream's.
const DURATIONS_S: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const LENGTHS: &[f64] = &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const WATCHERS: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];

impl Reason {
    const ALL: [Self; 4] = [Self::ConcurrencyLimit, Self::QueueFull, Self::TimeOut, Self::Cancelled];

    fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The counters.
#[derive(Debug)]
pub(super) struct Stats {
    dispatched: AtomicU64,
    found_no_room: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    waiting: Gauges,
    executing: Gauges,
    waited_executed_s: Histogram,
    waited_refused_s: Histogram,
    regular_s: Histogram,
    watch_s: Histogram,
    estimated_seats: Histogram,
    queue_length: Histogram,
    watchers: Histogram,
}

/// Requests and their seats, now.
#[derive(Debug, Default)]
struct Gauges {
    requests: AtomicI64,
    seats: AtomicI64,
}

impl Gauges {
    fn add(&self, requests: i64, seats: u32) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
        self.seats.fetch_add(requests * i64::from(seats), Ordering::Relaxed);
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            dispatched: AtomicU64::new(0),
            found_no_room: AtomicU64::new(0),
            refused: Default::default(),
            waiting: Gauges::default(),
            executing: Gauges::default(),
            waited_executed_s: Histogram::new(DURATIONS_S),
            waited_refused_s: Histogram::new(DURATIONS_S),
            regular_s: Histogram::new(DURATIONS_S),
            watch_s: Histogram::new(DURATIONS_S),
            estimated_seats: Histogram::new(SEATS),
            queue_length: Histogram::new(LENGTHS),
            watchers: Histogram::new(WATCHERS),
        }
    }
}

impl Stats {
    /// A request of so many seats has come.
    pub(super) fn estimated(&self, seats: u32) {
        self.estimated_seats.observe(f64::from(seats));
    }

    /// A queue is so long now that a request has come into it.
    pub(super) fn queued(&self, length: usize) {
        self.queue_length.observe(length as f64);
    }

    /// So many watch what a request writes.
    pub(super) fn watched(&self, watchers: u64) {
        self.watchers.observe(watchers as f64);
    }

    /// One waits from now on (1), or no longer does (-1).
    pub(super) fn waits(&self, requests: i64, seats: u32) {
        self.waiting.add(requests, seats);
    }

    /// One runs, after that long a wait; exempt ones never wait.
    pub(super) fn runs(&self, seats: u32, waited_s: Option<f64>) {
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        self.executing.add(1, seats);
        if let Some(waited_s) = waited_s {
            self.waited_executed_s.observe(waited_s);
        }
    }

    /// It was one's turn, but there were too few free seats for it.
    pub(super) fn found_no_room(&self) {
        self.found_no_room.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    #[cfg(test)]
    pub(super) fn without_room(&self) -> u64 {
        self.found_no_room.load(Ordering::Relaxed)
    }

    /// One that ran has answered.
    pub(super) fn answered(&self, is_watch: bool, took_s: f64) {
        if is_watch { &self.watch_s } else { &self.regular_s }.observe(took_s);
    }

    /// Its seats are free.
    pub(super) fn freed(&self, seats: u32) {
        self.executing.add(-1, seats);
    }

    /// One was refused, after that long a wait.
    pub(super) fn refused(&self, reason: Reason, waited_s: f64) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.waited_refused_s.observe(waited_s);
    }
}

/// Writes those of all schemas: level, schema, counters.
pub(super) fn write(text: &mut Text, all: &[(&str, &str, &Stats)]) {
    let labels = |(level, schema, _): &(&'_ str, &'_ str, &Stats)| -> [(&'static str, String); 2] {
        [("flow_schema", (*schema).to_owned()), ("priority_level", (*level).to_owned())]
    };
    let family = |text: &mut Text, form, name, help, value: &dyn Fn(&Stats) -> i64| {
        text.family(form, name, help);
        for row in all {
            let labels = labels(row);
            text.sample(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), value(row.2));
        }
    };
    let load = |counter: &AtomicI64| counter.load(Ordering::Relaxed);
    family(
        text,
        Form::Gauge,
        "apiserver_flowcontrol_current_executing_requests",
        "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
        &|stats| load(&stats.executing.requests),
    );
    family(
        text,
        Form::Gauge,
        "apiserver_flowcontrol_current_executing_seats",
        "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
        &|stats| load(&stats.executing.seats),
    );
    family(
        text,
        Form::Gauge,
        "apiserver_flowcontrol_current_inqueue_requests",
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        &|stats| load(&stats.waiting.requests),
    );
    family(
        text,
        Form::Gauge,
        "apiserver_flowcontrol_current_inqueue_seats",
        "Number of seats currently pending in queues of the API Priority and Fairness subsystem",
        &|stats| load(&stats.waiting.seats),
    );
    family(
        text,
        Form::Counter,
        "apiserver_flowcontrol_dispatched_requests_total",
        "Number of requests executed by API Priority and Fairness subsystem",
        &|stats| stats.dispatched.load(Ordering::Relaxed).cast_signed(),
    );
    family(
        text,
        Form::Counter,
        "apiserver_flowcontrol_request_dispatch_no_accommodation_total",
        "Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats",
        &|stats| stats.found_no_room.load(Ordering::Relaxed).cast_signed(),
    );
    text.family(
        Form::Counter,
        "apiserver_flowcontrol_rejected_requests_total",
        "Number of requests rejected by API Priority and Fairness subsystem",
    );
    for row @ (_, _, stats) in all {
        for reason in Reason::ALL {
            let count = stats.refused[reason as usize].load(Ordering::Relaxed);
            if count > 0 {
                let labels = labels(row);
                let [schema, level] = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
                text.sample(&[schema, level, ("reason", reason.as_str())], count);
            }
        }
    }
    histograms(text, all);
}

fn histograms(text: &mut Text, all: &[(&str, &str, &Stats)]) {
    type Pick = fn(&Stats) -> &Histogram;
    let mut family = |name, help, parts: &[(Option<(&'static str, &'static str)>, Pick)]| {
        text.family(Form::Histogram, name, help);
        for (level, schema, stats) in all {
            for (label, pick) in parts {
                let own = [("flow_schema", *schema), ("priority_level", *level)];
                let labels: Vec<_> = own.into_iter().chain(*label).collect();
                pick(stats).write(text, &labels);
            }
        }
    };
    family(
        "apiserver_flowcontrol_request_wait_duration_seconds",
        "Length of time a request spent waiting in its queue",
        &[
            (Some(("execute", "true")), |stats| &stats.waited_executed_s),
            (Some(("execute", "false")), |stats| &stats.waited_refused_s),
        ],
    );
    family(
        "apiserver_flowcontrol_request_execution_seconds",
        "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem",
        &[(Some(("type", "regular")), |stats| &stats.regular_s), (Some(("type", "watch")), |stats| &stats.watch_s)],
    );
    family(
        "apiserver_flowcontrol_work_estimated_seats",
        "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness",
        &[(None, |stats| &stats.estimated_seats)],
    );
    family(
        "apiserver_flowcontrol_request_queue_length_after_enqueue",
        "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued",
        &[(None, |stats| &stats.queue_length)],
    );
    family(
        "apiserver_flowcontrol_watch_count_samples",
        "count of watchers for mutating requests in API Priority and Fairness",
        &[(None, |stats| &stats.watchers)],
    );
}
