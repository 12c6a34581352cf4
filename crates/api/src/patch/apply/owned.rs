//! Which fields does a configuration own?

use std::collections::HashMap;

use serde_json::Value;

use super::place::{Grain, Place, entries, items};
use super::set::{Path, Set, field};

/// The fields that whoever applies `config` owns.
pub(super) fn fields(config: &Value, place: Place) -> Set {
    let mut set = Set::default();
    collect(config, place, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, place: Place, path: &mut Path, set: &mut Set) {
    match place.grain([Some(value), None]) {
        Grain::Whole => set.insert(path),
        grain @ (Grain::Struct(_) | Grain::Map) => {
            for (name, value) in entries(Some(value)) {
                path.push(field(name));
                collect(value, place.field(name), path, set);
                let hollow = value.is_null() || value.as_object().is_some_and(|fields| fields.is_empty());
                if hollow || matches!(grain, Grain::Map) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        grain @ (Grain::KeyedList(_) | Grain::Set) => collect_items(value, place, grain, path, set),
    }
}

/// Items own themselves and what is in them; of duplicates (only old objects have them) just themselves.
fn collect_items(value: &Value, place: Place, grain: Grain, path: &mut Path, set: &mut Set) {
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
pub(super) fn with_structs(set: &Set, root: Place) -> Set {
    set.map(&mut |path| {
        let Some((last, above)) = path.split_last() else { return false };
        let parent = root.at(above).grain([None, None]);
        last.strip_prefix("f:").is_some_and(|name| matches!(parent, Grain::Struct(def) if def.field(name).is_some()))
    })
}
