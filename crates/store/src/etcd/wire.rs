//! The generated messages and clients of `proto/etcd-v3.proto`.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; the proto file says what there is")]

tonic::include_proto!("etcdserverpb");
