//! Which dead containers and sandboxes of a Pod are removed: all but the newest dead one of each container, whose exit
//! status and log people still want, and of a Pod that is over that one too where the node needs the room.

use std::collections::BTreeSet;

use super::{Action, Ending, Slot, Steps, View, run};
use crate::seen::State;
use crate::spec;

pub(super) fn steps(view: &View<'_>, ending: Option<Ending>, steps: &mut Steps) {
    if ending == Some(Ending::Deleted) {
        return;
    }
    let unwanted = view.memory.discard && spec::is_over(view.pod);
    let mut kept = BTreeSet::new();
    for instance in &view.seen.containers {
        let superfluous = match instance.state {
            State::Exited(_) => unwanted || !kept.insert(instance.name.as_str()),
            State::Created => {
                unwanted || view.seen.newest(&instance.name).is_some_and(|newest| newest.id != instance.id)
            }
            State::Running { .. } | State::Unknown => false,
        };
        if superfluous {
            run::remove(view, instance, steps);
        }
    }
    let empty_old = view.seen.sandboxes.iter().skip(1).find(|sandbox| {
        !sandbox.ready && !view.seen.containers.iter().any(|container| container.sandbox == sandbox.id)
    });
    if let Some(old) = empty_old
        && !view.busy(&Slot::Sandbox)
    {
        steps.push(Action::RemoveSandbox { id: old.id.clone() });
    }
}
