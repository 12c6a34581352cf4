//! The steps of a rollout, by upstream's arithmetic: never more than `replicas + maxSurge` Pods, never fewer than
//! `replicas - maxUnavailable` available ones.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::plan::{Action, Annotations, DESIRED, MAX, Seen, Sets, new_set, replicas, wanted};
use crate::owners;

/// `maxSurge` and `maxUnavailable` in Pods; never both zero.
fn bounds(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return (0, 0);
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let total = wanted(deployment);
    let resolve = |value: Option<&IntOrString>, round_up: bool| match value {
        Some(IntOrString::Int(count)) => *count,
        Some(IntOrString::String(text)) => percent(text, total, round_up),
        None => percent("25%", total, round_up),
    };
    let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()), true);
    let unavailable = resolve(rolling.and_then(|r| r.max_unavailable.as_ref()), false).min(total);
    (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
}

fn percent(text: &str, total: i32, round_up: bool) -> i32 {
    let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
    let product = percent * i64::from(total) + if round_up { 99 } else { 0 };
    i32::try_from(product / 100).unwrap_or(i32::MAX)
}

/// How many Pods there may be at once.
fn most(deployment: &Deployment) -> i32 {
    let total = wanted(deployment);
    if total == 0 { 0 } else { total + bounds(deployment).0 }
}

/// How many of them may be unavailable.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    bounds(deployment).1
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

fn sum<'a>(sets: impl Iterator<Item = &'a Arc<ReplicaSet>>, count: impl Fn(&ReplicaSet) -> i32) -> i32 {
    sets.map(|set| count(set)).sum()
}

/// What a set remembers of the size of its Deployment when it was scaled.
pub(super) fn size_annotations(deployment: &Deployment) -> Annotations {
    let pairs = [(DESIRED, wanted(deployment)), (MAX, most(deployment))];
    pairs.into_iter().map(|(key, count)| (key.to_owned(), count.to_string())).collect()
}

fn scale(deployment: &Deployment, set: &Arc<ReplicaSet>, to: i32) -> Action {
    Action::Scale { set: Arc::clone(set), to, annotations: size_annotations(deployment) }
}

/// Whether the Deployment's size changed since its sets were scaled.
pub(super) fn was_scaled(deployment: &Deployment, sets: &Sets) -> bool {
    let remembered =
        |set: &ReplicaSet| -> Option<i32> { set.metadata.annotations.as_ref()?.get(DESIRED)?.parse().ok() };
    sets.all()
        .filter(|set| replicas(set) > 0)
        .any(|set| remembered(set).is_some_and(|desired| desired != wanted(deployment)))
}

/// How many replicas the new set may have now.
fn new_set_size(deployment: &Deployment, sets: &Sets, rolling: bool) -> i32 {
    let now = sets.new.as_ref().map_or(0, |set| replicas(set));
    if !rolling {
        return wanted(deployment);
    }
    let room = most(deployment) - sum(sets.all(), replicas);
    now + room.min(wanted(deployment) - now).max(0)
}

/// One step of a rolling update: first the new set grows into the room there is, then the old ones shrink.
pub(super) fn rolling(seen: &Seen<'_>, sets: &Sets) -> Vec<Action> {
    let deployment = seen.deployment;
    let Some(new) = &sets.new else { return create(deployment, sets, true) };
    let target =
        if replicas(new) > wanted(deployment) { wanted(deployment) } else { new_set_size(deployment, sets, true) };
    if target != replicas(new) {
        return vec![scale(deployment, new, target)];
    }
    shrink_old(deployment, sets, new)
}

fn create(deployment: &Deployment, sets: &Sets, rolling: bool) -> Vec<Action> {
    let size = new_set_size(deployment, sets, rolling);
    new_set(deployment, sets, size).map(|set| Action::Create(Box::new(set))).into_iter().collect()
}

/// Old sets give up their unhealthy Pods first, then as many healthy ones as may be missed.
fn shrink_old(deployment: &Deployment, sets: &Sets, new: &Arc<ReplicaSet>) -> Vec<Action> {
    let minimum = wanted(deployment) - bounds(deployment).1;
    let new_unavailable = replicas(new) - available(new);
    let mut cleanable = sum(sets.all(), replicas) - minimum - new_unavailable;
    if cleanable <= 0 || sum(sets.old.iter(), replicas) == 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(|set| replicas(set)).collect();
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let unhealthy = (*size - available(set)).clamp(0, cleanable);
        *size -= unhealthy;
        cleanable -= unhealthy;
    }
    let mut spare = sum(sets.all(), available) - minimum;
    for size in &mut sizes {
        let healthy = (*size).min(spare).max(0);
        *size -= healthy;
        spare -= healthy;
    }
    let changed = sets.old.iter().zip(sizes).filter(|(set, size)| replicas(set) != *size);
    changed.map(|(set, size)| scale(deployment, set, size)).collect()
}

/// One step of Recreate: all old Pods go, and only when the last is gone come the new ones.
pub(super) fn recreate(seen: &Seen<'_>, sets: &Sets) -> Vec<Action> {
    let deployment = seen.deployment;
    let alive: Vec<_> = sets.old.iter().filter(|set| replicas(set) > 0).collect();
    if !alive.is_empty() {
        return alive.into_iter().map(|set| scale(deployment, set, 0)).collect();
    }
    let of_old = |uid: &str| seen.pods.iter().any(|pod| owners::is_controlled_by(&pod.metadata, uid));
    if sets.old.iter().filter_map(|set| set.metadata.uid.as_deref()).any(of_old) {
        return Vec::new();
    }
    match &sets.new {
        None => create(deployment, sets, false),
        Some(new) if replicas(new) != wanted(deployment) => vec![scale(deployment, new, wanted(deployment))],
        Some(_) => Vec::new(),
    }
}

/// Spreads a change of the Deployment's size over its sets, in proportion to their sizes while a rollout is under way.
pub(super) fn spread(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let active: Vec<_> = sets.all().filter(|set| replicas(set) > 0).collect();
    let total = wanted(deployment);
    if active.len() <= 1 {
        let only = active.first().copied().or(sets.new.as_ref());
        let stale = |set: &&Arc<ReplicaSet>| replicas(set) != total || was_scaled(deployment, sets);
        return only.filter(stale).map(|set| scale(deployment, set, total)).into_iter().collect();
    }
    if let Some(new) = sets.new.as_ref().filter(|new| replicas(new) == total && available(new) == total) {
        let old = active.into_iter().filter(|set| set.metadata.uid != new.metadata.uid);
        return old.map(|set| scale(deployment, set, 0)).collect();
    }
    proportional(deployment, &active)
}

fn proportional(deployment: &Deployment, active: &[&Arc<ReplicaSet>]) -> Vec<Action> {
    let now: i32 = active.iter().map(|set| replicas(set)).sum();
    let allowed = most(deployment);
    let mut left = allowed - now;
    // The largest first, newer ones before older: they have most to give and most to gain.
    let mut sets = active.to_vec();
    sets.sort_by_key(|set| (-replicas(set), set.metadata.creation_timestamp.as_ref().map(|time| -time.0.as_second())));
    let mut sizes: Vec<i32> = Vec::with_capacity(sets.len());
    for set in &sets {
        let share = proportion(set, allowed - now, now, left);
        sizes.push((replicas(set) + share).max(0));
        left -= share;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + left).max(0);
    }
    sets.into_iter().zip(sizes).map(|(set, size)| scale(deployment, set, size)).collect()
}

fn proportion(set: &ReplicaSet, change: i32, total: i32, left: i32) -> i32 {
    let exact = f64::from(replicas(set)) * f64::from(change) / f64::from(total.max(1));
    #[allow(clippy::cast_possible_truncation, reason = "a share of an i32 fits in an i32")]
    let share = exact.round() as i32;
    if change > 0 { share.min(left) } else { share.max(left) }
}
