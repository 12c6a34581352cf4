//! The wire contract of device plugins, for the kubelet and for whoever writes a plugin.

/// Version v1beta1, generated from `proto/device-plugin-v1beta1.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod v1beta1 {
    tonic::include_proto!("v1beta1");
}
