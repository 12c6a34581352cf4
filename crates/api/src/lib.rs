//! The words of Kubernetes: every kind, its schema, defaults, validation and table columns; patches; `Status`.
//!
//! Nothing here does I/O and nothing reads a clock: all of it is functions over JSON values and typed objects.
//! Start at [`kind`] (what a kind is) and [`kinds`] (the list of them).

pub mod amounts;
pub mod cbor;
pub mod custom;
pub mod decode;
pub mod field;
pub mod kind;
pub mod kinds;
pub mod model;
pub mod node_features;
pub mod openapi;
pub mod patch;
pub mod placement;
pub mod pod_security;
pub mod policy;
pub mod protobuf;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod status;
pub mod structural;
pub mod validation;

pub use sampan_quantity as quantity;
