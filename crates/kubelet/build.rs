//! Generates the contracts with plugins and with whoever asks for Pods' resources, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    for contract in ["device-plugin-v1beta1.proto", "plugin-registration-v1.proto", "pod-resources-v1.proto"] {
        let descriptors = protox::compile([contract], ["proto"])?;
        tonic_prost_build::configure().compile_fds(descriptors)?;
    }
    Ok(())
}
