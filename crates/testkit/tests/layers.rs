//! The arrows between the crates are those of `layers.toml`, and no others.

use std::collections::BTreeMap;

use sampan_testkit::program::tree;

type Table = BTreeMap<String, toml::Value>;

fn read(path: &str) -> Table {
    let text = std::fs::read_to_string(tree().join(path)).expect("the file is there");
    text.parse::<toml::Table>().expect("the file is TOML").into_iter().collect()
}

#[test]
fn a_crate_uses_only_what_its_layer_may() {
    let layers = read("layers.toml");
    let may_use: BTreeMap<String, Vec<String>> = layers["crates"].clone().try_into().unwrap();
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(tree().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(allowed) = may_use.get(&name) else {
            faults.push(format!("{name} stands in no layer: add it to layers.toml"));
            continue;
        };
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        for used in dependencies.keys().filter_map(|key| key.strip_prefix("sampan-")) {
            if !allowed.iter().any(|name| name == used) {
                faults.push(format!("{name} uses {used}, which layers.toml does not allow"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_arrows_have_no_circle() {
    let layers = read("layers.toml");
    let may_use: BTreeMap<String, Vec<String>> = layers["crates"].clone().try_into().unwrap();
    let mut left = may_use.clone();
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|used| !left.contains_key(used)))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!free.is_empty(), "these use each other in a circle: {:?}", left.keys());
        left.retain(|name, _| !free.contains(name));
    }
}
