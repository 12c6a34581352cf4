//! Keeps the configuration in step with the stored objects, says of every FlowSchema whether its level exists, and moves
//! seats between levels while requests press for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;
use sampan_api::status::Status;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::config::{self, LevelPlan, Plan, SchemaPlan};
use super::level::Level;
use super::queues::Shape;
use super::shares;
use super::stats::Stats;
use super::work::max_seats;
use super::{Config, Flow, FlowControl, GROUP};
use crate::cache::{Filter, Room};
use crate::registry::{Attempt, Registry, built_in, conditions, metadata};

/// How often seats move between levels while requests press for them.
const PERIOD: Duration = Duration::from_secs(10);
/// So many periods after the last press, demand as it was then has lost its meaning.
const PERIODS: u32 = 30;
/// How long to wait before a status is written again after that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The rooms of the configuration's kinds.
fn rooms(registry: &Registry) -> Result<[Arc<Room>; 2], Status> {
    let room = |kind| registry.cache.room(built_in(GROUP, kind)?);
    Ok([room("PriorityLevelConfiguration")?, room("FlowSchema")?])
}

impl FlowControl {
    /// Takes over the stored configuration; what it says about each schema's level.
    pub(crate) fn configure(&self, registry: &Registry) -> Result<Vec<(String, String, bool)>, Status> {
        let [levels, schemas] = rooms(registry)?;
        let Plan { levels, schemas, dangling } = config::plan(self.seats, &read(&levels), &read(&schemas));
        let mut config = self.config.write();
        *config = Arc::new(self.next(&config, &levels, schemas));
        let executing = levels.iter().map(|level| level.limits.nominal as usize).sum();
        let waiting = levels.iter().map(|level| level.shape.capacity()).sum();
        for in_flight in [&self.read_only, &self.mutating] {
            in_flight.executing.set_limit(self.now_s(), executing);
            in_flight.waiting.set_limit(self.now_s(), waiting);
        }
        Ok(dangling)
    }

    /// The configuration after `now`: levels keep their requests, schemas what was counted of them.
    fn next(&self, now: &Config, levels: &[LevelPlan], schemas: Vec<SchemaPlan>) -> Config {
        let level = |plan: &LevelPlan| match now.levels.get(&plan.name) {
            Some(level) => {
                level.configure(self.now_s(), plan.shape, plan.limits);
                Arc::clone(level)
            }
            None => Arc::new(Level::new(&plan.name, plan.shape, plan.limits, Arc::clone(&self.pressed))),
        };
        let made: Vec<Arc<Level>> = levels.iter().map(level).collect();
        let flow = |schema: SchemaPlan| {
            let (plan, level) = (&levels[schema.level], &made[schema.level]);
            Arc::new(flow(schema, plan, level, now))
        };
        Config {
            flows: schemas.into_iter().map(flow).collect(),
            levels: made.iter().map(|level| (level.name.clone(), Arc::clone(level))).collect(),
        }
    }

    /// Moves seats to where they are wanted.
    fn adjust(&self) {
        let config = Arc::clone(&self.config.read());
        let now_s = self.now_s();
        let exempt =
            |level: &Arc<Level>| config.flows.iter().any(|flow| flow.exempt && Arc::ptr_eq(&flow.level, level));
        let seen = config.levels.values().map(|level| {
            let (limits, wanted) = level.settle(now_s);
            shares::Level { exempt: exempt(level), limits, wanted }
        });
        let seen: Vec<_> = seen.collect();
        let shares::Division { seats, fair_fraction } = shares::adjust(&seen);
        for ((level, seats), seen) in config.levels.values().zip(seats).zip(&seen) {
            level.set_current(now_s, seats, seen.target());
        }
        if let Some(fraction) = fair_fraction {
            self.fair_fraction.store(fraction.to_bits(), Ordering::Relaxed);
        }
    }

    fn restart(&self) {
        let config = Arc::clone(&self.config.read());
        config.levels.values().for_each(|level| level.restart(self.now_s()));
    }

    /// Adjusts while requests press, and for a while after.
    async fn borrow(&self) {
        loop {
            self.pressed.notified().await;
            self.restart();
            let mut quiet = 0;
            while quiet < PERIODS {
                tokio::time::sleep(PERIOD).await;
                let pressed = futures::FutureExt::now_or_never(self.pressed.notified()).is_some();
                quiet = if pressed { 0 } else { quiet + 1 };
                self.adjust();
            }
        }
    }
}

fn flow(schema: SchemaPlan, plan: &LevelPlan, level: &Arc<Level>, now: &Config) -> Flow {
    let same = |flow: &&Arc<Flow>| flow.schema == schema.name && Arc::ptr_eq(&flow.level, level);
    let stats = now.flows.iter().find(same).map_or_else(|| Arc::new(Stats::default()), |flow| Arc::clone(&flow.stats));
    let uid = |uid: &str| HeaderValue::from_str(uid).unwrap_or(HeaderValue::from_static(""));
    let hand_size = match plan.shape {
        Shape::Queue(queuing) => Some(queuing.hand_size),
        Shape::Exempt | Shape::Reject => None,
    };
    Flow {
        schema_uid: uid(&schema.uid),
        level_uid: uid(&plan.uid),
        level: Arc::clone(level),
        exempt: plan.shape == Shape::Exempt,
        queues: matches!(plan.shape, Shape::Queue(queuing) if queuing.queues > 1),
        max_seats: max_seats(level.nominal(), hand_size),
        stats,
        schema: schema.name,
        spec: schema.spec,
    }
}

/// What cannot be read has no say.
fn read<T: DeserializeOwned>(room: &Room) -> Vec<T> {
    let (objects, _) = room.snapshot(&Filter::default());
    let read = |json: &[u8]| {
        let mut object: Value = serde_json::from_slice(json).ok()?;
        object.as_object_mut()?.remove("kind");
        serde_json::from_value(object)
            .inspect_err(|error| tracing::error!(%error, "a flow control object cannot be read"))
            .ok()
    };
    objects.iter().filter_map(|object| read(&object.json())).collect()
}

/// Follows the stored configuration until `stop`.
pub(crate) async fn follow(control: Arc<FlowControl>, registry: Arc<Registry>, stop: CancellationToken) {
    let Ok([levels, schemas]) = rooms(&registry) else { return };
    let (mut levels, mut schemas) = (levels.subscribe(), schemas.subscribe());
    let configure = async {
        loop {
            levels.mark_unchanged();
            schemas.mark_unchanged();
            let told = match control.configure(&registry) {
                Ok(dangling) => tell(&registry, dangling).await,
                Err(error) => Err(error),
            };
            let retry = async {
                match told {
                    Ok(()) => std::future::pending().await,
                    Err(error) => {
                        tracing::warn!(%error, "the status of a FlowSchema could not be written yet");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                _ = levels.changed() => {}
                _ = schemas.changed() => {}
                () = retry => {}
            }
        }
    };
    let both = async { tokio::join!(configure, control.borrow()) };
    stop.run_until_cancelled(both).await;
}

/// Writes the condition `Dangling` where it is not what it should be.
async fn tell(registry: &Registry, dangling: Vec<(String, String, bool)>) -> Result<(), Status> {
    for (name, level, is_dangling) in dangling {
        let Some(schema) = registry.peek(GROUP, "FlowSchema", "", &name) else { continue };
        let mut changed = schema.clone();
        conditions::set(&mut changed, condition(&level, is_dangling));
        if changed == schema {
            continue;
        }
        let attempt = Attempt { subresource: "status", ..Attempt::internal(built_in(GROUP, "FlowSchema")?, "", &name) };
        match registry.update(&attempt, changed).await {
            // Someone else was quicker: their change comes by here.
            Err(status) if !matches!(status.reason.as_str(), "Conflict" | "NotFound") => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

fn condition(level: &str, is_dangling: bool) -> Value {
    let (status, reason, but) = if is_dangling {
        ("True", "NotFound", "but there is no such object")
    } else {
        ("False", "Found", "and it exists")
    };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {but}");
    json!({
        "type": "Dangling", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": metadata::time(sampan_clock::now()),
    })
}
