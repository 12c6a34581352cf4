//! The list of kinds: one file each.

use crate::kind::Kind;

/// Every built-in kind. Discovery, OpenAPI, routes and storage follow from it.
pub static ALL: &[&Kind] = &[];
