//! What the status says of resources: what the Pod and each of its containers were allocated, and what they really have.
//!
//! Upstream: `convertToAPIContainerStatuses` and `convertToAPIPodLevelResourcesStatus`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{View, resize};
use crate::config::resources::{self, CPU_PERIOD_US, SHARES_PER_CORE};
use crate::config::totals;
use crate::quantity;
use crate::seen::{Instance, Limits};
use crate::spec;

/// The kernel takes no less: what it has then says nothing of what was asked for.
const LEAST_SHARES_MILLI: i64 = 2;
const LEAST_QUOTA_MILLI: i64 = 10;

type Amounts = BTreeMap<String, Quantity>;

/// The resources of a container that has been made: while it runs what the kernel has for it, else what it was
/// allocated. `published` is what was said of it last.
pub(super) fn of_container(
    view: &View<'_>,
    container: &Container,
    newest: &Instance,
    published: Option<&ContainerStatus>,
) -> ResourceRequirements {
    let mut resources = container.resources.clone().unwrap_or_default();
    let Some(has) = newest.limits.filter(|_| newest.running()) else { return resources };
    if let Some(requests) = &mut resources.requests {
        tell_milli(requests, cpu_request_milli(&has), LEAST_SHARES_MILLI);
        // The kernel knows nothing of it: it has changed once the rest has.
        let before = published.and_then(|published| published.resources.as_ref()?.requests.as_ref()?.get("memory"));
        if let Some(before) = before.filter(|_| resize::is_under_way(view, container, newest)) {
            requests.insert("memory".to_owned(), before.clone());
        }
    }
    if let Some(limits) = &mut resources.limits {
        tell_milli(limits, cpu_limit_milli(&has), LEAST_QUOTA_MILLI);
        tell_bytes(limits, has.memory_bytes);
    }
    resources
}

/// The resources of the Pod as a whole. While it runs that is what its group stands for, and until a resize has come to its
/// end, what was published before; else all that it was allocated.
pub(super) fn of_pod(view: &View<'_>, running: bool) -> ResourceRequirements {
    if !running {
        return ResourceRequirements {
            requests: filled(totals::requests(view.pod)),
            limits: filled(totals::limits(view.pod)),
            ..spec::of(view.pod).resources.clone().unwrap_or_default()
        };
    }
    let before = spec::status(view.pod).resources.as_ref().filter(|_| resize::in_progress(view).is_some());
    before.cloned().unwrap_or_else(|| of_group(view))
}

/// What the Pod was allocated.
pub(super) fn allocated(view: &View<'_>) -> Option<Amounts> {
    filled(totals::requests(view.pod))
}

/// What the Pod says of itself, and where it says nothing, what all its containers come to.
fn of_group(view: &View<'_>) -> ResourceRequirements {
    let own = spec::of(view.pod).resources.clone().unwrap_or_default();
    let (mut requests, mut limits) = (own.requests.unwrap_or_default(), own.limits.unwrap_or_default());
    let group = Limits::of(&resources::of_pod(view.pod));
    tell_milli(&mut requests, cpu_request_milli(&group), LEAST_SHARES_MILLI);
    if let Some(memory) = totals::requests(view.pod).remove("memory") {
        requests.entry("memory".to_owned()).or_insert(memory);
    }
    tell_milli(&mut limits, cpu_limit_milli(&group), LEAST_QUOTA_MILLI);
    tell_bytes(&mut limits, group.memory_bytes);
    ResourceRequirements { requests: filled(requests), limits: filled(limits), claims: own.claims }
}

fn cpu_request_milli(has: &Limits) -> i64 {
    (has.cpu_shares * 1000 + SHARES_PER_CORE - 1) / SHARES_PER_CORE
}

fn cpu_limit_milli(has: &Limits) -> i64 {
    has.cpu_quota_us * 1000 / CPU_PERIOD_US
}

/// Says in `list` that there is so much CPU, unless the kernel has its least and no more was asked for.
fn tell_milli(list: &mut Amounts, milli: i64, least: i64) {
    let asked = list.get("cpu").and_then(quantity::milli);
    if milli > 0 && asked != Some(milli) && (milli > least || asked.is_some_and(|asked| asked > least)) {
        list.insert("cpu".to_owned(), quantity::from_milli(milli));
    }
}

/// Says in `list` that memory is bounded so, if it is.
fn tell_bytes(list: &mut Amounts, bytes: i64) {
    if bytes > 0 && list.get("memory").and_then(quantity::value) != Some(bytes) {
        list.insert("memory".to_owned(), quantity::from_bytes(bytes));
    }
}

fn filled(amounts: Amounts) -> Option<Amounts> {
    Some(amounts).filter(|amounts| !amounts.is_empty())
}
