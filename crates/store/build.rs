//! Generates the wire types and clients of etcd and of KMS plugins from `proto/`, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let etcd = protox::compile(["proto/etcd-v3.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(etcd)?;
    let kms = protox::compile(["proto/kms-v2.proto"], ["proto"])?;
    // In order, so that equal messages are equal bytes. A plugin is served in tests alone.
    let kms_build = tonic_prost_build::configure().bytes(".").btree_map(".").server_mod_attribute(".", "#[cfg(test)]");
    kms_build.compile_fds(kms)?;
    Ok(())
}
