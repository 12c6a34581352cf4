//! Generates the image archive service (`proto/image-archive.proto`), without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/image-archive.proto");
    let descriptors = protox::compile(["proto/image-archive.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
