//! Which fields does a configuration own?

use std::collections::HashMap;

use serde_json::Value;

use super::place::{Grain, Place, entries, items};
use super::set::{Path, Set, field};

/// The fields that whoever applies `config` owns.
pub(super) fn fields(config: &Value, place: Place<'_>) -> Set {
    let mut set = Set::default();
    collect(config, place, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, place: Place<'_>, path: &mut Path, set: &mut Set) {
    match place.grain([Some(value), None]) {
        Grain::Whole => set.insert(path),
        Grain::Struct | Grain::Map => {
            for (name, value) in entries(Some(value)) {
                path.push(field(name));
                collect(value, place.field(name), path, set);
                let hollow = value.is_null() || value.as_object().is_some_and(|fields| fields.is_empty());
                if hollow || !place.declares(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        grain @ (Grain::KeyedList | Grain::Set) => collect_items(value, place, grain, path, set),
    }
}

/// Items own themselves and what is in them; of duplicates (only old objects have them) just themselves.
fn collect_items(value: &Value, place: Place<'_>, grain: Grain, path: &mut Path, set: &mut Set) {
    let known = items(Some(value)).iter().filter_map(|item| Some((place.element(grain, item).ok()?, item)));
    let mut times: HashMap<String, usize> = HashMap::new();
    for (element, _) in known.clone() {
        *times.entry(element).or_default() += 1;
    }
    for (element, item) in known {
        let unique = times.get(&element) == Some(&1);
        path.push(element);
        if unique {
            collect(item, place.item(), path, set);
        }
        set.insert(path);
        path.pop();
    }
}

/// The same set with the structs above its members: who owns `.spec.a.b` has a say in whether `.spec.a` stays.
pub(super) fn with_structs(set: &Set, root: Place<'_>) -> Set {
    set.map(&mut |path| {
        let Some((last, above)) = path.split_last() else { return false };
        let parent = root.at(above);
        let is_struct = parent.grain([None, None]) == Grain::Struct;
        last.strip_prefix("f:").is_some_and(|name| is_struct && parent.declares(name))
    })
}
