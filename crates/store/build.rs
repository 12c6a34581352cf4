//! Generates etcd's wire types and client from `proto/etcd-v3.proto`, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/etcd-v3.proto");
    let descriptors = protox::compile(["proto/etcd-v3.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
