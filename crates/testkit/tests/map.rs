//! ARCHITECTURE.md is the map of the house: every path in it exists.

use sampan_testkit::program::tree;

#[test]
fn every_path_on_the_map_exists() {
    let map = std::fs::read_to_string(tree().join("ARCHITECTURE.md")).unwrap();
    let roots = ["crates/", "scripts/", "examples/", "images/", "tests/", ".ci/"];
    let quoted = map.split('`').skip(1).step_by(2);
    let missing: Vec<&str> = quoted
        .filter(|text| roots.iter().any(|root| text.starts_with(root)) && !text.contains(['*', '<', ' ']))
        .filter(|path| !tree().join(path.trim_end_matches('/')).exists())
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}
