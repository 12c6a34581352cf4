//! How the program is linked.
//!
//! At a fixed address, as Go links Kubernetes' own programs. Position-independent, its tables of pointers would be written
//! anew in every process that starts: megabytes of memory that a Pod's shim shares with nobody, and a good part of the
//! time that a shim takes to start. Libraries, heap and stacks stay where chance puts them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
