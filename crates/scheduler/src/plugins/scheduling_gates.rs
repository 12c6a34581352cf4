//! SchedulingGates: a Pod with gates waits until all of them have been removed.

use crate::framework::PreEnqueue;
use crate::pod::PodInfo;

pub(crate) struct SchedulingGates;

impl PreEnqueue for SchedulingGates {
    fn admits(&self, pod: &PodInfo) -> bool {
        pod.spec().scheduling_gates.as_ref().is_none_or(Vec::is_empty)
    }
}
