//! Generates the CRI v1 client and server from `proto/cri-v1.proto`, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/cri-v1.proto");
    let descriptors = protox::compile(["proto/cri-v1.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
