//! The generated messages and client of `proto/kms-v2.proto`; in tests a server, too.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; the proto file says what there is"
)]

tonic::include_proto!("v2");
