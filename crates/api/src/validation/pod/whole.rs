//! Resources of a Pod as a whole (`spec.resources`): what may be asked for, and that its containers fit into it.

use super::resources;
use crate::amounts;
use crate::validation::cursor::Cursor;
use crate::validation::resource_names::{self, is_huge_pages};

/// The rules for `resources` of the specification `spec`.
pub(super) fn requirements(spec: &Cursor<'_>) {
    let whole = spec.get("resources");
    if !whole.is_set() {
        return;
    }
    if spec.get("os").get("name").text() == "windows" {
        whole.forbidden("may not be set for a windows pod");
        return;
    }
    if whole.get("claims").is_set() {
        whole.get("claims").forbidden("claims may not be set for Resources at pod-level");
    }
    resources::amounts(&whole, resource_names::of_whole_pod);
    holds_its_containers(spec, &whole);
}

/// What containers ask for together, and what each may use at most, is within what the Pod has.
fn holds_its_containers(spec: &Cursor<'_>, whole: &Cursor<'_>) {
    for (list, counts) in [("requests", None), ("limits", Some(is_huge_pages as fn(&str) -> bool))] {
        for (name, together) in amounts::of_containers(spec.value(), list) {
            let own = whole.get(list).key(&name);
            let Some(amount) = resources::quantity(&own).filter(|_| counts.is_none_or(|counts| counts(&name))) else {
                continue;
            };
            if together > amount {
                let fault = format!("must be greater than or equal to aggregate container {list} of {together}");
                own.invalid_as(amount.to_string(), fault);
            }
        }
    }
    for (index, container) in spec.get("containers").items().enumerate() {
        for (name, limit) in container.get("resources").get("limits").entries() {
            let limits = (resources::quantity(&limit), resources::quantity(&whole.get("limits").key(name)));
            if let (Some(limit), Some(most)) = limits
                && limit > most
            {
                // Upstream says that it is there.
                let place = whole.get("containers").index(index).key(name).get("limits");
                place.invalid_as(limit.to_string(), format!("must be less than or equal to pod limits of {most}"));
            }
        }
    }
}
