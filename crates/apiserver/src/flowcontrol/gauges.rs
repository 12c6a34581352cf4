//! What `/metrics` says of the levels.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::busy::Busy;
use super::level::{Level, Seen};
use super::queues::QueueDigest;
use super::timing::Timing;
use crate::metrics::{Form, Text};

/// Writes what can be seen of the levels, by name.
pub(super) fn write(text: &mut Text, levels: &BTreeMap<String, Arc<Level>>, fair_fraction: f64, now_s: f64) {
    let levels: Vec<(&str, Seen)> = levels.values().map(|level| (&*level.name, level.seen(now_s))).collect();
    for (name, help, value) in GAUGES {
        text.family(Form::Gauge, name, help);
        for (level, seen) in &levels {
            text.sample(&[("priority_level", level)], value(seen));
        }
    }
    for (name, help, start) in BOUNDS {
        text.family(Form::Gauge, name, help);
        for (level, seen) in &levels {
            let waiting = seen.digest.queues.iter().filter(|queue| queue.waiting > 0).map(start);
            for (bound, value) in [("max", waiting.clone().reduce(f64::max)), ("min", waiting.reduce(f64::min))] {
                value.into_iter().for_each(|value| text.sample(&[("bound", bound), ("priority_level", level)], value));
            }
        }
    }
    text.family(
        Form::Counter,
        "apiserver_flowcontrol_epoch_advance_total",
        "Number of times the queueset's progress meter jumped backward",
    );
    for (level, Seen { digest, .. }) in levels.iter().filter(|(_, seen)| seen.digest.epochs > 0) {
        text.sample(&[("priority_level", level), ("success", "true")], digest.epochs);
    }
    text.single(
        Form::Gauge,
        "apiserver_flowcontrol_seat_fair_frac",
        "Fair fraction of server's concurrency to allocate to each priority level that can use it",
        fair_fraction,
    );
    for (name, help, parts) in TIMINGS {
        text.family(Form::Histogram, name, help);
        for (level, seen) in &levels {
            for (phase, timing) in *parts {
                let labels = phase.map(|phase| ("phase", phase)).into_iter().chain([("priority_level", *level)]);
                timing(&seen.busy).write(text, &labels.collect::<Vec<_>>());
            }
        }
    }
}

type Gauge = (&'static str, &'static str, fn(&Seen) -> f64);

const GAUGES: [Gauge; 12] = [
    (
        "apiserver_flowcontrol_nominal_limit_seats",
        "Nominal number of execution seats configured for each priority level",
        |seen| seen.limits.nominal.into(),
    ),
    (
        "apiserver_flowcontrol_lower_limit_seats",
        "Configured lower bound on number of execution seats available to each priority level",
        |seen| seen.limits.lower.into(),
    ),
    (
        "apiserver_flowcontrol_upper_limit_seats",
        "Configured upper bound on number of execution seats available to each priority level",
        |seen| seen.limits.upper.into(),
    ),
    (
        "apiserver_flowcontrol_current_limit_seats",
        "current derived number of execution seats available to each priority level",
        |seen| seen.current.into(),
    ),
    (
        "apiserver_flowcontrol_demand_seats_high_watermark",
        "High watermark, over last adjustment period, of demand_seats",
        |seen| seen.wanted.high_watermark.into(),
    ),
    (
        "apiserver_flowcontrol_demand_seats_average",
        "Time-weighted average, over last adjustment period, of demand_seats",
        |seen| seen.wanted.average,
    ),
    (
        "apiserver_flowcontrol_demand_seats_stdev",
        "Time-weighted standard deviation, over last adjustment period, of demand_seats",
        |seen| seen.wanted.deviation,
    ),
    ("apiserver_flowcontrol_demand_seats_smoothed", "Smoothed seat demands", |seen| seen.wanted.smoothed),
    ("apiserver_flowcontrol_target_seats", "Seat allocation targets", |seen| seen.target),
    ("apiserver_flowcontrol_current_r", "R(time of last change)", |seen| seen.digest.virtual_s),
    ("apiserver_flowcontrol_dispatch_r", "R(time of last dispatch)", |seen| seen.digest.let_in.0),
    ("apiserver_flowcontrol_latest_s", "S(most recently dispatched request)", |seen| seen.digest.let_in.1),
];

type Bound = (&'static str, &'static str, fn(&QueueDigest) -> f64);

const BOUNDS: [Bound; 2] = [
    (
        "apiserver_flowcontrol_next_s_bounds",
        "min and max, over queues, of S(oldest waiting request in queue)",
        |queue| queue.next_start,
    ),
    (
        "apiserver_flowcontrol_next_discounted_s_bounds",
        "min and max, over queues, of S(oldest waiting request in queue) - estimated work in progress",
        |queue| queue.next_start - queue.in_progress,
    ),
];

type Phase = (Option<&'static str>, fn(&Busy) -> &Timing);

const TIMINGS: &[(&str, &str, &[Phase])] = &[
    (
        "apiserver_flowcontrol_priority_level_seat_utilization",
        "Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)",
        &[(Some("executing"), |busy| &busy.seats)],
    ),
    (
        "apiserver_flowcontrol_priority_level_request_utilization",
        "Observations, at the end of every nanosecond, of number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but only initial stage for WATCHes)",
        &[(Some("executing"), |busy| &busy.executing), (Some("waiting"), |busy| &busy.waiting)],
    ),
    (
        "apiserver_flowcontrol_demand_seats",
        "Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)",
        &[(None, |busy| &busy.demand)],
    ),
];
