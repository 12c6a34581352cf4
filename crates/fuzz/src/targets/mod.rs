//! The targets, one file each, and the list of them.

mod apply;
mod cbor;
mod cel;
mod custom;
mod dns;
mod field_selector;
mod forms;
mod json;
mod json_patch;
mod json_path;
mod label_selector;
mod merge_patch;
mod protobuf;
mod quantity;
mod spdy;
mod strategic_patch;
mod yaml;

use crate::Target;

/// All of them.
pub const ALL: &[Target] = &[
    apply::TARGET,
    cbor::TARGET,
    cel::TARGET,
    custom::TARGET,
    dns::TARGET,
    field_selector::TARGET,
    json::TARGET,
    json_patch::TARGET,
    json_path::TARGET,
    label_selector::TARGET,
    merge_patch::TARGET,
    protobuf::TARGET,
    quantity::TARGET,
    spdy::TARGET,
    strategic_patch::TARGET,
    yaml::TARGET,
];
